"""The KV cache and the prefix cache: an interrupted pass changes nothing, and a prefix is never read twice."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, Spy, complete, finish_of, greedy, random_ids, text_of, tiny_model

from engine.api import Engine
from engine.cache import KVCache, PrefixCache
from engine.decoder import DecoderLM
from engine.errors import ContextOverflow, ModelError
from engine.events import Finish, PrefillProgress, TextDelta
from engine.kv_buffers import GROWTH, KVBuffers
from engine.params import SamplingParams
from engine.template import Message


@pytest.fixture(scope="module")
def model() -> DecoderLM:
    return tiny_model()


def read(model: Any, ids: list[int], cache: KVCache) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([ids]), cache)[0]  # type: ignore[no-any-return]


def filled(model: Any, ids: list[int], **options: Any) -> KVCache:
    cache = KVCache(model.config, **options)
    if ids:
        read(model, ids, cache)
    return cache


def kept(cache: KVCache) -> list[torch.Tensor]:
    """Copies of all that the cache holds."""
    return [t.clone() for layer in cache._layers for t in layer.rows(cache.length)]


# KVCache.


@pytest.mark.parametrize("length", [0, 1, 19, 20])
def test_truncate_then_continue_is_a_fresh_read(model: DecoderLM, length: int) -> None:
    """K3: of 20 positions to 0, 1, 19 and 20."""
    ids, other = random_ids(20), random_ids(10, seed=9)
    cache = filled(model, ids)
    cache.truncate(length)
    assert cache.length == length
    fresh = filled(model, ids[:length])
    assert torch.allclose(read(model, other, cache), read(model, other, fresh), atol=1e-4)


@pytest.mark.parametrize("length", [-1, 21])
def test_truncate_to_what_is_not_there_is_an_error_and_changes_nothing(model: DecoderLM, length: int) -> None:
    """K3"""
    cache = filled(model, random_ids(20))
    before = kept(cache)
    with pytest.raises(ValueError, match=f"20 positions to {length}"):
        cache.truncate(length)
    with pytest.raises(ValueError, match=f"{length} positions of 20"):
        cache.fork(length)
    assert cache.length == 20 and all(map(torch.equal, before, kept(cache)))


@given(steps=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 25)), min_size=1, max_size=8))
@settings(max_examples=60)
def test_any_reading_and_rewinding_is_as_reading_what_remains(model: DecoderLM, steps: list[tuple[int, int]]) -> None:
    """K2, K3"""
    cache, held = KVCache(TINY, limit=10_000), list[int]()
    for seed, (count, back) in enumerate(steps):
        new = random_ids(count, seed)
        read(model, new, cache)
        held += new
        length = max(0, len(held) - back)
        cache.truncate(length)
        held = held[:length]
    end = random_ids(5, seed=77)
    expected = model(torch.tensor([held + end]))[0, len(held) :]
    assert torch.allclose(read(model, end, cache), expected, atol=1e-4)


@pytest.mark.parametrize("length", [None, 0, 1, 11])
def test_a_fork_shares_nothing_with_its_origin(model: DecoderLM, length: int | None) -> None:
    ids = random_ids(12)
    cache = filled(model, ids)
    before = kept(cache)
    fork = cache.fork(length)
    size = 12 if length is None else length
    assert fork.length == size and fork.limit == cache.limit
    answers = read(model, random_ids(6, seed=3), fork), read(model, random_ids(6, seed=4), cache)
    for answer, start, seed in ((answers[0], ids[:size], 3), (answers[1], ids, 4)):
        assert torch.allclose(answer, read(model, random_ids(6, seed), filled(model, start)), atol=1e-4)
    cache.truncate(12)
    assert all(map(torch.equal, before, kept(cache)))


@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("where", ["attention_norm", "attention", "mlp_norm", "mlp"])
@pytest.mark.parametrize("count", [1, 5, GROWTH])
def test_an_exception_in_any_block_changes_nothing(block: int, where: str, count: int) -> None:
    """K11, R1: fault injection before and after the layer has written; with a growth of the buffers too."""
    model = tiny_model()
    ids, more = random_ids(20), random_ids(count, seed=5)
    cache = filled(model, ids, limit=4 * GROWTH)
    before = kept(cache)
    part = getattr(model.blocks[block], where)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    for hook in (part.register_forward_pre_hook, part.register_forward_hook):
        handle = hook(fail)
        with pytest.raises(KeyboardInterrupt):
            read(model, more, cache)
        handle.remove()
        assert cache.length == 20 and all(map(torch.equal, before, kept(cache)))
    assert torch.equal(read(model, more, cache), read(model, more, filled(model, ids, limit=4 * GROWTH)))


def test_an_exception_while_the_buffers_grow_changes_nothing(model: DecoderLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """K11: at each single buffer."""
    ids, more = random_ids(250), random_ids(20, seed=5)
    expected = read(model, more, filled(model, ids, limit=1000))
    for failing in range(2 * TINY.n_layers):
        cache = filled(model, ids, limit=1000)
        before, calls, grow = kept(cache), iter(range(99)), KVBuffers._grown

        def grown(*given: Any, calls: Any = calls, grow: Any = grow, failing: int = failing) -> Any:
            if next(calls) == failing:
                raise MemoryError
            return grow(*given)

        with monkeypatch.context() as patch:
            patch.setattr(KVBuffers, "_grown", staticmethod(grown))
            with pytest.raises(MemoryError):
                read(model, more, cache)
        assert cache.length == 250 and all(map(torch.equal, before, kept(cache)))
        assert torch.equal(read(model, more, cache), expected)


def test_memory_follows_the_need_and_never_passes_the_limit(model: DecoderLM) -> None:
    """L4, K4: nothing before the first token; doubling; the limit, not a power of two."""
    cache = KVCache(TINY, limit=700)
    assert cache.nbytes == 0 and cache.capacity == 0
    seen = set()
    for _ in range(35):
        read(model, random_ids(20), cache)
        seen.add(cache.capacity)
        assert cache.length <= cache.capacity <= 700
        assert cache.nbytes == cache.capacity * TINY.kv_bytes_per_token(4)
    assert seen == {GROWTH, 2 * GROWTH, 700}


def test_what_was_read_survives_the_growth(model: DecoderLM) -> None:
    ids = random_ids(3 * GROWTH)
    cache = KVCache(TINY, limit=10_000)
    parts = torch.cat([read(model, ids[a : a + 100], cache) for a in range(0, len(ids), 100)])
    assert torch.allclose(parts, model(torch.tensor([ids]))[0], atol=1e-4)


@pytest.mark.parametrize("first", [0, 15, 16])
def test_a_full_cache_refuses_with_both_numbers_and_stays_as_it_was(model: DecoderLM, first: int) -> None:
    """K4, C5: to the limit and not one more."""
    cache = filled(model, random_ids(first), limit=16)
    before = kept(cache)
    with pytest.raises(ContextOverflow, match=f"{first} positions are in use and {17 - first} more .* context of 16"):
        read(model, random_ids(17 - first), cache)
    assert cache.length == first and all(map(torch.equal, before, kept(cache)))
    if first < 16:
        read(model, random_ids(16 - first), cache)
    assert cache.length == 16 == cache.capacity


def test_a_cache_has_the_models_dtype() -> None:
    model = tiny_model(dtype=torch.bfloat16)
    cache = KVCache(TINY, dtype=torch.bfloat16)
    read(model, random_ids(5), cache)
    assert {t.dtype for t in kept(cache)} == {torch.bfloat16} == {t.dtype for t in kept(cache.fork())}


# PrefixCache.


def prefixes(model: Any, max_bytes: int = 1 << 30) -> PrefixCache:
    return PrefixCache(lambda: KVCache(model.config, limit=10_000), max_bytes)


def store(model: Any, known: PrefixCache, ids: list[int]) -> int:
    """Read ids as a program would; how many of them were new."""
    cache = known.take(ids)
    new = len(ids) - cache.length
    read(model, ids[cache.length :], cache)
    known.put(ids, cache)
    return new


@given(
    prompts=st.lists(st.lists(st.integers(3, 5), min_size=1, max_size=12), min_size=1, max_size=10),
    max_bytes=st.sampled_from([0, 40_000, 1 << 30]),
)
@settings(max_examples=150)
def test_a_taken_cache_holds_exactly_a_beginning_of_the_prompt(
    model: DecoderLM, prompts: list[list[int]], max_bytes: int
) -> None:
    """K7, K8: never a key of another conversation; at least one token is left to read."""
    known = prefixes(model, max_bytes)
    for ids in prompts:
        cache = known.take(ids)
        assert cache.length < len(ids)
        fresh = filled(model, ids[: cache.length])
        for ours, theirs in zip(kept(cache), kept(fresh), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)
        read(model, ids[cache.length :], cache)
        known.put(ids, cache)


def test_the_longest_known_beginning_is_taken(model: DecoderLM) -> None:
    known = prefixes(model)
    a, b = random_ids(20, 1), random_ids(20, 2)
    store(model, known, a)
    store(model, known, [*a[:10], *b])
    assert store(model, known, [*a, 5]) == 1
    assert store(model, known, [*a[:10], *b, 5]) == 1
    assert store(model, known, [*a[:15], 9, 9]) == 2
    assert store(model, known, b) == 20


def test_a_branch_stays_warm_when_another_is_taken(model: DecoderLM) -> None:
    """/regen and edits: both branches of a conversation stay readable without a second prefill."""
    known = prefixes(model)
    trunk, left, right = random_ids(30, 1), random_ids(10, 2), random_ids(10, 3)
    assert store(model, known, [*trunk, *left]) == 40
    assert store(model, known, [*trunk, *right]) == 10
    assert store(model, known, [*trunk, *left, 7]) == 1
    assert store(model, known, [*trunk, *right, 7]) == 1


def test_the_same_prompt_again_reads_its_last_token_only(model: DecoderLM) -> None:
    known, ids = prefixes(model), random_ids(20)
    assert [store(model, known, ids) for _ in range(3)] == [20, 1, 1]


def test_the_least_recently_used_goes_first_by_bytes(model: DecoderLM) -> None:
    size = GROWTH * TINY.kv_bytes_per_token(4)
    known = prefixes(model, max_bytes=3 * size)
    prompts = [random_ids(20, seed) for seed in range(4)]
    for ids in prompts[:3]:
        assert store(model, known, ids) == 20
    assert store(model, known, [*prompts[0], 5]) == 1  # used again
    assert store(model, known, prompts[3]) == 20  # 1 must go
    assert store(model, known, [*prompts[0], 5, 6]) == 1
    assert store(model, known, [*prompts[2], 5]) == 1
    assert store(model, known, [*prompts[3], 5]) == 1
    assert store(model, known, prompts[1]) == 20


def test_one_cache_is_kept_however_large(model: DecoderLM) -> None:
    known = prefixes(model, max_bytes=1)
    store(model, known, random_ids(20))
    assert store(model, known, [*random_ids(20), 5]) == 1
    store(model, known, random_ids(20, 2))
    assert store(model, known, [*random_ids(20), 5]) == 21


def test_a_cache_is_only_put_back_with_the_ids_that_it_holds(model: DecoderLM) -> None:
    """K13"""
    with pytest.raises(ValueError, match="20 positions cannot stand for 21 ids"):
        prefixes(model).put(random_ids(21), filled(model, random_ids(20)))


def test_forgetting_forgets_everything(model: DecoderLM) -> None:
    """K8"""
    known = prefixes(model)
    store(model, known, random_ids(20))
    known.clear()
    assert known.take(random_ids(20)).length == 0


# Through the engine: what is kept after each kind of finish.


def spied(engine: Engine, fail: Callable[[list[int]], None] = lambda ids: None) -> Spy:
    spy = Spy(engine.model, fail)
    engine.model = spy  # type: ignore[assignment]
    return spy


def answer(engine: Engine, messages: list[Message], params: SamplingParams, **options: Any) -> tuple[str, Finish]:
    items = list(engine.chat(messages, params, **options))
    return text_of(items), finish_of(items)


def agreeing(engine: Engine) -> None:
    """Every cache that is kept holds the keys of the very ids that stand beside it."""
    assert engine._prefixes._entries
    for ids, cache in engine._prefixes._entries:
        assert len(ids) == cache.length
        fresh = filled(engine.model, list(ids), limit=10_000)
        for ours, theirs in zip(kept(cache), kept(fresh), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)


ASK = [Message("system", "Be brief."), Message("user", "What is the answer?")]
LONG = SamplingParams(seed=11, max_new_tokens=12, min_new_tokens=12, temperature=1.5)


def first_of(engine: Engine, messages: list[Message]) -> tuple[list[int], torch.Tensor]:
    """Prompt ids and logits with which the next answer begins, without any cache."""
    ids = engine.prompt_ids(messages)
    return ids, engine.logits(ids)[-1]


FINISHES = [
    "eos",
    "stop",
    "length",
    "context",
    "interrupted",
    "zero",
    "exception in prefill",
    "exception in decode",
    "left alone",
]


@pytest.mark.parametrize("kind", FINISHES)
def test_after_every_kind_of_finish_cache_and_ids_agree_and_the_next_turn_is_as_fresh(
    kind: str, make_engine: Callable[..., Engine]
) -> None:
    """K1, K10, K11, K13"""
    engine, fresh = make_engine(context=60 if kind == "context" else None), make_engine()
    plain, _ = answer(fresh, ASK, LONG)
    said: tuple[int, ...] = ()
    if kind == "eos":
        # Some token of the answer is made the end token.
        third = answer(fresh, ASK, LONG)[1].ids[3]
        engine._rules.ends[third] = True
        end = answer(engine, ASK, SamplingParams(seed=11, max_new_tokens=12, temperature=1.5))[1]
        engine._rules.ends[third] = False
        said, end_reason = end.ids, end.reason
    elif kind == "stop":
        stop = plain[2:4]
        text, end = answer(engine, ASK, SamplingParams(**(LONG.as_dict() | {"stop": [stop]})))
        said, end_reason = end.ids, end.reason
        assert text == plain[: plain.index(stop)] and end.stop == stop
    elif kind == "context":
        params = SamplingParams(seed=11, max_new_tokens=500, min_new_tokens=500)
        end = answer(engine, ASK, params, overflow="error")[1]
        said, end_reason = end.ids, end.reason
    elif kind == "interrupted":
        count = iter(range(99))
        end = answer(engine, ASK, LONG, cancelled=lambda: next(count) > 4)[1]
        said, end_reason = end.ids, end.reason
    elif kind == "zero":
        end = answer(engine, ASK, SamplingParams(max_new_tokens=0))[1]
        said, end_reason = end.ids, end.reason
        assert said == ()
    elif kind.startswith("exception"):

        def fail(ids: list[int]) -> None:
            if (len(ids) > 1) == (kind == "exception in prefill"):
                raise RuntimeError("injected")

        answer(engine, [ASK[0], Message("user", "Before?")], SamplingParams(seed=1, max_new_tokens=3))
        spy = spied(engine, fail)
        with pytest.raises(RuntimeError, match="injected"):
            answer(engine, ASK, LONG)
        spy.fail, end_reason = lambda ids: None, kind
        engine.model = spy.model
    else:
        events = engine.chat(ASK, LONG)
        for event in events:
            if isinstance(event, TextDelta):
                said += tuple(t.id for t in event.tokens)
            if len(said) == 5:
                break
        events.close()  # type: ignore[attr-defined]
        end_reason = kind
    assert end_reason == ("length" if kind == "zero" else kind)
    if kind not in ("zero", "context"):
        agreeing(engine)
    elif kind == "context":
        agreeing(engine)
        return  # the next question does not fit
    following = [*ASK, Message("assistant", "whatever", ids=said), Message("user", "And then?")]
    warm, cold = answer(engine, following, LONG), answer(make_engine(), following, LONG)
    assert warm[1].ids == cold[1].ids and warm[0] == cold[0]


def test_a_second_turn_reads_only_its_new_tokens(engine: Engine) -> None:
    """K9, K10, K12, K13, C9: counted in the model, after each kind of finish."""
    spy = spied(engine)
    messages = list(ASK)
    known = 0
    unread = 1  # the last sampled token did not run
    for turn in range(4):
        before = spy.tokens_read
        ids = engine.prompt_ids(messages)
        text, end = answer(
            engine, messages, SamplingParams(seed=turn, max_new_tokens=8, min_new_tokens=8, temperature=2.0)
        )
        prefilled = spy.tokens_read - before - (len(end.ids) - 1)
        assert end.usage.prompt_tokens == len(ids) and prefilled == len(ids) - end.usage.cached_tokens
        if turn:
            assert prefilled == len(ids) - known + unread
        known = len(ids) + len(end.ids)
        messages += [Message("assistant", text, ids=end.ids), Message("user", f"more {turn}")]


def test_sampled_ids_are_kept_though_their_text_would_tokenize_otherwise(engine: Engine) -> None:
    """K12: at temperature 2 the next prompt begins with the very ids that were sampled, and they are cached."""
    prompt = engine.prompt_ids(ASK)
    for seed in range(20):
        text, end = answer(
            engine, ASK, SamplingParams(seed=seed, max_new_tokens=10, min_new_tokens=10, temperature=2.0)
        )
        if engine.tokenize(text) != list(end.ids):
            break
    else:
        pytest.fail("no answer that tokenizes otherwise was found")
    following = [*ASK, Message("assistant", text, ids=end.ids), Message("user", "And?")]
    ids = engine.prompt_ids(following)
    assert ids[: len(prompt) + 10] == [*prompt, *end.ids]
    assert answer(engine, following, LONG)[1].usage.cached_tokens == len(prompt) + 9


def test_warm_and_cold_give_equal_greedy_ids_and_nearly_equal_logprobs(make_engine: Callable[..., Engine]) -> None:
    """K1: with no cache, a full hit, and every split point of the prompt. Tolerance as for any split: 1e-4."""
    params = SamplingParams(greedy=True, max_new_tokens=10, min_new_tokens=10)
    cold_engine = make_engine()
    ids = cold_engine.prompt_ids(ASK)

    def run(engine: Engine) -> tuple[list[int], list[float], int]:
        items = list(engine.generate(ids, params))
        tokens = [t for i in items if isinstance(i, TextDelta) for t in i.tokens]
        return [t.id for t in tokens], [t.logprob for t in tokens], finish_of(items).usage.cached_tokens

    expected = run(cold_engine)
    assert expected[2] == 0
    for split in range(1, len(ids) + 1):
        engine = make_engine()
        list(engine.generate(ids[:split], SamplingParams(greedy=True, max_new_tokens=1)))
        tokens, logprobs, cached = run(engine)
        assert cached == min(split, len(ids) - 1)
        assert tokens == expected[0] and logprobs == pytest.approx(expected[1], abs=1e-4)


def test_penalties_count_the_cached_part_of_the_prompt(make_engine: Callable[..., Engine]) -> None:
    """S6: the same penalties and seed with a cold and a warm cache give equal ids."""
    params = SamplingParams(
        seed=3,
        max_new_tokens=20,
        min_new_tokens=20,
        repetition_penalty=3.0,
        frequency_penalty=0.5,
        presence_penalty=0.5,
    )
    warm, cold = make_engine(), make_engine()
    answer(warm, ASK, params)
    again, first = answer(warm, ASK, params)[1], answer(cold, ASK, params)[1]
    assert again.usage.cached_tokens > 0 == first.usage.cached_tokens
    assert again.ids == first.ids


def test_two_conversations_in_turn_never_mix(make_engine: Callable[..., Engine]) -> None:
    """K7, K8: each as from an engine of its own."""
    shared, own = make_engine(), [make_engine(), make_engine()]
    talks = [[Message("user", "My secret is red.")], [Message("user", "My secret is blue.")]]
    for turn in range(3):
        for which in (0, 1):
            (text, end), alone = answer(shared, talks[which], LONG), answer(own[which], talks[which], LONG)
            assert (text, end.ids) == (alone[0], alone[1].ids)
            talks[which] = [*talks[which], Message("assistant", text, ids=end.ids), Message("user", f"And {turn}?")]


def test_a_refused_prompt_leaves_the_conversation_warm(make_engine: Callable[..., Engine]) -> None:
    """C8: the prompt that did not fit costs nothing of what was read before."""
    engine = make_engine(context=80)
    end = answer(engine, ASK, SamplingParams(seed=1, max_new_tokens=4, min_new_tokens=4))[1]
    following = [*ASK, Message("assistant", "", ids=end.ids), Message("user", "7" * 100)]
    with pytest.raises(ContextOverflow):
        answer(engine, following, LONG)
    with pytest.raises(ContextOverflow):
        list(engine.generate(engine.prompt_ids(following), LONG))
    agreeing(engine)
    following[-1] = Message("user", "And?")
    assert answer(engine, following, LONG)[1].usage.cached_tokens >= len(engine.prompt_ids(ASK))


def test_a_shift_leaves_cache_and_ids_in_agreement_and_equals_a_fresh_read() -> None:
    """C4: after a shift the rest is read again, so the next logits are those of a fresh read of what was kept."""
    model = tiny_model()
    cache = KVCache(TINY, limit=32)
    generation = complete(model, random_ids(30), greedy(40), cache=cache, keep=4, shift=True)
    assert generation.reason == "length" and len(generation.completion) == 40
    held = generation.sequence[: cache.length]
    assert held[:4] == random_ids(30)[:4] and cache.length <= 32
    fresh = filled(model, held, limit=32)
    for ours, theirs in zip(kept(cache), kept(fresh), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert generation.sequence[-5:] == generation.completion[-5:]


def test_numbers_that_are_none_are_an_error_and_leave_no_trace(engine: Engine) -> None:
    """S5: damaged weights are named, drawn or greedy; nothing is yielded, and afterwards all is as before."""
    for params in (SamplingParams(seed=1), SamplingParams(greedy=True), SamplingParams(seed=1, top_k=3, top_p=0.5)):
        damaged = copy.deepcopy(engine.model)
        damaged.norm.weight[0] = float("nan")
        healthy, engine.model = engine.model, damaged
        events: list[object] = []
        with pytest.raises(ModelError, match="not finite"):
            events += engine.chat(ASK, params)
        assert all(isinstance(e, PrefillProgress) for e in events)
        engine.model = healthy
    assert answer(engine, ASK, LONG)[1].reason == "length"
