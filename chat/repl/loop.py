"""`tfm chat`: read, dispatch or answer, until the end."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from chat import models
from chat.answer import Interrupt
from chat.grounding import Grounding
from chat.loading import load, system_prompt
from chat.repl.commands import Next, dispatch, is_command
from chat.repl.input import Reader, history_file, reader_for
from chat.repl.state import Chat
from chat.repl.terminal import restored
from chat.screen import Screen
from chat.settings import Settings
from engine.errors import TfmError

if TYPE_CHECKING:
    from engine.api import Engine

INTERRUPTED = 130


def talk(settings: Settings, *, loader: Callable[..., "Engine"] | None = None, stdin: TextIO | None = None) -> int:
    """Hold a conversation; returns the exit code."""
    stdin = stdin or sys.stdin or open("/dev/null", encoding="utf-8")  # noqa: SIM115
    screen = Screen(plain=settings["plain"])
    directory = models.resolve(settings["model"])
    system = system_prompt(settings)
    engine = load(directory, settings, screen, loader)
    grounding = Grounding(directory, engine, screen)
    grounding.check(settings)
    chat = Chat(engine, settings, screen, system, grounding)
    interactive = stdin.isatty()
    if not interactive:
        return converse(chat, reader_for(screen, stdin, history_file()), interactive=False)
    escapes = screen.person.fileno() if screen.person.isatty() and not screen.plain else None
    with restored(stdin, escapes):
        screen.tell(f"{chat.engine.info.name} ({chat.engine.info.parameters / 1e6:.1f}M). /help shows what you can do.")
        for remark in engine.remarks():
            screen.aside(remark)
        return converse(chat, reader_for(screen, stdin, history_file()), interactive=True)


def converse(chat: Chat, reader: Reader, *, interactive: bool) -> int:
    """The loop. A pipe gets the exit code of its first error; a person has read it and goes on."""
    failed = presses = 0
    with Interrupt() as interrupt:
        while True:
            interrupt.clear()
            try:
                line = reader.read()
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
        chat.conversation.ask(line.strip("\r\n") if "\n" in line.strip() else line.strip())
    if following is Next.ANSWER:
        chat.answer(interrupt)
    return following
