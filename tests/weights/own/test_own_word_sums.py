"""Promises about sums in words: each result is right and names what it counts."""

import operator
import re
from random import Random

import pytest

from weights.data.own import GENERATORS, Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.knowledge import word_sums

_SUM = re.compile(r"(\d+) ([-+*/]) (\d+)(?: ([+]) (\d+))? = (\d+)")
_DO = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}


def _made(n: int = 2000, seed: int = 7) -> list[Conversation]:
    return list(GENERATORS["word_sums"](Random(seed), n))


def test_conversations_differ_and_hold_nothing_held_out() -> None:
    made = _made()
    assert made == _made() != _made(seed=8)
    assert len({conversation[0].content for conversation in made}) > 0.95 * len(made)
    for conversation in made:
        assert not is_heldout(conversation)
        for message in conversation:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"[{}|]| :: ", message.content), message.content


def test_every_sum_that_is_written_out_is_right() -> None:
    found = 0
    for conversation in _made():
        for message in conversation[1::2]:
            for a, sign, b, again, third, result in _SUM.findall(message.content):
                found += 1
                total = _DO[sign](int(a), int(b)) + (int(third) if again else 0)
                assert total == int(result), message.content
                assert sign != "/" or int(a) % int(b) == 0, message.content
    assert found > 500


def test_answers_are_short_and_hold_a_number_or_a_time() -> None:
    for conversation in _made():
        for message in conversation[1::2]:
            assert len(message.content.split()) < 20
            assert re.search(r"\d|[Nn]oon|[Mm]idnight", message.content), message.content
            assert message.content.endswith(".") or _SUM.search(message.content) or "=" in message.content


@pytest.mark.parametrize("kind", list(word_sums.KINDS))
def test_every_wording_of_a_kind_can_be_filled(kind: str) -> None:
    rng = Random(3)
    for _ in range(60):
        question, answer = word_sums.asked(rng, kind)[1:3]
        assert "{" not in question + answer and question and answer


def test_spent_and_shared_things_are_named() -> None:
    rng = Random(4)
    for kind, key in (
        ("spent", "money"),
        ("share", "sweet"),
        ("eaten", "fruit"),
        ("parts", "part"),
        ("convert", "small"),
    ):
        for _ in range(40):
            _, question, answer, values = word_sums.asked(rng, kind)
            assert values[key] in answer and str(values["c"]) in answer, (question, answer)


def test_yes_and_no_are_right() -> None:
    rng = Random(5)
    for _ in range(400):
        kind, question, answer, values = word_sums.asked(rng, rng.choice(("bigger", "parity", "sizes")))
        if answer.startswith(("Yes", "No")) and kind != "parity":
            assert answer.startswith("Yes") == values["yes"], (question, answer)
        if kind == "parity":
            assert ("odd" in answer) == bool(values["n"] % 2), answer


def test_hours_go_round_the_clock() -> None:
    assert word_sums._o_clock(25, 1) == "1 am" and word_sums._o_clock(12, 1) == "noon"
    assert word_sums._o_clock(24, 2) == "midnight" and word_sums._o_clock(13, 2) == "1pm"
    assert word_sums.in_words(47) == "forty-seven" and word_sums.in_words(20) == "twenty"


def test_about_a_sixth_goes_on() -> None:
    made = _made()
    assert 0.1 < sum(len(conversation) == 4 for conversation in made) / len(made) < 0.25
