"""What streams is on the disk, what was said is found, and what was deleted is not."""

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turns import SETTINGS, journalled, messages, question, say

from chat.sessions.erase import erase
from chat.sessions.journal import Journal, recover
from chat.sessions.schema import StoreError
from chat.sessions.search import NoWord, search
from chat.sessions.store import Store
from chat.sessions.writer import is_gone, this_process
from engine.events import TextDelta

ROOT = Path(__file__).resolve().parents[3]


# The journal.


def test_what_streams_can_be_read_at_once_by_another_process(store: Store) -> None:
    begun = store.begin(question("a"))
    journalled(store, begun, "so f")
    journalled(store, begun, "ar")
    other = Store(store.path)
    answer = messages(other, begun)[-1]
    assert (answer.text, answer.ids, answer.complete, answer.cut) == ("so far", tuple(map(ord, "so far")), False, True)
    assert recover(other) == [], "its process lives"
    other.close()


def test_a_killed_answer_is_made_whole_and_marked_and_found(store: Store) -> None:
    begun, empty = store.begin(question("a")), store.begin(question("b"))
    journalled(store, begun, "the partial answer")
    with store.writing() as db:
        db.execute("UPDATE messages SET writer = ?", (this_process().replace(f":{os.getpid()}:", ":999999999:"),))
    assert recover(store) == [begun.session], "the other one has no words"
    assert recover(store) == []
    answer = messages(store, begun)[-1]
    assert (answer.text, answer.cut, answer.complete) == ("the partial answer", True, True)
    assert answer.generations[0].settings == SETTINGS and answer.generations[0].seed is None
    assert [m.role for m in messages(store, empty)] == ["user"]
    assert [hit.session for hit in search(store, "partial", 5)] == [begun.session]
    assert [m.id for m in store.conversation(empty.session).path()] == [empty.prompt]


def test_the_answer_of_a_run_that_was_killed_is_kept_and_not_offered(store: Store) -> None:
    begun = store.begin(replace(question("a"), settings=SETTINGS | {"by": "run"}))
    journalled(store, begun, "the partial answer")
    with store.writing() as db:
        db.execute("UPDATE messages SET writer = ?", (this_process().replace(f":{os.getpid()}:", ":999999999:"),))
    assert recover(store) == []
    answer = messages(store, begun)[-1]
    assert (answer.text, answer.cut, answer.complete) == ("the partial answer", True, True)


def test_a_journal_that_cannot_be_written_says_so_and_the_stream_goes_on(store: Store, monkeypatch: Any) -> None:
    begun = store.begin(question("a"))
    journal = Journal(store, begun.message)
    with store.writing() as db:
        db.execute("DROP TABLE journal")
    for _ in range(3):
        journal.add(TextDelta("x", ()))
    journal.close()
    assert isinstance(journal.failed, StoreError)


def test_a_process_is_gone_only_when_it_is() -> None:
    mine = this_process()
    assert not is_gone(mine)
    assert is_gone(mine.rpartition(":")[0] + ":1"), "another process that has its number"
    assert not is_gone("elsewhere:1:1"), "nobody here knows"
    assert is_gone("")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert is_gone(mine.replace(f":{os.getpid()}:", f":{child.pid}:"))


# Search and deletion.


def test_search_finds_all_the_words_the_newest_first_and_one_place_a_session(store: Store) -> None:
    old = say(store, "Wie packe ich ein Archiv aus?", "tar -xf archive.tar.gz")
    new = say(store, "the archive, again", "tar tf archive")
    assert [(h.session, h.text) for h in search(store, "archive tar", 9)] == [
        (new.session, "tar tf archive"), (old.session, "tar -xf archive.tar.gz"),
    ]  # fmt: skip
    assert len(search(store, "archive", 1)) == 1
    assert [h.session for h in search(store, '"tf archive"', 9)] == [new.session]
    assert [h.session for h in search(store, "arch* AUS", 9)] == [old.session]
    assert search(store, "nothing", 9) == []


def found(store: Store, words: str) -> None:
    """A search that finds something, or nothing, or has no word; anything else is an error of FTS5."""
    with suppress(NoWord):
        search(store, words, 3)


@given(words=st.text(max_size=20))
def test_nothing_in_a_search_is_an_operator(words: str, one_store: Store) -> None:
    found(one_store, words)
    found(one_store, f"plain {words}")


@pytest.mark.parametrize(
    "words", ["text: word", "word) OR (x", "NEAR(a b)", "word AND", "-word", "^word", '"', "*", "a\0b"]
)
def test_the_syntax_of_fts5_is_words_here(words: str, one_store: Store) -> None:
    found(one_store, words)


def test_deleted_words_are_not_in_the_bytes_of_any_file(store: Store) -> None:
    """H5"""
    kept = say(store, "something harmless", "fine")
    for n in range(40):  # enough that the index has several levels, and a long text has pages of its own
        gone = say(store, f"my secret{n} zebrastripe{n}", "zebrastripe " * 2000)
        journalled(store, gone, "zebrastripe")
        store.judge(gone.message, "fixed", "no zebrastripe")
        assert erase(store, [gone.session]) if n % 2 else True
    assert erase(store, [s.id for s in store.sessions() if s.id != kept.session])
    files = [p.read_bytes() for p in store.path.parent.iterdir()]
    assert not any(word in data for data in files for word in (b"zebrastripe", b"secret"))
    assert [s.id for s in store.sessions()] == [kept.session]
    assert [h.session for h in search(store, "harmless", 5)] == [kept.session]
    with store.reading() as db:
        for table in ("messages", "runs", "journal", "judgements"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == {"messages": 2, "runs": 1}.get(table, 0)


def test_a_chat_whose_session_was_deleted_elsewhere_does_not_write_into_another(store: Store) -> None:
    first = say(store, "a", "x")
    erase(store, [first.session])
    say(store, "b", "y")
    for lost in (
        lambda: store.finish(first, "z", [1], cut=False, outcome=None),
        lambda: store.judge(first.message, "bad"),
    ):
        with pytest.raises(StoreError):
            lost()
    store.abandon(first, prompt=True)
    assert [m.text for s in store.sessions() for m in store.conversation(s.id).messages] == ["b", "y"]
    with pytest.raises(StoreError, match="was deleted by another tfm"):
        store.begin(question("more"), session=first.session, parent=first.message)


def test_list_chat_and_search_read_through_an_index(store: Store) -> None:
    """None of what happens at the start of a chat, or in a list, looks at every row."""
    queries = (
        "SELECT id, session, writer FROM messages WHERE complete = 0",
        "SELECT id FROM sessions ORDER BY updated DESC, id DESC LIMIT 20",
        "SELECT id FROM sessions WHERE id >= 'a' AND id < 'b' ORDER BY id LIMIT 2",
        "SELECT count(*) FROM messages m WHERE m.session = 'x' AND m.role <> 'system'",
        "SELECT * FROM journal WHERE message = 1",
        "SELECT 1 FROM messages WHERE parent = 1",
    )
    with store.reading() as db:
        for query in queries:
            plan = " ".join(row[3] for row in db.execute("EXPLAIN QUERY PLAN " + query))
            assert "INDEX" in plan, (query, plan)
