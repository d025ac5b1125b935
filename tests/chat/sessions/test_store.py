"""The store: its file, what is written in it, and what comes back."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turns import SETTINGS, journalled, messages, outcome, question, say

from chat.sessions import ids as names
from chat.sessions import schema
from chat.sessions.blobs import pack_floats, pack_ids, unpack_floats, unpack_ids
from chat.sessions.fingerprint import WHOLE, fingerprint
from chat.sessions.schema import StoreError
from chat.sessions.search import search
from chat.sessions.store import Begun, Store
from engine.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]


# The file.


def test_the_file_and_its_directory_are_the_owners_alone(home: Path) -> None:
    before = os.umask(0)
    try:
        store = Store()
        say(store, "hello", "hi")
    finally:
        os.umask(before)
    directory = store.path.parent
    assert directory.is_relative_to(home)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()} == dict.fromkeys(
        ("sessions.sqlite", "sessions.sqlite-wal", "sessions.sqlite-shm"), 0o600
    )
    store.close()


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store: Store) -> None:
    with store.writing() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer tfm \\(format 99"):
        Store(store.path)
    with store.reading() as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)


def test_migrations_run_once_each_and_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "s").close()
    more = (
        *schema.MIGRATIONS,
        ("CREATE TABLE extra(a)",),
        ("ALTER TABLE extra ADD b", "INSERT INTO extra VALUES (1, 2)"),
    )
    monkeypatch.setattr(schema, "MIGRATIONS", more)
    for _ in range(2):
        store = Store(tmp_path / "s")
        with store.reading() as db:
            assert db.execute("SELECT * FROM extra").fetchall() == [(1, 2)]
            assert db.execute("PRAGMA user_version").fetchone() == (len(more),)
        store.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "s").close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE extra(a)", "nonsense")))
    with pytest.raises(StoreError, match="nonsense"):
        Store(tmp_path / "s")
    db = sqlite3.connect(tmp_path / "s")
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    db.close()


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "bookmarks")
    db.execute("CREATE TABLE places(url)")
    db.close()
    before = (tmp_path / "bookmarks").read_bytes()
    with pytest.raises(StoreError, match="not one of conversations"):
        Store(tmp_path / "bookmarks")
    assert (tmp_path / "bookmarks").read_bytes() == before


def test_many_processes_may_make_the_store_at_once(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from chat.sessions.store import *; s = Store(Path(sys.argv[1]));"
    code += "b = s.begin(Question(sys.argv[2], '', 'm', {})); s.finish(b, 'x', [1], cut=False, outcome=None)"
    arguments = [sys.executable, "-c", code, str(tmp_path / "s")]
    running = [subprocess.Popen([*arguments, f"prompt {n}"], cwd=ROOT, stderr=subprocess.PIPE) for n in range(3)]
    assert [(p.communicate()[1], p.returncode) for p in running] == [(b"", 0)] * 3
    store = Store(tmp_path / "s")
    assert sorted(s.title for s in store.sessions()) == [f"prompt {n}" for n in range(3)]
    store.close()


def test_nothing_of_sessions_imports_torch() -> None:
    modules = [f"chat.sessions.{p.stem}" for p in (ROOT / "chat" / "sessions").glob("*.py")] + [
        "chat.history",
        "chat.replay",
    ]
    code = f"import sys, {', '.join(modules)}; sys.exit(bool({{'torch', 'sentencepiece', 'numpy'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# Ids, blobs, fingerprints.


def test_ids_sort_by_time_and_can_be_typed() -> None:
    made = [names.new_id(1.8e9 + n) for n in range(0, 10**8, 10**6)]
    assert made == sorted(made)
    assert all(len(name) == 8 and set(name) <= set(names.ALPHABET) for name in made)
    assert names.normal(" 2QOIL ") == "2q011"


def test_a_beginning_that_is_unique_finds_a_session(store: Store) -> None:
    with store.writing() as db:
        for name in ("2abc0000", "2abd0000", "2abd0001"):
            db.execute("INSERT INTO sessions VALUES (?, 0, 0, '', '', NULL)", (name,))
    assert store.find("2ABC") == "2abc0000"
    assert store.find("2abd0oo1") == "2abd0001"
    for wrong, told in (("2abd", "several"), ("3", "no session"), ("", "no session"), ("%", "no session")):
        with pytest.raises(UsageError, match=told):
            store.find(wrong)


@given(st.lists(st.integers(0, 2**32 - 1)), st.lists(st.floats(width=32, allow_nan=False)))
def test_blobs_give_back_what_they_were_given(ids: list[int], numbers: list[float]) -> None:
    assert unpack_ids(pack_ids(ids)) == tuple(ids)
    assert unpack_floats(pack_floats(numbers)) == tuple(numbers)
    assert pack_ids([1, 256]) == b"\x01\0\0\0\0\x01\0\0"


def test_a_fingerprint_knows_weights_from_weights_and_a_copy_as_the_same(tmp_path: Path) -> None:
    def model(name: str, weights: bytes, config: str = "{}") -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
        (tmp_path / name / "model.safetensors").write_bytes(weights)
        (tmp_path / name / "README.md").write_text(name)
        return fingerprint(tmp_path / name)

    weights = bytes(3 * WHOLE)
    first = model("a", weights)
    assert len(first) == 16 and first == model("b", weights)
    changed = bytearray(weights)
    changed[WHOLE : 2 * WHOLE] = b"x" * WHOLE
    assert len({first, model("c", bytes(changed)), model("d", weights, '{"a": 1}'), model("e", weights + b"x")}) == 4
    assert fingerprint(tmp_path / "nowhere") == ""


# What is written, and what comes back.


def test_a_turn_comes_back_as_it_was(store: Store) -> None:
    told = {"examples": [], "why": "none is near"}
    begun = store.begin(question("hello\0 ünï", "Be good.", found=told, dropped={"first": 1, "last": 2, "tokens": 9}))
    store.finish(begun, "hi", [7, 2**32 - 1], cut=True, outcome=outcome([7, 2**32 - 1], [1, 2], logprobs=[-0.5, -1.0]))
    system, prompt, answer = messages(store, begun)
    assert (system.role, system.text, prompt.text, answer.text) == ("system", "Be good.", "hello\0 ünï", "hi")
    assert (answer.parent, prompt.parent, system.parent) == (prompt.id, system.id, None)
    assert (answer.ids, answer.cut, answer.complete, answer.found) == ((7, 2**32 - 1), True, True, told)
    assert answer.dropped == {"first": 1, "last": 2, "tokens": 9}
    run = answer.generations[0]
    assert (run.model_hash, run.template_hash, run.settings) == ("model", "template", SETTINGS)
    assert (run.ids, run.prompt_ids, run.seed, run.draws) == ((7, 2**32 - 1), (1, 2), 5, 3)
    assert (run.logprobs, run.reason, run.stop) == ((-0.5, -1.0), "eos", None)


@settings(max_examples=8)
@given(turns=st.lists(st.tuples(st.integers(0, 20), st.lists(st.integers(0, 9), max_size=6)), min_size=1, max_size=12))
def test_prompts_are_stored_as_differences_and_come_back_whole(
    turns: list[tuple[int, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the prompts of a tree have in common, also with a store that did not write the earlier ones."""
    path = tmp_path_factory.mktemp("tree") / "sessions.sqlite"
    made: list[Begun] = []
    wanted = []
    for number, (above, prompt) in enumerate(turns):
        if number % 4 == 0:
            store = Store(path)
        parent = made[above % len(made)] if made else None
        if parent is not None and number % 3 == 0:
            store.conversation(parent.session)
        begun = store.begin(
            question(f"turn {number}"), session=parent.session if parent else None,
            parent=parent.message if parent else None,
        )  # fmt: skip
        if number % 2 and parent is not None:  # begins as the one above does
            prompt = [*wanted[made.index(parent)], *prompt]
        store.finish(begun, "x", [number], cut=False, outcome=outcome([number], prompt))
        made.append(begun)
        wanted.append(prompt)
        if number % 4 == 3:
            store.close()
    store = Store(path)
    found = {m.id: list(m.generations[0].prompt_ids) for m in messages(store, made[0]) if m.role == "assistant"}
    assert found == {begun.message: prompt for begun, prompt in zip(made, wanted, strict=True)}
    store.close()


def test_a_prompt_that_begins_as_the_last_answer_ended_takes_only_the_room_of_its_new_ids(store: Store) -> None:
    first = store.begin(question("a"))
    store.finish(first, "x", [7] * 500, cut=False, outcome=outcome([7] * 500, [1] * 500))
    second = store.begin(question("b"), session=first.session, parent=first.message)
    store.finish(second, "y", [8], cut=False, outcome=outcome([8], [*[1] * 500, *[7] * 500, 9, 9]))
    with store.reading() as db:
        assert db.execute("SELECT length(prompt_tail) FROM runs ORDER BY message").fetchall() == [(2000,), (8,)]


def test_a_system_prompt_stands_where_it_came_into_force(store: Store) -> None:
    first = store.begin(question("a", "Be good."))
    store.finish(first, "x", [1], cut=False, outcome=None)
    place = {"session": first.session, "parent": first.message}
    same = store.begin(question("b", "Be good."), **place)  # type: ignore[arg-type]
    other = store.begin(question("b", "Be bad."), **place)  # type: ignore[arg-type]
    again = store.begin(question("b", "Be bad."), prompt=same.prompt, **place)  # type: ignore[arg-type]
    by_id = store.conversation(first.session).by_id
    assert by_id[same.prompt].parent == first.message
    for begun in (other, again):
        assert by_id[by_id[begun.prompt].parent or 0].text == "Be bad."
    assert again.prompt != same.prompt, "another system prompt makes it another prompt"


def test_another_answer_to_a_prompt_is_a_branch_beside_the_first(store: Store) -> None:
    first = say(store, "a", "x")
    second = say(store, "a", "y", session=first.session, prompt=first.prompt)
    assert [(m.role, m.text, m.parent) for m in messages(store, first)] == [
        ("user", "a", None), ("assistant", "x", first.prompt), ("assistant", "y", first.prompt),
    ]  # fmt: skip
    conversation = store.conversation(first.session)
    assert [m.id for m in conversation.path()] == [first.prompt, second.message]
    store.stand(first.session, first.message)
    assert [m.id for m in store.conversation(first.session).path()] == [first.prompt, first.message]
    store.stand(first.session, None)
    assert store.conversation(first.session).path() == []


def test_an_answer_that_goes_on_has_a_generation_for_each_time(store: Store) -> None:
    first = store.begin(question("a"))
    store.finish(first, "one", [1, 2], cut=True, outcome=outcome([1, 2], [9]))
    more = store.begin(question("a"), session=first.session, answer=first.message)
    assert (more.message, more.number, more.prompt) == (first.message, 1, first.prompt)
    journalled(store, more, "!")
    (middle,) = [m for m in messages(store, first) if m.role == "assistant"]
    assert (middle.text, middle.ids, middle.complete, middle.cut) == ("one!", (1, 2, 33), False, True)
    store.finish(more, "one two", [1, 2, 3], cut=False, outcome=outcome([3], [9, 1, 2]))
    (answer,) = [m for m in messages(store, first) if m.role == "assistant"]
    assert [(g.start, g.ids, g.prompt_ids) for g in answer.generations] == [(0, (1, 2), (9,)), (2, (3,), (9, 1, 2))]
    assert [hit.text for hit in search(store, "two", 5)] == ["one two"]


def test_an_answer_of_which_nothing_came_leaves_its_prompt_or_nothing(store: Store) -> None:
    first = say(store, "a", "x")
    waits = store.begin(question("b"), session=first.session, parent=first.message)
    store.abandon(waits)
    assert [m.text for m in store.conversation(first.session).path()] == ["a", "x", "b"]
    refused = store.begin(question("c"), session=first.session, parent=first.message)
    store.abandon(refused, prompt=True)
    assert [m.text for m in store.conversation(first.session).path()] == ["a", "x"]
    alone = store.begin(question("d", "Be good."))
    store.abandon(alone, prompt=True)
    assert [s.id for s in store.sessions()] == [first.session], "nothing was said in the other"
    more = store.begin(question("a"), session=first.session, answer=first.message)
    store.abandon(more)
    assert [(m.text, m.complete) for m in messages(store, first)][1] == ("x", True)
