"""docs/samples.md: the everyday prompts with the model's answers, as they came."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from weights.evaluate.rubrics import Answer


def write_samples(file: Path, numbers: Mapping[str, Any], answers: Sequence[Answer]) -> None:
    """Write the everyday prompts and their answers. Raises UsageError when the file cannot be written."""
    sampling = ", ".join(f"{name} {value}" for name, value in numbers["sampling"].items())
    everyday = [a for a in answers if a.case.group == "everyday"]
    lines = [
        "# Fifty prompts and what the model said", "",
        f"Written by `tfm eval --samples {file.name}`; no answer was chosen or changed. Sampling: {sampling}. "
        "The mark is",
        "that of the rubric in weights/evaluate/prompts.toml.", "",
    ]  # fmt: skip
    for number, answer in enumerate(everyday, 1):
        mark = "right" if answer.right else "wrong"
        lines += [f"## {number}. {answer.case.kind} ({mark})", "", *quoted(answer), ""]
    try:
        file.write_text("\n".join(lines), encoding="utf-8")
    except OSError as e:
        raise UsageError(f"{file} cannot be written: {e.strerror}.") from e


def quoted(answer: Answer) -> list[str]:
    """A conversation as lines of a Markdown code block: nothing in it is read as Markdown."""
    turns = [f"{m.role}: {m.content}" for m in answer.case.messages] + [f"tfm: {answer.text}"]
    return [*("    " + line for turn in turns for line in turn.split("\n"))]
