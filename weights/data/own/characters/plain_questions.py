"""Ordinary questions whose answer can be bent into any form: a sentence, a few words, one word. Torch-free."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, capital
from weights.data.own.phrasing import vary
from weights.data.own.tables import entries, rows

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_PAIRED = tuple(_TABLE["templates"])
_WEIGHTS = {"capitals": 15, "opposites": 10, "colours": 12, "purposes": 8, "nexts": 7, "commands": 10}
_NO_QUESTION = ("tell", "name", "give", "explain", "say", "wish", "let's", "cheer")
_PERSON_FIRST = (
    *("i ", "i'", "it", "you", "thank", "hello", "hi", "hey", "good", "bye", "see", "sorry", "my ", "morning"),
    *("evening", "night", "merry", "welcome", "nice", "happy", "excuse", "until"),
)
# Frames by the words that they add to a short answer.
_FRAMES = {
    0: ("{s}.",),
    1: ("It's {s}.", "That's {s}."),
    2: ("It is {s}.", "That is {s}."),
    3: ("The answer is {s}.", "I think it's {s}.", "Of course it's {s}."),
    4: ("The right answer is {s}.", "I believe it is {s}.", "I think it is {s}."),
}
_PURPOSE_FRAMES = {0: ("{s}.",), 1: ("It's {s}.",), 2: ("It is {s}.",), 3: ("It is made {s}.",)}
COUNTS = (2, 3, 4, 5)


@dataclass(frozen=True)
class Ask:
    """A question as it is typed, its answer in a sentence and in a few words; chat has its own short answers."""

    said: str
    full: str
    short: str
    group: str
    counted: tuple[str, ...] = ()

    @property
    def one(self) -> str:
        """The answer in one word, or nothing."""
        if self.counted:
            return self.counted[0]
        word = bare(self.short)
        return f"{capital(word)}." if " " not in word else ""

    @property
    def brief(self) -> str:
        """The answer in as few words as it takes."""
        return self.counted[1] if self.counted else f"{capital(self.short)}."

    def words(self, count: int, rng: Random) -> str:
        """The answer in just so many words, or nothing."""
        if self.counted:
            return self.counted[count - 1]
        frames = _PURPOSE_FRAMES if self.group == "purposes" else _FRAMES
        found = frames.get(count - len(self.short.split()))
        return capital(rng.choice(found).format(s=self.short)) if found else ""


def bare(short: str) -> str:
    """The few words without what stands in front of the word that counts."""
    return short.removeprefix("the ").removeprefix("a ").removeprefix("an ").removeprefix("your ").removeprefix("for ")


def typed(said: str, rng: Random) -> str:
    """What is said, as one of many people would type it."""
    low = said.lower()
    mark = rng.choice((".", "", "!")) if low.startswith((*_PERSON_FIRST, *_NO_QUESTION)) and low[-1] != "?" else "?"
    text = said if rng.random() < 0.35 else capital(said)
    return vary(text if text[-1] == "?" else text + mark, rng, lead=0.05, typo=0.03)


@cache
def _pairs(group: str) -> tuple[tuple[str, str], ...]:
    return tuple((a, b) for a, _, b in (entry.partition("=") for entry in entries(_TABLE[group])))


@cache
def _template(group: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    asks, full, short = rows(_TABLE["templates"][group])[0]
    return asks, full, short


def _paired(group: str, rng: Random) -> Ask:
    a, b = rng.choice(_pairs(group))
    asks, (full,), (short,) = _template(group)
    aa = article(a)
    words = {"a": a, "b": b, "A": capital(a), "aa": aa, "AA": capital(aa), "bb": article(b)}
    return Ask(rng.choice(asks).format(**words), full.format(**words), short.format(**words), group)


def _sum(rng: Random) -> Ask:
    a, b = rng.randint(1, 20), rng.randint(1, 20)
    kind = rng.random()
    if kind < 0.55:
        sign, word, result = "+", "plus", a + b
    elif kind < 0.8:
        a, b = max(a, b), min(a, b)
        sign, word, result = "-", "minus", a - b
    else:
        a, b = rng.randint(2, 10), rng.randint(2, 10)
        sign, word, result = "*", "times", a * b
    tight = f"{a}{sign}{b}" if rng.random() < 0.4 else f"{a} {sign} {b}"
    asks = (f"what is {tight}", f"what is {a} {word} {b}", f"{tight}", f"how much is {tight}", f"{a} {word} {b}")
    return Ask(rng.choice(asks), f"{a} {word} {b} is {result}.", str(result), "sums")


@cache
def _others() -> tuple[tuple[tuple[str, ...], ...], ...]:
    return rows(_TABLE["others"])


@cache
def _chat() -> tuple[tuple[tuple[str, ...], ...], ...]:
    return rows(_TABLE["chat"])


def _other(rng: Random) -> Ask:
    asks, (full,), (short,) = rng.choice(_others())
    return Ask(rng.choice(asks), full, short, "others")


def _chatted(rng: Random) -> Ask:
    asks, (full,), *counted = rng.choice(_chat())
    return Ask(rng.choice(asks), full, "", "chat", tuple(text for (text,) in counted))


def _groups(but: Iterable[str]) -> dict[str, float]:
    weights = {group: float(_WEIGHTS.get(group, 4)) for group in _PAIRED}
    weights |= {"sums": 16, "others": 34, "chat": 22}
    return {group: weight for group, weight in weights.items() if group not in but}


def any_ask(rng: Random, but: Iterable[str] = ()) -> Ask:
    """A question of any group but those named."""
    weights = _groups(but)
    group = rng.choices(tuple(weights), tuple(weights.values()))[0]
    if group == "sums":
        return _sum(rng)
    if group == "others":
        return _other(rng)
    return _chatted(rng) if group == "chat" else _paired(group, rng)


def all_asks() -> tuple[tuple[str, str, str], ...]:
    """Each question that stands in the tables, for the tests: the group, its left side or wording, its short answer."""
    paired = [(group, a, b) for group in _PAIRED for a, b in _pairs(group)]
    return (*paired, *(("others", asks[0], short) for asks, _, (short,) in _others()))
