"""Rotary positions (Su 2021) and their scalings. The layout is that of Hugging Face: the halves of a head rotate."""

import math

import torch
from torch import Tensor

from engine.config import ModelConfig, RopeScaling


def inverse_frequencies(config: ModelConfig, length: int) -> Tensor:
    """Radians per position for each pair of the dimensions that rotate, float32, (D/2).

    length: of the whole text; it matters to dynamic and longrope scaling only.
    """
    dim, theta, scaling = config.turned, config.rope_theta, config.rope_scaling
    if scaling is not None and scaling.kind == "dynamic":
        stretched = max(length, config.max_positions) / config.max_positions
        theta = theta * (scaling.factor * stretched - (scaling.factor - 1)) ** (dim / (dim - 2))
    plain = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    if scaling is None or scaling.kind == "dynamic":
        return plain
    if scaling.kind == "linear":
        return plain / scaling.factor
    if scaling.kind == "longrope":
        factors = scaling.long_factors if length > scaling.original_max_positions else scaling.short_factors
        return plain / torch.tensor(factors, dtype=torch.float32)
    return _yarn(plain, theta, scaling) if scaling.kind == "yarn" else _llama3(plain, scaling)


def _yarn(plain: Tensor, theta: float, scaling: RopeScaling) -> Tensor:
    """Short wavelengths stay, long ones are interpolated, a linear ramp lies between (YaRN, section 3.2)."""
    dim = 2 * len(plain)

    def dimension(rotations: float) -> float:
        """The dimension that turns `rotations` times within the original length."""
        turns = scaling.original_max_positions / (rotations * 2 * math.pi)
        return dim * math.log(turns) / (2 * math.log(theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001  # a ramp of no width would divide by zero
    ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    return plain / scaling.factor * ramp + plain * (1 - ramp)


def _llama3(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Long wavelengths are interpolated, short ones stay, those between are blended."""
    wavelength = 2 * math.pi / plain
    longest_kept = scaling.original_max_positions / scaling.high_freq_factor
    shortest_scaled = scaling.original_max_positions / scaling.low_freq_factor
    blend = (scaling.original_max_positions / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    between = (1 - blend) * plain / scaling.factor + blend * plain
    scaled = torch.where(wavelength > shortest_scaled, plain / scaling.factor, plain)
    return torch.where((wavelength >= longest_kept) & (wavelength <= shortest_scaled), between, scaled)


class RotaryTable:
    """Cosines and sines of all positions so far, grown by doubling, so that a decode step only slices.

    The second table holds sines with the sign of the rotated half: x·cos + swap(x)·sin needs no negation.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self._length = 0
        self._is_long = False
        self._tables: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))

    def angles(self, start: int, count: int, like: Tensor, reach: int = 0) -> tuple[Tensor, Tensor]:
        """(cos, signed sin) of positions start .. start + count - 1, each (count, 1, D), dtype and device of `like`.

        reach: positions that the text will have, where that is known; it matters to longrope scaling only.
        """
        end = start + count
        scaling = self.config.rope_scaling
        dynamic = scaling is not None and scaling.kind == "dynamic" and end > self.config.max_positions
        is_long = scaling is not None and scaling.is_long(max(end, reach))
        cos, sin = self._tables
        if (
            dynamic or end > self._length or is_long != self._is_long
            or cos.dtype != like.dtype or cos.device != like.device
        ):  # fmt: skip
            capacity = end if dynamic else max(end, 2 * self._length, 256)
            cos, sin = self._tables = self._compute(capacity, max(end, reach) if is_long else end, like)
            self._length = 0 if dynamic else capacity  # angles of a dynamic length hold for this length only
            self._is_long = is_long
        return cos[start:end], sin[start:end]

    @torch.inference_mode(False)  # a table made while evaluating must serve training too
    def _compute(self, capacity: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        positions = torch.arange(capacity, dtype=torch.float32)
        angles = torch.outer(positions, inverse_frequencies(self.config, length))  # S D/2
        scaling = self.config.rope_scaling
        factor = scaling.attention_factor if scaling is not None else 1.0
        cos, sin = angles.cos() * factor, angles.sin() * factor
        tables = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
        # Computed in float32 whatever the model's dtype: bf16 has no room for position 300 times an angle.
        return tuple(t.unsqueeze(1).to(like.device, like.dtype) for t in tables)  # type: ignore[return-value]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each head by its position. x: B T H D; cos, sin: T 1 D from RotaryTable. Returns B T H D.

    Where the tables are narrower than the heads, the rest of each head stays as it is.
    """
    width = cos.shape[-1]
    if width < x.shape[-1]:
        return torch.cat([rotate(x[..., :width], cos, sin), x[..., width:]], -1)
    swapped = x.roll(x.shape[-1] // 2, -1)  # the halves change places
    return torch.addcmul(x * cos, swapped, sin)
