"""Attention of grouped heads (Vaswani 2017; Ainslie 2023), to itself or to a source; masks; its definition."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config import ModelConfig
from engine.layers.linear import Linear
from engine.layers.positions import rotate
from engine.layers.scores import Score, make_score, scaled_dot

if TYPE_CHECKING:
    from engine.cache import LayerCache


@dataclass(frozen=True, slots=True)
class Step:
    """What all layers of one forward pass share.

    cos, sin: T 1 D, or None where positions are told in another way.  mask: T S or B 1 T S, True where attention is
    allowed, or numbers B H T S that are added to the scores, -inf where it is not; None with is_causal False means
    that everything may be seen (a single new position).  dropout: share of the attention weights and of each
    residual branch that is dropped; 0 but in training.  memory_mask: B 1 1 S, True at the positions of an encoded
    source that are no padding.  router_losses: given in training; each layer of experts appends its own, weighted.
    real: B T, False at padding, which is no load for experts in training; None: there is none.
    """

    cos: Tensor | None
    sin: Tensor | None
    mask: Tensor | None
    is_causal: bool
    dropout: float = 0.0
    memory_mask: Tensor | None = None
    router_losses: list[Tensor] | None = None
    real: Tensor | None = None


def causal_mask(start: int, count: int, device: torch.device) -> Tensor:
    """(count, start + count), True where new position start + t may see position s: s <= start + t."""
    rows = torch.arange(start, start + count, device=device).unsqueeze(1)
    return torch.arange(start + count, device=device) <= rows


def document_mask(documents: Tensor) -> Tensor:
    """B T document numbers -> B 1 T T: causal, and only within one document (packed training rows)."""
    same = documents.unsqueeze(1) == documents.unsqueeze(2)
    return same.tril().unsqueeze(1)


def padding_mask(ids: Tensor, pad_id: int) -> Tensor:
    """B S ids -> B 1 1 S, True where there is no padding."""
    return (ids != pad_id)[:, None, None]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention by torch's fused kernel.

    q: B H T D.  k, v: B K S D with H a multiple of K.  Returns B H T D.
    """
    grouped = q.shape[1] != k.shape[1]
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal, enable_gqa=grouped
    )


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
        self.qkv = Linear(config.d_model, sum(config.qkv_rows), bias=config.attention_bias)
        self.out = Linear(config.n_heads * config.value_dim, config.d_model, bias=config.attention_bias)
        self.score = None if config.score == "scaled_dot" else make_score(config)

    def forward(self, x: Tensor, step: Step, cache: "LayerCache | None" = None) -> Tensor:
        batch, count, _ = x.shape
        q, k, v = self._heads(x, step)
        if cache is not None:
            k, v = cache.write(k, v)
        if self.score is None:
            mixed = attend(q, k, v, step.mask, step.is_causal, step.dropout)
        else:
            mask = causal_mask(0, count, x.device) if step.is_causal else step.mask
            mixed = attend_plainly(q, k, v, mask, self.score, step.dropout)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, -1))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, step: Step) -> Tensor:
        """What `forward` without a cache weighs values with, B H T T: to look at, never on the way to an answer."""
        q, k, _ = self._heads(x, step)
        mask = causal_mask(0, x.shape[1], x.device) if step.is_causal else step.mask
        return attention_weights(q, k, mask, self.score or scaled_dot)

    def _heads(self, x: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Queries B H T D, keys and values B K T D, rotated where the step has angles."""
        batch, count, _ = x.shape
        heads = self.n_heads + self.n_kv_heads
        qk, v = self.qkv(x).tensor_split((heads * self.head_dim,), dim=-1)
        qk, v = qk.view(batch, count, heads, -1), v.view(batch, count, self.n_kv_heads, -1)  # B T H+K D, B T K D
        if step.cos is not None and step.sin is not None:
            qk = rotate(qk, step.cos, step.sin)
        q, k = qk.transpose(1, 2).tensor_split((self.n_heads,), dim=1)
        return q, k, v.transpose(1, 2)


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
