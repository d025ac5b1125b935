"""The two streams of a process: the answer goes to one, everything else to the other, and each may be a terminal."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TextIO

from chat.render import Markdown, Plain, Raw, Renderer, Safe, paint, safe_text, styled
from chat.wrapping import Wrap, Wrapped, columns, fitted

if TYPE_CHECKING:
    from chat.settings import Settings


class Screen:
    """Knows which stream is for what, and what each of them can show."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        *,
        plain: bool = False,
        theme: str = "dark",
        raw: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.plain = plain or environ.get("TERM") in ("dumb", "unknown")
        self.coloured = not self.plain and not environ.get("NO_COLOR") and theme != "none"
        self._theme, self._raw = theme, raw
        self._waiting = False
        self._ends_line = True  # whether the answer's stream stands at the start of a line

    @classmethod
    def of(cls, settings: "Settings") -> "Screen":
        """The screen of this process, as the settings want it."""
        return cls(plain=settings["plain"], theme=settings["theme"], raw=settings["raw_output"])

    def renderer(self, *, markdown: bool = True) -> Renderer:
        """How an answer is to be written to this screen. markdown: it is prose, and not a text to be kept as it is."""
        if self._raw:
            return Raw()
        if not self.out.isatty():
            return Plain(terminal=False)
        if not markdown:
            return Plain()
        return Wrapped(Markdown(self._theme) if self.coloured else Plain(), lambda: columns(self.out))

    def wrap(self) -> Wrap:
        """What breaks the lines of something else that goes to the answer's stream."""
        return Wrap(lambda: columns(self.out))

    def write(self, text: str) -> None:
        """A part of the answer, at once: whoever reads a pipe wants it when it is there."""
        if text:
            self.stop_waiting()
            self.out.write(text)
            self.out.flush()
            self._ends_line = text.endswith("\n")

    def dim(self, text: str) -> str:
        """A text that stands back in the answer's stream; as it is where that has no colours."""
        return paint(text, "dim") if self.coloured else text

    def end_answer(self) -> None:
        """Let the answer end with one line end; nothing when it has one."""
        if not self._ends_line:
            self.write("\n")

    @property
    def person(self) -> TextIO:
        """The stream that a person reads: stderr, so that answers can be piped away; stdout when stderr is."""
        return self.out if self.out.isatty() and not self.err.isatty() else self.err

    def tell(self, text: str, indent: int = 0) -> None:
        """A line for the person in the conversation. Harmless, whatever names are in it. indent: spaces before what
        has to go to a line below."""
        self._line(self.person, text, indent)

    def report(self, text: str) -> None:
        """A line for stderr, wherever that goes: errors and statistics."""
        self._line(self.err, text)

    def mark(self, text: str) -> None:
        """A line for stderr that stands out: a danger."""
        self._parts(self.err, [(f"! {text}", "bold red")])

    def tell_parts(self, parts: Iterable[tuple[str, str]]) -> None:
        """A line for the person in (text, style) parts."""
        self._parts(self.person, parts)

    def _parts(self, stream: TextIO, parts: Iterable[tuple[str, str]]) -> None:
        self.stop_waiting()
        stream.write(styled(parts, self.coloured and stream.isatty()) + "\n")
        stream.flush()

    def safe(self, text: str) -> str:
        """A text as it may go to the answer's stream."""
        return text if self._raw else Safe(terminal=self.out.isatty()).feed(text)

    def aside(self, text: str) -> None:
        """A line for stderr that stands back: dim, where the terminal can show that."""
        dim = self.coloured and self.err.isatty()
        shown = fitted(safe_text(text), self.err)
        self.stop_waiting()
        self.err.write((paint(shown, "dim") if dim else shown) + "\n")
        self.err.flush()

    def ask(self, prompt: str) -> None:
        """The mark at the start of a line of plain input."""
        self.person.write(prompt)
        self.person.flush()

    def _line(self, stream: TextIO, text: str, indent: int = 0) -> None:
        self.stop_waiting()
        stream.write(fitted(safe_text(text), stream, indent) + "\n")
        stream.flush()

    @property
    def tells_a_person(self) -> bool:
        """Whether a remark on stderr is seen by a person, and not kept in a file."""
        return self.err.isatty()

    def wait(self, text: str) -> None:
        """A line on a terminal that says what takes long, in place of the one before; erased by what comes next."""
        if not (self.coloured and self.err.isatty()):
            return
        self.err.write(f"\r\x1b[2m{safe_text(text)[: self.width - 1]}\x1b[0m\x1b[K")
        self.err.flush()
        self._waiting = True

    def stop_waiting(self) -> None:
        """Erase the line of `wait`."""
        if self._waiting:
            self._waiting = False
            self.err.write("\r\x1b[K")
            self.err.flush()

    @property
    def width(self) -> int:
        """Columns of the terminal that shows remarks; as many as usual where it does not say."""
        return max(columns(self.person) or 80, 2)
