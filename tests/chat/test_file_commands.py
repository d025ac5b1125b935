"""Files, the clipboard, the editor and presets, as commands of a conversation."""

import io
from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine
from test_commands import Streams

from chat import clipboard
from chat.clipboard import copy_text, takes_osc_52
from chat.repl.attach import with_files
from chat.repl.commands import Next, dispatch
from chat.repl.file_commands import as_markdown, edited
from chat.screen import Screen
from engine.errors import ContextOverflow, UsageError


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_read_puts_files_before_the_next_message_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("from a\n", encoding="utf-8")
    (tmp_path / "b b").write_text("from b\x1b[2J\n", encoding="utf-8")
    streams = Streams(ScriptedEngine(["x", "y"]))
    assert streams.feed(f"/read {tmp_path}/a", f"/read {tmp_path}/b b", "what?", "and?") == 0
    assert [texts[-1][1] for texts in streams.sent] == ["from a\n\nfrom b\x1b[2J\n\nwhat?", "and?"]
    assert f"{tmp_path}/a: 6 tokens" in streams.err.getvalue() and "\x1b" not in streams.err.getvalue()


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    streams = Streams(ScriptedEngine())
    for name, told in (("none", "cannot be read"), ("binary", "not UTF-8"), ("empty", "is empty")):
        with pytest.raises(UsageError, match=told):
            dispatch(streams.chat, f"/read {tmp_path / name}")
    assert streams.chat.attached == []


def test_an_at_from_a_pipe_or_in_a_paste_is_only_text(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret", encoding="utf-8")
    streams = Streams(ScriptedEngine())
    streams.feed(f"@{tmp_path}/secret")
    assert streams.sent[0][-1][1] == f"@{tmp_path}/secret"
    streams.chat.typed = True
    paste = f"one\n@{tmp_path}/secret"
    assert with_files(streams.chat, paste) == paste
    assert with_files(streams.chat, f"see @{tmp_path}/secret") == "see the secret"
    assert with_files(streams.chat, "ask @ada, me@home.org") == "ask @ada, me@home.org"


def test_a_name_with_spaces_is_taken_as_a_shell_takes_it(tmp_path: Path) -> None:
    (tmp_path / "two words").write_text("the words", encoding="utf-8")
    (tmp_path / "it's").write_text("an apostrophe", encoding="utf-8")
    streams = Streams(ScriptedEngine())
    two = tmp_path / "two words"
    for typed in (f'"{two}"', f"'{two}'", str(two), str(two).replace(" ", "\\ "), f"{tmp_path}/it's"):
        assert streams.feed(f"/read {typed}") == 0
    assert streams.chat.attached == ["the words"] * 4 + ["an apostrophe"]
    streams.feed("/read none", "hello", f'/save "{tmp_path}/my talk.md"')
    assert streams.sent[0][-1][1] == "hello" and (tmp_path / "my talk.md").is_file()
    streams.chat.typed = True
    assert with_files(streams.chat, f'see @"{two}", please') == "see the words, please"


def test_a_file_that_no_message_can_hold_is_refused_at_once_with_the_counts(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 90, encoding="utf-8")
    (tmp_path / "short").write_text("y" * 60, encoding="utf-8")
    streams = Streams(ScriptedEngine(context=80), system="S" * 5)
    with pytest.raises(ContextOverflow, match=r"long has 90 tokens.* has 101 tokens and the context 80 positions") as e:
        dispatch(streams.chat, f"/read {tmp_path}/long")
    assert "no more positions" in e.value.hint
    dispatch(streams.chat, f"/read {tmp_path}/short")
    with pytest.raises(ContextOverflow, match=r"short has 60 tokens.* has 133 tokens"):
        dispatch(streams.chat, f"/read {tmp_path}/short")
    assert streams.chat.attached == ["y" * 60]


def test_files_wait_on_when_their_message_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("y" * 60, encoding="utf-8")
    streams = Streams(ScriptedEngine(context=80))
    assert streams.feed(f"/read {tmp_path}/short", "x" * 40, "fits") == ContextOverflow.exit_code
    assert streams.sent[-1][-1][1] == "y" * 60 + "\n\nfits"
    assert streams.chat.attached == []


@pytest.mark.parametrize("line", ["/edit 1 why?", "/cmd why?", "/compare top_k=1 top_k=2 -- why?"])
def test_every_way_to_ask_takes_the_files_that_wait(line: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("its text", encoding="utf-8")
    streams = Streams(ScriptedEngine())
    streams.feed("first", f"/read {tmp_path}/file", line)
    assert streams.sent[-1][-1][1] == "its text\n\nwhy?" and streams.chat.attached == []


def test_save_writes_markdown_and_never_over_a_file(tmp_path: Path) -> None:
    streams = Streams(ScriptedEngine(["A **1**\n"]), system="S")
    file = tmp_path / "talk.md"
    with pytest.raises(UsageError, match="Nothing was said"):
        dispatch(streams.chat, f"/save {file}")
    streams.feed("one", f"/save {file}")
    assert file.read_text(encoding="utf-8") == as_markdown(streams.chat.conversation)
    assert file.read_text(encoding="utf-8") == "## System\n\nS\n\n## User\n\none\n\n## Assistant\n\nA **1**\n"
    for name, told in ((str(file), "is there already"), (str(tmp_path / "no" / "x"), "cannot be written")):
        with pytest.raises(UsageError, match=told):
            dispatch(streams.chat, f"/save {name}")


def test_copy_takes_the_answer_or_its_last_code(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []

    def keep(text: str, screen: Screen) -> str:
        copied.append(text)
        return "here"

    monkeypatch.setattr("chat.repl.file_commands.copy_text", keep)
    blocks = "Do:\n```\na\n```\nor\n```sh\nb\n```\n"
    streams = Streams(ScriptedEngine([blocks, "Use `ls -l`.", "No code."]))
    streams.feed("1", "/copy", "/copy code", "2", "/copy code", "3")
    assert copied == [blocks, "b", "ls -l"]
    for line, told in (("/copy code", "holds no code"), ("/copy all", "the word code")):
        with pytest.raises(UsageError, match=told):
            dispatch(streams.chat, line)


@pytest.mark.parametrize(
    ("environ", "takes"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "linux"}, False),
        ({}, False),
        ({"TERM": "xterm", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "xterm", "VTE_VERSION": "6003"}, False),
    ],
)
def test_osc_52_goes_only_to_terminals_that_may_take_it(environ: dict[str, str], takes: bool) -> None:
    assert takes_osc_52(Screen(Tty(), Tty(), environ={"TERM": "xterm"}), environ) is takes
    assert not takes_osc_52(Screen(io.StringIO(), io.StringIO()), environ)
    assert not takes_osc_52(Screen(Tty(), Tty(), plain=True), environ)


def test_programs_of_the_desktop_are_next_and_a_failing_one_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in (("wl-copy", 1), ("xclip", 0)):
        (tmp_path / name).write_text(f'#!/bin/sh\ncat > "{tmp_path}/{name}.got"; exit {code}\n', encoding="utf-8")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    screen = Screen(io.StringIO(), io.StringIO())
    for variable in ("WAYLAND_DISPLAY", "DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(variable, raising=False)
    wayland, x11 = (("wl-copy",), "WAYLAND_DISPLAY"), (("xclip", "-selection", "clipboard"), "DISPLAY")
    monkeypatch.setattr(clipboard, "PROGRAMS", (wayland, x11))
    with pytest.raises(UsageError, match="no way to the clipboard"):
        copy_text("x", screen)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":0")
    assert copy_text("früh\x1b", screen) == "with xclip"
    assert (tmp_path / "xclip.got").read_text(encoding="utf-8") == "früh\x1b"


def test_an_editor_that_cannot_be_started_or_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    for program, told in (("/no/such/editor", "cannot be started"), ("false", "ended with code 1"), ("'", "started")):
        monkeypatch.setenv("EDITOR", program)
        with pytest.raises(UsageError, match=told):
            edited("text")
    monkeypatch.setenv("EDITOR", "true")
    assert edited("text\nof two lines\n") == "text\nof two lines"
    with pytest.raises(UsageError, match="needs a terminal"):
        dispatch(Streams(ScriptedEngine()).chat, "/editor")


def test_a_preset_is_taken_whole_and_can_be_changed_again() -> None:
    flags: dict[str, Any] = {"temperature": "0.1"}
    streams = Streams(ScriptedEngine(), flags)
    assert dispatch(streams.chat, "/preset") is Next.PROMPT
    assert "creative: greedy = false, temperature = 1.0" in streams.err.getvalue()
    streams.feed("/preset precise", "one", "/preset creative", "two", "/set temperature default", "three")
    params = [call.params for call in streams.engine.calls]
    assert [(p.greedy, p.temperature) for p in params] == [(True, 0.1), (False, 1.0), (False, 0.1)]
    assert "(/preset creative)" in streams_shown(streams)
    with pytest.raises(UsageError, match="Did you mean precise"):
        dispatch(streams.chat, "/preset precis")


def streams_shown(streams: Streams) -> str:
    dispatch(streams.chat, "/set top_p")
    return streams.err.getvalue()
