"""Blocks: attention and feed-forward on a residual path, with norms before (Xiong 2020) or after (Vaswani 2017), or
of what a branch adds (OLMo 2), or before and of what it adds (Gemma 2)."""

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

    A branch f with norm before is x + f(norm(x)); with norm after it is norm(x + f(x)). A norm of the output makes it
    x + norm(f(x)), and both x + norm'(f(norm(x))). Parallel branches read the same x (GPT-J, GPT-NeoX).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm_after = config.norm_place == "after"
        self.parallel = config.parallel
        of_output = config.norm_place in ("output", "both")
        self.attention_norm: nn.Module = nn.Identity() if config.norm_place == "output" else make_norm(config)
        self.attention = Attention(config)
        self.attention_out_norm = make_norm(config) if of_output else None
        self.mlp_norm: nn.Module = nn.Identity() if config.norm_place == "output" else make_norm(config)
        self.mlp_out_norm = make_norm(config) if of_output else None
        self.mlp = feed_forward(config) if config.experts is None else Experts(config)

    def forward(self, x: Tensor, step: Step, cache: "LayerCache | None" = None) -> Tensor:
        if self.parallel:
            return x + self._attention_branch(x, step, cache) + self._mlp_branch(x, step)
        return self._fed_forward(self._attended(x, step, cache), step)

    def _attended(self, x: Tensor, step: Step, cache: "LayerCache | None") -> Tensor:
        if self.norm_after:
            return self.attention_norm(x + _dropped(self.attention(x, step, cache), step.dropout))  # type: ignore[no-any-return]
        return x + self._attention_branch(x, step, cache)

    def _attention_branch(self, x: Tensor, step: Step, cache: "LayerCache | None") -> Tensor:
        branch = self.attention(self.attention_norm(x), step, cache)
        if self.attention_out_norm is not None:
            branch = self.attention_out_norm(branch)
        return _dropped(branch, step.dropout)

    def _fed_forward(self, x: Tensor, step: Step) -> Tensor:
        if self.norm_after:
            return self.mlp_norm(x + _dropped(self._mlp(x, step), step.dropout))  # type: ignore[no-any-return]
        return x + self._mlp_branch(x, step)

    def _mlp_branch(self, x: Tensor, step: Step) -> Tensor:
        branch = self._mlp(self.mlp_norm(x), step)
        if self.mlp_out_norm is not None:
            branch = self.mlp_out_norm(branch)
        return _dropped(branch, step.dropout)

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
