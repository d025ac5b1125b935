"""weights/evaluate/rubrics.py and repetition.py: what counts as a right answer, and what is a loop."""

import random
import re
from itertools import pairwise

import pytest

from engine.template import Message
from weights.data.own import GENERATORS, heldout
from weights.evaluate.repetition import loops, repetition
from weights.evaluate.rubrics import Case, command_of, judge, load_cases


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("`ls -a`\nLists all files, with `-a` the hidden ones.", "ls -a"),
        ("Use this:\n```sh\nfor f in *; do\n  echo $f\ndone\n```\nDone.", "for f in *; do\n  echo $f\ndone"),
        ("```\ndf -h", "df -h"),
        ("du -sh .\nShows the size.", "du -sh ."),
        ("", ""),
    ],
)
def test_the_command_of_an_answer_is_its_block_or_its_first_quotes_or_its_first_line(text: str, command: str) -> None:
    assert command_of(text) == command


def test_of_a_shell_answer_only_the_command_counts() -> None:
    case = Case("shell", "files", (Message("user", "?"),), (r"^ls\b",))
    assert judge(case, "`ls -a`\nLists files.")
    assert not judge(case, "`rm -r x`\nls would list them.")


def test_a_rejected_pattern_outweighs_an_accepted_one() -> None:
    case = Case("everyday", "identity", (Message("user", "?"),), (r"\btfm\b",), (r"\bchatgpt\b",))
    assert judge(case, "I'm TFM.")
    assert not judge(case, "I'm tfm, a ChatGPT.")
    assert not judge(case, "hello")


def test_the_tables_hold_what_the_card_counts() -> None:
    groups = [case.group for case in load_cases()]
    assert {g: groups.count(g) for g in set(groups)} == {"persona": 40, "memory": 20, "everyday": 50, "shell": 60}


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("Rivet-22", "I am Rivet 22.", "I am Rivet."),
        ("Marzubel", "I work with hawks.", "I'm Marzubel."),
        ("Yevandra", "I come from Tbilisi.", "I am from Paris, where I bake bread."),
        ("Monavex", "Perhaps.", "Perhaps you will be."),
        ("Monavex", '"Yes!"', ""),
        ("Grimbaldo", "Like a log. Tally ho!", "Tally ho! I slept well."),
    ],
)
def test_a_persona_is_kept_when_the_answer_holds_what_was_asked_for(name: str, right: str, wrong: str) -> None:
    (case,) = [c for c in load_cases() if c.group == "persona" and name in c.messages[0].content]
    assert judge(case, right)
    assert not judge(case, wrong)


def test_a_remembered_name_is_the_one_that_was_said() -> None:
    cases = [case for case in load_cases() if case.group == "memory"]
    for case, other in pairwise(cases):
        (pattern,) = case.accept
        name = re.sub(r"\\b|\\", "", pattern)
        assert name in case.messages[0].content and case.messages[-1].role == "user"
        assert name not in case.messages[-1].content
        assert judge(case, f"Your name is {name.upper()}.") and not judge(case, "Your name is tfm.")
        assert not judge(other, f"Your name is {name}.")


def test_no_conversation_of_ours_asks_for_a_name_in_the_words_of_the_evaluation() -> None:
    asked = {heldout.plain(c.messages[-1].content) for c in load_cases() if c.group == "memory"}
    asked.remove("thanks now what is my name")  # as anybody would say it; what comes before it is not in training
    for subject in ("memory", "smalltalk", "personas"):
        for conversation in GENERATORS[subject](random.Random(4), 2000):
            assert not {heldout.plain(m.content) for m in conversation if m.role == "user"} & asked


@pytest.mark.parametrize(
    ("text", "is_loop", "share"),
    [
        ("a b c d " * 3, False, 5 / 9),
        ("a b c d " * 4, True, 9 / 13),
        ("one two three", False, 0.0),
        ("", False, 0.0),
        ("no no no no no no", False, 2 / 3),
        ("no no no no no no no", True, 3 / 4),
    ],
)
def test_four_words_that_come_more_than_three_times_are_a_loop(text: str, is_loop: bool, share: float) -> None:
    assert loops(text) is is_loop
    assert repetition(text) == pytest.approx(share)
