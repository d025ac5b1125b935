"""Small works on request, all written beforehand: poems, stories, jokes, riddles, facts, tips and lines of code.

"Another one" gives another of the same kind, and what users say to a work gets an answer that fits. Torch-free.
"""

import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import asked
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import rows

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = ("You are a helpful assistant.", "You are a friendly assistant.", "Answer briefly.")
_PLAIN = {
    "joke": "jokes",
    "riddle": "riddles",
    "fact": "facts",
    "compliment": "compliments",
    "motto": "mottos",
}
_PLAIN_WEIGHTS = (34, 12, 26, 8, 12)


@cache
def lines(name: str) -> tuple[str, ...]:
    """The works of a table that has one a line."""
    return tuple(_TABLE[name].strip().splitlines())


@cache
def topics(name: str) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """The names of each topic of a table, and its works. The lines of a poem stand under each other."""
    found = rows(_TABLE[name])
    if name == "poems":
        return tuple((names, ("\n".join(work),)) for names, work in found)
    return tuple((names, work) for names, work in found)


def _frames(kind: str) -> tuple[str, ...]:
    return rows(_TABLE["ask"][kind])[0][0]


@cache
def _after(kind: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    pairs = [part.split(" :: ") for part in _TABLE["after"][kind].split(" || ")]
    return tuple((said, tuple(answers.split(" / "))) for said, answers in pairs)


def _request(frame: str, rng: Random, topic: str = "") -> str:
    """A request as people type it; the topic's `my` stays the user's."""
    return asked(frame, rng, lead=0.1, typo=0.05).replace("{x}", topic)


def _more(kind: str, rng: Random) -> str:
    return vary(rng.choice(_frames(f"{kind}_more")), rng, lead=0.06, typo=0.04)


def _reaction(kind: str, rng: Random) -> list[str]:
    said, answers = rng.choice(_after(kind))
    return [vary(said, rng, lead=0.02, typo=0.04), rng.choice(answers)]


def _continued(kind: str, turns: list[str], left: list[str], rng: Random) -> list[str]:
    """The turns, then perhaps more works of the kind, and what the user says to them."""
    luck, left = rng.random(), list(left)
    if luck < 0.4:
        for _ in range(min(len(left), rng.choice((1, 1, 1, 2, 3)))):
            turns += [_more(kind, rng), left.pop()]
    if luck < 0.08 or 0.4 <= luck < 0.6:
        turns += _reaction(kind, rng)
        if rng.random() < 0.3 and left:
            turns += [_more(kind, rng), left.pop()]
    return turns


def _plain(rng: Random) -> list[str]:
    """Jokes, riddles, facts, compliments and mottos."""
    kind = rng.choices(tuple(_PLAIN), _PLAIN_WEIGHTS)[0]
    first, *left = rng.sample(lines(_PLAIN[kind]), 5)
    return _continued(kind, [_request(rng.choice(_frames(kind)), rng), first], left, rng)


def _on_topic(kind: str, table: str, rng: Random) -> list[str]:
    """A poem or story: about something, or about anything."""
    (names, works), *others = rng.sample(topics(table), 4)
    left = [work for _, others_works in others for work in others_works]
    if rng.random() < 0.25:
        request = _request(rng.choice(_frames(f"{kind}_any")), rng)
    else:
        request = _request(rng.choice(_frames(kind)), rng, rng.choice(names))
    return _continued(kind, [request, works[0]], left, rng)


def _advised(kind: str, table: str, rng: Random) -> list[str]:
    """A tip or a recommendation; another one is about the same thing."""
    names, works = rng.choice(topics(table))
    first, *left = rng.sample(works, len(works))
    return _continued(kind, [_request(rng.choice(_frames(kind)), rng, rng.choice(names)), first], left, rng)


def _coded(rng: Random) -> list[str]:
    """A small line of bash, or the honest word that more is too much."""
    if rng.random() < 0.5:
        request = _request(rng.choice(rows(_TABLE["code_big"])[0][0]), rng)
        return [request, rng.choice(rows(_TABLE["code_honest"])[0][0])]
    names, (code, says) = rng.choice(rows(_TABLE["code"]))
    return [_request(rng.choice(rows(_TABLE["code_ask"])[0][0]), rng, rng.choice(names)), f"{code}\n{says}"]


def _poem(rng: Random) -> list[str]:
    return _on_topic("poem", "poems", rng)


def _story(rng: Random) -> list[str]:
    return _on_topic("story", "stories", rng)


def _tip(rng: Random) -> list[str]:
    return _advised("tip", "tips", rng)


def _recommended(rng: Random) -> list[str]:
    return _advised("recommend", "recommend", rng)


_SHAPES: tuple[tuple[Callable[[Random], list[str]], int], ...] = (
    (_plain, 42),
    (_poem, 14),
    (_story, 14),
    (_tip, 12),
    (_recommended, 12),
    (_coded, 6),
)


def one(rng: Random) -> Conversation:
    """One request and its work, often with what follows."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    shape = rng.choices([shape for shape, _ in _SHAPES], [weight for _, weight in _SHAPES])[0]
    return talk(*shape(rng), system=system)
