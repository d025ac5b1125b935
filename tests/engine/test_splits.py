"""A cache knows in which passes it was read, and a replay in the same passes gives the same bits."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import Engine
from engine.cache import KVCache
from engine.events import Finish, StreamEvent, TextDelta
from engine.generate import prefill
from engine.params import SamplingParams
from engine.splits import Split, Splits
from engine.template import Message

WARM = SamplingParams(temperature=1.3, top_p=0.95, max_new_tokens=12, min_new_tokens=4, logprobs=5)


def drawn(items: list[StreamEvent]) -> list[tuple[int, float, tuple[tuple[int, float], ...]]]:
    """Every token with its log-probability and the best ones, to the last bit."""
    return [(t.id, t.logprob, t.top) for item in items if isinstance(item, TextDelta) for t in item.tokens]


def finish(items: list[StreamEvent]) -> Finish:
    assert isinstance(items[-1], Finish)
    return items[-1]


def again(engine: Engine, old: Finish, params: SamplingParams, overflow: str = "error") -> list[StreamEvent]:
    splits = (*old.cached_splits, *(Split(n, n, 1) for n in old.prefill_splits))
    return list(engine.replay(old.prompt_ids, replace(params, seed=old.seed), splits, keep=old.keep, overflow=overflow))


@given(st.lists(st.tuples(st.integers(1, 7), st.integers(0, 30)), max_size=30))
def test_splits_are_what_a_list_of_passes_would_be(steps: list[tuple[int, int]]) -> None:
    splits, plain = Splits(), []
    for size, length in steps:
        splits.add(size)
        plain += [(size, place) for place in range(size)]  # a position, and where it stood in its pass
        splits, plain = splits.first(length), plain[:length]
    told = [(size, place) for size, kept, times in splits for _ in range(times) for place in range(kept)]
    assert told == plain
    assert len(list(splits)) <= len(steps)


def test_an_answers_passes_of_one_token_are_one_entry() -> None:
    splits = Splits()
    for size in (12, *[1] * 500):
        splits.add(size)
    assert list(splits) == [(12, 12, 1), (1, 1, 500)]


def test_a_fork_and_a_cut_cache_know_their_own_passes(engine: Engine) -> None:
    cache = KVCache(engine.config)
    prefill(engine.model, [5, 6, 7, 8], cache)
    prefill(engine.model, [9], cache)
    fork = cache.fork(3)
    prefill(engine.model, [4], fork)
    assert list(cache.splits) == [(4, 4, 1), (1, 1, 1)]
    assert list(fork.splits) == [(4, 3, 1), (1, 1, 1)]


@pytest.mark.parametrize("overflow", ["error", "shift"])
def test_a_conversation_with_branches_replays_bit_for_bit(engine: Engine, overflow: str) -> None:
    """Every turn goes on from caches that were read in pieces; regenerated and edited ones cut a pass in two."""
    talk, told = [Message("system", "Be brief.")], []
    for turn in range(4):
        talk.append(Message("user", f"Question {turn}, " + "again " * turn))
        for _ in range(2):  # the second time from the cache of the first
            items = list(engine.chat(talk, WARM, overflow=overflow))
            told.append(items)
        talk.append(Message("assistant", "", finish(items).ids))
    told.append(list(engine.chat([*talk[:2], Message("user", "Question 0, and something else")], WARM)))
    assert any(size != kept for items in told for size, kept, _ in finish(items).cached_splits)
    assert any(times > 1 for items in told for _, _, times in finish(items).cached_splits)
    for items in reversed(told):
        assert drawn(again(engine, finish(items), WARM, overflow)) == drawn(items)


def test_a_shift_in_mid_answer_replays(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(context=48)
    params = replace(WARM, max_new_tokens=60, min_new_tokens=60)
    items = list(engine.chat([Message("user", "What is the answer?")], params, overflow="shift"))
    assert len(finish(items).prefill_splits) > 1, "it did shift"
    assert drawn(again(engine, finish(items), params, "shift")) == drawn(items)
