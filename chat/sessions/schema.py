"""The store's file: where it lies, its tables as ordered migrations, and opening it so that only its owner reads it."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chat.settings import of_machine
from engine.errors import UsageError

BUSY_SECONDS = 5.0  # how long a write waits for that of another process; each takes less than a millisecond
APPLICATION_ID = 0x74666D31  # "tfm1", in the file's header

# Each entry is one version of the format, and is never changed once it was released: a later one is added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            title TEXT NOT NULL,
            model TEXT NOT NULL,
            head INTEGER  -- the message at which the conversation stands
        )""",
        "CREATE INDEX sessions_by_time ON sessions(updated)",
        # AUTOINCREMENT: the number of a deleted message is never given again, so a process that still holds it fails.
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
            parent INTEGER REFERENCES messages(id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
            text TEXT NOT NULL,
            ids BLOB,  -- of an answer: what the template is given in place of the text; u32, little-endian
            created REAL NOT NULL,
            complete INTEGER NOT NULL DEFAULT 1,  -- 0: an answer whose text is still in the journal
            cut INTEGER NOT NULL DEFAULT 0,
            writer TEXT NOT NULL DEFAULT '',  -- the process that writes an answer that is not complete
            found TEXT,  -- of an answer: JSON of what was looked up for its prompt
            dropped TEXT  -- of an answer: JSON of the turns that went out of the context before it
        )""",
        "CREATE INDEX messages_of ON messages(session, id)",
        "CREATE INDEX messages_below ON messages(parent)",
        "CREATE INDEX messages_unfinished ON messages(id) WHERE complete = 0",
        # One generation of an answer; an answer that was cut and continued has several.
        """CREATE TABLE runs (
            message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            model_hash TEXT NOT NULL,
            template_hash TEXT NOT NULL,
            settings TEXT NOT NULL,  -- JSON: everything that was set and loaded
            start INTEGER NOT NULL,  -- how many of the message's ids were there before
            base_message INTEGER,  -- a run above whose prompt and answer begin as this prompt does
            base_number INTEGER,
            prompt_shared INTEGER NOT NULL DEFAULT 0,  -- for so many ids
            prompt_tail BLOB,  -- the ids of the prompt after these
            splits TEXT,  -- JSON: in which passes the context was read
            seed INTEGER,
            draws INTEGER,
            logprobs BLOB,  -- float32, little-endian, one for each sampled id
            counts TEXT,  -- JSON: usage and timings
            reason TEXT,
            stop TEXT,
            PRIMARY KEY (message, number)
        )""",
        """CREATE TABLE journal (
            id INTEGER PRIMARY KEY,
            message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            thoughts TEXT NOT NULL,
            ids BLOB NOT NULL
        )""",
        "CREATE INDEX journal_of ON journal(message)",
        """CREATE TABLE judgements (
            message INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
            verdict TEXT NOT NULL CHECK (verdict IN ('good', 'bad', 'fixed')),
            text TEXT,  -- of 'fixed': the answer as it should have been
            created REAL NOT NULL
        )""",
        """CREATE VIRTUAL TABLE words USING fts5(
            text, content='messages', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
        )""",
        # A text is indexed while it is complete, and does not change as long as it is.
        """CREATE TRIGGER words_added AFTER INSERT ON messages WHEN new.complete BEGIN
            INSERT INTO words(rowid, text) VALUES (new.id, new.text);
        END""",
        """CREATE TRIGGER words_completed AFTER UPDATE OF complete ON messages
        WHEN new.complete AND NOT old.complete BEGIN
            INSERT INTO words(rowid, text) VALUES (new.id, new.text);
        END""",
        """CREATE TRIGGER words_reopened AFTER UPDATE OF complete ON messages
        WHEN old.complete AND NOT new.complete BEGIN
            INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text);
        END""",
        """CREATE TRIGGER words_deleted AFTER DELETE ON messages WHEN old.complete BEGIN
            INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text);
        END""",
    ),
)


class StoreError(UsageError):
    """The store of conversations cannot be opened, read or written."""


def store_path() -> Path:
    """Where the conversations lie: TFM_SESSIONS, or sessions.sqlite in the user's data directory."""
    if named := of_machine("sessions"):
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("tfm") / "sessions.sqlite"


def connect(path: Path) -> sqlite3.Connection:
    """The store at a path, made or brought up to date where that is needed. Threads may share it, one at a time.

    Raises StoreError when it cannot be written, is no store, or was written by a newer version.
    """
    with told(path):
        _make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What SQLite and the disk say, as a StoreError of one sentence."""
    try:
        yield
    except sqlite3.Error as e:
        raise StoreError(f"The store {path} cannot be used: {e}.") from e
    except OSError as e:
        raise StoreError(f"The store {path} cannot be used: {e.strerror or e}.") from e


def _make_private(path: Path) -> None:
    """The file and its directory, for the owner alone. SQLite gives its own files the mode of the database."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not of_machine("sessions"):  # a place that a person named keeps its mode
        path.parent.chmod(0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection, path)
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The store {path} was written by a newer tfm (format {version}; this one knows {len(MIGRATIONS)}).",
            "Update tfm, or set TFM_SESSIONS to another file.",
        )
    _use_wal(connection)
    # NORMAL: a process that is killed loses nothing that it wrote, a loss of power at most the last writes.
    # secure_delete: what is deleted is overwritten.
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    if version < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            for number in range(_version(connection, path), len(MIGRATIONS)):  # another process may have been first
                for statement in MIGRATIONS[number]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the format; 0 for a new file. Raises StoreError for a database of something else."""
    version, owner, has_tables = connection.execute(  # in one statement: another process may be making the tables
        "SELECT user_version, application_id, EXISTS (SELECT 1 FROM sqlite_master)"
        " FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if owner != APPLICATION_ID and (owner or version or has_tables):
        raise StoreError(f"{path} is a database, but not one of conversations.", "Set TFM_SESSIONS to another file.")
    return int(version)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Readers and a writer do not wait for each other. SQLite itself does not wait for the lock that this needs."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
