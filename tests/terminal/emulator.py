"""A terminal for tests: a real process on a pseudo-terminal, and pyte to say what a person would see."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pexpect
import pyte

ROOT = Path(__file__).resolve().parents[2]
DRIVER = [sys.executable, str(ROOT / "tests" / "terminal" / "drive.py")]
PATIENCE = 120.0  # seconds until a test gives up, on however busy a machine; nothing is ever measured


def environment(home: Path, **more: str) -> dict[str, str]:
    """A clean environment with its own home, so that no person's settings or history matter."""
    kept = {name: os.environ[name] for name in ("PATH", "VIRTUAL_ENV", "PYTHONPATH") if name in os.environ}
    folders = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "STATE", "DATA", "CACHE")}
    return {**kept, "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8", **folders, **more}


class Terminal:
    """One `tfm` process on a terminal of its own."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        engine: dict[str, Any] | None = None,
        size: tuple[int, int] = (24, 80),
        shell: str | None = None,
        **env: str,
    ) -> None:
        command = [*DRIVER, json.dumps(engine or {}), *arguments]
        if shell is not None:  # the command stands in a line of shell, as "$@"
            command = ["/bin/sh", "-c", shell, "sh", *command]
        self.raw = b""
        self.screen = pyte.HistoryScreen(size[1], size[0], history=100_000, ratio=0.5)
        self.stream = pyte.ByteStream(self.screen)
        self.process = pexpect.spawn(
            command[0], command[1:], env=environment(home, **env), dimensions=size, timeout=PATIENCE, cwd=str(ROOT)
        )
        self.process.delaybeforesend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.close(force=True)

    @property
    def lines(self) -> list[str]:
        """Every line to that of the cursor, scrolled away or not, without the spaces at its end. What is below the
        cursor, a menu or the line with the status, goes away with the next key."""
        top = ["".join(row[x].data for x in range(self.screen.columns)) for row in self.screen.history.top]
        rows = [line.rstrip() for line in (*top, *self.screen.display[: self.screen.cursor.y + 1])]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def text(self) -> str:
        """Everything that is to be seen."""
        return "\n".join(self.lines)

    def until(self, seen: Callable[[], bool], what: str) -> None:
        """Read until something is to be seen."""
        end = time.monotonic() + PATIENCE
        while not seen():
            assert time.monotonic() < end, f"never saw {what}:\n{self.text}"
            self._read()

    def _read(self) -> bool:
        try:
            data = self.process.read_nonblocking(65536, timeout=0.05)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self.stream.feed(data)
        return True

    def see(self, text: str, times: int = 1) -> None:
        """Wait for a text."""
        self.until(lambda: self.text.count(text) >= times, repr(text))

    def ready(self) -> None:
        """Wait for an empty prompt."""

        def empty_prompt() -> bool:
            lines = self.lines
            return bool(lines) and lines[-1] == ">" and self.screen.cursor.x == 2

        self.until(empty_prompt, "an empty prompt")

    def type(self, text: str) -> None:
        """Press keys."""
        self.process.send(text)

    def say(self, text: str) -> None:
        """Wait for the prompt, type a line and wait until the prompt is back."""
        self.ready()
        before = self.text
        self.type(text + "\r")
        self.until(lambda: self.text != before and not self.lines[-1].startswith(("> " + text)[:20]), f"{text!r} taken")
        self.ready()

    def end(self) -> int:
        """Wait for the end of the process; its exit code, or minus the signal that ended it."""
        end = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < end, f"never ended:\n{self.text}"
        self.process.close()
        return self.process.exitstatus if self.process.exitstatus is not None else -self.process.signalstatus


def tfm(
    home: Path,
    *arguments: str,
    engine: dict[str, Any] | None = None,
    stdin: bytes | int = subprocess.DEVNULL,
    **env: str,
) -> "subprocess.CompletedProcess[bytes]":
    """Run `tfm` without a terminal."""
    given: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    return subprocess.run(
        [*DRIVER, json.dumps(engine or {}), *arguments],
        capture_output=True,
        timeout=PATIENCE,
        env=environment(home, **env),
        cwd=ROOT,
        check=False,
        **given,
    )
