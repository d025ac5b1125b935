"""Positions as a number that is added to each score, learned for buckets of distances (T5, Raffel 2019)."""

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
