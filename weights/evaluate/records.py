"""The held-out records that a model is measured on: the beginning of each source's validation files."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from engine.errors import DataError
from weights.data.readers import Record, Report
from weights.data.shards import records
from weights.recipe import Recipe


def require_files(corpus: Path, files: Iterable[str]) -> None:
    """Raise DataError that names the first of the files that the corpus lacks, and says how many there are."""
    missing = [file for file in dict.fromkeys(files) if not (corpus / file).is_file()]
    if missing:
        raise DataError(
            f"The corpus {corpus} lacks {missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''}.",
            "Give the directory of the recipe's files with --corpus.",
        )


def beginnings(recipe: Recipe, corpus: Path, size: int, report: Report) -> dict[str, list[Record]]:
    """The first `size` bytes of records of each source that has held-out files; the last record is whole.

    Bad lines before it go to the report. Raises DataError when a file is not there.
    """
    return {
        name: list(_until(records(name, source, corpus, source.valid, recipe.seed, report), size))
        for name, source in recipe.sources.items()
        if source.valid
    }


def beginning(chosen: Sequence[Record], size: int) -> list[Record]:
    """As many of the records as `beginnings` would have taken for a smaller `size`."""
    return list(_until(iter(chosen), size))


def _until(stream: Iterator[Record], size: int) -> Iterator[Record]:
    for record in stream:
        yield record
        size -= len(text_of(record).encode())
        if size <= 0:
            return


def text_of(record: Record) -> str:
    """The words of a record, whose bytes are counted: of a conversation, what each role says."""
    return record.text or "".join(m.content for m in record.messages)


def digest(chosen: Sequence[Record]) -> str:
    """A hash of the words of records: two measurements with the same one were taken on the same bytes."""
    hashed = hashlib.sha256()
    for record in chosen:
        hashed.update(text_of(record).encode() + b"\0")
    return hashed.hexdigest()[:16]
