"""Lines that break between words, where a terminal would break them anywhere: an answer as it streams, or a remark.

Nothing that was written is written again, so a word waits until it is known to fit; at the start of a line nothing
would be won by waiting. Code is there to be copied, so its lines are left to the terminal: those between fences, and
spans between backticks, which count as one word. Widths are what a simple terminal takes, never less.
"""

import os
import re
from collections.abc import Callable
from typing import TextIO

from chat.render import Renderer

TAB = 8
_PARTS = re.compile(r"\x1b\[[0-9;]*m|.", re.DOTALL)  # a style, which takes no column, or a character
_FENCE = re.compile(r"\s*(`{3,}(?=[^`]*$)|~{3,})")
_NO_START = frozenset("、。，．・：；！？」』）〕】〉》〗”’…ー々,.:;!?)]}%")  # these are never first in a line,
_NO_END = frozenset("「『（〔【〈《〖“‘([{")  # and these never last
_HANGUL = (("\u1100", "\u11ff"), ("\uac00", "\ud7a3"))  # as wide as ideographs, but with spaces between words
_SKIN = ("\U0001f3fb", "\U0001f3ff")  # colours of the emoji before them, and emoji of their own on a simple terminal
_LONGEST_FENCE = 200  # characters of a line that are looked at


def columns(stream: TextIO) -> int:
    """How wide the terminal is that a stream goes to; 0 when it is none, or does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0


def fitted(text: str, stream: TextIO, indent: int = 0) -> str:
    """A harmless text, broken between words where the stream is a terminal; what a break moves to a new line begins
    there after `indent` spaces."""
    wrap = Wrap(lambda: columns(stream), indent)
    return wrap.feed(text) + wrap.finish()


class Wrap:
    """Breaks the lines of a stream of harmless text. width: how many columns there are, asked at each word; 0 breaks
    nothing."""

    def __init__(self, width: Callable[[], int], indent: int = 0) -> None:
        self._width, self._indent = width, indent
        self._fence = ""  # the marks that opened the fence
        self.restart()

    def restart(self) -> None:
        """What comes begins a line, whatever was held back; an open fence stays open."""
        self._column = 0
        self._gap = ""  # spaces after what is written; a break takes their place
        self._word = ""  # held back
        self._cells = 0  # columns that the word takes
        self._flows = True  # whether the place of the word is known, so that nothing of it is held back
        self._last = ""  # the character before
        self._head = ""  # how the line begins
        self._marks = self._tick = 0  # backticks just before, and those that opened the code span; 0 outside

    def feed(self, text: str) -> str:
        """What can be written now. Styles must come whole."""
        return "".join(self._part(part) for part in _PARTS.findall(text))

    def finish(self) -> str:
        """What was held back."""
        return self._end_word() + self._end_gap()

    def _part(self, part: str) -> str:
        if part == "\n":
            written = self.finish() + part
            self._follow_fence()
            self.restart()
            return written
        if len(part) > 1:
            if self._flows and not self._gap:
                return part
            self._word += part
            return ""
        if len(self._head) < _LONGEST_FENCE:
            self._head += part
        if self._fence:
            return part
        written = self._char(part)
        self._last = part
        return written

    def _char(self, char: str) -> str:
        in_code = self._follow_code(char)
        if char in " \t" and not in_code:
            written = self._end_word()
            self._gap += char
            return written
        written = self._end_word() if not in_code and breaks(self._last, char) else ""
        self._word += char
        self._cells += cells(char, self._last)
        return written + self._flow()

    def _flow(self) -> str:
        """Write the word so far, on the next line when it does not fit into this one; nothing while it may fit."""
        width = self._width()
        if not (self._flows or not width):
            if self._after(self._gap) + self._cells <= width:
                return ""
            self._gap, self._column = "\n" + " " * self._indent, 0
        written = self._gap + self._word
        self._column = self._after(self._gap.removeprefix("\n")) + self._cells
        if width and self._column > width:  # a word longer than a line, which the terminal breaks
            self._column = (self._column - 1) % width + 1
        self._gap, self._word, self._cells, self._flows = "", "", 0, True
        return written

    def _end_word(self) -> str:
        """The word is whole: it goes behind the gap, where it fits."""
        if not self._cells:  # nothing, or styles alone, which are written before the gap
            written, self._word = self._word, ""
        else:
            written = self._gap + self._word
            self._column = self._after(self._gap) + self._cells
            self._gap, self._word, self._cells = "", "", 0
        self._flows = self._flows and not self._head.strip()
        return written

    def _end_gap(self) -> str:
        """Spaces at the end of a line, where there is room for them."""
        width, gap = self._width(), self._gap
        self._gap = ""
        return gap if not width or self._after(gap) <= width else ""

    def _after(self, gap: str) -> int:
        """The column after these spaces."""
        column = self._column
        for char in gap:
            column += TAB - column % TAB if char == "\t" else 1
        return column

    def _follow_code(self, char: str) -> bool:
        """Whether a character is part of a code span, marks included."""
        if char == "`":
            self._marks += 1
        elif self._marks:
            if self._tick in (0, self._marks):
                self._tick = self._marks - self._tick
            self._marks = 0
        return bool(self._marks or self._tick)

    def _follow_fence(self) -> None:
        """Whether the line that ends now has opened or closed a fence."""
        if not self._fence:
            opened = _FENCE.match(self._head)
            self._fence = opened.group(1) if opened else ""
        elif len(marks := self._head.strip()) >= len(self._fence) and marks == self._fence[0] * len(marks):
            self._fence = ""


class Wrapped:
    """Another renderer, whose lines break between words. width: see Wrap."""

    def __init__(self, inner: Renderer, width: Callable[[], int]) -> None:
        self._inner, self._wrap = inner, Wrap(width)

    def feed(self, text: str) -> str:
        """What to write for the next part of the answer."""
        return self._wrap.feed(self._inner.feed(text))

    def resume(self, text: str) -> None:
        """Go on after what was shown before."""
        self._inner.resume(text)
        self._wrap.feed(text)
        self._wrap.restart()

    def finish(self) -> str:
        """What was held back."""
        return self._wrap.feed(self._inner.finish()) + self._wrap.finish()


def breaks(before: str, char: str) -> bool:
    """Whether a line may break between two characters without a space between them: ideographs and emoji."""
    if not before or before == "\u200d" or not _size(char) or char in _NO_START or before in _NO_END:
        return False
    return _stands_alone(before) or _stands_alone(char)


def _stands_alone(char: str) -> bool:
    return _size(char) == 2 and not any(low <= char <= high for low, high in _HANGUL)


def _size(char: str) -> int:
    if char.isascii():
        return 1
    from rich.cells import get_character_cell_size

    return get_character_cell_size(char)


def cells(char: str, before: str) -> int:
    """The columns that a character adds after another, on a terminal that puts no emoji together."""
    if char == "\ufe0f":  # makes an emoji, which is wide, of a sign that may not be
        return 1 if _size(before or " ") == 1 else 0
    return 2 if _SKIN[0] <= char <= _SKIN[1] else _size(char)
