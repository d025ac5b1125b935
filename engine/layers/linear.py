"""Matrices without initial values: they are loaded, or filled by `DecoderLM.init_weights`.

torch's own Linear and Embedding fill themselves when they are made; on the meta device that alone imports torch's
compiler (4 s and 75 MB, measured), for values that nobody reads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Module):
    """x · weightᵀ + bias. weight: (d_out, d_in)."""

    def __init__(self, d_in: int, d_out: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_out, d_in))
        self.bias = nn.Parameter(torch.empty(d_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class Embedding(nn.Module):
    """A row of weight (V C) for each id: B T -> B T C."""

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))

    def forward(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.weight)

    def logits(self, x: Tensor) -> Tensor:
        """Where it is the head too: ... C -> ... V."""
        return functional.linear(x, self.weight)
