"""Promises about the meanings of words: new words, whole sentences, opposites from both sides, yes as often as no."""

import re
from random import Random

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.knowledge import everyday_words, meanings
from weights.data.own.knowledge.definitions import all_terms
from weights.data.own.tables import rows


def _made(n: int = 1500, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS["meanings"](Random(seed), n))


def _bare(term: str) -> str:
    return re.sub(r"^(?:an?|the) ", "", term).lower()


def test_conversations_differ_have_one_turn_and_hold_nothing_held_out() -> None:
    made = _made()
    assert made == _made() != _made(seed=8)
    assert len(set(made)) > 0.9 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        assert [message.role for message in conversation if message.role != "system"] == ["user", "assistant"]
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"[{}|]| :: ", message.content), message.content


def test_answers_are_short_whole_sentences() -> None:
    for conversation in _made():
        answer = conversation[-1].content
        assert len(answer.split()) < 25 and answer.endswith("."), answer
        assert not answer[0].islower() and ".." not in answer, answer


def test_words_are_new_and_defined_once() -> None:
    older = {_bare(term) for term, _ in (*all_terms(), *everyday_words.words("nouns"))}
    nouns = [_bare(row[0]) for row in meanings.words("nouns")]
    assert len(set(nouns)) == len(nouns) >= 400 and not set(nouns) & older
    verbs = [row[0] for row in meanings.words("verbs")]
    adjectives = [row[0] for kind in ("character", "quality") for row in meanings.words(kind)]
    for new, kind in ((verbs, "verbs"), (adjectives, "adjectives")):
        assert len(set(new)) == len(new) >= 400
        assert not set(new) & {word for word, _ in everyday_words.words(kind)}


def test_every_kind_of_question_has_ten_wordings() -> None:
    for name in ("character", "quality", "verbs", "nouns", "opposite", "synonym", "use", "job", "compare", "kind"):
        assert len(set(meanings.frames(f"{name}_ask"))) >= 10, name


def test_opposites_go_both_ways_and_no_word_is_its_own() -> None:
    opposites = meanings.both_ways("opposites")
    assert opposites["humble"] == "arrogant" and opposites["arrogant"] == "humble"
    assert "late" not in opposites and opposites["punctual"] == "late"
    for kind in ("opposites", "synonyms"):
        assert all(word != other for word, other in meanings.both_ways(kind).items())


def test_comparisons_are_answered_alike_in_either_order_and_never_against_each_other() -> None:
    found = set(meanings.comparisons())
    assert len(found) == len(meanings.comparisons()) >= 200
    assert not [row for row in found if (row[1], row[0], row[2]) in found]
    rng = Random(3)
    for _ in range(100):
        question, answer = meanings._comparison(rng)
        more, less, word = next(
            row
            for row in found
            if answer.lower().startswith(row[0].lower()) and answer.endswith(f"{row[2]} than {row[1]}.")
        )
        assert less.lower() in answer.lower() and more != less and word in answer, question


def test_kinds_are_confirmed_as_often_as_denied() -> None:
    rng = Random(4)
    answers = [meanings._kind(rng)[1] for _ in range(600)]
    assert all(answer.startswith(("Yes", "No")) for answer in answers)
    assert 240 < sum(answer.startswith("Yes") for answer in answers) < 360
    for yes, no in meanings.kinds().values():
        assert len(yes) >= 4 and not set(yes) & {thing for thing, _ in no}


def test_named_things_are_as_many_as_asked_for() -> None:
    rng = Random(5)
    for _ in range(200):
        question, answer = meanings._named(rng)
        assert len(re.split(r", | and ", answer)) == (2 if "two" in question.lower() else 3), question


def test_rows_have_wordings_and_answers() -> None:
    for kind in ("computing", "safety", "facts"):
        for row in rows(meanings._TABLE[kind]):
            assert len(row) == 2 and row[0][0], row
            assert all(answer.endswith((".", "?")) for answer in row[1]), row
