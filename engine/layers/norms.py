"""Normalisation of the residual stream."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config import ModelConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) * weight, over the last dimension (Zhang & Sennrich 2019). Shape is kept."""

    def __init__(self, d_model: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class RMSNormPlusOne(RMSNorm):
    """An RMSNorm whose weights are stored less 1, so that they begin at 0 (Gemma). Shape is kept.

    The sum is taken in float32: in bf16 it would round away what the weights are.
    """

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x.float(), (x.shape[-1],), self.weight.float() + 1.0, self.eps).to(x.dtype)


class LayerNorm(nn.Module):
    """(x - mean(x)) / sqrt(var(x) + eps) * weight + bias, over the last dimension (Ba 2016). Shape is kept."""

    def __init__(self, d_model: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(d_model))
        self.bias = nn.Parameter(torch.empty(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.eps)


NORMS: dict[str, type[RMSNorm] | type[LayerNorm]] = {
    "rms": RMSNorm, "rms_plus_one": RMSNormPlusOne, "layer": LayerNorm,
}  # fmt: skip


def make_norm(config: ModelConfig, width: int | None = None) -> RMSNorm | LayerNorm:
    """A norm of the config's kind, over `width` numbers (None: d_model)."""
    return NORMS[config.norm](width or config.d_model, config.norm_eps)
