"""Positions, attention and norms, each against its formula."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import KINDS, TINY

from engine.config import RopeScaling
from engine.layers.attention import attend, attend_plainly, causal_mask, document_mask
from engine.layers.feedforward import GatedMLP
from engine.layers.norms import RMSNorm
from engine.layers.positions import RotaryTable, inverse_frequencies, rotate

LIKE = torch.empty(0)


def test_rms_norm_is_its_formula() -> None:
    norm = RMSNorm(16, eps=0.3)
    norm.weight.data = torch.randn(16)
    x = torch.randn(2, 3, 16)
    expected = x / (x.pow(2).mean(-1, keepdim=True) + 0.3).sqrt() * norm.weight
    assert torch.allclose(norm(x), expected, atol=1e-6)


def test_gated_mlp_is_its_formula() -> None:
    mlp = GatedMLP(replace(TINY, mlp_bias=True)).requires_grad_(False)
    for p in mlp.parameters():
        p.normal_(0, 0.3)
    x = torch.randn(5, 32)
    gate, up = (
        x @ mlp.gate_up.weight.T[:, :48] + mlp.gate_up.bias[:48],
        x @ mlp.gate_up.weight.T[:, 48:] + mlp.gate_up.bias[48:],
    )
    expected = (gate * torch.sigmoid(gate) * up) @ mlp.down.weight.T + mlp.down.bias
    assert torch.allclose(mlp(x), expected, atol=1e-5)


@given(start=st.integers(0, 9), count=st.integers(1, 9))
def test_a_position_sees_itself_and_what_came_before(start: int, count: int) -> None:
    mask = causal_mask(start, count, torch.device("cpu"))
    assert mask.tolist() == [[s <= start + t for s in range(start + count)] for t in range(count)]


def test_a_document_sees_itself_only() -> None:
    mask = document_mask(torch.tensor([[0, 0, 1], [0, 1, 1]]))
    assert mask[0, 0].tolist() == [[True, False, False], [True, True, False], [False, False, True]]
    assert mask[1, 0].tolist() == [[True, False, False], [False, True, False], [False, True, True]]


@given(
    groups=st.integers(1, 3), share=st.integers(1, 3), start=st.integers(0, 6), count=st.integers(1, 6),
    half=st.integers(1, 8), batch=st.integers(1, 2), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_fused_attention_is_the_plain_one(
    groups: int, share: int, start: int, count: int, half: int, batch: int, seed: int
) -> None:
    """A1, A5: every shape, also a single position."""
    generator = torch.Generator().manual_seed(seed)

    def noise(heads: int, positions: int) -> torch.Tensor:
        return torch.randn(batch, heads, positions, 2 * half, generator=generator)

    q, k, v = noise(groups * share, count), noise(groups, start + count), noise(groups, start + count)
    mask = causal_mask(start, count, q.device)
    fused = attend(q, k, v, mask, is_causal=False)
    assert torch.allclose(fused, attend_plainly(q, k, v, mask), atol=1e-5)
    assert torch.isfinite(fused).all()
    if start == 0:
        assert torch.allclose(attend(q, k, v, None, is_causal=True), fused, atol=1e-5)
    if count == 1:
        assert torch.allclose(attend(q, k, v, None, is_causal=False), fused, atol=1e-5)


def test_plain_attention_is_a_weighted_mean_written_out() -> None:
    q, k, v = torch.randn(1, 2, 2, 4), torch.randn(1, 1, 3, 4), torch.randn(1, 1, 3, 4)
    mask = causal_mask(1, 2, q.device)
    result = attend_plainly(q, k, v, mask)
    for head in range(2):
        for t in range(2):
            seen = [s for s in range(3) if s <= 1 + t]
            scores = [math.exp(float(q[0, head, t] @ k[0, 0, s]) / 2) for s in seen]
            expected = sum(w / sum(scores) * v[0, 0, s] for w, s in zip(scores, seen, strict=True))
            assert torch.allclose(result[0, head, t], expected, atol=1e-6)


def test_a_rotation_turns_each_pair_by_its_angle() -> None:
    cos, sin = RotaryTable(TINY).angles(3, 4, LIKE)
    x = torch.randn(1, 4, 2, 8)
    turned = rotate(x, cos, sin)
    for t, head, i in ((0, 0, 0), (2, 1, 3), (3, 0, 1)):
        angle = (3 + t) / 10000 ** (2 * i / 8)
        first, second = float(x[0, t, head, i]), float(x[0, t, head, i + 4])
        assert float(turned[0, t, head, i]) == pytest.approx(
            first * math.cos(angle) - second * math.sin(angle), abs=1e-5
        )
        assert float(turned[0, t, head, i + 4]) == pytest.approx(
            second * math.cos(angle) + first * math.sin(angle), abs=1e-5
        )


def test_scores_depend_on_the_distance_and_not_on_the_place() -> None:
    table, q, k = RotaryTable(TINY), torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(at: int, seen: int) -> float:
        return float((rotate(q, *table.angles(at, 1, LIKE)) * rotate(k, *table.angles(seen, 1, LIKE))).sum())

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1e-4)
    assert abs(score(9, 4) - score(9, 5)) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_angles_do_not_depend_on_how_the_table_grew(kind: str) -> None:
    """K2"""
    config = replace(KINDS[kind], max_positions=2048)
    grown = RotaryTable(config)
    for start, count in ((0, 1), (1, 5), (6, 300), (0, 7), (700, 1), (306, 2)):
        fresh = RotaryTable(config).angles(start, count, LIKE)
        for a, b in zip(grown.angles(start, count, LIKE), fresh, strict=True):
            assert a.shape == (count, 1, config.head_dim) and torch.equal(a, b)


def test_angles_of_bf16_are_computed_in_float32() -> None:
    table = RotaryTable(TINY)
    exact = table.angles(0, 3000, LIKE)[0]
    rounded = table.angles(0, 3000, LIKE.bfloat16())[0]
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded, exact.bfloat16())
    assert torch.equal(table.angles(0, 3000, LIKE)[0], exact)  # and back


def test_default_and_linear_frequencies() -> None:
    plain = inverse_frequencies(TINY, 1)
    assert plain.tolist() == pytest.approx([1, 0.1, 0.01, 0.001])
    halved = inverse_frequencies(replace(TINY, rope_scaling=RopeScaling("linear", 2.0, 64)), 1)
    assert torch.equal(halved, plain / 2)


def test_dynamic_frequencies_change_only_past_the_maximum() -> None:
    config = replace(TINY, max_positions=32, rope_scaling=RopeScaling("dynamic", 2.0, 32))
    assert torch.equal(inverse_frequencies(config, 32), inverse_frequencies(TINY, 32))
    base = 10000 * (2 * 64 / 32 - 1) ** (8 / 6)
    assert inverse_frequencies(config, 64).tolist() == pytest.approx([base ** (-i / 4) for i in range(4)])


def test_llama3_keeps_short_wavelengths_and_divides_long_ones() -> None:
    config = replace(TINY, rope_scaling=RopeScaling("llama3", 8.0, 64))
    plain, scaled = inverse_frequencies(TINY, 1), inverse_frequencies(config, 1)
    for before, after in zip(plain.tolist(), scaled.tolist(), strict=True):
        wavelength = 2 * math.pi / before
        if wavelength < 64 / 4:
            assert after == before
        elif wavelength > 64:
            assert after == pytest.approx(before / 8)
        else:
            assert before / 8 < after < before


def test_yarn_scales_cosines_by_its_attention_factor() -> None:
    config = replace(TINY, rope_scaling=RopeScaling("yarn", 4.0, 64, attention_factor=1.5))
    cos, sin = RotaryTable(config).angles(0, 5, LIKE)
    assert torch.allclose(cos[0], torch.full((1, 8), 1.5)) and torch.equal(sin[0].abs(), torch.zeros(1, 8))
    assert torch.allclose(cos**2 + sin**2, torch.full_like(cos, 2.25))
