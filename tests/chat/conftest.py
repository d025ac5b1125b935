"""A clean home for every test, and the double on the path."""

import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test asserts a time, and a busy machine is no failure.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings and history in a folder of the test; no variable of the person who runs it."""
    for name in [n for n in os.environ if n.startswith("TFM_") or n in ("NO_COLOR", "FORCE_COLOR")]:
        monkeypatch.delenv(name)
    for name in ("CONFIG", "STATE", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture(autouse=True)
def no_clipboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the clipboard of the person who runs this stays there."""
    monkeypatch.setattr("chat.clipboard.PROGRAMS", ())


@pytest.fixture(autouse=True)
def empty_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on stdin, and no terminal."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
