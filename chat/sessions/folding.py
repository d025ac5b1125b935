"""An answer that was never finished, made whole of what its journal holds."""

import sqlite3
from collections.abc import Callable

from chat.sessions.blobs import pack_ids, unpack_ids
from chat.sessions.reading import journal_of


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
