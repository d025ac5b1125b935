"""weights/models/rnn.py: what the baselines learn, and their two scores."""

import pytest
import torch
from toys import accuracy, learn, toy_model

from weights.models.rnn import SourceAttention


@pytest.mark.parametrize(
    "attention", [pytest.param("none", marks=pytest.mark.slow), pytest.param("additive", marks=pytest.mark.slow), "dot"]
)
def test_every_kind_learns_to_copy(attention: str) -> None:
    model = toy_model(attention=attention, d_model=48)
    learn(model, lambda s: list(s), 60, lr=1e-2)
    first = accuracy(model, lambda s: list(s))
    learn(model, lambda s: list(s), 300, lr=1e-2)
    assert accuracy(model, lambda s: list(s)) >= (0.5 if attention == "none" else 0.95) > first


@pytest.mark.parametrize("kind", ["additive", "dot"])
def test_scores_are_their_formula(kind: str) -> None:
    attention = SourceAttention(6, kind)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    h, encoded = torch.randn(1, 2, 6, generator=generator), torch.randn(1, 4, 6, generator=generator)
    mask = torch.tensor([[[True, True, True, False]]])
    found = attention.weights(h, encoded, mask)
    for t in range(2):
        scores = []
        for s in range(3):
            if kind == "dot":
                scores.append(h[0, t] @ encoded[0, s])
            else:
                inside = attention.query.weight @ h[0, t] + attention.key.weight @ encoded[0, s]
                scores.append(attention.score @ inside.tanh())
        torch.testing.assert_close(found[0, t, :3], torch.stack(scores).softmax(0), atol=1e-5, rtol=1e-4)
        assert found[0, t, 3] == 0
