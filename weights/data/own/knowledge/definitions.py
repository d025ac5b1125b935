"""What a thing is, in one sentence, asked for in many ways: "what is X?", "tell me about X", "define X", or X alone.

The terms of explain.toml and terms.toml are asked for here too, in more wordings. Torch-free.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import asked, capital
from weights.data.own.knowledge import explain, terms
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import rows

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_ASK = tuple(wording for row in rows(_TABLE["ask"]) for wording in row[0])
_AND = rows(_TABLE["and_ask"])[0][0]
_PLURAL = frozenset(_TABLE["plural"].split("|")) | {"bacteria", "the lungs"}
_AS_TYPED = frozenset(_TABLE["as_typed"].split("|"))
_SYSTEMS = ("You are a helpful assistant.", "Answer briefly.", "Explain simply.", "Answer in one sentence.")
_LEARNED = ("ah, thanks", "thanks", "i see", "ok", "good to know", "now i understand", "thank you!", "makes sense")
_GLAD = ("You're welcome!", "Glad that helps.", "Good! Ask me about other words too.", "Happy to explain.")

Term = tuple[str, str]


def _read(text: str) -> tuple[Term, ...]:
    return tuple((line.split("|")[0], line.split("|")[1]) for line in text.strip().splitlines())


@cache
def own_terms() -> tuple[Term, ...]:
    """The terms of definitions.toml with their articles, and what they are."""
    return _read(_TABLE["computing"]) + _read(_TABLE["everyday"])


@cache
def all_terms() -> tuple[Term, ...]:
    """The terms of definitions.toml, and those of the older tables that it has not."""
    own = {term.lower() for term, _ in own_terms()}
    older = dict((*terms.definitions(), *explain.definitions()))
    return own_terms() + tuple(pair for pair in older.items() if pair[0].lower() not in own)


def answer(term: str, meaning: str) -> str:
    """The sentence that says what the term is."""
    name = term if term in _AS_TYPED else capital(term)
    return f"{name} {'are' if term in _PLURAL else 'is'} {meaning}."


def _worded(frame: str, term: str, rng: Random) -> str:
    """The question, with the term in small letters now and then, and a slip of the finger anywhere in it."""
    small = rng.random() < 0.45
    bare = re.sub(r"^(?:an?|the) ", "", term)
    name, short = (term.lower(), bare.lower()) if small else (term, bare)
    if term in _PLURAL:
        frame = re.sub(r"\bis \{x\}", "are {x}", frame).replace("{x} is", "{x} are")
    text = asked(frame.replace("{x}", name).replace("{y}", short), rng, lead=0.1)
    return text.lower() if small and rng.random() < 0.5 else text


def question(term: str, rng: Random) -> str:
    """What somebody types to learn what the term is."""
    return _worded(rng.choice(_ASK), term, rng)


def exchange(rng: Random) -> tuple[str, str]:
    """A question and its answer; the terms of definitions.toml come twice as often as the older ones."""
    term, meaning = rng.choice(own_terms() if rng.random() < 0.35 else all_terms())
    return question(term, rng), answer(term, meaning)


def one(rng: Random) -> Conversation:
    """One to three terms."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    turns = list(exchange(rng))
    kind = rng.random()
    if kind < 0.12:
        term, meaning = rng.choice(all_terms())
        turns += [_worded(rng.choice(_AND), term, rng), answer(term, meaning)]
    elif kind < 0.24:
        turns += exchange(rng)
    elif kind < 0.32:
        turns += [vary(rng.choice(_LEARNED), rng, lead=0), rng.choice(_GLAD)]
    return talk(*turns, system=system)
