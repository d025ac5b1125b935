"""A store that cannot be used is told once, and nobody loses an answer (H4); every command has the same store (H3)."""

import os
import sqlite3
from pathlib import Path

import pytest
from double import ScriptedEngine
from listing import Tfm

from chat.sessions.schema import store_path
from chat.sessions.store import Store

pytestmark = pytest.mark.usefixtures("scripted")


@pytest.mark.parametrize("garbage", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_store_is_told_once_and_the_conversation_goes_on(garbage: bytes, tfm: Tfm) -> None:
    """H4"""
    store_path().parent.mkdir(parents=True)
    store_path().write_bytes(garbage)
    code, out, err = tfm("chat", stdin="one\ntwo\n")
    assert (code, out) == (0, "one\ntwo\n")
    assert err.count("not kept") == 1 and str(store_path()) in err
    assert tfm("run", "one")[:2] == (0, "one\n")
    assert store_path().read_bytes() == garbage
    assert tfm("history", "list")[0] == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_told_once(tfm: Tfm) -> None:
    """H4"""
    store_path().parent.parent.mkdir(parents=True, exist_ok=True)
    store_path().parent.parent.chmod(0o500)
    code, out, err = tfm("chat", stdin="one\ntwo\n")
    store_path().parent.parent.chmod(0o700)
    assert (code, out, err.count("not kept")) == (0, "one\ntwo\n", 1)


def test_a_place_that_can_be_no_file_is_told_once(tfm: Tfm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """H4, also for root"""
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "file" / "sessions.sqlite"):
        monkeypatch.setenv("TFM_SESSIONS", str(place))
        code, out, err = tfm("chat", stdin="one\ntwo\n")
        assert (code, out, err.count("not kept"), err.count("\n")) == (0, "one\ntwo\n", 1, 1)


def test_a_disk_that_fills_in_mid_answer_is_told_once_and_the_answer_is_whole(
    tfm: Tfm, scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H4"""
    tfm("run", "before")
    scripted.chunk = 100
    real = Store.__init__

    def small(self: Store, path: Path | None = None) -> None:
        real(self, path)
        with self.reading() as db:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages + 1}")

    monkeypatch.setattr(Store, "__init__", small)
    long = "word " * 4000
    code, out, err = tfm("chat", "-n", "99999", stdin=f"{long}\nmore\n")
    assert (code, out) == (0, f"{long.strip()}\nmore\n")
    assert err.count("not kept") == 1 and "full" in err
    monkeypatch.undo()


def test_the_store_of_the_environment_is_the_one_of_every_command(
    tfm: Tfm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """H3"""
    tfm("run", "elsewhere")
    default = store_path()
    monkeypatch.setenv("TFM_SESSIONS", str(tmp_path / "mine.sqlite"))
    tfm("run", "mine")
    tfm("run", "more", "-c")
    assert tfm("history", "path")[1] == f"{tmp_path}/mine.sqlite\n"
    assert "mine" in tfm("history", "list")[1] and "elsewhere" not in tfm("history", "list")[1]
    assert "mine" in tfm("history", "show")[1]
    assert tfm("history", "search", "elsewhere")[1].count("\n") == 1
    assert "elsewhere" not in tfm("history", "export")[1]
    assert tfm("history", "delete", "--all", "--yes")[0] == 0
    assert tfm("replay", "2")[0] == 2
    db = sqlite3.connect(default)
    assert db.execute("SELECT title FROM sessions").fetchall() == [("elsewhere",)]
    db.close()
