"""Many prompts: one answer each, in order, whatever becomes of the others."""

import io
import json
from pathlib import Path

import pytest
from double import ScriptedEngine
from test_run import run

from chat import cli, models
from chat.run import Request, run_once
from chat.settings import gather
from engine.errors import UsageError


@pytest.fixture(autouse=True)
def any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "resolve", Path)


def written(folder: Path, text: str | bytes, name: str = "prompts.txt") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_each_line_is_a_prompt_and_empty_ones_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = ScriptedEngine()
    file = written(tmp_path, "one\r\n\n  \ntwo three\nfour")
    assert run(engine, Request(prompts=file), {"seed": "5"}) == 0
    assert [call.texts for call in engine.calls] == [[("user", t)] for t in ("one", "two three", "four")]
    assert capsys.readouterr() == ("one\ntwo three\nfour\n", "")
    assert {call.params.seed for call in engine.calls} == {5}, "as each would be answered alone"


def test_arguments_and_files_stand_before_each_and_stdin_is_left_alone(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    notes = written(tmp_path, "the notes\n", "notes")
    run(engine, Request(["Say:"], [notes], prompts=written(tmp_path, "one\ntwo\n")), {"system": "S"}, stdin=b"unread")
    assert [call.texts for call in engine.calls] == [
        [("system", "S"), ("user", f"Say:\n\nthe notes\n\n{text}")] for text in ("one", "two")
    ]


def test_the_shared_prefix_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = "You answer with one word. " * 9
    file = written(tmp_path, "one\ntwo\nthree\n")
    run(ScriptedEngine(), Request([shared], prompts=file, json=True), {"system": "S"})
    cached = [json.loads(line)["usage"]["cached_tokens"] for line in capsys.readouterr().out.splitlines()]
    assert cached[0] == 0 and min(cached[1:]) > len(shared)


def test_prompts_come_from_stdin_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ScriptedEngine(), Request(prompts="-"), stdin="früh\nspät\n".encode()) == 0
    assert capsys.readouterr().out == "früh\nspät\n"


def test_json_lines_may_bring_a_system_prompt_and_a_beginning(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    lines = ['"plain\\ntext"', '{"prompt": "p", "system": "own", "prefill": "So"}']
    run(engine, Request(prompts=written(tmp_path, "\n".join(lines), "p.jsonl"), prefill="Well"), {"system": "S"})
    assert [call.texts for call in engine.calls] == [
        [("system", "S"), ("user", "plain\ntext")],
        [("system", "own"), ("user", "p")],
    ]
    assert [call.prefill for call in engine.calls] == ["Well", "So"]


BAD = {
    "not json": "not JSON",
    "3": "neither a text nor an object",
    '""': "neither",
    '{"system": "x"}': "neither",
    '{"prompt": "x", "sytem": "y"}': "'sytem' has no meaning",
    '{"prompt": "x", "system": 3}': "'system' is no text",
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_told_and_the_others_are_answered(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, f'"one"\n{line}\n"two"\n', "p.jsonl")
    assert run(ScriptedEngine(), Request(prompts=file)) == 2
    shown = capsys.readouterr()
    assert shown.out == "one\ntwo\n"
    assert shown.err.startswith(f"tfm: {file}, line 2: ") and shown.err.count("\n") == 1
    assert BAD[line] in shown.err


@pytest.mark.parametrize("form", ["json", "stream_json"])
def test_in_json_each_line_has_its_record_or_its_error(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, b"one\nt\xffo\n" + b"x" * 500 + b"\nfour\n")
    code = run(ScriptedEngine(chunk=1000), Request(prompts=file, **{form: True}), {"context": "400"})
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ends = [r for r in records if r.get("type") != "delta"]
    assert [r["line"] for r in ends] == [1, 2, 3, 4]
    assert [r.get("text", r.get("exit_code")) for r in ends] == ["one", 2, 4, "four"]
    assert code == 2, "that of the first"
    assert all(r["line"] in (1, 4) for r in records if r.get("type") == "delta")


def test_no_prompt_at_all_is_wrong_usage_before_the_load(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    for file in (written(tmp_path, "\n\n"), str(tmp_path / "none")):
        with pytest.raises(UsageError, match=r"holds no prompt|cannot be read"):
            run(engine, Request(prompts=file))
    assert engine.loaded == {}


def test_a_bad_prompt_of_the_command_line_is_an_error_as_ever(tmp_path: Path) -> None:
    assert cli.run_app(["run", "--prompts", str(tmp_path / "none")]) == 2


def test_ctrl_c_ends_the_rest_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import signal

    class Pressed(ScriptedEngine):
        def _finish(self, *arguments: object) -> object:  # type: ignore[override]
            signal.raise_signal(signal.SIGINT)
            return super()._finish(*arguments)  # type: ignore[arg-type]

    engine = Pressed()
    stdin = io.TextIOWrapper(io.BytesIO())
    file = written(tmp_path, "one\ntwo\n")
    code = run_once(Request(prompts=file), gather({}, {}), loader=engine.loader, stdin=stdin)
    assert (code, len(engine.calls)) == (130, 1)


def test_raw_prompts_are_continued(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    run(engine, Request(prompts=written(tmp_path, "Once upon \nThere was"), raw=True))
    assert [(call.kind, call.prompt) for call in engine.calls] == [
        ("generate", "Once upon "),
        ("generate", "There was"),
    ]
