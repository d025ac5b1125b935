"""Sentences in padded batches: pairs that mean the same, for contrastive tuning, and labelled ones."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weights.data.masking import MaskedBatch, Masker
from weights.recipe import Stage


@dataclass(frozen=True)
class SentenceBatch:
    """Pairs for one forward pass: ids 2P T, the first of each pair in the even rows, its second after it.

    The same with some tokens hidden, as in a MaskedBatch: documents 2P T are 0, and -1 where there is padding.
    """

    ids: Tensor
    hidden: Tensor
    documents: Tensor
    chosen: Tensor
    targets: Tensor

    @property
    def n_targets(self) -> int:
        """What the loss is divided by: the pairs."""
        return len(self.ids) // 2

    @property
    def masked(self) -> MaskedBatch:
        """The sentences with tokens hidden."""
        return MaskedBatch(self.hidden, self.documents, self.chosen, self.targets)


@dataclass(frozen=True)
class LabelledBatch:
    """Texts for one forward pass: padded ids B T, and the number of each one's label B."""

    ids: Tensor
    labels: Tensor

    @property
    def n_targets(self) -> int:
        """What the loss is divided by: the texts."""
        return len(self.labels)


class _Rows:
    """Rows out of a table, pass after pass, each in a new order: a pure function of the seed."""

    def __init__(self, stage: Stage, count: int, seed: int) -> None:
        self._stage = stage
        rng = np.random.default_rng([seed, sum(stage.name.encode())])
        passes = [rng.permutation(count) for _ in range(-(-self.n_steps * stage.batch // count))]
        self._order = torch.from_numpy(np.concatenate(passes))

    @property
    def n_steps(self) -> int:
        """Optimizer steps in the stage."""
        return max(1, self._stage.tokens // (self._stage.batch * self._stage.row))

    def _places(self, first_row: int, rows: int) -> Tensor:
        """Where rows first_row .. first_row + rows - 1 of the run stand in the table."""
        return self._order[torch.arange(first_row, first_row + rows) % len(self._order)]


class SentencePairs(_Rows):
    """The rows of a contrastive stage, out of the ids of all pairs (N 2 T). A row is a pair: `stage.row` is 2 T."""

    def __init__(self, stage: Stage, ids: Tensor, pad_id: int, masker: Masker) -> None:
        super().__init__(stage, len(ids), masker.seed)
        self._ids, self._pad_id, self._masker = ids, pad_id, masker

    def batch(self, first_row: int, rows: int) -> SentenceBatch:
        """Pairs first_row .. first_row + rows - 1 of the run."""
        ids = self._ids[self._places(first_row, rows)].flatten(0, 1)
        masked = self._masker.apply(ids, -(ids == self._pad_id).long(), 2 * first_row)
        return SentenceBatch(ids, masked.ids, masked.documents, masked.chosen, masked.targets)


class LabelledRows(_Rows):
    """The rows of a classification: padded ids (N T) and the number of each one's label (N)."""

    def __init__(self, stage: Stage, ids: Tensor, labels: Tensor, seed: int) -> None:
        super().__init__(stage, len(ids), seed)
        self._ids, self._labels = ids, labels

    def batch(self, first_row: int, rows: int) -> LabelledBatch:
        """Texts first_row .. first_row + rows - 1 of the run."""
        places = self._places(first_row, rows)
        return LabelledBatch(self._ids[places], self._labels[places])
