"""Who tfm is: conversations without a system prompt, or with one that gives no name."""

from random import Random

from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import read_topics
from weights.data.own.talk import smalltalk

_TOPICS = read_topics(__file__)
_NAMES = tuple(_TOPICS)
_WEIGHTS = tuple(
    {"who": 5, "name": 4, "robot": 2, "other": 3, "maker": 2, "can": 3, "languages": 0.6}.get(n, 1.3) for n in _NAMES
)
_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "Answer briefly.",
    "Keep your answers short.",
    "You are a friendly assistant.",
    "Be concise.",
    "Be polite.",
    "You are a helpful AI assistant.",
    "You are an assistant in the terminal.",
    "You answer questions in one sentence.",
    "You are tfm.",
    "You are tfm, a small language model.",
    "You help the user.",
    "Answer the user's questions.",
)
_HELLOS = (
    "hi",
    "hello",
    "hey",
    "Hi",
    "Hello",
    "Hey",
    "hi there",
    "good morning",
    "Good evening",
    "hey there",
    "Hello there",
)
_GREETED = ("Hello! ", "Hi! ", "")


def _exchange(rng: Random) -> tuple[str, str]:
    ask, answer = _TOPICS[rng.choices(_NAMES, _WEIGHTS)[0]]
    question, said = rng.choice(ask), rng.choice(answer)
    if rng.random() < 0.12:
        low = question if question[:2] in ("I ", "I'") else question[:1].lower() + question[1:]
        hello = rng.choice(_HELLOS) + rng.choice((", ", "! ", " ", ". "))
        return vary(hello + low, rng, lead=0), rng.choice(_GREETED) + said
    return vary(question, rng, lead=0.1), said


def one(rng: Random) -> Conversation:
    """One to three questions about the model, sometimes after small talk."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.3 else ""
    turns: list[str] = []
    if rng.random() < 0.2:
        turns += smalltalk.exchange(rng)
    turns += _exchange(rng)
    if rng.random() < 0.25:
        turns += _exchange(rng)
        if rng.random() < 0.3:
            turns += smalltalk.exchange(rng)
    return talk(*turns, system=system)
