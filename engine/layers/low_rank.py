"""Low-rank parts beside a frozen matrix (LoRA, Hu 2021): the form in which an adapter is trained."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.layers.linear import Linear


class LowRank(nn.Module):
    """scale · B · A · dropout(x), which adds to the rows `start` to `stop` of a matrix. B T d_in -> B T (stop - start).

    A (rank, d_in) is uniform within ±1/√d_in, as PEFT begins it, and B (stop - start, rank) zero: at step 0 an adapted
    model is its base. name: what the adapter calls these rows.
    """

    def __init__(
        self, name: str, d_in: int, start: int, stop: int, *, rank: int, scale: float, dropout: float,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.start, self.stop, self.scale, self.dropout = name, start, stop, scale, dropout
        self.a = nn.Parameter(torch.empty(rank, d_in).uniform_(-(d_in**-0.5), d_in**-0.5, generator=generator))
        self.b = nn.Parameter(torch.zeros(stop - start, rank))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(x, self.dropout, self.training)
        return functional.linear(functional.linear(x, self.a), self.b) * self.scale


class LowRankLinear(nn.Module):
    """A frozen Linear with low-rank parts on ranges of its rows. B T d_in -> B T d_out.

    parts: in the order of their rows, and none over another.
    """

    def __init__(self, base: Linear, parts: Sequence[LowRank]) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        pieces: list[Tensor] = []
        done = 0
        for part in self.parts:
            assert isinstance(part, LowRank)
            pieces += [y[..., done : part.start], y[..., part.start : part.stop] + part(x)]
            done = part.stop
        return torch.cat([*pieces, y[..., done:]], -1)
