"""What words mean, said plainly: qualities, doings, ideas, nature, home, society and computing. Torch-free.

The words lie by subject in the tables plain_words_*.toml, each under its kind, which says how it is asked and told:
`thing` takes an article, `mass`, `doing` and `name` take none or their own, `verb` stands behind "to".
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import asked, capital
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import entries

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_KINDS = {"name": "thing", "doing": "mass", "adverb": "adjective"}  # kinds that are asked about as another one is
_PLACE = re.compile(r"\{(\w+)\}")
_AN = re.compile(
    r"(?!one\b|eu)(?:[aeioAEIO]|u(?!ni(?!n)|s[ae]|t[io]|bi)|hour|honest|[FHLMRSX](?=[A-Z])(?!AM))"
)  # a user, an SSD

Turn = tuple[str, str]


@dataclass(frozen=True)
class Word:
    """A word, its kind, its meaning, a sentence with it or "", and the subject to be named with it or ""."""

    name: str
    kind: str
    meaning: str
    sentence: str
    about: str
    homonym: bool  # it has a well-known meaning outside of its subject

    @property
    def term(self) -> str:
        """The word as it stands in a sentence: with its article if it is a countable thing."""
        if self.kind not in ("thing", "name"):
            return self.name
        small = self.name if self.name[1:2].isupper() else self.name[0].lower() + self.name[1:]
        return f"{'an' if _AN.match(small) else 'a'} {self.name}"


@cache
def words() -> tuple[Word, ...]:
    """All words of the tables, in the order of their files."""
    found = []
    for path in sorted(Path(__file__).parent.glob("plain_words_*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        about, homonyms = table.pop("about", ""), table.pop("homonyms", "").split("|")
        for kind, rows in table.items():
            for name, text in rows.items():
                meaning, _, sentence = text.partition(" :: ")
                found.append(Word(name, kind, meaning, sentence, about, name in homonyms))
    return tuple(found)


@cache
def _with_sentence() -> tuple[Word, ...]:
    return tuple(word for word in words() if word.sentence)


@cache
def simpler() -> dict[str, str]:
    """Some words in a still shorter sentence."""
    return dict(_TABLE["simpler"])


@cache
def _in_simpler() -> tuple[Word, ...]:
    return tuple(word for word in words() if word.name in simpler())


@cache
def frames(name: str) -> tuple[str, ...]:
    """The wordings of a question or of an answer."""
    return entries(_TABLE[name])


def _filled(frame: str, word: Word) -> str:
    """The frame with its places: {x} the term, {y} the bare word, {m} its meaning, {c} its subject."""
    values = {"x": word.term, "y": word.name, "m": word.meaning, "c": word.about}
    return _PLACE.sub(lambda m: values[m[1]] if m[1] in values else capital(values[m[1].lower()]), frame)


def _question(name: str, word: Word, rng: Random) -> str:
    text = asked(_filled(rng.choice(frames(name)), word), rng, typo=0.03)
    return text.lower() if rng.random() < 0.15 else text


def _meaning(word: Word, rng: Random) -> Turn:
    """What the word means; a word with another everyday meaning is told with its subject."""
    kind = _KINDS.get(word.kind, word.kind)
    named = bool(word.about) and rng.random() < (0.6 if word.homonym else 0.15)
    question = _question("about_ask" if named else f"{kind}_ask", word, rng)
    told = word.homonym or (named and rng.random() < 0.4)
    said = _filled(rng.choice(frames(f"{'about_' if told else ''}{kind}_say")), word)
    return question, capital(said)


def _reverse(word: Word, rng: Random) -> Turn:
    """The word that is looked for, from its meaning."""
    kind = _KINDS.get(word.kind, word.kind)
    question = asked(_filled(rng.choice(frames(f"{kind}_reverse")), word), rng, typo=0.03)
    return question, capital(_filled(rng.choice(frames(f"{kind}_found")), word))


def _sentence(word: Word, rng: Random) -> Turn:
    return _question("sentence_ask", word, rng), word.sentence


def _example(word: Word, rng: Random) -> Turn:
    said = rng.choice(frames("example_say"))
    return vary(rng.choice(frames("example_ask")), rng, lead=0), said.replace("{s}", word.sentence)


def _simpler(word: Word, rng: Random) -> Turn:
    return vary(rng.choice(frames("simpler_ask")), rng, lead=0), simpler()[word.name]


def _thanks(word: Word, rng: Random) -> Turn:
    return vary(rng.choice(frames("thanks")), rng, lead=0), rng.choice(frames("welcome"))


_SECOND: tuple[tuple[Callable[[Word, Random], Turn], Callable[[], tuple[Word, ...]], int], ...] = (
    (_example, _with_sentence, 4),
    (_simpler, _in_simpler, 3),
    (_thanks, words, 3),
)


def one(rng: Random) -> Conversation:
    """A word's meaning, the word for a meaning, or a sentence with it; a tenth go on about the same word."""
    system = rng.choice(frames("systems")) if rng.random() < 0.08 else ""
    kind = rng.random()
    if kind < 0.1:
        return talk(*_reverse(rng.choice(words()), rng), system=system)
    if kind < 0.19:
        return talk(*_sentence(rng.choice(_with_sentence()), rng), system=system)
    if kind < 0.9:
        return talk(*_meaning(rng.choice(words()), rng), system=system)
    second, pool, _ = rng.choices(_SECOND, [weight for _, _, weight in _SECOND])[0]
    word = rng.choice(pool())
    return talk(*_meaning(word, rng), *second(word, rng), system=system)
