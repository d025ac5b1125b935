"""From rows to sessions and trees. Each query reads what one session holds, or a page of the list: never all."""

import json
import sqlite3
from typing import Any

from chat.sessions.blobs import unpack_floats, unpack_ids
from chat.sessions.kept import Generation, Judgement, Kept, Session
from engine.thinking import with_thoughts

Sequences = dict[tuple[int, int], tuple[int, ...]]  # (message, generation) -> ids of its prompt and answer


def read_sessions(db: sqlite3.Connection, where: str, *values: Any) -> list[Session]:
    """The sessions of an SQL condition or order, each with the number of its prompts and answers."""
    count = "(SELECT count(*) FROM messages m WHERE m.session = sessions.id AND m.role <> 'system')"
    rows = db.execute(f"SELECT id, created, updated, title, model, head, {count} FROM sessions {where}", values)
    return [Session(*row) for row in rows]


def read_messages(db: sqlite3.Connection, session: str) -> tuple[Kept, ...]:
    """The tree of a session, parents before children."""
    rows = db.execute(
        "SELECT m.id, parent, role, m.text, m.created, ids, complete, cut, found, dropped, verdict, j.text"
        " FROM messages m LEFT JOIN judgements j ON j.message = m.id WHERE session = ? ORDER BY m.id",
        (session,),
    ).fetchall()
    runs: dict[int, list[tuple[Any, ...]]] = {}
    for run in db.execute(
        "SELECT r.message, number, model_hash, template_hash, settings, start, base_message, base_number,"
        " prompt_shared, prompt_tail, splits, seed, draws, logprobs, counts, reason, stop"
        " FROM messages m JOIN runs r ON r.message = m.id WHERE session = ? ORDER BY r.message, number",
        (session,),
    ):
        runs.setdefault(run[0], []).append(run)
    sequences: Sequences = {}
    return tuple(_message(db, row, runs.get(row[0], []), sequences) for row in rows)


def journal_of(db: sqlite3.Connection, message: int) -> tuple[str, tuple[int, ...]]:
    """What has come of an answer that is not complete: its text with its thoughts, and its ids."""
    rows = db.execute("SELECT text, thoughts, ids FROM journal WHERE message = ? ORDER BY id", (message,)).fetchall()
    text, thoughts = ("".join(row[column] for row in rows) for column in (0, 1))
    return with_thoughts(thoughts, text), unpack_ids(b"".join(row[2] for row in rows))


def _message(db: sqlite3.Connection, row: tuple[Any, ...], runs: list[tuple[Any, ...]], known: Sequences) -> Kept:
    number, parent, role, text, created, packed, complete, cut, found, dropped, verdict, corrected = row
    ids = unpack_ids(packed) if packed is not None else () if role == "assistant" else None
    if not complete:
        more, more_ids = journal_of(db, number)
        text, ids = text + more, (*(ids or ()), *more_ids)
    starts = [*(run[5] for run in runs), len(ids or ())]  # each generation ends where the next one starts
    spans = zip(runs, starts[:-1], starts[1:], strict=True)
    generations = tuple(_generation(run, (ids or ())[start:end], known) for run, start, end in spans)
    return Kept(
        number, parent, role, text, created, ids, bool(complete), bool(cut or not complete), _load(found),
        _load(dropped), generations, Judgement(verdict, corrected) if verdict else None,
    )  # fmt: skip


def _generation(run: tuple[Any, ...], ids: tuple[int, ...], known: Sequences) -> Generation:
    (message, number, model, template, settings, start, base_message, base_number, shared, tail, splits, seed, draws,
     logprobs, counts, reason, stop) = run  # fmt: skip
    prompt = known.get((base_message, base_number), ())[:shared] + unpack_ids(tail or b"")
    known[message, number] = prompt + ids
    return Generation(
        number, model, template, json.loads(settings), start, ids, prompt, _load(splits), seed, draws,
        unpack_floats(logprobs or b""), _load(counts), reason or "interrupted", stop,
    )  # fmt: skip


def _load(text: str | None) -> Any:
    return None if text is None else json.loads(text)
