"""chat/summarize.py: what is wrong with a command line is found before a model is loaded."""

import io
import sys

import pytest

from chat.cli import run_app


def test_no_model_ships_and_one_sentence_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["summarize", "a text"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "No model that sums up is shipped. Give one with -m" in err


def test_a_model_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["summarize", "-m", "/no/such/dir", "a text"]) == 3
    assert "/no/such/dir" in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"", b" \n\n", b"\xff\xff"])
def test_no_text_is_wrong_usage(
    data: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run_app(["summarize", "-m", "."]) == 2
    err = capsys.readouterr().err
    assert "There is no text" in err or "stdin is not UTF-8" in err


@pytest.mark.parametrize("flags", [["--beam", "0"], ["-n", "0"], ["--beam", "x"], ["--no-such-flag"]])
def test_a_flag_that_means_nothing_is_wrong_usage(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["summarize", "-m", ".", *flags, "a text"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_shipped_chat_model_does_not_sum_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["summarize", "-m", "default", "a text"]) == 3
    assert "which does not sum up" in capsys.readouterr().err
