"""A full context is met in one way whatever the family: refused with the counts, or moved on as a fresh read would."""

import pytest
import torch
from family_cases import CASES
from tiny import complete, greedy, random_ids, tiny_model

from engine.cache import KVCache
from engine.errors import ContextOverflow
from engine.families import read_config

LIMIT, KEPT = 40, 4  # beyond every window and stretching of the cases


@pytest.mark.parametrize("case", CASES)
def test_every_family_refuses_the_same_lengths_and_moves_on_as_a_fresh_read_would(case: str) -> None:
    """C7, C5, C4: one token too many is refused with both numbers, however it is read; a shift equals a fresh read."""
    model = tiny_model(read_config(CASES[case]))
    for chunk in (7, LIMIT, 512):
        for length in (LIMIT - 1, LIMIT):
            prompt = [token % 48 for token in random_ids(length)]
            assert complete(model, prompt, greedy(1), cache=KVCache(model.config, limit=LIMIT), chunk=chunk).completion
        with pytest.raises(ContextOverflow, match=f"{LIMIT + 1} tokens and the context {LIMIT} positions"):
            complete(model, [5] * (LIMIT + 1), greedy(1), cache=KVCache(model.config, limit=LIMIT), chunk=chunk)
    cache = KVCache(model.config, limit=LIMIT)
    moved = complete(model, prompt, greedy(30), cache=cache, keep=KEPT, shift=True)
    assert (moved.reason, len(moved.completion)) == ("length", 30) and moved.shifted_tokens
    assert moved.sequence[:KEPT] == prompt[:KEPT] and cache.length == len(moved.sequence) - 1 <= LIMIT
    fresh = KVCache(model.config, limit=LIMIT)
    with torch.inference_mode():
        ours = model(torch.tensor([moved.sequence[-1:]]), cache, last_only=True)
        theirs = model(torch.tensor([moved.sequence]), fresh, last_only=True)
    assert torch.allclose(ours, theirs, atol=1e-4)
