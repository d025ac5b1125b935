"""Positions as a number that is added to each score: learned for buckets of distances (T5, Raffel 2019), or less the
further the key is (ALiBi, Press 2021)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def distance_buckets(distances: Tensor, n_buckets: int, max_distance: int, *, both_ways: bool) -> Tensor:
    """The bucket of each distance (key's position minus query's), any shape, whole numbers.

    Half of the buckets are for single distances, the rest grow as logarithms up to max_distance, and all beyond share
    the last. both_ways: keys after the query have buckets of their own, half of all; else they have bucket 0.
    """
    offset = torch.zeros_like(distances)
    if both_ways:
        n_buckets //= 2
        offset = (distances > 0).long() * n_buckets
        distances = distances.abs()
    else:
        distances = -distances.clamp_max(0)
    exact = n_buckets // 2
    ratio = torch.log(distances.clamp_min(1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (ratio * (n_buckets - exact)).long()).clamp_max(n_buckets - 1)
    return offset + torch.where(distances < exact, distances, far)


class RelativeBias(nn.Module):
    """What is added to the scores of all layers: 1 H T S for new positions start .. start + T - 1, S = start + T."""

    def __init__(self, n_heads: int, n_buckets: int, max_distance: int, *, both_ways: bool) -> None:
        super().__init__()
        self.n_buckets, self.max_distance, self.both_ways = n_buckets, max_distance, both_ways
        self.weight = nn.Parameter(torch.empty(n_buckets, n_heads))

    def forward(self, start: int, count: int) -> Tensor:
        queries = torch.arange(start, start + count, device=self.weight.device).unsqueeze(1)
        distances = torch.arange(start + count, device=self.weight.device) - queries  # T S
        buckets = distance_buckets(distances, self.n_buckets, self.max_distance, both_ways=self.both_ways)
        return functional.embedding(buckets, self.weight).permute(2, 0, 1).unsqueeze(0)


def alibi_slopes(n_heads: int) -> list[float]:
    """What one position of distance costs each head: 2^(-8/H), 2^(-16/H), .. 2^-8 where H is a power of two.

    Other numbers of heads take the slopes of the power below, then every second one of the power above (Press 2021).
    """
    power = 1 << (n_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    return slopes + [2 ** (-4 * (i + 1) / power) for i in range(0, 2 * (n_heads - power), 2)]


class Alibi:
    """What is added to the scores of all layers: -slope · (query's position - key's), for each head. No parameters."""

    def __init__(self, n_heads: int) -> None:
        self._slopes = torch.tensor(alibi_slopes(n_heads)).unsqueeze(1)  # H 1
        self._table = torch.empty(n_heads, 0)  # the last column is distance 0

    def bias(self, start: int, count: int, like: Tensor) -> Tensor:
        """1 H T S for new positions start .. start + T - 1, S = start + T; dtype and device of `like`.

        Keys after the query have the cost of distance 0; a mask must hide them. One new position costs a slice.
        """
        end = start + count
        table = self._row(end, like)
        if count == 1:
            return table[None, :, None, table.shape[1] - end :]
        queries = torch.arange(start, end, device=like.device).unsqueeze(1)
        distances = (queries - torch.arange(end, device=like.device)).clamp_min(0)  # T S
        return table[:, table.shape[1] - 1 - distances].unsqueeze(0)

    def _row(self, length: int, like: Tensor) -> Tensor:
        """H N: what distances N - 1 .. 0 cost, N at least `length`; grown by doubling."""
        table = self._table
        if length > table.shape[1] or table.dtype != like.dtype or table.device != like.device:
            table = self._table = self._compute(max(length, 2 * table.shape[1], 256), like)
        return table

    @torch.inference_mode(False)  # a table made while evaluating must serve training too
    def _compute(self, capacity: int, like: Tensor) -> Tensor:
        distances = torch.arange(capacity - 1, -1, -1, dtype=torch.float32)
        return (-self._slopes * distances).to(like.device, like.dtype)
