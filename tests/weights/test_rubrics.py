"""weights/evaluate/rubrics.py and card.py: what counts as a right answer."""

import pytest

from engine.template import Message
from weights.evaluate.card import _loops
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
    assert {g: groups.count(g) for g in set(groups)} == {"persona": 20, "everyday": 50, "shell": 60}


def test_four_words_that_come_back_a_fourth_time_are_a_loop() -> None:
    assert not _loops("a b c d " * 3)
    assert _loops("a b c d " * 4)
