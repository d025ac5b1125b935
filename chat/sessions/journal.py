"""The journal: while an answer streams, what has come of it is on the disk a twentieth of a second later.

A thread of its own writes it, so that the stream never waits for the disk and a model that pauses delays nothing.
Each write appends what is new: its cost does not grow with the answer. `fold` makes a killed answer whole again.
"""

import sqlite3
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from chat.sessions.blobs import pack_ids, unpack_ids
from chat.sessions.reading import journal_of
from chat.sessions.schema import StoreError
from chat.sessions.writer import is_gone
from engine.events import TextDelta

if TYPE_CHECKING:
    from chat.sessions.store import Store

INTERVAL_SECONDS = 0.05  # what is promised is 0.25; a busy machine wakes the thread late


class Journal:
    """The text of one answer on its way to the store. failed: why nothing could be written, once that has happened."""

    def __init__(self, store: "Store", message: int) -> None:
        self.failed: StoreError | None = None
        self._store, self._message = store, message
        self._new: list[TextDelta] = []
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def add(self, delta: TextDelta) -> None:
        """The next part of the answer. Returns at once."""
        with self._lock:
            self._new.append(delta)
        self._some.set()

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._over.set()
        self._some.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set() and self.failed is None:
            self._some.wait()
            self._some.clear()
            self._write()
            self._over.wait(INTERVAL_SECONDS)

    def _write(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        if not new:
            return
        text, thoughts = "".join(delta.text for delta in new), "".join(delta.thoughts for delta in new)
        ids = pack_ids([token.id for delta in new for token in delta.tokens])
        try:
            with self._store.writing() as db:
                row = "INSERT INTO journal (message, text, thoughts, ids) VALUES (?, ?, ?, ?)"
                db.execute(row, (self._message, text, thoughts, ids))
        except StoreError as e:
            self.failed = e


def fold(db: sqlite3.Connection, message: int, gone: Callable[[str], bool] = lambda writer: True) -> bool:
    """Make an answer that was never finished a whole one, cut, of what its journal holds; an empty one goes.

    Leaves a complete one alone, and one whose writer is not gone. Returns whether there is a cut answer now.
    """
    row = db.execute("SELECT text, ids, writer FROM messages WHERE id = ? AND NOT complete", (message,)).fetchone()
    if row is None or not gone(row[2]):
        return False
    more, more_ids = journal_of(db, message)
    ids = (*unpack_ids(row[1]), *more_ids)
    db.execute("DELETE FROM journal WHERE message = ?", (message,))
    if not ids and not row[0] + more:  # the text of a server has no ids
        db.execute("UPDATE sessions SET head = (SELECT parent FROM messages WHERE id = ?1) WHERE head = ?1", (message,))
        db.execute("DELETE FROM messages WHERE id = ?", (message,))
        return False
    db.execute(
        "UPDATE messages SET text = ?, ids = ?, complete = 1, cut = 1, writer = '' WHERE id = ?",
        (row[0] + more, pack_ids(ids), message),
    )
    return True


def recover(store: "Store") -> list[str]:
    """Fold the answers whose processes were killed. The sessions of those that have words and that a person may want
    to go on with: what ended a `tfm run` was mostly a script, so its answer is kept, but not offered.

    Does nothing, and reads nothing, when there are none.
    """
    with store.reading() as db:
        unfinished = db.execute(
            "SELECT m.id, m.session, writer, json_extract(settings, '$.by') = 'run' FROM messages m"
            " LEFT JOIN runs ON message = m.id WHERE complete = 0 ORDER BY number"
        ).fetchall()
    killed = {message: (session, scripted) for message, session, writer, scripted in unfinished if is_gone(writer)}
    if not killed:
        return []
    with store.writing() as db:
        kept = [killed[message] for message in killed if fold(db, message, is_gone)]
    return list(dict.fromkeys(session for session, scripted in kept if not scripted))
