"""The words of given_facts: nouns by kind with their plurals, and values made anew. Torch-free."""

import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, listed
from weights.data.own.memory.told_values import Words, wordings
from weights.data.own.memory.told_values import filled as filled_words
from weights.data.own.names import FIRST_NAMES, built_name, pet_name
from weights.data.own.talk.situations import one_of
from weights.data.own.unusual_names import unusual_name

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("given_facts_nouns.toml").read_text(encoding="utf-8"))
NOUNS: dict[str, str] = _TABLE["nouns"]
_PLACE = re.compile(r"\{(a:)?(\w+)\}")
_COUNTS = {2: "two", 3: "three", 4: "four"}


def plural_of(entry: str) -> tuple[str, str]:
    """A noun and its plural, from an entry such as `dog` or `goose>geese`; of a group of words the last may change."""
    noun, _, odd = entry.partition(">")
    if odd:
        several = odd if " " in odd or " " not in noun else f"{noun.rsplit(' ', 1)[0]} {odd}"
        return noun, several
    if re.search(r"(?:s|x|ch|sh)$", noun):
        return noun, f"{noun}es"
    return noun, f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


@cache
def nouns(kinds: str) -> tuple[tuple[str, str], ...]:
    """All nouns of one or more kinds, with their plurals, each once."""
    found = {plural_of(entry): None for kind in kinds.split() for entry in wordings(NOUNS[kind])}
    return tuple(found)


@cache
def table(part: str, name: str) -> tuple[str, ...]:
    """The entries of a table of `roles`, `heads` or `wrap`."""
    return wordings(_TABLE[part][name])


def _person(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.12:
        return unusual_name(rng)
    return rng.choice(FIRST_NAMES) if kind < 0.55 else built_name(rng)


def _full_name(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return _person(rng)
    if kind < 0.75:
        return f"{rng.choice(('Mr', 'Mrs', 'Ms', 'Dr', 'Miss'))} {built_name(rng)}"
    return f"{rng.choice(FIRST_NAMES)} {built_name(rng)}"


def _town(rng: Random) -> str:
    if rng.random() < 0.45:
        return value("realtown", rng)
    return built_name(rng) + rng.choice(("", "", "ton", "by", "ford", "burg", "ville", " Bay", "mouth", " Hill"))


def _animals(kind: str) -> Callable[[Random], str]:
    return lambda rng: rng.choice(nouns(kind))[1]


_MADE: dict[str, Callable[[Random], str]] = {
    "town": _town,
    "person": _person,
    "kinname": lambda rng: built_name(rng) if rng.random() < 0.75 else _person(rng),
    "person2": lambda rng: f"{rng.choice(FIRST_NAMES)}",
    "fullname": _full_name,
    "petname": pet_name,
    "built": built_name,
    "builtlow": lambda rng: built_name(rng).lower(),
    "vehicles": _animals("vehicle"),
    "role": lambda rng: rng.choice(table("roles", "person")),
    "run": lambda rng: rng.choice(table("roles", "run")),
    "age": lambda rng: str(rng.randint(17, 99)),
    "age_small": lambda rng: str(rng.randint(2, 24)),
    "small": lambda rng: str(rng.randint(2, 40)),
    "num": lambda rng: str(rng.randint(2, 99)),
    "tens": lambda rng: str(rng.randint(2, 18) * 5),
    "hundred": lambda rng: str(rng.randint(100, 999)),
    "hundred3": lambda rng: str(rng.randint(100, 999)),
    "four": lambda rng: str(rng.randint(1000, 9999)),
    "hour": lambda rng: str(rng.randint(1, 12)),
    "dom": lambda rng: str(rng.randint(1, 28)),
    "year": lambda rng: str(rng.randint(1480, 2023)),
    "size": lambda rng: str(rng.randint(34, 48)),
    "degrees": lambda rng: str(rng.randint(4, 95)),
}


def value(name: str, rng: Random) -> str:
    """A value of a kind, or one of the nouns of a kind."""
    if name in _MADE:
        return _MADE[name](rng)
    if name in NOUNS:
        return rng.choice(nouns(name))[0]
    return expanded(rng.choice(wordings(_TABLE["values"][name])), rng)


def expanded(text: str, rng: Random) -> str:
    """The text with a value for each of its places; `{a:thing}` has an article, and `a {hue}` gets its n."""

    def made(match: re.Match[str]) -> str:
        found = value(match[2], rng)
        return article(found) if match[1] else found

    text = re.sub(r"\ba \{(\w+)\}", r"{a:\1}", text)
    return _PLACE.sub(made, text)


def names(rng: Random) -> tuple[str, str]:
    """Two to four names in a row, and their number in letters."""
    count = rng.choice((2, 2, 3, 3, 4))
    found: dict[str, None] = {}
    while len(found) < count:
        found[rng.choice((_person, pet_name, built_name))(rng)] = None
    return listed(tuple(found)), _COUNTS[count]


def filled(pattern: str, words: Words, rng: Random) -> str:
    """One of the wordings of a pattern with its words; `a {v}` gets its article, `{@town}` a value."""
    text = re.sub(r"\{@(\w+)\}", lambda match: value(match[1], rng), one_of(pattern, rng))
    text = re.sub(r"\b([aA]) \{([vw])\}", r"{\1\2}", text)
    return filled_words(text, words)
