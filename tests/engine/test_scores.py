"""Score functions: each against its formula and against finite differences, with masks, groups and low-rank values."""

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import TINY, random_ids, tiny_model
from torch import Tensor

from engine.cache import KVCache
from engine.config import ScoreKind
from engine.decoder import DecoderLM
from engine.errors import CheckpointError
from engine.layers.attention import Attention, Step, attend_plainly, causal_mask
from engine.layers.scores import Additive, LearnedScore, make_score

SCORES = get_args(ScoreKind)
H, D = 2, 4
OF_TWO_HEADS = replace(TINY, n_heads=H, n_kv_heads=1, head_dim=D)
scores = pytest.mark.parametrize("kind", SCORES)


def seeded(kind: str, **changes: Any) -> Any:
    """A score function of two heads of four numbers, float64, with random parameters."""
    score = make_score(replace(OF_TWO_HEADS, score=kind, **changes))
    if isinstance(score, LearnedScore):
        score.double()
        for p in score.parameters():
            p.data = torch.randn(p.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    return score


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_hand(kind: str, score: Any, head: int, q: list[float], k: list[float]) -> float:
    """The formula for one query and one key, with sums written out."""
    product = sum(a * b for a, b in zip(q, k, strict=True))
    sizes = math.sqrt(sum(a * a for a in q)) * math.sqrt(sum(b * b for b in k))
    if kind == "bilinear":
        w = score.weight[head].tolist()
        return sum(q[i] * w[i][j] * k[j] for i in range(D) for j in range(D))
    if kind == "additive":
        of_query, of_key, mix = (p[head].tolist() for p in (score.of_query, score.of_key, score.mix))
        inner = [sum(q[i] * of_query[i][h] + k[i] * of_key[i][h] for i in range(D)) for h in range(D)]
        return sum(mix[h][0] * math.tanh(inner[h]) for h in range(D))
    if kind == "scaled_cosine":
        return product / sizes * math.exp(score.log_scale[head].item())
    return {"dot": product, "scaled_dot": product / math.sqrt(D), "cosine": product / sizes}[kind]


@scores
def test_a_score_is_its_formula_for_every_pair_and_head(kind: str) -> None:
    score = seeded(kind)
    q, k = noise(2, H, 3, D), noise(2, H, 5, D, seed=1)
    found = score(q, k).detach()
    assert found.shape == (2, H, 3, 5)
    for b in range(2):
        for head in range(H):
            for t in range(3):
                for s in range(5):
                    expected = by_hand(kind, score, head, q[b, head, t].tolist(), k[b, head, s].tolist())
                    assert float(found[b, head, t, s]) == pytest.approx(expected, abs=1e-12)


@scores
def test_gradients_of_a_score_are_its_finite_differences(kind: str) -> None:
    """To q, k and every parameter, in float64."""
    score = seeded(kind)
    learned = list(score.parameters()) if isinstance(score, LearnedScore) else []
    q, k = noise(1, H, 2, D).requires_grad_(), noise(1, H, 3, D, seed=1).requires_grad_()

    def of_all(q: Tensor, k: Tensor, *_: Tensor) -> Tensor:
        return score(q, k)  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(of_all, (q, k, *learned))


@scores
def test_gradients_through_a_whole_attention_are_its_finite_differences(kind: str) -> None:
    config = replace(OF_TWO_HEADS, d_model=6, score=kind, value_rank=3)
    attention = Attention(config).double()
    for i, p in enumerate(attention.parameters()):
        p.data = noise(*p.shape, seed=i)
    step = Step(None, None, None, is_causal=True)
    x = noise(1, 3, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: attention(x, step), (x, *attention.parameters()))


@scores
def test_first_scores_of_unit_variance_vectors_have_a_variance_near_one_where_they_are_scaled(kind: str) -> None:
    score: Any = make_score(replace(TINY, n_heads=64, head_dim=64, score=kind))
    if isinstance(score, LearnedScore):
        with torch.no_grad():
            score.init_weights(torch.Generator().manual_seed(0))
    with torch.no_grad():
        variance = float(score(noise(1, 64, 40, 64).float(), noise(1, 64, 40, 64, seed=1).float()).var())
    wanted = {"dot": 64.0, "cosine": 1 / 64, "additive": 0.5}.get(kind, 1.0)  # tanh makes less of 1
    assert variance == pytest.approx(wanted, rel=0.25)


@scores
def test_what_is_masked_has_no_weight(kind: str) -> None:
    """Changing keys and values that a mask hides changes no number."""
    score, mask = seeded(kind), causal_mask(2, 3, torch.device("cpu"))
    q, k, v = noise(1, H, 3, D), noise(1, 1, 5, D, seed=1), noise(1, 1, 5, 6, seed=2)
    before = attend_plainly(q, k, v, mask, score)
    k[:, :, 4], v[:, :, 4] = 99.0, -99.0  # only the last query sees the last key
    after = attend_plainly(q, k, v, mask, score)
    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert not torch.allclose(before[:, :, 2], after[:, :, 2])
    as_numbers = torch.zeros(3, 5, dtype=torch.float64).masked_fill(~mask, -torch.inf)
    assert torch.allclose(attend_plainly(q, k, v, as_numbers, score), after)


@scores
def test_heads_of_a_group_share_a_key(kind: str) -> None:
    score = seeded(kind)
    q, k, v = noise(1, H, 3, D), noise(1, 1, 5, D, seed=1), noise(1, 1, 5, D, seed=2)
    alone = attend_plainly(q, k.expand(-1, H, -1, -1), v.expand(-1, H, -1, -1), None, score)
    assert torch.equal(attend_plainly(q, k, v, None, score), alone)


@scores
@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
def test_cached_and_chunked_is_whole(kind: str, n_kv_heads: int) -> None:
    """For multi-head, grouped and multi-query; a low rank of values, and ALiBi, beside each."""
    for more in ({}, {"value_rank": 5, "positions": "alibi"}):
        config = replace(TINY, score=kind, n_kv_heads=n_kv_heads, **more)
        model, ids = tiny_model(config), torch.tensor([random_ids(30)])
        whole = model(ids)
        for sizes in ([1] * 30, [7, 1, 15, 7]):
            cache = KVCache(config)
            parts = [model(part, cache) for part in ids.split(sizes, dim=1)]
            assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-4, rtol=0)


@scores
def test_a_row_of_packed_documents_trains_as_they_would_alone(kind: str) -> None:
    model = tiny_model(replace(TINY, score=kind))
    ids, documents = torch.tensor([random_ids(20)]), torch.tensor([[0] * 8 + [1] * 12])
    alone = model.hidden(ids[:, :8])
    assert torch.allclose(model.hidden(ids, documents=documents)[:, :8], alone, atol=1e-4)


def test_dropout_drops_weights_and_keeps_their_sum_on_average() -> None:
    q, k, v = noise(1, 1, 1, D), noise(1, 1, 2000, D, seed=1), torch.ones(1, 1, 2000, 1, dtype=torch.float64)
    torch.manual_seed(0)
    kept = attend_plainly(q, k, v, None, seeded("cosine"), dropout=0.5)
    assert float(kept) == pytest.approx(1.0, abs=0.1) and float(kept) != 1.0


@given(rank=st.integers(1, 12))
def test_a_low_rank_value_map_is_one_matrix_of_that_rank_for_each_head(rank: int) -> None:
    """C to r to C: with all weights on one position, a head adds V_up · V_down · x."""
    config = replace(TINY, value_rank=rank, n_kv_heads=4, positions="none")
    attention = tiny_model(config).blocks[0].attention
    assert isinstance(attention, Attention)
    x = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(rank))
    downs = attention.qkv.weight[2 * 32 :].split(rank)  # r C for each head
    ups = attention.out.weight.split(rank, dim=1)  # C r
    maps = [up @ down for up, down in zip(ups, downs, strict=True)]
    expected = sum(m @ x[0, 0] for m in maps)
    found = attention(x, Step(None, None, None, is_causal=False))[0, 0]
    assert torch.allclose(found, expected, atol=1e-4)  # type: ignore[arg-type]
    assert torch.linalg.matrix_rank(maps[0]) <= min(rank, 32)


def test_the_cache_takes_the_bytes_that_the_config_tells() -> None:
    config = replace(TINY, value_rank=3)
    cache = KVCache(config, limit=16)
    cache.reserve(16)
    assert cache.nbytes == 16 * config.kv_bytes_per_token(4) == 16 * 2 * 2 * (8 + 3) * 4
    forked = cache.fork()
    tiny_model(config)(torch.tensor([[5, 6]]), forked)
    assert forked.length == 2


def test_initial_weights_fill_the_scores_too() -> None:
    model = DecoderLM(replace(TINY, score="additive"))
    for p in model.parameters():
        p.data.fill_(torch.nan)
    model.init_weights(torch.Generator().manual_seed(0))
    assert all(torch.isfinite(p).all() for p in model.parameters())
    score = model.blocks[0].attention.score
    assert isinstance(score, Additive) and float(score.of_key.detach().std()) == pytest.approx(8**-0.5, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"score": "euclid"}, "score must be one of scaled_dot"), ({"value_rank": 0}, "value_rank.*not 0"),
        ({"value_rank": True}, "value_rank"), ({"value_rank": 2.0}, "value_rank"),
    ],
)  # fmt: skip
def test_a_score_or_rank_that_does_not_exist_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        replace(TINY, **changes)
