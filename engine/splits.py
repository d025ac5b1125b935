"""In which passes the positions of a cache were read. Torch-free.

Another split gives other roundings, so who wants the same bits again must read in the same passes.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Split(NamedTuple):
    """`times` passes of `size` positions one after the other, of each of which the first `kept` are still there."""

    size: int
    kept: int
    times: int


class Splits:
    """The passes of one cache, first position first. An answer's many passes of one token are one Split."""

    def __init__(self, splits: Iterable[Split] = ()) -> None:
        self._splits = list(splits)

    def __iter__(self) -> Iterator[Split]:
        return iter(self._splits)

    def add(self, size: int) -> None:
        """One more pass."""
        last = self._splits[-1] if self._splits else None
        if last is not None and last.size == last.kept == size:
            self._splits[-1] = Split(size, size, last.times + 1)
        else:
            self._splits.append(Split(size, size, 1))

    def first(self, length: int) -> "Splits":
        """The passes of the first `length` positions; of one that is cut, its beginning is kept."""
        found: list[Split] = []
        for size, kept, times in self._splits:
            whole = min(times, length // kept)
            if whole:
                found.append(Split(size, kept, whole))
                length -= whole * kept
            if whole < times:
                if length:
                    found.append(Split(size, length, 1))
                break
        return Splits(found)
