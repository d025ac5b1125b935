"""Promises about the generator of what was told: answers copy what stands before them, and few are evasive."""

import re
from functools import cache
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.memory import told, told_worlds
from weights.data.own.memory.told_values import wordings


@cache
def _made(n: int = 2000, seed: int = 7) -> tuple[Conversation, ...]:
    return tuple(GENERATORS["told"](Random(seed), n))


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    assert _made()[:100] == tuple(GENERATORS["told"](Random(7), 100))
    assert len(set(_made())) > 0.98 * len(_made())
    for conversation in _made():
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert "`" in message.content or not re.search(r"[{}|]| :: ", message.content), message.content


@pytest.mark.parametrize("key", told._KEYS)
def test_what_was_told_is_copied(key: str) -> None:
    rng, fact = Random(3), told._FACTS[key]
    assert len(wordings(fact["tell"])) >= 13 and len(wordings(fact["ask_x"])) >= 12
    for _ in range(25):
        words = told._words(fact, rng)
        turns = told._told(key, words, rng)
        assert words["x"].lower() in (turns[0] + turns[-2]).lower()
        for _ in range(4):
            answer = told._asked(fact, words, rng)[1]
            assert any(word.lower() in answer.lower() for slot, word in words.items()), answer
            assert "told me" not in answer or "not told" not in answer


@pytest.mark.parametrize("key", told_worlds._T["know"])
def test_the_world_is_answered_with_the_words_of_the_prompt(key: str) -> None:
    rng, found = Random(5), 0
    for _ in range(600):
        world = told_worlds._world(rng)
        for name, words in world.known:
            if name == key:
                found += 1
                _, answer, bare = told_worlds._pair(told_worlds._T["know"][key], "x", words, rng)
                assert bare.lower() in world.system.lower(), world.system
                assert key == "enemy" or bare.lower() in answer.lower()
    assert found or key in ("enemy", "special")


def test_a_rule_is_kept() -> None:
    assert told_worlds._kept("end", "At nine.", "Over.") == "At nine. Over."
    assert told_worlds._kept("call", "At nine.", "captain") == "At nine, captain."
    assert told_worlds._kept("upper", "At nine.", "") == "AT NINE."


def test_little_is_untold() -> None:
    unsure = sum(bool(re.search(r"not told|n't told|never told", c[-1].content)) for c in _made())
    assert 0 < unsure < 0.08 * len(_made())
