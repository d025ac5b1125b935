"""Requests at a shell whose arguments are built, so that only copying can answer them; a second turn changes one.

shell_requests.py draws names from lists; here words, hosts, paths and numbers come from a very large space. Torch-free.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import shell_phrasing
from weights.data.own.shell.argument_values import number, value
from weights.data.own.shell.everyday import SYSTEM_PROMPTS
from weights.data.own.talk.situations import one_of

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
PLACE = re.compile(r"\{([a-z_]+\d?)\}")
# Places that are spoken of as others are, when one of them changes.
_FAMILY = {
    **dict.fromkeys(("new", "file", "bare", "link", "archive", "tar", "zip", "gz", "log", "csv", "script"), "file"),
    **dict.fromkeys(("sh", "rfile", "path", "key"), "file"),
    **dict.fromkeys(("name", "pid", "hash", "tag", "pkg", "group", "service", "mode", "var", "proc"), "proc"),
    **dict.fromkeys(("dir", "rdir"), "dir"),
    **dict.fromkeys(("n", "m", "c"), "n"),
    **dict.fromkeys(("word", "single"), "word"),
    **dict.fromkeys(("host", "ip"), "host"),
    **dict.fromkeys(("url", "repo"), "url"),
    **{kind: kind for kind in ("user", "port", "branch", "ext", "message")},
}
Words = dict[str, str]


@dataclass(frozen=True)
class Task:
    """A command with what it does and how people ask for it; more: the second turns that fit behind it."""

    command: str
    explain: str
    asks: tuple[str, ...]
    more: tuple["Task", ...] = ()


def _asks(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for part in text.split(" / "):
        part = part.strip()
        found += _TABLE["more"][part[1:]].split(" / ") if part.startswith("@") else [part]
    return tuple(found)


def _task(line: str) -> Task:
    command, explain, asks, *rest = line.split(" :: ")
    more = []
    for turn in rest[0].split(" ;; ") if rest else ():
        said, then, does = turn.split(" => ")
        more.append(Task(then.strip(), does.strip(), _asks(said)))
    return Task(command, explain, _asks(asks), tuple(more))


@cache
def tasks() -> tuple[Task, ...]:
    """The tasks of arguments.toml."""
    return tuple(_task(line) for text in _TABLE["tasks"].values() for line in text.strip().splitlines())


@cache
def _frames() -> tuple[str, ...]:
    return tuple(_TABLE["frames"].strip().splitlines())


def _draw(task: Task, words: Words, rng: Random, ask: str = "") -> Words:
    """The words, and one more for each place of the task that has none yet; all differ."""
    words = dict(words)
    for name in PLACE.findall(f"{task.command} {task.explain} {ask}"):
        while name not in words:
            drawn = value(name.rstrip("23"), task.command, words, rng)
            if drawn not in words.values():
                words[name] = drawn
    return words


def filled(text: str, words: Words) -> str:
    """The text with its places filled."""
    return PLACE.sub(lambda match: words[match[1]], text)


def in_command(command: str, words: Words) -> str:
    """The command with its places filled; an argument that holds a space gets quotes."""
    parts = []
    for part in command.split(" "):
        full = filled(part, words)
        parts.append(f'"{full}"' if " " in full and not re.search("[\"']", part) else full)
    return " ".join(parts)


def _quoted(name: str, text: str, rng: Random) -> str:
    """A value as people write it in a request: quotes round most things with spaces, and round some words."""
    kind = name.rstrip("23")
    if " " in text:
        chance = 0.97 if _FAMILY.get(kind) == "file" else 0.7
    else:
        chance = 0.25 if kind in ("word", "single") else 0.0
    mark = rng.choice('""\'')
    return f"{mark}{text}{mark}" if rng.random() < chance else text


def _said(pattern: str, words: Words, rng: Random) -> str:
    shown = {name: _quoted(name, text, rng) for name, text in words.items()}
    return filled(vary(pattern, rng, lead=0.01, typo=0.03), shown)


def _answer(task: Task, words: Words, rng: Random) -> str:
    return shell_phrasing.answer(rng, in_command(task.command, words), filled(task.explain, words))


def first(task: Task, rng: Random) -> tuple[str, str, Words]:
    """A request, its answer, and the words that fill both."""
    pattern = one_of(rng.choice(task.asks), rng)
    words = _draw(task, {}, rng, pattern)
    framed = pattern[1:] if pattern.startswith("=") else rng.choice(_frames()).replace("{x}", pattern)
    return _said(framed, words, rng), _answer(task, words, rng), words


def _sibling(task: Task, words: Words, rng: Random) -> tuple[str, str]:
    then = rng.choice(task.more)
    pattern = rng.choice(then.asks)
    words = _draw(then, words, rng, pattern)
    return _said(pattern, words, rng), _answer(then, words, rng)


def _changed(task: Task, words: Words, rng: Random) -> tuple[str, str] | None:
    """A turn that changes one word of the task and keeps the others, if a word can be changed."""
    names = [name for name in words if name in _FAMILY and name not in ("new", "m")]
    if not names:
        return None
    name = rng.choice(names)
    family = _FAMILY[name]
    alike = [other for other in words if other != name and _FAMILY.get(other.rstrip("23")) == family]
    asks = [ask for ask in _asks(_TABLE["change"][family]) if "{o}" in ask or not alike]
    rest = {key: text for key, text in words.items() if key != name}
    drawn = words[name]
    while drawn in words.values():
        if name == "n" and "m" in rest:
            drawn = number(1, int(rest["m"]) - 1, rng)
        else:
            drawn = value(name, task.command, rest, rng)
    changed = {**words, name: drawn}
    pattern = rng.choice(asks).replace("{v}", f"{{{name}}}").replace("{o}", "{old}")
    said = _said(pattern, {**changed, "old": words[name]}, rng)
    return said, _answer(task, changed, rng)


def one(rng: Random) -> Conversation:
    """One request; in a quarter of them a second turn that changes an argument or asks for the sibling."""
    system = rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.08 else ""
    task = rng.choice(tasks())
    asked, answer, words = first(task, rng)
    turns = [asked, answer]
    if rng.random() < 0.27:
        step: Callable[[Task, Words, Random], tuple[str, str] | None]
        step = _sibling if task.more and rng.random() < 0.6 else _changed
        turns += step(task, words, rng) or ()
    return talk(*turns, system=system)
