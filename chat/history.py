"""`tfm history`: what is kept, to stdout; whatever was said passes safe_text on its way there. Torch-free.

Each command imports what it alone needs: a list should be there at once.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chat.render import safe_text
from chat.sessions.kept import Generation, Kept, Session
from chat.sessions.schema import store_path
from chat.sessions.store import Store
from engine.errors import UsageError
from engine.params import SamplingParams

SHORT_HASH = 8
NOTHING_JUDGED = ("There is no answer to learn from.", "In a chat, /good and /fix judge an answer.")


@contextmanager
def opened() -> Iterator[Store]:
    """The store, if there is one: to look for what is kept makes no file."""
    if not store_path().exists():
        raise UsageError(f"No conversation is kept: there is no {store_path()}.")
    store = Store()
    try:
        yield store
    finally:
        store.close()


def list_sessions(limit: int, as_json: bool) -> int:
    """A line for each session, the last first."""
    found: list[Session] = []
    if store_path().exists():
        with opened() as store:
            found = store.sessions(limit)
    if as_json:
        print(json.dumps([asdict(session) for session in found], indent=2))
        return 0
    rows = [(s.id, local(s.updated), str(s.messages), one_line(s.model), one_line(s.title)) for s in found]
    table(("id", "last spoken", "messages", "model", "first prompt"), rows)
    return 0


def search_sessions(words: str, limit: int, as_json: bool) -> int:
    """A line for each session in which the words are, with the newest place."""
    from chat.sessions.search import search

    with opened() as store:
        hits = search(store, words, limit)
    if as_json:
        print(json.dumps([asdict(hit) for hit in hits], indent=2))
    else:
        table(("id", "said", "by", "text"), [(h.session, local(h.created), h.role, one_line(h.text)) for h in hits])
    return 0


def show_session(name: str | None, as_json: bool) -> int:
    """One session up to where it stands."""
    from chat.sessions.export import exported

    with opened() as store:
        session = store.last() if name is None else store.find(name)
        if session is None:
            raise UsageError("No conversation is kept.")
        conversation = store.conversation(session)
    if as_json:
        print(json.dumps(exported(conversation, "jsonl"), indent=2))
        return 0
    about, path = conversation.session, conversation.path()
    print(safe_text(f"{about.id}: {about.title}"))
    print(safe_text(f"{local(about.created)} to {local(about.updated)}, {about.messages} messages, {about.model}"))
    for message in path:
        print()
        print(safe_text(f"{message.role}, {local(message.created)}{remarks(message)}"))
        for run in message.generations:
            print(safe_text("  " + (made(run) if run.seed is not None or message.cut else "from a file")))
        print(safe_text(message.text))
    others = sum(m.role != "system" for m in conversation.messages) - sum(m.role != "system" for m in path)
    if others:
        print(
            f"{others} messages are on other branches: `tfm chat --session {about.id}` and /tree show them.",
            file=sys.stderr,
        )
    return 0


def remarks(message: Kept) -> str:
    """What is to be known of a message beside its text."""
    said = [", cut" if message.cut else ""]
    if message.judgement is not None:
        said.append(f", judged {message.judgement.verdict}")
    return "".join(said)


def made(run: Generation) -> str:
    """How a generation was made, on one line: hashes, seed, and the settings that are not at their default."""
    plain = SamplingParams().as_dict()
    other = {k: v for k, v in run.settings["sampling"].items() if v != plain[k] and k not in ("seed", "logprobs")}
    settings = "".join(f", {name} {value}" for name, value in other.items())
    hashes = f"model {run.model_hash[:SHORT_HASH] or 'unknown'}, template {run.template_hash[:SHORT_HASH] or 'none'}"
    return f"{hashes}, seed {run.seed}{settings}, {run.reason}"


def export_sessions(names: Sequence[str], form: str) -> int:
    """Sessions in a format, one after the other."""
    from chat.sessions.export import FORMATS, exported, judged

    if form not in FORMATS:
        raise UsageError(f"--format must be one of {', '.join(FORMATS)}, not {form!r}.")
    found = False
    with opened() as store:
        sessions = [store.find(name) for name in names] or [session.id for session in store.sessions()][::-1]
        for session in sessions:
            conversation = store.conversation(session)
            if form == "markdown":
                print(("\n" if found else "") + exported(conversation, form), end="")
                found = True
                continue
            for record in judged(conversation) if form == "sft" else [exported(conversation, form)]:
                print(json.dumps(record, ensure_ascii=False))
                found = True
    if form == "sft" and not found:
        raise UsageError(*NOTHING_JUDGED)
    return 0


def write_judged(file: Path) -> int:
    """Write all that was judged good or corrected to a file for the trainer, for its owner alone; how many answers.

    Raises UsageError when there is none, and then nothing is written; OSError when the file cannot be.
    """
    from chat.sessions.export import judged

    with opened() as store:
        sessions = [session.id for session in store.sessions()][::-1]
        lines = [json.dumps(row, ensure_ascii=False) for id_ in sessions for row in judged(store.conversation(id_))]
    if not lines:
        raise UsageError(*NOTHING_JUDGED)
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in lines)
    return len(lines)


def delete_sessions(names: Sequence[str], everything: bool, yes: bool) -> int:
    """Delete sessions when a person says so."""
    from chat.sessions.erase import erase

    if bool(names) == everything:
        raise UsageError("Name the sessions to delete, or give --all.")
    with opened() as store:
        sessions = [s.id for s in store.sessions()] if everything else list(dict.fromkeys(map(store.find, names)))
        if not yes and not _agreed(store, sessions, everything):
            print("Nothing was deleted.", file=sys.stderr)
            return 0
        clean = erase(store, sessions)
    print(f"Deleted {len(sessions)} session{'s' if len(sessions) != 1 else ''}.", file=sys.stderr)
    if not clean:
        print("Another tfm was reading: their words are in its journal file until it ends.", file=sys.stderr)
    return 0


def _agreed(store: Store, sessions: Sequence[str], everything: bool) -> bool:
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError("Nobody can be asked whether to delete.", "--yes deletes without asking.")
    if everything:
        what = f"all {len(sessions)} conversations"
    else:
        what = ", ".join(f"{s} ({one_line(store.conversation(s).session.title)})" for s in sessions)
    print(f"Delete {what}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def local(seconds: float) -> str:
    """A time in the time zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def one_line(text: Any) -> str:
    """A text from elsewhere, as one line that sends nothing to a terminal."""
    return safe_text(" ".join(str(text).split()))


def table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as what is in them; the last one is not padded."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
