"""Lines of text from arguments, files or stdin, for commands that answer line by line. Torch-free.

They come in groups: all that are there, so that many are worked on together, and none waits for one that has not come.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, TextIO

from engine.errors import UsageError

CHUNK_BYTES = 1 << 16  # what a pipe holds
AT_ONCE = 128  # lines; more together are no faster, and a person sees nothing for longer


@dataclass(frozen=True)
class Line:
    """A line without its end. text: None when it is not UTF-8, and then wrong says where."""

    text: str | None
    wrong: str = ""


@contextmanager
def open_lines(texts: Sequence[str], files: Sequence[str], stdin: TextIO | None) -> Iterator[Iterator[list[Line]]]:
    """The lines of the arguments (joined), then of the files; only when there is neither, those of stdin.

    A loop of the shell keeps its stdin so. Raises UsageError for a file that cannot be opened, at once.
    """
    with ExitStack() as stack:
        sources: list[tuple[str, BinaryIO]] = []
        if texts:
            sources.append(("The argument", io.BytesIO(" ".join(texts).encode())))
        for name in files:
            try:
                sources.append((name, stack.enter_context(open(name, "rb"))))
            except (OSError, ValueError) as e:
                raise UsageError(f"{name} cannot be read: {getattr(e, 'strerror', None) or e}.") from e
        if not sources:
            if stdin is None or stdin.closed:
                raise UsageError("There is no text.", "Give it as an argument, with -f, or on stdin.")
            sources.append(("stdin", stdin.buffer))
        yield (group for name, stream in sources for group in _groups(name, stream))


def _groups(name: str, stream: BinaryIO) -> Iterator[list[Line]]:
    number, rest = 0, b""
    while True:
        chunk = _read(name, stream)
        *whole, rest = (rest + chunk).split(b"\n")
        if not chunk and rest:
            whole.append(rest)
        for start in range(0, len(whole), AT_ONCE):
            group = whole[start : start + AT_ONCE]
            yield [_line(name, number + place, data) for place, data in enumerate(group, 1)]
            number += len(group)
        if not chunk:
            return


def _read(name: str, stream: BinaryIO) -> bytes:
    """What is there, as soon as there is something; nothing at the end."""
    try:
        return stream.read1(CHUNK_BYTES)  # type: ignore[attr-defined,no-any-return]  # every buffered stream has it
    except OSError as e:
        raise UsageError(f"{name} cannot be read: {e.strerror}.") from e


def _line(name: str, number: int, data: bytes) -> Line:
    try:
        return Line(data.removesuffix(b"\r").decode())
    except UnicodeDecodeError as e:
        return Line(None, f"{name}, line {number}, is not UTF-8 text: its byte {e.start} cannot be read.")
