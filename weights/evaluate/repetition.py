"""Repetition in an answer, by the four-word sequences that come back."""

from collections import Counter

WORDS = 4
TIMES = 3


def loops(text: str) -> bool:
    """Whether four words in a row come more than three times."""
    return max(_counts(text).values(), default=0) > TIMES


def repetition(text: str) -> float:
    """The share of four-word sequences that stood in the text before; 0 for a text of fewer words."""
    counts = _counts(text)
    return 1 - len(counts) / counts.total() if counts else 0.0


def _counts(text: str) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1))
