"""Reads next_steps.toml: chains of requests at the shell, and facts that are told in pairs. Torch-free."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("next_steps.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Turn:
    """Wordings, the command that answers them, or "" where words do, and what it does."""

    asks: tuple[str, ...]
    command: str
    explain: str
    is_next: bool = False


@dataclass(frozen=True)
class Chain:
    """What is asked or told first, and the turns that need it."""

    first: Turn
    more: tuple[Turn, ...]


@dataclass(frozen=True)
class Pair:
    """The kinds of the values by their letters, how they are told; the letter, asks and answers of the questions."""

    kinds: dict[str, str]
    tells: str
    questions: tuple[tuple[str, str, str], ...]


def _asks(text: str) -> tuple[str, ...]:
    macros = {**TABLE["macros"], **TABLE["known_macros"]}
    parts = [macros[part[1:]] if part.startswith("@") else part for part in text.strip().split(" / ")]
    return tuple(ask.strip() for part in parts for ask in part.split(" / "))


def _turn(asks: str, answer: str, is_next: bool = False) -> Turn:
    if answer.startswith("! "):
        return Turn(_asks(asks), "", answer[2:], is_next)
    command, explain = answer.removeprefix("= ").split(" :: ")
    return Turn(_asks(asks), command, explain, is_next)


def _chain(block: str) -> Chain:
    lines = block.splitlines()
    first = Turn(_asks(lines[0][2:]), "", "")
    if lines[1].startswith("= "):
        first = _turn(lines[0][2:], lines[1])
        lines = lines[1:]
    more = []
    for asked, answer in zip(lines[1::2], lines[2::2], strict=True):
        mark, asks = asked.split(" ", 1)
        more.append(_turn(asks, answer, mark == ">1"))
    return Chain(first, tuple(more))


@cache
def chains() -> tuple[Chain, ...]:
    """Tasks at the shell, and what people ask next."""
    text = f"{TABLE['shell']['chains'].strip()}\n\n{TABLE['shell']['more'].strip()}"
    return tuple(_chain(block) for block in text.split("\n\n"))


@cache
def known() -> tuple[Chain, ...]:
    """What a user tells of himself, and the requests at the shell that need it."""
    return tuple(_chain(block) for block in TABLE["shell"]["known"].strip().split("\n\n"))


def _pair(block: str) -> Pair:
    slots, tells, *asked = block.splitlines()
    groups = [group.split(":") for group in slots[2:].split()]
    questions = []
    for line in asked:
        letter, rest = line.split("> ", 1)
        asks, says = rest.split(" => ")
        questions.append((letter, asks, says))
    return Pair(
        {letter: kind for letters, kind in groups for letter in letters.split(",")}, tells[2:], tuple(questions)
    )


@cache
def pairs() -> tuple[Pair, ...]:
    """Two facts that are told together."""
    return tuple(_pair(block) for block in TABLE["told"]["pairs"].strip().split("\n\n"))
