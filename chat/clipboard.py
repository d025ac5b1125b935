"""To the clipboard: by the terminal itself (OSC 52), which works over ssh too, or by a program of the desktop."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from chat.screen import Screen
from engine.errors import UsageError

MOST_OSC_52 = 74_000  # bytes of base64: what common terminals take at most
# (program, the variable without which it has nobody to talk to)
PROGRAMS = (
    (("pbcopy",), ""),
    (("wl-copy",), "WAYLAND_DISPLAY"),
    (("xclip", "-selection", "clipboard"), "DISPLAY"),
    (("xsel", "--clipboard", "--input"), "DISPLAY"),
    (("clip.exe",), "WSL_DISTRO_NAME"),
)
SECONDS = 5.0  # a program that takes longer has no display to give the text to


def copy_text(text: str, screen: Screen) -> str:
    """Put a text on the clipboard; returns by what. Raises UsageError when there is no way."""
    data = base64.b64encode(text.encode("utf-8", "replace"))
    if takes_osc_52(screen, os.environ) and len(data) <= MOST_OSC_52:
        screen.person.write(f"\x1b]52;c;{data.decode()}\x07")
        screen.person.flush()
        return "by your terminal (OSC 52), if it allows that"
    for command, variable in PROGRAMS:
        if shutil.which(command[0]) and (not variable or os.environ.get(variable)):
            try:
                subprocess.run(
                    command, input=text.encode("utf-8", "replace"), check=True, timeout=SECONDS,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError):
                continue
            return f"with {command[0]}"
    raise UsageError(
        "There is no way to the clipboard here.",
        "It needs a terminal with OSC 52, pbcopy, wl-copy or xclip; /save FILE writes to a file.",
    )


def takes_osc_52(screen: Screen, environ: Mapping[str, str]) -> bool:
    """Whether the terminal may understand OSC 52. It cannot be asked; these are known not to, or see no escapes."""
    if screen.plain or not screen.person.isatty() or sys.platform == "win32":
        return False
    refuses = environ.get("TERM_PROGRAM") == "Apple_Terminal" or "VTE_VERSION" in environ
    return not refuses and environ.get("TERM", "linux") != "linux"
