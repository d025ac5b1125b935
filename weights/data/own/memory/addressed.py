"""Who is who: the user's name, nickname or title, told in many ways, beside the name of the model. Torch-free.

The same prompt is asked for the user's name and for the model's, so that a model learns to keep the two apart.
"""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, capital
from weights.data.own.characters.plain_questions import any_ask, typed
from weights.data.own.names import built_name, person_name
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import entries, rows
from weights.data.own.unusual_names import unusual_name

TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_QUESTION = re.compile(
    r"(?:what|who|which|whose|whom|how|is|are|am|do|does|did|can|have|may|was|where|when|were|so|and|my|your|by|ready"
    r"|you are|you must|i'm \{|name please)",
    re.IGNORECASE,
)
# Which questions a scene takes, with their weights.
_ALWAYS = {"check_me": 7, "you": 22, "check_you": 6, "us": 6, "deed": 17, "plain": 11, "ordinary": 6}
Turn = tuple[str, str]
Row = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass
class Scene:
    """What is told: the words that fill the tables, the system prompt, the first turns, and what can be asked."""

    words: dict[str, str]
    groups: dict[str, float]
    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    # Whether each answer has to name the user.
    use: bool = False


@cache
def words_of(name: str) -> tuple[str, ...]:
    """The entries of a table at a dotted name."""
    table, key = name.split(".")
    return entries(TABLE[table][key])


@cache
def asks(group: str) -> tuple[Row, ...]:
    """The rows of a group: questions, and answers to any of them."""
    return tuple((said, answers) for said, answers in rows(TABLE["ask"][group]))


def _untitled(rng: Random) -> str:
    while True:
        name = unusual_name(rng) if rng.random() < 0.3 else person_name(rng)
        if " " not in name:
            return name


def user_name(rng: Random) -> str:
    """A name as a user may have it: plain, invented, with a title, with accents, in small letters."""
    kind = rng.random()
    if kind < 0.35:
        name = person_name(rng)
    elif kind < 0.68:
        name = unusual_name(rng)
    elif kind < 0.82:
        name = f"{rng.choice(words_of('words.titles'))} {_untitled(rng)}"
    else:
        name = built_name(rng)
    return name.lower() if rng.random() < 0.06 else name


def _apart(rng: Random, *others: str) -> str:
    """A name that shares no word with the others."""
    taken = {word.lower() for other in others for word in other.split()}
    while True:
        name = user_name(rng)
        if not taken & set(name.lower().split()):
            return name


def _self(words: dict[str, str], rng: Random, plain: float) -> str:
    """Who the model is, as the prompt says it; with the probability `plain` the prompt says nothing, and it is tfm."""
    if rng.random() < plain:
        words |= {"p": "tfm", "r": rng.choice(TABLE["words"]["tfm_roles"].split("|"))}
        return ""
    words["p"] = _apart(rng, words["n"], words.get("m", ""), words.get("x", ""))
    role = article(rng.choice(words_of("words.roles")))
    text = rng.choice(words_of("tell.self"))
    words["r"] = f", {role}" if "{r}" in text else ""
    return text.format(p=words["p"], r=role)


def _joined(parts: list[str], rng: Random) -> str:
    """The sentences as one prompt; those that end without a mark get one unless they are the last."""
    parts = [part for part in parts if part]
    texts = [part if part[-1] in ".!?" or at == len(parts) - 1 else f"{part}." for at, part in enumerate(parts)]
    return rng.choice((" ", " ", " ", " ", "\n")).join(texts)


def _told(rng: Random) -> Scene:
    """The name stands in the prompt, now and then with the name of somebody near the user."""
    words = {"n": user_name(rng)}
    parts = [rng.choice(words_of("tell.name")).format(**words)]
    groups: dict[str, float] = {"me": 26, "unsaid": 3}
    if rng.random() < 0.18:
        words |= {"o": rng.choice(words_of("words.third")), "x": _apart(rng, words["n"])}
        parts.append(rng.choice(words_of("tell.third")).format(**words))
        groups |= {"third": 26}
    start = _self(words, rng, plain=0.32)
    use = rng.random() < 0.22
    if use:
        parts.append(rng.choice(words_of("tell.use")))
    front = rng.random() < 0.8
    return Scene(words, groups, _joined([start, *parts] if front else [*parts, start], rng), use=use)


def _related(rng: Random) -> Scene:
    """The user is somebody to the model: its granddaughter, guest, apprentice."""
    role, _, others = rng.choice(words_of("words.pairs")).partition("=")
    name = person_name(rng) if rng.random() < 0.6 else _untitled(rng)
    words = {"n": name, "k": rng.choice(others.split(","))}
    words |= {"p": _apart(rng, words["n"]), "r": f", {article(role)}"}
    tell = rng.choice(words_of("tell.kin")).format(**words)
    if rng.random() < 0.25:
        del words["p"]
        return Scene(words, {"kin": 30, "me": 12, "role": 25}, _joined([f"You are {article(role)}.", tell], rng))
    start = rng.choice([text for text in words_of("tell.self") if "{r}" in text])
    return Scene(words, {"kin": 28, "me": 14}, _joined([start.format(p=words["p"], r=article(role)), tell], rng))


def _two_names(rng: Random) -> Scene:
    n = user_name(rng)
    words = {"n": n, "m": _apart(rng, n) if rng.random() < 0.5 else _nickname(rng, n)}
    tell = rng.choice(words_of("tell.both")).format(**words)
    start = _self(words, rng, plain=0.4)
    return Scene(words, {"both": 60}, _joined([start, tell] if rng.random() < 0.85 else [tell, start], rng))


def _nickname(rng: Random, n: str) -> str:
    while True:
        name = person_name(rng)
        if " " not in name and name.lower() not in n.lower().split():
            return name


def _by_user(rng: Random) -> Scene:
    """The user says it, alone or together with a question."""
    both = rng.random() < 0.35
    words = {"n": user_name(rng)}
    if both:
        words["m"] = _nickname(rng, words["n"])
    start = _self(words, rng, plain=0.55)
    tell = vary(rng.choice(words_of(f"tell.{'both_by_user' if both else 'by_user'}")), rng, lead=0, typo=0.02)
    said = tell.format(**words)
    called = words.get("m", words["n"])
    if rng.random() < 0.4:
        ask = any_ask(rng, ("chat",))
        said = f"{said if said[-1] in '.!?' else said + rng.choice(('. ', ', ', '. '))[:1]} {typed(ask.said, rng)}"
        full = ask.full if rng.random() < 0.5 else f"{ask.full[:-1]}, {called}."
        answer = full if full != ask.full else f"{rng.choice(('Hello', 'Hi'))}, {called}! {full}"
    else:
        answer = rng.choice(words_of(f"got.{'both' if both else 'name'}")).format(**words)
    answer = answer.replace("..", ".")
    return Scene(words, {"both": 60} if both else {"me": 30, "unsaid": 3}, start, [(said, answer)])


def _unknown(rng: Random) -> Scene:
    """No name was told."""
    words = {"n": "", "z": user_name(rng)}
    start = _self(words, rng, plain=0.5)
    if words["p"] == "tfm" and rng.random() < 0.75:
        start = rng.choice(words_of("tell.unknown"))
    while start and set(words["z"].lower().split()) & set(words["p"].lower().split()):
        words["z"] = user_name(rng)
    return Scene(words, {"nobody": 60, "you": 30}, start)


def _filled(ask: str, say: str, words: dict[str, str], rng: Random) -> Turn:
    start = ask if rng.random() < 0.4 else capital(ask)
    mark = "" if ask[-1] in "?!" else "?" if _QUESTION.match(ask) else rng.choice((".", "", "!"))
    said = vary(start + mark, rng, lead=0.05, typo=0.03).format(**words)
    answer = say.format(**words).replace("..", ".")
    return said, answer if say[0] == "{" else capital(answer)


def _named(answer: str, name: str) -> str:
    """The answer with the user's name in it."""
    if name.lower() in answer.lower():
        return answer
    return f"{answer[:-1]}, {name}{answer[-1]}"


def _turn(scene: Scene, group: str, rng: Random) -> Turn:
    words = scene.words
    called = words.get("m", words["n"])
    if group == "ordinary":
        ask = any_ask(rng, ("chat",))
        return typed(ask.said, rng), _named(ask.full, called) if scene.use or rng.random() < 0.4 else ask.full
    if group == "role":
        said, _ = _filled(rng.choice(asks("you")[0][0]), "-", words, rng)
        return said, f"I'm {words['r'].removeprefix(', ')}."
    if group in ("deed", "plain"):
        words = words | {"n": called}
    fits = [
        (said, [answer for answer in answers if "{p}" not in answer or "p" in words])
        for said, answers in asks(group)
        if "p" in words or "{p}" not in said[0]
    ]
    wordings, answers = rng.choices(fits, [1 + len(said) for said, _ in fits])[0]
    if not answers:
        return _turn(scene, "deed", rng)
    question, answer = _filled(rng.choice(wordings), rng.choice(answers), words, rng)
    return question, _named(answer, called) if scene.use else answer


def _groups(scene: Scene) -> dict[str, float]:
    if not scene.words["n"]:
        return scene.groups
    found = scene.groups | _ALWAYS
    nameless = ("check_me", "you", "check_you", "us") if "p" not in scene.words else ()
    return {group: weight for group, weight in found.items() if group not in nameless}


_SCENES = (_told, _related, _two_names, _by_user, _unknown)


def made(rng: Random) -> tuple[Conversation, Scene]:
    """A conversation, and what was told in it."""
    scene = rng.choices(_SCENES, (38, 15, 15, 18, 14))[0](rng)
    groups = _groups(scene)
    last = ""
    for _ in range(rng.choices((1, 2, 3), (70, 19, 11))[0]):
        # No two questions of one kind follow each other: who I am, then who you are.
        fits = {group: weight for group, weight in groups.items() if group != last}
        last = rng.choices(tuple(fits), tuple(fits.values()))[0]
        scene.turns.append(_turn(scene, last, rng))
    system = scene.system.replace("..", ".")
    return talk(*(text for turn in scene.turns for text in turn), system=system), scene


def one(rng: Random) -> Conversation:
    """One conversation of one to four turns."""
    return made(rng)[0]
