"""Positions that are added to the embedding: sinusoids (Vaswani 2017). Learned ones are an Embedding of positions."""

import math

import torch
from torch import Tensor


def sinusoids(count: int, d_model: int, *, halves: bool = False) -> Tensor:
    """(count, d_model), float32: sin(p / 10000^(2i/C)) at the even and cos of the same at the odd dimensions.

    halves: all sines first, then all cosines, as Marian has them.
    """
    rates = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float32) * (-math.log(10000.0) / d_model))
    angles = torch.outer(torch.arange(count, dtype=torch.float32), rates)  # T C/2
    if halves:
        return torch.cat([angles.sin(), angles.cos()], -1)[:, :d_model]
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :d_model]


class Sinusoids:
    """Sinusoids of any position, in a table that grows by doubling, so that a decode step only slices."""

    def __init__(self, d_model: int) -> None:
        self._table = torch.empty(0, d_model)

    def rows(self, start: int, count: int, like: Tensor) -> Tensor:
        """Those of positions start .. start + count - 1, (count, C), dtype and device of `like`."""
        table, end = self._table, start + count
        if end > len(table) or table.dtype != like.dtype or table.device != like.device:
            table = self._table = self._compute(max(end, 2 * len(table), 256), like)
        return table[start:end]

    @torch.inference_mode(False)  # a table made while evaluating must serve training too
    def _compute(self, capacity: int, like: Tensor) -> Tensor:
        return sinusoids(capacity, self._table.shape[1]).to(like.device, like.dtype)
