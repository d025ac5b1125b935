"""Token shards: a source as ids on disk, built once, memory-mapped, keyed by data, tokenizer and code.

A shard is three arrays: `ids` of all documents in a row, `target` (1 where an assistant speaks, or all of a text),
and `starts`, the offset of each document, with the total at the end.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from engine.template import TFM, ChatTemplate, Segment
from engine.tokenizer import SentencePieceTokenizer, Tokenizer, encode_segments
from weights.data.grounding import Grounding
from weights.data.passages import Passages
from weights.data.readers import Record, Report, generate_own, read_file
from weights.recipe import Source

Ids = npt.NDArray[np.unsignedinteger[Any]]  # 16 bits where the vocabulary allows it
CODE = Path(__file__).parent
BATCH = 2000  # records encoded at once
BOUNDS = ("<s>", "</s>")  # what a text stands between


@dataclass(frozen=True)
class Shard:
    """The documents of one source as ids."""

    ids: Ids
    target: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document."""
        return np.diff(self.starts)


def records(
    name: str, source: Source, corpus: Path, files: tuple[str, ...], seed: int, report: Report
) -> Iterator[Record]:
    """All records of a source, in the order of its files, each file `passes` times."""
    if source.format == "own":
        yield from generate_own(name, source.count, random.Random(f"{seed} {name}"))
        return
    for number in range(source.passes):
        for file in files:
            yield from read_file(corpus / file, source.format, random.Random(f"{seed} {file} {number}"), report)


def render(
    record: Record, template: ChatTemplate = TFM, bounds: tuple[str, str] = BOUNDS
) -> list[tuple[Segment, bool]]:
    """A record as segments, and whether each is to be learned when tuning: the assistant's words and their end.

    Conversations go through the template that the chat uses: training ids are chat ids. bounds: the control tokens that
    a text stands between; none where empty. Raises DataError when the template has no control token that ends an
    answer: nothing would teach the model to stop.
    """
    if not record.messages:
        whole = [(Segment(bounds[0], True), False), (Segment(record.text), True), (Segment(bounds[1], True), True)]
        return [(segment, learn) for segment, learn in whole if segment.text]
    if not template.end_of_turn:
        raise DataError(
            f"The template {template.name!r} has no control token that ends an answer, so nothing can be tuned to it.",
            "Choose another with --template.",
        )
    rendered = [(segment, False) for segment in template.render((), add_generation_prompt=False)]
    opening = len(template.turns["assistant"].before)
    for count, message in enumerate(record.messages, 1):
        turn = template.render(record.messages[:count], add_generation_prompt=False)[len(rendered) :]
        ends = (i for i, s in enumerate(turn) if i >= opening and s.control and s.text == template.end_of_turn)
        end = next(ends, -1)
        speaks = message.role == "assistant"
        rendered += [(segment, speaks and opening <= i <= end) for i, segment in enumerate(turn)]
    return rendered


def shard_key(
    name: str, source: Source, corpus: Path, tokenizer: SentencePieceTokenizer, seed: int,
    grounding: Grounding | Passages | None = None,
) -> str:  # fmt: skip
    """A hash of all that decides a shard: the source's recipe, its files, the tokenizer, the code and tables here."""
    digest = hashlib.sha256(json.dumps([name, asdict(source), seed, grounding and grounding.digest]).encode())
    own = [p for p in sorted(CODE.rglob("*")) if p.suffix in (".py", ".toml")]
    for path in (tokenizer.path, *own, *(corpus / file for file in source.files)):
        if not path.is_file():
            raise DataError(f"The source {name!r} needs {path}, which is not there.")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{name}-{digest.hexdigest()[:16]}"


def build_shard(
    name: str, source: Source, corpus: Path, tokenizer: SentencePieceTokenizer, seed: int, cache: Path, report: Report,
    grounding: Grounding | Passages | None = None,
) -> Shard:  # fmt: skip
    """The shard of a source, from the cache when it is there. A build that is cut leaves no shard behind."""
    home = cache / shard_key(name, source, corpus, tokenizer, seed, grounding)
    if not home.is_dir():
        half_built = home.with_name(home.name + ".tmp")
        shutil.rmtree(half_built, ignore_errors=True)
        half_built.mkdir(parents=True)
        found = records(name, source, corpus, source.files, seed, report)
        if grounding is not None:
            found = grounding.apply(found, random.Random(f"{seed} {name} grounding"))
        _write(half_built, found, tokenizer)
        os.replace(half_built, home)
    return Shard(*(np.load(home / f"{part}.npy", mmap_mode="r") for part in ("ids", "target", "starts")))


def _write(home: Path, source: Iterator[Record], tokenizer: SentencePieceTokenizer) -> None:
    shard = make_shard(source, tokenizer)
    np.save(home / "ids.npy", shard.ids)
    np.save(home / "target.npy", shard.target)
    np.save(home / "starts.npy", shard.starts)


def make_shard(source: Iterable[Record], tokenizer: Tokenizer, template: ChatTemplate = TFM) -> Shard:
    """The shard of some records, in memory. Raises DataError when there are none."""
    kind = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    ids: list[Ids] = []
    target: list[npt.NDArray[np.uint8]] = []
    lengths: list[int] = []
    for batch in _batches(source):
        for row, learned in encode_records(batch, tokenizer, template):
            ids.append(np.asarray(row, kind))
            target.append(np.asarray(learned, np.uint8))
            lengths.append(len(row))
    if not lengths:
        raise DataError("There is no usable record.")
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Shard(np.concatenate(ids), np.concatenate(target), starts)


def encode_records(
    batch: list[Record], tokenizer: Tokenizer, template: ChatTemplate = TFM
) -> Iterator[tuple[list[int], list[int]]]:
    """(ids, learned) of each record, as the engine reads a conversation or a raw text.

    Raises TemplateError when the tokenizer lacks a control token that a record needs.
    """
    bounds = _bounds(tokenizer)
    rendered = [render(record, template, bounds) for record in batch]
    texts = [
        (segment.text, place == 0 or not record.messages)  # a raw text begins its prompt, also after BOS
        for record, segments in zip(batch, rendered, strict=True)
        for place, (segment, _) in enumerate(segments)
        if not segment.control
    ]
    encoded = iter(_encode(tokenizer, texts))
    for segments in rendered:
        ids: list[int] = []
        learned: list[int] = []
        for segment, learn in segments:
            new = encode_segments(tokenizer, [segment]) if segment.control else next(encoded)
            ids += new
            learned += [int(learn)] * len(new)
        yield ids, learned


def _bounds(tokenizer: Tokenizer) -> tuple[str, str]:
    """What a text stands between: <s> and </s>, or what the tokenizer names in their place, and BOS only if it adds it.

    Empty where there is none.
    """
    named = tokenizer.special_tokens
    others = named.get("bos_token", "") if tokenizer.adds_bos else "", named.get("eos_token", "")
    found = [
        next((name for name in names if tokenizer.control_id(name) is not None), "")
        for names in zip(BOUNDS, others, strict=True)
    ]
    return found[0], found[1]


def _encode(tokenizer: Tokenizer, texts: Sequence[tuple[str, bool]]) -> list[list[int]]:
    """The ids of each (text, whether it begins a prompt)."""
    if isinstance(tokenizer, SentencePieceTokenizer):  # it reads both alike, and many in parallel
        return tokenizer.encode_batch([text for text, _ in texts])
    return [tokenizer.encode(text) if begins else tokenizer.encode_within(text) for text, begins in texts]


def _batches(source: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for record in source:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
