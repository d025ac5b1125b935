"""Chats that are killed while they stream, and what the store holds afterwards. No torch: the double answers.

python tests/chat/sessions/killing.py STORE KILLS SEED    prints one JSON object for each kill. Two chats run on
the store at a time, forked from a process that has imported everything, and each is killed at a moment of its own.
"""

import json
import os
import random
import select
import signal
import struct
import sys
import time
from dataclasses import dataclass
from io import BytesIO, TextIOBase, TextIOWrapper
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parents[1])]

from double import ScriptedEngine  # noqa: E402

from chat import models  # noqa: E402
from chat.repl.loop import talk  # noqa: E402
from chat.sessions.journal import recover  # noqa: E402
from chat.sessions.kept import Kept  # noqa: E402
from chat.sessions.store import Store  # noqa: E402
from chat.settings import gather  # noqa: E402

STAMP = struct.Struct("<dI")
TOKEN_SECONDS = 0.004
LONGEST = 0.7  # seconds until a kill; in it a chat gives about three answers
EARLY = 0.2  # share of the kills whose time counts from the start, not from the first token


def answers(name: str) -> list[str]:
    """What a chat says, one after the other: short answers, or after one a long one that is never whole."""
    lengths = [6] * 9 if int(name.split()[-1]) % 2 else [6, *[400] * 8]
    return [f"{name} says: " + " ".join(f"{turn}-{n}" for n in range(length)) for turn, length in enumerate(lengths)]


class Stamped(TextIOBase):
    """A stdout that says when each piece was written; a piece is in the pipe once `write` returns."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def write(self, text: str) -> int:
        data = text.encode()
        os.write(self._pipe, STAMP.pack(time.monotonic(), len(data)) + data)
        return len(text)


def chat(name: str, pipe: int) -> None:
    """The killed process: `tfm chat` on lines of stdin, with the double."""
    sys.stdout = Stamped(pipe)  # type: ignore[assignment]
    models.resolve = Path  # type: ignore[assignment]
    engine = ScriptedEngine(answers(name), delay=TOKEN_SECONDS)
    lines = "".join(f"{name} asks {turn}\n" for turn in range(9))
    talk(gather({"max_new_tokens": "9999"}, {}), loader=engine.loader, stdin=TextIOWrapper(BytesIO(lines.encode())))


@dataclass
class Victim:
    """One chat: its process, the end of the pipe to read, when it is to be killed and when it was."""

    name: str
    pid: int
    pipe: int
    due: float
    killed: float = 0.0

    def printed(self) -> list[tuple[float, str]]:
        """What it had written when it was killed."""
        data = b""
        while part := os.read(self.pipe, 1 << 16):
            data += part
        os.close(self.pipe)
        pieces = []
        while len(data) >= STAMP.size:
            moment, length = STAMP.unpack_from(data)
            pieces.append((moment, data[STAMP.size : STAMP.size + length].decode()))
            data = data[STAMP.size + length :]
        return pieces


def start(name: str, chance: random.Random) -> Victim:
    """Fork a chat. No store is open here: SQLite does not survive a fork."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            chat(name, writing)
        finally:
            os._exit(0)
    os.close(writing)
    if chance.random() > EARLY:
        select.select([reading], [], [])
    return Victim(name, pid, reading, time.monotonic() + chance.uniform(0, LONGEST))


def kill(victims: list[Victim]) -> None:
    """Each at its moment."""
    for victim in sorted(victims, key=lambda v: v.due):
        time.sleep(max(0.0, victim.due - time.monotonic()))
        victim.killed = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
    for victim in victims:
        os.waitpid(victim.pid, 0)


def verdict(victim: Victim, kept: list[Kept]) -> dict[str, Any]:
    """What was lost of one chat. wrong: what must never be; lost_seconds: how old the oldest token is that was
    printed and is not stored."""
    pieces, wrong = victim.printed(), []
    shown = "".join(text for _, text in pieces)
    begun = [part for part in shown.split("\n") if part]
    stored = [message for message in kept if message.role == "assistant"]
    for turn, text in enumerate(begun[:-1]):  # each was finished, as another one followed it
        if turn >= len(stored) or (stored[turn].text, stored[turn].cut) != (text, False):
            wrong.append(f"the finished answer {turn} is not stored as it was")
    whole = "".join(answer + "\n" for answer in answers(victim.name))
    held = "".join(m.text if m.cut else m.text + "\n" for m in stored)
    if not whole.startswith(held):
        wrong.append("what is stored was never said")
    if any(tuple(map(ord, m.text)) != m.ids for m in stored):
        wrong.append("ids and text do not agree")
    if begun and not any(m.role == "user" for m in kept):
        wrong.append("the prompt is lost")
    lost = [moment for (moment, _), end in zip(pieces, ends(pieces), strict=True) if end > len(held) + 1]
    age = victim.killed - lost[0] if lost else 0.0
    cut = sum(message.cut for message in stored)
    return {
        "name": victim.name, "printed": len(shown), "stored": len(held), "lost_seconds": age, "wrong": wrong,
        "cut": cut, "finished": len(stored) - cut,
    }  # fmt: skip


def ends(pieces: list[tuple[float, str]]) -> list[int]:
    """After how many characters each piece ends."""
    total, found = 0, []
    for _, text in pieces:
        total += len(text)
        found.append(total)
    return found


def main() -> None:
    """Kill, open the store as the next chat would, and look."""
    path, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.environ["TFM_SESSIONS"] = str(path)
    chance = random.Random(seed)
    for number in range(0, kills, 2):
        victims = [start(f"chat {number + n}", chance) for n in range(2)]
        kill(victims)
        store = Store(path)
        recover(store)
        with store.reading() as db:
            broken = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
            broken += [str(row) for row in db.execute("PRAGMA foreign_key_check")]
            db.execute("INSERT INTO words(words) VALUES ('integrity-check')")  # raises when the index is wrong
            unfinished = db.execute("SELECT count(*) FROM messages WHERE NOT complete").fetchone()[0]
            journal = db.execute("SELECT count(*) FROM journal").fetchone()[0]
        sessions = {s.title.removesuffix(" asks 0"): s.id for s in store.sessions(4)}
        for victim in victims:
            session = sessions.get(victim.name)
            kept = list(store.conversation(session).messages) if session else []
            result = verdict(victim, kept) | {"broken": broken, "unfinished": unfinished, "journal": journal}
            print(json.dumps(result), flush=True)
        store.close()


if __name__ == "__main__":
    main()
