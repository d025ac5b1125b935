"""weights/objectives.py and the accumulation of its sums: what is counted, and that a split changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from weights.data.mixture import Batch, Mixture
from weights.objectives import OBJECTIVES, next_token
from weights.train.loop import accumulate

Make = Callable[..., Any]


@pytest.fixture
def batch(make_shard: Make, make_stage: Make) -> Batch:
    """Packed conversations, with padding."""
    return Mixture(make_stage(objective="chat", row=24), {"a": make_shard()}, 1).batch(0, 4)


def test_the_loss_is_the_sum_over_the_targets_alone(batch: Batch, make_model: Make) -> None:
    model = make_model()
    expected = 0.0
    with torch.no_grad():
        for row in range(4):
            for document in batch.documents[row].unique():
                here = batch.documents[row] == document
                hidden = model.hidden(batch.ids[row : row + 1], documents=batch.documents[row : row + 1])
                logits = functional.linear(hidden, model.head_weight)[0, here]
                for position, target in zip(logits, batch.targets[row, here].tolist(), strict=True):
                    if target >= 0:
                        expected -= float(position.log_softmax(-1)[target])
        assert float(next_token(model, batch)) == pytest.approx(expected, rel=1e-5)


def test_more_padding_does_not_change_the_loss(batch: Batch, make_model: Make) -> None:
    model = make_model()
    pad = (0, 8)
    padded = Batch(
        functional.pad(batch.ids, pad),
        functional.pad(batch.targets, pad, value=-1),
        functional.pad(batch.documents, pad, value=-1),
    )
    with torch.no_grad():
        assert float(next_token(model, padded)) == pytest.approx(float(next_token(model, batch)), rel=1e-6)


def test_a_batch_without_a_target_costs_nothing(batch: Batch, make_model: Make) -> None:
    loss = next_token(make_model(), replace(batch, targets=torch.full_like(batch.targets, -1)))
    loss.backward()
    assert loss.item() == 0.0


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
@pytest.mark.parametrize("objective", ["lm", "chat"])
def test_gradients_of_many_small_batches_are_those_of_one_large_one(
    objective: str, micro_batch: int, tiny_run: Make
) -> None:
    results = []
    for size in (8, micro_batch):
        run = tiny_run(objective=objective, batch=8, micro_batch=size, row=24)
        counts = [int((run.mixture.batch(i, 1).targets >= 0).sum()) for i in range(8)]
        if objective == "chat":
            assert len(set(counts)) > 2  # ragged: a mean of means would be wrong
        loss = accumulate(run.model, OBJECTIVES[objective], run.stage, run.mixture, 0)
        results.append((float(loss), [p.grad for p in run.model.parameters()]))
    (large, gradients), (small, others) = results
    assert small == pytest.approx(large, abs=1e-6)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_batch_is_learned_by_heart_in_sixty_steps(batch: Batch, make_model: Make) -> None:
    model = make_model(d_model=32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    count = int((batch.targets >= 0).sum())
    for _ in range(60):
        optimizer.zero_grad()
        loss = next_token(model, batch) / count
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
