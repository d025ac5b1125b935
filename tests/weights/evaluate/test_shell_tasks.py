"""weights/evaluate/shell_tasks.py and retrieval.py: the right tool, the very command, and the nearest row."""

import json
from pathlib import Path

import pytest

from engine.errors import DataError
from weights.evaluate.retrieval import Bm25
from weights.evaluate.shell_tasks import (
    Task,
    exact,
    measure,
    most_frequent_tool,
    normalise,
    right_tool,
    shell_rows,
    shell_tasks,
    tool,
)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("ls -la", "ls"),
        ("sudo apt install x", "apt"),
        ("sudo -E env", "env"),
        ("LC_ALL=C sort file", "sort"),
        ("sudo A=1 B=2 make", "make"),
        ("/usr/bin/find . -name x", "find"),
        ("./configure --prefix=x", "configure"),
        ("(cd x && ls)", "cd"),
        ("X=1", ""),
        ("", ""),
    ],
)
def test_the_tool_is_the_first_word_after_sudo_and_assignments(command: str, name: str) -> None:
    assert tool(command) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tar xf path/to/archive.tar", "tar  xf backup.tar"),
        ("cp {{a}} {{b}}", "cp notes.txt /tmp/x"),
        ("ssh <user>@<host>", 'ssh "me"@"there"'),
        ("find . -name '*.log' -delete", "find . -name *.txt -delete"),
        ("grep -r 'some words' path/to/dir", 'grep -r "x" ~/src'),
        ("convert --out=path/to/x in.png", "convert --out=y.png a.png"),
        ("cd path/to/dir; ls", "cd /tmp; ls"),
    ],
)
def test_commands_that_differ_in_what_a_person_fills_in_are_the_same(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tar xf a.tar", "tar cf a.tar"),
        ("ls -l", "ls"),
        ("find . -name x.txt", "find path/to -name x.txt"),
        ("find . -mtime -1", "find . -mtime +1"),
        ("sort x.txt", "sort x.txt | uniq"),
        ("mkfs.ext4 /dev/sda", "mkfs.xfs /dev/sda"),
        ("head -n 10 f.txt", "head -n 20 f.txt"),
        ("cat a.txt > b.txt", "cat a.txt >> b.txt"),
        ("curl --out=x.html y.com", "curl --put=x.html y.com"),
    ],
)
def test_commands_that_do_other_things_are_not(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_any_of_a_tasks_commands_is_right_and_no_command_is_wrong() -> None:
    task = Task("?", ("ls -a", "ls --all"))
    assert exact(task, "ls --all") and not exact(task, "ls -l")
    assert right_tool(task, "ls -l") and not right_tool(task, "dir")
    assert not exact(Task("?", ("",)), "") and not right_tool(Task("?", ("X=1",)), "")
    tasks = [task, Task("?", ("ls",)), Task("?", ("pwd",))]
    assert measure(tasks, lambda question: "ls") == {"right_tool": pytest.approx(2 / 3), "exact": pytest.approx(1 / 3)}
    assert most_frequent_tool(tasks) == ("ls", pytest.approx(2 / 3))
    assert most_frequent_tool([]) == ("", 0)


def test_the_sample_is_fixed_and_bad_lines_are_left_out(tmp_path: Path) -> None:
    rows = [{"tool": "ls", "description": f"List files {i}", "command": f"ls {i}"} for i in range(30)]
    rows[3]["command_long"] = "ls --three"
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + "no json\n[1]\n{}\n")
    assert len(list(shell_rows(tmp_path, ["x.jsonl"]))) == 30
    assert shell_tasks(tmp_path, ["x.jsonl"], 10) == shell_tasks(tmp_path, ["x.jsonl"], 10)
    every = shell_tasks(tmp_path, ["x.jsonl"], 100)
    assert {t.commands[0] for t in every} == {r["command"] for r in rows}
    assert ("ls 3", "ls --three") in {t.commands for t in every}
    with pytest.raises(DataError, match="absent"):
        shell_tasks(tmp_path, ["absent.jsonl"], 1)


ROWS = [
    ("List all files with their sizes", "ls -l"), ("Remove a directory", "rm -r x"), ("Show all users", "who"),
    ("Show the time", "date"), ("Show the files that a user owns", "find . -user x"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "command"),
    [
        ("How do I remove directories?", "rm -r x"),
        ('what "time" is it', "date"),
        ("sizes AND (files", "ls -l"),
        ("which files does this user own", "find . -user x"),
        ("zebra", ""),
        ("?", ""),
    ],
)
def test_bm25_gives_the_command_of_the_nearest_row(question: str, command: str) -> None:
    assert Bm25(ROWS).command(question) == command
