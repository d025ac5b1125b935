"""A thing, and then questions about it that say "it", "they" or "there", so the turn before is needed. Torch-free."""

import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, asked, capital
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import rows

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = ("You are a helpful assistant.", "Answer briefly.", "You are a friendly assistant.")
_THANKS = ("thanks", "thank you", "interesting", "ok thanks", "cool", "good to know", "wow", "i didn't know that")
_WELCOME = ("You're welcome!", "Glad you like it!", "Ask me more if you like.", "Happy to tell you!")
_FIELDS = 5  # what they eat, where they live, how big, how dangerous and how old they are


@cache
def table(section: str, name: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The rows of a table of references.toml."""
    return rows(_TABLE[section][name])


def _extra(fields: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [field.split(" => ") for field in fields]
    return [(ask, say) for ask, say in pairs]


def _small(question: str, rng: Random) -> str:
    return vary(question if rng.random() < 0.6 else capital(question), rng, lead=0.06, typo=0.05)


def _animal(rng: Random) -> list[str]:
    """What is a cat? What do they eat? Are they dangerous?"""
    row = rng.choice(table("animals", "rows"))
    name, many = row[0][0], row[1][0]
    turns = [_opening(name, many, rng), row[2][0]]
    asks = [(rng.choice(asks), row[3 + at][0]) for at, (asks,) in enumerate(table("others", "they_ask"))]
    if rng.random() < 0.3:
        return _singular(name, many, row, rng)
    extra = _extra(row[3 + _FIELDS])
    chosen = rng.sample(asks, rng.choice((0, 1, 1, 2))) + rng.sample(extra, rng.choice((0, 1, 1, 2)) % (len(extra) + 1))
    rng.shuffle(chosen)
    for ask, say in chosen or extra[:1]:
        turns += [_small(ask, rng), say]
    return turns


def _opening(name: str, many: str, rng: Random) -> str:
    frame = rng.choice(table("others", "what_ask")[0][0])
    return asked(frame, rng).replace("{a}", article(name)).replace("{p}", many)


def _singular(name: str, many: str, row: tuple[tuple[str, ...], ...], rng: Random) -> list[str]:
    """The questions say "it"; the answers speak of all of them."""
    turns = [_opening(name, many, rng), row[2][0]]
    for at in rng.sample(range(_FIELDS), rng.choice((1, 1, 2))):
        turns += [_small(rng.choice(table("others", "it_ask")[at][0]), rng), row[3 + at][0]]
    return turns


def _about(frame: str, name: str, many: str, rng: Random) -> str:
    return asked(frame, rng).replace("a {x}", article(name)).replace("{x}", name).replace("{p}", many)


def _living() -> list[tuple[tuple[str, ...], ...]]:
    """The animals of which one speaks as of today."""
    return [row for row in table("animals", "rows") if row[1] != ("dinosaurs",)]


def _named_answer(row: tuple[tuple[str, ...], ...], field: int) -> str:
    said = row[3 + field][0]
    return f"{capital(row[1][0])} {said[5:]}" if said.startswith("They ") else said


def _direct(rng: Random) -> list[str]:
    """What do cats eat? How old do they get?"""
    row = rng.choice(_living())
    name, many = row[0][0], row[1][0]
    first, *more = rng.sample(range(_FIELDS), rng.choice((1, 2, 2)))
    frame = rng.choice(table("others", "named_ask")[first][0])
    question = _about(frame, name, many, rng)
    turns = [question, _named_answer(row, first)]
    for at in more:
        turns += [_small(rng.choice(table("others", "they_ask")[at][0]), rng), row[3 + at][0]]
    return turns


def _thing(rng: Random) -> list[str]:
    names, (what,), pairs = rng.choice(table("others", "rows"))
    name = rng.choice(names) if rng.random() < 0.3 else names[0]
    turns = [asked(rng.choice(table("others", "what_thing")[0][0]), rng).replace("{a}", name), what]
    extra = _extra(pairs)
    for ask, say in rng.sample(extra, min(len(extra), rng.choice((1, 1, 2, 2, 3)))):
        turns += [_small(ask, rng), say]
    return turns


def _changed(rng: Random) -> list[str]:
    """The same question about another animal, which is only named."""
    one, other = rng.sample(_living(), 2)
    at = rng.randrange(_FIELDS)
    frame = rng.choice(table("others", "named_ask")[at][0])
    question = (
        asked(frame, rng).replace("a {x}", article(one[0][0])).replace("{p}", one[1][0]).replace("{x}", one[0][0])
    )
    and_asked = vary(rng.choice(("and {p}?", "what about {p}?", "and what about {p}?", "and for {p}?")), rng, lead=0)
    return [question, _named_answer(one, at), and_asked.replace("{p}", other[1][0]), _named_answer(other, at)]


def one(rng: Random) -> Conversation:
    """One conversation of mostly two to four turns about one thing."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    turns = rng.choices((_animal, _direct, _thing, _changed), (38, 18, 34, 10))[0](rng)
    if rng.random() < 0.1:
        turns += [vary(rng.choice(_THANKS), rng, lead=0), rng.choice(_WELCOME)]
    return talk(*turns, system=system)
