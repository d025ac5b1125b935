"""Thoughts are told from the answer, wherever the stream was cut, and a stop string in them ends nothing."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import TextDelta, TokenEvent
from engine.stream import Detokenizer, stream
from engine.template import Segment
from engine.thinking import Thinking, watch, with_thoughts


def split(text: str, cuts: list[int], **options: bool) -> tuple[str, str]:
    thinking = Thinking(**options)
    thoughts = answer = ""
    places = [0, *sorted({min(c, len(text)) for c in cuts}), len(text)]
    for start, end in pairwise(places):
        more, rest = thinking.add(text[start:end])
        thoughts, answer = thoughts + more, answer + rest
    more, rest = thinking.finish()
    return thoughts + more, answer + rest


CASES = [
    ("<think>\nHm, </thi nk\n so < \n</think>\n\nYes. <think> 5 \n", {}, ("Hm, </thi nk\n so <", "Yes. <think> 5 \n")),
    ("  No thoughts. ", {}, ("", "  No thoughts. ")),
    ("They write <think>so</think>.", {}, ("", "They write <think>so</think>.")),
    ("in the prompt\n</think>Then", {"inside": True}, ("in the prompt", "Then")),
    ("<think>a</think>b", {"over": True}, ("", "<think>a</think>b")),
    (" as prefilled", {"over": True}, ("", " as prefilled")),
    ("\n<think>\n\n</think>\n\nok", {}, ("", "ok")),
    ("<think>cut off ", {}, ("cut off", "")),
    ("<think>cut off </thi", {}, ("cut off </thi", "")),
    ("<think", {}, ("", "<think")),
    (" \n", {}, ("", " \n")),
    ("", {}, ("", "")),
]


@pytest.mark.parametrize(("text", "options", "expected"), CASES)
@given(cuts=st.lists(st.integers(0, 60), max_size=60))
@settings(max_examples=30)
def test_thoughts_and_answer_do_not_depend_on_the_cuts(
    text: str, options: dict[str, bool], expected: tuple[str, str], cuts: list[int]
) -> None:
    assert split(text, cuts, **options) == split(text, list(range(60)), **options) == expected


@given(thoughts=st.text(), answer=st.text(), cuts=st.lists(st.integers(0, 40)))
def test_what_the_history_keeps_is_told_apart_again(thoughts: str, answer: str, cuts: list[int]) -> None:
    thoughts, answer = thoughts.strip(), answer.lstrip()
    if "</think>" in thoughts or answer.startswith("<think>"):
        return
    assert split(with_thoughts(thoughts, answer), cuts) == (thoughts, answer)


@pytest.mark.parametrize(
    ("prompt", "prefill", "text", "expected"),
    [
        ("assistant\n", "", "<think>a</think>b", ("a", "b")),
        ("assistant\n<think>\n", "", "a</think>b", ("a", "b")),
        ("assistant\n<think>\n\n</think>\n\n", "", "b", ("", "b")),
        ("assistant\n", "Sure: ", "<think>a</think>", ("", "<think>a</think>")),
        ("assistant\n", "<think>Well, ", "a</think>b", ("a", "b")),
        ("assistant\n", "<think>Well</think>", "b", ("", "b")),
    ],
)
def test_the_prompt_may_have_begun_the_thoughts(
    prompt: str, prefill: str, text: str, expected: tuple[str, str]
) -> None:
    thinking = watch([Segment("user\n<think>"), Segment("<|end|>", control=True), Segment(prompt)], prefill)
    more, rest = thinking.add(text)
    assert (more, rest) == expected and thinking.finish() == ("", "")


class Letters:
    """A character is a token."""

    def token_bytes(self, token: int) -> bytes:
        return chr(token).encode()


@pytest.mark.parametrize("closed", [True, False])
def test_a_stop_string_in_thoughts_ends_nothing(closed: bool) -> None:
    """P6; and every token is told once."""
    text = "<think>not STOP yet</think>\n\nnow STOP never" if closed else "<think>not STOP yet"
    events = [TokenEvent(ord(c), 0.0) for c in text]
    items = list(stream(iter(events), Detokenizer(Letters()), ["STOP"], Thinking()))
    deltas = [item for item in items if isinstance(item, TextDelta)]
    assert "".join(d.thoughts for d in deltas) == "not STOP yet"
    assert "".join(d.text for d in deltas) == ("now " if closed else "")
    assert [t for d in deltas for t in d.tokens] == events[: text.rfind("STOP") + 4 if closed else None]
    assert (items[-1] == "STOP") == closed
