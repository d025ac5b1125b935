"""General knowledge in many wordings: why and how, who made what, capitals, and the numbers of things. Torch-free."""

import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import asked
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import rows

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "Answer in one sentence.",
    "You are a friendly assistant.",
)
_MADE = {"written": "wrote", "painted": "painted", "composed": "composed", "invented": ""}
_AND = ("and {x}?", "what about {x}?", "and what about {x}?", "and of {x}?", "ok, and {x}?", "{x}?")
_LEADS = ("do you know {q}", "can you tell me {q}", "i wonder {q}", "explain {q}", "tell me {q}", "please tell me {q}")
_AGAIN = ("say that again", "what did you say?", "can you repeat that?", "sorry, what?", "repeat that please")
_SURE = ("are you sure?", "really?", "is that right?", "is that true?")

Pair = tuple[str, str]


@cache
def pairs(kind: str) -> tuple[Pair, ...]:
    """The pairs of a table of the form `thing=answer|...`."""
    found = [row.split("=") for row in _TABLE[kind].split("|")]
    return tuple((thing, said) for thing, said in found)


@cache
def questions(kind: str) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Wordings of a question, and its answer."""
    return tuple((asks, said[0]) for asks, said in rows(_TABLE[kind]))


@cache
def _frames(name: str) -> tuple[str, ...]:
    return rows(_TABLE[name])[0][0]


def _filled(frame: str, thing: str, rng: Random) -> str:
    """The question with the thing in its place, both in small letters now and then."""
    small = rng.random() < 0.4
    text = asked(frame.replace("{x}", thing.lower() if small else thing), rng, typo=0.04)
    return text.lower() if small and rng.random() < 0.5 else text


def _why(rng: Random) -> Pair:
    asks, said = rng.choice(questions("why"))
    question = rng.choice(asks)
    first, *rest = question.rstrip("?").split(" ")
    if first in ("why", "how") and rest[0] in ("do", "does") and rest[1] not in ("you", "not") and rng.random() < 0.18:
        return _indirect(first, rest, question, rng), said
    return asked(question, rng), said


def _indirect(first: str, rest: list[str], question: str, rng: Random) -> str:
    """`why do birds sing` becomes `can you tell me why birds sing`."""
    if rest[0] == "does":
        return asked(question, rng)
    return asked(rng.choice(_LEADS).format(q=" ".join((first, *rest[1:]))), rng)


def _number(rng: Random) -> Pair:
    asks, said = rng.choice(questions("numbers"))
    return asked(rng.choice(asks), rng), said


def made_answer(kind: str, thing: str, who: str) -> str:
    """Who wrote, painted, composed or invented it, as a sentence."""
    return who if kind == "invented" else f"{who} {_MADE[kind]} {thing}."


def _who(rng: Random) -> Pair:
    kind = rng.choices(tuple(_MADE), [len(pairs(name)) for name in _MADE])[0]
    thing, who = rng.choice(pairs(kind))
    return _filled(rng.choice(_frames(f"{kind}_ask")), thing, rng), made_answer(kind, thing, who)


def _capital(rng: Random) -> Pair:
    country, city = rng.choice(pairs("capitals"))
    if rng.random() < 0.1 and city != "London":
        question = rng.choice(_frames("capital_back")).replace("{y}", city)
        return asked(question, rng, typo=0.02), f"{city} is the capital of {country}."
    return _filled(rng.choice(_frames("capital_ask")), country, rng), f"The capital of {country} is {city}."


def exchange(rng: Random) -> Pair:
    """A question and its answer."""
    return rng.choices((_why, _number, _who, _capital), (34, 20, 24, 22))[0](rng)


def _twice(rng: Random) -> list[str]:
    """The second question names only the other thing."""
    if rng.random() < 0.6:
        turns = list(_capital(rng))
        country, city = rng.choice(pairs("capitals"))
        thing, said = country, f"The capital of {country} is {city}."
    else:
        kind = rng.choice(("written", "painted", "composed"))
        thing, who = rng.choice(pairs(kind))
        turns = [_filled(rng.choice(_frames(f"{kind}_ask")), thing, rng), made_answer(kind, thing, who)]
        thing, who = rng.choice(pairs(kind))
        said = made_answer(kind, thing, who)
    name = thing.lower() if rng.random() < 0.3 else thing
    return [*turns, vary(rng.choice(_AND).replace("{x}", name), rng, lead=0), said]


def _doubted(rng: Random) -> list[str]:
    """The user is not sure of the answer, and gets it again."""
    question, said = exchange(rng)
    again = f"{said[:1].lower()}{said[1:]}" if said.split()[0] in ("The", "A", "An", "They", "Their", "It") else said
    answer = rng.choice((f"Yes: {again}", f"Yes, I am fairly sure: {again}", f"I think so: {again}"))
    return [question, said, vary(rng.choice(_SURE), rng, lead=0), answer]


def _repeated(rng: Random) -> list[str]:
    question, said = exchange(rng)
    again = vary(
        rng.choice(("say that again", "what did you say?", "can you repeat that?", "sorry, what?")), rng, lead=0
    )
    return [question, said, again, rng.choice((said, f"I said: {said}"))]


def one(rng: Random) -> Conversation:
    """One or two questions, sometimes doubted or asked again."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    kind = rng.random()
    if kind < 0.1:
        return talk(*_twice(rng), system=system)
    if kind < 0.15:
        return talk(*_doubted(rng), system=system)
    if kind < 0.18:
        return talk(*_repeated(rng), system=system)
    turns = list(exchange(rng))
    return talk(*turns, *(exchange(rng) if rng.random() < 0.2 else ()), system=system)
