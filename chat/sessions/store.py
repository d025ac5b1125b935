"""`Store`: the conversations in their SQLite file. What is written is one short transaction for each step of a talk.

A session's messages are a tree; a system prompt is a message where it comes into force. An answer is entered before
its first token, incomplete, with a row for its generation; the journal holds its text until `finish`.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chat.sessions import ids as names
from chat.sessions.blobs import pack_floats, pack_ids
from chat.sessions.folding import fold
from chat.sessions.kept import Conversation, Session, Verdict
from chat.sessions.reading import read_messages, read_sessions
from chat.sessions.schema import StoreError, connect, store_path, told
from chat.sessions.writer import this_process
from engine.errors import UsageError

TITLE_LENGTH = 80
DELETED = "Its session was deleted by another tfm."


@dataclass(frozen=True)
class Question:
    """A prompt as it is about to be answered, under which system prompt and settings.

    text, ids: how its answer was made to begin.
    """

    prompt: str
    system: str
    model: str
    settings: Mapping[str, Any]
    model_hash: str = ""
    template_hash: str = ""
    found: Mapping[str, Any] | None = None
    dropped: Mapping[str, Any] | None = None
    text: str = ""
    ids: Sequence[int] = ()


@dataclass(frozen=True)
class Begun:
    """Where an answer is being written: its session, its prompt's message, its own, and which generation of it."""

    session: str
    prompt: int
    message: int
    number: int


@dataclass(frozen=True)
class Outcome:
    """What the engine told of a generation at its end. ids are those that it sampled."""

    ids: Sequence[int]
    prompt_ids: Sequence[int]
    splits: Mapping[str, Any]
    seed: int
    draws: int
    counts: Mapping[str, Any]
    reason: str
    stop: str | None = None
    logprobs: Sequence[float] = field(default=(), repr=False)


class Store:
    """One open store. Raises StoreError when it cannot be opened, and from every method when it cannot be used."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = store_path() if path is None else path
        self._connection = connect(self.path)
        self._lock = threading.RLock()  # the journal's thread writes, too
        self._sequences: dict[int, tuple[int, tuple[int, ...]]] = {}  # answer -> last generation, its prompt and answer

    def close(self) -> None:
        """Close it; the last process to do so folds SQLite's own journal into the file."""
        with self._lock, told(self.path):
            self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        with self._lock, told(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                yield self._connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries."""
        with self._lock, told(self.path):
            yield self._connection

    # A conversation as it goes on.

    def begin(
        self, question: Question, *, session: str | None = None, parent: int | None = None,
        prompt: int | None = None, answer: int | None = None,
    ) -> Begun:  # fmt: skip
        """Enter a prompt and its answer, of which nothing has come yet; a new session when there is none.

        parent: the answer that the prompt follows. prompt: the same prompt, when it has been asked before. answer: an
        answer that was cut and goes on.
        """
        now = time.time()
        with self.writing() as db:
            if session is None:
                session = self._start(question, now)
            elif not db.execute("SELECT 1 FROM sessions WHERE id = ?", (session,)).fetchone():
                raise StoreError(DELETED)
            if answer is None:
                if prompt is None or _system(db, prompt) != question.system:
                    prompt = self._prompt(question, session, parent, now)
                answer, number = _add(db, session, prompt, "assistant", question.text, now, question.ids), 0
            else:
                fold(db, answer)
                row = "SELECT parent, (SELECT count(*) FROM runs WHERE message = m.id) FROM messages m WHERE id = ?"
                prompt, number = db.execute(row, (answer,)).fetchone()
            db.execute(
                "UPDATE messages SET complete = 0, writer = ?, found = ?, dropped = ? WHERE id = ?",
                (this_process(), _json(question.found), _json(question.dropped), answer),
            )
            db.execute(
                "INSERT INTO runs (message, number, model_hash, template_hash, settings, start)"
                " SELECT id, ?, ?, ?, ?, length(ids) / 4 FROM messages WHERE id = ?",
                (number, question.model_hash, question.template_hash, _json(question.settings), answer),
            )
            _stand(db, session, answer, now)
        assert prompt is not None
        return Begun(session, prompt, answer, number)

    def _start(self, question: Question, now: float) -> str:
        title = " ".join(question.prompt.split())
        title = title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1] + "…"
        while True:
            session = names.new_id(now)
            row = "INSERT OR IGNORE INTO sessions (id, created, updated, title, model) VALUES (?, ?, ?, ?, ?)"
            if self._connection.execute(row, (session, now, now, title, question.model)).rowcount:
                return session

    def _prompt(self, question: Question, session: str, parent: int | None, now: float) -> int:
        """A new prompt, below the system prompt if that is another than the one in force."""
        if _system(self._connection, parent) != question.system:
            parent = _add(self._connection, session, parent, "system", question.system, now)
        return _add(self._connection, session, parent, "user", question.prompt, now)

    def finish(self, begun: Begun, text: str, ids: Sequence[int], *, cut: bool, outcome: Outcome | None) -> None:
        """The answer as it is in the end, all ids of it. outcome: None when the generation broke off."""
        with self.writing() as db:
            written = db.execute(
                "UPDATE messages SET text = ?, ids = ?, complete = 1, cut = ?, writer = '' WHERE id = ?",
                (text, pack_ids(ids), cut, begun.message),
            )
            if not written.rowcount:
                raise StoreError(DELETED)
            db.execute("DELETE FROM journal WHERE message = ?", (begun.message,))
            if outcome is not None:
                self._enter(db, begun, outcome)
            _stand(db, begun.session, begun.message, time.time())

    def _enter(self, db: sqlite3.Connection, begun: Begun, outcome: Outcome) -> None:
        """The outcome of a generation. Its prompt is stored as its difference from the one above: they begin alike."""
        base, shared = self._base(db, begun), 0
        if base is not None:
            shared = _common_prefix(base[2], outcome.prompt_ids)
        db.execute(
            "UPDATE runs SET base_message = ?, base_number = ?, prompt_shared = ?, prompt_tail = ?, splits = ?,"
            " seed = ?, draws = ?, logprobs = ?, counts = ?, reason = ?, stop = ? WHERE message = ? AND number = ?",
            (
                *(base[:2] if base else (None, None)), shared, pack_ids(outcome.prompt_ids[shared:]),
                _json(outcome.splits), outcome.seed, outcome.draws, pack_floats(outcome.logprobs),
                _json(outcome.counts), outcome.reason, outcome.stop, begun.message, begun.number,
            ),
        )  # fmt: skip
        self._sequences[begun.message] = (begun.number, (*outcome.prompt_ids, *outcome.ids))

    def _base(self, db: sqlite3.Connection, begun: Begun) -> tuple[int, int, tuple[int, ...]] | None:
        """The generation before this one, of the same answer or of the one above."""
        above: int | None = begun.message
        while above is not None:
            if above in self._sequences:
                return (above, *self._sequences[above])
            above = db.execute("SELECT parent FROM messages WHERE id = ?", (above,)).fetchone()[0]
        return None

    def abandon(self, begun: Begun, *, prompt: bool = False) -> None:
        """Nothing came of an answer: take it out, or, if it is one that was to go on, leave it as it was.

        prompt: take its prompt out, too, if this was its only answer, and a session that is empty then.
        """
        with self.writing() as db:
            db.execute("DELETE FROM journal WHERE message = ?", (begun.message,))
            if begun.number:
                db.execute("DELETE FROM runs WHERE message = ? AND number = ?", (begun.message, begun.number))
                db.execute("UPDATE messages SET complete = 1, writer = '' WHERE id = ?", (begun.message,))
                return
            if not db.execute("DELETE FROM messages WHERE id = ?", (begun.message,)).rowcount:
                return  # the session was deleted meanwhile
            head: int | None = begun.prompt
            if prompt and not db.execute("SELECT 1 FROM messages WHERE parent = ?", (head,)).fetchone():
                (above,) = db.execute("SELECT parent FROM messages WHERE id = ?", (head,)).fetchone()
                db.execute("DELETE FROM messages WHERE id = ?", (head,))
                head = above
            _stand(db, begun.session, head, time.time())
            written = db.execute("SELECT 1 FROM messages WHERE session = ? AND role <> 'system'", (begun.session,))
            if not written.fetchone():
                db.execute("DELETE FROM sessions WHERE id = ?", (begun.session,))

    def stand(self, session: str, message: int | None) -> None:
        """The conversation goes on after this message; None is before the first."""
        with self.writing() as db:
            db.execute("UPDATE sessions SET head = ? WHERE id = ?", (message, session))

    def judge(self, answer: int, verdict: Verdict, text: str | None = None) -> None:
        """Keep what a person thinks of an answer, in place of what they thought before."""
        with self.writing() as db:
            row = "INSERT OR REPLACE INTO judgements (message, verdict, text, created) VALUES (?, ?, ?, ?)"
            db.execute(row, (answer, verdict, text, time.time()))

    # What is kept.

    def find(self, name: str) -> str:
        """The session of an id or of the beginning of one. Raises UsageError when there is none, or several."""
        start = names.normal(name)
        with self.reading() as db:
            rows = db.execute(
                "SELECT id FROM sessions WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", (start, start + "~")
            ).fetchall()
        if not start or not rows:
            raise UsageError(f"There is no session {name!r}.", "`tfm history list` shows those that are kept.")
        if len(rows) > 1 and rows[0][0] != start:
            raise UsageError(f"{name!r} is the beginning of several sessions.", "`tfm history list` shows them.")
        return str(rows[0][0])

    def sessions(self, limit: int | None = None) -> list[Session]:
        """The sessions, the one that was last spoken in first."""
        with self.reading() as db:
            return read_sessions(db, "ORDER BY updated DESC, id DESC LIMIT ?", -1 if limit is None else limit)

    def last(self) -> str | None:
        """The session that was last spoken in."""
        found = self.sessions(1)
        return found[0].id if found else None

    def conversation(self, session: str) -> Conversation:
        """A session with its whole tree. Raises UsageError when it is not there (any more)."""
        with self.reading() as db:
            found = read_sessions(db, "WHERE id = ?", session)
            if not found:
                raise UsageError(f"There is no session {session!r}.", "`tfm history list` shows those that are kept.")
            whole = Conversation(found[0], read_messages(db, session))
        for message in whole.messages:
            for run in message.generations:
                self._sequences[message.id] = (run.number, (*run.prompt_ids, *run.ids))
        return whole


def _add(
    db: sqlite3.Connection, session: str, parent: int | None, role: str, text: str, now: float,
    ids: Sequence[int] | None = None,
) -> int:  # fmt: skip
    """A new message. An answer, which alone has ids, is complete when it is finished; everything else is so at once."""
    row = "INSERT INTO messages (session, parent, role, text, ids, created, complete) VALUES (?, ?, ?, ?, ?, ?, ?)"
    packed = None if ids is None else pack_ids(ids)
    return int(db.execute(row, (session, parent, role, text, packed, now, ids is None)).lastrowid or 0)


def _stand(db: sqlite3.Connection, session: str, message: int | None, now: float) -> None:
    db.execute("UPDATE sessions SET head = ?, updated = ? WHERE id = ?", (message, now, session))


def _system(db: sqlite3.Connection, message: int | None) -> str:
    """The system prompt that is in force at a message."""
    while message is not None:
        parent, role, text = db.execute("SELECT parent, role, text FROM messages WHERE id = ?", (message,)).fetchone()
        if role == "system":
            return str(text)
        message = parent
    return ""


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
