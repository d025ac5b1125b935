"""How much a query wants a key: the score functions of attention, head by head.

All of them take q: B H T D and k: B H S D, and return B H T S, which softmax then turns into weights. With q and k of
unit variance the raw dot product has variance D, so its softmax sharpens with D until no gradient comes through;
`tfm train compare-attention` measures that.

dot            q·k                       (Luong 2015)
scaled_dot     q·k / √D                  (Vaswani 2017); the fused kernel computes it, without this file
bilinear       q W k, W for each head    (Luong 2015, "general")
additive       v · tanh(Wq q + Wk k)     (Bahdanau 2015), Wq, Wk and v for each head, D hidden units
cosine         q·k / (|q| |k|): within ±1, so no weight can be more than e² times another
scaled_cosine  the same times a learned number for each head, at first √D (Henry 2020, query-key normalisation)
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config import ModelConfig

Score = Callable[[Tensor, Tensor], Tensor]


def dot(q: Tensor, k: Tensor) -> Tensor:
    """q·k."""
    return q @ k.transpose(-1, -2)


def scaled_dot(q: Tensor, k: Tensor, dim: float | None = None, cap: float | None = None) -> Tensor:
    """q·k / √dim, where dim is D if it is not given; with a cap, cap · tanh of that / cap (Gemma 2)."""
    return capped(dot(q, k) / math.sqrt(dim or q.shape[-1]), cap)


def capped(scores: Tensor, cap: float | None) -> Tensor:
    """Numbers pressed into ±cap: cap · tanh(scores / cap), which changes small ones little; None: as they are."""
    return scores if cap is None else (scores / cap).tanh() * cap


def cosine(q: Tensor, k: Tensor) -> Tensor:
    """The cosine of the angle between q and k; 0 where one of them is 0."""
    return dot(functional.normalize(q, dim=-1), functional.normalize(k, dim=-1))


class LearnedScore(nn.Module):
    """A score function with parameters. Uninitialised until loaded or `init_weights`."""

    def init_weights(self, generator: torch.Generator) -> None:
        """First values, with which unit-variance q and k have scores of a variance near 1."""
        raise NotImplementedError


class Bilinear(LearnedScore):
    """q W k. W after the projections to q and k adds no new function, only another path to the same one."""

    def __init__(self, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_heads, head_dim, head_dim))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return dot(q @ self.weight, k)

    def init_weights(self, generator: torch.Generator) -> None:
        self.weight.normal_(0.0, 1 / self.weight.shape[-1], generator=generator)


class Additive(LearnedScore):
    """v · tanh(Wq q + Wk k): a small network for each pair. It holds D times the numbers of a product."""

    def __init__(self, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.of_query = nn.Parameter(torch.empty(n_heads, head_dim, head_dim))
        self.of_key = nn.Parameter(torch.empty(n_heads, head_dim, head_dim))
        self.mix = nn.Parameter(torch.empty(n_heads, head_dim, 1))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        pairs = (q @ self.of_query).unsqueeze(3) + (k @ self.of_key).unsqueeze(2)  # B H T S D
        return (pairs.tanh() @ self.mix.unsqueeze(1)).squeeze(-1)

    def init_weights(self, generator: torch.Generator) -> None:
        for weight in (self.of_query, self.of_key, self.mix):
            weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)


class ScaledCosine(LearnedScore):
    """cosine(q, k) · e^s, with s learned for each head: a logarithm, so that the factor stays positive."""

    def __init__(self, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.log_scale = nn.Parameter(torch.empty(n_heads, 1, 1))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return cosine(q, k) * self.log_scale.exp()

    def init_weights(self, generator: torch.Generator) -> None:
        self.log_scale.fill_(math.log(self.head_dim) / 2)


PLAIN: dict[str, Score] = {"dot": dot, "scaled_dot": scaled_dot, "cosine": cosine}
LEARNED: dict[str, type[Bilinear] | type[Additive] | type[ScaledCosine]] = {
    "bilinear": Bilinear, "additive": Additive, "scaled_cosine": ScaledCosine,
}  # fmt: skip


def make_score(config: ModelConfig) -> Score:
    """The score function of the config's kind; a module when it has parameters."""
    if config.score in PLAIN:
        return PLAIN[config.score]
    return LEARNED[config.score](config.n_heads, config.head_dim)
