"""Promises about reactions: the polarity is right, the words agree, and of courtesies only a complaint gets a sorry."""

import re
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.tables import rows
from weights.data.own.talk import reaction_requests, reactions

_GLAD = re.compile(r"\b(?:congratulations|well done|hooray|bravo|woohoo|how lovely|great news)\b", re.IGNORECASE)
_SORRY = re.compile(r"\b(?:sorry|oh no|oh dear|poor you|what a pity|how annoying)\b", re.IGNORECASE)


def _made(n: int = 2000, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS["reactions"](Random(seed), n))


def test_conversations_differ_and_hold_nothing_held_out() -> None:
    made = _made()
    assert made == _made() != _made(seed=8)
    assert len(set(made)) > 0.95 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"[{}|~]| :: | / ", message.content), message.content


def test_answers_are_short_whole_sentences() -> None:
    for conversation in _made():
        for message in conversation:
            if message.role == "assistant":
                assert len(message.content.split()) <= 25, message.content
                assert message.content[-1] in '.!?"' and not message.content[0].islower(), message.content


@pytest.mark.parametrize("name", list(reactions.FAMILIES))
def test_a_family_reacts_as_its_mood_wants(name: str) -> None:
    family = reactions.FAMILIES[name]
    wrong = {"good": _SORRY, "plan": _SORRY, "bad": _GLAD, "sad": _GLAD, "tired": _GLAD}.get(family["mood"])
    for answer in reactions.parts(family["react"]):
        assert answer.endswith((".", "!", "?")) and not (wrong and wrong.search(answer)), answer
    assert len(reactions.parts(family["react"])) >= 3 and len(reactions.wordings(name)) >= 3
    for row in rows(family["ask"]):
        assert len(row) == 3 and row[0][0].endswith("?"), row


def test_the_same_thing_comes_as_good_and_as_bad_news() -> None:
    moods: dict[str, set[str]] = {}
    for name, family in reactions.FAMILIES.items():
        for slot in re.findall(r"\{(\w+)\}", " ".join(text for text, _ in reactions.wordings(name))):
            moods.setdefault(slot, set()).add(family["mood"])
    for slot in ("exam", "match", "thing", "computing", "program", "worry", "trip", "dish", "pet", "plant"):
        assert len(moods[slot] & {"good", "bad", "plan"}) >= 2, slot


def test_words_of_a_talk_stay_the_same_and_agree() -> None:
    words = {"dish": "dumplings", "exam": "English exam"}
    said = reactions.filled("{Dish} is good, but an {exam} is hard", words, Random(1))
    assert said == "Dumplings are good, but an English exam is hard"


def test_only_complaints_are_answered_with_an_apology() -> None:
    rng = Random(2)
    for _ in range(300):
        assert "orry" in (answer := reaction_requests.complaint(rng)[1]) and answer.endswith("?")
        for make in (reaction_requests.bye, reaction_requests.thanks, reaction_requests.request):
            assert "sorry" not in make(rng)[1].lower()


def test_greetings_with_news_are_greeted_back() -> None:
    rng = Random(3)
    for _ in range(300):
        said, answer = reactions.greeted(rng)
        assert answer.startswith(("Hello", "Hi", "Hey", "Nice", "Good ")), (said, answer)
        assert not answer.startswith("Good evening") or "evening" in said.lower()


def test_small_requests_have_many_things_and_no_word_rhymes_with_itself() -> None:
    assert len(reaction_requests.named("suggest")) >= 60
    assert all(len(fits) == 6 for _, fits in reaction_requests.named("suggest"))
    assert len({thing for thing, _ in reaction_requests.named("poem")}) >= 110
    assert len({word for word, _ in reaction_requests.named("rhyme")}) >= 110
    for kind in ("rhyme", "synonym"):
        assert all(fits and word not in fits for word, fits in reaction_requests.named(kind))


def test_a_line_of_verse_names_its_noun() -> None:
    for noun, (line,) in reaction_requests.named("poem"):
        assert noun.split()[-1].lower() in line.lower(), (noun, line)
