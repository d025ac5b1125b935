"""A few shell questions with their commands, to stand between other turns.

The many are in everyday.py; these have the same form of answer, the command and then a line about it.
"""

import tomllib
from pathlib import Path
from random import Random

from weights.data.own.phrasing import vary

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
ROWS: tuple[tuple[str, str, str], ...] = tuple(
    (request, command, effect)
    for request, command, effect in (line.split("|") for line in _TABLE["rows"].strip().splitlines())
)
_ASKS = tuple(_TABLE["asks"].replace("\n", "|").strip("|").split("|"))


def exchange(rng: Random) -> tuple[str, str, str]:
    """A question, its answer, and the command that the answer gives."""
    request, command, effect = rng.choice(ROWS)
    question = vary(rng.choice(_ASKS), rng, lead=0.08).replace("{x}", request)
    answer = f"`{command}`\n{effect[:1].upper()}{effect[1:]}."
    return question[:1].upper() + question[1:] if rng.random() < 0.1 else question, answer, command
