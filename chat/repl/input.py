"""One message at a time: from prompt-toolkit on a terminal, from plain lines in plain mode, from a pipe."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from chat.render import safe_text
from chat.repl.completion import completions
from chat.screen import Screen
from engine.errors import UsageError

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT = "> "
CONTINUATION = ". "
FENCE = '"""'


class Reader(Protocol):
    """Where messages come from. shows_drafts: whether a line can begin with a text that is there to be changed."""

    shows_drafts: bool

    def read(self, draft: str = "") -> str:
        """The next message. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C at an empty prompt."""
        ...


def is_open(text: str) -> bool:
    """Whether a message began with a fence that is not closed yet."""
    start = text.lstrip()
    return start.startswith(FENCE) and not start[len(FENCE) :].rstrip().endswith(FENCE)


def unfenced(text: str) -> str:
    """A message without the fence around it. It begins with a line end: so it is text, even if it looks like a
    command."""
    inner = text.strip()
    if not inner.startswith(FENCE):
        return text
    inner = inner.removeprefix(FENCE)
    return "\n" + (inner if is_open(text) else inner.removesuffix(FENCE)).strip("\r\n")


class Lines:
    """Messages from plain lines: a pipe, or a terminal that shall see no escape sequences."""

    shows_drafts = False

    def __init__(self, stdin: TextIO, ask: Callable[[str], None] = lambda prompt: None) -> None:
        self._stdin = stdin
        self._ask = ask

    def read(self, draft: str = "") -> str:
        """The next line, or all lines between fences."""
        text = self._line(PROMPT)
        while is_open(text):
            try:
                text += "\n" + self._line(CONTINUATION)
            except EOFError:
                break  # what was written is a message, even though nobody closed it
        return unfenced(text)

    def _line(self, prompt: str) -> str:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # before a person can see the prompt
        try:
            self._ask(prompt)
            line = self._stdin.buffer.readline()
        finally:
            signal.signal(signal.SIGINT, before)
        if not line:
            raise EOFError
        try:
            return line.decode().rstrip("\r\n")
        except UnicodeDecodeError as e:
            raise UsageError(f"A line is not UTF-8 text: byte {e.start} cannot be read.") from e


class Prompt:
    """Messages from prompt-toolkit: editing, history, completion; a paste is one message.

    status: what the line below the input says.
    """

    shows_drafts = True

    def __init__(self, screen: Screen, history: Path | None, status: Callable[[], str] = str) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.filters import Condition, is_done
        from prompt_toolkit.layout import ConditionalContainer, FormattedTextControl, HSplit, Window
        from prompt_toolkit.output import ColorDepth, create_output
        from prompt_toolkit.output.vt100 import Vt100_Output

        output = create_output(screen.person)
        if isinstance(output, Vt100_Output):
            output.enable_cpr = False  # asks where the cursor is; terminals that do not answer get a warning
        self._session: PromptSession[str] = PromptSession(
            history=_history(history, screen),
            completer=_completer(),
            complete_while_typing=False,
            key_bindings=_bindings(),
            prompt_continuation=_continuation,
            output=output,
            color_depth=None if screen.coloured else ColorDepth.DEPTH_1_BIT,
            enable_open_in_editor=True,  # Ctrl-X Ctrl-E
            tempfile_suffix=".md",
        )
        self._screen, self._status, self._below = screen, status, ""
        whole = self._session.layout.container
        assert isinstance(whole, HSplit), "a session is a column of windows"
        # prompt-toolkit's own line for this waits until the terminal has told where its cursor is.
        text = FormattedTextControl(lambda: self._below, style="dim" if screen.coloured else "")
        shown = Condition(lambda: bool(self._below)) & ~is_done
        whole.children.append(ConditionalContainer(Window(text, height=1, dont_extend_height=True), shown))

    def read(self, draft: str = "") -> str:
        """The next message, as it was edited. Raises UsageError for keys that were no UTF-8."""
        self._below = safe_text(self._status())[: self._screen.width - 1]
        text = self._session.prompt(PROMPT, default=draft)
        if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError("What was typed is not UTF-8 text.", "The terminal must be set to UTF-8.")
        return unfenced(text)


def reader_for(screen: Screen, stdin: TextIO, history: Path | None, status: Callable[[], str] = str) -> Reader:
    """The best reader that the streams allow. status: what a line below the input says, where there can be one."""
    if not stdin.isatty():
        return Lines(stdin)
    if screen.plain or not screen.person.isatty():
        return Lines(stdin, screen.ask)
    return Prompt(screen, history, status)


def history_file() -> Path:
    """Where the lines that were typed are kept."""
    from platformdirs import user_state_path

    return user_state_path("tfm") / "history"


def _continuation(width: int, line: int, wrapped: int) -> str:
    """What stands before a further line of a message; a line that the terminal wrapped is no further one."""
    return " " * len(CONTINUATION) if wrapped else CONTINUATION


def _history(path: Path | None, screen: Screen) -> "History":
    """The file of typed lines, readable by its owner alone; in memory without one, or when it cannot be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
        path.chmod(0o600)
    except OSError as e:
        screen.report(f"What you type is not kept: {path} cannot be written ({e.strerror}).")
        return InMemoryHistory()
    return FileHistory(str(path))


def _completer() -> "Completer":
    from prompt_toolkit.completion import Completer, Completion

    class Commands(Completer):
        def get_completions(self, document: "Document", complete_event: "CompleteEvent") -> "Iterator[Completion]":
            text = document.text_before_cursor
            for found in completions(text):
                shown, meaning = safe_text(found.shown), safe_text(found.meaning)
                yield Completion(found.text, start_position=-found.replaces, display=shown, display_meta=meaning)

    return Commands()


def _bindings() -> "KeyBindings":
    """Alt-Enter begins a new line, and so does Enter within a fence; Ctrl-C empties the line before it leaves."""
    from prompt_toolkit.application import get_app
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("escape", "enter")
    @keys.add("enter", filter=Condition(lambda: is_open(get_app().current_buffer.text)))
    def _(event: "KeyPressEvent") -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: "KeyPressEvent") -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return keys
