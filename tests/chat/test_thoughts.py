"""Thoughts of a reasoning model: dim before the answer on a terminal, folded on request, kept apart in JSON."""

import io
import json
from typing import Any

import pytest
from double import ScriptedEngine

from chat.answer import Answer, Interrupt
from chat.render import Plain
from chat.run import Request, run_once
from chat.screen import Screen
from chat.settings import gather
from engine.events import StreamEvent, TextDelta, TokenEvent


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


EVENTS: list[StreamEvent] = [
    TextDelta("", (TokenEvent(1, 0.0),), "Let me\n\x1b[2Jsee"),
    TextDelta("", (TokenEvent(2, 0.0),), "."),
    TextDelta("Yes.", (TokenEvent(3, 0.0),)),
]


def shown(out: io.StringIO, err: io.StringIO, *, folded: bool = False, environ: dict[str, str] | None = None) -> Answer:
    screen = Screen(out, err, environ={"TERM": "xterm"} if environ is None else environ)
    answer = Answer()
    answer.show(iter(EVENTS), screen, Interrupt(), Plain(), hide_thinking=folded)
    return answer


def test_a_terminal_shows_them_dim_and_harmless_before_the_answer() -> None:
    out = Terminal()
    answer = shown(out, Terminal())
    assert out.getvalue() == "\x1b[2mLet me\x1b[0m\n\x1b[2m␛[2Jsee\x1b[0m\x1b[2m.\x1b[0m\n\nYes.\n"
    assert (answer.thoughts, answer.text) == ("Let me\n\x1b[2Jsee.", "Yes.")
    assert answer.content == "<think>\nLet me\n\x1b[2Jsee.\n</think>\n\nYes."
    plain = Terminal()
    shown(plain, Terminal(), environ={"NO_COLOR": "1"})
    assert plain.getvalue() == "Let me\n␛[2Jsee.\n\nYes.\n"


def test_folded_they_are_one_line_that_says_how_long() -> None:
    out, err = Terminal(), Terminal()
    shown(out, err, folded=True)
    assert out.getvalue() == "Yes.\n" and "(thought for 2 tokens)" in err.getvalue() and "Let me" not in err.getvalue()


def test_a_pipe_gets_the_answer_and_only_the_answer() -> None:
    for folded in (False, True):
        out, err = io.StringIO(), io.StringIO()
        shown(out, err, folded=folded)
        assert (out.getvalue(), err.getvalue()) == ("Yes.\n", "")


@pytest.mark.parametrize("form", ["json", "stream_json"])
def test_json_keeps_them_apart(form: str, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    engine = ScriptedEngine(answers=["Yes."])
    stream = engine._stream

    def thoughtful(*args: Any) -> Any:
        yield TextDelta("", (), "Hm.")
        yield from stream(*args)

    engine._stream = thoughtful  # type: ignore[method-assign]
    settings = gather({"model": str(tmp_path)}, {}, tmp_path / "none.toml")
    (tmp_path / "config.json").write_text("{}")
    assert run_once(Request(["Well?"], **{form: True}), settings, loader=engine.loader, stdin=Terminal()) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (lines[-1]["thinking"], lines[-1]["text"]) == ("Hm.", "Yes.")
    if form == "stream_json":
        assert lines[0]["thinking"] == "Hm." and all("thinking" not in line for line in lines[1:-1])
