"""`tfm chat`: read, dispatch or answer, until the end."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from chat.answer import Interrupt
from chat.grounding import Grounding
from chat.loading import answering, place_of, system_prompt
from chat.repl.attach import with_files
from chat.repl.commands import Next, dispatch, is_command
from chat.repl.compare import carry_out
from chat.repl.input import Reader, history_file, reader_for
from chat.repl.state import Chat
from chat.repl.status import status_line
from chat.repl.terminal import restored, unechoed
from chat.screen import Screen
from chat.sessions.provenance import Source
from chat.sessions.resume import Opened, conversation_of, open_session
from chat.settings import Settings
from engine.errors import TfmError

if TYPE_CHECKING:
    from engine.api import Engine

INTERRUPTED = 130


def talk(
    settings: Settings, *, loader: Callable[..., "Engine"] | None = None, stdin: TextIO | None = None,
    session: str | None = None, last: bool = False,
) -> int:  # fmt: skip
    """Hold a conversation; returns the exit code. session, last: the one to go on with, by its id or as the last."""
    stdin = stdin or sys.stdin or open("/dev/null", encoding="utf-8")  # noqa: SIM115
    screen = Screen.of(settings)
    system = system_prompt(settings)
    opened = open_session(settings, screen.report, session, last, to_person=stdin.isatty())
    settings = opened.settings
    directory = place_of(settings)
    engine, settings = answering(directory, settings, screen, loader)
    grounding = Grounding(directory, engine, screen)
    grounding.check(settings)
    source = Source(engine, directory)
    chat = Chat(engine, settings, screen, conversation_of(opened, system, source), grounding, opened.keeper, source)
    try:
        return _hold(chat, opened, stdin)
    finally:
        chat.keeper.close()


def _hold(chat: Chat, opened: Opened, stdin: TextIO) -> int:
    """The conversation with a person, or with what stands on stdin."""
    screen = chat.screen
    if not stdin.isatty():
        return converse(chat, reader_for(screen, stdin, history_file()), interactive=False)
    escapes = screen.person.fileno() if screen.person.isatty() and not screen.plain else None
    with restored(stdin, escapes):
        info = chat.engine.info
        what = f"({info.parameters / 1e6:.1f}M)" if info.parameters else f"at {info.path}"
        screen.tell(f"{info.name} {what}. /help shows what you can do.")
        for line in opened.remarks():
            screen.tell(line)
        for remark in chat.engine.remarks():
            screen.aside(remark)
        typed = history_file() if chat.settings["history"] else None
        reader = reader_for(screen, stdin, typed, lambda: status_line(chat))
        return converse(chat, reader, interactive=True)


def converse(chat: Chat, reader: Reader, *, interactive: bool) -> int:
    """The loop. A pipe gets the exit code of its first error; a person has read it and goes on."""
    failed = presses = 0
    chat.shows_drafts, chat.typed = reader.shows_drafts, interactive
    with Interrupt() as interrupt:
        while True:
            interrupt.clear()
            chat.settle()
            try:
                draft, chat.draft = chat.draft, ""
                line = reader.read(draft)
                presses = 0
                if _take(chat, line, interrupt) is Next.QUIT:
                    return failed
            except EOFError:
                if interactive:
                    chat.screen.tell("")
                return failed
            except KeyboardInterrupt:
                presses += 1
                if not interactive:
                    return INTERRUPTED
                if presses == 2:
                    return 0
                chat.screen.tell("Ctrl-C again, or Ctrl-D, leaves.")
            except TfmError as e:
                chat.screen.report(f"tfm: {e}")
                failed = failed or (0 if interactive else e.exit_code)
            if interrupt() and not interactive:
                return INTERRUPTED


def _take(chat: Chat, line: str, interrupt: Interrupt) -> Next:
    """One message or command."""
    if not line.strip():
        return Next.PROMPT
    following = Next.ANSWER
    if is_command(line):
        following = dispatch(chat, line)
    else:
        chat.conversation.ask(with_files(chat, line))
    with unechoed(sys.stdin if chat.shows_drafts else None):  # --plain could not show them later
        if following is Next.ANSWER:
            chat.answer(interrupt)
        elif following is Next.CONTINUE:
            chat.go_on(interrupt)
        elif following is Next.COMPARE:
            carry_out(chat, interrupt)
    return following
