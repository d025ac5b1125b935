"""Promises about the generators of first things: words, facts, situations, particulars, requests at a shell, sums."""

import re
from collections import Counter
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.characters import particulars
from weights.data.own.heldout import is_heldout
from weights.data.own.knowledge import common_facts, everyday_words
from weights.data.own.knowledge.definitions import all_terms
from weights.data.own.shell import shell_requests
from weights.data.own.talk import situations

_NEW = ("everyday_words", "common_facts", "situations", "particulars", "shell_requests", "arithmetic")


def _made(name: str, n: int = 1200, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS[name](Random(seed), n))


def _pairs(conversations: list[Conversation]) -> list[tuple[str, str, str]]:
    """Every question with its answer and the system prompt, if there is one."""
    found = []
    for conversation in conversations:
        system = conversation[0].content if conversation[0].role == "system" else ""
        turns = [message.content for message in conversation if message.role != "system"]
        found += [(system, said, answer) for said, answer in zip(turns[::2], turns[1::2], strict=True)]
    return found


@pytest.mark.parametrize("name", _NEW)
def test_conversations_differ_are_whole_and_hold_nothing_held_out(name: str) -> None:
    made = _made(name)
    assert made == _made(name) != _made(name, seed=8)
    assert len(set(made)) > 0.6 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(message.content.strip() == message.content != "" for message in conversation)


@pytest.mark.parametrize("name", ["everyday_words", "common_facts", "situations", "particulars"])
def test_no_place_is_left_open(name: str) -> None:
    for conversation in _made(name):
        for message in conversation:
            assert not re.search(r"[{}|]", message.content), message.content
            assert message.role == "user" or not re.search(r" :: |\.\.$", message.content), message.content


def test_words_are_new_and_defined_once() -> None:
    nouns = [re.sub(r"^(?:an?|the) ", "", term).lower() for term, _ in everyday_words.words("nouns")]
    older = {re.sub(r"^(?:an?|the) ", "", term).lower() for term, _ in all_terms()}
    assert len(set(nouns)) == len(nouns) >= 500
    assert not set(nouns) & older


def test_opposites_go_both_ways_and_animals_have_all_their_facts() -> None:
    opposites = common_facts.opposites()
    assert opposites["cold"] == "hot" and opposites["hot"] == "cold" and len(opposites) >= 240
    assert all(word != other for word, other in opposites.items())
    animals = common_facts.animals()
    assert len({animal["x"] for animal in animals}) == len(animals) >= 60
    assert {animal["legs"] for animal in animals} == {"0", "2", "4", "6", "8", "8 arms"}
    barks = [
        answer for _, said, answer in _pairs(_made("common_facts", 6000)) if re.search(r"animal (?:that )?barks", said)
    ]
    assert barks and set(barks) == {"A dog barks."}


def test_every_row_of_situations_can_be_said_and_answered() -> None:
    rng = Random(2)
    for name in ("events", "self"):
        for asks, answers in situations.table(name):
            named = set(re.findall(r"\{(\w+)\}", " ".join(answers)))
            for ask in asks:
                said = situations.one_of(ask, rng)
                assert not re.search(r"\|", said)
                assert set(re.findall(r"\{(\w+)\}", said)) <= set(situations._TABLE["slots"]), ask
                assert named <= set(re.findall(r"\{(\w+)\}", ask)), (ask, answers)


def test_what_characters_say_of_themselves_stands_in_the_prompt() -> None:
    checked = Counter[str]()
    forms = {
        "place": r"I work at (.+?)(?:, as an? .+)?\.$",
        "pet": r"At home I have (.+)\.$",
        "drives": r"I drive (.+)\.$",
    }
    forms |= {"boss": r"My boss is (?:called )?(.+)\.$", "rank": r"I'm with (.+)\.$", "name": r"I'm called (.+)\.$"}
    for system, _, answer in _pairs(_made("particulars", 3000)):
        for kind, form in forms.items():
            match = re.match(form, answer)
            if match:
                assert match[1] in system, (system, answer)
                checked[kind] += 1
    assert min(checked[kind] for kind in forms) > 5, checked


def test_what_a_robot_does_is_its_job() -> None:
    rng = Random(5)
    for _ in range(200):
        person = particulars._described(particulars._robot(rng), rng)
        said = particulars._about("robot_job_ask", "robot_job_say", person, rng)[1]
        assert person.words["base"] in said
        assert person.words["base"] in person.system or person.words["third"] in person.system


def test_names_of_a_request_stand_in_question_and_command() -> None:
    made = [c for c in _made("shell_requests", 2500) if len(c) == 2]
    renamed = 0
    for said, answer in ((c[0].content, c[1].content) for c in made):
        command = re.match(r"(`+)(?:sh\n)?(.+?)\n?\1\n", answer, re.DOTALL)
        assert command, answer
        match = re.fullmatch(r"mv ([^ \"/*]+\.\w+) ([^ \"/*]+\.\w+)", command[2])
        if match:
            assert match[1] in said and match[2] in said and match[1] != match[2]
            renamed += 1
    assert renamed >= 5


def test_requests_fill_every_place_and_are_many() -> None:
    requests = shell_requests.requests()
    assert len(requests) >= 150
    rng = Random(3)
    for request in requests:
        places = set(re.findall(r"\{(\w+)\}", request.command + request.explain)) - {"hour", "min"}
        for ask in (ask for asks in request.asks for ask in asks):
            words = shell_requests._words(request, ask, rng)
            text = shell_requests._in_command(request.command, words)
            assert not re.search(r"\{\w+\}|%\w%", text), text
            assert {p for p in places if p not in ("dir", "n")} <= set(re.findall(r"\{(\w+)\}", ask)) | {"d", "s"}, ask


def _checked(answer: str) -> int:
    match = re.fullmatch(r"(\d+) ([-+*/]) (\d+) = (\d+)", answer)
    if not match:
        return 0
    a, b, r = int(match[1]), int(match[3]), int(match[4])
    assert r == {"+": a + b, "-": a - b, "*": a * b, "/": a // max(b, 1)}[match[2]] and (match[2] != "/" or a == b * r)
    return 1


def test_sums_are_right_and_small_ones_come_often() -> None:
    pairs = _pairs(_made("arithmetic", 9000))
    assert sum(_checked(answer) for _, _, answer in pairs) > 0.7 * len(pairs)
    seen = Counter(answer for _, _, answer in pairs)
    assert all(seen[f"{a} + {b} = {a + b}"] >= 3 for a in range(13) for b in range(13))


def test_bigger_half_and_next_are_right() -> None:
    for _, said, answer in _pairs(_made("arithmetic", 3000)):
        numbers = [int(n) for n in re.findall(r"\d+", answer)]
        if " is bigger than " in answer:
            assert numbers[0] > numbers[1]
        elif " comes after " in answer:
            assert numbers[0] == numbers[1] + 1 and "before" not in said.lower()
        elif answer.startswith("Half of"):
            assert numbers[0] == 2 * numbers[1]
