"""The gradient of attention in bfloat16 on a processor, from a few large matrix products.

torch's fused kernel works in blocks of 32 keys, too few for a processor's matrix units, and also computes the half
that a causal mask hides. Here the backward pass is five large products; a compiler fuses the element-wise work between
them into two passes, on pieces that fit the cache: about half the time (docs/experiments.md). Uncompiled it would be
slower.
"""

from typing import Any

import torch
from torch import Tensor

QUERIES = 256  # query positions per piece; keys after them are skipped
SCORES = 2_621_440  # per piece at most: 5 MB in bfloat16


def is_faster(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float) -> bool:
    """Whether `attend` should take the gradient from here: causal packed rows in compiled training on a processor."""
    width = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q.dtype
    return (
        torch.compiler.is_compiling() and torch.is_grad_enabled() and not dropout and q.shape == k.shape == v.shape
        and q.device.type == "cpu" and width == torch.bfloat16 and mask.dtype == torch.bool
        and mask.shape == (q.shape[0], 1, q.shape[2], q.shape[2])
    )  # fmt: skip


def causal_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(q · kᵀ · scale) · v in bfloat16, of what a causal mask, B 1 T T, allows. q, k, v, and result: B H T D."""
    narrow = (x.to(torch.bfloat16) for x in (q, k, v))
    return _CausalAttention.apply(*narrow, mask, scale)  # type: ignore[no-any-return, no-untyped-call]


class _CausalAttention(torch.autograd.Function):
    """What `causal_attention` computes, and its gradient.

    Forward is torch's kernel, which tells the log of each sum of weights. With it the weights P are computed again;
    then (Dao 2022, section 3.1): dV = Pᵀ·dO;  dS = P ∘ (dO·Vᵀ - rowsum(dO ∘ O));  dQ = dS·K;  dK = dSᵀ·Q.
    of_x: the gradient by x.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
        added = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.inf)
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, log_sums = fused(q, k, v, 0.0, False, attn_mask=added, scale=scale)
        ctx.save_for_backward(q, k, v, out, log_sums, mask)
        ctx.scale = scale
        return out  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, log_sums, mask = ctx.saved_tensors
        # Contiguous: of parts of one larger tensor torch 2.13 compiles a transposed copy that is wrong in rows of 256.
        q, k, v, of_out = (x.contiguous() for x in (q, k, v, *above))
        delta = (of_out.float() * out.float()).sum(-1, keepdim=True)
        heads, count = q.shape[1:3]
        at_once = max(1, SCORES // (heads * count * min(count, QUERIES)))
        parts = (x.split(at_once) for x in (q, k, v, of_out, log_sums.unsqueeze(-1), delta, mask))
        pieces = [_gradients(ctx.scale, *some) for some in zip(*parts, strict=True)]
        return (*(torch.cat(some) for some in zip(*pieces, strict=True)), None, None)


def _gradients(
    scale: float, q: Tensor, k: Tensor, v: Tensor, of_out: Tensor, log_sums: Tensor, delta: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by q, k and v of some rows, QUERIES positions after another."""
    of_q: list[Tensor] = []
    of_k, of_v = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
    for start in range(0, q.shape[2], QUERIES):
        new = slice(start, start + QUERIES)
        seen = slice(0, min(start + QUERIES, k.shape[2]))
        scores = q[:, :, new] @ k[:, :, seen].transpose(-1, -2)
        weights = torch.where(mask[:, :, new, seen], (scores.float() * scale - log_sums[:, :, new]).exp(), 0.0)
        of_weights = of_out[:, :, new] @ v[:, :, seen].transpose(-1, -2)
        of_scores = (weights * (of_weights.float() - delta[:, :, new]) * scale).to(q.dtype)
        of_q.append(of_scores @ k[:, :, seen])
        of_k[:, :, seen] += of_scores.transpose(-1, -2) @ q[:, :, new]
        of_v[:, :, seen] += weights.to(q.dtype).transpose(-1, -2) @ of_out[:, :, new]
    return torch.cat(of_q, 2), of_k.to(k.dtype), of_v.to(v.dtype)
