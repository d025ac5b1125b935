"""For the tests of the trainer: one kind of arithmetic, a tokenizer, little shards and stages."""

import json
import lzma
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.hardware import processor_name
from engine.tokenizer import SentencePieceTokenizer
from weights.data.mixture import Mixture
from weights.data.readers import Record, Report, read_file
from weights.data.shards import Shard, encode_records
from weights.data.vocabulary import train_tokenizer
from weights.recipe import Stage

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).parents[2]
VOCABULARY = 40  # of the little models


@pytest.fixture(scope="session")
def corpus() -> Path:
    """A small corpus with a file in each format."""
    return CORPUS


@pytest.fixture(scope="session")
def long_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of documents that are long beside the rows of small models."""
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "dogs", "run", "home", "to", "sleep", "near", "fires"]
    rng = np.random.default_rng(0)
    home = tmp_path_factory.mktemp("long") / "text"
    home.mkdir()
    for split, count in (("train", 30), ("valid", 6)):
        lines = [json.dumps({"text": " ".join(rng.choice(words, 300))}) for _ in range(count)]
        with lzma.open(home / f"tales.{split}.jsonl.xz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    return home.parent


@pytest.fixture(scope="session")
def corpus_records() -> dict[str, list[Record]]:
    """The records of some of its files."""
    files = {
        "text": "text/tales.train.jsonl.xz", "chat": "chat/hello.train.jsonl", "shell": "shell/commands.train.jsonl.gz",
        "qa": "qa/facts.train.jsonl", "parallel": "parallel/en-es.train.tsv",
    }  # fmt: skip
    return {
        kind: list(read_file(CORPUS / file, kind, random.Random(0), Report(strict=True)))
        for kind, file in files.items()
    }


@pytest.fixture(scope="session")
def tokenizer(
    corpus_records: Mapping[str, list[Record]], tmp_path_factory: pytest.TempPathFactory
) -> SentencePieceTokenizer:
    """A tokenizer of 500 pieces, learned from the small corpus."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    everything = [r for records in corpus_records.values() for r in records]
    train_tokenizer((r.text or "\n".join(m.content for m in r.messages) for r in everything), 500, path, threads=1)
    return SentencePieceTokenizer(path)


@pytest.fixture(autouse=True)
def one_arithmetic(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """float32 in this process and in those it starts: what is fastest here is not what these tests are about."""
    torch.set_num_threads(1)
    monkeypatch.setattr("weights.train.loop.fastest", lambda work: "float32")
    cache = home / "cache" / "tfm" / "processor.json"
    cache.parent.mkdir(parents=True, exist_ok=True)
    key = f"{processor_name()} torch {torch.__version__}"
    cache.write_text(json.dumps({key: {"decode": "float32", "matmul": "float32"}}), encoding="utf-8")


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """The environment of a `python -m weights` that a test starts in another process."""
    path = f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"  # with what keeps a test from the network
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def make_shard() -> Callable[..., Shard]:
    """A shard of documents of random lengths, whose ids are below VOCABULARY; a part of each is the assistant's."""

    def make(n: int = 30, longest: int = 20, seed: int = 0, vocabulary: int = VOCABULARY) -> Shard:
        rng = np.random.default_rng(seed)
        lengths = rng.integers(2, longest + 1, n)
        ids = rng.integers(3, vocabulary, lengths.sum()).astype(np.uint16)
        learned = (rng.random(lengths.sum()) < 0.5).astype(np.uint8)
        return Shard(ids, learned, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    return make


@pytest.fixture(scope="session")
def record_shard(tokenizer: SentencePieceTokenizer) -> Callable[[list[Record]], Shard]:
    """The shard of some records."""

    def make(records: list[Record]) -> Shard:
        encoded = list(encode_records(records, tokenizer))
        ids = np.concatenate([np.asarray(ids, np.uint16) for ids, _ in encoded])
        learned = np.concatenate([np.asarray(learned, np.uint8) for _, learned in encoded])
        return Shard(ids, learned, np.cumsum([0, *(len(ids) for ids, _ in encoded)]).astype(np.int64))

    return make


@pytest.fixture(scope="session")
def make_stage() -> Callable[..., Stage]:
    """A small Stage; any of its fields can be given."""

    def make(**changes: Any) -> Stage:
        fields: dict[str, Any] = {
            "name": "s", "objective": "lm", "tokens": 1024, "shares": {"a": 1.0}, "row": 16, "batch": 4,
            "micro_batch": 4, "lr": 0.01, "warmup": 2, "save_minutes": 60.0, "eval_every": 1000,
        }  # fmt: skip
        return Stage(**(fields | changes))

    return make


@pytest.fixture
def make_model() -> Callable[..., DecoderLM]:
    """A little decoder with weights drawn from a seed."""

    def make(seed: int = 0, vocab_size: int = VOCABULARY, d_model: int = 16, **changes: Any) -> DecoderLM:
        shape: dict[str, Any] = {
            "n_layers": 2,
            "n_heads": 2,
            "n_kv_heads": 1,
            "head_dim": 8,
            "d_ff": 32,
            "max_positions": 64,
        }
        model = DecoderLM(ModelConfig(vocab_size=vocab_size, d_model=d_model, **(shape | changes)))
        model.init_weights(torch.Generator().manual_seed(seed))
        return model

    return make


@pytest.fixture
def tiny_run(
    make_shard: Callable[..., Shard], make_stage: Callable[..., Stage], make_model: Callable[..., DecoderLM]
) -> Any:
    """A model, a stage and its mixture, that train in a moment."""

    def make(seed: int = 1, **changes: Any) -> SimpleNamespace:
        stage = make_stage(**changes)
        mixture = Mixture(stage, {name: make_shard(seed=i) for i, name in enumerate(stage.shares)}, seed)
        return SimpleNamespace(model=make_model(seed), stage=stage, mixture=mixture)

    return make
