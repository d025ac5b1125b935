"""Promises of the conversations about everyday things: own_machine, chatter, common_sense, definitions and the like."""

import random
import re
from itertools import pairwise

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.knowledge import common_sense, definitions, general_knowledge
from weights.data.own.memory import references
from weights.data.own.shell import own_machine
from weights.data.own.talk import chatter, little_works

SOURCES = {  # source -> the least number of different first prompts in 6000 conversations
    "chatter": 2900,
    "common_sense": 3500,
    "references": 2500,
    "own_machine": 3500,
    "little_works": 2900,
    "definitions": 4500,
    "general_knowledge": 3500,
}
NOT_TOLD = re.compile(r"not told me|only know what you write|I don't know your")


def made(source: str, n: int, seed: int = 0) -> list[Conversation]:
    return list(GENERATORS[source](random.Random(seed), n))


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_prompts_are_many_answers_short_and_nothing_is_held_out(source: str) -> None:
    conversations = made(source, 6000)
    for conversation in conversations:
        assert not is_heldout(conversation)
        answers = [m.content for m in conversation if m.role == "assistant"]
        assert all(len(answer.split()) <= 60 for answer in answers)
        assert all(answer[0] == answer[0].upper() or source == "definitions" for answer in answers)
    firsts = {next(m.content for m in c if m.role == "user") for c in conversations}
    assert len(firsts) >= SOURCES[source]


def test_yes_and_no_are_balanced() -> None:
    rng = random.Random(2)
    answers = [common_sense.yes_no(rng)[1] for _ in range(6000)]
    yes, no = (sum(answer.startswith(word) for answer in answers) for word in ("Yes", "No"))
    assert yes + no > 5600
    assert 0.42 < yes / (yes + no) < 0.58


def test_a_thing_is_never_said_to_be_and_not_to_be_of_a_kind() -> None:
    rng = random.Random(3)
    said: dict[str, str] = {}
    for _ in range(20000):
        question, answer = common_sense.yes_no(rng)
        key = re.sub(r"\W+", " ", question.lower()).strip()
        assert said.setdefault(key, answer.split()[0]) == answer.split()[0], key


def test_what_the_machine_knows_is_never_not_told_and_a_personal_thing_is_never_a_command() -> None:
    rng = random.Random(4)
    for _ in range(4000):
        assert own_machine.machine(rng)[1].startswith("`")
        said = own_machine.personal(rng)[1]
        assert NOT_TOLD.search(said)
        assert "`" not in said
    machine = {name.lower() for row in own_machine.table("machine") for name in row[0]}
    personal = {name.lower() for row in own_machine.table("person") for name in row[0]}
    assert not machine & personal


def test_what_was_told_is_what_is_answered() -> None:
    rng = random.Random(5)
    values = {v for row in (*own_machine.table("person"), *own_machine.table("told")) for v in row[-1]}
    for _ in range(4000):
        tell, _, _, say = own_machine.told(rng)
        found = [v for v in values if v.lower() in tell.lower() and v.replace("my ", "your ").lower() in say.lower()]
        assert found, (tell, say)
        assert not NOT_TOLD.search(say)


def test_own_machine_conversations_answer_what_was_told_and_only_that() -> None:
    for conversation in made("own_machine", 3000):
        turns = [m.content for m in conversation if m.role != "system"]
        for ask, say in zip(turns[::2], turns[1::2], strict=True):
            if re.match(r"what(?: is|'s) my (?:ip|kernel|hostname|shell|username)\b", ask.lower()):
                assert say.startswith("`")


def test_another_one_gives_another_of_the_same_kind() -> None:
    of = {work: kind for kind in ("jokes", "riddles", "facts") for work in little_works.lines(kind)}
    seen = 0
    for conversation in made("little_works", 3000):
        works = [m.content for m in conversation if m.content in of]
        seen += len(works) > 1
        assert len({of[work] for work in works}) <= 1
        assert all(a != b for a, b in pairwise(works))
    assert seen > 200


def test_the_tables_are_as_large_as_they_should_be_and_repeat_nothing() -> None:
    assert len(definitions.own_terms()) > 700
    assert len({term for term, _ in definitions.own_terms()}) == len(definitions.own_terms())
    assert len(general_knowledge.pairs("capitals")) > 180
    assert len(general_knowledge.questions("why")) > 190
    assert len(chatter.singles()) > 70
    assert len(chatter.scenes()) > 40
    assert len(references.table("animals", "rows")) > 35
    for name in ("jokes", "riddles", "facts", "compliments", "mottos"):
        assert len(set(little_works.lines(name))) == len(little_works.lines(name))
