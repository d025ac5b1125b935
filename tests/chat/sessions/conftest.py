"""A store for each test, and command lines with the double in place of a model; what they share is on the path."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from double import ScriptedEngine
from listing import Tfm
from turns import say

from chat import cli, models
from chat.sessions.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data" / "sessions.sqlite")
    yield store
    store.close()


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with a turn, for tests that only read."""
    store = Store(tmp_path_factory.mktemp("store") / "sessions.sqlite")
    say(store, "a plain word", "x")
    yield store
    store.close()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    """The double where `load_engine` is looked for, and any name is a model."""
    import engine

    assert isinstance(engine, ModuleType)
    double = ScriptedEngine()
    monkeypatch.setitem(vars(engine), "load_engine", double.loader)
    monkeypatch.setattr(models, "resolve", lambda name: Path("/nowhere") / name)
    return double


@pytest.fixture
def tfm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tfm:
    """Run a command line: (exit code, stdout, stderr)."""

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = cli.run_app(arguments)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run
