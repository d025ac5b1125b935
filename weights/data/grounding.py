"""Conversations as the chat holds them at the shell: with looked-up examples before the questions, or without any.

The right example may be there, in its place or another, or be missing among misleading ones: so the model learns to
take a good one, to pass over bad ones, and to answer from its weights when none fits.
"""

import hashlib
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.lookup import Example, Lookup, context_text, look_up
from engine.template import Message
from engine.wording import tool_of
from weights.data.readers import Record

SHUFFLED, MISSING = 0.3, 0.25  # of the grounded questions: in any order; without the tool that answers
_COMMAND = re.compile(r"`+(?:\w*\n)?([^`]+)`")


@dataclass(frozen=True)
class Grounding:
    """The share of conversations that get examples, and the database that they are looked up in."""

    examples: Path
    share: float

    @property
    def digest(self) -> str:
        """What decides the examples: the database and the share."""
        return f"{hashlib.sha256(self.examples.read_bytes()).hexdigest()} {self.share}"

    def apply(self, records: Iterable[Record], rng: random.Random) -> Iterator[Record]:
        """The records, some of them grounded. A conversation is grounded in all its turns or in none."""
        lookup = Lookup(self.examples)
        for record in records:
            yield _grounded(record, lookup, rng) if record.messages and rng.random() < self.share else record


def _grounded(record: Record, lookup: Lookup, rng: random.Random) -> Record:
    messages: list[Message] = []
    for index, message in enumerate(record.messages):
        if message.role == "user":
            found = look_up(record.messages[: index + 1], lookup)
            answers = record.messages[index + 1 : index + 2]
            if examples := _met(found, answers[0].content if answers else "", rng):
                messages.append(Message("context", context_text(examples)))
        messages.append(message)
    return Record(tuple(messages))


def _met(found: tuple[Example, ...], answer: str, rng: random.Random) -> list[Example]:
    """The examples that a conversation meets: mostly as they were found, else shuffled, or without the right tool."""
    examples, luck = list(found), rng.random()
    if luck < SHUFFLED:
        rng.shuffle(examples)
    elif luck < SHUFFLED + MISSING:
        command = _COMMAND.search(answer)
        right = tool_of(command.group(1)) if command else ""
        examples = [e for e in examples if tool_of(e.command) != right]
    return examples
