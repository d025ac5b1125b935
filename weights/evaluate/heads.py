"""Which head of a model carries which relation, and is it better at it than a fixed distance?

A head is right at a position when what it looks at most is one of the relation's right positions. Every second text,
half A, names the head that is best at a relation, and the distance that is: "always look d tokens on". Half B, which
named neither, gives the scores of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weights.evaluate.relations import Links, Relation

FEWEST = 15  # positions that a relation must have in each half
RESAMPLES, SEED = 1000, 7
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Looked:
    """A text that was read, of S tokens that can be looked at.

    best: L H T, the position that each head looks at most.  links: the right ones, by relation.  given: L H, the whole
    attention that each head gives to right positions, added up over the links, by relation.
    """

    text: Any
    best: Places
    links: Mapping[str, Links]
    given: Mapping[str, npt.NDArray[np.float32]]
    width: int


@dataclass(frozen=True)
class Finding:
    """The best head for a relation. All scores are shares of half B; low, high and gain_low are of 95 % intervals.

    offset: the best fixed distance, in tokens; mean: of all heads; gain_low: the lower end of score - offset_score;
    attention: what right positions get of the head's whole attention, <s> counted; even: what they would get if all
    got the same; examples: the texts of half B that have the relation.
    """

    relation: Relation
    n: int
    layer: int
    head: int
    score: float
    low: float
    high: float
    offset: int
    offset_score: float
    gain_low: float
    mean: float
    attention: float
    even: float
    examples: Sequence[Looked]

    @property
    def holds(self) -> bool:
        """Whether the head has earned the relation's name.

        Surely right at half of the places, surely above the offset, and with twice the even share of attention: where
        all positions get nearly the same, the most says nothing.
        """
        return self.low >= 0.5 and self.gain_low > 0 and self.attention >= 2 * self.even

    def told(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        names = ("score", "low", "high", "offset_score", "gain_low", "mean", "attention", "even")
        rounded = {name: round(float(getattr(self, name)), 4) for name in names}
        whole = {"n": self.n, "layer": self.layer, "head": self.head, "offset": self.offset}
        return {"relation": self.relation.name} | whole | rounded | {"holds": self.holds}


def judge(texts: Sequence[Looked], relations: Sequence[Relation], is_causal: bool) -> list[Finding]:
    """The best head for each relation that occurs often enough in both halves. is_causal: nothing looks ahead."""
    found = (_judged(texts, relation, is_causal) for relation in relations)
    return [finding for finding in found if finding is not None]


def _judged(texts: Sequence[Looked], relation: Relation, is_causal: bool) -> Finding | None:
    having: list[tuple[Looked, Links]] = []
    for text in texts:
        links = text.links.get(relation.name, {})
        seen = {q: {k for k in keys if k <= q} if is_causal else keys for q, keys in links.items()}
        if kept := {q: keys for q, keys in seen.items() if keys}:
            having.append((text, kept))
    half_a, half_b = having[0::2], having[1::2]
    if min(sum(len(links) for _, links in half) for half in (half_a, half_b)) < FEWEST:
        return None
    layer, head = np.unravel_index(np.argmax(_rights(half_a).sum(0)), half_a[0][0].best.shape[:2])
    offset = _best_offset(half_a)
    rights = _rights(half_b)  # texts of B, L, H
    counts = np.array([len(links) for _, links in half_b])
    by_head = rights[:, layer, head]
    by_offset = np.array([sum(q + offset in keys for q, keys in links.items()) for _, links in half_b])
    low, high = _interval(by_head, counts)
    given = sum(float(text.given[relation.name][layer, head]) for text, _ in half_b)
    even = sum(
        len(keys) / (q + 1 if is_causal else text.width) for text, links in half_b for q, keys in links.items()
    )  # fmt: skip
    return Finding(
        relation, int(counts.sum()), int(layer), int(head), by_head.sum() / counts.sum(), low, high, offset,
        by_offset.sum() / counts.sum(), _interval(by_head - by_offset, counts)[0],
        float(rights.sum(0).mean() / counts.sum()), given / counts.sum(), even / counts.sum(),
        [text for text, _ in half_b],
    )  # fmt: skip


def _rights(half: Sequence[tuple[Looked, Links]]) -> Places:
    """How often each head is right in each text: N L H."""
    return np.array([
        sum(np.isin(text.best[:, :, q], list(keys)).astype(np.int64) for q, keys in links.items())
        for text, links in half
    ])  # fmt: skip


def _best_offset(half: Sequence[tuple[Looked, Links]]) -> int:
    """The distance at which the right positions are most often; the nearest of equal ones."""
    counts: dict[int, int] = {}
    for _, links in half:
        for q, keys in links.items():
            for k in keys:
                counts[k - q] = counts.get(k - q, 0) + 1
    return max(counts, key=lambda d: (counts[d], -abs(d), d))


def _interval(hits: Places, counts: Places) -> tuple[float, float]:
    """95 % of what the share is when the texts are drawn anew, with replacement (bootstrap): positions of one text
    are right or wrong together, so that they cannot be drawn alone."""
    draws = np.random.default_rng(SEED).integers(0, len(hits), (RESAMPLES, len(hits)))
    low, high = np.quantile(hits[draws].sum(1) / counts[draws].sum(1), [0.025, 0.975])
    return float(low), float(high)
