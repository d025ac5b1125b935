"""News of the day and the right short reaction to it: composed, so that the same thing comes as good and as bad news.

A family has a mood, which chooses what people say before and behind, and the answers name the thing. Torch-free.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.tables import rows
from weights.data.own.talk import reaction_requests as requests
from weights.data.own.talk.situations import one_of

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SLOTS: dict[str, str] = _TABLE["slots"]
FAMILIES: dict[str, dict[str, str]] = _TABLE["family"]
_NAMES = tuple(FAMILIES)
_SYSTEMS = ("You are a helpful assistant.", "You are a friendly assistant.", "Be kind.", "Answer briefly.")
_PLACE = re.compile(r"\{(\w+)\}")
_PARTS_OF_DAY = ("morning", "afternoon", "evening")
_LONGEST = 24
_COUNTED = ("dish", "bake", "task", "chore")
_SEVERAL = {"is": "are", "was": "were", "sounds": "sound", "tastes": "taste", "turns": "turn", "brings": "bring"}
_AGREES = re.compile(rf"\{{(\w+)\}} ({'|'.join(_SEVERAL)})\b")

Words = dict[str, str]


@cache
def parts(text: str) -> tuple[str, ...]:
    """The wordings of an entry, parted by ` / `; an empty one stands for nothing."""
    return tuple(part.strip() for part in text.split(" / "))


@cache
def wordings(name: str) -> tuple[tuple[str, bool], ...]:
    """What is said in a family: each wording, and whether it needs a subject."""
    family = FAMILIES[name]
    verbs = [(text, True) for text in parts(family.get("v", "")) if text]
    return (*verbs, *((text, False) for text in parts(family.get("s", "")) if text))


def _agreeing(place: str, verb: str, words: Words) -> str:
    """The verb as the word in the place wants it: dumplings are, a stew is."""
    several = place in _COUNTED and re.search(r"[^s]s$", words[place])
    return _SEVERAL[verb] if several else verb


def filled(text: str, words: Words, rng: Random) -> str:
    """The text with its places filled, the same word for the same place in a talk; {Dish} begins with a capital."""
    for place in _PLACE.findall(text):
        if place.lower() not in words:
            words[place.lower()] = rng.choice(_SLOTS[place.lower()].split("|"))
    text = re.sub(r"\b([Aa]) \{(\w+)\}", lambda m: f"{m[1]}{'n' if words[m[2]][0] in 'aeiou' else ''} {{{m[2]}}}", text)
    text = _AGREES.sub(lambda m: f"{{{m[1]}}} {_agreeing(m[1].lower(), m[2], words)}", text)
    return _PLACE.sub(lambda m: capital(words[m[1].lower()]) if m[1][0].isupper() else words[m[1]], text)


def _body(name: str, rng: Random) -> str:
    text, verb = rng.choice(wordings(name))
    text = one_of(text, rng)
    if verb:
        text = f"{rng.choice(parts(_TABLE['moods'][FAMILIES[name]['mood']]['subject']))} {text}".removeprefix("~ ")
    return text


def _news(name: str, words: Words, rng: Random, opener: bool = True) -> str:
    """The news with what the mood puts before and behind it, as people type it."""
    mood = _TABLE["moods"][FAMILIES[name]["mood"]]
    text = _body(name, rng)
    if opener and rng.random() < 0.35:
        first = rng.choice(parts(mood["open"]))
        if first.split()[-1] not in text.lower().split()[:3]:
            text = first + rng.choice((", ", ", ", " ", "! ", "... ", ". ")) + requests.small(text)
    if rng.random() < 0.25:
        close = rng.choice(parts(mood["close"]))
        if not set(close.lower().split()) & set(text.lower().split()) - {"i", "my", "the", "it", "a"}:
            text += rng.choice((". ", ", ", "! ", " - ", "... ")) + close
    glad = mood is _TABLE["moods"]["good"]
    return requests.typed(filled(text, words, rng), rng, parts(mood["face"]), loud=0.09 if glad else 0.04)


def _reaction(name: str, words: Words, rng: Random, question: str = "") -> str:
    react = capital(filled(one_of(rng.choice(parts(FAMILIES[name]["react"])), rng), words, rng))
    asked = filled(question, words, rng)
    fits = asked and react.count("?") == 0 and len(f"{react} {asked}".split()) <= _LONGEST
    return f"{react} {asked}" if fits else react


def _family(rng: Random) -> str:
    return rng.choices(_NAMES, [len(wordings(name)) ** 0.6 for name in _NAMES])[0]


def single(rng: Random) -> list[str]:
    """News and the reaction, sometimes with a question."""
    name = _family(rng)
    words: Words = {}
    said = _news(name, words, rng)
    question = rng.choice(rows(FAMILIES[name]["ask"]))[0][0] if rng.random() < 0.35 else ""
    return [said, _reaction(name, words, rng, question)]


def followed(rng: Random) -> list[str]:
    """News, a reaction with a question, and what comes of it; sometimes a courtesy at the end."""
    name = _family(rng)
    words: Words = {}
    said = _news(name, words, rng)
    (question, *_), replies, answers = rng.choice(rows(FAMILIES[name]["ask"]))
    reaction = _reaction(name, words, rng, question)
    if not reaction.endswith(filled(question, words, rng)):
        return [said, reaction]
    reply = requests.typed(filled(one_of(rng.choice(replies), rng), words, rng), rng)
    turns = [said, reaction, reply, capital(filled(rng.choice(answers), words, rng))]
    if rng.random() < 0.25:
        turns += rng.choice((requests.thanks, requests.bye))(rng)
    return turns


def greeted(rng: Random) -> list[str]:
    """A greeting with news behind it: greeted back, and the news taken up."""
    name = _family(rng)
    words: Words = {}
    greeting = rng.choice(requests.greetings())
    said = greeting + rng.choice((", ", "! ", ". ", " ", "... ", " :) ")) + _news(name, words, rng, opener=False)
    back = [f"Good {part}!" for part in _PARTS_OF_DAY if part in greeting] or requests.greetings_back()
    question = rng.choice(rows(FAMILIES[name]["ask"]))[0][0] if rng.random() < 0.3 else ""
    answer = f"{rng.choice(back)} {_reaction(name, words, rng, question)}"
    shown = capital(said) if rng.random() < 0.5 else said
    return [shown, answer if len(answer.split()) <= _LONGEST else answer.removesuffix(f" {question}")]


def _courtesy(rng: Random) -> list[str]:
    """A goodbye, thanks or a complaint, alone or after something else."""
    said = rng.choices((requests.bye, requests.thanks, requests.complaint), (45, 35, 20))[0](rng)
    return [*rng.choice((single, requests.request))(rng), *said] if rng.random() < 0.3 else said


def one(rng: Random) -> Conversation:
    """News with its reaction, a courtesy or a small request, in one to three turns."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    kinds = (single, followed, greeted, _courtesy, requests.request, requests.repeated)
    return talk(*rng.choices(kinds, (38, 17, 8, 17, 17, 3))[0](rng), system=system)
