"""Tab in the shell: what is offered, by which scripts, and how little is imported for it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chat import cli, models
from chat.options import COMPLETED
from chat.settings import PRESETS, SETTINGS

ROOT = Path(__file__).resolve().parents[2]
ASKED = "import sys, json; sys.argv = ['tfm']; from chat import cli\ntry:\n    cli.main()\nfinally:\n    "
ASKED += "heavy = {'torch', 'sentencepiece', 'numpy', 'rich', 'prompt_toolkit'}\n    "
ASKED += "print(json.dumps(sorted(heavy & set(sys.modules))), file=sys.stderr)"


def offered(line: str) -> list[str]:
    """The words that bash would be given for a line."""
    words = line.split(" ")
    env = os.environ | {"_TFM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([sys.executable, "-c", ASKED], env=env, capture_output=True, text=True, cwd=ROOT, check=False)
    assert json.loads(done.stderr) == [], "nothing slow is imported"
    return done.stdout.split()


def test_commands_flags_and_values_are_offered() -> None:
    assert offered("tfm conf") == ["config"]
    assert offered("tfm run --max") == ["--max-new-tokens"]
    assert offered("tfm run --preset ") == list(PRESETS)
    assert offered("tfm chat --overflow dr") == ["drop-oldest"]
    assert offered("tfm run -m ") == list(models.shipped())


def test_sessions_are_offered_and_asking_makes_no_store(home: Path) -> None:
    assert offered("tfm run --session ") == []
    assert not list(home.rglob("*.sqlite*"))
    from double import ScriptedEngine
    from test_run import run

    from chat.run import Request
    from chat.sessions.store import Store

    run(ScriptedEngine(), Request(["hello"]))
    ids = [session.id for session in Store().sessions()]
    assert len(ids) == 1
    assert offered("tfm run --session ") == offered(f"tfm chat --session {ids[0][:3]}") == ids


def test_a_settings_file_that_cannot_be_read_breaks_nothing(home: Path) -> None:
    from chat.settings import settings_file

    settings_file().parent.mkdir(parents=True)
    settings_file().write_text("[broken", encoding="utf-8")
    assert offered("tfm run --preset c") == []


def test_every_setting_with_choices_is_completed() -> None:
    assert {name for name, setting in SETTINGS.items() if setting.choices} | {"model", "preset"} == set(COMPLETED)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell_and_it_is_all_of_stdout(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_app(["completion", shell]) == 0
    shown = capsys.readouterr()
    assert f"_TFM_COMPLETE=complete_{shell}" in shown.out
    assert shown.err == ""
    assert cli.run_app(["completion", "tcsh"]) == 2
    assert "tcsh" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_works_in_bash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run_app(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out, encoding="utf-8")
    tfm = tmp_path / "tfm"
    tfm.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m chat "$@"\n', encoding="utf-8")
    tfm.chmod(0o700)
    line = (
        f'. {tmp_path}/script; COMP_WORDS=(tfm run --preset cr); COMP_CWORD=3; _tfm_completion {tfm}; echo "$COMPREPLY"'
    )
    done = subprocess.run(["bash", "--norc", "-c", line], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("creative\n", 0), done.stderr
