"""Bits per byte: how well a model predicts held-out text, whatever its tokenizer."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from engine.decoder import DecoderLM
from engine.tokenizer import SentencePieceTokenizer
from weights.data.readers import Record
from weights.data.shards import encode_records

ROW = 512


@torch.no_grad()  # not inference_mode: the angles that a long window computes are used again in training
def bits_per_byte(
    model: DecoderLM, tokenizer: SentencePieceTokenizer, sources: Mapping[str, Sequence[Record]]
) -> dict[str, float]:
    """For each source: bits that the model needs for the text of its records, divided by its UTF-8 bytes.

    Conversations are read through the chat template; all their words count, the control tokens count as bits
    and not as bytes. Texts are read in windows of ROW tokens, or of what the model can hold, each without the one
    before it.
    """
    training = model.training
    model.eval()
    try:
        return {name: _source(model, tokenizer, records) for name, records in sources.items()}
    finally:
        model.train(training)


def _source(model: DecoderLM, tokenizer: SentencePieceTokenizer, records: Sequence[Record]) -> float:
    nats, size = 0.0, 0
    row = min(ROW, model.config.max_positions)
    for record, (ids, _) in zip(records, encode_records(list(records), tokenizer), strict=True):
        size += len((record.text or "".join(m.content for m in record.messages)).encode())
        for start in range(0, len(ids) - 1, row):
            window = torch.tensor(ids[start : start + row + 1]).unsqueeze(0)
            logits = model(window[:, :-1]).float()
            nats += float(functional.cross_entropy(logits[0], window[0, 1:], reduction="sum"))
    return nats / math.log(2) / max(1, size)
