"""Positions that are added to the embedding: sinusoids (Vaswani 2017). Learned ones are an Embedding of positions."""

import math

import torch
from torch import Tensor


def sinusoids(count: int, d_model: int) -> Tensor:
    """(count, d_model), float32: sin(p / 10000^(2i/C)) at the even and cos of the same at the odd dimensions."""
    rates = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float32) * (-math.log(10000.0) / d_model))
    angles = torch.outer(torch.arange(count, dtype=torch.float32), rates)  # T C/2
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :d_model]
