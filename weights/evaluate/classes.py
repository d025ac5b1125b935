"""How well classes are told: accuracy, F1 of each, who is taken for whom, and what always saying one would give."""

from collections import Counter
from collections.abc import Sequence
from typing import Any


def scores(labels: Sequence[str], right: Sequence[str], told: Sequence[str]) -> dict[str, Any]:
    """The numbers, ready for JSON. confusion: right label -> told label -> how often."""
    pairs = Counter(zip(right, told, strict=True))
    hits = sum(pairs[label, label] for label in labels)
    often, count = Counter(right).most_common(1)[0]
    return {
        "texts": len(right),
        "accuracy": hits / len(right),
        "most_frequent": {"label": often, "accuracy": count / len(right)},
        "f1": {label: _f1(label, labels, pairs) for label in labels},
        "confusion": {label: {other: pairs[label, other] for other in labels} for label in labels},
    }


def _f1(label: str, labels: Sequence[str], pairs: Counter[tuple[str, str]]) -> float:
    """The harmonic mean of precision and recall; 0 where a label is neither right nor told."""
    hits = pairs[label, label]
    of_both = sum(pairs[label, other] + pairs[other, label] for other in labels)  # right ones + told ones
    return 2 * hits / of_both if of_both else 0.0
