"""The modes of the terminal: left as they were found, whatever ends the program; and no echo while an answer comes."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # in the background, tcsetattr would else stop us
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


@contextmanager
def unechoed(stdin: TextIO | None) -> Iterator[None]:
    """While this is open, keys are not shown: they would stand in the middle of an answer. They wait for the next
    prompt, and Ctrl-C is still Ctrl-C."""
    if sys.platform == "win32" or stdin is None or not stdin.isatty():
        yield
        return
    import termios

    terminal = stdin.fileno()
    modes = termios.tcgetattr(terminal)
    quiet = [*modes[:3], modes[3] & ~(termios.ECHO | termios.ECHONL), *modes[4:]]
    with suppress(OSError, termios.error):
        termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        with suppress(OSError, termios.error):  # the terminal may have gone away
            termios.tcsetattr(terminal, termios.TCSANOW, modes)
