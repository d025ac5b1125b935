"""weights/evaluate/bits.py: bits per byte, the same each time, and nothing of the model is changed."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine.tokenizer import SentencePieceTokenizer
from weights.data.readers import Record
from weights.data.shards import encode_records
from weights.evaluate.bits import bits_per_byte
from weights.objectives import next_token

Make = Callable[..., Any]


@pytest.fixture
def model(make_model: Make, tokenizer: SentencePieceTokenizer) -> Any:
    return make_model(vocab_size=tokenizer.vocab_size, max_positions=512)


@pytest.mark.parametrize("training", [True, False])
def test_two_evaluations_are_equal_and_the_mode_comes_back(
    training: bool, model: Any, tokenizer: SentencePieceTokenizer, corpus_records: dict[str, list[Record]]
) -> None:
    model.train(training)
    first = bits_per_byte(model, tokenizer, corpus_records)
    assert first == bits_per_byte(model, tokenizer, corpus_records)
    assert set(first) == set(corpus_records)
    assert all(math.isfinite(v) and v > 0 for v in first.values())
    assert model.training is training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_the_mode_comes_back_after_an_error(model: Any, tokenizer: SentencePieceTokenizer) -> None:
    model.train()
    with pytest.raises(AttributeError):
        bits_per_byte(model, tokenizer, {"bad": [None]})  # type: ignore[list-item]
    assert model.training


def test_a_model_that_knows_nothing_needs_the_logarithm_of_its_vocabulary(
    model: Any, tokenizer: SentencePieceTokenizer, corpus_records: dict[str, list[Record]]
) -> None:
    with torch.no_grad():
        model.embedding.weight.zero_()
    for name, records in corpus_records.items():
        tokens = sum(len(ids) - 1 for ids, _ in encode_records(records, tokenizer))
        size = sum(len((r.text or "".join(m.content for m in r.messages)).encode()) for r in records)
        expected = tokens * math.log2(tokenizer.vocab_size) / size
        assert bits_per_byte(model, tokenizer, {name: records})[name] == pytest.approx(expected, rel=1e-5)


def test_training_goes_on_after_an_evaluation_of_longer_windows_than_its_rows(
    model: Any, tokenizer: SentencePieceTokenizer, tiny_run: Make
) -> None:
    batch = tiny_run().mixture.batch(0, 2)
    next_token(model, batch).backward()
    bits_per_byte(model, tokenizer, {"long": [Record(text="many words and no end " * 200)]})
    next_token(model, batch).backward()  # angles computed in inference mode would be refused here


@torch.no_grad()
def test_windows_read_together_give_what_each_gives_alone(
    model: Any, tokenizer: SentencePieceTokenizer, corpus_records: dict[str, list[Record]], monkeypatch: Any
) -> None:
    monkeypatch.setattr("weights.evaluate.bits.ROW", 32)  # so that texts have several windows, the last ones short
    for name, records in corpus_records.items():
        nats = 0.0
        for ids, _ in encode_records(records, tokenizer):
            for start in range(0, len(ids) - 1, 32):
                window = torch.tensor([ids[start : start + 33]])
                logprobs = model(window[:, :-1])[0].log_softmax(-1)
                nats -= float(logprobs.gather(1, window[0, 1:, None]).sum())
        size = sum(len((r.text or "".join(m.content for m in r.messages)).encode()) for r in records)
        found = bits_per_byte(model, tokenizer, {name: records})[name]
        assert found == pytest.approx(nats / math.log(2) / size, rel=1e-5)
