"""The estimate of memory: what is counted exactly is exact, and the rest grows with what it is for."""

from dataclasses import replace

import pytest
import torch
from tiny import KINDS, OTHER_KINDS, TINY, tiny_model

from engine.cache import KVCache
from engine.checkpoint import MAPPED_BYTES
from engine.generate import PREFILL_CHUNK
from engine.hardware import DTYPES
from engine.kv_buffers import SLACK
from engine.memory import BYTES, CHUNK, MAPPED, SPARE, memory_of


@pytest.mark.parametrize("kind", KINDS | OTHER_KINDS)
@pytest.mark.parametrize("dtype", BYTES)
def test_weights_and_cache_are_those_of_the_model(kind: str, dtype: str) -> None:
    config = (KINDS | OTHER_KINDS)[kind]
    model, cache = tiny_model(config, dtype=DTYPES[dtype]), KVCache(config, limit=100, dtype=DTYPES[dtype])
    cache.reserve(100)
    told = memory_of(config, 100, dtype)
    assert told.weights == sum(p.nbytes for p in model.parameters())
    assert told.cache == cache.nbytes
    assert told.total == told.weights + told.cache + told.work


def test_its_constants_are_those_of_the_engine() -> None:
    assert (MAPPED, CHUNK, SPARE) == (MAPPED_BYTES, PREFILL_CHUNK, SLACK + PREFILL_CHUNK)
    assert {name: torch.empty(0, dtype=kind).itemsize for name, kind in DTYPES.items()} == BYTES


def test_a_long_context_and_a_large_vocabulary_need_more_beside_them() -> None:
    short, long = memory_of(TINY, 256, "float32").work, memory_of(TINY, 1 << 20, "float32").work
    assert long > short > MAPPED
    assert memory_of(replace(TINY, vocab_size=10**6), 256, "float32").work > short + 10**9 // 1024
