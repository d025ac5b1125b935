"""Values so many that only copying can tell them, and wordings with places for them. Torch-free.

A place {x} is filled with a word, {ax} with its article, {X} and {Ax} with a capital; values are made of other values.
"""

import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, capital
from weights.data.own.names import FIRST_NAMES, built_name, person_name, pet_name
from weights.data.own.phrasing import vary
from weights.data.own.talk.situations import one_of
from weights.data.own.unusual_names import unusual_name

Words = dict[str, str]
_FILES = ("told", "told_worlds", "told_before")
_PLACE = re.compile(r"\{(\w+)\}")
_PLURAL = {"drums", "bagpipes", "back pain"}


@cache
def read(name: str) -> dict[str, Any]:
    """The whole table of one of the three files."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def wordings(text: str) -> tuple[str, ...]:
    """The entries of a table."""
    return tuple(part.strip() for line in text.strip().splitlines() for part in line.split(" / ") if part.strip())


@cache
def _values() -> dict[str, str]:
    return {k: v for file in _FILES for part in ("values", "more") for k, v in read(file).get(part, {}).items()}


def _town(rng: Random) -> str:
    if rng.random() < 0.35:
        return rng.choice(wordings(_values()["real_town"]))
    return built_name(rng) + rng.choice(
        ("", "", "ton", "burg", "ville", "by", "mouth", "ford", " Bay", "stad", " Hill")
    )


def _person(rng: Random) -> str:
    return rng.choice(FIRST_NAMES) if rng.random() < 0.5 else built_name(rng)


def _any_person(rng: Random) -> str:
    return unusual_name(rng) if rng.random() < 0.2 else person_name(rng)


_MADE: dict[str, Callable[[Random], str]] = {
    "town": _town,
    "person": _person,
    "any_person": _any_person,
    "pet_name": pet_name,
    "built": built_name,
    "lowname": lambda rng: built_name(rng).lower(),
    "age": lambda rng: str(rng.randint(8, 99)),
    "small": lambda rng: str(rng.randint(2, 99)),
    "two": lambda rng: str(rng.randint(10, 99)),
    "hour": lambda rng: str(rng.randint(2, 11)),
    "date": lambda rng: str(rng.randint(1, 28)),
    "number": lambda rng: str(rng.randint(2, rng.choice((20, 99, 999)))),
    "code": lambda rng: rng.choice((str(rng.randint(1000, 99999)), f"{built_name(rng).lower()}{rng.randint(1, 99)}")),
    "day_only": lambda rng: value(rng.choice(("day", "day", "dated")), rng),
    "dated": lambda rng: f"{value('month', rng)} {rng.randint(1, 28)}",
    "stops2": lambda rng: value("stops", rng),
}


def value(name: str, rng: Random) -> str:
    """A value of a kind, made anew."""
    if name in _MADE:
        return _MADE[name](rng)
    return expanded(rng.choice(wordings(_values()[name])), rng)


def expanded(text: str, rng: Random) -> str:
    """The text with a value for each of its places."""
    return _PLACE.sub(lambda m: capital(value(m[1].lower(), rng)) if m[1][0].isupper() else value(m[1], rng), text)


def filled(text: str, words: Words) -> str:
    """The text with its words, articles and capitals."""

    def word(match: re.Match[str]) -> str:
        name = match[1]
        small = name[:1].lower() + name[1:]
        found = words.get(small)
        if found is None and small[0] == "a" and small[1:] in words:
            bare = words[small[1:]]
            found = bare if bare in _PLURAL else article(bare)
        if found is None:
            raise KeyError(name)
        return capital(found) if name[0].isupper() else found

    text = _PLACE.sub(word, text)
    return re.sub(r"([.?!])\.(?!\w)", r"\1", text)


def typed(table: str, words: Words, rng: Random, lead: float = 0.05) -> str:
    """What a user types: one of the wordings, varied, with its words as they are."""
    text = one_of(rng.choice(wordings(table)), rng)
    return filled(vary(text if rng.random() < 0.5 else _start(text), rng, lead=lead, typo=0.03), words)


def said(table: str, words: Words, rng: Random) -> str:
    """What the model says: one of the wordings, with its words."""
    text = filled(one_of(rng.choice(wordings(table)), rng), words)
    first = text.split(" ", 1)[0]
    keep = first.rstrip(".,!") in words.values() or re.search(r"[\d/`@_~]", first)
    return text if keep else capital(text)


def _start(text: str) -> str:
    return text if text.startswith("{") else capital(text)
