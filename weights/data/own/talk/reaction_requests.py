"""Goodbyes, thanks and complaints, and small requests: an idea for a rainy Sunday, a line of verse, a rhyme, a riddle.

reactions.py draws from here. A complaint is the only thing that is answered with an apology. Torch-free.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.phrasing import vary
from weights.data.own.tables import rows
from weights.data.own.talk.situations import one_of

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_BED = re.compile(r"\b(?:bed|bedtime|sleep|sack|night night|nighty|good night|turning in|for the night)\b")
_PLAIN = ("compliment", "riddle", "twister")
_PAUSES = (", ", ", ", " ", ". ", "! ", "... ")
_HURRIED = (("I'm", "im"), ("'", ""), ("you", "u"), ("and", "n"), ("really", "rly"), ("tomorrow", "tmrw"))


@cache
def _parts(name: str, key: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _TABLE[name][key].strip().split(" / "))


@cache
def named(name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What can be asked for, and what fits it: of `suggest`, `poem`, `rhyme` or `synonym`."""
    if name in ("suggest", "poem"):
        return tuple((row[0][0], row[1]) for row in rows(_TABLE[name]["rows"]))
    groups = (group.split() for group in _TABLE[name]["rows"].split(";"))
    return tuple((word, tuple(others)) for word, *others in groups)


def small(text: str) -> str:
    """The text with a small letter at its start, but for `I`, capitals and places."""
    return text if re.match(r"I\b|[A-Z]{2}|\{", text) else text[:1].lower() + text[1:]


def typed(text: str, rng: Random, faces: tuple[str, ...] = (), loud: float = 0.03) -> str:
    """The text in one of many registers: shouted, in small letters, in a hurry, with a face behind it."""
    if rng.random() < loud:
        return text.upper().rstrip(".?!") + rng.choice(("!!!", "!!", "!", "!!!!", ""))
    text = text if rng.random() < 0.4 else capital(text)
    if rng.random() < 0.12:
        old, new = rng.choice(_HURRIED)
        text = re.sub(rf"\b{old}\b" if old != "'" else r"(?<=\w)'(?=\w)", new, text, count=1)
    if text[-1].isalnum() and rng.random() < 0.5:
        text += rng.choice((".", ".", ".", "!", "!", "!!", "...", ".."))
    text = vary(text, rng, lead=0, typo=0.07)
    if faces and rng.random() < 0.1:
        text += " " + rng.choice(faces)
    return text


def greetings() -> tuple[str, ...]:
    """What people greet with."""
    return _parts("greet", "ask")


def greetings_back() -> tuple[str, ...]:
    """What a greeting is answered with."""
    return _parts("greet", "answer")


def _composed(name: str, body: str, rng: Random) -> str:
    """The wording, now and then with a word of the topic before it or behind it, never the same one twice."""
    if rng.random() < 0.35:
        opener = rng.choice(_parts(name, "open"))
        if opener not in body.lower():
            body = opener + rng.choice(_PAUSES) + small(body)
    if rng.random() < 0.3:
        closer = rng.choice(_parts(name, "close"))
        if closer not in body.lower():
            body += (" " if not closer[0].isalpha() else rng.choice(_PAUSES[:4])) + closer
    return body


def bye(rng: Random) -> list[str]:
    """A goodbye, with a reason or without, and one back."""
    said = one_of(rng.choice(_parts("bye", "ask")), rng)
    if rng.random() < 0.55:
        reason = one_of(rng.choice(_parts("bye", "reason")), rng)
        first, second = rng.choice(((said, reason), (said, reason), (reason, said)))
        said = first + rng.choice((", ", ". ", " - ", ", ", "! ")) + second
    said = _composed("bye", said, rng)
    answer = rng.choice(_parts("bye", "night" if _BED.search(said.lower()) else "answer"))
    return [typed(said, rng), one_of(answer, rng)]


def thanks(rng: Random) -> list[str]:
    """Thanks or praise, and a welcome."""
    said = _composed("thanks", one_of(rng.choice(_parts("thanks", "ask")), rng), rng)
    return [typed(said, rng), rng.choice(_parts("thanks", "answer"))]


def complaint(rng: Random) -> list[str]:
    """A complaint about an answer, and an apology that asks what was wrong."""
    said = _composed("complain", one_of(rng.choice(_parts("complain", "ask")), rng), rng)
    return [typed(said, rng), rng.choice(_parts("complain", "answer"))]


def _guess(rng: Random) -> list[str]:
    if rng.random() < 0.5:
        asked = one_of(rng.choice(_parts("guess", "ask")), rng)
        return [typed(asked, rng), one_of(rng.choice(_parts("guess", "answer")), rng)]
    asked = one_of(rng.choice(_parts("guess", "number")), rng)
    answer = rng.choice(_parts("guess", "number_answer")).replace("{n}", str(rng.randint(2, 9)))
    return [typed(asked, rng), answer]


def _plain(rng: Random) -> list[str]:
    name = rng.choice(_PLAIN)
    asked = typed(rng.choice(_parts(name, "ask")), rng)
    return [asked, rng.choice(_parts(name, "answer"))]


def _asked(name: str, thing: str, rng: Random) -> str:
    frame = one_of(rng.choice(_parts(name, "ask")).replace("{x}", "{ x}"), rng).replace("{ x}", thing)
    return typed(frame, rng, loud=0.01)


def _said(name: str, thing: str, found: str, rng: Random) -> str:
    """The thing found in a sentence; a line of verse stands for itself."""
    if name == "poem":
        return found
    frame = rng.choice(_parts(name, "frame"))
    text = frame.replace("{Y}", capital(found)).replace("{y}", found).replace("{x}", thing)
    return capital(re.sub(r'([.?!])"[.?!]', r'\1"', text))


def request(rng: Random) -> list[str]:
    """A small request and what fits it."""
    kind = rng.choices(("suggest", "poem", "rhyme", "synonym", "guess", "plain"), (32, 14, 15, 12, 14, 13))[0]
    if kind in ("guess", "plain"):
        return (_guess if kind == "guess" else _plain)(rng)
    thing, fits = rng.choice(named(kind))
    return [_asked(kind, thing, rng), _said(kind, thing, rng.choice(fits), rng)]


def repeated(rng: Random) -> list[str]:
    """A request, and one more of the same."""
    kind = rng.choice(("suggest", "suggest", "rhyme", "synonym"))
    thing, fits = rng.choice([row for row in named(kind) if len(row[1]) > 1])
    first, second = rng.sample(fits, 2)
    again = typed(rng.choice(_parts(kind, "more")), rng)
    return [_asked(kind, thing, rng), _said(kind, thing, first, rng), again, _said(kind, thing, second, rng)]
