"""The command line: what it imports, what it says, and with which code it ends."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from double import ScriptedEngine

from chat import cli, models
from chat.options import GROUPS
from chat.settings import SAMPLING, SETTINGS, flag
from engine.errors import (
    CheckpointError,
    ContextOverflow,
    DataError,
    TemplateError,
    TfmError,
    TokenizerError,
    UsageError,
    VerificationFailed,
)

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["run", "chat", "convert", "train"]
LAZY = """
import sys
from chat.cli import run_app
code = run_app({arguments!r})
heavy = sorted({{'torch', 'sentencepiece', 'numpy', 'prompt_toolkit', 'rich'}} & set(sys.modules))
print(code, heavy, file=sys.stderr)
"""


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedEngine:
    """The double where `load_engine` is looked for, and any name is a model."""
    import engine

    assert isinstance(engine, ModuleType)
    double = ScriptedEngine()
    monkeypatch.setitem(vars(engine), "load_engine", double.loader)  # setattr would look at it, and load torch
    monkeypatch.setattr(models, "resolve", lambda name: tmp_path / name)
    return double


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["chat", "--help"], ["run", "-t", "x"], ["-m"]])
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAZY.format(arguments=arguments)],
        capture_output=True, text=True, cwd=ROOT, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1].split(" ", 1)[1] == "[]"


@pytest.mark.parametrize(
    "module", ["chat.cli", "chat.options", "chat.settings", "chat.models", "chat.run", "chat.repl.loop"]
)
def test_chat_modules_import_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'sentencepiece', 'numpy'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["run", "--help"], ["chat", "--help"], [], ["--version"]),
        *(["-h"], ["train", "-h"], ["eval", "-h"], ["bench", "-h"]),
    ],
)
def test_help_is_an_answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_app(arguments) == 0
    shown = capsys.readouterr()
    assert shown.out
    assert not shown.err


@pytest.mark.parametrize("command", ["run", "chat"])
def test_help_names_every_flag_and_the_sampling_order(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run_app([command, "--help"])
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert all(flag(name) in shown for name in SETTINGS)
    assert "This is the order of transformers" in words
    assert "130 interrupted" in words


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nonsense"], 2, "nonsense"),
        (["run", "--nonsense", "x"], 2, "--nonsense"),
        (["run", "x", "--top-p", "1.5"], 2, "--top-p"),
        (["run", "x", "--temperature", "-1"], 2, "--temperature"),
        (["run", "x", "-n", "many"], 2, "--max-new-tokens"),
        (["run", "x", "-f", "/no/such/file"], 2, "/no/such/file"),
        (["run", "x", "-f", "."], 2, "cannot be read"),
        (["run", "x", "--system-file", "/no/such/file"], 2, "/no/such/file"),
        (["run", "x", "-s", "a", "--system-file", "b"], 2, "exclude"),
        (["run"], 2, "no prompt"),
        (["run", ""], 2, "no prompt"),
        (["run", "   "], 2, "no prompt"),
        (["run", "--raw"], 2, "no prompt"),
        (["run", "x", "--raw", "--system", "y"], 2, "--system"),
        (["run", "x", "--raw", "--prefill", "y"], 2, "--prefill"),
        (["run", "x", "--json", "--stream-json"], 2, "--stream-json"),
        (["run", "x", "--logprobs", "1"], 2, "--json"),
        (["run", "x", "--json", "--logprobs", "99"], 2, "--logprobs"),
        (["run", "x", "--json", "--logprobs", "a"], 2, "--logprobs"),
        (["run", "-m"], 2, "argument"),
        (["run", "x", "--context", "2"], 4, "context"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_a_code(
    arguments: list[str], code: int, told: str, scripted: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_app(arguments) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("tfm: ")
    assert shown.err.count("\n") == 1
    assert told in shown.err
    assert not scripted.calls or code == 4


def test_wrong_usage_is_told_before_the_model_is_loaded(scripted: ScriptedEngine) -> None:
    assert cli.run_app(["run", "x", "--top-k", "-1"]) == 2
    assert scripted.loaded == {}


def test_a_model_that_is_not_there_is_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_app(["run", "x", "-m", "/no/such/model"]) == 3
    assert "/no/such/model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (CheckpointError("x"), 3),
        (TokenizerError("x"), 3),
        (TemplateError("x"), 3),
        (ContextOverflow("x"), 4),
        (VerificationFailed("x"), 5),
        (DataError("x"), 6),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 0),
        (ValueError("boom"), 1),
        (MemoryError(), 1),
    ],
)
def test_every_kind_of_failure_has_its_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_parse", lambda arguments: raising(error))
    monkeypatch.setattr(cli, "_drop_output", lambda: None)
    assert cli.run_app([]) == code
    shown = capsys.readouterr().err
    assert shown.count("\n") == (1 if isinstance(error, Exception) and code else 0)
    assert "Traceback" not in shown


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


def test_every_error_class_has_an_exit_code() -> None:
    def walk(kind: type[TfmError]) -> list[type[TfmError]]:
        return [k for sub in kind.__subclasses__() for k in (sub, *walk(sub))]

    assert {kind.exit_code for kind in walk(TfmError)} == {2, 3, 4, 5, 6}


def test_debug_shows_where(scripted: ScriptedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    scripted.fail = RuntimeError("broken \x1b]0;title\x07")
    assert cli.run_app(["run", "some words", "--debug"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "\x1b" not in shown


def test_an_error_shows_names_without_sending_them(
    scripted: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_app(["run", "x", "-f", "no\x1b]0;such\x07file\n"]) == 2
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert shown.count("\n") == 1


VALUES: dict[str, str] = {
    "dtype": "float32",
    "kv": "int8",
    "quant": "q8_0",
    "context": "99",
    "device": "meta",
    "template": "chatml",
    "model": "other",
    "logit_bias": "7=1.5",
    "stop": "END",
    "sampler_order": "llama.cpp",
    "system": "be brief",
    "preset": "creative",
    "overflow": "shift",
    "temperature": "0.5",
    "top_p": "0.5",
    "min_p": "0.5",
    "typical_p": "0.5",
}


NOT_IN_A_PIPE = ("plain", "theme", "raw_output", "system_file", "ground", "hide_thinking", "history")
OF_A_SERVER = ("server", "offline")  # tests/chat/test_server.py has one


def effect(scripted: ScriptedEngine, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    """Everything that a flag could change."""
    scripted.calls.clear()
    assert cli.run_app(["run", "hello there", *more]) == 0
    shown = capsys.readouterr()
    return scripted.loaded, list(scripted.calls), shown.out, shown.err


@pytest.mark.parametrize("name", [n for n in SETTINGS if n not in (*NOT_IN_A_PIPE, *OF_A_SERVER)])
def test_every_flag_does_something(name: str, scripted: ScriptedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    values = [] if SETTINGS[name].kind == "bool" else [VALUES.get(name, "3")]
    assert effect(scripted, capsys, flag(name), *values) != effect(scripted, capsys)


@pytest.mark.parametrize(
    "more", [["--prefill", "x"], ["--raw"], ["--json"], ["--stream-json"], ["-f", str(ROOT / ".gitignore")]]
)
def test_every_flag_of_run_does_something(
    more: list[str], scripted: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert effect(scripted, capsys, *more) != effect(scripted, capsys)


def test_every_sampling_flag_reaches_the_engine_as_it_was_given(
    scripted: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {n: VALUES.get(n, "3") for n in SAMPLING if n != "greedy"}
    effect(scripted, capsys, *(part for n, v in given.items() for part in (flag(n), v)))
    reached = scripted.calls[0].params.as_dict()
    assert {n: reached[n] for n in given} == {
        **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p"), 0.5),
        **dict.fromkeys(("top_k", "max_new_tokens", "min_new_tokens", "seed"), 3),
        **dict.fromkeys(("repetition_penalty", "presence_penalty", "frequency_penalty"), 3.0),
        "logit_bias": {7: 1.5},
        "stop": ["END"],
        "sampler_order": "llama.cpp",
    }


def test_every_option_is_a_setting_or_read_at_the_edge() -> None:
    declared = {name for group in GROUPS for name in group.__dataclass_fields__}
    assert declared - set(SETTINGS) == {"debug"}
    assert set(SETTINGS) <= declared


@pytest.mark.parametrize("name", ["train", "bench"])
def test_what_weights_does_gets_all_its_arguments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[tuple[str, list[str]]] = []
    module = ModuleType("weights.cli")

    def main(arguments: list[str], name: str, judged: object) -> int:
        received.append((name, arguments))
        return 130

    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "weights.cli", module)
    arguments = ["pretrain", "--steps", "5", "-x", "--help", "recipe.toml", "--debug"]
    assert cli.run_app([name, *arguments]) == 130
    assert received == [(name, arguments)]


def test_a_ctrl_c_while_the_command_line_is_read_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda *_, **__: 130)  # what Typer makes of a KeyboardInterrupt
    assert cli.run_app(["run", "x"]) == 130
