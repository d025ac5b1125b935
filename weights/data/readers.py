"""Readers, one for each format of the corpus: a file in, records out. A bad line is counted and reported, or stops.

A record is a conversation or a text. Files may be compressed (.xz, .gz).
"""

import gzip
import json
import lzma
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from engine.errors import DataError
from engine.template import Message
from weights.data.own import GENERATORS
from weights.data.own.shell.shell_phrasing import answer, ask, explain_answer, explain_question


@dataclass(frozen=True, slots=True)
class Record:
    """One document: a conversation, or (when messages is empty) a text."""

    messages: tuple[Message, ...] = ()
    text: str = ""


@dataclass
class Report:
    """What was passed over while reading: (file, line, why)."""

    strict: bool = False
    bad: list[tuple[str, int, str]] = field(default_factory=list)

    def skip(self, path: Path, line: int, why: str) -> None:
        """Count a bad line; with strict, raise DataError that names it."""
        if self.strict:
            raise DataError(f"{path}, line {line}: {why}.")
        self.bad.append((path.name, line, why))


def open_text(path: Path) -> IO[str]:
    """A UTF-8 text file, unpacked by its ending. Raises DataError when it is not there."""
    if not path.is_file():
        raise DataError(f"There is no file {path}.", "Give the corpus directory with --corpus.")
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def pair(question: str, reply: str, system: str = "") -> Record:
    """A conversation of one question and one answer."""
    head = (Message("system", system),) if system else ()
    return Record((*head, Message("user", question), Message("assistant", reply)))


def _words(row: dict[str, Any], key: str) -> str:
    """A field that must be text: null would become the word None."""
    value = row[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text")
    return value


def _text(row: dict[str, Any], rng: random.Random) -> Record:
    del rng
    title = _words(row, "title") if row.get("title") is not None else ""
    return Record(text=f"{title}\n\n{_words(row, 'text')}" if title else _words(row, "text"))


def _chat(row: dict[str, Any], rng: random.Random) -> Record:
    del rng
    for index, m in enumerate(row["messages"], 1):
        if not isinstance(m["content"], str):
            raise ValueError(f"the content of message {index} is no text")
    messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for index, message in enumerate(turns):
        if message.role != ("user", "assistant")[index % 2]:
            raise ValueError(f"the roles do not alternate at message {index + 1}")
    if not turns or turns[-1].role != "assistant":
        raise ValueError("the last message is not the assistant's")
    return Record(messages)


def _shell(row: dict[str, Any], rng: random.Random) -> Record:
    """A command row becomes a question with the command as its answer, or now and then the reverse."""
    description, command = _words(row, "description"), _words(row, "command")
    if rng.random() < 0.15 and "\n" not in command:
        return pair(explain_question(rng, command), explain_answer(rng, description, _words(row, "tool")))
    return pair(ask(rng, description), answer(rng, command, description))


def _qa(row: dict[str, Any], rng: random.Random) -> Record:
    del rng
    return pair(_words(row, "question"), _words(row, "answer"))


def _parallel(row: list[str], rng: random.Random) -> Record:
    del rng
    return Record(text=f"{row[0]}\n{row[1]}")


def _first(row: list[str], rng: random.Random) -> Record:
    del rng
    return Record(text=row[0])


def _sentiment(row: list[str], rng: random.Random) -> Record:
    del rng
    if row[0] not in ("positive", "negative"):
        raise ValueError(f"the label is {row[0]!r}, not positive or negative")
    return pair(f"Is this positive or negative? {row[1]}", row[0].capitalize() + ".")


def _pairs(row: list[str], rng: random.Random) -> Record:
    del rng
    return pair(f"Say this in other words: {row[0]}", row[1])


JSON_FORMATS: dict[str, Callable[[dict[str, Any], random.Random], Record]] = {
    "text": _text, "chat": _chat, "shell": _shell, "qa": _qa,
}  # fmt: skip
TSV_FORMATS: dict[str, Callable[[list[str], random.Random], Record]] = {
    "parallel": _parallel, "first": _first, "sentiment": _sentiment, "pairs": _pairs,
}  # fmt: skip
FORMATS = (*JSON_FORMATS, *TSV_FORMATS, "plain", "own")


def read_file(path: Path, kind: str, rng: random.Random, report: Report) -> Iterator[Record]:
    """Records of one file in one of FORMATS but "own". A bad line goes to the report.

    Raises DataError for a file that cannot be read at all, or has no record.
    """
    if kind not in FORMATS:
        raise DataError(f"There is no format {kind!r}; there are {', '.join(FORMATS)}.")
    found = 0
    try:
        with open_text(path) as lines:
            if kind == "plain":
                text = lines.read()
                if text.strip():
                    yield Record(text=text)
                    return
            for number, line in enumerate(lines, 1):
                try:
                    record = _parse(kind, line, rng)
                except (ValueError, KeyError, TypeError, IndexError, RecursionError) as e:
                    report.skip(path, number, f"the key {e} is missing" if isinstance(e, KeyError) else str(e))
                    continue
                found += 1
                yield record
    except (lzma.LZMAError, EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise DataError(f"{path} is damaged: {e}.") from e
    except UnicodeDecodeError as e:
        raise DataError(f"{path} is not UTF-8 text.") from e
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror}.") from e
    if not found:
        raise DataError(f"{path} has no usable record.")


def _parse(kind: str, line: str, rng: random.Random) -> Record:
    if kind in JSON_FORMATS:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("the line is no JSON object")
        return JSON_FORMATS[kind](row, rng)
    return TSV_FORMATS[kind](line.rstrip("\n").split("\t"), rng)


def generate_own(name: str, count: int, rng: random.Random) -> Iterator[Record]:
    """`count` conversations of the project's own generator `name`."""
    for messages in GENERATORS[name](rng, count):
        yield Record(tuple(messages))
