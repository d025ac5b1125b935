"""The token generator: prefill, one token a step, every end by its name."""

import math
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, Scripted, Spy, chi_square_fits, complete, greedy, random_ids, rules, tiny_model

from engine.cache import KVCache
from engine.decoder import DecoderLM
from engine.errors import ContextOverflow, ModelError
from engine.events import PrefillProgress, TokenEvent
from engine.generate import Generation
from engine.params import SamplingParams

PROMPT = random_ids(20)


@pytest.fixture(scope="module")
def model() -> DecoderLM:
    return tiny_model()


def generation(model: Any, params: SamplingParams, prompt: list[int] = PROMPT, **options: Any) -> Generation:
    cache = options.pop("cache", None) or KVCache(TINY)
    return Generation(
        model, prompt, params, cache, options.pop("rules", rules()), seed=options.pop("seed", 0), **options
    )


def tokens_of(items: list[object]) -> list[int]:
    return [i.id for i in items if isinstance(i, TokenEvent)]


# Prefill.


@given(chunk=st.integers(1, 25), cached=st.integers(0, 19))
@settings(max_examples=40)
def test_a_prompt_is_read_once_in_chunks_and_progress_counts_what_is_new(
    model: DecoderLM, chunk: int, cached: int
) -> None:
    cache = KVCache(TINY)
    if cached:
        with torch.inference_mode():
            model(torch.tensor([PROMPT[:cached]]), cache)
    spy = Spy(model)
    run = generation(spy, greedy(1), cache=cache, chunk=chunk)
    items = list(run)
    new = 20 - cached
    sizes = [min(chunk, new - n) for n in range(0, new, chunk)]
    assert [len(ids) for ids in spy.read] == sizes == run.splits
    assert [i for ids in spy.read for i in ids] == PROMPT[cached:]
    done = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    assert [i for i in items if isinstance(i, PrefillProgress)] == [PrefillProgress(n, new) for n in done]
    assert run.cached_tokens == cached


def test_the_callers_ids_are_not_changed(model: DecoderLM) -> None:
    prompt = list(PROMPT)
    complete(model, prompt, greedy(5))
    complete(model, prompt, greedy(300), cache=KVCache(TINY, limit=24), shift=True, keep=2)
    assert prompt == PROMPT


def test_a_prompt_longer_than_the_context_is_refused_with_the_counts(model: DecoderLM) -> None:
    """C1, C5"""
    with pytest.raises(ContextOverflow, match="20 tokens and the context 19 positions") as caught:
        generation(model, greedy(1), cache=KVCache(TINY, limit=19))
    assert caught.value.exit_code == 4
    assert complete(model, PROMPT, greedy(1), cache=KVCache(TINY, limit=20)).completion


def test_a_cache_that_holds_the_whole_prompt_is_refused(model: DecoderLM) -> None:
    cache = KVCache(TINY)
    model(torch.tensor([PROMPT]), cache)
    with pytest.raises(ValueError, match="at least one token"):
        generation(model, greedy(1), cache=cache)


# Ends.


@pytest.mark.parametrize("end", [2, 0, 63])
def test_an_end_token_ends_and_is_not_part_of_the_answer(model: DecoderLM, end: int) -> None:
    """P5, S11: also the end token 0; P7: nothing is computed after it."""
    scripted = Scripted(model, [7, 8, end, 9])
    run = generation(scripted, SamplingParams(greedy=True), rules=rules(ends=[end], never=[]))
    assert tokens_of(list(run)) == [7, 8] == run.completion
    assert (run.reason, scripted.passes) == ("eos", 3)  # the prompt, 7 and 8
    assert run.sequence == [*PROMPT, 7, 8] and run.cache.length == 22


def test_all_declared_end_tokens_end(model: DecoderLM) -> None:
    """P5"""
    for end in (2, 5, 9):
        run = complete(Scripted(model, [7, end]), PROMPT, SamplingParams(greedy=True), rules=rules(ends=[2, 5, 9]))
        assert (run.completion, run.reason) == ([7], "eos")


@pytest.mark.parametrize("minimum", [0, 1, 2, 5])
def test_no_end_before_the_minimum(model: DecoderLM, minimum: int) -> None:
    always_end = Scripted(model, [2])
    run = complete(always_end, PROMPT, SamplingParams(greedy=True, min_new_tokens=minimum, max_new_tokens=9))
    assert len(run.completion) == minimum and run.reason == "eos" and 2 not in run.completion


@pytest.mark.parametrize("limit", [0, 1, 2, 7])
def test_the_limit_of_tokens_is_exact(model: DecoderLM, limit: int) -> None:
    """K13, P7: the last token of an answer is not run, and none is sampled after it."""
    spy = Spy(model)
    run = generation(spy, greedy(limit))
    assert len(tokens_of(list(run))) == limit and run.reason == "length"
    assert spy.tokens_read == (20 + limit - 1 if limit else 0)
    assert len(run.sequence) == 20 + limit and run.cache.length == (19 + limit if limit else 0)


@pytest.mark.parametrize("limit", [20, 21, 30])
def test_a_full_context_is_an_end_with_its_own_name(model: DecoderLM, limit: int) -> None:
    """K4: never a position more than the limit."""
    run = complete(model, PROMPT, greedy(100), cache=KVCache(TINY, limit=limit))
    assert run.reason == "context" and run.cache.length == limit
    assert len(run.completion) == limit - 20 + 1


@pytest.mark.parametrize("limit", [20, 21, 33, 64])
@pytest.mark.parametrize("keep", [0, 1, 10])
def test_a_shift_keeps_the_beginning_and_goes_on_to_the_length(model: DecoderLM, limit: int, keep: int) -> None:
    """K4, C3, C4: limit, limit + 1 and three times the limit; what it says after a shift is what a fresh read says."""
    spy = Spy(model)
    run = complete(spy, PROMPT, greedy(3 * limit), cache=KVCache(TINY, limit=limit), keep=keep, shift=True)
    assert run.reason == "length" and len(run.completion) == 3 * limit
    assert run.sequence[:keep] == PROMPT[:keep] and run.cache.length <= limit
    assert run.sequence[keep:] == (PROMPT + run.completion)[-(len(run.sequence) - keep) :]
    logits = model(torch.tensor([run.sequence[:-1]]))[0, -1]
    logits[:3] = -math.inf
    assert int(logits.argmax()) == run.completion[-1]


@pytest.mark.parametrize("after", range(6))
def test_a_cancellation_is_an_end_and_keeps_what_was_said(model: DecoderLM, after: int) -> None:
    """R1: before the first chunk, between chunks, between tokens."""
    whole = complete(model, PROMPT, greedy(10)).completion
    calls = iter(range(99))
    run = generation(model, greedy(10), chunk=7, cancelled=lambda: next(calls) >= after)
    said = tokens_of(list(run))
    assert run.reason == "interrupted"
    assert said == run.completion == whole[: max(0, after - 2)]
    assert run.cache.length == min(7 * after, 20) + max(0, len(said) - 1)


# Sampling.


def test_one_number_is_drawn_for_each_token_whatever_the_settings(
    model: DecoderLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: so settings can be compared on the same luck, and a seed replays."""
    drawn: list[float] = []
    reference = random.Random(9)

    class Noted(random.Random):
        def random(self) -> float:
            drawn.append(super().random())
            return drawn[-1]

    monkeypatch.setattr("engine.generate.random.Random", Noted)
    sequences = []
    for options in (
        {},
        {"greedy": True},
        {"temperature": 0.0},
        {"top_k": 1},
        {"top_p": 0.5, "typical_p": 0.5, "min_p": 0.1},
        {"logprobs": 5},
    ):
        drawn.clear()
        complete(model, PROMPT, SamplingParams(max_new_tokens=6, min_new_tokens=6, **options), seed=9)  # type: ignore[arg-type]
        sequences.append(list(drawn))
    assert sequences == [[reference.random() for _ in range(6)]] * 6


def test_a_seed_repeats_and_two_seeds_differ(model: DecoderLM) -> None:
    """S9"""
    params = SamplingParams(max_new_tokens=10, min_new_tokens=10, temperature=2.0)
    first = [complete(model, PROMPT, params, seed=s).completion for s in (7, 7, 8)]
    assert first[0] == first[1] != first[2]


def test_first_tokens_differ_between_seeds(model: DecoderLM) -> None:
    """S10"""
    params = SamplingParams(max_new_tokens=1, temperature=2.0)
    assert len({complete(model, PROMPT, params, seed=s).completion[0] for s in range(64)}) > 5


def test_seeds_draw_from_the_models_distribution(model: DecoderLM) -> None:
    """S7, S8: the whole way, from the model's logits to the token, over 500 seeds."""
    prompt = PROMPT[:2]
    logits = model(torch.tensor([prompt]))[0, -1].double()
    logits[:3] = -math.inf  # 2 ends and waits, 0 and 1 never occur
    kept = logits.topk(4).indices
    expected = torch.zeros(64, dtype=torch.float64)
    expected[kept] = (logits[kept] / 3.0).softmax(-1)
    params = SamplingParams(temperature=3.0, top_k=4, max_new_tokens=1, min_new_tokens=1)
    tokens = torch.tensor([complete(model, prompt, params, seed=s).completion[0] for s in range(500)])
    assert chi_square_fits(torch.bincount(tokens, minlength=64).tolist(), expected.tolist())


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.3, "top_k": 2}, {"logit_bias": {5: 9.0}, "repetition_penalty": 3.0}]
)
def test_logprobs_are_of_the_models_own_distribution(model: DecoderLM, options: dict[str, Any]) -> None:
    """Before every stage; with the alternatives in order."""
    params = SamplingParams(max_new_tokens=5, min_new_tokens=5, logprobs=3, **options)
    run = generation(model, params)
    events = [i for i in run if isinstance(i, TokenEvent)]
    for n, event in enumerate(events):
        logprobs = model(torch.tensor([run.sequence[: 20 + n]]))[0, -1].log_softmax(-1)
        assert event.logprob == pytest.approx(float(logprobs[event.id]), abs=1e-4)
        best = logprobs.topk(3)
        assert [i for i, _ in event.top] == best.indices.tolist()
        assert [x for _, x in event.top] == pytest.approx(best.values.tolist(), abs=1e-4)


def test_without_being_asked_no_alternatives_are_reported(model: DecoderLM) -> None:
    assert all(i.top == () for i in generation(model, greedy(3)) if isinstance(i, TokenEvent))


def test_control_tokens_are_never_said(model: DecoderLM) -> None:
    """X10: not by the luck of the draw, not by a bias."""
    controls = list(range(3, 40))
    params = SamplingParams(max_new_tokens=60, min_new_tokens=60, temperature=3.0, logit_bias={10: 100.0})
    said = complete(model, PROMPT, params, rules=rules(never=[0, 1, *controls])).completion
    assert not set(said) & {0, 1, *controls}


def test_penalties_see_the_prompt_and_the_answer_as_documented(model: DecoderLM) -> None:
    """S6: repetition over both, presence and frequency over the answer only."""
    flat = Scripted(model, [7])
    never_again = SamplingParams(greedy=True, presence_penalty=100.0, max_new_tokens=5, min_new_tokens=5)
    assert len(set(complete(flat, [7, 7, 7], never_again).completion)) == 5
    assert complete(flat, [7, 7, 7], never_again).completion[0] == 7
    not_even_once = SamplingParams(
        greedy=True, repetition_penalty=100.0, logit_bias={8: 1.0}, max_new_tokens=1, min_new_tokens=1
    )
    assert complete(flat, [9, 9, 9], not_even_once).completion == [7]
    assert complete(flat, [7, 9, 9], not_even_once).completion == [8]


def test_logits_that_are_no_numbers_are_named(model: DecoderLM) -> None:
    """S5"""

    class Damaged(Scripted):
        def __call__(self, *args: Any, **more: Any) -> torch.Tensor:
            return super().__call__(*args, **more) * factor

    factor = math.nan
    for params in (SamplingParams(), SamplingParams(greedy=True)):
        with pytest.raises(ModelError, match="not finite"):
            complete(Damaged(model, [7]), PROMPT, params)
    factor = math.inf
    with pytest.raises(ModelError, match="not finite"):
        complete(Damaged(model, [7]), PROMPT, SamplingParams())


@pytest.mark.parametrize("options", [{}, {"greedy": True}])
def test_when_no_token_is_left_it_is_said(model: DecoderLM, options: dict[str, Any]) -> None:
    """S5: every token is a control token; nothing is said rather than one of them."""
    with pytest.raises(ModelError, match="No token is left"):
        complete(model, PROMPT, SamplingParams(**options), rules=rules(ends=[], never=range(64)))


def test_decoding_does_no_work_that_grows_with_the_context(model: DecoderLM) -> None:
    """Each step reads one token."""
    spy = Spy(model)
    complete(spy, PROMPT, greedy(100))
    assert [len(ids) for ids in spy.read] == [20, *[1] * 99]
