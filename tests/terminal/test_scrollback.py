"""What a person finds when scrolling back: the answer, once, whatever the width."""

import re
import unicodedata
from pathlib import Path

import pytest
from emulator import Terminal

WIDE = "日本語のテキスト、한국어, 中文 and e\u0301 accents, naïve café, 👍 emoji, مرحبا שלום. "
LINES = [f"{n}. {WIDE}line {n} ends" for n in range(1, 60)]
ANSWER = "# Title\n\n" + "\n".join(LINES) + "\n\n```python\nprint('日本語')  # 👍\n```\nThe end.\n"


def squeezed(text: str) -> str:
    """Without spaces and line ends: the terminal breaks lines where it must, and pads wide characters. Composed: pyte
    keeps one character in a cell."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFC", text))


@pytest.mark.parametrize("width", [20, 21, 37, 80, 133, 200])
@pytest.mark.parametrize("mode", ["--stats", "--plain"])
def test_each_line_is_there_once_and_whole(width: int, mode: str, home: Path) -> None:
    engine = {"answers": [ANSWER], "chunk": 7}
    with Terminal(home, "run", "x", mode, "-n", "100000", engine=engine, size=(12, width)) as terminal:
        assert terminal.end() == 0
    seen = squeezed("".join(terminal.lines))
    assert seen.count(squeezed(ANSWER)) == 1
    assert seen.count("Title") == 1


def test_an_answer_longer_than_the_screen_is_written_once_in_a_conversation(home: Path) -> None:
    with Terminal(home, "chat", "-n", "100000", engine={"answers": [ANSWER, ANSWER], "chunk": 50}) as terminal:
        terminal.say("one")
        terminal.process.setwinsize(30, 100)  # pyte forgets what a narrower screen cuts off
        terminal.screen.resize(30, 100)
        terminal.say("two")
    seen = squeezed("".join(terminal.lines))
    for n in (1, 30, 59):
        assert seen.count(squeezed(f"line {n} ends")) == 2


@pytest.mark.parametrize("mode", [[], ["--plain"]])
def test_no_cursor_movement_is_sent_while_an_answer_is_written(mode: list[str], home: Path) -> None:
    with Terminal(home, "run", "x", *mode, "-n", "100000", engine={"answers": [ANSWER], "chunk": 3}) as terminal:
        terminal.end()
    answer = terminal.raw.split(b"\x1b[K")[-1]  # what comes after the line that said "loading" was erased
    assert set(re.findall(b"\x1b.[0-9;]*(.)", answer)) == (set() if mode else {b"m"})
