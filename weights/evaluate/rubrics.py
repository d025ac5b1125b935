"""Fixed prompts with patterns that say what a right answer holds: personas, names, everyday prompts, shell questions.

The tables lie beside this file and are never trained on or tuned to. Answers come through Engine.chat with the
model's own default sampling and one seed, so that a run can be repeated.
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.api import Engine
from engine.events import TextDelta
from engine.params import SamplingParams
from engine.template import Message

TABLES = Path(__file__).parent
SEED = 7
MAX_NEW_TOKENS = 96

Ground = Callable[[Sequence[Message]], Sequence[Message]]  # puts what was looked up before a question


@dataclass(frozen=True)
class Case:
    """One prompt. Right when any of `accept` is found in what is judged, and none of `reject`."""

    group: str
    kind: str
    messages: tuple[Message, ...]
    accept: tuple[str, ...]
    reject: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What the model said to a case, and whether it was right."""

    case: Case
    text: str
    right: bool


def load_cases() -> list[Case]:
    """All cases of the four tables."""
    personas = [
        Case(
            "persona",
            r.get("asks", "name"),
            (Message("system", r["system"]), Message("user", r["question"])),
            tuple(r["accept"]),
            tuple(r.get("reject", ())),
        )
        for r in _table("personas.toml")["persona"]
    ]
    prompts = [
        Case("everyday", r["kind"], _messages(r), tuple(r["accept"]), tuple(r.get("reject", ())))
        for r in _table("prompts.toml")["prompt"]
    ]
    shell = [
        Case("shell", r["kind"], (Message("user", r["ask"]),), tuple(r["accept"]))
        for r in _table("shell.toml")["question"]
    ]
    return [*personas, *_memory_cases(), *prompts, *shell]


def _memory_cases() -> list[Case]:
    """Conversations in which the user says a name and asks for it later: each name in one of the frames, in turn."""
    table = _table("memory.toml")
    cases = []
    for index, name in enumerate(table["names"]):
        frame = table["frame"][index % len(table["frame"])]["messages"]
        messages = tuple(Message(m["role"], m["content"].replace("{name}", name)) for m in frame)
        cases.append(Case("memory", "name", messages, (rf"\b{re.escape(name)}\b",)))
    return cases


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads((TABLES / name).read_text(encoding="utf-8"))


def _messages(row: dict[str, Any]) -> tuple[Message, ...]:
    if "user" in row:
        return (Message("user", row["user"]),)
    return tuple(Message(m["role"], m["content"]) for m in row["messages"])


def judge(case: Case, text: str) -> bool:
    """Whether an answer is right. Of a shell answer only the command is looked at, without its quotes."""
    judged = command_of(text) if case.group == "shell" else text
    found = any(re.search(p, judged, re.IGNORECASE | re.MULTILINE) for p in case.accept)
    return found and not any(re.search(p, judged, re.IGNORECASE) for p in case.reject)


def command_of(text: str) -> str:
    """The command in an answer: the first fenced block, else the first text in backticks, else the first line."""
    if fenced := re.search(r"```\w*\n(.*?)(?:```|\Z)", text, re.DOTALL):
        return fenced.group(1).strip()
    if quoted := re.search(r"`([^`]+)`", text):
        return quoted.group(1).strip()
    return text.strip().split("\n")[0]


def default_sampling(engine: Engine) -> SamplingParams:
    """The sampling of the model's generation_config.json, with one seed and a bound on the length."""
    return SamplingParams(**(engine.defaults | {"seed": SEED, "max_new_tokens": MAX_NEW_TOKENS}))


def ask(engine: Engine, messages: Sequence[Message], params: SamplingParams, ground: Ground | None = None) -> str:
    """The text of one answer; with `ground`, to what it makes of the messages."""
    messages = ground(messages) if ground else messages
    return "".join(e.text for e in engine.chat(messages, params) if isinstance(e, TextDelta))


def answer_cases(engine: Engine, cases: Sequence[Case], ground: Ground | None = None) -> list[Answer]:
    """Every case, answered under the model's default sampling and judged."""
    params = default_sampling(engine)
    answers = []
    for case in cases:
        text = ask(engine, case.messages, params, ground)
        answers.append(Answer(case, text, judge(case, text)))
    return answers
