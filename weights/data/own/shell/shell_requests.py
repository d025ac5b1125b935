"""Everyday requests at a shell in which the names are the user's own: what they name stands in the command. Torch-free.

everyday.py and shell_basics.py teach the commands; here the names are so many and so odd that they can only be copied.
"""

# ruff: noqa: SIM905 (word lists read best as words)

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.names import built_name
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.shell import shell_basics, shell_phrasing
from weights.data.own.shell.everyday import SYSTEM_PROMPTS, expand

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_PLACE = re.compile(r"\{(\w+)\}|%(\w)%")

# Commands whose files are lines of text.
_TEXT_TOOLS = frozenset(
    """awk cat column cut diff echo git grep head less nano nl paste sed shuf sort split tac tail tr wc""".split()
)


@dataclass(frozen=True)
class Request:
    """One thing people ask for: the wordings, the command and the sentence, with places for names."""

    command: str
    explain: str
    asks: tuple[tuple[str, ...], ...]


@cache
def requests() -> tuple[Request, ...]:
    """The tasks of shell_requests.toml."""
    found = []
    for line in _TABLE["tasks"].strip().splitlines():
        command, explain, asks = line.split(" :: ")
        found.append(Request(command, explain, tuple(expand(ask) for ask in asks.split(" / "))))
    return tuple(found)


def _pick(name: str, rng: Random) -> str:
    return str(rng.choice(_TABLE["slots"][name].split("|" if name == "msgs" else " ")))


def _stem(rng: Random) -> str:
    """The name of a file without its ending, now and then an odd one."""
    word = _pick("stems", rng) if rng.random() < 0.6 else built_name(rng)
    if rng.random() < 0.5:
        word = word.lower() if rng.random() < 0.7 else word.upper() if rng.random() < 0.3 else word.capitalize()
    kind = rng.random()
    if kind < 0.35:
        return word
    joint = rng.choice(("-", "_", "_", "", "."))
    if kind < 0.7:
        return f"{word}{joint}{rng.choice((rng.randint(1, 99), rng.randint(2001, 2040), f'v{rng.randint(1, 9)}'))}"
    other = _pick("stems", rng) if rng.random() < 0.5 else built_name(rng).lower()
    return f"{word} {other}" if kind > 0.94 else f"{word}{joint or '-'}{other}"


def _dir(rng: Random) -> str:
    return _pick("dirs", rng) if rng.random() < 0.45 else _stem(rng).replace(".", "_")


def _branch(rng: Random) -> str:
    if rng.random() < 0.6:
        return _pick("branches", rng)
    return f"{rng.choice(('feature/', 'fix/', '', '', 'try-', 'issue-'))}{built_name(rng).lower()}"


def _script(rng: Random) -> str:
    stem = _stem(rng).replace(" ", "_")
    return rng.choice((f"./{stem}.sh", f"./{stem}.sh", f"./{stem}", f"~/bin/{stem}.sh", f"/opt/{stem}.sh"))


def _value(name: str, text: bool, rng: Random) -> str:
    """Something for a place of a task; text: a file must be one of text."""
    kind = name.rstrip("2")
    if kind in ("file", "new", "out"):
        return f"{_stem(rng)}.{_pick('text_exts' if text else 'exts', rng)}"
    if kind in ("branch", "dir", "script"):
        return {"branch": _branch, "dir": _dir, "script": _script}[kind](rng)
    if kind == "user":
        return _pick("users", rng) if rng.random() < 0.5 else built_name(rng).lower()
    if kind in ("log", "csv", "zip", "archive"):
        end = {"archive": rng.choice(("tar.gz", "tar.gz", "tgz"))}.get(kind, kind)
        return f"{_stem(rng).replace(' ', '_')}.{end}"
    if kind in ("word", "ext", "host", "pkg", "service", "proc", "var", "val", "group", "key", "msg"):
        return _pick(f"{kind}s", rng)
    numbers = {"n": (2, 50), "d": (1, 9), "m": (2, 45), "pid": (300, 39999), "port": (1024, 9999), "hour": (1, 23)}
    if kind in numbers:
        return str(rng.randint(*numbers[kind]))
    if kind == "min":
        return rng.choice(("15", "30", "45", "10", "20", "50"))
    if kind == "size":
        return f"{rng.randint(1, 900)}{rng.choice('KMG')}"
    return f"v{rng.randint(0, 9)}.{rng.randint(0, 20)}" if kind == "tag" else f"{rng.getrandbits(28):07x}"


def _words(request: Request, ask: str, rng: Random) -> dict[str, str]:
    """A different value for each place of the request."""
    words: dict[str, str] = {}
    text = request.command.split(" ")[0] in _TEXT_TOOLS
    for braced, short in _PLACE.findall(f"{request.command} {request.explain} {ask}"):
        name = braced or short
        while name not in words or list(words.values()).count(words[name]) > 1:
            words[name] = _value(name, text, rng)
    return words


def _filled(text: str, words: dict[str, str]) -> str:
    return _PLACE.sub(lambda match: words[match[1] or match[2]], text)


def _in_command(command: str, words: dict[str, str]) -> str:
    """The command with its names; a word that holds a space gets quotes."""
    parts = []
    for part in command.split(" "):
        full = _filled(part, words)
        parts.append(f'"{full}"' if " " in full and '"' not in part and "'" not in part else full)
    return " ".join(parts)


def _asked(ask: str, words: dict[str, str], rng: Random) -> str:
    """The question: put into words round signs for the names, so that no slip changes a name."""
    names = list(words)
    signs = {name: f"⟦{at}⟧" for at, name in enumerate(names)}
    text = shell_basics.ask(rng, _PLACE.sub(lambda match: signs[match[1] or match[2]], ask))
    for name, sign in signs.items():
        value = words[name]
        text = text.replace(sign, f'"{value}"' if " " in value and rng.random() < 0.5 else value)
    return text


def exchange(rng: Random) -> tuple[str, str]:
    """A request and the command for it."""
    request = rng.choice(requests())
    ask = rng.choice(rng.choice(request.asks))
    words = _words(request, ask, rng)
    command = _in_command(request.command, words)
    return _asked(ask, words, rng), shell_phrasing.answer(rng, command, _filled(request.explain, words))


def one(rng: Random) -> Conversation:
    """One request, sometimes two."""
    system = rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.1 else ""
    turns = [*exchange(rng), *(exchange(rng) if rng.random() < 0.1 else ())]
    return talk(*turns, system=system)
