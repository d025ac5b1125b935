"""Leaves the terminal as it was found: at the end, after an exception, and when a signal ends the program."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

# Bracketed paste off, cursor shown, colours off: what line input and answers may have left on.
RESTORE = b"\x1b[?2004l\x1b[?25h\x1b[0m"


@contextmanager
def restored(stdin: TextIO, screen_fd: int | None) -> Iterator[None]:
    """While this is open, SIGTERM and SIGHUP put the modes of the terminal back before they end the program.

    screen_fd: the terminal that escape sequences went to; None when none were sent.
    """
    if sys.platform == "win32":
        yield
        return
    import termios

    terminal = stdin.fileno()
    modes = termios.tcgetattr(terminal)

    def restore() -> None:
        try:
            termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
            if screen_fd is not None:
                os.write(screen_fd, RESTORE)
        except (OSError, termios.error):
            pass  # the terminal has gone away: there is nothing to restore

    def end(number: int, _frame: FrameType | None) -> None:
        restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        restore()
