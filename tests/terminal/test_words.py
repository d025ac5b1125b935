"""What a terminal shows has whole words: answers as they stream, help, errors; and what goes into a pipe is exact."""

from pathlib import Path

import pytest
from emulator import Terminal, tfm

PROSE = (
    "Wrapping happens between words, even when an answer streams in small pieces. Wide 日本語のテキスト and emoji 👍 "
    "count as two columns, and `a command --with flags` is never broken where it can stand in one line.\n"
) * 3
CODE = "```\n" + "x = call(with_many, arguments) " * 4 + "\n```\n"


@pytest.mark.parametrize("width", [30, 47, 80])
@pytest.mark.parametrize("mode", [[], ["--plain"]])
def test_no_word_of_an_answer_is_broken_and_code_is_left_to_the_terminal(
    width: int, mode: list[str], home: Path
) -> None:
    engine = {"answers": [PROSE + CODE], "chunk": 4}
    with Terminal(home, "run", "x", *mode, "-n", "9999", engine=engine, size=(40, width)) as terminal:
        assert terminal.end() == 0
    lines = [line.rstrip() for line in terminal.lines]
    start = lines.index("```")
    shown = "\n".join(lines[:start]).replace("日 本 語", "日本語")
    for word in PROSE.split():
        if word.isascii() and "`" not in word:
            assert word in shown.split()
    assert shown.count("`a command --with flags`") == 3
    code = "".join(line.ljust(width) for line in lines[start + 1 : -1]).rstrip()
    assert code == ("x = call(with_many, arguments) " * 4).rstrip()


def test_an_answer_in_a_pipe_is_exact(home: Path) -> None:
    done = tfm(home, "run", "x", "-n", "9999", engine={"answers": [PROSE + CODE], "chunk": 4})
    assert done.stdout.decode() == PROSE + CODE


def test_help_has_its_second_column_to_itself(home: Path) -> None:
    with Terminal(home, "chat", size=(24, 70)) as terminal:
        terminal.say("/help")
        lines = terminal.lines
    start = next(n for n, line in enumerate(lines) if line.startswith("/branch"))
    column = lines[start].index("Let the next")
    end = next(n for n, line in enumerate(lines) if line.startswith("Alt-Enter"))
    for line in lines[start:end]:
        assert line[column - 1] == " " and line[column] != " "


def test_an_error_breaks_between_words(home: Path) -> None:
    with Terminal(home, "run", "x", "--overflow", "sideways", size=(24, 30)) as terminal:
        assert terminal.end() == 2
    assert len(terminal.lines) > 1
    assert " ".join(terminal.lines).startswith("tfm: --overflow must be one of error, drop-oldest, shift")


def test_a_question_that_the_terminal_wraps_does_not_look_like_two_lines(home: Path) -> None:
    question = "a question that is longer than this terminal is wide"
    with Terminal(home, "chat", size=(24, 30)) as terminal:
        terminal.say(question)
        lines = terminal.lines
    start = next(n for n, line in enumerate(lines) if line.startswith("> a question"))
    assert lines[start + 1].startswith("  ")
    assert (lines[start][2:].ljust(28) + lines[start + 1][2:].rstrip()).rstrip() == question
