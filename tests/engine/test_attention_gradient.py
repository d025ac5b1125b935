"""engine/layers/attention_gradient.py: the gradient of attention that compiled training on a processor takes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.layers import attention, attention_gradient
from engine.layers.attention import attend, attend_plainly, causal_mask, document_mask
from engine.layers.attention_gradient import causal_attention, is_faster


def heads(batch: int = 3, n_heads: int = 2, count: int = 21, dim: int = 8) -> list[Tensor]:
    """Queries, keys, values and what comes from above, of numbers that bfloat16 holds."""
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randn(batch, n_heads, count, dim, generator=generator) for _ in range(4))
    return [x.bfloat16().float() for x in drawn]


def documents(batch: int, count: int) -> Tensor:
    """A mask of packed rows: two documents in each, the second from another position on."""
    numbers = (torch.arange(count) >= torch.arange(4, 4 + batch).unsqueeze(1)).long()
    return document_mask(numbers)


def gradients(attention_of: Any, q: Tensor, k: Tensor, v: Tensor, above: Tensor) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = attention_of(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, above.to(out.dtype))]


@pytest.mark.parametrize(("queries", "scores"), [(256, 10**9), (8, 10**9), (8, 1), (7, 2 * 2 * 21 * 7), (21, 1)])
def test_out_and_gradients_are_those_of_the_definition(
    queries: int, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, in blocks of queries that do not divide the row, and in rows one after another."""
    monkeypatch.setattr(attention_gradient, "QUERIES", queries)
    monkeypatch.setattr(attention_gradient, "SCORES", scores)
    q, k, v, above = heads()
    mask = documents(3, 21)
    ours = gradients(lambda *x: causal_attention(*x, mask, 0.3), q, k, v, above)
    exact = gradients(lambda *x: attend_plainly(x[0] * (0.3 * 8**0.5), *x[1:], mask), q, k, v, above)
    for one, other in zip(ours, exact, strict=True):
        assert float((one.float() - other).norm() / other.norm()) < 0.01


def test_what_a_mask_hides_has_no_gradient() -> None:
    q, k, v, above = heads()
    above[:, :, 4:] = 0  # so all comes from positions 0 to 3, which see no later one
    _, _, of_k, of_v = gradients(lambda *x: causal_attention(*x, documents(3, 21), 0.3), q, k, v, above)
    assert of_k[:, :, 4:].abs().sum() == 0 == of_v[:, :, 4:].abs().sum()
    assert of_v[:, :, :4].abs().sum() > 0


@pytest.mark.parametrize(
    "change",
    ["", "eager", "no gradient", "dropout", "grouped", "narrow values", "float32", "numbers", "not to itself"],
)
def test_it_is_taken_only_where_it_is_faster_and_right(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: change != "eager")
    q, k, v, _ = (x.bfloat16() for x in heads())
    mask = documents(3, 21)
    if change == "narrow values":
        v = v[..., :4]
    elif change == "grouped":
        k = k[:, :1]
    elif change == "float32":
        q = q.float()
    elif change == "numbers":
        mask = mask.float()
    elif change == "not to itself":
        mask = mask[..., :1, :]
    with torch.set_grad_enabled(change != "no gradient"):
        assert is_faster(q, k, v, mask, 0.1 if change == "dropout" else 0.0) == (change == "")


def test_autocast_narrows_what_positions_have_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotated queries are float32 again; torch's kernel gets them in bfloat16, and so does this."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    q, k, v, _ = heads()
    mask = documents(3, 21)
    assert not is_faster(q, k, v, mask, 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_faster(q, k, v, mask, 0.0)
        assert attend(q, k, v, mask, is_causal=True).dtype == torch.bfloat16


@pytest.mark.parametrize("is_causal", [True, False])
def test_a_mask_that_may_look_ahead_never_comes_here(is_causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder's mask has the same shape; keys behind a block of queries would lose their gradient."""
    called: list[Tensor] = []
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(attention, "causal_attention", lambda q, *rest: called.append(q) or q)
    q, k, v, _ = (x.bfloat16() for x in heads())
    attend(q, k, v, causal_mask(0, 21, q.device).expand(3, 1, 21, 21), is_causal)
    assert bool(called) == is_causal


@pytest.mark.parametrize("count", [64, *(pytest.param(n, marks=pytest.mark.slow) for n in (21, 256, 320))])
def test_compiled_packed_rows_take_it(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Laid out as in a model, in four pieces: torch 2.13 compiled a transposed copy of such values wrongly."""
    torch._dynamo.reset()
    monkeypatch.setattr(attention_gradient, "SCORES", 8 * 5 * count * min(count, 256))
    q, k, v, above = (x.bfloat16().transpose(1, 2).contiguous().transpose(1, 2) for x in heads(32, 5, count, 64))
    mask = documents(32, count)

    def run(*x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return attend(*x, mask, is_causal=True)

    ours = gradients(torch.compile(run, fullgraph=True), q, k, v, above)
    exact = gradients(lambda *x: attend_plainly(*x, mask), *(x.float() for x in (q, k, v, above)))
    for one, other in zip(ours, exact, strict=True):
        assert float((one.float() - other).norm() / other.norm()) < 0.02
