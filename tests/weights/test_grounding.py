"""weights/data/grounding.py: a tuned model has met examples that help, examples that do not, and none."""

import random
from pathlib import Path

import pytest

from engine.lookup import Lookup, look_up
from engine.template import Message
from weights.data.examples import Row, write
from weights.data.grounding import Grounding
from weights.data.readers import Record

COMMANDS = {
    "ls": "list the files", "tar xzf a.tgz": "extract an archive", "rm a.txt": "delete a file",
    "mkdir a": "make a folder", "du -sh a": "show the size of a folder",
}  # fmt: skip


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A database of five commands, in which every question with the word file is one at the shell."""
    path = tmp_path / "examples.sqlite"
    rows = [Row(text, c, c.split()[0], "tfm", (text,)) for c, text in COMMANDS.items()]
    write(path, rows, [0] * len(rows), {"delete": 900, "file": 900, "extract": 900, "folder": 900, "list": 900})
    return path


def conversation(*said: str) -> Record:
    return Record(tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(said)))


ASKED = conversation("how do I delete a file?", "`rm a.txt`", "how do I make a folder?", "`mkdir a`")


def test_what_is_put_before_a_question_is_what_the_chat_would_look_up(examples: Path) -> None:
    lookup = Lookup(examples)
    found = {e.command for e in look_up(ASKED.messages[:1], lookup)}
    assert "rm a.txt" in found
    for record in Grounding(examples, 1.0).apply([ASKED] * 20, random.Random(0)):
        said = [m for m in record.messages if m.role != "context"]
        assert tuple(said) == ASKED.messages
        for before, after in zip(record.messages, record.messages[1:], strict=False):
            if before.role == "context":
                assert after.role == "user"
                assert {line.rpartition(": `")[2][:-1] for line in before.content.splitlines()} <= set(COMMANDS)


def test_the_right_example_is_met_in_many_places_and_is_sometimes_missing(examples: Path) -> None:
    first, there, none = 0, 0, 0
    for record in Grounding(examples, 1.0).apply([ASKED] * 300, random.Random(1)):
        context = record.messages[0]
        if context.role != "context" or "rm a.txt" not in context.content:
            none += 1
            continue
        there += 1
        first += "rm a.txt" in context.content.splitlines()[0]
    assert none > 30
    assert there > 150
    assert 0 < first <= there


def test_talk_and_texts_stay_as_they_are_and_so_does_the_part_that_is_not_grounded(examples: Path) -> None:
    talk = conversation("hello you", "Hello!")
    text = Record(text="how do I delete a file?")
    for record in (talk, text):
        assert list(Grounding(examples, 1.0).apply([record], random.Random(0))) == [record]
    assert list(Grounding(examples, 0.0).apply([ASKED] * 5, random.Random(0))) == [ASKED] * 5
    some = list(Grounding(examples, 0.5).apply([ASKED] * 200, random.Random(0)))
    assert 50 < sum(r == ASKED for r in some) < 150


def test_the_same_seed_grounds_alike_and_the_digest_follows_the_database(examples: Path) -> None:
    grounding = Grounding(examples, 0.5)
    one, other = (list(grounding.apply([ASKED] * 50, random.Random(3))) for _ in range(2))
    assert one == other
    before = grounding.digest
    examples.write_bytes(examples.read_bytes() + b"x")
    assert grounding.digest != before
