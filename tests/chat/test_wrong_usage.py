"""What a wrong command line is told: our words, whatever library has read it."""

import pytest

from chat import cli
from chat.wrong_usage import sentence


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("completion powershell", "SHELL must be one of 'bash', 'zsh', 'fish', not 'powershell'."),
        ("history list -n 0", "--limit must be at least 1."),
        ("history list -n many", "--limit must be a whole number."),
        ("translate hello --beam 1.5", "--beam must be a whole number."),
        ("train compare-experts --seeds 0", "--seeds must be at least 1."),
        ("chat hello there", "There is no place for 'hello there'."),
        ("train sft --epochs x", "--epochs must be a number."),
    ],
)
def test_a_wrong_value_is_one_sentence_that_says_what_it_must_be(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_app(line.split()) == 2
    assert capsys.readouterr().err.startswith(f"tfm: {told} `tfm")


def test_what_has_no_words_of_ours_is_told_as_it_is() -> None:
    assert sentence("Invalid value for '-x': Value error, it is odd") == "-x cannot be read: it is odd."
    assert sentence("No such\n option: --x?") == "No such option: --x?"
