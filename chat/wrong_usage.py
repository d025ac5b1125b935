"""What Typer says of a command line that it cannot read, as one sentence of ours. Torch-free."""

import re

_INVALID = re.compile(r"Invalid value for (?P<names>.+?): (?:Value error, )?(?P<why>.*)")
# What is wrong with a value, in the words of the library that reads it for Typer, and in ours.
_WORDS = (
    (r"Input should be a valid integer.*", r"must be a whole number"),
    (r"Input should be a valid number.*", r"must be a number"),
    (r"Input should be greater than or equal to (\S+?)\.?", r"must be at least \1"),
    (r"Input should be less than or equal to (\S+?)\.?", r"must be at most \1"),
    (r"(.+) is not one of (.+?)\.?", r"must be one of \2, not \1"),
)


_TOO_MUCH = re.compile(r"Got unexpected extra argument(?:s|\(s\))? \((?P<words>.*)\)")


def sentence(message: str) -> str:
    """The message on one line, with a full stop; of a value, what it must be."""
    line = " ".join(message.split())
    if invalid := _INVALID.fullmatch(line):
        name = invalid["names"].rpartition(" / ")[2].strip("'")  # the long one of the names of a flag
        line = f"{name} {_must(invalid['why'])}"
    elif more := _TOO_MUCH.fullmatch(line):
        line = f"There is no place for {more['words']!r}"
    return line if line.endswith((".", "?", "!")) else line + "."


def _must(why: str) -> str:
    for theirs, ours in _WORDS:
        if found := re.fullmatch(theirs, why):
            return found.expand(ours)
    return f"cannot be read: {why}"
