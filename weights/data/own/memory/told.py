"""What stands in earlier turns or in the system prompt, told in passing and asked for afterwards. Torch-free.

Half of the conversations hold what the user told of himself, a third a small world in the system prompt
(told_worlds.py), the rest what the model itself said (told_before.py).
"""

import re
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.knowledge import arithmetic, definitions
from weights.data.own.memory import told_before, told_worlds
from weights.data.own.memory.told_values import Words, filled, read, said, typed, value, wordings
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.shell import shell
from weights.data.own.talk import smalltalk

_FACTS: dict[str, dict[str, Any]] = read("told")["fact"]
_TALK: dict[str, str] = read("told")["talk"]
_KEYS = tuple(_FACTS)
_WEIGHTS = tuple(4 if key in ("pet", "relative", "name", "trip", "liking") else 2 for key in _KEYS)
_NO_FIX = ("place_of_thing", "appointment", "address", "learn", "count")
# Facts of which one tells the other: neither counts as untold once the other was told.
_ALIKE = ({"town", "address"}, {"relative", "colleague", "meeting"}, {"build", "learn", "project"}, {"food", "cook"})


def _words(fact: dict[str, Any], rng: Random) -> Words:
    words = {slot: value(kind, rng) for slot, kind in fact["slots"].items()}
    if "kinds" in fact:
        words["k"] = rng.choice(tuple(fact["kinds"]))
        words["x"] = value(fact["kinds"][words["k"]], rng)
    return words


def _small_talk(rng: Random) -> tuple[str, str]:
    """Small talk that tells nothing of the user and asks nothing of what was told."""
    while True:
        asks, answer = smalltalk.exchange(rng)
        if not re.search(r"\b(?:my|i|i'm|im|me|name|l[iv]+e)\b", asks, re.IGNORECASE) and "told" not in answer:
            return asks, answer


def _between(rng: Random) -> list[str]:
    """No, one or two turns about something else."""
    turns: list[str] = []
    for _ in range(rng.choices((0, 1, 2), (52, 30, 18))[0]):
        kind = rng.random()
        if kind < 0.4:
            turns += _small_talk(rng)
        elif kind < 0.6:
            turns += definitions.exchange(rng)
        elif kind < 0.8:
            turns += [message.content for message in arithmetic.one(rng)][:2]
        else:
            turns += shell.exchange(rng)[:2]
    return turns


def _slot(fact: dict[str, Any], rng: Random) -> str:
    slots = [key.removeprefix("ask_") for key in fact if key.startswith("ask_")]
    return "x" if rng.random() < 0.55 else rng.choice(slots)


def _asked(fact: dict[str, Any], words: Words, rng: Random) -> list[str]:
    slot = _slot(fact, rng)
    return [typed(fact[f"ask_{slot}"], words, rng), said(fact[f"say_{slot}"], words, rng)]


def _told(key: str, words: Words, rng: Random) -> list[str]:
    """A fact told and taken; now and then told wrongly first and put right."""
    fact = _FACTS[key]
    if key in _NO_FIX or rng.random() > 0.12:
        return [typed(fact["tell"], words, rng), said(fact["got"], words, rng)]
    other = value(fact["kinds"][words["k"]] if "kinds" in fact else fact["slots"]["x"], rng)
    first = [typed(fact["tell"], {**words, "x": other}, rng), said(fact["got"], {**words, "x": other}, rng)]
    now = {"x": words["x"], "o": other}
    return [*first, typed(_TALK["fix"], now, rng, lead=0), said(_TALK["fixed"], now, rng)]


def _thanked(rng: Random) -> list[str]:
    if rng.random() > 0.07:
        return []
    return [typed(_TALK["thanks"], {}, rng, lead=0), said(_TALK["thanked"], {}, rng)]


def _one_told(rng: Random) -> list[str]:
    key = rng.choices(_KEYS, _WEIGHTS)[0]
    words = _words(_FACTS[key], rng)
    turns = [*_told(key, words, rng), *_between(rng), *_asked(_FACTS[key], words, rng)]
    if rng.random() < 0.15:
        turns += _asked(_FACTS[key], words, rng)
    return turns + _thanked(rng)


def _two_told(rng: Random) -> list[str]:
    """Two things, of one or two kinds; one of them is asked for, or both."""
    first, second = rng.choices(_KEYS, _WEIGHTS)[0], rng.choices(_KEYS, _WEIGHTS)[0]
    told = [(first, _words(_FACTS[first], rng)), (second, _words(_FACTS[second], rng))]
    if first == second and ("k" not in told[0][1] or told[0][1]["k"] == told[1][1]["k"] or "d" in told[0][1]):
        return _one_told(rng)
    if rng.random() < 0.35:
        a, b = (typed(_FACTS[key]["tell"], words, rng, lead=0).rstrip(".!?") for key, words in told)
        turns = [filled(rng.choice(wordings(_TALK["and_also"])), {"a": a, "b": b})]
        turns.append(said(_FACTS[second]["got"], told[1][1], rng))
    else:
        turns = [text for key, words in told for text in _told(key, words, rng)]
    rng.shuffle(told)
    for key, words in told[: 1 if rng.random() < 0.65 else 2]:
        turns += [*(_between(rng) if rng.random() < 0.4 else ()), *_asked(_FACTS[key], words, rng)]
    return turns


def _alike(key: str) -> set[str]:
    return {key}.union(*(group for group in _ALIKE if key in group))


def _untold(rng: Random) -> list[str]:
    """Something is told, and another thing asked for; told afterwards, it is known."""
    key = rng.choices(_KEYS, _WEIGHTS)[0]
    words = _words(_FACTS[key], rng)
    asked = rng.choice([other for other in _KEYS if other not in _alike(key)])
    if rng.random() < 0.35 and key in ("pet", "relative", "colleague", "liking", "count", "parents", "gift"):
        asked = key
    fact = _FACTS[asked]
    wanted = _words(fact, rng)
    while asked == key and wanted["k"] == words["k"]:
        wanted = _words(fact, rng)
    topic = filled(fact["topic_x"], wanted)
    turns = [*_told(key, words, rng), *_between(rng)] if rng.random() < 0.8 or asked == key else _between(rng)
    question = [text for text in wordings(fact["ask_x"]) if "{d}" not in text and "{p}" not in text]
    turns += [
        typed(" / ".join(question), wanted, rng),
        capital(said(_TALK["unknown"], {"t": topic}, rng)),
    ]
    if rng.random() < 0.25:
        turns += [typed(fact["tell"], wanted, rng), said(fact["got"], wanted, rng), *_asked(fact, wanted, rng)]
    return turns


def one(rng: Random) -> Conversation:
    """One conversation in which an answer copies what stands before it."""
    kind = rng.random()
    if kind > 0.85:
        return talk(*told_before.turns(rng))
    if kind > 0.5:
        return told_worlds.one(rng)
    system = rng.choice(wordings(_TALK["systems"])) if rng.random() < 0.1 else ""
    shape = rng.choices((_one_told, _two_told, _untold), (56, 32, 12))[0]
    return talk(*shape(rng), system=system)
