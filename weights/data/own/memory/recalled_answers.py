"""Asking back about the answer just given: simpler words, an option, the command with one part changed. Torch-free."""

import re
from dataclasses import dataclass, field
from functools import cache
from random import Random

from weights.data.own.asking import capital
from weights.data.own.memory.recalled_values import read
from weights.data.own.memory.told_values import Words, said, typed, wordings
from weights.data.own.phrasing import vary
from weights.data.own.shell import argument_values
from weights.data.own.shell.arguments import PLACE, filled, in_command
from weights.data.own.shell.shell_phrasing import code
from weights.data.own.talk.situations import one_of

_PLAIN: dict[str, str] = read("recalled_answers")["plain"]
_COMMANDS: dict[str, str] = read("recalled_answers")["commands"]
_CHANGE: dict[str, str] = read("recalled_answers")["change"]
_KINDS = {"dir": "dir", "rdir": "dir", "ext": "ext", "n": "n", "c": "n", "port": "n", "mode": "n", "pid": "n"}
# Places whose change reads as another name, or as another machine or the like.
_KINDS |= {"single": "word", "user": "word", "group": "word", "link": "word", "branch": "word", "pkg": "word"}
_KINDS |= {"host": "host", "service": "host", "proc": "host", "log": "host", "csv": "host", "bare": "host"}
_KINDS |= {"url": "host", "archive": "host", "zip": "host", "name": "host", "sh": "host", "script": "host"}


@dataclass
class Task:
    """A command: wordings of the task, what it does, its options, and commands that go on from it."""

    asks: tuple[str, ...]
    command: str
    explain: str
    options: list[tuple[str, str]] = field(default_factory=list)
    more: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


@cache
def things() -> tuple[tuple[str, str, str], ...]:
    """What is explained: its name, technical words, simple words."""
    rows = [line.split(" :: ") for line in _PLAIN["list"].strip().splitlines()]
    return tuple((name, technical, simple) for name, technical, simple in rows)


@cache
def tasks() -> tuple[Task, ...]:
    """The blocks of the table of commands."""
    found: list[Task] = []
    for line in _COMMANDS["list"].strip().splitlines():
        mark, parts = line[0], line[2:].split(" :: ")
        if mark == "?":
            found.append(Task(tuple(parts[0].split(" / ")), parts[1], parts[2]))
        elif mark == "-":
            found[-1].options.append((parts[0], parts[1]))
        else:
            found[-1].more.append((parts[0], tuple(parts[1].split(" / "))))
    return tuple(found)


def _value(name: str, words: Words, rng: Random) -> str:
    kind = name.rstrip("23")
    if kind == "cmd":
        return rng.choice(wordings(_COMMANDS["cmds"]))
    while True:
        drawn = argument_values.value(kind, "", words, rng)
        if drawn not in words.values() and (" " not in drawn or kind == "message"):
            return drawn


def draw(words: Words, texts: str, rng: Random) -> Words:
    """The words, with one more for each place that has none yet."""
    words = dict(words)
    for name in PLACE.findall(texts):
        if name not in words:
            words[name] = _value(name, words, rng)
    return words


def _typed(pattern: str, words: Words, rng: Random) -> str:
    text = one_of(pattern, rng)
    return filled(
        vary(text if rng.random() < 0.6 or text.startswith("{") else capital(text), rng, lead=0, typo=0.03), words
    )


def _answer(command: str, explain: str, words: Words, rng: Random) -> str:
    form = rng.choice(_COMMANDS["forms"].split(" / "))
    return form.replace("{c}", code(in_command(command, words))).replace("{e}", filled(explain, words))


def _first(task: Task, rng: Random) -> tuple[list[str], Words]:
    ask = one_of(rng.choice(task.asks), rng)
    words = draw({}, task.command + ask, rng)
    framed = rng.choice(wordings(_COMMANDS["frames"])).replace("{x}", ask)
    return [_typed(framed, words, rng), _answer(task.command, task.explain, words, rng)], words


def _option(task: Task, words: Words, rng: Random) -> list[str]:
    """What an option of the command does there."""
    option, meaning = rng.choice(task.options)
    shown = {"o": filled(option, words)}
    asked = filled(vary(one_of(rng.choice(wordings(_COMMANDS["what"])), rng), rng, lead=0, typo=0.02), shown)
    frames = [frame for frame in wordings(_COMMANDS["means"]) if "option" not in frame or option.startswith("-")]
    return [asked, rng.choice(frames).replace("{d}", filled(meaning, words))]


def _changeable(task: Task) -> list[str]:
    return [name for name in dict.fromkeys(PLACE.findall(task.command)) if name.rstrip("23") in _KINDS]


def _changed(task: Task, words: Words, rng: Random) -> tuple[list[str], Words]:
    """The command with one place changed."""
    name = rng.choice(_changeable(task))
    new = {**words, name: _value(name, words, rng)}
    kind = _KINDS[name.rstrip("23")]
    asks = wordings(_CHANGE[kind])
    if len(_changeable(task)) > 1:
        asks = tuple(ask for ask in asks if kind in ("dir", "ext") or "{o}" in ask)
    shown = {"v": new[name], "o": words[name]}
    return [
        _typed(rng.choice(asks), shown, rng),
        code(in_command(task.command, new)) + f"\n{filled(task.explain, new)}",
    ], new


def _further(task: Task, words: Words, rng: Random) -> list[str]:
    """Another command that goes on from the first."""
    command, asks = rng.choice(task.more)
    ask = rng.choice(asks)
    words = draw(words, command, rng)
    return [_typed(ask, words, rng), code(in_command(command, words))]


def _asked_back(rng: Random) -> list[str]:
    """A command and one or two questions about it."""
    task = rng.choice(tasks())
    turns, words = _first(task, rng)
    ways = ["change"] * (3 if _changeable(task) else 0) + ["option"] * (3 if task.options else 0)
    ways += ["more"] * (3 if task.more else 0)
    way = rng.choice(ways)
    if way == "change":
        more, words = _changed(task, words, rng)
        turns += more
    elif way == "option":
        turns += _option(task, words, rng)
    if way == "more" or (task.more and rng.random() < 0.2):
        return turns + _further(task, words, rng)
    if way == "change" and task.options and rng.random() < 0.2:
        turns += _option(task, words, rng)
    return turns


def _simpler(rng: Random) -> list[str]:
    """Something explained, then explained more simply."""
    name, technical, simple = rng.choice(things())
    turns = [typed(_PLAIN["ask"], {"t": name}, rng, lead=0.1), technical, typed(_PLAIN["simpler"], {}, rng, lead=0.05)]
    frame = rng.choice(wordings(_PLAIN["frames"]))
    small = simple if frame == "{e}" or re.match(r"I\b|[A-Z]{2}", simple) else simple[:1].lower() + simple[1:]
    turns.append(frame.replace("{e}", small))
    if rng.random() < 0.1:
        thanks, welcome = _PLAIN["after"].split(" :: ")
        turns += [typed(thanks, {}, rng, lead=0), said(welcome, {}, rng)]
    return turns


def turns(rng: Random) -> list[str]:
    """An answer, and what is asked back about it."""
    return _simpler(rng) if rng.random() < 0.4 else _asked_back(rng)
