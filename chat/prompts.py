"""What `tfm run` is to answer: one prompt from arguments, files and stdin, or many, one a line of a file."""

import json
import select
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from chat.lines import Line, open_lines
from chat.loading import read_text
from chat.screen import Screen
from engine.errors import UsageError

PATIENCE_SECONDS = 1.0  # after this a person at a terminal is told that stdin has not ended
JSON_LINES = (".jsonl", ".ndjson")
KEYS = ("prompt", "system", "prefill")


@dataclass(frozen=True)
class Prompt:
    """One prompt. line: where it stands in its file; wrong: why it cannot be answered; system and prefill: its own,
    in place of those of the command line."""

    text: str
    line: int = 0
    system: str | None = None
    prefill: str | None = None
    wrong: str = ""


def read_prompt(words: Sequence[str], files: Sequence[str], raw: bool, stdin: TextIO | None, screen: Screen) -> str:
    """The prompt from arguments, files and stdin, joined in that order with blank lines between.

    A chat prompt loses the line ends after each part; a raw one is kept to the letter. Raises UsageError when there
    is no prompt: nothing here ever waits for a terminal.
    """
    prompt = joined(words, files, raw, piped_text(stdin, screen))
    if not prompt.strip() and not (raw and (words or prompt)):
        raise UsageError("There is no prompt.", 'Give it as an argument, with -f, or on stdin: tfm run "hello".')
    return prompt


def joined(words: Sequence[str], files: Sequence[str], raw: bool, last: str) -> str:
    """Arguments, files and one more text as one prompt."""
    parts = [" ".join(words)] if words else []
    parts += [*(read_text(name) for name in files), *([last] if last else [])]
    if not raw:
        parts = [part.rstrip("\r\n") for part in parts]
    return "\n\n".join(part for part in parts if part)


def read_prompts(
    name: str, words: Sequence[str], files: Sequence[str], raw: bool, stdin: TextIO | None
) -> list[Prompt]:
    """The prompts of a file, one a line (`-` is stdin); a .jsonl file has a JSON text or object in each line.

    Arguments and files stand before each of them. Empty lines are none. Raises UsageError for a file without any.
    """
    shared = joined(words, files, raw, "")
    with open_lines((), () if name == "-" else (name,), stdin) as groups:
        lines = [line for group in groups for line in group]
    read = _json_prompt if name.endswith(JSON_LINES) else _text_prompt
    prompts = [read(line, number) for number, line in enumerate(lines, 1) if line.text is None or line.text.strip()]
    if not prompts:
        raise UsageError(f"{name} holds no prompt.")
    separator = "\n\n" if shared else ""
    return [p if p.wrong else Prompt(shared + separator + p.text, p.line, p.system, p.prefill) for p in prompts]


def _text_prompt(line: Line, number: int) -> Prompt:
    return Prompt(line.text or "", number, wrong="it is not UTF-8 text" if line.text is None else "")


def _json_prompt(line: Line, number: int) -> Prompt:
    """The prompt of a line of JSON: a text, or an object with `prompt` and, at will, `system` and `prefill`."""
    if line.text is None:
        return _text_prompt(line, number)
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError) as e:
        return Prompt("", number, wrong=f"it is not JSON ({e})")
    told = {"prompt": value} if isinstance(value, str) else value
    if not isinstance(told, dict) or not isinstance(told.get("prompt"), str) or not told["prompt"].strip():
        return Prompt("", number, wrong='it is neither a text nor an object with a text "prompt"')
    for key, part in told.items():
        if key not in KEYS or not isinstance(part, str):
            return Prompt("", number, wrong=f"{key!r} has no meaning" if key not in KEYS else f"{key!r} is no text")
    return Prompt(told["prompt"], number, told.get("system"), told.get("prefill"))


def piped_text(stdin: TextIO | None, screen: Screen) -> str:
    """What stands on stdin, when that is no terminal."""
    if stdin is None or stdin.closed or stdin.isatty():
        return ""
    if screen.tells_a_person and not _ready(stdin):
        screen.wait("waiting for stdin to end")
    try:
        return stdin.buffer.read().decode()
    except UnicodeDecodeError as e:
        raise UsageError(f"stdin is not UTF-8 text: byte {e.start} cannot be read.") from e
    except OSError as e:
        raise UsageError(f"stdin cannot be read: {e.strerror}.") from e
    finally:
        screen.stop_waiting()


def _ready(stdin: TextIO) -> bool:
    try:
        return bool(select.select([stdin], [], [], PATIENCE_SECONDS)[0])
    except (OSError, ValueError):
        return True
