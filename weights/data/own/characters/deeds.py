"""Characters of whom the system prompt says what they do, own or love, and who are asked just that. Torch-free.

in_character.py asks about facts of few kinds; here a verb of the prompt comes back in the question, so that what is
learned is to find the words that stood beside it.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.asking import article
from weights.data.own.characters.characters import roles
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import read_tables, rows
from weights.data.own.unusual_names import unusual_name

_T = read_tables(__file__)
Turn = tuple[str, str]


@dataclass(frozen=True)
class Deed:
    """A verb, as others say it, and with what."""

    base: str
    third: str
    x: str

    def words(self) -> dict[str, str]:
        """What the tables call it."""
        return {"base": self.base, "third": self.third, "x": self.x, "X": self.x[:1].upper() + self.x[1:]}


@cache
def _rows() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    data = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple((base[0], third[0], things) for base, third, things in rows(data["rows"]))


def _deeds(count: int, rng: Random) -> list[Deed]:
    return [Deed(base, third, rng.choice(things)) for base, third, things in rng.sample(_rows(), count)]


def _says(table: str, words: dict[str, str], rng: Random) -> str:
    return rng.choice(_T[table]).format(**words)


def _asks(table: str, words: dict[str, str], rng: Random) -> str:
    return vary(_says(table, words, rng), rng, lead=0.07, typo=0.03)


def _other_thing(deed: Deed, rng: Random) -> str:
    things = next(things for base, _, things in _rows() if base == deed.base)
    return rng.choice([thing for thing in things if thing != deed.x])


def _system(person: dict[str, str], deeds: list[Deed], rng: Random) -> str:
    first, rest = deeds[0], deeds[1:]
    if rng.random() < 0.55:
        clause = _says("clauses", person | first.words(), rng)
        text = _says("frames", person | {"clause": clause}, rng)
    else:
        sentence = _says("sentences", first.words(), rng)
        text = _says("plain_frames", person | {"sentence": sentence}, rng)
    more = [_says("sentences", deed.words(), rng) for deed in rest]
    if rng.random() < 0.25:
        more.append(rng.choice(_T["styles"]))
    return " ".join([text, *more])


def _turn(person: dict[str, str], deeds: list[Deed], rng: Random) -> Turn:
    """A question and its answer; most are about a deed."""
    deed = rng.choice(deeds)
    words = person | deed.words()
    kind = rng.choices(("what", "job", "who", "true", "false", "name", "noun"), (46, 12, 12, 6, 6, 10, 8))[0]
    if kind == "false":
        asked = words | {"x": _other_thing(deed, rng)}
        return _asks("ask_true", asked, rng), _says("say_false", words, rng)
    return _asks(f"ask_{kind}", words, rng), _says(f"say_{kind}", words, rng)


def one(rng: Random) -> Conversation:
    """One conversation of one to three questions to a character with one to three deeds."""
    noun = rng.choice(roles()).noun
    person = {"name": unusual_name(rng), "noun": noun, "article": article(noun).removesuffix(f" {noun}")}
    deeds = _deeds(rng.choices((1, 2, 3), (55, 30, 15))[0], rng)
    turns = [_turn(person, deeds, rng) for _ in range(rng.choices((1, 2, 3), (50, 32, 18))[0])]
    return talk(*(text for turn in turns for text in turn), system=_system(person, deeds, rng).replace("..", "."))
