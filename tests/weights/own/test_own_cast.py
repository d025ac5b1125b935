"""Promises about the cast: many kinds of facts, answered with the words of the prompt, and the manners kept."""

import re
from collections import Counter
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.characters import cast_characters, cast_manners
from weights.data.own.heldout import is_heldout
from weights.data.own.tables import rows


def _made(n: int = 1200, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS["cast"](Random(seed), n))


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    made = _made()
    assert made == _made() != _made(seed=8)
    assert len({conversation[0].content for conversation in made}) > 0.98 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation]
        assert roles == ["system"] + ["user", "assistant"] * (len(roles) // 2) and len(roles) > 1
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"[{}|<>]| / | :: ", message.content), message.content
            assert message.role == "user" or ("…" not in message.content and ".." not in message.content)


def test_answers_are_short() -> None:
    lengths = [len(message.content.split()) for c in _made() for message in c if message.role == "assistant"]
    assert max(lengths) < 36
    assert sum(n < 25 for n in lengths) > 0.99 * len(lengths)


def test_there_are_many_kinds_of_facts_and_many_roles() -> None:
    facts = [row for name in cast_characters.TABLE["facts"] for row in cast_characters._group(name)]
    assert len(facts) >= 150
    assert sum(len(cast_characters.words_of(f"roles.{name}")) for name in cast_characters.TABLE["roles"]) >= 250


@pytest.mark.parametrize("group", cast_characters.TABLE["facts"])
def test_every_fact_is_told_and_asked_in_several_ways_and_copied(group: str) -> None:
    rng = Random(3)
    for (topic,), (made,), *fields in cast_characters._group(group):
        fact = cast_characters.made_fact(topic, made, tuple(fields), rng)
        assert len(fact.tells) >= 2 and len(fact.pairs[0][0]) >= 3 and len(fact.pairs[0][1]) >= 2, topic
        for tell in fact.tells:
            told = cast_characters.filled(tell, fact.words)
            assert fact.words["v"].lower().rstrip(".") in told.lower(), told
        for asks, says in fact.pairs:
            for say in says:
                answer = cast_characters.filled(say, fact.words)
                values = [fact.words[key].lower().rstrip(".") for key in ("v", "w") if key in fact.words]
                assert any(value in answer.lower() for value in values), (topic, answer)
            assert all(cast_characters.filled(ask, fact.words) for ask in asks)


def test_belongings_are_copied_from_the_prompt() -> None:
    rng = Random(4)
    for _ in range(400):
        fact = cast_characters._belonging(rng)
        said = cast_characters.fact_turn(fact, rng)[1].lower()
        assert fact.words["v"].lower().rstrip(".") in said or fact.words["t"] in said


def test_plurals_are_spelled_as_they_should_be() -> None:
    rng = Random(2)
    herds = {cast_characters.value("<Animal>s", rng) for _ in range(1000)}
    assert {"Foxes", "Geese", "Mice", "Wolves", "Goats"} <= herds and not herds & {"Foxs", "Gooses", "Lynxs"}


def test_a_fact_is_asked_wherever_it_stands() -> None:
    rng = Random(5)
    places = Counter[str]()
    for _ in range(3000):
        facts = cast_characters.drawn_facts("ship", 4, rng)
        at = facts.index(cast_characters._placed(facts, rng))
        places["first" if at == 0 else "last" if at == 3 else "middle"] += 1
    assert all(900 < count < 1100 for count in places.values()), places


def test_no_two_facts_answer_one_question() -> None:
    rng = Random(6)
    for name in cast_characters.TABLE["roles"]:
        for _ in range(30):
            facts = cast_characters.drawn_facts(name, 5, rng)
            assert len({fact.tag for fact in facts}) == len({fact.topic for fact in facts}) == 5
            assert sum(fact.tag in ("home", "seat") for fact in facts) <= 1


def test_the_user_and_the_model_are_told_apart() -> None:
    rng = Random(8)
    own = {ask.lower() for ask in cast_characters.words_of("who_is_who.my_name")}
    found = 0
    for _ in range(600):
        system, *turns = cast_manners.who_is_who(rng)
        for said, answer in zip(turns[::2], turns[1::2], strict=True):
            if said.content.lower() in own:
                found += 1
                name = re.sub(r"^(?:Your name is|You're called|You're|You are|It's) ", "", answer.content).rstrip(".")
                assert name in system.content, (system.content, answer.content)
    assert found > 50


def test_instructions_are_kept() -> None:
    rng = Random(9)
    assert cast_manners._kept("end", "Beep.", "I'm Ada.", rng) == "I'm Ada. Beep."
    assert cast_manners._kept("start", "Beep.", "I'm Ada.", rng) == "Beep. I'm Ada."
    assert cast_manners._kept("upper", "", "I'm Ada.", rng) == "I'M ADA."
    assert all("Captain" in cast_manners._kept("call", "Captain", "I'm Ada.", rng) for _ in range(20))
    for _ in range(300):
        system, *turns = cast_manners.mannered(rng)
        if match := re.search(r"(?:End|Finish|Close) (?:every|each) \w+ with ([\"'])(.+?)\1(?: |$)", system.content):
            assert all(turn.content.endswith(match[2]) for turn in turns[1::2]), (system, turns)
        if "one word" in system.content.lower():
            assert all(len(turn.content.split()) == 1 for turn in turns[1::2]), (system, turns)


def test_plain_questions_have_a_one_word_answer() -> None:
    for asks, (answer,), (word,) in rows(cast_characters.TABLE["plain"]["rows"]):
        assert asks and answer.endswith(".") and re.fullmatch(r"[\w-]+\.", word), (answer, word)
