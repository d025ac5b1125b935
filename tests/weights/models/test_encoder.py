"""weights/models/encoder.py: who sees whom, padding that changes nothing, and vectors of sentences."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import CheckpointError
from weights.models.config import EncoderConfig
from weights.models.encoder import Encoder, direction, pool, same_document_mask

PAD = 3
VARIANTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "BERT": {
        "positions": "learned", "norm": "layer", "norm_place": "after", "activation": "gelu", "bias": True,
        "n_types": 2, "embedding_norm": True, "head_bias": True,
    },
    "bare": {"head_transform": False, "tie_embeddings": False, "activation": "relu"},
}  # fmt: skip
variants = pytest.mark.parametrize("variant", VARIANTS)


def toy_config(**changes: Any) -> EncoderConfig:
    shape = {"vocab_size": 24, "d_model": 16, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8, "d_ff": 24}
    return EncoderConfig(**(shape | {"max_positions": 32} | changes))


def toy_encoder(variant: str = "ours") -> Encoder:
    """A little encoder whose every parameter counts."""
    model = Encoder(toy_config(**VARIANTS[variant]))
    generator = torch.Generator().manual_seed(0)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval().requires_grad_(False)


def some_ids(length: int, seed: int = 0) -> Tensor:
    return torch.randint(5, 24, (length,), generator=torch.Generator().manual_seed(seed))


def test_the_document_mask_is_its_definition() -> None:
    documents = torch.tensor([[4, 4, 7, 7, 7, -1], [1, 2, 2, 2, 3, 3]])
    mask = same_document_mask(documents)
    assert mask.shape == (2, 1, 6, 6)
    for b in range(2):
        for t in range(6):
            for s in range(6):
                assert bool(mask[b, 0, t, s]) == bool(documents[b, t] == documents[b, s])


@variants
def test_every_position_sees_every_other(variant: str) -> None:
    model, ids = toy_encoder(variant), some_ids(6)
    plain = model.hidden(ids[None])[0]
    for changed in range(6):
        other = ids.clone()
        other[changed] = 5 + (ids[changed] - 4) % 19
        assert ((model.hidden(other[None])[0] - plain).abs().amax(1) > 1e-4).all()


@variants
def test_a_padded_batch_gives_what_single_sentences_give(variant: str) -> None:
    model = toy_encoder(variant)
    rows = [some_ids(n, n) for n in (9, 1, 4)]
    batch = torch.full((3, 12), PAD)
    for row, ids in zip(batch, rows, strict=True):
        row[: len(ids)] = ids
    padded, vectors = model(batch), pool(model.hidden(batch), batch, PAD)
    for number, ids in enumerate(rows):
        torch.testing.assert_close(padded[number, : len(ids)], model(ids[None])[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(vectors[number], pool(model.hidden(ids[None]), ids[None], PAD)[0], atol=1e-5, rtol=0)


def test_packed_documents_do_not_see_each_other() -> None:
    model, one, two = toy_encoder(), some_ids(5, 1), some_ids(7, 2)
    documents = torch.tensor([[0] * 5 + [1] * 7])
    packed = model.hidden(torch.cat([one, two])[None], documents=documents)[0]
    torch.testing.assert_close(packed[:5], model.hidden(one[None])[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(packed[5:], model.hidden(two[None])[0], atol=1e-5, rtol=0)  # distances are what counts


def test_token_types_count_and_type_0_is_meant_where_none_are_given() -> None:
    model, ids = toy_encoder("BERT"), some_ids(6)[None]
    zeros = torch.zeros_like(ids)
    assert torch.equal(model(ids), model(ids, types=zeros))
    assert not torch.allclose(model(ids), model(ids, types=zeros + 1), atol=1e-3)


def test_the_head_is_what_it_says() -> None:
    model, ids = toy_encoder("BERT"), some_ids(5)[None]
    hidden, weights = model.hidden(ids), dict(model.named_parameters())
    dense = functional.linear(hidden, weights["transform.dense.weight"], weights["transform.dense.bias"])
    normed = functional.layer_norm(
        functional.gelu(dense), (16,), weights["transform.norm.weight"], weights["transform.norm.bias"], 1e-5
    )
    expected = normed @ weights["embedding.weight"].T + weights["head_bias"]
    torch.testing.assert_close(model(ids), expected, atol=1e-5, rtol=0)


def test_pooling_is_the_mean_over_what_is_no_padding_or_the_first_position() -> None:
    ids = torch.tensor([[1, 9, 2, PAD], [1, 8, 7, 2]])
    hidden = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    means = torch.stack([hidden[0, :3].mean(0), hidden[1].mean(0)])
    torch.testing.assert_close(pool(hidden, ids, PAD), means)
    torch.testing.assert_close(pool(hidden, ids, PAD, "cls"), hidden[:, 0])
    torch.testing.assert_close(direction(means), means / means.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"positions": "alibi"}, "positions"), ({"n_types": -1}, "n_types"), ({"head_bias": 1}, "head_bias"),
        ({"mask_id": 24}, "mask_id"), ({"d_ff": 0}, "d_ff"), ({"norm": "batch"}, "norm"),
    ],
)  # fmt: skip
def test_an_impossible_shape_names_the_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        toy_config(**change)
