"""Blocks of quantised tensors in GGUF files, taken apart into the digits, scales and offsets of layers/quantised.py.

For the types whose numbers lie at equal steps in groups of 32, which is what the kernel computes: Q4_0, Q4_1, Q4_K and
Q8_0. The layouts are llama.cpp's (ggml-quants.c), little-endian.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Digits:
    """A quantised matrix: digits P N K, scales and offsets P N K/32 (float32). See QuantisedMatrix."""

    digits: Tensor
    scales: Tensor
    offsets: Tensor

    def in_order(self, rows: Tensor) -> "Digits":
        """The rows of these numbers."""
        return Digits(self.digits[:, rows], self.scales[:, rows], self.offsets[:, rows])


def take_apart(raw: Bytes, kind: str) -> Digits:
    """The rows (N x bytes of a row) of a tensor of a type that is a key of KINDS."""
    in_block, _, apart = KINDS[kind]
    blocks = raw.reshape(-1, in_block)
    planes = apart(blocks)
    rows = len(raw)
    parts = [np.stack([plane[n].reshape(rows, -1) for plane in planes]) for n in range(3)]
    return Digits(
        torch.from_numpy(parts[0]), torch.from_numpy(parts[1].astype(np.float32)),
        torch.from_numpy(parts[2].astype(np.float32)),
    )  # fmt: skip


def join(parts: list[Digits]) -> Digits:
    """Matrices below each other."""
    fields = ((p.digits, p.scales, p.offsets) for p in parts)
    return Digits(*(torch.cat(same, 1) for same in zip(*fields, strict=True)))


Plane = tuple[NDArray[np.generic], NDArray[np.generic], NDArray[np.generic]]  # digits, scales, offsets of the groups


def _halves(packed: Bytes) -> Bytes:
    """16 bytes -> 32 digits: the low ones first."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _floats(blocks: Bytes, first: int) -> NDArray[np.float32]:
    """The float16 at a byte of each block."""
    return blocks[:, first : first + 2].copy().view(np.float16).astype(np.float32)


def _q4_0(blocks: Bytes) -> list[Plane]:
    scale = _floats(blocks, 0)
    return [(_halves(blocks[:, 2:]), scale, np.zeros_like(scale))]


def _q4_1(blocks: Bytes) -> list[Plane]:
    scale = _floats(blocks, 0)
    return [(_halves(blocks[:, 4:]), scale, _floats(blocks, 2) + 8 * scale)]


def _q8_0(blocks: Bytes) -> list[Plane]:
    """A signed byte is 16 times its high digit, which is signed, and its low digit, which is not."""
    scale, numbers = _floats(blocks, 0), blocks[:, 2:]
    high = (numbers.view(np.int8) >> 4).astype(np.uint8) + np.uint8(8)
    return [(high & 15, 16 * scale, np.zeros_like(scale)), (numbers & 15, scale, 8 * scale)]


def _q4_k(blocks: Bytes) -> list[Plane]:
    """Eight groups a block; their scales and minima have 6 bits, of those of the last four two lie with the first."""
    packed = blocks[:, 4:16]
    first, second, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    steps = np.concatenate([first & 63, (rest & 15) | (first >> 6) << 4], axis=-1)
    minima = np.concatenate([second & 63, (rest >> 4) | (second >> 6) << 4], axis=-1)
    digits = _halves(blocks[:, 16:].reshape(-1, 4, 32))
    scale = _floats(blocks, 0) * steps
    return [(digits, scale, 8 * scale - _floats(blocks, 2) * minima)]


# Type -> (bytes of a block, summands, how it is taken apart).
KINDS: dict[str, tuple[int, int, Callable[[Bytes], list[Plane]]]] = {
    "Q4_0": (18, 1, _q4_0),
    "Q4_1": (20, 1, _q4_1),
    "Q8_0": (34, 2, _q8_0),
    "Q4_K": (144, 1, _q4_k),
}
