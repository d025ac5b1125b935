"""How long the store of conversations takes when it is large: 10,000 sessions of 40 messages.

python scripts/measure_sessions.py DIRECTORY    makes DIRECTORY/large.sqlite (kept for the next call) and prints medians
of whole processes (`tfm history ...`) and of the calls within. The words of the messages are drawn by Zipf's law.
"""

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

from chat.sessions.blobs import pack_ids
from chat.sessions.erase import erase
from chat.sessions.ids import new_id
from chat.sessions.journal import Journal, recover
from chat.sessions.search import search
from chat.sessions.store import Question, Store
from engine.events import TextDelta, TokenEvent

SESSIONS, MESSAGES, WORDS, VOCABULARY = 10_000, 40, 30, 20_000
START = 1_735_689_600.0  # 2025-01-01
TIMES = 21


def fill(store: Store) -> None:
    """Sessions of questions and answers, some with a rare word."""
    chance = random.Random(7)
    vocabulary = [f"word{n}" for n in range(VOCABULARY)]
    weights = list(accumulate(1 / (n + 1) for n in range(VOCABULARY)))
    with store.writing() as db:
        number = 0
        for n in range(SESSIONS):
            now = START + 600 * n
            session = new_id(now)
            texts = [" ".join(chance.choices(vocabulary, cum_weights=weights, k=WORDS)) for _ in range(MESSAGES)]
            row = (session, now, now, texts[0][:80], "default", number + MESSAGES)
            db.execute("INSERT INTO sessions (id, created, updated, title, model, head) VALUES (?, ?, ?, ?, ?, ?)", row)
            for place, text in enumerate(texts):
                number += 1
                role, ids = ("assistant", pack_ids(range(2 * WORDS))) if place % 2 else ("user", None)
                db.execute(
                    "INSERT INTO messages (id, session, parent, role, text, ids, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (number, session, number - 1 if place else None, role, text, ids, now + place),
                )
                if ids:
                    run = "INSERT INTO runs (message, number, model_hash, template_hash, settings, start, prompt_tail)"
                    db.execute(f"{run} VALUES (?, 0, '', '', '{{}}', 0, ?)", (number, ids))


def median(name: str, call: Callable[[], object], times: int = TIMES) -> None:
    """Print the median and the longest of some calls, in milliseconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    print(f"{name:44}{statistics.median(taken):9.1f} ms   (longest {max(taken):.1f})")


def process(path: Path, *command: str) -> Callable[[], object]:
    """A whole process, from its start to its end, on the store at a path."""
    env = os.environ | {"TFM_SESSIONS": str(path)}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    return lambda: subprocess.run([sys.executable, *command], env=env, check=True, **quiet)  # type: ignore[call-overload]


def opened(path: Path) -> None:
    """What a chat does before its first prompt."""
    store = Store(path)
    recover(store)
    store.close()


def journalled(store: Store) -> None:
    """An answer of 400 tokens, a write for each: what the stream would wait for if it wrote by itself."""
    begun = store.begin(Question("x", "", "m", {}))
    journal = Journal(store, begun.message)
    journal.close()
    taken = []
    for n in range(400):
        start = time.perf_counter()
        journal.add(TextDelta("word ", (TokenEvent(n, -1.0),)))
        journal._write()
        taken.append(1e6 * (time.perf_counter() - start))
    print(f"a write of the journal: median {statistics.median(taken):.0f} µs, longest {max(taken):.0f} µs")
    store.abandon(begun, prompt=True)


def main() -> None:
    """Make the store if it is not there, and measure."""
    path = Path(sys.argv[1]) / "large.sqlite"
    is_new = not path.exists()
    store = Store(path)
    if is_new:
        start = time.perf_counter()
        fill(store)
        print(f"made in {time.perf_counter() - start:.0f} s")
    size = path.stat().st_size / 1e6
    with store.reading() as db:
        counts = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("sessions", "messages")]
    print(f"{counts[0]} sessions, {counts[1]} messages, {size:.0f} MB")
    small = Path(sys.argv[1]) / "small.sqlite"
    median("opened by a chat, empty", lambda: opened(small))
    median("opened by a chat, large", lambda: opened(path))
    median("list, 20", lambda: store.sessions(20))
    for words in ("word0", "word9999", "word0 word1 word2", "word12* word345", '"word0 word1"', "nothing"):
        median(f"search, 20: {words}", lambda words=words: search(store, words, 20))  # type: ignore[misc]
    last = store.last()
    assert last is not None
    median("one session with its tree", lambda: store.conversation(last))
    chosen = iter([session.id for session in store.sessions(5)])
    median("a session deleted, with its words", lambda: erase(store, [next(chosen)]), 5)
    journalled(store)
    store.close()
    for arguments in (("--help",), ("history", "list"), ("history", "search", "word9999 word3")):
        median("tfm " + " ".join(arguments), process(path, "-m", "chat", *arguments))
    double = str(Path(__file__).parents[1] / "tests" / "terminal" / "drive.py")  # a chat without a model
    for name, store_at in (("empty", small), ("large", path)):
        median(f"tfm chat, begun and left, {name} store", process(store_at, double, "{}", "chat"))


if __name__ == "__main__":
    main()
