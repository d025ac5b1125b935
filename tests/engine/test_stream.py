"""From tokens to text: the detokenizer and the stop matcher, under properties; and the stream of both."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import ByteTokens, text_of, token_events

from engine.events import PrefillProgress, TextDelta
from engine.stream import Detokenizer, StopMatcher, stream
from engine.tokenizer import SentencePieceTokenizer

EMOJI = "Grüße 👩‍👩‍👧‍👦, 日本語 — 😀😃! नमस्ते  e\u0301 \U0001f1e9\U0001f1ea"
few_letters = st.text(alphabet="ab", max_size=12)
stop_sets = st.lists(st.text(alphabet="ab", min_size=1, max_size=4), min_size=1, max_size=4, unique=True)


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The bytes cut at the given places."""
    places = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


def detokenized(pieces: Sequence[bytes], **options: bool) -> str:
    tokens = ByteTokens(pieces)
    detokenizer = Detokenizer(tokens, **options)
    text = "".join(detokenizer.add(i) for i in range(len(pieces))) + detokenizer.finish()
    assert tokens.calls == len(pieces)
    return text


@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=30))
@settings(max_examples=400)
def test_any_bytes_cut_at_any_token_are_the_decode_of_the_whole(data: bytes, cuts: list[int]) -> None:
    """U1, U5: also for bytes that are not UTF-8; each token is looked at once (U4)."""
    assert detokenized(cut(data, cuts)) == data.decode("utf-8", "replace")


@given(text=st.text(max_size=40), cuts=st.lists(st.integers(0, 160), max_size=40))
@settings(max_examples=400)
def test_good_text_never_shows_a_replacement_character(text: str, cuts: list[int]) -> None:
    """U1"""
    assert detokenized(cut(text.encode(), cuts)) == text
    tokens = ByteTokens(cut(text.encode(), cuts))
    detokenizer = Detokenizer(tokens)
    shown = ""
    for token in range(len(tokens.table)):  # what is shown is at every moment a beginning of the text
        shown += detokenizer.add(token)
        assert text.startswith(shown)


@given(ids=st.lists(st.integers(0, 399), max_size=60))
@settings(max_examples=300)
def test_streaming_any_ids_gives_the_decode_of_all(tokenizer: SentencePieceTokenizer, ids: list[int]) -> None:
    """U1, U3, U5: this project's tokenizer, any ids, control tokens too."""
    detokenizer = Detokenizer(tokenizer)
    assert "".join(map(detokenizer.add, ids)) + detokenizer.finish() == tokenizer.decode(ids)


@given(ids=st.lists(st.integers(0, 379), max_size=60))
@settings(max_examples=300)
def test_streaming_a_llama_2_tokenizer_gives_the_decode_of_all(
    llama2_tokenizer: SentencePieceTokenizer, ids: list[int]
) -> None:
    """U3: the space before the first word goes, and no other."""
    detokenizer = Detokenizer(llama2_tokenizer, skip_space=llama2_tokenizer.adds_space_prefix)
    assert "".join(map(detokenizer.add, ids)) + detokenizer.finish() == llama2_tokenizer.decode(ids)


@pytest.mark.parametrize("text", [" lead", "  two", "trail ", "a  b   c", "\n", "\n\n x\n", "\t", " ", "", "a\r\nb"])
def test_spaces_and_newlines_are_neither_lost_nor_doubled(
    text: str, tokenizer: SentencePieceTokenizer, llama2_tokenizer: SentencePieceTokenizer
) -> None:
    """U3"""
    for which in (tokenizer, llama2_tokenizer):
        detokenizer = Detokenizer(which, skip_space=which.adds_space_prefix)
        assert "".join(map(detokenizer.add, which.encode(text))) + detokenizer.finish() == text


def test_every_limit_gives_whole_characters_and_at_most_one_broken_at_the_end() -> None:
    """U2: an answer cut inside a character."""
    data = EMOJI.encode()
    for limit in range(1, len(data) + 1):
        tokens = ByteTokens([bytes([b]) for b in data])
        shown = text_of(list(stream(token_events(range(limit)), Detokenizer(tokens), ())))
        shown.encode()  # no half of a surrogate pair
        assert EMOJI.startswith(shown.rstrip("\ufffd")) and shown.count("\ufffd") <= 1
        assert shown == data[:limit].decode("utf-8", "replace")


@pytest.mark.parametrize("count", [1000, 8000])
def test_work_per_token_does_not_grow_with_the_answer(count: int) -> None:
    """U4: one look at each token; what is fed to the matcher is the answer's characters, once."""
    tokens = ByteTokens([b"\xf0\x9f", b"\x98\x80", b"ab "])
    fed: list[str] = []

    class Counting(Detokenizer):
        def add(self, token: int) -> str:
            fed.append(super().add(token))
            return fed[-1]

    shown = text_of(list(stream(token_events([0, 1, 2] * (count // 3)), Counting(tokens), ["never"])))
    assert tokens.calls == count // 3 * 3
    assert sum(map(len, fed)) == len(shown) == 4 * (count // 3)


def oracle(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """The shortest beginning of the text that ends with a stop; of the stops it ends with, the longest."""
    for end in range(1, len(text) + 1):
        if found := [s for s in stops if text[:end].endswith(s)]:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


def matched(deltas: Sequence[str], stops: Sequence[str]) -> tuple[str, str | None]:
    """What a StopMatcher shows of the deltas, checking on the way that it holds back no more than it must."""
    matcher, shown, fed = StopMatcher(stops), "", ""
    for delta in deltas:
        text, stop = matcher.add(delta)
        shown, fed = shown + text, fed + delta
        if stop is not None:
            return shown, stop
        assert fed.startswith(shown)
        assert any(s.startswith(fed[len(shown) :]) for s in stops)  # only what may still become a stop waits
    return shown + matcher.finish(), None


@given(text=few_letters, stops=stop_sets, cuts=st.lists(st.integers(0, 12), max_size=8))
@example(text="abbb", stops=["b", "abb"], cuts=[])
@example(text="abbb", stops=["b", "abb"], cuts=[1, 2, 3])
@settings(max_examples=1500)
def test_a_stop_string_never_leaks_in_part(text: str, stops: list[str], cuts: list[int]) -> None:
    """P1, P3: the first stop to end wins, of those the longest, however the text was cut; no part of it is shown."""
    deltas = [d.decode() for d in cut(text.encode(), cuts)]
    assert matched(deltas, stops) == oracle(text, stops)
    assert matched(list(text), stops) == oracle(text, stops)
    assert matched([text], list(reversed(stops))) == oracle(text, stops)


@given(text=few_letters, stop=st.text(alphabet="abc", min_size=1, max_size=4))
def test_a_stop_that_never_occurs_takes_nothing_away(text: str, stop: str) -> None:
    """P3: the end of the answer stays, also when it looked like the beginning of a stop."""
    if stop not in text:
        assert matched(list(text), [stop]) == (text, None)


@pytest.mark.parametrize("stop", ["。", "👩‍👩‍👧", "語", "😀!", "é"])
def test_a_stop_in_multi_byte_text_is_found_in_split_characters(stop: str) -> None:
    """P2: each token is one byte."""
    answer = f"日本語の前 {stop} nach"
    tokens = ByteTokens([bytes([b]) for b in answer.encode()])
    items = list(stream(token_events(range(len(tokens.table))), Detokenizer(tokens), [stop]))
    assert (text_of(items), items[-1]) == oracle(answer, [stop])


def test_a_stop_is_found_in_any_tokenization() -> None:
    """P4"""
    for pieces in ([b"ok\nUser: x"], [b"ok\n", b"User:"], [b"ok", b"\nU", b"se", b"r", b":"]):
        items = list(stream(token_events(range(len(pieces))), Detokenizer(ByteTokens(pieces)), ["\nUser"]))
        assert (text_of(items), items[-1]) == ("ok", "\nUser")


def test_without_stops_every_delta_goes_through_at_once() -> None:
    tokens = ByteTokens([b"a", b"b"])
    items = list(stream(token_events([0, 1, 0]), Detokenizer(tokens), ()))
    assert [i.text for i in items if isinstance(i, TextDelta)] == ["a", "b", "a"]


def test_every_token_is_reported_once_and_in_order() -> None:
    """Also those whose text is held back, and those of the stop string."""
    tokens = ByteTokens([b"x", b"\xf0\x9f", b"\x98\x80", b"ST", b"OP", b"after"])
    items = list(stream(token_events([0, 1, 2, 3, 4, 5]), Detokenizer(tokens), ["STOP"]))
    assert [e.id for i in items if isinstance(i, TextDelta) for e in i.tokens] == [0, 1, 2, 3, 4]
    assert text_of(items) == "x😀" and items[-1] == "STOP"


def test_nothing_is_asked_of_the_model_after_the_stop() -> None:
    asked: list[int] = []

    def events() -> object:
        for i in (0, 1, 2, 3):
            asked.append(i)
            yield from token_events([i])

    tokens = ByteTokens([b"a", b"STOP", b"b", b"c"])
    list(stream(events(), Detokenizer(tokens), ["STOP"]))  # type: ignore[arg-type]
    assert asked == [0, 1]


def test_progress_goes_through_and_an_empty_answer_is_empty() -> None:
    items = list(stream([PrefillProgress(3, 3)], Detokenizer(ByteTokens([])), ["x"]))
    assert items == [PrefillProgress(3, 3)]


def test_held_text_is_let_go_at_the_end() -> None:
    tokens = ByteTokens([b"so S", b"TO"])
    items = list(stream(token_events([0, 1]), Detokenizer(tokens), ["STOP"]))
    assert [i.text for i in items if isinstance(i, TextDelta)] == ["so ", "", "STO"]


@given(
    data=st.binary(max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=10),
    stops=st.lists(st.text(alphabet="ab\ufffdé", min_size=1, max_size=3), max_size=3),
)
def test_a_stream_is_the_whole_text_up_to_the_stop(data: bytes, cuts: list[int], stops: list[str]) -> None:
    pieces = cut(data, cuts)
    items = list(stream(token_events(range(len(pieces))), Detokenizer(ByteTokens(pieces)), stops))
    text, stop = oracle(data.decode("utf-8", "replace"), stops)
    assert text_of(items) == text
    assert (items[-1] if items and isinstance(items[-1], str) else None) == stop
