"""Blocks: attention and feed-forward on a residual path, with norms before (Xiong 2020) or after (Vaswani 2017)."""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from engine.config import Activation, ModelConfig, NormPlace
from engine.layers.attention import Attention, CrossAttention, Memory, Step
from engine.layers.feedforward import feed_forward
from engine.layers.norms import RMSNorm

if TYPE_CHECKING:
    from engine.cache import LayerCache


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). B T C -> B T C."""

    def __init__(self, config: ModelConfig, activation: Activation = "swiglu") -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.d_model, config.norm_eps)
        self.mlp = feed_forward(config, activation)

    def forward(self, x: Tensor, step: Step, cache: "LayerCache | None" = None) -> Tensor:
        x = x + _dropped(self.attention(self.attention_norm(x), step, cache), step.dropout)
        return x + _dropped(self.mlp(self.mlp_norm(x)), step.dropout)


class PostNormBlock(Block):
    """norm(x + attention(x)), then norm(x + mlp(x)). B T C -> B T C."""

    def forward(self, x: Tensor, step: Step, cache: "LayerCache | None" = None) -> Tensor:
        x = self.attention_norm(x + _dropped(self.attention(x, step, cache), step.dropout))
        return self.mlp_norm(x + _dropped(self.mlp(x), step.dropout))  # type: ignore[no-any-return]


class CrossBlock(Block):
    """A block of a decoder that looks at an encoded source between its two parts. B T C -> B T C."""

    def __init__(self, config: ModelConfig, activation: Activation = "swiglu", norm: NormPlace = "before") -> None:
        super().__init__(config, activation)
        self.cross_norm = RMSNorm(config.d_model, config.norm_eps)
        self.cross = CrossAttention(config)
        self.norm_after = norm == "after"

    def forward(  # type: ignore[override]
        self, x: Tensor, step: Step, memory: Memory, cache: "LayerCache | None" = None
    ) -> Tensor:
        """memory: what `self.cross.memory` made of the encoded source."""
        if self.norm_after:
            x = self.attention_norm(x + _dropped(self.attention(x, step, cache), step.dropout))
            x = self.cross_norm(x + _dropped(self.cross(x, memory, step), step.dropout))
            return self.mlp_norm(x + _dropped(self.mlp(x), step.dropout))  # type: ignore[no-any-return]
        x = x + _dropped(self.attention(self.attention_norm(x), step, cache), step.dropout)
        x = x + _dropped(self.cross(self.cross_norm(x), memory, step), step.dropout)
        return x + _dropped(self.mlp(self.mlp_norm(x)), step.dropout)


def _dropped(x: Tensor, share: float) -> Tensor:
    return functional.dropout(x, share) if share else x
