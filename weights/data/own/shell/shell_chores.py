"""Chores that people ask about at a shell: a command in backticks and one line about it, for some 600 of them.

A wording that names its files, hosts and numbers draws them from the open spaces of argument_values.py; one that names
none is answered with names such as file.txt. Near chores stand side by side in the tables, worded apart. Torch-free.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import shell_phrasing
from weights.data.own.shell.argument_values import value
from weights.data.own.shell.arguments import PLACE, Words, filled
from weights.data.own.shell.everyday import SYSTEM_PROMPTS, Task
from weights.data.own.tables import entries
from weights.data.own.talk.situations import one_of

SUBJECTS = ("files", "text", "system", "network", "git", "shell")
_HERE = Path(__file__)
_TABLE: dict[str, Any] = tomllib.loads(_HERE.with_suffix(".toml").read_text(encoding="utf-8"))
_WITH_STANDARD = re.compile(r"\{([a-z_]+\d?)=([^{}]*)\}")
_IN_THIS_DIR = re.compile(r"\b(?:in|under|of|below) (?:the (?:folder|directory) )?\{dir\}")
_HERES = ("here", "here", "in this folder", "in the current directory", "in this directory")


@dataclass(frozen=True)
class Chore:
    """A command, what it does, how people ask for it, and what its places hold when a question does not name them."""

    command: str
    explain: str
    asks: tuple[str, ...]
    standard: Words


def _chore(line: str) -> Chore:
    parts = line.split(" :: ")
    command, explain, asks = (_WITH_STANDARD.sub(r"{\1}", part) for part in parts)
    standard = {name: _TABLE["standard"].get(name, "") for name in PLACE.findall(f"{command} {explain}")}
    standard.update(_WITH_STANDARD.findall(line))
    return Chore(command, explain, tuple(ask.strip() for ask in asks.split(" / ")), standard)


@cache
def chores(subject: str) -> tuple[Chore, ...]:
    """The chores of one subject, as its table lists them."""
    table = tomllib.loads(_HERE.with_name(f"shell_chores_{subject}.toml").read_text(encoding="utf-8"))
    return tuple(_chore(line) for line in table["tasks"].strip().splitlines())


@cache
def _all() -> tuple[tuple[str, int], ...]:
    """Each chore as its subject and its place there, so that all are as likely."""
    return tuple((subject, at) for subject in SUBJECTS for at in range(len(chores(subject))))


@cache
def _synonyms() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    lines = (line.split(" :: ") for line in _TABLE["synonyms"].strip().splitlines())
    return tuple((re.compile(found), tuple(said.split(" / "))) for found, said in lines)


_NUMBERS: dict[str, Callable[[Random], str]] = {
    "hh": lambda rng: f"{rng.randint(0, 23):02d}",
    "mm": lambda rng: f"{rng.choice((0, 15, 30, 45, rng.randint(1, 59))):02d}",
    "size": lambda rng: f"{rng.choice((rng.randint(2, 20), rng.randint(1, 90) * 10, 100, 500))}{rng.choice('MMMG')}",
    "epoch": lambda rng: str(rng.randint(10**9, 19 * 10**8)),
    "day": lambda rng: f"{rng.randint(2015, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
    "dash": lambda rng: f"-{value('name', '', {}, rng)}.{value('ext', '', {}, rng)}",
}


def _value(kind: str, command: str, words: Words, rng: Random) -> str:
    """A value for a place: those of arguments.toml, and the numbers, lists and endings of this module."""
    if kind in _NUMBERS:
        return _NUMBERS[kind](rng)
    if kind in _TABLE["lists"]:
        return str(rng.choice(_TABLE["lists"][kind].split()))
    if kind in _TABLE["endings"]:
        ends = _TABLE["endings"][kind].split()
        taken = {text.rpartition(".")[2] for text in words.values()} if len(ends) > 1 else set()
        return f"{value('name', '', {}, rng)}.{rng.choice([end for end in ends if end not in taken])}"
    if kind == "d":  # a column or page behind that of {c}
        return str(int(words["c"]) + rng.randint(1, 9))
    return value(kind, command, words, rng)


def draw(chore: Chore, ask: str, rng: Random) -> Words:
    """Words for all places of the chore: new ones for those that the wording names, the standard ones for the rest."""
    named = set(PLACE.findall(ask))
    words = {name: text for name, text in chore.standard.items() if name not in named}
    for name in (name for name in chore.standard if name in named):
        while name not in words:
            drawn = _value(name.rstrip("23"), chore.command, words, rng)
            is_cut = " " in drawn and f"{{{name}}}." in chore.command  # "a b.txt".gz is not what people write
            if drawn not in words.values() and not is_cut:
                words[name] = drawn
    return words


def in_command(command: str, words: Words) -> str:
    """The command with its places filled; an argument that holds a space gets quotes, a bracket behind it does not."""
    parts = []
    for part in command.split(" "):
        body = part.rstrip(");")
        full = filled(body, words)
        quoted = f'"{full}"' if " " in full and not re.search("[\"']", body) else full
        parts.append(quoted + part[len(body) :])
    return " ".join(parts)


def _other_words(ask: str, rng: Random) -> str:
    """The wording with some of its words said as others say them."""
    mark = "=" if ask.startswith("=") else ""
    text = ask[len(mark) :]
    for found, said in _synonyms():
        if rng.random() < 0.3:
            text = found.sub(partial(_said_as, rng.choice(said)), text, count=1)
    return mark + text


def _said_as(new: str, match: re.Match[str]) -> str:
    return new + " " * (len(match[0]) - len(match[0].rstrip()))


def _pattern(chore: Chore, rng: Random) -> str:
    """A wording of the chore; one that names things where there is one, mostly."""
    naming = [ask for ask in chore.asks if "{" in ask and PLACE.search(ask)]
    other = [ask for ask in chore.asks if ask not in naming]
    ask = one_of(rng.choice(naming if naming and (not other or rng.random() < 0.85) else other), rng)
    if chore.standard.get("dir") == "." and rng.random() < 0.25:
        ask = _IN_THIS_DIR.sub(lambda _: rng.choice(_HERES), ask)
    return _other_words(ask, rng) if rng.random() < 0.6 else ask


def _shown(name: str, text: str, quoted: bool, rng: Random) -> str:
    """A value as people write it: mostly in quotes if it holds a space, unless the wording has them already."""
    mark = "" if quoted or " " not in text or rng.random() < 0.12 else rng.choice('""\'')
    if not mark and not quoted and name in ("word", "word2", "single", "single2") and rng.random() < 0.2:
        mark = rng.choice('""\'')
    return f"{mark}{text}{mark}"


def _typed(pattern: str, words: Words, rng: Random) -> str:
    alone = pattern.startswith("=")
    frames = entries(_TABLE["alone" if alone else "frames"])
    text = rng.choice(frames).replace("{x}", pattern[1:] if alone else pattern).replace("??", "?")
    if rng.random() < 0.25:
        text = capital(text)
    shown = {name: _shown(name, word, f'"{{{name}}}"' in pattern, rng) for name, word in words.items()}
    return filled(vary(text, rng, lead=0.02, typo=0.05), shown)


def exchange(chore: Chore, rng: Random) -> tuple[str, str, Words]:
    """A question, its answer, and the words that the question names."""
    pattern = _pattern(chore, rng)
    words = draw(chore, pattern, rng)
    told = {**words, "dir": "the current directory"} if words.get("dir") == "." else words
    answer = shell_phrasing.answer(rng, in_command(chore.command, words), filled(chore.explain, told))
    named = {name: words[name] for name in PLACE.findall(pattern)}
    return _typed(pattern, words, rng), answer, named


@cache
def tasks() -> tuple[Task, ...]:
    """Every chore with its standard words: what the look-up finds it by, and shows."""
    found = []
    for chore in (chore for subject in SUBJECTS for chore in chores(subject)):
        words = (
            {**chore.standard, "dir": "the current directory"} if chore.standard.get("dir") == "." else chore.standard
        )
        asks = tuple((filled(one_of(ask.removeprefix("="), Random(0)), words),) for ask in chore.asks)
        found.append(Task("chores", asks, in_command(chore.command, chore.standard), filled(chore.explain, words)))
    return tuple(found)


def one(rng: Random) -> Conversation:
    """One chore; now and then a second, near to the first in its table, which needs another command."""
    system = rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.06 else ""
    subject, at = rng.choice(_all())
    known = chores(subject)
    picked = [known[at]]
    if rng.random() < 0.12:
        picked.append(known[(at + rng.choice((1, 1, 2, 3))) % len(known)])
    turns = [text for chore in picked for text in exchange(chore, rng)[:2]]
    return talk(*turns, system=system)
