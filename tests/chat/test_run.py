"""`tfm run`: where the prompt comes from and what comes out."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from double import ScriptedEngine

from chat import models
from chat.run import Request, run_once
from chat.settings import gather
from engine.errors import ContextOverflow, UsageError


@pytest.fixture(autouse=True)
def any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "resolve", Path)


def piped(data: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data), encoding="ascii")


def run(engine: ScriptedEngine, request: Request, flags: dict[str, Any] | None = None, stdin: bytes = b"") -> int:
    return run_once(request, gather(flags or {}, {}), loader=engine.loader, stdin=piped(stdin))


def test_arguments_files_and_stdin_are_joined_in_this_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("from a\n", encoding="utf-8")
    (tmp_path / "b").write_text("from b\r\n", encoding="utf-8")
    engine = ScriptedEngine()
    run(engine, Request(["how", "do", "I"], [str(tmp_path / "b"), str(tmp_path / "a")]), stdin="früh\n".encode())
    assert engine.calls[0].texts == [("user", "how do I\n\nfrom b\n\nfrom a\n\nfrüh")]


@pytest.mark.parametrize("stdin", [b"", b"\n", b"\r\n\n"])
def test_an_empty_stdin_is_no_part(stdin: bytes) -> None:
    engine = ScriptedEngine()
    run(engine, Request(["hi"]), stdin=stdin)
    assert engine.calls[0].texts == [("user", "hi")]


def test_a_raw_prompt_is_kept_to_the_letter() -> None:
    engine = ScriptedEngine()
    run(engine, Request(raw=True), stdin=b"Once upon a time,\n\n ")
    assert (engine.calls[0].kind, engine.calls[0].prompt) == ("generate", "Once upon a time,\n\n ")


def test_an_empty_raw_prompt_starts_from_bos() -> None:
    engine = ScriptedEngine(["Hello"])
    assert run(engine, Request([""], raw=True)) == 0
    assert engine.calls[0].prompt == ""


@pytest.mark.parametrize("data", [b"\xff\xfe", b"caf\xe9", "x".encode("utf-16")])
def test_input_that_is_not_utf8_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stdin is not UTF-8"):
        run(ScriptedEngine(), Request(), stdin=data)
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(UsageError, match="is not UTF-8"):
        run(ScriptedEngine(), Request(files=[str(tmp_path / "f")]))


def test_the_system_prompt_comes_first() -> None:
    engine = ScriptedEngine()
    run(engine, Request(["hi"]), {"system": "You are Ada."})
    assert engine.calls[0].texts == [("system", "You are Ada."), ("user", "hi")]


@pytest.mark.parametrize(("answer", "out"), [("hi", "hi\n"), ("hi\n", "hi\n"), ("", "\n"), ("a\n\n", "a\n\n")])
@pytest.mark.parametrize("raw", [True, False])
def test_the_answer_ends_with_a_line_end(answer: str, out: str, raw: bool, capsys: pytest.CaptureFixture[str]) -> None:
    engine = ScriptedEngine([answer, "never"])
    run(engine, Request(["x"], raw=raw))
    assert capsys.readouterr() == (out, "")


def test_prefill_is_shown_first_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    engine = ScriptedEngine([" it is."])
    run(engine, Request(["x"], prefill="Yes,"))
    assert capsys.readouterr().out == "Yes, it is.\n"
    assert engine.calls[0].prefill == "Yes,"


def test_json_is_one_object_that_can_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    engine = ScriptedEngine(["\x1b[0m\u202eé"], chunk=2)
    run(engine, Request(["x"], json=True, prefill="P", logprobs="1"), {"temperature": "0.5"})
    out = capsys.readouterr().out
    assert out.isascii()
    record = json.loads(out)
    assert record["text"] == "P\x1b[0m\u202eé"
    assert record["finish"] == {"reason": "eos", "stop": None}
    assert record["ids"] == [ord(c) for c in "\x1b[0m\u202eé"]
    assert record["seed"] == record["sampling"]["seed"] == 1234
    assert record["sampling"]["temperature"] == 0.5
    assert record["usage"]["completion_tokens"] == 6
    assert [t["id"] for t in record["logprobs"]] == record["ids"]
    assert record["logprobs"][1]["top"] == [{"id": ord("["), "piece": "[", "logprob": -0.5}]


def test_stream_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    run(ScriptedEngine(["one\ntwo"]), Request(["x"], stream_json=True, logprobs="0"))
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["type"] for r in records] == ["delta"] * 7 + ["finish"]
    assert "".join(r["text"] for r in records[:-1]) == records[-1]["text"] == "one\ntwo"
    assert records[0]["logprobs"][0]["logprob"] == -0.5


@pytest.mark.parametrize(
    ("reason", "told"), [("length", "limit"), ("stop", "'X'"), ("context", "context of"), ("eos", "eos")]
)
def test_stats_tell_counts_seed_and_the_end_on_stderr(
    reason: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ScriptedEngine(["hi"], reason=reason), Request(["x"]), {"stats": True})
    shown = capsys.readouterr()
    assert shown.out == "hi\n"
    assert told in shown.err
    assert "5 new + 0 cached" in shown.err
    assert "seed 1234" in shown.err


def test_the_end_is_not_told_where_nobody_asked(capsys: pytest.CaptureFixture[str]) -> None:
    run(ScriptedEngine(["hello"]), Request(["x"]), {"max_new_tokens": "3"})
    assert capsys.readouterr() == ("hel\n", "")


def test_a_prompt_that_does_not_fit_is_refused_by_default_and_the_policy_is_passed_on() -> None:
    with pytest.raises(ContextOverflow):
        run(ScriptedEngine(context=3), Request(["hello"]))
    engine = ScriptedEngine()
    run(engine, Request(["hello"]), {"overflow": "shift"})
    assert engine.calls[0].overflow == "shift"


def test_the_models_settings_are_used_and_a_flag_wins() -> None:
    engine = ScriptedEngine(defaults={"temperature": 0.3, "top_k": 7})
    run(engine, Request(["x"]), {"top_k": "9"})
    assert (engine.calls[0].params.temperature, engine.calls[0].params.top_k) == (0.3, 9)


def test_the_settings_of_the_model_reach_its_loading() -> None:
    engine = ScriptedEngine()
    flags = {"dtype": "float32", "threads": "2", "context": "99", "template": "plain", "model": "M", "adapter": "A"}
    run(engine, Request(["x"]), flags | {"kv": "int8", "quant": "q8_0"})
    assert engine.loaded == {
        "path": Path("M"), "dtype": "float32", "device": "cpu", "threads": 2, "context": 99, "template": "plain",
        "adapter": "A", "kv": "int8", "quant": "q8_0",
    }  # fmt: skip
