"""Preference pairs: one conversation, an answer that is better and one that is worse. JSONL, one pair a line.

{"messages": [{"role": "user", "content": "..."}, ...], "chosen": "...", "rejected": "..."}
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.errors import DataError
from engine.template import TFM, ChatTemplate, Message
from engine.tokenizer import Tokenizer
from weights.data.readers import Record, Report, open_text
from weights.data.shards import encode_records

ROUND = 64  # positions: rows of pairs are a multiple of it


@dataclass(frozen=True)
class Pair:
    """A conversation that ends with a user's message, and two answers to it."""

    messages: tuple[Message, ...]
    chosen: str
    rejected: str


@dataclass(frozen=True)
class PairBatch:
    """2P rows of T tokens: the chosen and the rejected answer of each of P pairs, one after the other.

    targets: the answer's ids, -1 elsewhere.  documents: 0, and -1 where a row is padded.
    """

    ids: Tensor
    targets: Tensor
    documents: Tensor

    @property
    def n_targets(self) -> int:
        """A pair counts once, however long its answers are."""
        return len(self.ids) // 2


def read_pairs(path: Path, report: Report) -> Iterator[Pair]:
    """The pairs of a file. A bad line goes to the report. Raises DataError for a file without a pair."""
    found = 0
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    pair = _parse(line)
                except (ValueError, KeyError, TypeError) as e:
                    report.skip(path, number, f"the key {e} is missing" if isinstance(e, KeyError) else str(e))
                    continue
                found += 1
                yield pair
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror}.") from e
    if not found:
        raise DataError(f"{path} has no usable pair.")


def _parse(line: str) -> Pair:
    row = json.loads(line)
    messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
    chosen, rejected = row["chosen"], row["rejected"]
    if not messages or messages[-1].role != "user":
        raise ValueError("the last message is not the user's")
    if not (isinstance(chosen, str) and isinstance(rejected, str)) or chosen == rejected:
        raise ValueError("chosen and rejected must be two different texts")
    return Pair(messages, chosen, rejected)


class PairRows:
    """The rows of a stage: all pairs in a new order each time around."""

    def __init__(
        self, pairs: Sequence[Pair], tokenizer: Tokenizer, *, row: int, batch: int, passes: float,
        seed: int, template: ChatTemplate = TFM,
    ) -> None:  # fmt: skip
        self._row, self._batch = row, batch
        answers = [Record((*p.messages, Message("assistant", a))) for p in pairs for a in (p.chosen, p.rejected)]
        self._encoded = list(encode_records(answers, tokenizer, template))
        rng = np.random.default_rng(seed)
        rounds = [rng.permutation(len(pairs)) for _ in range(max(1, int(np.ceil(passes))))]
        self._order = np.concatenate(rounds)[: max(batch, round(passes * len(pairs)))]

    @property
    def n_steps(self) -> int:
        """Optimizer steps: the pairs, in whole batches."""
        return max(1, len(self._order) // self._batch)

    @property
    def cut(self) -> int:
        """Answers that do not end within a row."""
        return sum(len(ids) > self._row + 1 for ids, _ in self._encoded)

    def batch(self, first_row: int, rows: int) -> PairBatch:
        """Pairs first_row .. first_row + rows - 1, each two rows; an answer beyond the row is cut.

        The rows are no longer than the longest of them, rounded up so that a compiler meets few lengths.
        """
        pairs = [int(self._order[at % len(self._order)]) for at in range(first_row, first_row + rows)]
        encoded = [self._encoded[2 * pair + side] for pair in pairs for side in (0, 1)]
        longest = max(len(row) for row, _ in encoded) - 1
        shape = (2 * rows, min(self._row, -(-longest // ROUND) * ROUND) + 1)
        ids, learned, documents = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
        for place, (row, counts) in enumerate(encoded):
            length = min(len(row), shape[1])
            ids[place, :length] = row[:length]
            learned[place, :length] = counts[:length]
            documents[place, :length] = 0
        targets = np.where(learned[:, 1:] == 1, ids[:, 1:], -1)
        return PairBatch(*map(torch.from_numpy, (ids[:, :-1].copy(), targets, documents[:, :-1].copy())))
