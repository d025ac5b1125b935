"""The tables of explain and talk: no term twice, sums and letters right, and no contradiction with smalltalk."""

import random
import re

from weights.data.own.heldout import plain
from weights.data.own.knowledge import explain, terms
from weights.data.own.phrasing import Conversation
from weights.data.own.talk import identity, smalltalk, talk


def drawn(module: object, n: int) -> list[Conversation]:
    rng = random.Random(2)
    return [module.one(rng) for _ in range(n)]  # type: ignore[attr-defined]


def test_the_tables_are_large() -> None:
    assert len(explain.definitions()) >= 350
    assert len(explain.facts()) >= 200
    assert sum(len(explain.pairs(kind)) for kind in explain._PAIRS) >= 500
    assert len(talk.entries(talk._TOPICS["joke"]["answer"])) >= 40
    assert sum(len(talk.entries(talk._TOPICS[name]["answer"])) for name in ("story", "poem", "fact")) >= 60


def test_no_term_is_explained_twice() -> None:
    every = [term.lower() for term, _ in explain.definitions()] + [row[0].lower() for row in terms._ROWS]
    assert len(set(every)) == len(every)


def test_a_question_about_a_fact_has_one_answer() -> None:
    seen: dict[str, str] = {}
    for asks, answer in explain.facts():
        assert answer.endswith(".")
        for text in asks:
            assert seen.setdefault(plain(text), answer) == answer, text


def test_a_pair_has_one_answer() -> None:
    for kind in explain._PAIRS:
        rows = dict(explain.pairs(kind))
        assert all(left and right for left, right in rows.items())
        assert all(rows[left] == right for left, right in explain.pairs(kind) if kind != "opposite"), kind


def test_a_wording_of_talk_is_in_no_other_topic() -> None:
    known = {
        plain(text) for table in (smalltalk._TOPICS, identity._TOPICS) for asks, _ in table.values() for text in asks
    }
    seen: dict[str, str] = {}
    for name, topic in talk._TOPICS.items():
        for text in talk.entries(topic["ask"]):
            assert plain(text) not in known, text
            assert seen.setdefault(plain(text), name) == name, text


def test_what_is_unknown_says_so() -> None:
    rng = random.Random(4)
    for _ in range(500):
        _, answer = explain._unknown(rng)
        assert re.match(r"I don't know|I can't|I'm not sure", answer), answer


def test_spelling_and_letters_are_right() -> None:
    rng = random.Random(6)
    for word in talk.entries(talk._WORDS["spell"]):
        assert re.fullmatch(r"[a-z]{3,9}", word)
    for row in talk.entries(talk._WORDS["reverse"]):
        left, right = row.split("=")
        assert left[::-1] == right
    for _ in range(300):
        _, answer = talk._letters(rng)
        if match := re.match(r"The word (\w+) has (\w+) letters", answer):
            assert talk._NUMBERS.index(match.group(2)) == len(match.group(1))


def test_there_are_many_first_questions() -> None:
    for module, least in ((explain, 2400), (talk, 1300)):
        first = {next(m.content for m in c if m.role == "user") for c in drawn(module, 3000)}
        assert len(first) > least


def test_answers_are_short() -> None:
    for module in (explain, talk):
        for conversation in drawn(module, 2000):
            for message in conversation:
                assert message.role != "assistant" or len(message.content) < 170, message.content
