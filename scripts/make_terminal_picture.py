"""A picture of a real session, for the README: docs/images/terminal.svg.

python scripts/make_terminal_picture.py [FILE]    needs tmux and the shipped model; nothing of it is kept as history

A terminal (tmux, with a server and a home of its own) runs `tfm chat`; the lines below are typed into it, each when the
prompt is back. What then stands on the screen, with its colours, is drawn by Rich. What is drawn is what
tmux captured, and nothing else.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images" / "terminal.svg"
COMMAND = ("chat", "--seed", "1", "--no-history")
TYPED = (
    "hello, my name is Zofia",
    "how do I extract a tar.gz file?",
    "/edit 2 how do I list the contents of a tar.gz file?",
    "/branch 1",
    "what is my name?",
    "/tree",
    "/cmd delete the folder build",
)
COLUMNS, ROWS = 92, 60
PATIENCE = 120.0  # seconds for an answer, on however busy a machine
DARK = TerminalTheme(
    (24, 26, 31), (220, 223, 228),
    [(24, 26, 31), (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221), (86, 182, 194),
     (220, 223, 228)],
    [(92, 99, 112), (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221), (86, 182, 194),
     (255, 255, 255)],
)  # fmt: skip
# Rich's own form would fetch a font from elsewhere; this one takes what the reader has.
FORM = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 16px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


class Pane:
    """`tfm` in a terminal of its own."""

    def __init__(self, home: Path) -> None:
        self._tmux = ["tmux", "-S", str(home / "socket"), "-f", "/dev/null"]
        kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
        self._env = {**kept, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        program = shutil.which("tfm", path=str(Path(sys.executable).parent)) or "tfm"
        self._do("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(ROOT), program, *COMMAND)

    def _do(self, *command: str) -> str:
        done = subprocess.run([*self._tmux, *command], env=self._env, capture_output=True, text=True, check=True)
        return done.stdout

    def screen(self, *flags: str) -> list[str]:
        """The lines that are to be seen, to the last one that is not empty."""
        return self._do("capture-pane", "-p", *flags).rstrip().split("\n")

    def ready(self) -> None:
        """Wait until an empty prompt stands above the line with the status, and nothing changes any more."""
        end, before = time.monotonic() + PATIENCE, [""]
        while (now := self.screen()) != before or len(now) < 2 or now[-2].rstrip() != ">":
            if time.monotonic() > end:
                raise SystemExit("The prompt never came back:\n" + "\n".join(now))
            before = now
            time.sleep(0.5)

    def say(self, line: str) -> None:
        """Type a line and wait for the prompt."""
        self.ready()
        before = self.screen()
        self._do("send-keys", "-l", line)
        self._do("send-keys", "Enter")
        while self.screen() == before:
            time.sleep(0.1)
        self.ready()

    def close(self) -> None:
        """End the terminal and what runs in it."""
        self._do("kill-server")


def drawn(lines: list[str]) -> str:
    """Lines with escape sequences as a picture (SVG)."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    title = "tfm " + " ".join(COMMAND)
    svg = console.export_svg(title=title, theme=DARK, code_format=FORM, unique_id="tfm", font_aspect_ratio=0.602)
    return "".join(line.rstrip() + "\n" for line in svg.splitlines())


def main() -> None:
    """Hold the conversation, and write its picture."""
    with tempfile.TemporaryDirectory() as home:
        pane = Pane(Path(home))
        try:
            for line in TYPED:
                pane.say(line)
            lines = pane.screen("-e")
        finally:
            pane.close()
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(drawn(lines), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
