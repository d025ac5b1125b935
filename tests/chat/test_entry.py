"""The first and the last moments of a process: Ctrl-C before the command line is there, and after it."""

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Presses Ctrl-C when a module is about to be imported.
PRESSED = """
import importlib.abc, os, signal, sys
class Presses(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.{before})
sys.meta_path.insert(0, Presses())
sys.argv = ["tfm", "--version"]
from chat.entry import main
main()
"""


def pressed(module: str, before: str = "default_int_handler") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PRESSED.format(module=module, before=before)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["chat.cli", "typer", "engine.errors"])
def test_ctrl_c_while_the_command_line_is_imported_ends_it_and_says_nothing(module: str) -> None:
    done = pressed(module)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_while_a_command_imports_is_caught_by_the_command_line() -> None:
    done = pressed("importlib.metadata")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_that_the_shell_has_ignored_stays_ignored() -> None:
    done = pressed("chat.cli", "SIG_IGN")
    assert done.returncode == 0 and done.stdout.startswith("tfm ")


def test_tfm_and_python_m_chat_begin_there() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {"tfm": "chat.entry:main"}
    assert "from chat.entry import main" in (ROOT / "chat" / "__main__.py").read_text(encoding="utf-8")
