"""Every command of the whole tree: without options, without input, and into a pipe whose reader has gone."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from chat import cli
from chat.sessions.store import Question, Store
from weights import cli as weights_cli

ROOT = Path(__file__).parents[2]
LONG = (("chat",), ("verify",), ("bench", "attention"), ("bench", "train"))  # they begin their work: tested elsewhere


def leaves(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """The command lines below a command that name one to run."""
    below = getattr(command, "commands", None)
    if not below:
        yield path
    for name, inner in (below or {}).items():
        yield from leaves(inner, *path, name)


COMMANDS = [
    line
    for app, path in ((cli.app, ()), (weights_cli.app, ("train",)), (weights_cli.bench_app, ("bench",)))
    for line in leaves(get_command(app), *path)
    if line not in LONG
]


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_a_command_without_options_and_input_ends_with_an_answer_or_one_sentence(
    line: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """X1: nothing waits for a person; X4, X13: what is missing is told, with its code, and is no crash."""
    code = cli.run_app(line)
    told = capsys.readouterr().err
    assert code in (0, 2, 3, 6), told
    assert "Traceback" not in told
    assert told.count("tfm: ") == (code != 0), told


SHOWN = [
    ["history", "list"], ["history", "list", "--json"], ["history", "show"], ["history", "search", "hello"],
    ["history", "export"], ["history", "export", "--format", "jsonl"], ["history", "path"], ["models", "list"],
    ["config", "show"], ["config", "presets"], ["completion", "bash"], ["train", "--help"], ["history", "--help"],
]  # fmt: skip
CLOSED = """
import io, json, os, sys
sys.path.insert(0, {root!r})
from chat import cli
lines = json.loads(sys.argv[1])
for line in lines:  # each in a process of its own, that needs no new start
    if not (child := os.fork()):
        sys.argv = ["tfm", *line]
        cli.main()
    _, status = os.waitpid(child, 0)
    os.write(2, b"" if status == 0 else repr((line, status)).encode())
"""


def test_a_reader_that_has_gone_is_no_error_for_any_command(home: Path) -> None:
    """X6"""
    store = Store()
    begun = store.begin(Question("hello", "", "m", {"sampling": {}}))
    store.finish(begun, "hello", [1], cut=False, outcome=None)
    store.close()
    done = subprocess.Popen(
        [sys.executable, "-c", CLOSED.format(root=str(ROOT)), json.dumps(SHOWN)], cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert done.stdout is not None
    done.stdout.close()
    _, err = done.communicate()
    assert (done.returncode, err) == (0, b"")


def test_models_show_names_the_template_its_source_and_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    """T6"""
    assert cli.run_app(["models", "show", "default", "--json"]) == 0
    template = json.loads(capsys.readouterr().out)["template"]
    assert (template["name"], len(template["sha256"])) == ("tfm", 64) and template["from"]
    cli.run_app(["models", "show", "default"])
    assert f"tfm, from {template['from']} (sha256 {template['sha256'][:12]})" in capsys.readouterr().out
