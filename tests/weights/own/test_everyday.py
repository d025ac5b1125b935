"""The hand-made shell data: what is held out stays out, and every command is one that bash can read."""

import json
import lzma
import random
import re
import subprocess
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from engine.template import Message
from weights.data.own.shell import everyday, shell_phrasing

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT.parent / "shared" / "corpus" / "shell"
QUESTIONS: list[dict[str, Any]] = tomllib.loads((ROOT / "weights/evaluate/shell.toml").read_text())["question"]
TASKS, FOLLOWS = everyday.load()


@lru_cache(maxsize=1)
def sample() -> tuple[tuple[Message, ...], ...]:
    return tuple(everyday.generate(random.Random(7), 20_000))


@lru_cache(maxsize=1)
def commands() -> tuple[str, ...]:
    """Every command that can be answered first; the corpus too, where this machine has it."""
    found = [task.command for task in TASKS]
    for path in sorted(CORPUS.glob("*.train.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as rows:
            found += [json.loads(row)["command"] for row in rows]
    return tuple(found)


@lru_cache(maxsize=1)
def made() -> tuple[str, ...]:
    """The commands of the sample, with their names changed."""
    answers = [message.content for turns in sample() for message in turns if message.role == "assistant"]
    return tuple(sorted({match.group(1) for text in answers if (match := re.match(r"`([^`\n]+)`\n", text))}))


def test_there_are_enough_tasks_and_wordings() -> None:
    assert len(TASKS) >= 250
    for task in TASKS:
        texts = [text for row in task.asks for text in row]
        assert len(task.asks) >= 6 and len(texts) >= 6, task.command
        assert len({text.lower() for text in texts}) == len(texts), task.command
        assert not any(mark in text for text in texts for mark in "{}|"), task.command
    every = [text.lower() for task in TASKS for row in task.asks for text in row]
    twice = {text for text in every if every.count(text) > 1}
    assert not twice, f"one wording, two commands: {sorted(twice)}"


def test_sixty_questions_are_held_out() -> None:
    assert len(QUESTIONS) == 60 == len(shell_phrasing.held_out())
    assert {question["kind"] for question in QUESTIONS} == {
        "files", "archives", "text", "processes", "disk", "network", "permissions", "git",
    }  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["ask"])
def test_the_rubric_accepts_a_known_command(question: dict[str, Any]) -> None:
    assert any(re.search(accept, command) for accept in question["accept"] for command in (*made(), *commands()))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["ask"])
def test_the_rubric_is_not_lax(question: dict[str, Any]) -> None:
    passed = sum(any(re.search(accept, task.command) for accept in question["accept"]) for task in TASKS)
    assert passed <= len(TASKS) * 0.06
    assert not any(re.search(accept, text) for accept in question["accept"] for text in ("", "true", "sudo", "echo hi"))


def test_same_rng_same_conversations() -> None:
    first, second = (list(everyday.generate(random.Random(3), 500)) for _ in range(2))
    assert first == second
    assert first != list(everyday.generate(random.Random(4), 500))


@pytest.mark.parametrize("n", [0, 1, 17, 1000])
def test_exact_number(n: int) -> None:
    assert sum(1 for _ in everyday.generate(random.Random(0), n)) == n


def test_roles_alternate_and_the_assistant_has_the_last_word() -> None:
    for conversation in sample():
        roles = [message.role for message in conversation]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles in (["user", "assistant"], ["user", "assistant"] * 2)
        assert all(message.content.strip() == message.content != "" for message in conversation)


def test_held_out_questions_are_never_asked() -> None:
    held_out = shell_phrasing.held_out()
    asked = {shell_phrasing.normalise(m.content) for turns in sample() for m in turns if m.role == "user"}
    written = {shell_phrasing.normalise(text) for task in TASKS for row in task.asks for text in row}
    written |= {shell_phrasing.normalise(text) for follow in FOLLOWS for text in follow.asks}
    assert not held_out & (asked | written)
    rng = random.Random(5)
    for _ in range(2000):
        assert shell_phrasing.normalise(shell_phrasing.ask(rng, "make a symlink to a file")) not in held_out


def test_answers_begin_with_the_command() -> None:
    rng = random.Random(11)
    for task in TASKS:
        for text in (shell_phrasing.answer(rng, task.command, task.explain), shell_phrasing.answer(rng, "ls", None)):
            assert text.startswith("`")
        fenced = shell_phrasing.answer(rng, task.command, task.explain).startswith("```sh\n")
        assert fenced == ("\n" in task.command or "`" in task.command)
    first = [next(m.content for m in turns if m.role == "assistant") for turns in sample()]
    assert 0.8 < sum(text.startswith("`") for text in first) / len(first) < 0.93


def test_every_task_is_met_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everyday, "vary", lambda rng, *texts: texts)
    heard = " ".join(turns[-1].content for turns in everyday.generate(random.Random(2), 30 * len(TASKS)))
    assert [task.command for task in TASKS if task.explain[1:] not in heard] == []


def test_bash_can_read_every_command() -> None:
    every = sorted({*(task.command for task in TASKS), *made()})
    script = "\n".join(f"f{number}() {{\n{command}\n}}" for number, command in enumerate(every))
    result = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_names_change_in_question_and_command_alike() -> None:
    rng = random.Random(1)
    seen = {everyday.vary(rng, "extract archive.zip", "unzip archive.zip", "Extracts archive.zip.") for _ in range(60)}
    assert len(seen) > 3
    for ask, command, explain in seen:
        name = ask.removeprefix("extract ")
        assert command == f"unzip {name}" and explain == f"Extracts {name}."


@pytest.mark.parametrize(
    ("description", "infinitive", "sentence"),
    [
        ("List all users:", "list all users", "Lists all users."),
        ("[c]reate an archive and write it to a file", "create an archive and write it to a file",
         "Creates an archive and writes it to a file."),
        ("E[x]tract an archive", "extract an archive", "Extracts an archive."),
        ("Recursively copy a directory", "recursively copy a directory", "Recursively copies a directory."),
        ("Prints the date", "print the date", "Prints the date."),
        ("The weather today", None, "The weather today."),
    ],
)  # fmt: skip
def test_descriptions(description: str, infinitive: str | None, sentence: str) -> None:
    assert shell_phrasing.infinitive(description) == infinitive
    assert shell_phrasing.sentence(description) == sentence


def test_every_explanation_begins_with_a_verb_in_the_third_person() -> None:
    for task in TASKS:
        assert task.explain.endswith(".") and "\n" not in task.explain, task.command
        assert re.match(r"[A-Z][a-z]+s\b", task.explain), task.explain
