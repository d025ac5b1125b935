"""The word-by-word baseline: a dictionary learned from sentence pairs by IBM model 1 (Brown 1993), and nothing else."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

TOKEN = re.compile(r"\w+(?:['’]\w+)*['’]?|[^\w\s]")
FREQUENT = 20_000  # words of a language that have a row; the rest is left as it is
Numbers = npt.NDArray[np.int64]
NULL = 0  # the empty word, for what has no counterpart


def words(text: str) -> list[str]:
    """Words and punctuation of a text, in lower case."""
    return TOKEN.findall(text.lower())


class Dictionary:
    """For each English word the word of the other language that it most probably becomes."""

    def __init__(self, entries: dict[str, str]) -> None:
        self.entries = entries

    @classmethod
    def learn(cls, pairs: Iterable[tuple[str, str]], rounds: int = 5) -> "Dictionary":
        """EM over t(other | English): which words stand in for which is counted by how probable it is so far."""
        split = [(words(a), words(b)) for a, b in pairs]
        english = _vocabulary(a for a, _ in split)
        other = _vocabulary(b for _, b in split)
        keys, occurrences = _links(split, english, other)
        unique, link = np.unique(keys, return_inverse=True)
        probability = np.ones(len(unique))
        left = unique // (len(other) + 1)
        for _ in range(rounds):
            weight = probability[link]
            weight /= np.bincount(occurrences, weight)[occurrences]
            counts = np.bincount(link, weight)
            probability = counts / np.bincount(left, counts)[left]
        names = {i: w for w, i in other.items()}
        best: dict[int, tuple[float, str]] = {}
        for key, p in zip(unique.tolist(), probability.tolist(), strict=True):
            row, column = divmod(key, len(other) + 1)
            if row != NULL and p > best.get(row, (0.0, ""))[0]:
                best[row] = (p, names[column])
        return cls({w: best[i][1] for w, i in english.items() if i in best})

    def translate(self, text: str) -> str:
        """Each word as the dictionary has it, in the order of the English; capital at the start, spaces as usual."""
        said = " ".join(self.entries.get(word, word) for word in words(text))
        said = re.sub(r"\s+([.,!?;:])", r"\1", said)
        return said[:1].upper() + said[1:]


def _vocabulary(texts: Iterable[Sequence[str]]) -> dict[str, int]:
    """The most frequent words, numbered from 1."""
    counts = Counter(word for text in texts for word in text)
    return {word: i for i, (word, _) in enumerate(counts.most_common(FREQUENT), 1)}


def _links(
    split: Sequence[tuple[list[str], list[str]]], english: dict[str, int], other: dict[str, int]
) -> tuple[Numbers, Numbers]:
    """(word pair as one number, occurrence of the other word it may explain) of all words that stand together."""
    keys, occurrences = [], []
    seen = 0
    for a, b in split:
        rows = np.array([NULL, *(english[w] for w in a if w in english)], np.int64)
        columns = np.array([other[w] for w in b if w in other], np.int64)
        keys.append((rows[None] * (len(other) + 1) + columns[:, None]).ravel())
        occurrences.append(np.repeat(np.arange(seen, seen + len(columns)), len(rows)))
        seen += len(columns)
    return np.concatenate(keys), np.concatenate(occurrences)
