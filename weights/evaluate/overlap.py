"""How much of a source's validation files stands in its training files too, by sequences of thirteen words."""

import hashlib
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weights.data.readers import Report, read_file
from weights.evaluate.shell_tasks import shell_rows
from weights.recipe import Recipe, Source

WORDS = 13
AT_ONCE = 1_000_000  # words of training text
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Overlap:
    """Of validation texts: how many 13-grams they have, the share of them that training has too; texts, likewise."""

    grams: int
    seen: float
    texts: int
    repeated: float  # the share of texts whose words are, all together, a text of the training files


def overlap_of(recipe: Recipe, corpus: Path) -> dict[str, dict[str, float]]:
    """The overlap of each source that has held-out files. Raises DataError when a file is not there."""
    return {
        name: asdict(overlap(_texts(source, corpus, source.valid), _texts(source, corpus, source.files)))
        for name, source in recipe.sources.items()
        if source.valid
    }


def _texts(source: Source, corpus: Path, files: Iterable[str]) -> Iterator[str]:
    """The texts of files as they are stored: shell rows without the questions that training words round them."""
    for file in files:
        if source.format == "shell":
            yield from (f"{row['description']}\n{row['command']}" for row in shell_rows(corpus, [file]))
            continue
        for record in read_file(corpus / file, source.format, random.Random(0), Report()):
            yield record.text or "\n".join(m.content for m in record.messages)


def overlap(valid: Iterable[str], train: Iterable[str]) -> Overlap:
    """Compare validation texts with training texts. Memory grows with the validation texts alone."""
    hasher = _Hasher()
    held = [hasher.words(text) for text in valid]
    grams, counts = np.unique(np.concatenate([_grams(words, WORDS) for words in held] or [_NONE]), return_counts=True)
    whole = np.array([_whole(words) for words in held], np.uint64)
    distinct = np.unique(whole)
    seen, repeated = np.zeros(len(grams), bool), np.zeros(len(distinct), bool)
    for batch in _batches(hasher.words(text) for text in train):
        _mark(seen, grams, np.concatenate([_grams(words, WORDS) for words in batch]))
        _mark(repeated, distinct, np.array([_whole(words) for words in batch], np.uint64))
    total = int(counts.sum())
    again = np.isin(whole, distinct[repeated]).sum()
    return Overlap(total, float(counts[seen].sum() / max(1, total)), len(held), float(again / max(1, len(held))))


_NONE: Hashes = np.empty(0, np.uint64)


class _Hasher:
    """Texts as arrays of 64-bit hashes of their words, upper and lower case alike."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def words(self, text: str) -> Hashes:
        """The hash of each word."""
        return np.array([self._hash(word) for word in re.findall(r"\w+", text.casefold())], np.uint64)

    def _hash(self, word: str) -> int:
        if (known := self._known.get(word)) is None:
            known = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
            self._known[word] = known
        return known


def _grams(words: Hashes, length: int) -> Hashes:
    """A hash of each sequence of `length` words: a polynomial in the hashes of its words, modulo 2**64."""
    count = len(words) - length + 1
    if count < 1:
        return _NONE
    total = np.zeros(count, np.uint64)
    for offset in range(length):
        total = total * MULTIPLIER + words[offset : offset + count]
    return total


def _whole(words: Hashes) -> int:
    return hash(words.tobytes()) & (2**64 - 1)


def _mark(seen: npt.NDArray[np.bool_], known: Hashes, found: Hashes) -> None:
    """Set those of `seen` whose hash in `known`, which is sorted, is among the found ones."""
    if len(known) and len(found):
        places = np.minimum(np.searchsorted(known, found), len(known) - 1)
        seen[places[known[places] == found]] = True


def _batches(texts: Iterable[Hashes]) -> Iterator[list[Hashes]]:
    batch: list[Hashes] = []
    size = 0
    for words in texts:
        batch.append(words)
        size += len(words)
        if size >= AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
