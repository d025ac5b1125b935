"""The feed-forward part of a block."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from engine.config import GATED, ModelConfig
from engine.layers.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
    "swiglu": functional.silu,  # of the gate
    "geglu_tanh": partial(functional.gelu, approximate="tanh"),  # of the gate
}


class GatedMLP(nn.Module):
    """down(activation(gate(x)) * up(x)): SwiGLU with silu, GEGLU with gelu (Shazeer 2020). B T C -> B T C.

    gate and up are one matrix, gate's rows first: one pass over x, one call on the decode path.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.gate_up = Linear(config.d_model, 2 * config.d_ff, bias=config.mlp_bias)
        self.down = Linear(config.d_ff, config.d_model, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.activation(gate) * up)  # type: ignore[no-any-return]


class MLP(nn.Module):
    """down(activation(up(x))): the feed-forward part of Vaswani 2017 (relu), or with GELU. B T C -> B T C."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.up = Linear(config.d_model, config.d_ff, bias=config.mlp_bias)
        self.down = Linear(config.d_ff, config.d_model, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))  # type: ignore[no-any-return]


def feed_forward(config: ModelConfig) -> nn.Module:
    """The feed-forward part of the config's kind."""
    return GatedMLP(config) if config.activation in GATED else MLP(config)
