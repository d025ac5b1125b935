"""What fits the context: whole turns go, oldest first; never the system prompt, never the last question."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import finish_of, text_of

from engine.api import Engine
from engine.context import FULL, fit
from engine.errors import ContextOverflow, UsageError
from engine.events import Finish
from engine.params import SamplingParams
from engine.template import Message

SHORT = SamplingParams(greedy=True, max_new_tokens=4)


def words(messages: Sequence[Message]) -> int:
    """Tokens of a rendered conversation, for tests: its words, two for each turn, and three for the frame."""
    return sum(len(m.content.split()) + 2 for m in messages) + 3


def talk(sizes: Sequence[int], system: int | None = None) -> list[Message]:
    """A conversation that ends with a question; each text has the given number of words."""
    head = [] if system is None else [Message("system", "s " * system)]
    return head + [Message("assistant" if n % 2 else "user", f"w{n} " * size) for n, size in enumerate(sizes)]


conversations = st.tuples(
    st.lists(st.integers(0, 12), min_size=0, max_size=12).map(lambda s: s if len(s) % 2 else [*s, 3]),
    st.none() | st.integers(0, 12),
).map(lambda x: talk(*x))


@given(
    messages=conversations,
    context=st.integers(1, 80),
    room=st.integers(0, 40),
    overflow=st.sampled_from(["drop-oldest", "shift"]),
)
@settings(max_examples=500)
def test_what_is_sent_fits_and_is_the_newest_of_what_was_said(
    messages: list[Message], context: int, room: int, overflow: str
) -> None:
    """C1, C2, C5, C8"""
    least = words([*messages[: messages[0].role == "system"], messages[-1]])
    if least > context:
        with pytest.raises(ContextOverflow, match=f"{least} tokens .* {context} positions"):
            fit(messages, words, context, room, overflow)
        return
    fitted = fit(messages, words, context, room, overflow)
    kept = list(fitted.messages)
    assert fitted.prompt_tokens == words(kept) <= context
    assert fitted.dropped_tokens == words(messages) - words(kept)
    assert kept[-1] == messages[-1] and kept[-1].role == "user"  # the question
    head = messages[: messages[0].role == "system"]
    assert kept[: len(head)] == head  # the system prompt
    assert [*head, *fitted.dropped, *kept[len(head) :]] == messages  # nothing is lost without being told
    assert len(fitted.dropped) % 2 == 0 and kept[len(head)].role == "user"  # whole turns


@given(messages=conversations, context=st.integers(1, 80), room=st.integers(0, 40))
def test_error_means_that_nothing_is_dropped(messages: list[Message], context: int, room: int) -> None:
    """C1: a prompt of context + 1 is refused with the counts; one of the context goes through."""
    size = words(messages)
    if size > context:
        with pytest.raises(ContextOverflow, match=f"{size} tokens .* {context} positions"):
            fit(messages, words, context, room, "error")
    else:
        assert fit(messages, words, context, room, "error").messages == tuple(messages)


def test_turns_are_dropped_in_blocks() -> None:
    """Down to three quarters of the context, so that the next turns drop nothing."""
    messages = talk([4] * 21)
    fitted = fit(messages, words, 100, 10, "drop-oldest")
    assert fitted.dropped and fitted.prompt_tokens <= FULL * 100
    more = [*fitted.messages, Message("assistant", "w " * 3), Message("user", "w")]
    assert fit(more, words, 100, 10, "drop-oldest").dropped == ()


def test_what_was_looked_up_goes_with_its_turn_and_never_alone() -> None:
    turn = [Message("context", "c " * 6), Message("user", "w " * 4), Message("assistant", "w " * 4)]
    messages = [Message("system", "s"), *turn * 5, Message("context", "c"), Message("user", "w")]
    fitted = fit(messages, words, 100, 10, "drop-oldest")
    assert fitted.dropped and [m.role for m in fitted.dropped] == ["context", "user", "assistant"] * (
        len(fitted.dropped) // 3
    )
    assert [m.role for m in fitted.messages[:3]] == ["system", "context", "user"]
    with pytest.raises(ContextOverflow):
        fit(messages[-2:], words, 8, 1, "drop-oldest")


def test_a_conversation_that_fits_is_left_alone() -> None:
    messages = talk([4] * 5)
    assert fit(messages, words, words(messages) + 10, 10, "drop-oldest") == fit(messages, words, 10**6, 10, "error")


def test_a_long_answer_that_is_allowed_does_not_empty_the_history() -> None:
    messages = talk([4] * 9)
    assert fit(messages, words, 100, 10**6, "drop-oldest").dropped == ()


@pytest.mark.parametrize("overflow", ["drop-oldest", "shift", "error"])
def test_a_single_question_longer_than_the_context_is_refused_and_never_dropped(overflow: str) -> None:
    """C8"""
    for system in (None, 5):
        messages = talk([50], system)
        with pytest.raises(ContextOverflow, match=f"{words(messages)} tokens"):
            fit(messages, words, words(messages) - 1, 4, overflow)


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("overflow", ["drop-oldest", "shift"])
def test_a_system_prompt_as_long_as_the_context_is_an_error_and_ends(
    more: int, overflow: str, make_engine: Callable[..., Engine]
) -> None:
    """C3, C5: system prompt of exactly context - 1, context and context + 1 tokens."""
    context = 64
    engine = make_engine(context=context)
    system = [Message("system", "")]
    frame = len(engine.prompt_ids([*system, Message("user", "a")]))
    letters = context + more - frame
    messages = [Message("system", "1" * letters), Message("user", "a")]  # a digit is a token
    assert len(engine.prompt_ids(messages)) == context + more
    for _ in range(2):  # and a second time, with whatever the first left in the cache
        if more > 0:
            with pytest.raises(ContextOverflow, match=f"{context + more} tokens .* {context} positions"):
                list(engine.chat(messages, SHORT, overflow=overflow))
        else:
            items = list(
                engine.chat(messages, SamplingParams(max_new_tokens=100, min_new_tokens=100, seed=1), overflow=overflow)
            )
            shifts = overflow == "shift"
            assert finish_of(items, shifted=shifts).reason == ("length" if shifts else "context")


@pytest.mark.parametrize("keep", [14, 15, 16, 17])
def test_a_shift_that_keeps_all_but_nothing_is_refused(keep: int) -> None:
    """C3: no endless loop of shifts; with room for one more it moves on and ends."""
    from tiny import TINY, complete, greedy, random_ids, tiny_model

    from engine.cache import KVCache

    cache = KVCache(TINY, limit=16)
    if keep >= 15:
        with pytest.raises(ContextOverflow, match=f"{keep} tokens are to be kept"):
            complete(tiny_model(), random_ids(16), greedy(50), cache=cache, keep=keep, shift=True)
    else:
        generation = complete(tiny_model(), random_ids(16), greedy(50), cache=cache, keep=keep, shift=True)
        assert generation.reason == "length" and len(generation.completion) == 50


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(UsageError, match="--overflow must be one of error, drop-oldest, shift, not 'forget'"):
        fit(talk([3]), words, 100, 4, "forget")


def test_the_system_prompt_comes_first_in_each_of_100_turns(make_engine: Callable[..., Engine]) -> None:
    """C2: with a context that holds a handful of them."""
    engine = make_engine(context=96)
    messages, dropped = [Message("system", "You are Ada.")], 0
    head = engine.prompt_ids(messages)[:-1]  # without the opening of an answer
    for turn in range(100):
        messages.append(Message("user", f"question {turn}"))
        fitted = engine.fit(messages, SHORT, "drop-oldest")
        dropped += bool(fitted.dropped)
        sent = engine.prompt_ids(fitted.messages)
        assert sent[: len(head)] == head and fitted.messages[-1] == messages[-1]
        items = list(engine.chat(messages, SHORT))
        end: Finish = finish_of(items)
        assert end.usage.prompt_tokens == len(sent) <= 96
        messages = [*fitted.messages, Message("assistant", text_of(items), ids=end.ids)]
    assert 3 < dropped < 50


def test_the_reported_context_is_the_longest_prompt_that_works(make_engine: Callable[..., Engine]) -> None:
    """C5, C6: at the limit, one below and one above, also around the size of a chunk."""
    for context in (5, 33, 512, 100_000):
        engine = make_engine(context=context)
        limit = min(context, 512)  # the model's own
        assert engine.context == limit
        for count in (limit - 1, limit):
            assert finish_of(list(engine.generate([5] * count, SHORT))).reason in ("context", "length", "eos")
        with pytest.raises(ContextOverflow, match=f"{limit + 1} tokens .* {limit} positions"):
            list(engine.generate([5] * (limit + 1), SHORT))
