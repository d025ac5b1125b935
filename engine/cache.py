"""`KVCache`: keys and values of all layers that were computed for the positions so far.

Layers write; the decoder alone commits the new length, last. So a pass that is interrupted anywhere leaves the
cache as it was: what it wrote lies beyond the length and is written over by the next pass.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.errors import ContextOverflow
from engine.kv_buffers import KVBuffers
from engine.memory import KVKind
from engine.splits import Splits


class KVCache:
    """One object for all layers, preallocated, grown by need and never past `limit` positions.

    dtype: what the model computes in. kind: in which form keys and values are kept (engine/kv_buffers.py).
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        limit: int | None = None,
        batch: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        kind: KVKind = "auto",
    ) -> None:
        self.config = config
        self.limit = limit if limit is not None else config.max_positions
        self.length = 0
        self.splits = Splits()  # in which passes they were read
        scaling = config.rope_scaling
        # Beyond it all angles are others, also those of the positions before (RopeScaling, longrope).
        self.turning_point = scaling.original_max_positions if scaling and scaling.kind == "longrope" else None
        self.reach = 0  # positions that the text in it will have, as far as is known
        shape, widths = (batch, config.n_kv_heads), (config.head_dim, config.value_dim)
        windows = [config.layer(index).window for index in range(config.n_layers)]
        self._layers = [KVBuffers(shape, widths, window, kind, dtype, device) for window in windows]

    @property
    def capacity(self) -> int:
        """Positions that fit before buffers grow, or let go of what a window has passed."""
        return min(layer.capacity for layer in self._layers)

    @property
    def nbytes(self) -> int:
        """Bytes that the buffers take."""
        return sum(layer.nbytes for layer in self._layers)

    def holds(self, length: int) -> bool:
        """Whether one can go back to the first `length` positions: windows may have let go of what those need."""
        return 0 <= length <= self.length and all(layer.holds(length) for layer in self._layers)

    def prepare(self, total: int) -> None:
        """The text in the cache will have `total` positions. What was computed for the other side of the turning point
        is forgotten: it must be read again."""
        point = self.turning_point
        if point is not None and (self.reach > point) != (total > point):
            self.truncate(0)
        self.reach = total

    def reserve(self, count: int) -> None:
        """Make room for `count` more positions. Raises ContextOverflow past the limit; then nothing changed.

        Raises ValueError where they pass a turning point that those before were not prepared for.
        """
        needed = self.length + count
        if needed > self.limit:
            raise ContextOverflow(
                f"{self.length} positions are in use and {count} more do not fit a context of {self.limit}."
            )
        if self.turning_point is not None and self.length and self.reach <= self.turning_point < needed:
            raise ValueError(f"beyond {self.turning_point} positions all are read anew; prepare({needed}) begins that")
        self.reach = max(self.reach, needed)
        for layer in self._layers:
            layer.reserve(self.length, count, self.limit)

    def layer(self, index: int) -> "LayerCache":
        """The view that layer `index` writes through."""
        return LayerCache(self, index)

    def write(self, index: int, k: Tensor, v: Tensor, last: int | None = None) -> tuple[Tensor, Tensor]:
        """Store k, v (B K T D) of layer `index` after the committed positions; returns all of both (B K S D), or the
        `last` of them."""
        return self._layers[index].write(self.length, k, v, last)

    def commit(self, count: int) -> None:
        """The `count` positions that every layer has written now belong to the cache."""
        self.splits.add(count)
        self.length += count

    def truncate(self, length: int) -> None:
        """Forget every position from `length` on. Raises ValueError for a length that the cache does not hold."""
        if not self.holds(length):
            raise ValueError(f"cannot truncate a cache of {self.length} positions to {length}")
        self.splits = self.splits.first(length)
        self.length = length
        self.reach = self.reach if length else 0

    def select(self, rows: Tensor) -> None:
        """Row b becomes what row rows[b] was, for each b: beams in a new order, or fewer of them."""
        for layer in self._layers:
            layer.select(rows, self.length)

    def fork(self, length: int | None = None) -> "KVCache":
        """A copy of the first `length` positions (all by default) that shares no memory with this cache.

        Raises ValueError for a length that the cache does not hold.
        """
        length = self.length if length is None else length
        if not self.holds(length):
            raise ValueError(f"cannot fork {length} positions of {self.length}")
        other = copy(self)
        other._layers = [layer.fork(length) for layer in self._layers]
        other.splits, other.length = self.splits.first(length), length
        return other


class LayerCache:
    """What one attention layer sees of the cache: it can write, and cannot move the length."""

    __slots__ = ("_cache", "_index")

    def __init__(self, cache: KVCache, index: int) -> None:
        self._cache = cache
        self._index = index

    def write(self, k: Tensor, v: Tensor, last: int | None = None) -> tuple[Tensor, Tensor]:
        """Store k, v (B K T D); returns the keys and values of all positions so far (B K S D), or the `last` of them,
        which are all that a layer with a window is sure to hold."""
        return self._cache.write(self._index, k, v, last)


class Kept(NamedTuple):
    """What a PrefixCache holds: how many caches, how many bytes they take, and how many they may take."""

    caches: int
    nbytes: int
    max_bytes: int


class PrefixCache:
    """KV caches of earlier prompts and answers, found by their longest common token prefix; oldest out, by bytes.

    A cache is taken out while it is in use and put back with the ids that it really holds. A prompt that leaves the
    path of a cache in its middle gets a copy of the shared part, so that the other branch stays warm. Where a window
    has let go of what the shared part needs, it is read again.
    """

    def __init__(self, make: Callable[[], KVCache], max_bytes: int) -> None:
        self._make = make
        self._max_bytes = max_bytes
        self._entries: list[tuple[tuple[int, ...], KVCache]] = []  # oldest first

    def take(self, ids: Sequence[int]) -> KVCache:
        """A cache that holds the longest known proper prefix of `ids` (at least one id stays new)."""
        best, shared = -1, 0
        for index, (known, cache) in enumerate(self._entries):
            length = min(_common_prefix(known, ids), len(ids) - 1)
            if length > shared and cache.holds(length):
                best, shared = index, length
        if best < 0:
            return self._make()
        known, cache = self._entries[best]
        if shared < len(known) - 1:  # more than its last token would be lost: leave it, work on a copy
            self._entries.append(self._entries.pop(best))
            return cache.fork(shared)
        del self._entries[best]
        cache.truncate(shared)
        return cache

    def put(self, ids: Sequence[int], cache: KVCache) -> None:
        """Keep a cache that holds exactly `ids`; the least recently used go when there are too many bytes."""
        if cache.length != len(ids):
            raise ValueError(f"a cache of {cache.length} positions cannot stand for {len(ids)} ids")
        if not ids:
            return
        self._entries.append((tuple(ids), cache))
        while len(self._entries) > 1 and self._nbytes() > self._max_bytes:
            del self._entries[0]

    @property
    def kept(self) -> Kept:
        """What is kept now."""
        return Kept(len(self._entries), self._nbytes(), self._max_bytes)

    def _nbytes(self) -> int:
        return sum(cache.nbytes for _, cache in self._entries)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    length = min(len(a), len(b))
    if tuple(a[:length]) == tuple(b[:length]):
        return length
    return next(i for i in range(length) if a[i] != b[i])
