"""Reactions and small talk that goes on: short friendly answers that take up what the user said. Torch-free.

A scene is a talk whose turns hang together; its places, such as {pet}, are filled once for the whole talk.
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
_SYSTEMS = ("You are a helpful assistant.", "You are a friendly assistant.", "Be polite.", "Answer briefly.")
_PLACE = re.compile(r"\{(\w+)\}")

Row = tuple[tuple[str, ...], ...]


@cache
def singles() -> tuple[Row, ...]:
    """What is said in one turn, and what fits."""
    return rows(_TABLE["single"]["rows"])


@cache
def scenes() -> tuple[tuple[str, ...], ...]:
    """The lines of each scene."""
    return tuple(tuple(block.splitlines()) for block in _TABLE["scenes"]["rows"].strip().split("\n\n"))


@cache
def _slot(name: str) -> tuple[str, ...]:
    return rows(_TABLE["slots"][name])[0][0]


def _filled(text: str, words: dict[str, str], rng: Random) -> str:
    """The text with its places filled, each with the word that the talk has for it."""
    for name in _PLACE.findall(text):
        words.setdefault(name, rng.choice(_slot(name)))
    text = re.sub(r"\b([Aa]) \{(\w+)\}", lambda m: f"{m[1]}{'n' if words[m[2]][0] in 'aeio' else ''} {{{m[2]}}}", text)
    return _PLACE.sub(lambda m: words[m.group(1)], text)


def _said(text: str, words: dict[str, str], rng: Random) -> str:
    """A user's turn; in small letters also the words that were filled in, when the rest is."""
    typed = vary(text if rng.random() < 0.5 else capital(text), rng, lead=0, typo=0.05)
    full = _filled(typed, words, rng)
    return full.lower() if typed == typed.lower() and rng.random() < 0.5 else full


def single(rng: Random) -> list[str]:
    """One message and its answer."""
    weights = [len(row[0]) ** 0.6 for row in singles()]
    asks, answers = rng.choices(singles(), weights)[0]
    return _answered(asks, answers, rng)


def _answered(asks: tuple[str, ...], answers: tuple[str, ...], rng: Random) -> list[str]:
    words: dict[str, str] = {}
    return [_said(rng.choice(asks), words, rng), capital(_filled(rng.choice(answers), words, rng))]


def _path(lines: tuple[str, ...], rng: Random) -> list[Row]:
    """The opening, a line that may follow it, and one of those marked with > that follow this one."""
    groups: list[list[str]] = []
    for line in lines[1:]:
        if line.startswith("> "):
            groups[-1].append(line[2:])
        else:
            groups.append([line])
    chosen = [lines[0]]
    if groups and rng.random() < 0.85:
        second, *third = rng.choice(groups)
        chosen.append(second)
        if third and rng.random() < 0.6:
            chosen.append(rng.choice(third))
    return [rows(line)[0] for line in chosen]


def scene(rng: Random) -> list[str]:
    """A talk of one to three turns that hang together, now and then with thanks or a goodbye at its end."""
    words: dict[str, str] = {}
    turns: list[str] = []
    for asks, answers in _path(rng.choice(scenes()), rng):
        turns += [_said(rng.choice(asks), words, rng), capital(_filled(rng.choice(answers), words, rng))]
    if rng.random() < 0.1:
        turns += _ending(rng)
    return turns


def _row(word: str) -> Row:
    return next(row for row in singles() if word in row[0])


def _ending(rng: Random) -> list[str]:
    asks, answers = _row(rng.choice(("bye", "thanks", "good night")))
    return _answered(asks, answers, rng)


def _opened(rng: Random) -> list[str]:
    """A greeting, and then a scene or another message."""
    asks, answers = _row(rng.choice(("hi", "hi", "how are you?", "good morning", "good evening", "it's me again")))
    later = singles()[singles().index(_row("thanks")) + 1 :]
    then, fits = rng.choice([row for row in later if "say that again" not in row[0]])
    return [*_answered(asks, answers, rng), *(scene(rng) if rng.random() < 0.6 else _answered(then, fits, rng))]


def one(rng: Random) -> Conversation:
    """One message and its answer, or a talk of some turns."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    shape = rng.choices((single, scene, _opened), (52, 38, 10))[0]
    return talk(*shape(rng), system=system)
