"""How an answer looks: `safe_text`, and Markdown that is styled as it streams and never redrawn.

No character is dropped and none is sent that could drive the terminal. Marks of Markdown stay visible, dimmed:
what was written cannot be guessed from an unfinished line (`*.txt`, `**kwargs`), and a copy gives the source back.
So the visible text is the text, in every mode; styles are the only addition. wrapping.py breaks the lines.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.syntax import Syntax

# After these a zero-width (non-)joiner shapes letters: Arabic, and the scripts of India and its neighbours.
_JOINING_SCRIPTS = ((0x0600, 0x08FF), (0x0900, 0x0DFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0xFB50, 0xFDFF))
# Invisible, yet letters or marks by their category: fillers, the grapheme joiner, Braille and Khmer blanks.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2028\u2029\u3164\uffa0\u2800")
# Format characters that are drawn: signs that enclose a number, in Arabic, Syriac and Kaithi.
_VISIBLE_FORMAT = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2\U000110bd\U000110cd")
_ZWNJ, _ZWJ, _CANCEL = "\u200c", "\u200d", "\x7f"


class Safe:
    """Makes text harmless, character by character, so that it does not matter where a stream was cut.

    For a terminal: controls and everything invisible that could hide or reorder text are shown by name. Otherwise
    (a file, a pipe) only controls and lone surrogates are: the rest is the reader's to judge.
    """

    def __init__(self, terminal: bool = True) -> None:
        self._terminal = terminal
        self._before = ""

    def feed(self, text: str) -> str:
        """The next part of the text, harmless."""
        if text.isascii() and text.isprintable():
            self._before = text[-1:] or self._before
            return text
        return "".join(map(self._char, text))

    def _char(self, char: str) -> str:
        before, self._before = self._before, char
        if " " <= char < _CANCEL or char in "\n\t":
            return char
        code = ord(char)
        if code < 0x20:
            return char if char == "\r" and not self._terminal else chr(0x2400 + code)
        if char == _CANCEL:
            return "\u2421"
        if 0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000:
            return _named(code)
        if self._terminal and _hides(char, code, before):
            return _named(code)
        return char


def safe_text(text: str) -> str:
    """A text from a model or a file, as it may go to a terminal."""
    return Safe().feed(text)


def _named(code: int) -> str:
    return f"⟨U+{code:04X}⟩"


def _hides(char: str, code: int, before: str) -> bool:
    """Whether a character is invisible or reorders text, where it stands (after `before`)."""
    if code < 0xAD:
        return False
    if 0xFE00 <= code <= 0xFE0F:  # chooses the shape of the character before it; a second one chooses nothing
        return before in ("", "\n", "\t", " ") or unicodedata.category(before) in ("Mn", "Cf", "Cc")
    if 0xE0100 <= code <= 0xE01EF:
        return not unicodedata.name(before or " ", "").startswith("CJK")
    if char == _ZWJ and before and (before == "\ufe0f" or unicodedata.category(before) in ("So", "Sk")):
        return False  # inside an emoji sequence
    if char in (_ZWNJ, _ZWJ) and before:
        return not any(low <= ord(before) <= high for low, high in _JOINING_SCRIPTS)
    return char in _INVISIBLE or (unicodedata.category(char) == "Cf" and char not in _VISIBLE_FORMAT)


class Renderer(Protocol):
    """From the deltas of an answer to what is written."""

    def feed(self, text: str) -> str:
        """What to write for the next part of the answer."""
        ...

    def resume(self, text: str) -> None:
        """Take in what was shown before: what comes goes on with it, on a new line."""
        ...

    def finish(self) -> str:
        """What was held back."""
        ...


class Plain:
    """The safe text as it is."""

    def __init__(self, terminal: bool = True) -> None:
        self._safe = Safe(terminal)

    def feed(self, text: str) -> str:
        """The safe text."""
        return self._safe.feed(text)

    def resume(self, text: str) -> None:
        """Only its last character matters."""
        self._safe.feed(text)

    def finish(self) -> str:
        """Nothing: nothing is ever held back."""
        return ""


class Raw:
    """The text as it is: it can drive the terminal. Only for who asked for just that."""

    def feed(self, text: str) -> str:
        """The text; lone surrogates, which have no UTF-8 form, are named."""
        return text if text.isascii() else "".join(_named(ord(c)) if "\ud800" <= c <= "\udfff" else c for c in text)

    def resume(self, text: str) -> None:
        """Nothing depends on it."""

    def finish(self) -> str:
        """Nothing: nothing is ever held back."""
        return ""


_HEADING = re.compile(r"#{1,6} ")
_BULLET = re.compile(r"(?:[-+*]|\d{1,9}[.)]) ")
_FENCE = re.compile(r"(`{3,}|~{3,})")
# What may still become one of these, or a fence, when more has come.
_UNDECIDED = re.compile(r"#{1,6}|[-+*]|\d{1,9}[.)]?|`+|~+")
_MARK = "dim"
_STYLES = {"quote": "italic", "bold": "bold", "italic": "italic"}
# By what is behind the text: the terminal's own colours, which a person may have changed, and no others.
_THEMES = {
    "dark": {"heading": "bold cyan", "bullet": "bold cyan", "code": "cyan", "syntax": "ansi_dark"},
    "light": {"heading": "bold blue", "bullet": "bold blue", "code": "magenta", "syntax": "ansi_light"},
}


class Markdown:
    """Styles Markdown while it streams. Holds back only what is undecided: the marks at the start of a line,
    a run of marks whose right side is not known yet, and a line of fenced code until its end. theme: dark or light."""

    def __init__(self, theme: str = "dark") -> None:
        self._styles = _STYLES | _THEMES[theme]
        self._safe = Safe()
        self._spans: list[tuple[str, str]] = []  # (text, style) to be written
        self._line = ""  # style of the whole line: heading, quote or none
        self._at_start = True
        self._held = ""  # undecided characters
        self._before = " "  # the character before what is held
        self._active: set[str] = set()  # bold, italic
        self._emphasis: dict[str, str] = {}  # style -> the marks that opened it
        self._tick = 0  # backticks that opened the code span; 0 outside
        self._fence = ""  # the marks that opened the fence
        self._language = ""

    def feed(self, text: str) -> str:
        """Styled text for the next part; whole escape sequences only, and each ends its style."""
        for char in self._safe.feed(text):
            self._char(char)
        return self._write()

    def resume(self, text: str) -> None:
        """What is styled goes on in the style in which it was cut."""
        self.feed(text)

    def finish(self) -> str:
        """What was held back, as it stands."""
        if self._fence:
            self._code_line(self._held)
        else:
            self._put(self._held, self._style())
        self._held = ""
        return self._write()

    def _char(self, char: str) -> None:
        if self._fence:
            self._fenced(char)
        elif self._at_start:
            self._start_of_line(char)
        else:
            self._inline(char)

    def _start_of_line(self, char: str) -> None:
        if not self._held and char in " \t":
            self._put(char, "")
            return
        text = self._held + char
        if _FENCE.match(text):
            self._opening(text, char)
        elif _UNDECIDED.fullmatch(text):
            self._held = text
        else:
            self._held, self._at_start = "", False
            self._decided(text)

    def _opening(self, text: str, char: str) -> None:
        """A line that begins like a fence: held to its end, because ``` may also open a code span."""
        if char != "\n":
            self._held = text
            if text[0] == "`" and char == "`" and text.strip("`"):
                self._held, self._at_start = "", False
                self._decided(text)
            return
        marks = _FENCE.match(text)
        self._fence = marks.group() if marks else ""
        self._language = text[len(self._fence) :].strip().split(" ")[0]
        self._held = ""
        self._put(text, _MARK)

    def _decided(self, text: str) -> None:
        """The first characters of a line, known to open no fence."""
        if _HEADING.fullmatch(text):
            self._line = "heading"
            self._put(text, _MARK)
        elif _BULLET.fullmatch(text):
            self._put(text, self._styles["bullet"])
            self._before = " "
        elif text == ">":
            self._line = "quote"
            self._put(text, _MARK)
        else:
            for char in text:
                self._inline(char)

    def _inline(self, char: str) -> None:
        if self._held and (char != self._held[0] or self._held == "\\"):
            held, self._held = self._held, ""
            self._marks(held, char)
            if held == "\\" and char != "\n":  # an escaped mark is a character like any other
                self._put(char, self._style())
                self._before = char
                return
        if char == "\n":
            self._end_of_line()
        elif char == "`" or (not self._tick and char in "*_\\"):
            self._held += char
        else:
            self._put(char, self._style())
            self._before = char

    def _marks(self, marks: str, after: str) -> None:
        """A run of equal marks between `self._before` and `after`."""
        before, self._before = self._before, marks[-1]
        if marks[0] == "`":
            opens = self._tick == 0
            if opens or len(marks) == self._tick:
                self._tick = len(marks) if opens else 0
                self._put(marks, _MARK)
                return
        elif marks[0] in "*_" and len(marks) <= 3:
            styles = {1: ["italic"], 2: ["bold"], 3: ["bold", "italic"]}[len(marks)]
            if all(self._emphasis.get(style) == marks for style in styles) and not before.isspace():
                if marks[0] == "*" or not after.isalnum():
                    for style in styles:
                        del self._emphasis[style]
                    self._put(marks, _MARK)
                    return
            elif not self._emphasis.keys() & set(styles) and _opens(before, after):
                self._emphasis.update(dict.fromkeys(styles, marks))
                self._put(marks, _MARK)
                return
        self._put(marks, self._style())

    def _end_of_line(self) -> None:
        self._put("\n", "")
        self._line, self._tick, self._at_start, self._before = "", 0, True, " "
        self._emphasis.clear()

    def _fenced(self, char: str) -> None:
        if char != "\n":
            self._held += char
            return
        line, self._held = self._held, ""
        self._code_line(line)
        self._put("\n", "")

    def _code_line(self, line: str) -> None:
        marks = line.strip()
        if len(marks) >= len(self._fence) and marks == self._fence[0] * len(marks):
            self._fence = ""
            self._put(line, _MARK)
        else:
            self._spans += highlight(line, self._language, self._styles["syntax"])

    def _style(self) -> str:
        if self._tick:
            return self._styles["code"]
        return " ".join(dict.fromkeys(self._styles[n] for n in (self._line, *self._emphasis) if n))

    def _put(self, text: str, style: str) -> None:
        if self._spans and self._spans[-1][1] == style:
            self._spans[-1] = (self._spans[-1][0] + text, style)
        elif text:
            self._spans.append((text, style))

    def _write(self) -> str:
        spans, self._spans = self._spans, []
        return "".join(paint(text, style) for text, style in spans)


def _opens(before: str, after: str) -> bool:
    """Whether emphasis can begin here: at the start of a word, so not in `2 * 3`, `*.txt` or `snake_case`."""
    return after.isalnum() and not before.isalnum()


def paint(text: str, style: str) -> str:
    """The text between the codes of a style; line ends stay outside, so no style runs over a line."""
    if not style:
        return text
    from rich.color import ColorSystem
    from rich.style import Style

    parsed = Style.parse(style)
    return "\n".join(
        parsed.render(part, color_system=ColorSystem.STANDARD) if part else "" for part in text.split("\n")
    )


def styled(parts: Iterable[tuple[str, str]], coloured: bool) -> str:
    """(text, style) parts, harmless, as one line."""
    return "".join(paint(safe_text(text), style if coloured else "") for text, style in parts)


_LONGEST_LINE = 2000  # lexers are regular expressions; a longer line of code is data, and may take for ever


def highlight(line: str, language: str, theme: str = "ansi_dark") -> list[tuple[str, str]]:
    """One line of code as styled spans; as it is when the language is unknown or its lexer changed the text."""
    if not line.strip() or len(line) > _LONGEST_LINE:
        return [(line, "")]
    text = _syntax(language or "text", theme).highlight(line)
    if text.plain != line + "\n":
        return [(line, "")]
    spans: list[tuple[str, str]] = []
    done = 0
    for start, end, style in text.spans:
        spans += [(line[done:start], ""), (line[start:end], str(style) if line[start:end].strip() else "")]
        done = end
    return [*spans, (line[done:], "")]


@lru_cache(maxsize=8)
def _syntax(language: str, theme: str) -> "Syntax":
    from rich.syntax import Syntax

    return Syntax("", language, theme=theme, tab_size=0)
