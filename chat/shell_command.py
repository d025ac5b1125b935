"""The one command in an answer: found by a rule, shown whole, and run when a person has said so."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

from chat.dangers import dangers
from chat.render import safe_text
from chat.screen import Screen
from engine.errors import UsageError
from engine.lookup import Example
from engine.wording import tool_of

_BLOCK = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n`]*\n(.*?)(?:^ {0,3}\1|\Z)", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_BUILTINS = frozenset(
    "alias bg cd declare echo eval exec exit export fg for history if jobs kill printf pwd read set source test "  # noqa: SIM905
    "trap type ulimit umask unalias unset until wait while".split()
)
YES = ("y", "yes")


def command_in_answer(answer: str, examples: Sequence[Example] = ()) -> str:
    """The command that an answer gives; empty when it gives none.

    It is, in this order: the first block of code; the first code span of several words that does not begin with a
    flag, or else the first code span that does not; the first line, when it begins with a program of this machine or
    of the examples that were looked up. A prompt `$ ` before it is no part of it.
    """
    if blocks := code_blocks(answer):
        return _without_prompts(blocks[0])
    spans = [_without_prompts(span.group(2)) for span in _SPAN.finditer(answer)]
    spans = [span for span in spans if span and not span.startswith("-")]
    if spans:
        return next((span for span in spans if " " in span), spans[0])
    line = _without_prompts(next((line for line in answer.splitlines() if line.strip()), ""))
    tool = tool_of(line)
    known = tool in _BUILTINS or tool in {e.tool for e in examples} or (tool and shutil.which(tool) is not None)
    return line if known and not re.search(r"\w[.:?!]$", line) else ""


def code_blocks(answer: str) -> list[str]:
    """The blocks of code in an answer that are not empty, without their fences. One that is never closed counts."""
    blocks = (block.group(2).strip("\n") for block in _BLOCK.finditer(answer))
    return [block for block in blocks if block.strip()]


def _without_prompts(code: str) -> str:
    lines = code.strip("\n").rstrip().split("\n")
    return "\n".join(
        line.lstrip().removeprefix("$ ") if line.lstrip().startswith("$ ") else line for line in lines
    ).strip()


def example_behind(command: str, examples: Sequence[Example]) -> Example | None:
    """The example that a command came from: the nearest of those with its tool; None when there is none."""
    same = [example for example in examples if tool_of(example.command) == tool_of(command)]
    return max(same, key=lambda e: SequenceMatcher(None, e.command, command).ratio(), default=None)


class CommandOnly:
    """A renderer that holds an answer back and writes the command in it, whole and alone; the answer, if it has none.

    safe: makes a text harmless for where it goes.
    """

    def __init__(self, examples: Sequence[Example], safe: Callable[[str], str]) -> None:
        self._examples, self._safe, self._text = examples, safe, ""

    def feed(self, text: str) -> str:
        """Nothing yet: what the command is, is known at the end."""
        self._text += text
        return ""

    def resume(self, text: str) -> None:
        """The command may have begun in it."""
        self._text += text

    def finish(self) -> str:
        """The command on lines of its own."""
        return self._safe(command_in_answer(self._text, self._examples) or self._text)

    def remark(self, screen: Screen) -> None:
        """Mark what the command can destroy, or tell that there is none."""
        command = command_in_answer(self._text, self._examples)
        for danger in dangers(command):
            screen.mark(danger)
        if not command:
            screen.tell("There is no command in it.")


def run_command(command: str, screen: Screen) -> int:
    """Show a command whole, mark what it can destroy, ask, and run it in the person's shell; its exit code.

    Nothing but a typed y or yes runs it. Raises UsageError where no person can be asked, and for a command with
    characters that a terminal cannot show: what is run must be what was seen.
    """
    if not (sys.stdin and sys.stdin.isatty() and screen.person.isatty()):
        raise UsageError("Nothing is run where nobody can be asked.", "/run needs a terminal.")
    if safe_text(command) != command or "\t" in command:
        raise UsageError(f"{safe_text(command)} holds characters that cannot be seen, so it is not run.")
    for line in command.split("\n"):
        screen.tell(f"  {line}")
    for danger in dangers(command):
        screen.mark(danger)
    if not _agreed(screen):
        screen.tell("It was not run.")
        return 0
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        code = subprocess.run([shell, "-c", command], check=False).returncode
    except OSError as e:
        raise UsageError(f"The shell {shell} cannot be started: {e.strerror}.") from e
    if code:
        screen.tell(f"(exit code {code})" if code > 0 else f"(ended by signal {-code})")
    return code


def _agreed(screen: Screen) -> bool:
    """Ask. What was typed before the question was there is no answer to it; what is typed at once is one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if sys.platform != "win32":
            import termios

            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        screen.ask("Run it? [y/N] ")
        line = sys.stdin.buffer.readline()
    except KeyboardInterrupt:
        line = b""
    finally:
        signal.signal(signal.SIGINT, before)
    if not line.endswith(b"\n"):
        screen.tell("")
    return line.decode(errors="replace").strip().lower() in YES
