"""An answer that was cut goes on: in the same turn, with the same words as if it had never been cut."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import ByteTokens, finish_of, text_of, token_events

from engine.api import Engine
from engine.events import TextDelta
from engine.params import SamplingParams
from engine.stream import Detokenizer, stream
from engine.template import Message
from engine.thinking import Thinking

ASK = [Message("system", "You are Ada."), Message("user", "Who are you?")]


def greedy(count: int, **more: object) -> SamplingParams:
    return SamplingParams(greedy=True, max_new_tokens=count, min_new_tokens=count, **more)  # type: ignore[arg-type]


def test_an_answer_that_goes_on_is_the_answer_that_was_not_cut(engine: Engine) -> None:
    whole = list(engine.chat(ASK, greedy(12)))
    ids = finish_of(whole).ids
    for cut in (1, 6, 11):
        items = list(engine.chat(ASK, greedy(12 - cut), prefill=ids[:cut]))
        end = finish_of(items)
        assert ids[:cut] + end.ids == ids
        assert engine.spoken(ASK, ids, greedy(12)) == ("", text_of(whole))
        # The same turn: what was read is the first prompt and the ids, with no other header between.
        assert end.prompt_ids == (*engine.prompt_ids(ASK), *ids[:cut])
        assert end.usage.cached_tokens == len(end.prompt_ids) - 1, "nothing is read again"


def test_a_character_that_was_cut_through_comes_whole(engine: Engine) -> None:
    ids = engine.tokenizer.encode_within("界")
    assert len(ids) == 3, "a character of three byte pieces"
    for cut in (1, 2):
        assert engine.spoken(ASK, ids[:cut], greedy(1)) == ("", "�")
    last = SamplingParams(greedy=True, max_new_tokens=1, logit_bias={ids[2]: 1e6})
    assert text_of(list(engine.chat(ASK, last, prefill=ids[:2]))) == "界"
    assert engine.spoken(ASK, ids, greedy(1)) == ("", "界")


def test_a_stop_string_that_was_cut_through_ends_the_answer(engine: Engine) -> None:
    first, second = engine.tokenizer.encode_within("7"), engine.tokenizer.encode_within("9")
    params = SamplingParams(greedy=True, max_new_tokens=5, stop=("79",), logit_bias={second[0]: 1e6})
    items = list(engine.chat(ASK, params, prefill=first))
    end = finish_of(items)
    assert (end.reason, end.stop, text_of(items)) == ("stop", "79", "")
    assert engine.spoken(ASK, [*first, *end.ids], params) == ("", "")


TABLE = [b"<think>", b"hm", b"</thi", b"nk>", b" ", "日".encode()[:1], "日".encode()[1:], b"a", b"ST", b"OP", b"\xff"]


@given(st.lists(st.integers(0, len(TABLE) - 1), max_size=12), st.integers(0, 12))
def test_wherever_it_was_cut_the_rest_is_what_the_whole_has_more(ids: list[int], cut: int) -> None:
    def said(some: list[int], begun: list[int]) -> tuple[str, str]:
        items = list(stream(token_events(some), Detokenizer(ByteTokens(TABLE)), ["STOP"], Thinking(), begun))
        deltas = [item for item in items if isinstance(item, TextDelta)]
        return "".join(d.thoughts for d in deltas), "".join(d.text for d in deltas)

    if b"STOP" in b"".join(TABLE[i] for i in ids[:cut]):
        return  # it had ended there
    whole, rest = said(ids, []), said(ids[cut:], ids[:cut])
    assert whole[0].endswith(rest[0]) and whole[1].endswith(rest[1])
    certain = [len(w) - len(r) for w, r in zip(whole, rest, strict=True)]
    first = said(ids[:cut], [])
    assert all(f[:c] == w[:c] for f, w, c in zip(first, whole, certain, strict=True))


def test_a_shift_tells_how_many_tokens_went(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(context=64)
    items = list(engine.chat(ASK, greedy(100), overflow="shift"))
    end = finish_of(items, shifted=True)
    held = len(end.prompt_ids) + len(end.ids) - end.usage.shifted_tokens
    assert end.reason == "length" and end.usage.shifted_tokens > 0 and held <= 64 + 1
    assert finish_of(list(engine.chat(ASK, greedy(3)))).usage.shifted_tokens == 0


def test_entropy_is_that_of_the_models_distribution_and_only_told_when_asked_for(engine: Engine) -> None:
    def tokens(params: SamplingParams) -> list[float | None]:
        items = [i for i in engine.chat(ASK, params) if isinstance(i, TextDelta)]
        return [t.entropy for i in items for t in i.tokens]

    assert tokens(SamplingParams(seed=1, max_new_tokens=2, min_new_tokens=2)) == [None, None]
    drawn = SamplingParams(seed=1, max_new_tokens=4, min_new_tokens=4, temperature=0.3, top_k=2, logprobs=1)
    end = finish_of(list(engine.chat(ASK, drawn)))
    logprobs = engine.logits([*end.prompt_ids, *end.ids])[len(end.prompt_ids) - 1 : -1].double().log_softmax(-1)
    assert tokens(drawn) == pytest.approx((-(logprobs.exp() * logprobs).sum(-1)).tolist(), abs=1e-4)
