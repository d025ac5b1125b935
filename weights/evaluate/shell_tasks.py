"""Held-out rows of the shell tables, asked as questions: is it the right tool, is it the very command?

A row of tldr or nl2bash is worded by the same frames as in training, with a seed of its own, and answered greedily.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weights.data.own.shell.shell_phrasing import ask
from weights.data.readers import open_text

SEED = 11
TASKS = 200  # of each table
MAX_NEW_TOKENS = 80
PLACE = "X"


@dataclass(frozen=True)
class Task:
    """A question, and the commands that answer it (tldr may have one with short and one with long flags)."""

    question: str
    commands: tuple[str, ...]


def shell_rows(corpus: Path, files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of shell tables. Raises DataError for a file that is not there; a line that is no row is left out."""
    for file in files:
        with open_text(corpus / file) as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict) and {"description", "command", "tool"} <= row.keys():
                    yield row


def shell_tasks(corpus: Path, files: Sequence[str], count: int) -> list[Task]:
    """A fixed sample of the rows, as questions."""
    rows = list(shell_rows(corpus, files))
    rng = random.Random(SEED)
    chosen = rng.sample(rows, min(count, len(rows)))
    return [Task(ask(rng, str(row["description"])), _commands(row)) for row in chosen]


def _commands(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[key]) for key in ("command", "command_long") if row.get(key))


def tool(command: str) -> str:
    """The first word of a command after sudo (with its flags) and assignments of variables, without its path."""
    after_sudo = False
    for word in command.split():
        if word == "sudo":
            after_sudo = True
        elif not re.match(r"\w+=", word) and not (after_sudo and word.startswith("-")):
            return word.strip("();&|`").rsplit("/", 1)[-1]
    return ""


def normalise(command: str) -> str:
    """The command with one mark for whatever a person fills in: {{x}}, <x>, quoted texts, paths and file names."""
    text = re.sub(r"\{\{.*?\}\}|<\w[\w ./|-]*>", PLACE, command)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", PLACE, text)
    name = tool(text)
    return " ".join(word if word == name else _normal_word(word) for word in text.split())


def _normal_word(word: str) -> str:
    if option := re.match(r"(--?[\w-]+=)(.+)", word):
        return option.group(1) + _normal_word(option.group(2))
    end = ";" if word.endswith(";") and word != r"\;" else ""
    word = word.removesuffix(";") if end else word
    filled = PLACE in word and not word.startswith("-") and not word.isupper()
    path = len(word) > 1 and not word.startswith("-") and ("/" in word or word.startswith("~"))
    file = re.fullmatch(r"[\w*?+-]+\.[A-Za-z]\w{0,4}", word) is not None
    return (PLACE if filled or path or file else word) + end


def measure(tasks: Sequence[Task], answer: Callable[[str], str]) -> dict[str, float]:
    """The shares of tasks whose answer, a command, has the right tool, and is the very command up to placeholders."""
    given = [answer(task.question) for task in tasks]
    count = max(1, len(tasks))
    return {
        "right_tool": sum(right_tool(t, a) for t, a in zip(tasks, given, strict=True)) / count,
        "exact": sum(exact(t, a) for t, a in zip(tasks, given, strict=True)) / count,
    }


def right_tool(task: Task, command: str) -> bool:
    """Whether a command's tool is the task's."""
    return tool(command) != "" and tool(command) in {tool(c) for c in task.commands}


def exact(task: Task, command: str) -> bool:
    """Whether a command is the task's, up to what a person fills in."""
    return normalise(command) != "" and normalise(command) in {normalise(c) for c in task.commands}


def most_frequent_tool(tasks: Sequence[Task]) -> tuple[str, float]:
    """The tool that is right most often, and how often: what a constant answer would reach."""
    [(name, count)] = Counter(tool(task.commands[0]) for task in tasks).most_common(1) or [("", 0)]
    return name, count / max(1, len(tasks))
