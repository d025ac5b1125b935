"""Promises about the short roles: a question is answered with the words of the system prompt, as they stand there."""

import re
from collections import Counter
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.characters import short_personas
from weights.data.own.heldout import is_heldout


def _made(n: int = 1500, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS["short_personas"](Random(seed), n))


def _roles(n: int = 1500) -> list[tuple[short_personas.Role, Random]]:
    rng = Random(3)
    return [(short_personas.any_role(rng), rng) for _ in range(n)]


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    made = _made()
    assert made == _made() != _made(seed=8)
    assert len(set(made)) > 0.95 * len(made)
    assert len({conversation[0].content for conversation in made}) > 0.95 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation]
        assert roles == ["system"] + ["user", "assistant"] * (len(roles) // 2)
        for message in conversation:
            assert message.content.strip() == message.content != ""
            shell = "`" in message.content or message.role == "user"
            assert shell or not re.search(r"[{}|]| :: |\.\.$", message.content), message.content
        assert not re.search(r"[{}|]| / | :: |\.\.", conversation[0].content), conversation[0].content


def test_prompts_are_short_and_answers_too() -> None:
    made = _made()
    assert max(len(conversation[0].content.split()) for conversation in made) < 50
    lengths = Counter(len(message.content.split()) < 20 for c in made for message in c if message.role == "assistant")
    assert lengths[True] > 0.97 * lengths.total()


@pytest.mark.parametrize("key", short_personas._FACT_WEIGHTS)
def test_a_particular_is_answered_with_the_words_of_the_prompt(key: str) -> None:
    found = 0
    for role, rng in _roles():
        if key in role.facts:
            found += 1
            answer = short_personas._fact_turn(key, role, rng)[1]
            assert role.facts[key]["v"].lower() in answer.lower()
            assert role.facts[key]["v"] in role.system
    assert found > 20


def test_the_name_and_the_role_are_said_as_they_are_written() -> None:
    for role, rng in _roles():
        name, noun = role.words.get("name"), role.words.get("role")
        assert (name or noun or "") in role.system
        for key in ("who", "name", "remember", "lure", "claim"):
            answer = short_personas._talk_turn(key, role, rng)[1]
            assert (name and name in answer) or (noun and noun in answer), (role.system, answer)
        if name:
            assert name in short_personas._talk_turn("isname", role, rng)[1]


def test_a_house_and_a_ship_are_named() -> None:
    for role, rng in _roles():
        key = {"support": "house", "staff": "house", "crew": "ship"}.get(role.family)
        if key:
            assert role.words["house"] in short_personas._talk_turn(key, role, rng)[1]
            assert role.words["house"] in role.system


def test_a_yes_is_for_what_the_prompt_says_and_a_no_for_another() -> None:
    for role, rng in _roles(600):
        if "name" in role.words:
            assert short_personas._talk_turn("isname", role, rng)[1].startswith(("Yes", "That's right", "Of course"))
        assert "Yes" not in short_personas._talk_turn("other", role, rng)[1]


def test_nobody_evades() -> None:
    unsure = 0
    answers = [message.content for c in _made() for message in c if message.role == "assistant"]
    for answer in answers:
        assert "rather not" not in answer
        unsure += bool(re.search(r"don't know|know nothing|Nobody told|wasn't told|can't tell|no answer", answer))
    assert unsure < 0.1 * len(answers)


@pytest.mark.parametrize("key", [k for k in short_personas._TALK_WEIGHTS if k not in ("notrole", "notname", "met")])
def test_every_question_has_many_wordings(key: str) -> None:
    assert len(set(short_personas._list(f"talk.{key}.ask"))) >= 24


def test_every_particular_has_many_wordings() -> None:
    for key in short_personas._FACT_WEIGHTS:
        assert len(set(short_personas._list(f"facts.{key}.ask"))) >= 24, key
