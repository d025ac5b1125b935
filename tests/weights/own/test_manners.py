"""Promises about the generator of courtesies and small talk."""

import re
from functools import cache
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.talk import manners

_BUILT = {"name", "place"}


@cache
def _made(n: int = 3000, seed: int = 7) -> tuple[Conversation, ...]:
    return tuple(GENERATORS["manners"](Random(seed), n))


def test_a_seed_makes_the_same_talks_in_turns_and_none_is_held_out() -> None:
    assert _made()[:50] == tuple(GENERATORS["manners"](Random(7), 50))
    for conversation in _made():
        turns = [message.role for message in conversation if message.role != "system"]
        assert turns == ["user", "assistant"] * (len(turns) // 2)
        assert 2 <= len(turns) <= 8
        assert not is_heldout(conversation)
        for message in conversation:
            assert message.content.strip() == message.content != ""
    assert 0.5 < sum(len(c) - (c[0].role == "system") == 2 for c in _made()) / len(_made()) < 0.7


def test_no_place_is_left_open_and_answers_are_short_sentences() -> None:
    rng = Random(3)
    for _ in range(4000):
        said, answer = manners.exchange(rng)
        assert not re.search(r"[{}|]", said + answer), (said, answer)
        assert len(answer.split()) < 30, answer
        assert re.match(r"[A-ZÀ-Ý0-9]", answer), answer
        assert answer[-1] in ".!?", answer
        assert not re.search(r"[.!?],|,,|\.\.|[!?][.]| [,.!?]|\b(\w+) \1\b(?<!ha)", answer), answer


@pytest.mark.parametrize("name", manners._TOPICS)
def test_a_topic_has_many_wordings_and_names_what_was_said(name: str) -> None:
    blocks = manners.topic(name)
    assert sum(len(asks) for asks, _ in blocks) >= 60
    assert {"weight", "open", "close", "rows"} <= set(manners._TABLE[name])
    for asks, answers in blocks:
        assert answers, asks
        named = set(re.findall(r"\{(\w+)\}", " ".join(answers)))
        for ask in asks:
            places = set(re.findall(r"\{(\w+)\}", ask))
            assert named <= places, (ask, named)
            assert places <= set(manners._SLOTS) | _BUILT, ask


@pytest.mark.parametrize("name", manners._TOPICS)
def test_a_topic_has_eight_answers_or_more(name: str) -> None:
    rng = Random(1)
    assert len({manners._answered(name, manners._row(name, rng), rng)[1] for _ in range(300)}) >= 8


def test_wordings_hardly_repeat() -> None:
    rng = Random(4)
    said = [manners.exchange(rng)[0] for _ in range(4000)]
    assert len(set(said)) > 3200


def test_only_a_first_turn_is_told_that_nothing_stands_before_it() -> None:
    for conversation in _made():
        later = [m.content for m in conversation if m.role == "assistant"][1:]
        assert not any("nothing before this yet" in text for text in later), conversation
