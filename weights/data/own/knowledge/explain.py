"""Simple explanations and facts in one sentence, and honest answers where the model cannot know. Torch-free."""

import re
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.names import FIRST_NAMES, built_name
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import entries as read_entries

entries = cache(read_entries)
_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = ("You are a helpful assistant.", "Answer briefly.", "You are a friendly assistant.", "Explain simply.")
_PLURAL = frozenset(entries(_TABLE["plural"]))
_PAIRS = tuple(_TABLE["pairs"])
_AND = ("and {a}?", "And {a}?", "what about {a}?", "and what about {a}?", "ok, and {a}?", "and for {a}?", "{a}?")


@cache
def definitions() -> tuple[tuple[str, str], ...]:
    """The terms with their articles, and what they are."""
    return tuple((line.split("|")[0], line.split("|")[1]) for line in _TABLE["definitions"].strip().splitlines())


@cache
def facts() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Wordings of a question, and its answer."""
    lines = (line.split(" :: ") for line in _TABLE["facts"].strip().splitlines())
    return tuple((tuple(ask.strip() for ask in asks.split(" / ")), answer) for asks, answer in lines)


@cache
def pairs(kind: str) -> tuple[tuple[str, str], ...]:
    """The pairs of a kind: a country and its capital."""
    rows = entries(_TABLE["pairs"][kind]["rows"])
    return tuple((row.split("=")[0], row.split("=")[1]) for row in rows)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _asked(pattern: str, rng: Random, **words: str) -> str:
    """A question with its words filled in, now and then in small letters."""
    text = vary(pattern, rng, lead=0.06)
    small = rng.random() < 0.25
    for key, word in words.items():
        text = text.replace(f"{{{key}}}", word.lower() if small else word)
    return text


def _definition(rng: Random) -> tuple[str, str]:
    term, meaning = rng.choice(definitions())
    bare = re.sub(r"^(?:an?|the) ", "", term)
    answer = rng.choice(entries(_TABLE["define_answers"])).format(X=_capital(term), d=meaning)
    if term in _PLURAL and term != "statistics":
        answer = answer.replace(" is ", " are ", 1)
    return _asked(rng.choice(entries(_TABLE["define_asks"])), rng, x=term, y=bare), answer


def _fact(rng: Random) -> tuple[str, str]:
    asks, answer = rng.choice(facts())
    asked = rng.choice(asks)
    return vary(_capital(asked) + ("?" if rng.random() < 0.9 else ""), rng, lead=0.06), answer


def _pair_answer(kind: str, a: str, b: str, rng: Random) -> str:
    told = a.replace("my ", "your ")
    return rng.choice(entries(_TABLE["pairs"][kind]["answer"])).format(a=told, b=b, A=_capital(told), B=_capital(b))


def _pair(rng: Random, kind: str = "") -> tuple[str, str]:
    kind = kind or rng.choices(_PAIRS, [len(pairs(name)) for name in _PAIRS])[0]
    table = _TABLE["pairs"][kind]
    a, b = rng.choice(pairs(kind))
    if "back" in table and rng.random() < 0.12:
        return _asked(rng.choice(entries(table["back"])), rng, b=b), _capital(f"{b} is the capital of {a}.")
    return _asked(rng.choice(entries(table["ask"])), rng, a=a), _pair_answer(kind, a, b, rng)


def _pair_twice(rng: Random) -> list[str]:
    """A question of a kind, and the same one about something else in two words."""
    kind = rng.choices(_PAIRS, [len(pairs(name)) for name in _PAIRS])[0]
    a, b = rng.choice(pairs(kind))
    turns = list(_pair(rng, kind))
    return [*turns, _asked(rng.choice(_AND), rng, a=a), _pair_answer(kind, a, b, rng)]


def _unknown(rng: Random) -> tuple[str, str]:
    kinds = tuple(_TABLE["unknown"])
    table = _TABLE["unknown"][rng.choices(kinds, (3, 3, 4, 4, 4, 2.5, 1.5, 1))[0]]
    first = rng.choice(FIRST_NAMES) if rng.random() < 0.4 else built_name(rng)
    words = {
        "city": rng.choice(entries(_TABLE["lists"]["city"])),
        "company": rng.choice(entries(_TABLE["lists"]["company"])),
        "name": f"{first} {built_name(rng)}" if rng.random() < 0.7 else built_name(rng),
        "word": built_name(rng).lower(),
        "place": built_name(rng),
    }
    answer = rng.choice(entries(table["answer"]))
    for key, word in words.items():
        answer = answer.replace(f"{{{key}}}", word)
    text = vary(rng.choice(entries(table["ask"])), rng, lead=0.06)
    for key, word in words.items():
        text = text.replace(f"{{{key}}}", word)
    return text, answer


_KINDS = (_definition, _fact, _pair, _unknown)
_WEIGHTS = (38, 24, 24, 14)


def exchange(rng: Random) -> tuple[str, str]:
    """One question and its answer."""
    return rng.choices(_KINDS, _WEIGHTS)[0](rng)


def one(rng: Random) -> Conversation:
    """One to three questions."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.1 else ""
    if rng.random() < 0.08:
        return talk(*_pair_twice(rng), system=system)
    length = rng.choices((1, 2, 3), (72, 20, 8))[0]
    return talk(*(text for _ in range(length) for text in exchange(rng)), system=system)
