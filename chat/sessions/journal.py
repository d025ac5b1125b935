"""The journal: while an answer streams, what has come of it is on the disk a twentieth of a second later.

A thread of its own writes it, so that the stream never waits for the disk and a model that pauses delays nothing.
Each write appends what is new: its cost does not grow with the answer. `recover` makes killed answers whole again.
"""

import threading

from chat.sessions.blobs import pack_ids
from chat.sessions.folding import fold
from chat.sessions.schema import StoreError
from chat.sessions.store import Store
from chat.sessions.writer import is_gone
from engine.events import TextDelta

INTERVAL_SECONDS = 0.05  # what is promised is 0.25; a busy machine wakes the thread late


class Journal:
    """The text of one answer on its way to the store. failed: why nothing could be written, once that has happened."""

    def __init__(self, store: Store, message: int) -> None:
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


def recover(store: Store) -> list[str]:
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
