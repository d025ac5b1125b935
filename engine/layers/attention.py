"""Attention of grouped heads (Vaswani 2017; Ainslie 2023), to itself or to a source; masks; its definition."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config import ModelConfig
from engine.layers.linear import Linear
from engine.layers.positions import rotate

if TYPE_CHECKING:
    from engine.cache import LayerCache


@dataclass(frozen=True, slots=True)
class Step:
    """What all layers of one forward pass share.

    cos, sin: T 1 D, or None where positions are told in another way.  mask: T S or B 1 T S, True where attention is
    allowed, or numbers B H T S that are added to the scores, -inf where it is not; None with is_causal False means
    that everything may be seen (a single new position).  dropout: share of the attention weights and of each
    residual branch that is dropped; 0 but in training.  memory_mask: B 1 1 S, True at the positions of an encoded
    source that are no padding.
    """

    cos: Tensor | None
    sin: Tensor | None
    mask: Tensor | None
    is_causal: bool
    dropout: float = 0.0
    memory_mask: Tensor | None = None


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


def attend_plainly(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The definition that `attend` is tested against: softmax(q·kᵀ / √D) · v, head by group. Same shapes."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1) @ v


class Attention(nn.Module):
    """Self-attention, with rotary positions where the step has angles. B T C -> B T C.

    The projections to queries, keys and values are one matrix, in that order of rows.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        self.qkv = Linear(config.d_model, sum(config.qkv_rows), bias=config.attention_bias)
        self.out = Linear(config.n_heads * config.head_dim, config.d_model, bias=config.attention_bias)

    def forward(self, x: Tensor, step: Step, cache: "LayerCache | None" = None) -> Tensor:
        batch, count, _ = x.shape
        heads = self.qkv(x).view(batch, count, -1, self.head_dim)  # B T H+2K D
        qk, v = heads.tensor_split((self.n_heads + self.n_kv_heads,), dim=2)
        if step.cos is not None and step.sin is not None:
            qk = rotate(qk, step.cos, step.sin)
        q, k = qk.transpose(1, 2).tensor_split((self.n_heads,), dim=1)
        v = v.transpose(1, 2)
        if cache is not None:
            k, v = cache.write(k, v)
        mixed = attend(q, k, v, step.mask, step.is_causal, step.dropout)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, -1))  # type: ignore[no-any-return]


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

    def memory(self, encoded: Tensor) -> Memory:
        """Keys and values of an encoded source, B S C -> twice B K S D."""
        batch, length, _ = encoded.shape
        heads = self.kv(encoded).view(batch, length, -1, self.head_dim).transpose(1, 2)  # B 2K S D
        k, v = heads.tensor_split((self.n_kv_heads,), dim=1)
        return k, v

    def forward(self, x: Tensor, memory: Memory, step: Step) -> Tensor:
        batch, count, _ = x.shape
        q = self.q(x).view(batch, count, -1, self.head_dim).transpose(1, 2)  # B H T D
        mixed = attend(q, *memory, step.memory_mask, False, step.dropout)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, -1))  # type: ignore[no-any-return]
