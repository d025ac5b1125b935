"""How tfm is used: its slash commands and flags; and the words that one meets there."""

from random import Random

from weights.data.own.knowledge import terms
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import read_topics
from weights.data.own.talk import smalltalk

_TOPICS = read_topics(__file__)
_NAMES = tuple(_TOPICS)
_WEIGHTS = tuple(len(ask) for ask, _ in _TOPICS.values())
_SYSTEMS = ("You are a helpful assistant.", "Answer briefly.", "You are tfm.")


def _exchange(rng: Random) -> tuple[str, str]:
    if rng.random() < 0.3:
        return terms.exchange(rng)
    ask, answer = _TOPICS[rng.choices(_NAMES, _WEIGHTS)[0]]
    return vary(rng.choice(ask), rng), rng.choice(answer)


def one(rng: Random) -> Conversation:
    """One or two questions, sometimes after small talk."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.1 else ""
    turns = list(smalltalk.exchange(rng)) if rng.random() < 0.15 else []
    turns += _exchange(rng)
    if rng.random() < 0.2:
        turns += _exchange(rng)
    return talk(*turns, system=system)
