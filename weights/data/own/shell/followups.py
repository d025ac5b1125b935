"""Shell help of several turns: the follow-ups need the turns before them. Torch-free.

The chains are written in followups.toml; the names that a user's turn tells first change throughout the conversation.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import everyday, shell_basics, shell_phrasing
from weights.data.own.shell.shell_operators import (
    NAMES,
    OPS,
    TABLE,
    Turn,
    about,
    answered,
    entries,
    file_name,
    host_name,
    is_plain,
    operation,
    reads,
    turn_of,
    typed,
)
from weights.data.own.talk import identity, smalltalk

# Names that stand for others in a chain, besides everyday.LITERALS.
LITERALS: dict[str, tuple[str, ...]] = {
    "/path/to/dir": NAMES["dirs"],
    "user@host": tuple(f"{user}@{host}" for user in ("alice", "root", "bob", "me", "admin") for host in NAMES["hosts"]),
}
_FILES = {"file.txt": ".txt .md .log .csv .conf", "old.txt": ".txt .md", "new.txt": ".txt .md", "data.csv": ".csv"}
_MADE = {
    **{name: tuple(ends.split()) for name, ends in _FILES.items()},
    "archive.tar.gz": (".tar.gz",),
    "archive.zip": (".zip",),
    "script.sh": (".sh",),
    "script.py": (".py",),
    "app.log": (".log",),
    "image.png": (".png",),
    "video.mp4": (".mp4",),
    "mydir": ("",),
}


@dataclass(frozen=True)
class Chain:
    """A first task, and groups of follow-ups: a group is asked from its beginning on."""

    first: Turn
    groups: tuple[tuple[Turn, ...], ...]


def parse(text: str) -> tuple[Chain, ...]:
    """The chains of a table."""
    chains = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        first, groups = turn_of(lines[0][2:], lines[1]), []
        for question, answer in zip(lines[2::2], lines[3::2], strict=True):
            mark, asked = question.split(" ", 1)
            turn = turn_of(asked, answer)
            if mark == ">":
                groups.append([turn])
            else:
                groups[-1].append(turn)
        chains.append(Chain(first, tuple(tuple(group) for group in groups)))
    return tuple(chains)


@cache
def chains() -> tuple[Chain, ...]:
    """All written chains."""
    return parse(TABLE["table"]["chains"]) + parse(TABLE["table"]["more"])


def _other(literal: str, rng: Random) -> str:
    if literal in _MADE and rng.random() < 0.75:
        return file_name(rng, _MADE[literal])
    return rng.choice(LITERALS.get(literal) or everyday.LITERALS[literal])


_EITHER = "|".join(re.escape(name) for name in sorted((*LITERALS, *everyday.LITERALS), key=len, reverse=True))
_LITERAL = re.compile(rf"(?<![\w.])(?:{_EITHER})(?!\w)")


def rename(texts: Sequence[str], by_user: Sequence[bool], rng: Random) -> tuple[list[str], list[str]]:
    """The texts with other names for the literals that a user's text has first, and these names."""
    new: dict[str, str] = {}
    seen: set[str] = set()
    for text, user in zip(texts, by_user, strict=True):
        for literal in _LITERAL.findall(text):
            if literal in seen:
                continue
            seen.add(literal)
            name = _other(literal, rng)
            if user and rng.random() < 0.85 and name not in new.values() and not any(name in text for text in texts):
                new[literal] = name
    if not new:
        return list(texts), []
    return [_LITERAL.sub(lambda m: new.get(m.group(), m.group()), text) for text in texts], list(new.values())


def _between(rng: Random) -> list[str]:
    """Something else between two questions."""
    kind = rng.random()
    if kind < 0.5:
        return [vary(rng.choice(entries(OPS["thanks"])), rng, lead=0), rng.choice(entries(OPS["welcome"]))]
    if kind < 0.8:
        return list(smalltalk.exchange(rng))
    return [message.content for message in identity.one(rng) if message.role != "system"][:2]


def _picked(chain: Chain, rng: Random) -> list[Turn]:
    """The first task and one to four of its follow-ups."""
    groups = list(chain.groups)
    wanted = rng.choices((1, 2, 3, 4), (50, 30, 14, 6))[0]
    chosen = rng.sample(groups, min(wanted, len(groups)))
    turns = [chain.first]
    for group in chosen:
        turns += group[: rng.randint(1, len(group))]
    return turns[: 1 + wanted]


def _chain(rng: Random) -> list[str]:
    turns = _picked(rng.choice(chains()), rng)
    raw = [text for turn in turns for text in (rng.choice(turn.asks), turn.command, turn.says)]
    raw, names = rename(raw, [i % 3 == 0 for i in range(len(raw))], rng)
    said: list[str] = []
    for at in range(0, len(raw), 3):
        ask, command, says = raw[at : at + 3]
        if at and rng.random() < 0.1:
            said += _between(rng)
        first = None if at else lambda text: shell_phrasing.ask(rng, text, known=True)
        said += [typed(ask, rng, names, first), answered(command, says, rng)]
        if is_plain(command) and rng.random() < 0.12:
            said += about(command, says, rng)
    return said


@cache
def _known_tasks() -> tuple[everyday.Task, ...]:
    found = (*everyday.load()[0], *shell_basics.tasks())
    return tuple(task for task in found if is_plain(task.command))


def _operated(rng: Random) -> list[str]:
    """Any everyday task, then follow-ups that hold for every command."""
    task = rng.choice(_known_tasks())
    while not reads(task.command) and rng.random() < 0.7:
        task = rng.choice(_known_tasks())
    asked, command, says = everyday.vary(rng, task.ask(rng), task.command, task.explain)
    said = [shell_basics.ask(rng, asked), answered(command, says, rng)]
    made = operation(command, rng) if rng.random() < 0.75 else None
    if rng.random() < 0.1:
        said += _between(rng)
    if made:
        said += made[:2]
        if rng.random() < 0.2:
            said += [vary(rng.choice(entries(OPS["again"])), rng), f"It was `{made[2]}`."]
    else:
        said += about(command, says, rng)
        if rng.random() < 0.25:
            said += about(command, says, rng)
    return said


_Named = tuple[tuple[str, ...], str, str]


@cache
def _named(kind: str) -> tuple[_Named, ...]:
    """The questions about a thing that the user has named."""
    found = []
    for line in TABLE["named"][kind]["turns"].strip().splitlines():
        asks, command, says = line.split(" :: ")
        found.append((tuple(ask.strip() for ask in asks.split(" / ")), command, says))
    return tuple(found)


def _named_name(kind: str, rng: Random) -> str:
    made: dict[str, Callable[[], str]] = {
        "file": lambda: file_name(rng, (".txt", ".txt", ".md", ".csv", ".log", ".conf", ".html", ".json", ".pdf")),
        "pair": lambda: file_name(rng, (".txt", ".md", ".csv", ".log")),
        "folder": lambda: file_name(rng, ("",)),
        "tgz": lambda: file_name(rng, (".tar.gz",)),
        "zip": lambda: file_name(rng, (".zip",)),
        "script": lambda: file_name(rng, (".sh",)),
        "python": lambda: file_name(rng, (".py",)),
        "host": lambda: host_name(rng),
        "user": lambda: rng.choice(NAMES["owners"]),
        "branch": lambda: rng.choice((*NAMES["branches"], f"issue-{rng.randint(1, 999)}")),
        "package": lambda: rng.choice(NAMES["packages"]),
        "service": lambda: rng.choice(NAMES["services"]),
        "port": lambda: str(rng.choice((80, 443, 22, 3000, 5000, 8000, 8080, rng.randint(1024, 9999)))),
        "pid": lambda: str(rng.randint(300, 32000)),
        "domain": lambda: rng.choice(NAMES["domains"]),
    }
    return made[kind]()


def _named_words(kind: str, rng: Random) -> dict[str, str]:
    """The names for the places of the lines of a kind; x is the one the user tells."""
    text = (".txt", ".md", ".csv", ".log")
    words = {
        "x": _named_name(kind, rng),
        "y": file_name(rng, text),
        "k": file_name(rng, (".html",) if kind == "domain" else (".txt",)),
        "f": file_name(rng, text),
        "g": file_name(rng, ("",)),
        "z": file_name(rng, (".zip",)),
        "d": rng.choice(NAMES["dirs"]),
        "h": host_name(rng),
        "u": rng.choice(NAMES["owners"]),
        "o": rng.choice(NAMES["domains"]),
        "n": str(rng.choice((3, 5, 10, 15, 20, 30, 50, 100))),
        "p": str(rng.choice((80, 443, 22, 2222, 3000, 8080))),
    }
    words["w"], words["v"] = rng.sample(("error", "hello", "foo", "cat", "name", "total", "test", "blue", "anna"), 2)
    if kind == "python":
        words["y"] = file_name(rng, (".txt", ".log"))
    return words


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{([a-z])\}", lambda m: words[m.group(1)], text)


_GOT = ("Okay, {x}.", "All right, {x}.", "Okay, {x}. What do you want to do?", "Got it: {x}. What do you want to know?")


def _told(rng: Random) -> list[str]:
    """The user names a thing; the commands that follow use the name."""
    kind = rng.choices(tuple(TABLE["named"]), tuple(3 + len(_named(kind)) for kind in TABLE["named"]))[0]
    words, table = _named_words(kind, rng), TABLE["named"][kind]
    names = sorted(set(words.values()), key=len, reverse=True)
    got = "Okay, {x} and {y}." if kind == "pair" else rng.choice(_GOT)
    tell = typed(_filled(rng.choice(entries(table["tell"])), words), rng, names)
    turns = rng.sample(_named(kind), min(len(_named(kind)), rng.choices((1, 2, 3), (45, 35, 20))[0]))
    pairs = []
    for asks, command, says in turns:
        ask = typed(_filled(rng.choice(asks), words), rng, names)
        pairs.append((ask, answered(_filled(command, words), _filled(says, words), rng)))
    if rng.random() < 0.25:
        said = [f"{tell}{'' if tell[-1] in '.!?' else '.'} {pairs[0][0]}", pairs[0][1]]
        pairs = pairs[1:]
    else:
        said = [tell, _filled(got, words)]
    for pair in pairs:
        if rng.random() < 0.15:
            said += _between(rng)
        said += pair
    if rng.random() < 0.12:
        said += [vary(rng.choice(entries(table["called"])), rng), _filled(rng.choice(entries(table["say"])), words)]
    return said


_SHAPES: tuple[tuple[Callable[[Random], list[str]], int], ...] = ((_chain, 50), (_operated, 26), (_told, 24))


def one(rng: Random) -> Conversation:
    """One conversation of several turns about the shell."""
    shape = rng.choices([shape for shape, _ in _SHAPES], [weight for _, weight in _SHAPES])[0]
    system = rng.choice(everyday.SYSTEM_PROMPTS) if rng.random() < 0.1 else ""
    return talk(*shape(rng), system=system)
