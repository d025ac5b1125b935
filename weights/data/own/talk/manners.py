"""Small courtesies and small talk: thanks, goodbyes, praise, complaints, feelings, news, tastes. Torch-free.

What counts is the wording: each topic has its own words before and behind a wording, and people type in a hurry. A
thanks, a goodbye or a word of agreement also comes after an exchange that another generator makes.
"""

import re
import tomllib
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.names import FIRST_NAMES, built_name
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.talk.situations import one_of

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SLOTS: dict[str, str] = _TABLE["slots"]
_TOPICS = tuple(name for name in _TABLE if name != "slots")
_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "You are a small assistant in a terminal.",
    "You are a polite assistant.",
    "Answer briefly.",
    "Be friendly.",
)
_BEFORE = (
    "shell.shell_requests",
    "shell.shell_requests",
    "shell.shell_basics",
    "knowledge.definitions",
    "knowledge.common_facts",
    "knowledge.everyday_words",
)
_PLACE_ENDS = ("", "", "", "ville", "burg", " Bay", " Hill", " Valley", "stead", " Island", "mouth")
_PLACE = re.compile(r"\{(\w+)\}")
_WHEN = re.compile(r"\b(?:to(?:day|night|morrow)|yesterday|morning|week(?:end)?|days?|night|now|last)\b")
_HOW_ARE_YOU = re.compile(
    r"(?:how (?:are|about|have) you|and you|what about you|how is your day)\b[^.?!]*\?$", re.IGNORECASE
)
_IN_A_HURRY = (
    (r"\b([Tt])hanks\b", (r"\1hx", r"\1hanx", r"\1nx", r"\1hnks")),
    (r"\b[Pp]lease\b", ("pls", "plz", "pleas")),
    (r"\b[Yy]ou\b", ("u", "ya")),
    (r"\b[Yy]our\b", ("ur",)),
    (r"\b[Yy]ou're\b", ("ur", "youre", "your")),
    (r"\bfavourite\b", ("favorite", "fav", "favourit")),
    (r"\bare you\b", ("r u", "are u")),
    (r"\b[Gg]ood\b", ("gud", "gd")),
    (r"(?<=\w{2})ing\b", ("in", "in'")),
    (r"\btomorrow\b", ("tmrw", "tomoro", "2moro")),
    (r"\btoday\b", ("2day",)),
    (r"\b(?:very|really) ", ("v ", "rly ")),
    (r"\bgoing to\b", ("gonna",)),
    (r"\bwant to\b", ("wanna",)),
    (r"\bhave to\b", ("gotta", "hafta")),
    (r"\bI don't know\b", ("idk",)),
    (r"\bbecause\b", ("cos", "bc")),
    (r"(?<=\w)'(?=\w)", ("",)),
    (r"\b(?:I'm|I am)\b", ("im", "Im", "am")),
)

Row = tuple[tuple[str, ...], tuple[str, ...]]


def _read(block: str) -> Row:
    asks: list[str] = []
    answers: list[str] = []
    for line in block.splitlines():
        answer = line.startswith("= ")
        (answers if answer else asks).extend(part.strip() for part in line[2 if answer else 0 :].split(" / "))
    return tuple(asks), tuple(answers)


@cache
def topic(name: str) -> tuple[Row, ...]:
    """The blocks of a topic: wordings, and answers that fit each of them."""
    return tuple(_read(block) for block in _TABLE[name]["rows"].strip().split("\n\n"))


@cache
def _parts(name: str, key: str) -> tuple[str, ...]:
    return tuple(_TABLE[name][key].split(" / "))


def _value(slot: str, rng: Random) -> str:
    """A word for a place; a name or a town that nobody has heard of is built."""
    if slot == "name":
        return rng.choice(FIRST_NAMES)
    if slot == "place":
        return built_name(rng) + rng.choice(_PLACE_ENDS)
    return rng.choice(_SLOTS[slot].split("|"))


def _filled(text: str, words: dict[str, str], rng: Random) -> str:
    for slot in _PLACE.findall(text):
        words.setdefault(slot, _value(slot, rng))
    text = re.sub(r"\b([Aa]) \{(\w+)\}", lambda m: f"{m[1]}{'n' if words[m[2]][0] in 'aeio' else ''} {{{m[2]}}}", text)
    return _PLACE.sub(lambda m: words[m[1]], text)


def _small(text: str) -> str:
    return text if re.match(r"I\b|[A-Z]{2}|\{", text) else text[:1].lower() + text[1:]


def _composed(name: str, body: str, rng: Random) -> str:
    """The wording, now and then with a word before it or behind it; none that says a time twice."""
    if rng.random() < 0.3:
        opener = rng.choice(_parts(name, "open"))
        if opener not in body.lower():
            body = opener + rng.choice((", ", ", ", " ", " ", "! ", ". ", "... ")) + _small(body)
    if rng.random() < 0.25:
        closer = rng.choice(_parts(name, "close"))
        again = closer.split()[0].lower() in body.lower().split()
        if not again and not (_WHEN.search(closer) and _WHEN.search(body)):
            end = "?" if body.endswith("?") else ""
            body = body.rstrip("?") + rng.choice((", ", " ", " ") if closer[0].isalpha() else (" ",)) + closer + end
    return body


def _typed(text: str, rng: Random) -> str:
    """The wording as somebody in a hurry may type it."""
    if rng.random() < 0.2:
        fits = [pair for pair in _IN_A_HURRY if re.search(pair[0], text)]
        if fits:
            pattern, short = rng.choice(fits)
            text = re.sub(rf"{pattern}(?![^{{}}]*\}})", rng.choice(short), text, count=1)
    if rng.random() < 0.5:
        text = capital(text)
    if text[-1].isalnum() and rng.random() < 0.4:
        text += rng.choice((".", ".", "!", "!", "!!", "...", " :)"))
    text = vary(text, rng, lead=0, typo=0.07)
    return re.sub(r"\bI\b", "i", text) if rng.random() < 0.25 else text


def _answered(name: str, row: Row, rng: Random) -> tuple[str, str]:
    asks, answers = row
    words: dict[str, str] = {}
    pattern = _typed(_composed(name, one_of(rng.choice(asks), rng), rng), rng)
    said = _filled(pattern, words, rng)
    if pattern == pattern.lower() and rng.random() < 0.4:
        said = said.lower()
    return said, capital(_filled(one_of(rng.choice(answers), rng), words, rng))


def _row(name: str, rng: Random) -> Row:
    """A block of the topic; one with many wordings comes more often."""
    return rng.choices(topic(name), [len(asks) ** 0.7 for asks, _ in topic(name)])[0]


def exchange(rng: Random, fits: str = "") -> tuple[str, str]:
    """Something said and its answer: of any topic, or only of those that have the mark `fits`."""
    names = [name for name in _TOPICS if not fits or _TABLE[name].get(fits)]
    name = rng.choices(names, [_TABLE[each]["weight"] for each in names])[0]
    return _answered(name, _row(name, rng), rng)


def _of(name: str, rng: Random) -> tuple[str, str]:
    return _answered(name, _row(name, rng), rng)


def before(rng: Random) -> list[str]:
    """A question about something else and its answer, as another generator makes them."""
    return list(import_module(f"weights.data.own.{rng.choice(_BEFORE)}").exchange(rng))


def _after(rng: Random) -> list[str]:
    """An exchange on something else, then a courtesy, and sometimes a goodbye."""
    turns = before(rng)
    if rng.random() < 0.25:
        turns += before(rng)
    turns += exchange(rng, "after")
    if rng.random() < 0.2:
        turns += _of("goodbye", rng)
    return turns


def _opened(rng: Random) -> list[str]:
    """A greeting or a question after the health, what fits the answer, and sometimes a question or a goodbye."""
    first = rng.choice(("greeting", "howareyou"))
    turns = list(_of(first, rng))
    if _HOW_ARE_YOU.search(turns[-1]):
        turns += _answered("fine", rng.choice(topic("fine")[:: 2 if first == "howareyou" else 1]), rng)
    else:
        turns += before(rng)
    if rng.random() < 0.4:
        turns += before(rng)
        turns += _of(rng.choice(("thanks", "goodbye", "ack")), rng)
    return turns


def _two(rng: Random) -> list[str]:
    """Two or three things said that do not hang together, but each with its answer."""
    later = [name for name in _TOPICS if not _TABLE[name].get("first")]
    weights = [_TABLE[name]["weight"] for name in later]
    names = rng.choices(later, weights, k=rng.choice((1, 1, 2)))
    return [*exchange(rng), *chain.from_iterable(_of(name, rng) for name in names)]


def _thanked(rng: Random) -> list[str]:
    """A feeling, news or a question to the bot, and thanks, agreement or a goodbye for the answer."""
    first = rng.choice(("feelings", "news", "company", "tastes", "doings", "encourage", "unknown", "cannot", "wishes"))
    return [*_of(first, rng), *_of(rng.choice(("thanks", "ack", "goodbye", "muse", "praise")), rng)]


def one(rng: Random) -> Conversation:
    """One thing said, or a talk of two to four turns."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.12 else ""
    if rng.random() < 0.6:
        return talk(*exchange(rng), system=system)
    shape = rng.choices((_after, _opened, _two, _thanked), (50, 20, 15, 15))[0]
    return talk(*shape(rng)[:8], system=system)
