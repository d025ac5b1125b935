"""What people say about their day and their feelings, and answers that name just that. Torch-free.

talk.py and chatter.py have the common feelings; here each event has its own answer, so that good and bad news differ.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import rows

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = ("You are a helpful assistant.", "You are a friendly assistant.", "Be kind.", "Answer briefly.")
_OPENERS = ("hey, {q}", "hi, {q}", "guess what, {q}", "well, {q}", "you know, {q}", "hello, {q}", "oh, {q}", "so, {q}")
_THANKS = ("thanks", "thank you", "thanks for listening", "that's nice of you", "thank you, that helps")
_WELCOME = ("You're welcome!", "Any time!", "You're welcome. I'm glad that you told me.")
_PLACE = re.compile(r"\{(\w+)\}")
_CHOICE = re.compile(r"\{((?:[^{}]|\{\w+\})*\|(?:[^{}]|\{\w+\})*)\}")

Row = tuple[tuple[str, ...], ...]


@cache
def table(name: str) -> tuple[Row, ...]:
    """The rows of `events` or of `self`: wordings and answers."""
    return rows(_TABLE[name])


def one_of(pattern: str, rng: Random) -> str:
    """The wording with one of the words for each "{a|b}", in which a place such as {person} may stand."""
    return " ".join(_CHOICE.sub(lambda match: rng.choice(match[1].split("|")), pattern).split())


def _filled(text: str, words: dict[str, str], rng: Random) -> str:
    for name in _PLACE.findall(text):
        words.setdefault(name, rng.choice(_TABLE["slots"][name].split("|")))
    text = re.sub(r"\b([Aa]) \{(\w+)\}", lambda m: f"{m[1]}{'n' if words[m[2]][0] in 'aeiou' else ''} {{{m[2]}}}", text)
    return _PLACE.sub(lambda m: words[m[1]], text)


def exchange(rng: Random) -> tuple[str, str]:
    """What somebody says, and an answer that fits just that."""
    asks, answers = rng.choice(table("events" if rng.random() < 0.8 else "self"))
    pattern = one_of(rng.choice(asks), rng)
    small = pattern if pattern.startswith(("I ", "I'")) else pattern[:1].lower() + pattern[1:]
    said = rng.choice(_OPENERS).replace("{q}", small) if rng.random() < 0.15 else pattern
    end = "" if said[-1] in "?!" else rng.choice((".", "", "", "!"))
    typed = vary((said if rng.random() < 0.4 else capital(said)) + end, rng, lead=0, typo=0.05)
    words: dict[str, str] = {}
    return _filled(typed, words, rng), capital(_filled(rng.choice(answers), words, rng))


def one(rng: Random) -> Conversation:
    """One or two things said, now and then with thanks."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.1 else ""
    turns = list(exchange(rng))
    kind = rng.random()
    if kind < 0.12:
        turns += exchange(rng)
    elif kind < 0.2:
        turns += [vary(rng.choice(_THANKS), rng, lead=0), rng.choice(_WELCOME)]
    return talk(*turns, system=system)
