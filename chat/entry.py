"""`tfm` from its first moment: a Ctrl-C before the command line can answer it ends the process, and says nothing.

Python makes an exception of a Ctrl-C; while the modules of the command line are imported, and while Python ends,
nobody would catch it. There the system's own way is in force: the process ends at once, for the shell with 130.
"""

import signal
import sys


def main() -> None:
    """The entry point."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where a shell has it ignored
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from chat import cli

    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
