"""Follow-ups that fit behind any shell command: a pipe, a file for the output, what it was, whether it is safe.

Torch-free. The wordings stand in followups.toml, [ops].
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.phrasing import vary
from weights.data.own.shell import shell_basics, shell_phrasing
from weights.data.own.tables import entries as read_entries

entries = cache(read_entries)
TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("followups.toml").read_text(encoding="utf-8"))
OPS: dict[str, str] = TABLE["ops"]
NAMES = {key: entries(text) for key, text in TABLE["names"].items()}
_READS, _SYSTEM, _ROOT, _ONE_LINE = (frozenset(OPS[key].split()) for key in ("reads", "system", "rooted", "one_line"))
_GIT_READS = ("log", "status", "diff", "branch", "show", "blame", "stash list", "remote -v", "tag", "grep", "reflog")
_DESTROYS = re.compile(
    r"\b(?:rm|dd|shred|mkfs\S*|rmdir|truncate|fuser)\b|--hard|-delete\b|clean -fd|branch -D|kill -9|crontab -r|prune"
)
_SPECIAL = re.compile(r"[\d./@_~*`]|^-|^[A-Z]{2,}$")
_TOKEN = re.compile(r"(\S*[^\s?!.,:;])([?!.,:;]*)")


@dataclass(frozen=True)
class Turn:
    """Something a user asks in a chain, and the command (with what it does) or the words that answer it."""

    asks: tuple[str, ...]
    command: str
    says: str


def _asks(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for part in (part.strip() for part in text.split(" / ")):
        found += _asks(TABLE["macros"][part[1:]]) if part.startswith("@") else [part]
    return tuple(found)


def turn_of(question: str, answer: str) -> Turn:
    if answer.startswith("! "):
        return Turn(_asks(question), "", answer[2:])
    command, effect = answer.removeprefix("= ").split(" :: ")
    return Turn(_asks(question), command, effect)


def file_name(rng: Random, ends: Sequence[str]) -> str:
    """A made-up file name with one of the endings."""
    name = rng.choice(NAMES["stems"])
    if rng.random() < 0.2:
        name += rng.choice("_-") + rng.choice(NAMES["stems"])
    elif rng.random() < 0.1:
        name += str(rng.randint(1, 99))
    return name + rng.choice(ends)


def typed(text: str, rng: Random, names: Sequence[str] = (), change: Callable[[str], str] | None = None) -> str:
    """The question as people type it; names, flags and paths stay as they are."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        word, end = match.groups()
        if word not in names and not _SPECIAL.search(word):
            return match.group()
        kept.append(word)
        return f"⟦{len(kept) - 1}⟧{end}"

    text = _TOKEN.sub(keep, text)
    text = change(text) if change else vary(text, rng, lead=0.03)
    for number, word in enumerate(kept):
        text = text.replace(f"⟦{number}⟧", word)
    return text


def answered(command: str, says: str, rng: Random) -> str:
    return shell_phrasing.answer(rng, command, says) if command else says


def _tool(command: str) -> str:
    words = [word for word in command.split() if word != "sudo"]
    return words[0] if words else ""


def _is_simple(command: str) -> bool:
    return re.fullmatch(r"[\w ./:=+@%~-]+", command) is not None


def reads(command: str) -> bool:
    """Whether a command only prints something, so that its output can be piped on."""
    if re.search(r"[>&;$`<\n]|-delete|-exec|-f\b|date -s|\bless\b|\btee\b|\bcommand\b|2>", command):
        return False
    tool = _tool(command)
    if tool == "git":
        return (
            command.split(" ", 1)[1].startswith(_GIT_READS)
            and not re.search(r" -[dD]\b", command)
            and "v1.0" not in command
        )
    if tool == "systemctl":
        return "list" in command or "--failed" in command
    return tool in _READS and not (tool == "pip" and "list" not in command)


@cache
def _ops(name: str) -> tuple[Turn, ...]:
    lines = OPS[name].strip().splitlines()
    return tuple(turn_of(question[2:], answer) for question, answer in zip(lines[::2], lines[1::2], strict=True))


def host_name(rng: Random) -> str:
    user = rng.choice((*NAMES["owners"], "root", "me", "admin", "pi", "user"))
    return f"{user}@{rng.choice(NAMES['hosts'])}"


def _operations(command: str) -> list[Turn]:
    """The operators that fit behind the command."""
    found: list[Turn] = []
    if reads(command):
        piped = not (_tool(command) in _ONE_LINE or re.search(r"\| wc|-n 1\b|\| head", command))
        found += [op for op in _ops("output") if (piped or "|" not in op.command) and op.command[3:7] not in command]
    if _is_simple(command) and not command.startswith("time"):
        if _tool(command) in _SYSTEM:
            found += [*_ops("simple"), *_ops("remote")]
        if command.split()[0] in _ROOT:
            found += _ops("root")
    return found


def operation(command: str, rng: Random) -> tuple[str, str, str] | None:
    """A follow-up that builds on the last command, its answer and the new command."""
    fitting = _operations(command)
    if not fitting:
        return None
    turn = rng.choice(fitting)
    words = {
        "out": file_name(rng, (".txt", ".txt", ".log", ".csv", ".out")),
        "n": str(rng.choice((1, 2, 3, 5, 5, 8, 10, 10, 12, 15, 20, 25, 30, 40, 50, 60, 100))),
        "w": rng.choice((*entries(OPS["words"]), *NAMES["stems"])),
        "h": host_name(rng),
        "c": command,
    }
    ask, new, says = rng.choice(turn.asks), turn.command, turn.says
    for key, word in words.items():
        ask, new, says = (text.replace(f"{{{key}}}", word) for text in (ask, new, says))
    return typed(ask, rng, (words["out"], words["w"])), answered(new, says, rng), new


def _safety(command: str) -> str:
    if _DESTROYS.search(command):
        return "danger_yes"
    if reads(command):
        return "danger_no"
    return "danger_root" if "sudo " in command else "danger_some"


def about(command: str, says: str, rng: Random) -> list[str]:
    """A question about the last command, whatever it is: what it was, what it does, whether it is safe."""
    flags = shell_basics.flags_of(command)
    kind = rng.choices(
        ("again", "short", "what", "sudo", "danger", "flag", "man"), (5, 3, 5, 4, 4, 7 if flags else 0, 3)
    )[0]
    words = {"c": command, "f": "", "t": _tool(command)}
    if kind == "flag":
        words["f"], meaning = rng.choice(flags)
        answer = f"`{words['f']}` {meaning}."
    elif kind == "again":
        answer = rng.choice(entries(OPS["say_again"])).replace("{c}", command)
    elif kind == "short":
        answer = shell_phrasing.code(command)
    elif kind == "what":
        answer = f"It {says[:1].lower()}{says[1:]}"
    elif kind == "sudo":
        answer = rng.choice(entries(OPS["sudo_yes" if "sudo " in command else "sudo_no"]))
    elif kind == "danger":
        answer = rng.choice(entries(OPS[_safety(command)]))
    else:
        answer = answered(f"man {words['t']}", f"Opens the manual of {words['t']}; press q to quit.", rng)
    ask = rng.choice(entries(OPS[kind]))
    for key, word in words.items():
        ask = ask.replace(f"{{{key}}}", word)
    return [typed(ask, rng, [word for word in (words["f"], words["t"]) if word]), answer]


def is_plain(command: str) -> bool:
    """Whether a command is one that `about` can speak of."""
    return (
        bool(command)
        and "\n" not in command
        and "`" not in command
        and re.match(r"(?:sudo )?[a-z]", command) is not None
    )
