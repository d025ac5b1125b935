"""The one command in an answer: which it is, and when it is none; `tfm run --command`, /cmd and /run."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine
from test_commands import Streams
from test_run import run

from chat import models
from chat.repl.commands import dispatch
from chat.run import Request
from chat.screen import Screen
from chat.shell_command import command_in_answer, example_behind, run_command
from engine.errors import UsageError
from engine.lookup import Example


@pytest.fixture(autouse=True)
def any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "resolve", Path)


FFMPEG = Example("Turns a video into sound", "ffmpeg -i in.mp4 out.mp3", "ffmpeg", "tfm")
ANSWERS = {
    "`ls -l`\nLists the files.": "ls -l",
    "Use `tar`: `tar xzf a.tgz` does it.": "tar xzf a.tgz",
    "The flag `-r` of `rm` deletes folders.": "rm",
    "Try:\n\n```sh\n$ cd /tmp\n$ ls\n```\nor `pwd`": "cd /tmp\nls",
    "~~~\nls -l\n~~~": "ls -l",
    "```\n\n```\n`ls`": "ls",
    "`` echo `date` ``": "echo `date`",
    "`$ ls -l`": "ls -l",
    "$ ls -l\nLists.": "ls -l",
    "ls -l /tmp": "ls -l /tmp",
    "cd ..": "cd ..",
    "sudo ls -l": "sudo ls -l",
    "ffmpeg -i a.mp4 b.mp3": "ffmpeg -i a.mp4 b.mp3",
    "\n\nls -l": "ls -l",
    "I do not know.": "",
    "find out for yourself.": "",
    "frobnicate -x": "",
    "Hello": "",
    "": "",
    "Press `-h`": "",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_command_is_found_by_the_rule(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/bin/" + name if name in ("ls", "find") else None)
    assert command_in_answer(answer, [FFMPEG]) == ANSWERS[answer]


def test_the_example_behind_a_command_is_the_nearest_of_its_tool() -> None:
    examples = [Example("", c, c.split()[0], "tfm") for c in ("ls -a", "find / -name x", "find . -size +5G")]
    assert example_behind("find . -size +100M", examples) is examples[2]
    assert example_behind("du -sh", examples) is None


def test_run_command_writes_the_command_alone_and_marks_it_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ScriptedEngine(["`rm -r x`\nDeletes x."]), Request(["delete x"], command=True)) == 0
    assert capsys.readouterr() == ("rm -r x\n", "! rm deletes folders and everything in them, for good.\n")


def test_an_answer_without_a_command_is_told_and_nothing_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"holds no command: I am tfm\."):
        run(ScriptedEngine(["I am\ntfm."]), Request(["who"], command=True))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("answer", ["ls -l /very/long", "```\nrm -r /tmp/x\n```"])
def test_a_command_that_may_be_cut_is_none(answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"holds no command: .*8-token limit"):
        run(ScriptedEngine([answer]), Request(["x"], command=True), {"max_new_tokens": "8"})
    assert capsys.readouterr().out == ""


def test_a_prefill_is_part_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    run(ScriptedEngine([" -l`"]), Request(["x"], command=True, prefill="`ls"))
    assert capsys.readouterr().out == "ls -l\n"


def test_json_holds_the_command_and_its_dangers(capsys: pytest.CaptureFixture[str]) -> None:
    run(ScriptedEngine(["`rm x`"]), Request(["x"], command=True, json=True))
    record = json.loads(capsys.readouterr().out)
    assert (record["command"], record["dangers"]) == ("rm x", ["rm deletes files for good."])
    run(ScriptedEngine(["Hello"]), Request(["x"], command=True, json=True))
    assert json.loads(capsys.readouterr().out)["command"] is None


def test_command_has_no_place_in_raw() -> None:
    with pytest.raises(UsageError, match="--command has no place in --raw"):
        run(ScriptedEngine(), Request(["x"], command=True, raw=True))


def test_a_command_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run(ScriptedEngine(["`ls \x1b[2J`"]), Request(["x"], command=True))
    assert capsys.readouterr().out == "ls ␛[2J\n"


def test_cmd_shows_the_command_alone_or_the_answer_and_keeps_it_all() -> None:
    streams = Streams(ScriptedEngine(["Use `ls -l`.", "No idea.", "Use `pwd`."]))
    assert streams.feed("/cmd list files", "/cmd who are you", "and the folder?", "/cmd") == 2
    assert streams.out.getvalue() == "ls -l\nNo idea.\nUse `pwd`.\n"
    assert "There is no command in it." in streams.err.getvalue()
    assert streams.sent[2][:2] == [("user", "list files"), ("assistant", "Use `ls -l`.")]


def test_run_refuses_where_nobody_can_be_asked() -> None:
    streams = Streams(ScriptedEngine(["`touch made`"]))
    assert streams.feed("/cmd x", "/run") == 2
    assert "Nothing is run where nobody can be asked" in streams.err.getvalue()
    assert not os.path.exists("made")


@pytest.mark.parametrize(("answer", "told"), [("Hello", "holds no command"), (None, "no answer yet")])
def test_run_needs_a_command(answer: str | None, told: str) -> None:
    streams = Streams(ScriptedEngine([answer] if answer else []))
    streams.feed(*(["x"] if answer else []))
    with pytest.raises(UsageError, match=told):
        dispatch(streams.chat, "/run")


def test_run_refuses_an_answer_that_was_cut() -> None:
    streams = Streams(ScriptedEngine(["`ls` and so on"]), {"max_new_tokens": "4"})
    streams.feed("x")
    with pytest.raises(UsageError, match="not complete"):
        dispatch(streams.chat, "/run")


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("command", ["ls \x1b[2J", "ls \u202etxt.exe", "ls\tx", "ls\r"])
def test_what_cannot_be_seen_is_never_run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream: Any = Terminal()
    monkeypatch.setattr("sys.stdin", stream)
    with pytest.raises(UsageError, match="cannot be seen"):
        run_command(command, Screen(stream, stream))
    assert stream.written == ""
