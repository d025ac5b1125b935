"""One block: attention and feed-forward on a residual path, each with its norm before (Xiong 2020)."""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from engine.config import ModelConfig
from engine.layers.attention import Attention, Step
from engine.layers.feedforward import GatedMLP
from engine.layers.norms import RMSNorm

if TYPE_CHECKING:
    from engine.cache import LayerCache


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). B T C -> B T C."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.d_model, config.norm_eps)
        self.mlp = GatedMLP(config)

    def forward(self, x: Tensor, step: Step, cache: "LayerCache | None" = None) -> Tensor:
        x = x + _dropped(self.attention(self.attention_norm(x), step, cache), step.dropout)
        return x + _dropped(self.mlp(self.mlp_norm(x)), step.dropout)


def _dropped(x: Tensor, share: float) -> Tensor:
    return functional.dropout(x, share) if share else x
