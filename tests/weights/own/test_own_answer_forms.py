"""Promises about the forms of answers: each answer has the form that was asked for, and is still right."""

import re
from collections import Counter
from functools import cache
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.characters import answer_forms, plain_questions
from weights.data.own.heldout import is_heldout

FORMS = sorted(answer_forms.FORMS)


@cache
def _made(n: int = 4000) -> tuple[tuple[Conversation, answer_forms.Form], ...]:
    rng = Random(11)
    return tuple(answer_forms.made(rng) for _ in range(n))


def _answers(kind: str) -> list[tuple[answer_forms.Form, str]]:
    return [(f, m.content) for c, f in _made() if f.kind == kind for m in c if m.role == "assistant"]


def test_conversations_differ_are_whole_and_hold_nothing_held_out() -> None:
    made = list(GENERATORS["answer_forms"](Random(7), 1200))
    assert made == list(GENERATORS["answer_forms"](Random(7), 1200))
    assert len(set(made)) > 0.99 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        roles = [message.role for message in conversation if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and roles
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"[{}]| :: | / ", message.content), message.content
            assert message.role != "assistant" or len(message.content.split()) < 25


def test_about_a_quarter_has_more_than_one_turn() -> None:
    many = sum(sum(m.role == "user" for m in c) > 1 for c, _ in _made())
    assert 0.2 < many / len(_made()) < 0.35


def test_the_tables_are_large() -> None:
    assert len(plain_questions.all_asks()) >= 500
    for answer in ("yes", "no"):
        assert len(set(answer_forms.words_of(f"yes_no.{answer}"))) >= 100
    assert not set(answer_forms.words_of("yes_no.yes")) & set(answer_forms.words_of("yes_no.no"))
    for kind in answer_forms.TABLE["ask"]:
        assert len(answer_forms.words_of(f"ask.{kind}")) >= 8, kind
    assert len(answer_forms.table("languages.rows")) >= 75
    assert all(len(row) == 5 for row in answer_forms.table("languages.rows"))
    assert len(answer_forms.table("rhyme.rows")) >= 50 and len(answer_forms.table("child.rows")) >= 50


def test_short_answers_have_as_many_words_as_they_should() -> None:
    for row in plain_questions._chat():
        assert len(row) == 7
        for count, (answer,) in enumerate(row[2:], 1):
            assert len(answer.split()) == count, answer
    for form, answer in _answers("count"):
        assert len(answer.split()) == int(form.word), answer
    assert all(len(answer.split()) == 1 for _, answer in _answers("one"))


def test_letters_starts_and_ends_are_kept() -> None:
    assert all(answer == answer.upper() for _, answer in _answers("caps"))
    assert all(answer == answer.lower() for _, answer in _answers("small"))
    assert all(answer.startswith(form.word) for form, answer in _answers("begin"))
    assert all(answer.endswith(form.word) for form, answer in _answers("end"))
    assert all(form.word.lower() in answer.lower() for form, answer in _answers("call"))
    assert all(answer.endswith("?") for _, answer in _answers("question"))
    for form, answer in _answers("one+caps") + _answers("call+caps"):
        assert answer == answer.upper(), (form.text, answer)


def test_the_phrase_stands_in_the_instruction() -> None:
    for conversation, form in _made():
        if form.kind in ("begin", "end", "call"):
            assert form.word.lower() in conversation[0].content.lower(), (form, conversation)


def test_yes_and_no_stand_alone() -> None:
    answers = Counter(answer.rstrip(".!") for _, answer in _answers("yes_no"))
    assert set(answers) == {"Yes", "No"} and min(answers.values()) > 100


def test_what_must_not_be_mentioned_is_not() -> None:
    for (head,), *fields in answer_forms.table("never.rows"):
        stems = head.partition("=")[2].replace(",", "|")
        for asks, answers in zip(fields[::2], fields[1::2], strict=True):
            assert len(asks) >= 2
            assert not re.search(rf"\b(?:{stems})", answers[0], re.IGNORECASE), (head, answers)
    for form, answer in _answers("never"):
        assert not re.search(rf"\b(?:{form.word.replace(',', '|')})", answer, re.IGNORECASE), (form.text, answer)


def test_a_refusal_names_the_topic() -> None:
    assert all("{t}" in text for text in answer_forms.words_of("topic.decline"))
    assert all(len(row) >= 5 and len(row) % 2 for row in answer_forms.table("topic.rows"))


def test_lists_have_three_items() -> None:
    for _, answer in _answers("list_comma"):
        assert len(re.split(r", | and (?!seek)", answer)) == 3, answer
    for kind, mark in (("list_number", r"\d\. "), ("list_bullet", "- ")):
        for _, answer in _answers(kind):
            lines = answer.split("\n")
            assert len(lines) == 3 and all(re.match(mark, line) for line in lines)
    assert all(len(set(items[0].split(", "))) >= 5 for _, items in answer_forms.table("lists.rows"))


def test_numbers_and_days_of_other_languages_stand_at_their_place() -> None:
    numbers = [line.split("|") for line in answer_forms.TABLE["languages"]["numbers"].strip().splitlines()]
    assert [len(line) for line in numbers] == [21] * 4
    assert [len(line.split("|")) for line in answer_forms.TABLE["languages"]["days"].strip().splitlines()] == [7] * 5
    assert [len(line.split("|")) for line in answer_forms.TABLE["languages"]["months"].strip().splitlines()] == [12] * 5
    for conversation, form in _made():
        said = [m.content for m in conversation if m.role != "system"]
        for ask, answer in zip(said[::2], said[1::2], strict=True):
            terms = re.search(r"(\d+) ?(?:\+|plus) ?(\d+)", ask)
            if form.kind == "language" and terms:
                line = numbers[answer_forms.words_of("languages.names").index(form.word)]
                assert answer == f"{line[int(terms[1]) + int(terms[2])].capitalize()}.", (ask, answer)


@pytest.mark.parametrize("role", ["pirate", "knight", "robot"])
def test_a_manner_of_speech_has_its_mark(role: str) -> None:
    marks = (*answer_forms.words_of(f"values.{role}_front"), *answer_forms.words_of(f"values.{role}_back"))
    for _, answer in _answers(role):
        assert any(mark.rstrip("!,.").lower() in answer.lower() for mark in marks), answer


def test_sums_are_right() -> None:
    rng = Random(2)
    for _ in range(500):
        ask = plain_questions._sum(rng)
        a, word, b, _, result = ask.full.rstrip(".").split()
        value = {"plus": int(a) + int(b), "minus": int(a) - int(b), "times": int(a) * int(b)}[word]
        assert value == int(result) == int(ask.short)


@pytest.mark.parametrize("kind", FORMS)
def test_every_form_makes_turns_of_its_own(kind: str) -> None:
    rng = Random(4)
    turns = {answer_forms.FORMS[kind][0]("Ada", rng).turn(rng) for _ in range(40)}
    assert len(turns) > 30
