"""Promises about given facts: nouns, frames and values meet freely, and only the prompt can tell the answer."""

import re
from collections import Counter
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.characters import given_facts_frames
from weights.data.own.characters.given_facts_values import NOUNS, expanded, nouns, plural_of
from weights.data.own.heldout import is_heldout
from weights.data.own.memory.told_values import wordings


def _made(n: int = 1200, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS["given_facts"](Random(seed), n))


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
            assert not re.search(r"[{}|<>@]| / | :: |\0", message.content), message.content
            assert message.role == "user" or ".." not in message.content, message.content


def test_answers_are_short_sentences() -> None:
    for message in (message for conversation in _made() for message in conversation if message.role == "assistant"):
        assert len(message.content.split()) < 30, message.content
        assert re.search(r"[.?!\"]$", message.content), message.content


def test_there_are_many_nouns_and_frames() -> None:
    assert len(nouns(" ".join(NOUNS))) >= 600
    assert len(given_facts_frames.FRAMES) >= 100
    for frame in given_facts_frames.FRAMES.values():
        assert (
            len(wordings(frame["tell"])) >= 2 and len(wordings(frame["ask"])) >= 3 and len(wordings(frame["say"])) >= 3
        )


@pytest.mark.parametrize("key", given_facts_frames.FRAMES)
def test_every_wording_holds_the_value(key: str) -> None:
    rng = Random(3)
    for _ in range(10):
        fact = given_facts_frames.fact_of(key, rng)
        bare = fact.words["v"].lower().rstrip(".")
        assert bare in given_facts_frames.told(fact, rng).lower()
        assert bare in given_facts_frames.told(fact, rng, note=True).lower()
        assert bare in given_facts_frames.said(fact, rng).lower()
        assert given_facts_frames.question_of(fact, rng) and given_facts_frames.topic(fact, rng)
        if "check" in fact.frame:
            question, reply = given_facts_frames.checked(fact, [fact], rng)
            assert bare in reply.lower()
            assert reply.startswith("No, ") or bare in question.lower()
        if "both" in fact.frame:
            other = given_facts_frames.fact_of(key, rng)
            both = given_facts_frames.told_both(fact, other, rng).lower()
            assert bare in both and other.words["v"].lower().rstrip(".") in both


@pytest.mark.parametrize("kind", given_facts_frames.KINDS)
def test_rules_are_answered_with_yes_as_often_as_with_no(kind: str) -> None:
    rng = Random(5)
    counts = Counter[str]()
    for _ in range(300):
        fact = given_facts_frames.rule_of(kind, rng)
        reply = given_facts_frames.said(fact, rng)
        counts[reply.split(",")[0]] += 1
        assert reply.startswith("Yes" if fact.key.endswith("yes") else "No")
        assert not re.search(r"\byour\b", given_facts_frames.question_of(fact, rng)), fact
    assert set(counts) == {"Yes", "No"} and min(counts.values()) > 100


def test_only_one_fact_of_a_prompt_can_answer() -> None:
    rng = Random(2)
    dog, again = (given_facts_frames.fact_of("pet_name", rng) for _ in range(2))
    again.words["n"] = dog.words["n"]
    assert given_facts_frames.clash(dog, again)
    again.words |= {"n": "walrus", "v": "Nobody Else"}
    assert not given_facts_frames.clash(dog, again)


def test_plurals_articles_and_sides_are_right() -> None:
    assert plural_of("goose>geese") == ("goose", "geese")
    assert [plural_of(noun)[1] for noun in ("bus", "torch", "pony", "key", "dog")] == [
        "buses",
        "torches",
        "ponies",
        "keys",
        "dogs",
    ]
    assert all(not expanded("a {hue} hat", Random(seed)).startswith("a o") for seed in range(60))
    assert given_facts_frames.turned_back("what your dog does when I come") == "what my dog does when you come"
    assert given_facts_frames.turned("leave your key") == "leave my key"


def test_about_one_answer_in_seven_leaves_it_open() -> None:
    unknown = re.compile(r"(?:don't|I) know|told|no idea|can't (?:say|tell)|cannot|never heard|No idea", re.IGNORECASE)
    replies = [message.content for c in _made(3000) for message in c if message.role == "assistant"]
    assert 0.08 < sum(bool(unknown.search(reply)) for reply in replies) / len(replies) < 0.2
