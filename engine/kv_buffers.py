"""`KVBuffers`: the keys and values of one layer, in the form they are kept in, and as many as the layer may still see.

    auto   as wide as the model computes
    bf16   8 of 24 bits of each number
    int8   whole numbers from -127 to 127 and one scale for each position and head, written as positions come

The last is a block quantisation as llama.cpp's cache of type q8_0, with a head of a position as the block; a scale for
each position of its own is what lets them be written one at a time, and what KIVI (Liu 2024) does with values. A number
is off by half a scale, 1/254 of the largest beside it. All are read back in the model's own width, the new ones too:
so a position sees the same of those before it, however the text was split into passes. Reading back is a pass over the
cache for each token, so int8 is slower than auto, the more the longer the text is.

A layer with a window keeps what the window shows and some more, so that its memory does not grow with the text.
"""

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

from engine.memory import KVKind

GROWTH = 256  # positions; growth doubles, so that a token costs the same at any length, and starts here
SLACK = 256  # positions before a window that are kept with it: so far one can go back, and so seldom are rows moved
LARGEST = 127


class Held(NamedTuple):
    """The position of the first row, and the tensors: each B K S X, where X is numbers of a head, or one scale."""

    first: int
    tensors: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        """Positions for which there is room."""
        return int(self.tensors[0].shape[2])


class KVBuffers:
    """Keys and values (B K S D) of one layer. How many positions count is known to its owner, and told at each call."""

    def __init__(
        self, shape: tuple[int, int], widths: tuple[int, int], window: int | None, kind: KVKind, dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:  # fmt: skip
        """shape: batch and key/value heads. widths: numbers of a head's key and value. dtype: the model's."""
        self.window, self.is_int8 = window, kind == "int8"
        forms = [(w, torch.bfloat16 if kind == "bf16" else dtype) for w in widths]
        if self.is_int8:
            forms = [form for width in widths for form in ((width, torch.int8), (1, dtype))]
        empty = tuple(torch.empty((*shape, 0, width), dtype=form, device=device) for width, form in forms)
        self._held = Held(0, empty)

    @property
    def capacity(self) -> int:
        """The position up to which there is room."""
        return self._held.first + self._held.rows

    @property
    def nbytes(self) -> int:
        """Bytes that the buffers take."""
        return sum(t.nbytes for t in self._held.tensors)

    def holds(self, length: int) -> bool:
        """Whether a text of `length` positions could go on from here: all that its next position sees is there."""
        first = self._held.first
        return length == 0 or first == 0 or (self.window is not None and first <= length - self.window + 1)

    def reserve(self, length: int, count: int, limit: int) -> None:
        """Make room for `count` positions after `length`, of `limit` in all. Whatever interrupts it changes nothing."""
        if length == 0 and self._held.first:
            self._held = Held(0, self._held.tensors)
        held = self._held
        if length + count <= self.capacity:
            return
        kept, most = self._needed(length), limit
        if self.window is not None:
            most = min(limit, self.window - 1 + SLACK + max(SLACK, count))
        rows = min(most, max(kept + count, 2 * held.rows, GROWTH))
        self._held = self._moved(length, kept, rows)

    def _count(self, length: int) -> int:
        """Rows that are taken when the text has `length` positions."""
        return max(0, length - self._held.first)

    def _needed(self, length: int) -> int:
        """How many of them, the last, are worth keeping."""
        count = self._count(length)
        return count if self.window is None else min(count, self.window - 1 + SLACK)

    def _moved(self, length: int, kept: int, rows: int) -> Held:
        """The last `kept` of `length` positions in new tensors with room for `rows`."""
        end = self._count(length)
        tensors = tuple(self._grown(t[:, :, end - kept : end], rows) for t in self._held.tensors)
        return Held(length - kept, tensors)

    @staticmethod
    def _grown(kept: Tensor, rows: int) -> Tensor:
        batch, heads, count, width = kept.shape
        grown = kept.new_empty((batch, heads, rows, width))
        grown[:, :, :count] = kept
        return grown

    def write(self, start: int, k: Tensor, v: Tensor, last: int | None = None) -> tuple[Tensor, Tensor]:
        """Store k, v (B K T D) at positions from `start` on; both of all positions up to there (B K S D), as k is.

        last: only those of so many, the newest. Without it a layer with a window must still hold every position.
        """
        first, tensors = self._held
        begin, end = start - first, start - first + k.shape[2]
        new = (*quantised(k), *quantised(v)) if self.is_int8 else (k, v)
        for tensor, part in zip(tensors, new, strict=True):
            tensor[:, :, begin:end] = part
        seen = [t[:, :, 0 if last is None else end - last : end] for t in tensors]
        if self.is_int8:
            return dequantised(seen[0], seen[1]), dequantised(seen[2], seen[3])
        return seen[0].to(k.dtype), seen[1].to(v.dtype)

    def rows(self, length: int) -> Sequence[Tensor]:
        """What is kept of `length` positions, as it is stored."""
        return [t[:, :, : self._count(length)] for t in self._held.tensors]

    def select(self, rows: Tensor, length: int) -> None:
        """Row b of the batch becomes what row rows[b] was."""
        first, tensors = self._held
        chosen = []
        for tensor, kept in zip(tensors, self.rows(length), strict=True):
            picked = kept.index_select(0, rows)
            same = len(rows) == len(tensor)
            target = tensor if same else tensor.new_empty((len(rows), *tensor.shape[1:]))
            target[:, :, : picked.shape[2]] = picked
            chosen.append(target)
        self._held = Held(first, tuple(chosen))

    def fork(self, length: int) -> "KVBuffers":
        """A copy of what `length` positions need, that shares no memory with this."""
        other, kept = copy(self), self._needed(length)
        other._held = self._moved(length, kept, kept)
        return other


def quantised(x: Tensor) -> tuple[Tensor, Tensor]:
    """... D -> whole numbers ... D (int8) and scales ... 1 (in the dtype of x), whose product is nearly x."""
    scales = (x.abs().amax(-1, keepdim=True).float() / LARGEST).to(x.dtype)
    smallest = torch.finfo(x.dtype).tiny  # of a head of zeros
    digits = (x.float() / scales.float().clamp_min(smallest)).round().clamp(-LARGEST, LARGEST)
    return digits.to(torch.int8), scales


def dequantised(digits: Tensor, scales: Tensor) -> Tensor:
    """The other way, in the dtype of the scales: it has every digit exactly."""
    return digits.to(scales.dtype).mul_(scales)
