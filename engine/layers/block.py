"""Blocks: attention and feed-forward on a residual path, with norms before (Xiong 2020) or after (Vaswani 2017)."""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from engine.config import ModelConfig
from engine.layers.attention import Attention, CrossAttention, Memory, Step
from engine.layers.experts import Experts
from engine.layers.feedforward import feed_forward
from engine.layers.norms import make_norm

if TYPE_CHECKING:
    from engine.cache import LayerCache


class Block(nn.Module):
    """Attention, then feed-forward, each on a residual branch. B T C -> B T C.

    A branch f with norm before is x + f(norm(x)); with norm after it is norm(x + f(x)).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm_after = config.norm_place == "after"
        self.attention_norm = make_norm(config)
        self.attention = Attention(config)
        self.mlp_norm = make_norm(config)
        self.mlp = feed_forward(config) if config.experts is None else Experts(config)

    def forward(self, x: Tensor, step: Step, cache: "LayerCache | None" = None) -> Tensor:
        return self._fed_forward(self._attended(x, step, cache), step)

    def _attended(self, x: Tensor, step: Step, cache: "LayerCache | None") -> Tensor:
        if self.norm_after:
            return self.attention_norm(x + _dropped(self.attention(x, step, cache), step.dropout))  # type: ignore[no-any-return]
        return x + _dropped(self.attention(self.attention_norm(x), step, cache), step.dropout)

    def _fed_forward(self, x: Tensor, step: Step) -> Tensor:
        if self.norm_after:
            return self.mlp_norm(x + _dropped(self._mlp(x, step), step.dropout))  # type: ignore[no-any-return]
        return x + _dropped(self._mlp(self.mlp_norm(x), step), step.dropout)

    def _mlp(self, x: Tensor, step: Step) -> Tensor:
        if isinstance(self.mlp, Experts):
            return self.mlp(x, step.router_losses, step.real)  # type: ignore[no-any-return]
        return self.mlp(x)  # type: ignore[no-any-return]


class CrossBlock(Block):
    """A block of a decoder that looks at an encoded source between its two parts. B T C -> B T C."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.cross_norm = make_norm(config)
        self.cross = CrossAttention(config)

    def forward(  # type: ignore[override]
        self, x: Tensor, step: Step, memory: Memory, cache: "LayerCache | None" = None
    ) -> Tensor:
        """memory: what `self.cross.memory` made of the encoded source."""
        return self._fed_forward(self._crossed(self._attended(x, step, cache), step, memory), step)

    def _crossed(self, x: Tensor, step: Step, memory: Memory) -> Tensor:
        if self.norm_after:
            return self.cross_norm(x + _dropped(self.cross(x, memory, step), step.dropout))  # type: ignore[no-any-return]
        return x + _dropped(self.cross(self.cross_norm(x), memory, step), step.dropout)


def _dropped(x: Tensor, share: float) -> Tensor:
    return functional.dropout(x, share) if share else x
