"""What everyday and school words mean: nouns as definitions.py asks for them, and verbs and adjectives. Torch-free."""

import tomllib
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.asking import asked, capital
from weights.data.own.knowledge import definitions
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import rows

_TABLE: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = ("You are a helpful assistant.", "Answer briefly.", "You are a friendly teacher.", "Answer in one sentence.")
_LEARNED = ("thanks", "ok thanks", "i see", "got it", "thank you", "ah, now i know")
_GLAD = ("You're welcome!", "Glad to help.", "You're welcome! Ask me another word if you like.")

Word = tuple[str, str]


@cache
def words(kind: str) -> tuple[Word, ...]:
    """The words of one table, `nouns` with their articles, each with its meaning."""
    return tuple((line.split("|")[0], line.split("|")[1]) for line in _TABLE[kind].strip().splitlines())


@cache
def _frames(kind: str) -> tuple[str, ...]:
    return rows(_TABLE[f"{kind}_ask"])[0][0]


def _noun(rng: Random) -> tuple[str, str]:
    term, meaning = rng.choice(words("nouns"))
    return definitions.question(term, rng), definitions.answer(term, meaning)


def _other(kind: str, rng: Random) -> tuple[str, str]:
    """A verb or an adjective."""
    word, meaning = rng.choice(words(f"{kind}s"))
    question = asked(rng.choice(_frames(kind)).replace("{x}", word), rng, typo=0.03)
    return question, f"{capital('to ' + word if kind == 'verb' else word)} means {meaning}."


def exchange(rng: Random) -> tuple[str, str]:
    """A question and its answer; most are about nouns."""
    kind = rng.choices(("noun", "verb", "adjective"), (88, 6, 6))[0]
    return _noun(rng) if kind == "noun" else _other(kind, rng)


def one(rng: Random) -> Conversation:
    """One word, now and then two, or thanks at the end."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    turns = list(exchange(rng))
    kind = rng.random()
    if kind < 0.15:
        turns += exchange(rng)
    elif kind < 0.22:
        turns += [vary(rng.choice(_LEARNED), rng, lead=0), rng.choice(_GLAD)]
    return talk(*turns, system=system)
