"""Conversations about everyday shell tasks, made from everyday.toml. Torch-free."""

import random
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.template import Message
from weights.data.own.shell import shell_phrasing

_TASKS = Path(__file__).with_name("everyday.toml")

SYSTEM_PROMPTS = ("You are a helpful assistant.", "Answer briefly.", "You are a Linux expert.")
_SYSTEM_SHARE, _REVERSE_SHARE, _FOLLOW_SHARE = 0.1, 0.15, 0.1
_VARY_SHARE = 0.6

_WHAT = (
    "what does that do?",
    "What does that do?",
    "what does it do?",
    "explain that",
    "Can you explain it?",
    "what does this command do",
)
_THANKS = (
    "thanks",
    "Thanks!",
    "thank you",
    "Thank you!",
    "great, thanks",
    "thx",
    "perfect, thank you",
    "cool, thanks!",
)
_WELCOME = (
    "You're welcome!",
    "You're welcome!",
    "You're welcome! Ask me anything else about the shell.",
    "Glad to help!",
)
_AND_FRAMES = (
    "And how do I {x}?",
    "and how do I {x}?",
    "and how can I {x}",
    "And how do I {x} then?",
    "how do I {x} after that?",
    "ok, and how do I {x}?",
    "thanks, and how do I {x}?",
    "And to {x}?",
    "now I want to {x}",
)

# A literal that stands in both question and command may become another of its row, in question, command and sentence.
LITERALS: Mapping[str, tuple[str, ...]] = {
    "archive.tar.gz": (
        "backup.tar.gz",
        "project.tar.gz",
        "data.tar.gz",
        "logs.tar.gz",
        "photos.tar.gz",
        "release.tar.gz",
    ),
    "archive.tar": ("backup.tar", "files.tar", "site.tar", "old.tar"),
    "archive.zip": ("photos.zip", "backup.zip", "download.zip", "homework.zip", "files.zip", "music.zip"),
    "archive.tar.xz": ("linux.tar.xz", "source.tar.xz", "backup.tar.xz"),
    "archive.7z": ("game.7z", "backup.7z", "files.7z"),
    "file.txt": ("notes.txt", "data.txt", "todo.txt", "report.txt", "names.txt", "list.txt", "readme.txt", "words.txt"),
    "old.txt": ("draft.txt", "a.txt", "notes.txt", "report.txt"),
    "new.txt": ("final.txt", "b.txt", "summary.txt", "output.txt"),
    "file.gz": ("data.gz", "dump.gz", "log.gz", "backup.gz"),
    "data.csv": ("users.csv", "sales.csv", "table.csv", "results.csv", "people.csv"),
    "script.sh": ("backup.sh", "run.sh", "deploy.sh", "setup.sh", "build.sh", "test.sh"),
    "script.py": ("main.py", "app.py", "train.py", "test.py", "server.py"),
    "image.png": ("photo.png", "logo.png", "screenshot.png", "icon.png"),
    "video.mp4": ("movie.mp4", "clip.mp4", "holiday.mp4", "lecture.mp4"),
    "app.log": ("server.log", "error.log", "output.log", "debug.log", "access.log"),
    "mydir": ("photos", "docs", "project", "backup", "music", "src", "work", "data"),
    "foo": ("cat", "red", "hello", "apple", "old"),
    "bar": ("dog", "blue", "world", "orange", "new"),
    "error": ("warning", "TODO", "password", "failed", "timeout", "main"),
    "alice": ("bob", "maria", "tom", "anna", "peter"),
    "developers": ("staff", "admins", "team", "docker"),
    "8080": ("3000", "5000", "8000", "80", "443", "22", "5432", "3306"),
    "nginx": ("ssh", "apache2", "docker", "mysql", "postgresql", "cron"),
    "htop": ("git", "vim", "tree", "curl", "tmux", "ffmpeg", "jq", "gcc"),
    "firefox": ("chrome", "python3", "java", "node", "vlc", "gimp"),
    "requests": ("numpy", "flask", "pandas", "django", "pytest"),
    "express": ("react", "lodash", "axios", "typescript"),
    "feature": ("dev", "login", "fix-bug", "test", "new-ui", "release"),
    "example.com": ("google.com", "github.com", "wikipedia.org", "python.org", "debian.org"),
    "1234": ("4321", "987", "2048", "31337", "555", "12034"),
    ".txt": (".log", ".py", ".jpg", ".csv", ".md", ".pdf", ".html", ".json", ".c", ".mp3"),
    ".bak": (".tmp", ".old", ".swp", ".orig"),
    "20": ("5", "15", "30", "50", "100", "25", "200"),
    "42": ("7", "10", "3", "99", "12", "150"),
    "100M": ("50M", "500M", "10M", "200M", "20M"),
}
_PAIRS: Mapping[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("100 MB", "100M"): (("50 MB", "50M"), ("500 MB", "500M"), ("10 MB", "10M"), ("1 GB", "1G"), ("200 MB", "200M")),
    ("100MB", "100M"): (("50MB", "50M"), ("500MB", "500M"), ("10MB", "10M"), ("1GB", "1G"), ("2GB", "2G")),
    ("30 days", "+30"): (("7 days", "+7"), ("10 days", "+10"), ("60 days", "+60"), ("90 days", "+90")),
    ("7 days", "-7"): (("3 days", "-3"), ("2 days", "-2"), ("10 days", "-10"), ("30 days", "-30")),
    ("60 minutes", "-60"): (("10 minutes", "-10"), ("30 minutes", "-30"), ("5 minutes", "-5")),
    ("second column", "$2"): (("first column", "$1"), ("third column", "$3"), ("fourth column", "$4")),
    ("2nd column", "$2"): (("1st column", "$1"), ("3rd column", "$3"), ("5th column", "$5")),
    ("line 42", "42p"): (
        ("line 7", "7p"),
        ("line 10", "10p"),
        ("line 3", "3p"),
        ("line 100", "100p"),
        ("line 25", "25p"),
    ),
    ("line number 42", "42p"): (("line number 5", "5p"), ("line number 12", "12p"), ("line number 99", "99p")),
    ("5 seconds", "5"): (("10 seconds", "10"), ("2 seconds", "2"), ("30 seconds", "30"), ("1 second", "1")),
}


@dataclass(frozen=True)
class Task:
    """One thing people ask for, its wordings (alternatives spelled out) and the one simple command for it."""

    topic: str
    asks: tuple[tuple[str, ...], ...]
    command: str
    explain: str

    def ask(self, rng: random.Random) -> str:
        """One wording; each row of the file equally often, however many alternatives it has."""
        return rng.choice(rng.choice(self.asks))


@dataclass(frozen=True)
class Follow:
    """A second question that leans on the first: `asks` (complete questions) come after the task `after`."""

    after: int
    asks: tuple[str, ...]
    task: int


def expand(pattern: str) -> tuple[str, ...]:
    """All spellings of "{extract|unpack} a {tar|tgz} file"."""
    match = re.search(r"\{([^{}]*\|[^{}]*)\}", pattern)
    if match is None:
        return (" ".join(pattern.split()),)
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return tuple(text for part in match.group(1).split("|") for text in expand(head + part + tail))


@lru_cache(maxsize=1)
def load() -> tuple[tuple[Task, ...], tuple[Follow, ...]]:
    """The tasks and the follow-up questions of everyday.toml."""
    with _TASKS.open("rb") as file:
        data = tomllib.load(file)
    tasks = tuple(
        Task(
            topic=row["topic"],
            asks=tuple(expand(pattern) for pattern in row["ask"]),
            command=row["command"],
            explain=row["explain"],
        )
        for row in data["task"]
    )
    by_command = {task.command: index for index, task in enumerate(tasks)}
    follows = tuple(
        Follow(by_command[row["after"]], tuple(row["ask"]), by_command[row["command"]])
        for row in data.get("follow", ())
    )
    return tasks, follows


def _swap(text: str, old: str, new: str) -> str:
    return re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w])", lambda _: new, text)


def _has(text: str, literal: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(literal)}(?![\w])", text) is not None


def vary(rng: random.Random, ask: str, command: str, explain: str) -> tuple[str, str, str]:
    """The same task with other names, where the question names what the command names."""
    for (words, part), choices in _PAIRS.items():
        if _has(ask, words) and part in command and rng.random() < _VARY_SHARE:
            other, other_part = rng.choice(choices)
            return _swap(ask, words, other), command.replace(part, other_part), _swap(explain, words, other)
    for literal, names in LITERALS.items():
        if literal == "nginx" and command.startswith("docker"):
            continue  # an image, not a service
        if _has(ask, literal) and _has(command, literal) and rng.random() < _VARY_SHARE:
            free = [name for name in names if not _has(command, name) and not _has(ask, name)]
            if free:
                name = rng.choice(free)
                ask, command, explain = (_swap(text, literal, name) for text in (ask, command, explain))
    return ask, command, explain


def _one(rng: random.Random, task: Task) -> tuple[list[Message], str]:
    """A question and its answer, and the sentence that explains the command as it was given."""
    ask, command, explain = vary(rng, task.ask(rng), task.command, task.explain)
    turns = [
        Message("user", shell_phrasing.ask(rng, ask, known=True)),
        Message("assistant", shell_phrasing.answer(rng, command, explain)),
    ]
    return turns, explain


def _it(explain: str) -> str:
    return f"It {explain[:1].lower()}{explain[1:]}"


def _follow_up(rng: random.Random, index: int) -> list[Message]:
    tasks, follows = load()
    task = tasks[index]
    turns, explain = _one(rng, task)
    kind = rng.random()
    if kind < 0.2:
        return [*turns, Message("user", rng.choice(_WHAT)), Message("assistant", _it(explain))]
    if kind < 0.4:
        return [*turns, Message("user", rng.choice(_THANKS)), Message("assistant", rng.choice(_WELCOME))]
    written = [follow for follow in follows if follow.after == index]
    if written:
        follow = rng.choice(written)
        turns = [  # as written in the file, so that "its" is the same thing in both commands
            Message("user", shell_phrasing.ask(rng, task.ask(rng), known=True)),
            Message("assistant", shell_phrasing.answer(rng, task.command, task.explain)),
        ]
        other = tasks[follow.task]
        question = rng.choice(follow.asks)
        answer = shell_phrasing.answer(rng, other.command, other.explain)
        return [*turns, Message("user", question), Message("assistant", answer)]
    other = rng.choice([other for other in tasks if other.topic == task.topic and other is not task] or [*tasks])
    ask, command, explain = vary(rng, other.ask(rng), other.command, other.explain)
    question = rng.choice(_AND_FRAMES).replace("{x}", ask)
    answer = shell_phrasing.answer(rng, command, explain)
    return [*turns, Message("user", question), Message("assistant", answer)]


def _reverse(rng: random.Random, task: Task) -> list[Message]:
    _, command, explain = vary(rng, task.ask(rng), task.command, task.explain)
    question = shell_phrasing.explain_question(rng, command)
    return [Message("user", question), Message("assistant", _it(explain) if rng.random() < 0.75 else explain)]


def generate(rng: random.Random, n: int) -> Iterator[tuple[Message, ...]]:
    """Exactly n conversations, every task equally often; the same rng state gives the same conversations."""
    tasks, _ = load()
    held_out = shell_phrasing.held_out()
    order: list[int] = []
    made = 0
    while made < n:
        if not order:
            order = list(range(len(tasks)))
            rng.shuffle(order)
        index = order[-1]
        kind = rng.random()
        if kind < _REVERSE_SHARE:
            turns = _reverse(rng, tasks[index])
        elif kind < _REVERSE_SHARE + _FOLLOW_SHARE:
            turns = _follow_up(rng, index)
        else:
            turns, _ = _one(rng, tasks[index])
        if rng.random() < _SYSTEM_SHARE:
            turns = [Message("system", rng.choice(SYSTEM_PROMPTS)), *turns]
        if any(turn.role == "user" and shell_phrasing.normalise(turn.content) in held_out for turn in turns):
            continue
        order.pop()
        made += 1
        yield tuple(turns)
