"""Attention of grouped heads (Vaswani 2017; Ainslie 2023), to itself or to a source; masks; its definition."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config import ModelConfig
from engine.layers.attention_gradient import causal_attention, is_faster
from engine.layers.linear import Linear
from engine.layers.norms import make_norm
from engine.layers.positions import rotate
from engine.layers.scores import Score, capped, make_score, scaled_dot

if TYPE_CHECKING:
    from engine.cache import LayerCache


@dataclass(frozen=True, slots=True)
class Step:
    """What all layers of one forward pass share.

    cos, sin: T 1 D, or None where positions are told in another way.  mask: T S or B 1 T S, True where attention is
    allowed, or numbers B H T S that are added to the scores, -inf where it is not; None with is_causal False means
    that everything may be seen (a single new position).  is_causal: no position may see a later one, with a mask or
    without.  dropout: share of the attention weights and of each
    residual branch that is dropped; 0 but in training.  memory_mask: B 1 1 S, True at the positions of an encoded
    source that are no padding.  router_losses: given in training; each layer of experts appends its own, weighted.
    real: B T, False at padding, which is no load for experts in training; None: there is none.  last: so many
    positions, the newest, are all that any of the new ones may see, and all that the mask is for; None: S are.
    """

    cos: Tensor | None
    sin: Tensor | None
    mask: Tensor | None
    is_causal: bool
    dropout: float = 0.0
    memory_mask: Tensor | None = None
    router_losses: list[Tensor] | None = None
    real: Tensor | None = None
    last: int | None = None


def causal_mask(start: int, count: int, device: torch.device, window: int | None = None) -> Tensor:
    """(count, start + count), True where new position start + t may see position s: s <= start + t.

    With a window also s > start + t - window: the position itself and window - 1 before it.
    """
    rows = torch.arange(start, start + count, device=device).unsqueeze(1)
    columns = torch.arange(start + count, device=device)
    return columns <= rows if window is None else (columns <= rows) & (columns > rows - window)


def document_mask(documents: Tensor, window: int | None = None) -> Tensor:
    """B T document numbers -> B 1 T T: causal, and only within one document (packed training rows)."""
    same = documents.unsqueeze(1) == documents.unsqueeze(2)
    return (same.tril() if window is None else same.tril().triu(1 - window)).unsqueeze(1)


def padding_mask(ids: Tensor, pad_id: int) -> Tensor:
    """B S ids -> B 1 1 S, True where there is no padding."""
    return (ids != pad_id)[:, None, None]


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool, dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:  # fmt: skip
    """Scaled dot-product attention by torch's fused kernel.

    q: B H T D.  k, v: B K S D with H a multiple of K.  mask, is_causal: as in `Step`.  scale: of the products; 1 / √D
    if not given.  Returns B H T D.
    """
    if mask is not None and is_causal and is_faster(q, k, v, mask, dropout):
        return causal_attention(q, k, v, mask, q.shape[-1] ** -0.5 if scale is None else scale)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal and mask is None, scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )  # fmt: skip


def attend_capped(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cap: float, dropout: float = 0.0, scale: float | None = None
) -> Tensor:
    """The same with capped scores, which the fused kernel has not; keys and values are not repeated for the heads."""
    batch, heads, count, dim = q.shape
    grouped = (q * (dim**-0.5 if scale is None else scale)).reshape(batch, k.shape[1], -1, dim)  # B K H/K·T D
    scores = capped(grouped @ k.transpose(-1, -2), cap).view(batch, heads, count, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(-1, dtype=torch.float32).to(v.dtype)
    weights = functional.dropout(weights, dropout) if dropout else weights
    return (weights.view(batch, k.shape[1], -1, k.shape[2]) @ v).view(batch, heads, count, -1)


def attend_plainly(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, score: Score = scaled_dot, dropout: float = 0.0
) -> Tensor:
    """The definition that `attend` is tested against: softmax(score(q, k)) · v, head by group. Same shapes."""
    weights = attention_weights(q, k, mask, score)
    v = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)
    return (functional.dropout(weights, dropout) if dropout else weights) @ v


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None, score: Score = scaled_dot) -> Tensor:
    """softmax(score(q, k)), B H T S: how much each new position takes of each position that it may see."""
    scores = score(q, k.repeat_interleave(q.shape[1] // k.shape[1], dim=1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


class Attention(nn.Module):
    """Self-attention, with rotary positions where the step has angles. B T C -> B T C.

    The projections to queries, keys and values are one matrix, in that order of rows. Only scores of the scaled dot
    product go through the fused kernel; the others have all scores in memory at once.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        self.qkv = Linear(config.d_model, sum(config.qkv_rows), bias=config.attention_bias or config.qkv_bias)
        self.out = Linear(config.n_heads * config.value_dim, config.d_model, bias=config.attention_bias)
        self.score = None if config.score == "scaled_dot" else make_score(config)
        self.scale = None if config.score_dim is None else config.score_dim**-0.5
        self.cap = config.score_cap
        self.definition = partial(scaled_dot, dim=config.score_dim, cap=config.score_cap)
        self.qk_norm = None if config.qk_norm == "none" else QKNorm(config)

    def forward(self, x: Tensor, step: Step, cache: "LayerCache | None" = None) -> Tensor:
        batch, count, _ = x.shape
        q, k, v = self._heads(x, step)
        if cache is not None:
            k, v = cache.write(k, v, step.last)
        elif step.last is not None:
            k, v = k[:, :, -step.last :], v[:, :, -step.last :]
        if self.score is None and self.cap is None:
            mixed = attend(q, k, v, step.mask, step.is_causal, step.dropout, self.scale)
        else:
            mask = causal_mask(0, count, x.device) if step.is_causal and step.mask is None else step.mask
            if self.score is not None:
                mixed = attend_plainly(q, k, v, mask, self.score, step.dropout)
            else:
                assert self.cap is not None
                mixed = attend_capped(q, k, v, mask, self.cap, step.dropout, self.scale)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, -1))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, step: Step) -> Tensor:
        """What `forward` without a cache weighs values with, B H T T: to look at, never on the way to an answer."""
        q, k, _ = self._heads(x, step)
        mask = causal_mask(0, x.shape[1], x.device) if step.is_causal and step.mask is None else step.mask
        return attention_weights(q, k, mask, self.score or self.definition)

    def _heads(self, x: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Queries B H T D, keys and values B K T D, rotated where the step has angles."""
        batch, count, _ = x.shape
        heads = self.n_heads + self.n_kv_heads
        qk, v = self.qkv(x).tensor_split((heads * self.head_dim,), dim=-1)
        if self.qk_norm is not None:
            qk = self.qk_norm(qk)
        qk, v = qk.view(batch, count, heads, -1), v.view(batch, count, self.n_kv_heads, -1)  # B T H+K D, B T K D
        if step.cos is not None and step.sin is not None:
            qk = rotate(qk, step.cos, step.sin)
        q, k = qk.transpose(1, 2).tensor_split((self.n_heads,), dim=1)
        return q, k, v.transpose(1, 2)


class QKNorm(nn.Module):
    """Norms of queries and keys, of each head (Henry 2020; Qwen 3) or of all heads of a position at once (OLMo 2).

    B T (H+K)·D -> the same.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.rows = config.qkv_rows[:2]
        self.head_dim = config.head_dim if config.qk_norm == "head" else None
        widths = (self.head_dim,) * 2 if self.head_dim is not None else self.rows
        self.q_norm, self.k_norm = (make_norm(config, width) for width in widths)

    def forward(self, qk: Tensor) -> Tensor:
        q, k = qk.tensor_split(self.rows[:1], dim=-1)
        if self.head_dim is None:
            return torch.cat([self.q_norm(q), self.k_norm(k)], -1)
        q, k = (part.view(*part.shape[:-1], -1, self.head_dim) for part in (q, k))
        return torch.cat([self.q_norm(q), self.k_norm(k)], -2).flatten(-2)


Memory = tuple[Tensor, Tensor]  # keys and values of an encoded source, each B K S D


class CrossAttention(nn.Module):
    """Attention from new positions to an encoded source (Vaswani 2017, section 3.2.3). B T C -> B T C.

    Queries come from the decoder. Keys and values come from the encoder: `memory` computes them, once for a source.
    Neither is rotated: the distance between a word and its translation says nothing.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_kv_heads, self.head_dim = config.n_kv_heads, config.head_dim
        rows, *of_memory = config.qkv_rows
        self.q = Linear(config.d_model, rows, bias=config.attention_bias)
        self.kv = Linear(config.d_model, sum(of_memory), bias=config.attention_bias)
        self.out = Linear(rows, config.d_model, bias=config.attention_bias)
        self.score = None if config.score == "scaled_dot" else make_score(config)

    def memory(self, encoded: Tensor) -> Memory:
        """Keys and values of an encoded source, B S C -> twice B K S D."""
        batch, length, _ = encoded.shape
        heads = self.kv(encoded).view(batch, length, -1, self.head_dim).transpose(1, 2)  # B 2K S D
        k, v = heads.tensor_split((self.n_kv_heads,), dim=1)
        return k, v

    def forward(self, x: Tensor, memory: Memory, step: Step) -> Tensor:
        batch, count, _ = x.shape
        q = self._queries(x)
        if self.score is None:
            mixed = attend(q, *memory, step.memory_mask, False, step.dropout)
        else:
            mixed = attend_plainly(q, *memory, step.memory_mask, self.score, step.dropout)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, -1))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, memory: Memory, step: Step) -> Tensor:
        """What `forward` weighs the encoded source with, B H T S: to look at."""
        return attention_weights(self._queries(x), memory[0], step.memory_mask, self.score or scaled_dot)

    def _queries(self, x: Tensor) -> Tensor:
        return self.q(x).view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)  # type: ignore[no-any-return]  # B H T D
