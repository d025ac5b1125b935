"""Promises of the conversations in character."""

import random
import re

import pytest

from weights.data.own import GENERATORS
from weights.data.own.characters import character_facts, characters, in_character
from weights.data.own.characters.characters import Character, any_character, roles
from weights.data.own.heldout import has_heldout_name
from weights.data.own.unusual_names import bot_name, house_name, unusual_name


def drawn(n: int, seed: int = 0) -> list[Character]:
    rng = random.Random(seed)
    return [any_character(rng) for _ in range(n)]


def test_there_are_at_least_150_roles_and_each_says_enough_of_itself() -> None:
    assert len({role.noun for role in roles()}) == len(roles()) >= 150
    for role in roles():
        assert 2 <= len(role.days) <= 4, role.noun
        assert 2 <= len(role.likes) <= 3, role.noun
        for lines in (role.days, role.offers, role.tips, role.hellos, role.byes):
            assert lines
            assert all(line[0].isupper() and line[-1] in ".!?'" and len(line.split()) <= 16 for line in lines), (
                role.noun
            )


def test_a_character_has_its_name_its_role_and_its_liking_in_the_prompt() -> None:
    for character in drawn(3000):
        assert character.name in character.system
        assert character.role in character.system
        assert len(character.likes) > 1 or character.likes[0] in character.system


def test_a_fact_that_is_asked_is_the_one_that_the_prompt_tells() -> None:
    rng = random.Random(1)
    asked = 0
    for character in drawn(3000):
        for fact in character.facts:
            assert all(value in character.system for value in fact.values if fact.kind != "price"), (
                fact,
                character.system,
            )
            for _, answers in fact.asks:
                for answer in answers:
                    assert any(in_character_value(value) in answer for value in fact.values), (fact, answer)
            if fact.kind == "price":
                question, answer = fact.asked(rng)
                price = re.search(r"\d+", answer)
                assert price and price.group() in character.system, (question, answer)
            asked += 1
    assert asked > 2000


def in_character_value(value: str) -> str:
    return value.replace(" your ", " my ")


def test_what_the_prompt_does_not_tell_is_not_invented() -> None:
    rng = random.Random(2)
    answers = set(character_facts.entries(character_facts._TABLE["unknown"]["person"]))
    for character in drawn(500):
        if not character.house:
            told = {fact.kind for fact in character.facts}
            _, answer = character_facts.unknown("person", told, rng, name=character.name)
            assert answer in answers


@pytest.mark.parametrize("table", ["say_who", "say_name", "say_other", "say_hello"])
def test_whoever_has_a_name_never_says_another(table: str) -> None:
    rng = random.Random(3)
    for character in drawn(2000):
        answer = in_character.say(table, character, rng)
        assert "tfm" not in answer
        if table != "say_hello":
            named = character.name or character.role
            assert named in answer or named[:1].upper() + named[1:] in answer, (character.system, answer)


def test_no_character_says_that_it_is_tfm() -> None:
    rng = random.Random(4)
    for character in drawn(1500):
        for _, answer in in_character.questions(character, 4, rng):
            assert "tfm" not in answer
            assert "no taste" not in answer
    for conversation in GENERATORS["in_character"](random.Random(5), 3000):
        if any("tfm" in m.content for m in conversation if m.role == "assistant"):
            system = conversation[0].content if conversation[0].role == "system" else ""
            assert system in ("", *in_character._T["plain_systems"]) or len(system) < 60


@pytest.mark.parametrize("subject", ["in_character", "kept_instructions"])
def test_no_answer_says_a_word_three_times_in_a_row(subject: str) -> None:
    for conversation in GENERATORS[subject](random.Random(6), 2000):
        for message in conversation:
            if message.role == "assistant":
                assert not re.search(r"\b([a-z]+)\W+\1\W+\1\b", message.content, re.IGNORECASE), message


@pytest.mark.parametrize("subject", ["in_character", "kept_instructions"])
def test_conversations_are_short_and_hardly_two_have_one_prompt(subject: str) -> None:
    made = list(GENERATORS[subject](random.Random(7), 2000))
    assert all(2 <= len([m for m in c if m.role != "system"]) <= 10 for c in made)
    with_prompt = [c[0].content for c in made if c[0].role == "system"]
    assert len(with_prompt) > 1600
    assert len(set(with_prompt)) > 0.85 * len(with_prompt)
    assert len(set(made)) > 0.97 * len(made)


def test_names_are_many_and_of_every_kind_and_none_is_held_out() -> None:
    rng = random.Random(8)
    names = [unusual_name(rng) for _ in range(5000)]
    assert len(set(names)) > 4000
    assert sum(not name.isascii() for name in names) > 1000
    assert sum(any(letter.isdigit() for letter in name) for name in names) > 200
    assert sum("-" in name or "'" in name for name in names) > 200
    assert any(re.search("[а-я]", name) for name in names)
    assert any(re.search("[α-ω]", name) for name in names)
    assert not any(has_heldout_name(name) for name in (*names, bot_name(rng), house_name(rng)))


def test_every_wording_of_a_prompt_has_the_name_and_the_role() -> None:
    for frame in characters.FRAMES:
        assert "{name}" in frame
        assert "{role}" in frame
