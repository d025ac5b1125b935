"""What a question is grounded in, as a person sees it: shown, stored with its turn, turned off."""

import io
import json
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine

from chat import models
from chat.grounding import NO_ROOM, Found, Grounding
from chat.repl.input import Lines
from chat.repl.loop import converse
from chat.repl.state import Chat
from chat.run import Request, run_once
from chat.screen import Screen
from chat.settings import gather
from engine.errors import ContextOverflow, ModelError, UsageError
from engine.lookup import FILE
from engine.template import PLAIN
from weights.data.examples import Row, write

ROWS = (
    Row("List files", "ls", "ls", "tfm", ("list files", "show the files here")),
    Row(
        "Extract an archive", "tar xzf archive.tar.gz", "tar", "tldr-pages", ("extract an archive", "unpack an archive")
    ),
    Row("List an archive", "tar tzf archive.tar.gz", "tar", "tldr-pages", ("list the contents of an archive",)),
)
CUES = {"": -100, "how": 50, "extract": 200, "archive": 200, "list": 200, "files": 200, "you": -300, "hello": -300}
SHELL, TALK = "how do I extract an archive?", "hello, who are you"
CONTEXT = "- Extract an archive: `tar xzf archive.tar.gz`\n- List an archive: `tar tzf archive.tar.gz`"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model directory with examples."""
    directory = tmp_path / "model"
    directory.mkdir()
    write(directory / FILE, ROWS, [100] * len(ROWS), CUES)
    monkeypatch.setattr(models, "resolve", lambda name: directory)
    return directory


def run(engine: ScriptedEngine, request: Request, **flags: Any) -> int:
    stdin = io.TextIOWrapper(io.BytesIO())
    return run_once(request, gather(flags, {}), loader=engine.loader, stdin=stdin)


class Streams:
    """A chat with both its streams in memory."""

    def __init__(self, model: Path, engine: ScriptedEngine | None = None, **flags: Any) -> None:
        self.engine = engine or ScriptedEngine()
        screen = Screen(io.StringIO(), io.StringIO())
        self.err = screen.err
        grounding = Grounding(model, self.engine, screen)  # type: ignore[arg-type]
        self.chat = Chat(self.engine, gather(flags, {}), screen, "", grounding)  # type: ignore[arg-type]

    def feed(self, *lines: str) -> str:
        """Hold the conversation over these lines; what was told meanwhile."""
        before = len(self.err.getvalue())  # type: ignore[attr-defined]
        stdin = io.TextIOWrapper(io.BytesIO("".join(line + "\n" for line in lines).encode()))
        converse(self.chat, Lines(stdin), interactive=False)
        return str(self.err.getvalue()[before:])  # type: ignore[attr-defined]


def test_a_question_at_the_shell_is_sent_after_its_examples(model: Path) -> None:
    engine = ScriptedEngine()
    run(engine, Request([SHELL]), system="be brief")
    assert engine.calls[0].texts == [("system", "be brief"), ("context", CONTEXT), ("user", SHELL)]


@pytest.mark.parametrize("flags", [{}, {"ground": False}])
def test_other_talk_and_no_ground_send_the_question_alone(model: Path, flags: dict[str, Any]) -> None:
    engine = ScriptedEngine()
    run(engine, Request([SHELL if flags else TALK]), **flags)
    assert engine.calls[0].texts == [("user", SHELL if flags else TALK)]


def test_grounding_is_turned_off_in_the_environment_too(model: Path) -> None:
    engine = ScriptedEngine()
    stdin = io.TextIOWrapper(io.BytesIO())
    run_once(Request([SHELL]), gather({}, {"TFM_GROUND": "off"}), loader=engine.loader, stdin=stdin)
    assert engine.calls[0].texts == [("user", SHELL)]


def test_a_raw_prompt_is_never_grounded(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = ScriptedEngine()
    run(engine, Request([SHELL], raw=True, json=True), show_sources=True)
    shown = capsys.readouterr()
    assert engine.calls[0].prompt == SHELL
    assert json.loads(shown.out)["examples"] == []
    assert shown.err == "Nothing was looked up: a raw prompt is continued as it is.\n"
    with pytest.raises(UsageError, match="--ground has no place in --raw"):
        run(engine, Request([SHELL], raw=True), ground=True)


def test_show_sources_tells_on_stderr_what_was_looked_up(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ScriptedEngine(["It is tar."]), Request([SHELL]), show_sources=True)
    shown = capsys.readouterr()
    assert shown.out == "It is tar.\n"
    assert shown.err.splitlines()[0] == "- Extract an archive: `tar xzf archive.tar.gz` (tldr-pages)"
    run(ScriptedEngine(["I am."]), Request([TALK]), show_sources=True)
    assert capsys.readouterr().err == "Nothing was looked up: it is not a question at the shell.\n"


@pytest.mark.parametrize("form", ["json", "stream_json"])
def test_json_holds_the_examples(form: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ScriptedEngine(), Request([SHELL], **{form: True}))
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["examples"][0] == {
        "description": "Extract an archive", "command": "tar xzf archive.tar.gz", "tool": "tar", "source": "tldr-pages",
    }  # fmt: skip
    run(ScriptedEngine(), Request([TALK], **{form: True}))
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["examples"] == []


def test_without_room_the_prompt_goes_alone_and_it_is_told(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = ScriptedEngine(context=len(SHELL) + 20)
    assert run(engine, Request([SHELL]), context="1000") == 0
    assert engine.calls[0].texts == [("user", SHELL)]
    assert capsys.readouterr().err == f"Nothing was looked up: {NO_ROOM}.\n"
    with pytest.raises(ContextOverflow):
        run(ScriptedEngine(context=5), Request([SHELL]))


def test_a_model_without_examples_answers_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "resolve", lambda name: tmp_path)
    engine = ScriptedEngine()
    assert run(engine, Request([SHELL])) == 0
    assert engine.calls[0].texts == [("user", SHELL)]
    with pytest.raises(ModelError, match="--ground can do nothing here: the model has no examples"):
        run(engine, Request([SHELL]), ground=True)


def test_a_template_without_a_place_for_them_gets_no_examples(model: Path) -> None:
    engine = ScriptedEngine()
    engine.template = PLAIN
    run(engine, Request([SHELL]))
    assert engine.calls[0].texts == [("user", SHELL)]


def test_examples_that_cannot_be_read_are_told_once_and_the_model_answers(model: Path) -> None:
    (model / FILE).write_bytes(b"damaged" * 1000)
    streams = Streams(model)
    told = streams.feed(SHELL, SHELL, "/sources")
    assert told.count("cannot be read") == 2 and told.count("The answers go without examples") == 1
    assert told.splitlines()[-1] == "Nothing was looked up: the model's examples cannot be read."
    assert streams.engine.calls[0].texts == [("user", SHELL)]
    assert Streams(model, ground=False).feed(SHELL) == ""


def test_the_context_stays_with_its_turn_and_is_no_text_of_the_user(model: Path) -> None:
    streams = Streams(model)
    streams.feed(SHELL, TALK, SHELL)
    assert [r for r, _ in streams.engine.calls[-1].texts] == [
        "context", "user", "assistant", "user", "assistant", "context", "user",
    ]  # fmt: skip
    ids = [streams.engine.prompt_ids(call.prompt) for call in streams.engine.calls]
    for before, after in pairwise(ids):
        assert after[: len(before)] == before  # the cached prefix stays valid
    assert [turn.prompt for turn in streams.chat.conversation.path()] == [SHELL, TALK, SHELL]


def test_sources_shows_what_the_last_question_looked_up_and_whose_it_is(model: Path) -> None:
    streams = Streams(model)
    assert streams.feed("/sources") == "Nothing was looked up: no question was asked.\n"
    told = streams.feed(SHELL, "/sources").splitlines()
    assert told[0] == "- Extract an archive: `tar xzf archive.tar.gz` (tldr-pages)"
    assert told[-1].startswith("tldr-pages: CC BY 4.0, tldr-pages team")
    assert streams.feed(TALK, "/sources") == "Nothing was looked up: it is not a question at the shell.\n"
    assert streams.feed("/undo", "/sources").splitlines()[1:] == told
    assert streams.feed("how do I extract a glacier from Zanzibar", "/sources").endswith("no example is near.\n")


def test_set_ground_off_holds_from_the_next_answer_on_and_for_another_answer(model: Path) -> None:
    streams = Streams(model)
    streams.feed(SHELL, "/set ground off", "/regen")
    assert [r for r, _ in streams.engine.calls[-1].texts] == ["user"]
    assert streams.feed("/sources") == "Nothing was looked up: grounding is off.\n"
    streams.feed("/set ground on", "/regen")
    assert [r for r, _ in streams.engine.calls[-1].texts] == ["context", "user"]


def test_set_ground_on_is_refused_where_there_is_nothing(tmp_path: Path) -> None:
    assert "the model has no examples" in Streams(tmp_path).feed("/set ground on")
    assert "ground = false" in Streams(tmp_path).feed("/set ground off")


def test_show_sources_tells_after_each_answer_of_a_chat(model: Path) -> None:
    told = Streams(model, show_sources=True).feed(SHELL, TALK)
    assert told.splitlines()[0].startswith("- Extract an archive")
    assert told.splitlines()[-1] == "Nothing was looked up: it is not a question at the shell."


def test_undo_clear_context_and_show_work_on_grounded_turns(model: Path) -> None:
    streams = Streams(model)
    assert "Took back: how do I" in streams.feed(SHELL, "/undo")
    assert streams.chat.conversation.messages() == []
    told = streams.feed(SHELL, "/context", "/show")
    assert f"{len(streams.engine.prompt_ids(streams.chat.conversation.messages()))} of" in told
    assert "Forgot 2 turns." in streams.feed("/clear")


def test_a_chat_without_room_for_examples_sends_the_prompt_alone_and_says_so(model: Path) -> None:
    streams = Streams(model, ScriptedEngine(context=len(SHELL) + 20))
    assert streams.feed(SHELL) == f"Nothing was looked up: {NO_ROOM}.\n"
    assert streams.engine.calls[0].texts == [("user", SHELL)]


def test_an_answer_that_comes_back_comes_back_with_what_it_was_given(model: Path) -> None:
    streams = Streams(model)
    streams.feed(SHELL)
    [turn] = streams.chat.conversation.path()
    given, answer = turn.found, turn.answer
    streams.chat.conversation.regenerate()
    streams.chat.conversation.path()[0].found = Found(why="grounding is off")
    streams.chat.conversation.abandon()
    assert streams.chat.conversation.path() == [turn] and (turn.found, turn.answer) == (given, answer)


def test_names_in_a_strange_database_do_not_drive_the_terminal(model: Path) -> None:
    with sqlite3.connect(model / FILE) as db:
        db.execute("UPDATE examples SET description = 'x\x1b[2Jy', source = '\x1b]0;z\x07'")
    db.close()
    assert "\x1b" not in Streams(model, show_sources=True).feed(SHELL, "/sources")
