"""docs/cli.md is what the program declares."""

import os
import subprocess
import sys
from pathlib import Path

from chat.repl.commands import COMMANDS
from chat.settings import SETTINGS, flag

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"


def test_the_page_is_as_the_script_writes_it(tmp_path: Path) -> None:
    out = tmp_path / "cli.md"
    command = [sys.executable, str(ROOT / "scripts" / "make_cli_docs.py"), "--out", str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "37", "TFM_SEED": "1"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert PAGE.read_text(encoding="utf-8") == out.read_text(encoding="utf-8"), "run scripts/make_cli_docs.py"


def test_every_flag_and_slash_command_is_on_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in SETTINGS if f"`{flag(name)}`" not in page] == []
    assert [name for name in COMMANDS if f"`{name}" not in page] == []
