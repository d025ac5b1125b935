"""Deleting, so that the words are not in the file's bytes afterwards."""

from collections.abc import Sequence

from chat.sessions.store import Store

PAGES = 200  # of the index in one transaction: another process waits for its turn no longer than that takes


def erase(store: Store, sessions: Sequence[str]) -> bool:
    """Take sessions out, with everything that was said in them. What is freed is overwritten (PRAGMA secure_delete).

    The full-text index only marks words as deleted, so it is written anew. False when another process was reading:
    SQLite's own journal beside the file holds the words until the last process ends.
    """
    with store.writing() as db:
        db.executemany("DELETE FROM sessions WHERE id = ?", [(session,) for session in sessions])
    changes = 2
    while changes > 1:  # with nothing left to merge, the command itself is the one change
        with store.writing() as db:
            before = db.total_changes
            db.execute("INSERT INTO words(words, rank) VALUES ('merge', ?)", (-PAGES,))
            changes = db.total_changes - before
    with store.reading() as db:
        return not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
