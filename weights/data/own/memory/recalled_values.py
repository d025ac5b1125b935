"""Values and wordings of what is told and recalled, and what one told thing knows about itself. Torch-free."""

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.memory import told_values
from weights.data.own.memory.told_values import Words, wordings

_PLACE = re.compile(r"\{(\w+)\}")
# Letters that a name may be spelled with instead, and how people say so.
_SWAPS = (
    *(("k", "c", "a c"), ("c", "k", "a k"), ("i", "y", "a y"), ("y", "i", "an i"), ("s", "z", "a z")),
    *(("f", "ph", "a ph"), ("h", "", "no h"), ("z", "s", "an s"), ("e", "a", "an a"), ("v", "w", "a w")),
)
_PAIRS = ("do_thing", "do_person", "either")


@dataclass
class Told:
    """What was told in `turns`; `ask` makes a question and its answer.

    unknown: what was never told, a topic and questions; about: its kind and its values.
    """

    turns: list[str]
    ask: Callable[[Random], list[str]]
    unknown: tuple[str, str] | None = None
    fixed: bool = False
    about: frozenset[str] = frozenset()


@cache
def read(name: str) -> dict[str, Any]:
    """The whole table of one of the recalled files."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _values() -> dict[str, str]:
    lists = read("recalled_lists")["values"]
    return {**read("recalled")["values"], **read("recalled")["more"], **lists}


def value(kind: str, rng: Random) -> str:
    """A value of a kind, from the tables here or those of told_values.py."""
    if kind not in _values():
        return told_values.value(kind, rng)
    text = rng.choice(wordings(_values()[kind]))
    text = _PLACE.sub(lambda match: value(match[1], rng), text)
    return re.sub(r"\ba (?=[aeiou](?!kulele))", "an ", text)


def other(kind: str, taken: Iterable[str], rng: Random) -> str:
    """A value that neither holds one of the taken nor is held by one."""
    while True:
        drawn = value(kind, rng)
        if not any(drawn.lower() in text.lower() or text.lower() in drawn.lower() for text in taken):
            return drawn


def draw(slots: dict[str, str], rng: Random) -> Words:
    """A value for each slot, all apart; a verb brings its -ing form as a second word."""
    words: Words = {}
    for slot, kind in slots.items():
        if kind in _PAIRS:
            words[slot], words[f"{slot}g"] = re.split("[>=]", value(kind, rng))
        else:
            alike = [words[name] for name, source in slots.items() if source == kind and name in words]
            drawn = other(kind, alike, rng)
            words[slot] = drawn if drawn not in words.values() else other(kind, words.values(), rng)
    return words


def places(text: str, slots: Iterable[str]) -> set[str]:
    """The slots that a wording uses, be it with a capital, an article or as an -ing form."""
    found = set()
    known = set(slots)
    for name in _PLACE.findall(text):
        small = name[:1].lower() + name[1:]
        fits = [way for way in (small, small.removesuffix("g"), small.removeprefix("a")) if way in known]
        found.add(fits[0] if fits else small)
    return found


def fitting(table: str, slots: Iterable[str], told: set[str], needs: str = "", lacks: str = "") -> str:
    """The wordings that use only what was told; one slot they must use, one they must not."""
    fits = []
    for text in wordings(table):
        used = places(text, slots)
        if used <= told and (not needs or needs in used) and (not lacks or lacks not in used):
            fits.append(text)
    return " / ".join(fits)


def lines(table: str) -> list[tuple[str, str]]:
    """The lines of a table, each of two fields."""
    return [(first, second) for first, second in (line.split(" :: ") for line in table.strip().splitlines())]


def spelled(name: str, rng: Random) -> tuple[str, str] | None:
    """Another spelling of a name, and what makes the difference: "a k", "no h", "two l's"."""
    ways = []
    for at in range(1, len(name)):
        ways += [(name[:at] + new + name[at + 1 :], said) for old, new, said in _SWAPS if name[at] == old]
        if name[at] in "lntmr" and name[at - 1] in "aeiou" and name[at + 1 : at + 2] in "aeiou":
            ways.append((name[: at + 1] + name[at:], f"two {name[at]}'s"))
    ways = [(new, said) for new, said in ways if new.casefold() not in name.casefold() and name not in new]
    return rng.choice(ways) if ways and name.isalpha() and len(name) > 3 else None


def letters(name: str) -> str:
    """J-o-n."""
    return "-".join(name)
