"""Command examples in SQLite FTS5: what a question at the shell is grounded in. Torch-free.

A database is made once (weights/data/examples.py) and only read here: by a chat, to put the nearest examples before
a question, and by the trainer, to teach a model to read them. What a person types never reaches FTS5 as syntax.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from math import log
from pathlib import Path
from typing import Any

from engine.errors import ModelError
from engine.template import Message
from engine.wording import (
    asked,
    command_in,
    cues,
    has_path,
    is_follow_up,
    kind,
    parts,
    tells_what,
    token,
    tool_of,
)

FILE = "examples.sqlite"  # its name beside a model's config.json
# A file whose tables are not exactly these is refused: what a view or trigger in it would do is never done.
SCHEMA = {
    "sources": "CREATE TABLE sources(name TEXT PRIMARY KEY, licence TEXT, attribution TEXT) WITHOUT ROWID",
    "tools": "CREATE TABLE tools(tool TEXT PRIMARY KEY) WITHOUT ROWID",
    "cues": "CREATE TABLE cues(cue TEXT PRIMARY KEY, weight INTEGER) WITHOUT ROWID",
    "examples": (
        "CREATE TABLE examples(id INTEGER PRIMARY KEY, description TEXT, command TEXT, tool TEXT, source TEXT, "
        "prior INTEGER)"
    ),
    "wordings": (
        "CREATE VIRTUAL TABLE wordings USING fts5(tool, words, command, content='', columnsize=0, detail=column, "
        "tokenize='porter unicode61')"
    ),
}
# A rowid of `wordings` holds the example's id, the number of the wording and its length in words: all that BM25 has to
# know of a row. FTS5's own bm25() takes four microseconds a row, and a common word has six thousand.
NUMBER_BITS, LENGTH_BITS = 6, 5
ID_SHIFT, LENGTH_MASK = NUMBER_BITS + LENGTH_BITS, (1 << LENGTH_BITS) - 1
K1, B, AVERAGE_LENGTH = 1.2, 0.75, 6.0
MATCH_POWER = 1.5  # a wording with all words is worth more than two with half of them
LENGTH_FACTORS = [(K1 + 1) / (1 + K1 * (1 - B + B * n / AVERAGE_LENGTH)) for n in range(LENGTH_MASK + 1)]
TOOL_WEIGHT = 0.4  # what a word counts as the tool's name, against one of the wording
BEFORE_WEIGHT = 0.5  # what a word of the question before counts in a follow-up
ENOUGH = 1200  # rows: words more common than that only raise rows that rarer ones have found
MOST_TERMS = 12
MOST_BEFORE = 3  # messages that a chain of follow-ups is followed back
CANDIDATES = 60
NEAR = 0.3  # of the question's words, weighed by how rare they are: the least share that the best example must have
BEHIND = 0.4  # of the best row's words: of many rows, those with less are not ranked
SAME_TOOL = 0.9  # what each further example of one tool weighs, against the one before
CUE_SCALE = 100  # cues.weight is a log-odds times this
PATH_CUE, DOUBT = 3.0, -3.0  # log-odds: what a path adds; where even a follow-up is no question at the shell


@dataclass(frozen=True, slots=True)
class Example:
    """A command, what it does, and where that was written (a row of the database's sources)."""

    description: str
    command: str
    tool: str
    source: str


@dataclass(frozen=True, slots=True)
class Source:
    """A collection of examples: whose it is, and under which licence."""

    name: str
    licence: str
    attribution: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """An example as it is ranked: its weight, and what near-duplicates share."""

    example: Example
    prior: float
    kind: tuple[str, ...]


def row_id(example: int, number: int, length: int) -> int:
    """The rowid in `wordings` of an example's wording."""
    return example << ID_SHIFT | number << LENGTH_BITS | min(length, LENGTH_MASK)


class Lookup:
    """The examples of one database, opened read-only.

    Raises ModelError, here and in every call, for a file that is missing, damaged, or of another version; and when
    this Python's SQLite has no FTS5.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ModelError(f"There are no command examples {self.path}.")
        try:
            uri = self.path.resolve().as_uri() + "?mode=ro&immutable=1"
            self._db = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except (sqlite3.Error, ValueError) as e:
            raise self._unusable(e) from e
        self._rows("PRAGMA trusted_schema = OFF")
        marks = ",".join("?" * len(SCHEMA))
        if dict(self._rows(f"SELECT name, sql FROM sqlite_master WHERE name IN ({marks})", *SCHEMA)) != SCHEMA:
            raise ModelError(
                f"The command examples {self.path} are of another version.", "`tfm train examples` makes them anew."
            )
        self._cues: dict[str, int] = dict(self._rows("SELECT cue, weight FROM cues"))
        self._tools = frozenset(tool for (tool,) in self._rows("SELECT tool FROM tools"))
        self._size = max(1, self._rows("SELECT count(*) FROM examples")[0][0])
        self._postings = lru_cache(maxsize=1 << 14)(self._read_postings)
        self._entries: dict[int, _Entry] = {}

    @property
    def sources(self) -> dict[str, Source]:
        """Where the examples are from, by name."""
        return {row[0]: Source(*row) for row in self._rows("SELECT name, licence, attribution FROM sources")}

    def is_shell_question(self, question: str, before: str = "") -> bool:
        """Whether a user's message asks for a command or about one. before: the user's message before it."""
        command, certain = command_in(question, self._tools)
        if certain or not tells_what(question):
            return certain
        score = self._cue_score(question)
        if score > (DOUBT if command else 0):
            return True
        if not before or score < DOUBT or not is_follow_up(question) or not any(map(self._gain, asked(question))):
            return False
        return self.is_shell_question(before)

    def find(self, question: str, before: str = "", limit: int = 5) -> tuple[Example, ...]:
        """The nearest examples, best first; none when nothing is near. One of each kind of command, tools mixed.

        before: the user's message before, looked at when the question only makes sense after it.
        """
        if command := command_in(question, self._tools)[0]:
            return self._choose(self._about(command), limit)
        wanted = dict.fromkeys(asked(question)[:MOST_TERMS], 1.0)
        if before and is_follow_up(question) and len(wanted) < 5:
            wanted = dict.fromkeys(asked(before)[:MOST_TERMS], BEFORE_WEIGHT) | wanted
        return self._choose(self._ranked(wanted), limit)

    def _cue_score(self, text: str) -> float:
        """The log-odds that this is a question at the shell."""
        weight = self._cues.get("", 0) + sum(self._cues.get(cue, 0) for cue in cues(text))
        return weight / CUE_SCALE + (PATH_CUE if has_path(text) else 0)

    def _ranked(self, wanted: Mapping[str, float]) -> list[tuple[float, _Entry]]:
        """Scored candidates for words and their weights, by BM25 and prior; none when the best has too few of them."""
        scores: dict[int, float] = {}
        for word in sorted(wanted, key=self._gain, reverse=True):  # the rarest first
            for column, weight in (("words", 1.0), ("tool", TOOL_WEIGHT)):
                rows = self._postings(column, word)
                gain = weight * wanted[word] * self._idf(len(rows))
                if len(rows) > ENOUGH and len(scores) > CANDIDATES:
                    for row in [row for row in scores if row in rows]:
                        scores[row] += gain
                else:
                    for row in rows:
                        scores[row] = scores.get(row, 0.0) + gain
        # An unknown word may be a name.
        ideal = sum(weight * (self._gain(word) or self._idf(0) / 2) for word, weight in wanted.items())
        best = max(scores.values(), default=0.0)
        if best <= 0 or best < NEAR * ideal:
            return []
        least = BEHIND * best if len(scores) > 4 * CANDIDATES else 0.0
        kept = ((row, score) for row, score in scores.items() if score >= least)
        return self._entries_of({row: score**MATCH_POWER * LENGTH_FACTORS[row & LENGTH_MASK] for row, score in kept})

    def _about(self, command: str) -> list[tuple[float, _Entry]]:
        """Scored examples of the command's tool: the more of its flags and words, the better."""
        scores = dict.fromkeys(self._postings("tool", token(tool_of(command))), 1.0)
        for part in parts(command)[: 2 * MOST_TERMS]:
            rows = self._postings("command", part)
            for row in [row for row in scores if row in rows]:
                scores[row] += self._idf(len(rows))
        return self._entries_of(scores)

    def _entries_of(self, scores: dict[int, float]) -> list[tuple[float, _Entry]]:
        """The best examples, each with the score of its best wording times its prior."""
        best: dict[int, float] = {}
        for row, score in nlargest(3 * CANDIDATES, scores.items(), key=lambda item: item[1]):
            best.setdefault(row >> ID_SHIFT, score)
        if missing := [str(number) for number in best if number not in self._entries]:
            sql = "SELECT id, prior, description, command, tool, source FROM examples WHERE id IN"
            for number, prior, *fields in self._rows(f"{sql} ({','.join(missing)})"):
                self._entries[number] = _Entry(Example(*fields), prior / 100, kind(fields[1]))
        entries = ((score, self._entries.get(number)) for number, score in best.items())
        ranked = sorted(((score * e.prior, e) for score, e in entries if e), key=lambda pair: -pair[0])
        return ranked[:CANDIDATES]

    def _choose(self, ranked: Iterable[tuple[float, _Entry]], limit: int) -> tuple[Example, ...]:
        """The best, each kind of command once; the second example of a tool weighs less than the first of another."""
        chosen: list[Example] = []
        pool = list(ranked)
        while pool and len(chosen) < limit:
            _, best = max(pool, key=lambda pair: pair[0])
            chosen.append(best.example)
            tool = best.example.tool
            pool = [(s * SAME_TOOL if e.example.tool == tool else s, e) for s, e in pool if e.kind != best.kind]
        return tuple(chosen)

    def _gain(self, word: str) -> float:
        """What a word weighs, by how rare it is; 0 when no example has it."""
        rows = len(self._postings("words", word)) or len(self._postings("tool", word))
        return self._idf(rows) if rows else 0.0

    def _idf(self, rows: int) -> float:
        return max(0.1, log((self._size + 0.5) / (rows + 0.5)))

    def _read_postings(self, column: str, word: str) -> frozenset[int]:
        """Row ids of the wordings that have a word in one column. A word is letters and digits: no syntax."""
        found = self._rows("SELECT rowid FROM wordings WHERE wordings MATCH ?", f'{column} : "{word}"')
        return frozenset(row for (row,) in found)

    def _rows(self, sql: str, *values: str) -> list[Any]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as e:
            raise self._unusable(e) from e

    def _unusable(self, error: Exception) -> ModelError:
        return ModelError(f"The command examples {self.path} cannot be read: {error}.")


def look_up(messages: Sequence[Message], lookup: Lookup) -> tuple[Example, ...]:
    """The examples for the last message, a user's; none when it is no question at the shell, or nothing is near."""
    return lookup.find(*_last_two(messages)) if is_shell_turn(messages, lookup) else ()


def is_shell_turn(messages: Sequence[Message], lookup: Lookup) -> bool:
    """Whether the last message is a user's question at the shell."""
    return bool(messages) and messages[-1].role == "user" and lookup.is_shell_question(*_last_two(messages))


def _last_two(messages: Sequence[Message]) -> tuple[str, str]:
    """The last user's message, and what it follows: the one before it, and where that follows another, that too."""
    users = [message.content for message in messages if message.role == "user"]
    before = users[-2:-1]
    for earlier in users[-3 : -2 - MOST_BEFORE : -1]:
        if not is_follow_up(before[0]):
            break
        before.insert(0, earlier)
    return users[-1], "\n".join(before)


def ground(messages: Sequence[Message], lookup: Lookup) -> tuple[Message, ...]:
    """The messages, with what was looked up for the last one in a context message before it, if anything was."""
    examples = look_up(messages, lookup)
    if not examples:
        return tuple(messages)
    return (*messages[:-1], Message("context", context_text(examples)), messages[-1])


def context_text(examples: Sequence[Example]) -> str:
    """The examples as a model reads them, one a line."""
    return "\n".join(f"- {example.description}: `{example.command}`" for example in examples)
