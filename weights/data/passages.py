"""Passages: what an encoder reads at a time. Paragraphs of a text, and a question with its answer."""

import random
from collections.abc import Iterable, Iterator

from weights.data.readers import Record


class Passages:
    """Cuts records into passages, as texts without roles: at the prompt an encoder meets a line, not a book."""

    digest = "passages"  # what tells these shards from those of whole records

    def apply(self, records: Iterable[Record], rng: random.Random) -> Iterator[Record]:
        """The passages of records, in order: each paragraph, each turn of a user with the answer to it."""
        del rng
        for record in records:
            yield from (Record(text=text) for text in _passages(record) if text)


def _passages(record: Record) -> Iterator[str]:
    if not record.messages:
        yield from (paragraph.strip() for paragraph in record.text.split("\n\n"))
        return
    turns = [m.content.strip() for m in record.messages if m.role != "system"]
    for first in range(0, len(turns), 2):
        yield " ".join(turns[first : first + 2])
