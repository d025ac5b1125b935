"""Bits per byte: how well a model predicts held-out text, whatever its tokenizer."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch.nn import functional

from engine.decoder import DecoderLM
from engine.tokenizer import Tokenizer
from weights.data.readers import Record
from weights.data.shards import encode_records
from weights.evaluate.records import text_of

ROW = 512
TOKENS_AT_ONCE = 2048
NOT_COUNTED = -100


def bits_per_byte(model: DecoderLM, tokenizer: Tokenizer, sources: Mapping[str, Sequence[Record]]) -> dict[str, float]:
    """For each source: bits that the model needs for the text of its records, divided by its UTF-8 bytes."""
    counted = {name: bits_and_bytes(model, tokenizer, records) for name, records in sources.items()}
    return {name: bits / max(1, size) for name, (bits, size) in counted.items()}


@torch.no_grad()  # not inference_mode: the angles that a long window computes are used again in training
def bits_and_bytes(model: DecoderLM, tokenizer: Tokenizer, records: Sequence[Record]) -> tuple[float, int]:
    """The bits that the model needs for the text of records, and its UTF-8 bytes: both add up over records.

    Conversations are read through the chat template; all their words count, the control tokens count as bits
    and not as bytes. Texts are read in windows of ROW tokens, or of what the model can hold, each without the one
    before it. Windows of like length are read together.
    """
    training = model.training
    model.eval()
    try:
        size = sum(len(text_of(record).encode()) for record in records)
        row = min(ROW, model.config.max_positions)
        windows = [
            ids[start : start + row + 1]
            for ids, _ in encode_records(list(records), tokenizer)
            for start in range(0, len(ids) - 1, row)
        ]
        nats = sum(_nats(model, batch) for batch in _batches(sorted(windows, key=len)))
        return nats / math.log(2), size
    finally:
        model.train(training)


def _batches(windows: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Windows, sorted by length, as many together as TOKENS_AT_ONCE allows."""
    batch: list[list[int]] = []
    for window in windows:
        if batch and (len(batch) + 1) * len(window) > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _nats(model: DecoderLM, windows: Sequence[list[int]]) -> float:
    """What the model needs for each window's tokens after its first, in one pass.

    Shorter windows are filled up at the end, which no position before it can see.
    """
    width = max(map(len, windows)) - 1
    device = model.embedding.weight.device
    read = torch.tensor([(ids[:-1] + [0] * width)[:width] for ids in windows], device=device)
    wanted = torch.tensor([(ids[1:] + [NOT_COUNTED] * width)[:width] for ids in windows], device=device)
    logits = model(read).float()
    loss = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=NOT_COUNTED, reduction="none")
    return float(loss.sum(dtype=torch.float64))
