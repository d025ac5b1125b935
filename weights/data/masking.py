"""Masked rows: packed rows in which some tokens are hidden, to be told from all that stands around them.

Which ones is a function of the recipe's seed and of the row's number in the run: a row that comes again is masked
anew, and a resumed run masks as the whole one would have.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.tokenizer import SentencePieceTokenizer
from weights.data.mixture import Mixture

CHOSEN = 0.15  # of the positions (Devlin 2019)
MASKED, RANDOM = 0.8, 0.1  # of the chosen; the rest stay as they are

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MaskedBatch:
    """Rows for one forward pass: ids and document numbers B T; chosen positions and their true ids B N.

    A row with fewer chosen positions than N ends in position 0 with the target -1.
    """

    ids: Tensor
    documents: Tensor
    chosen: Tensor
    targets: Tensor

    @property
    def n_targets(self) -> int:
        """How many losses its sum holds."""
        return int((self.targets >= 0).sum())


def ordinary_ids(tokenizer: SentencePieceTokenizer) -> Ids:
    """The ids that may be hidden, or stand in for a hidden one: no control tokens, nor the unknown one."""
    every = range(tokenizer.vocab_size)
    return np.array([i for i in every if not tokenizer.is_control(i) and tokenizer.piece(i) != "<unk>"], np.int64)


def mask_row(
    ids: Ids, hideable: npt.NDArray[np.bool_], ordinary: Ids, mask_id: int, rng: np.random.Generator
) -> tuple[Ids, Ids]:
    """(ids with some hidden, the chosen positions in order) of a row (T): 15 % of those that may be hidden.

    ordinary: the ids that are drawn from where a wrong one is put in.
    """
    places = np.flatnonzero(hideable)
    chosen = np.sort(rng.permutation(places)[: round(CHOSEN * len(places))])
    luck, drawn = rng.random(len(chosen)), rng.choice(ordinary, len(chosen))
    hidden = ids.copy()
    hidden[chosen] = np.where(luck < MASKED, mask_id, np.where(luck < MASKED + RANDOM, drawn, ids[chosen]))
    return hidden, chosen


@dataclass(frozen=True)
class Masker:
    """What masking needs beside a row: the ids that may be hidden or stand in (see `ordinary_ids`), mask and seed."""

    ordinary: Ids
    mask_id: int
    seed: int

    def apply(self, ids: Tensor, documents: Tensor, first_row: int) -> MaskedBatch:
        """Rows first_row .. of the run (B T), each masked by its own number; no position of document -1 is chosen."""
        hidden, known = ids.numpy().copy(), ids.numpy()
        chosen = np.zeros((len(known), round(CHOSEN * known.shape[1])), np.int64)
        targets = np.full_like(chosen, -1)
        hideable = np.isin(known, self.ordinary) & (documents.numpy() >= 0)
        for i, row in enumerate(known):
            rng = np.random.default_rng([self.seed, first_row + i])
            hidden[i], places = mask_row(row, hideable[i], self.ordinary, self.mask_id, rng)
            chosen[i, : len(places)], targets[i, : len(places)] = places, row[places]
        return MaskedBatch(torch.from_numpy(hidden), documents, torch.from_numpy(chosen), torch.from_numpy(targets))


class MaskedRows:
    """The rows of a mixture, masked."""

    def __init__(self, mixture: Mixture, masker: Masker) -> None:
        self._mixture, self._masker = mixture, masker

    @property
    def n_steps(self) -> int:
        """Optimizer steps in the stage."""
        return self._mixture.n_steps

    def batch(self, first_row: int, rows: int) -> MaskedBatch:
        """Rows first_row .. first_row + rows - 1 of the run, each with its own masks."""
        plain = self._mixture.batch(first_row, rows)
        return self._masker.apply(plain.ids, plain.documents, first_row)
