"""Positions of the decoder other than rotary ones: their formulas, their ends, and what no file can say of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, random_ids, tiny_model

from engine.cache import KVCache
from engine.checkpoint import save_checkpoint
from engine.config import RopeScaling
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, ContextOverflow
from engine.families import write_config
from engine.layers.absolute import Sinusoids, sinusoids
from engine.layers.relative import Alibi, alibi_slopes

LIKE = torch.empty(0)


def test_slopes_are_those_of_the_paper() -> None:
    assert alibi_slopes(8) == [2**-i for i in range(1, 9)]
    assert alibi_slopes(16) == pytest.approx([2 ** (-i / 2) for i in range(1, 17)])
    # Six heads: those of four, then the first and third of eight.
    assert alibi_slopes(6) == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]
    assert alibi_slopes(1) == [2**-8]


@pytest.mark.parametrize(("start", "count"), [(0, 1), (0, 5), (7, 1), (7, 3), (300, 2), (1000, 1), (2, 4)])
def test_alibi_costs_slope_times_distance(start: int, count: int) -> None:
    bias = Alibi(4).bias(start, count, LIKE)
    assert bias.shape == (1, 4, count, start + count)
    for head, slope in enumerate([2**-2, 2**-4, 2**-6, 2**-8]):
        for t in range(count):
            expected = [-slope * (start + t - s) for s in range(start + t + 1)]
            assert bias[0, head, t, : start + t + 1].tolist() == pytest.approx(expected)


def test_one_new_position_costs_alibi_a_slice_of_a_table() -> None:
    alibi = Alibi(4)
    alibi.bias(0, 600, LIKE)
    before = alibi._table
    assert alibi.bias(500, 1, LIKE).untyped_storage().data_ptr() == before.untyped_storage().data_ptr()


def test_alibi_makes_the_same_keys_count_less_the_further_they_are() -> None:
    """With equal scores, weights fall by e^-slope a position; values tell which."""
    model = tiny_model(replace(TINY, positions="alibi", n_layers=1, n_heads=1, n_kv_heads=1, head_dim=32))
    attention = model.blocks[0].attention
    attention.qkv.weight[:32] = 0.0  # queries are nothing: all scores are 0
    attention.qkv.weight[64:], attention.out.weight[:] = torch.eye(32), torch.eye(32)
    x = torch.eye(32)[:6].unsqueeze(0)  # position t is the unit vector t
    step = model._step(0, 6, x, None, 0.0)
    weights = attention(x, step)[0, 5, :6]
    expected = torch.tensor([-(5 - s) / 256 for s in range(6)]).softmax(0)
    assert torch.allclose(weights, expected, atol=1e-6)


def test_sinusoids_do_not_depend_on_how_their_table_grew() -> None:
    table = Sinusoids(10)
    for start, count in ((0, 1), (1, 5), (250, 300), (0, 7), (1200, 1)):
        assert torch.equal(table.rows(start, count, LIKE), sinusoids(1300, 10)[start : start + count])


def test_without_positions_only_the_order_before_the_last_token_is_unseen() -> None:
    """One layer without positions gives the last token the same logits for any order of those before it."""
    ids = random_ids(9)
    turned = [*reversed(ids[:8]), ids[8]]
    for kind in ("none", "sinusoidal", "learned", "alibi", "rope"):
        model = tiny_model(replace(TINY, positions=kind, n_layers=1))
        here, there = (model(torch.tensor([i]))[0, -1] for i in (ids, turned))
        assert torch.allclose(here, there, atol=1e-4) == (kind == "none")


@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "alibi"])
def test_packed_documents_do_not_see_each_other_at_any_kind_of_position(kind: str) -> None:
    model, ids = tiny_model(replace(TINY, positions=kind)), random_ids(20)
    documents = torch.tensor([[0] * 8 + [1] * 12])
    before = model.hidden(torch.tensor([ids]), documents=documents)[0]
    after = model.hidden(torch.tensor([[9, *ids[1:]]]), documents=documents)[0]
    assert torch.equal(before[8:], after[8:]) and not torch.allclose(before[:8], after[:8])


def test_beyond_the_learned_positions_is_an_overflow_with_its_numbers() -> None:
    model = tiny_model(replace(TINY, positions="learned", max_positions=12))
    assert torch.isfinite(model(torch.tensor([random_ids(12)]))).all()
    with pytest.raises(ContextOverflow, match="13 positions are more than the 12"):
        model(torch.tensor([random_ids(13)]))
    cache = KVCache(model.config, limit=64)
    model(torch.tensor([random_ids(12)]), cache)
    with pytest.raises(ContextOverflow, match="13 positions"):
        model(torch.tensor([[5]]), cache)
    assert cache.length == 12


@pytest.mark.parametrize("kind", ["sinusoidal", "alibi", "none", "rope"])
def test_other_positions_have_no_end(kind: str) -> None:
    model = tiny_model(replace(TINY, positions=kind, max_positions=12))
    assert torch.isfinite(model(torch.tensor([random_ids(700)]))).all()


def test_first_learned_positions_and_the_embedding_of_sinusoids_have_their_size() -> None:
    learned, sinusoidal = (DecoderLM(replace(TINY, positions=k)) for k in ("learned", "sinusoidal"))
    for model in (learned, sinusoidal):
        model.init_weights(torch.Generator().manual_seed(0))
    assert learned.learned is not None
    assert float(learned.learned.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(sinusoidal.embedding.weight.detach().std()) == pytest.approx(32**-0.5, rel=0.1)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "alibi", "none"])
def test_tables_made_while_evaluating_serve_training_in_another_width(kind: str) -> None:
    model = DecoderLM(replace(TINY, positions=kind))
    model.init_weights(torch.Generator().manual_seed(0))
    with torch.inference_mode():
        model(torch.tensor([random_ids(250)]))
    model.warm(20)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(torch.tensor([random_ids(20)])).float().pow(2).mean()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"positions": "relative"}, "positions must be one of rope"),
        ({"positions": "alibi", "rope_scaling": RopeScaling("linear", 2.0, 64)}, "rope_scaling is for rotary.*alibi"),
        ({"positions": "rope", "head_dim": 7}, "head_dim must be even"),
    ],
)
def test_positions_that_cannot_be_are_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": "cosine"}, {"positions": "alibi"}, {"positions": "none"}, {"norm": "layer"}, {"norm_place": "after"},
        {"activation": "relu"}, {"value_rank": 4}, {"value_rank": 8},
    ],
)  # fmt: skip
def test_what_a_llama_has_not_is_never_written_as_one(changes: dict[str, Any], tmp_path: Path) -> None:
    """The error names the field and both values, and leaves nothing behind."""
    ((name, value),) = changes.items()
    with pytest.raises(CheckpointError, match=f"{name} {value!r}.*LlamaForCausalLM"):
        write_config(replace(TINY, **changes))
    with pytest.raises(CheckpointError, match=name):
        save_checkpoint(tmp_path / "model", tiny_model(replace(TINY, **changes)))
    assert list(tmp_path.iterdir()) == []
