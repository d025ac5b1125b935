"""Mixing and packing: which tokens stand in which row of which step. A pure function of the seed.

Nothing here has state that a resume could lose: row r of a stage is the same whenever it is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.errors import DataError
from weights.data.shards import Shard
from weights.recipe import Stage


@dataclass(frozen=True)
class Batch:
    """Rows for one forward pass, each B T: ids, the targets they predict (-1 where none), document numbers."""

    ids: Tensor
    targets: Tensor
    documents: Tensor

    @property
    def n_targets(self) -> int:
        """How many losses its sum holds."""
        return int((self.targets >= 0).sum())


class Mixture:
    """The rows of one stage.

    Each source gives its share of the stage's tokens, running through its documents in a new order each time
    around; then all drawn documents are shuffled together. Objective "lm" lets them flow over the ends of rows
    and learns every token; "chat" keeps each in one row (too long ones are cut) and learns the assistant's, or
    every token of the sources that the stage calls `whole`.
    """

    def __init__(self, stage: Stage, shards: Mapping[str, Shard], seed: int) -> None:
        self.stage = stage
        self._shards = [shards[name] for name in stage.shares]
        if not self._shards:
            raise DataError(f"Stage {stage.name!r} has no sources.")
        rng = np.random.default_rng([seed, sum(stage.name.encode())])
        self._learns_all = [stage.objective != "chat" or name in stage.whole for name in stage.shares]
        total = sum(stage.shares.values())
        width = stage.row + 1 if stage.objective == "chat" else None
        picks = [
            self._draw(i, shard, stage.tokens * share / total, width, rng)
            for i, (shard, share) in enumerate(zip(self._shards, stage.shares.values(), strict=True))
        ]
        drawn = rng.permutation(np.concatenate(picks))  # columns: source, document
        lengths = np.concatenate([s.lengths for s in self._shards])
        base = np.cumsum([0, *(len(s.lengths) for s in self._shards)])
        self._source, self._document = drawn[:, 0], drawn[:, 1]
        self._lengths = lengths[base[self._source] + self._document]
        if width is not None:
            self._lengths = np.minimum(self._lengths, width)
        self._offsets = self._place(width)
        self.n_rows = max(1, int(self._offsets[-1] + self._lengths[-1] - 1) // stage.row)
        if width is not None:
            self.n_rows = int(self._offsets[-1] // width) + 1
        # A book fills many rows in a row; shuffled, every batch holds a bit of everything.
        self._order = rng.permutation(self.n_rows)

    @property
    def n_steps(self) -> int:
        """Optimizer steps in the stage: the rows, in whole batches."""
        return max(1, self.n_rows // self.stage.batch)

    @staticmethod
    def _draw(
        index: int, shard: Shard, tokens: float, width: int | None, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """(source, document) pairs until they hold `tokens` tokens, one whole pass after another."""
        lengths = shard.lengths if width is None else np.minimum(shard.lengths, width)
        chosen: list[npt.NDArray[np.int64]] = []
        left = tokens
        while left > 0:
            order = rng.permutation(len(lengths))
            running = np.cumsum(lengths[order])
            count = int(np.searchsorted(running, left)) + 1
            chosen.append(order[:count])
            left -= float(running[min(count, len(running)) - 1])
        documents = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
        return np.stack([np.full(len(documents), index), documents], axis=1)

    def _place(self, width: int | None) -> npt.NDArray[np.int64]:
        """Offset of each drawn document in the endless row of tokens; with width, none crosses a border."""
        if width is None:
            return np.concatenate([[0], np.cumsum(self._lengths)[:-1]])
        offsets = np.zeros(len(self._lengths), np.int64)
        position = 0
        for i, length in enumerate(self._lengths):
            room = width - position % width
            if length > room:
                position += room
            offsets[i] = position
            position += int(length)
        return offsets

    def row(self, index: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(ids, learned, documents) of row `index`, each T + 1. Padding has document -1."""
        width = self.stage.row + 1
        chat = self.stage.objective == "chat"
        start = index * (width if chat else self.stage.row)
        ids, learned = np.zeros(width, np.int64), np.zeros(width, np.int64)
        documents = np.full(width, -1, np.int64)
        first = int(np.searchsorted(self._offsets, start, side="right")) - 1
        for i in range(max(first, 0), len(self._offsets)):
            low = max(int(self._offsets[i]), start)
            high = min(int(self._offsets[i] + self._lengths[i]), start + width)
            if int(self._offsets[i]) >= start + width:
                break
            if high <= low:
                continue
            number = self._source[i]
            shard = self._shards[number]
            source = slice(*(int(shard.starts[self._document[i]]) + x - int(self._offsets[i]) for x in (low, high)))
            here = slice(low - start, high - start)
            ids[here] = shard.ids[source]
            learned[here] = 1 if self._learns_all[number] else shard.target[source]
            documents[here] = i
        return ids, learned, documents

    def batch(self, first_row: int, rows: int) -> Batch:
        """Rows first_row .. first_row + rows - 1 of the shuffled order. A document's end predicts nothing."""
        stacked = [self.row(int(self._order[r % self.n_rows])) for r in range(first_row, first_row + rows)]
        ids, learned, documents = (torch.from_numpy(np.stack(part)) for part in zip(*stacked, strict=True))
        counts = (learned[:, 1:] == 1) & (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] >= 0)
        targets = torch.where(counts, ids[:, 1:], -1)
        return Batch(ids[:, :-1].contiguous(), targets, documents[:, :-1].contiguous())
