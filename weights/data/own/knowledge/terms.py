"""Words of the terminal and of language models, each explained in one line."""

import re
import tomllib
from pathlib import Path
from random import Random

from weights.data.own.phrasing import vary
from weights.data.own.tables import entries

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_ROWS = tuple(line.split("|", 1) for line in _TABLE["rows"].strip().splitlines())
_ASK = entries(_TABLE["ask"])
_ANSWER = entries(_TABLE["answer"])


def exchange(rng: Random) -> tuple[str, str]:
    """What somebody asks about a word, and the answer."""
    term, meaning = rng.choice(_ROWS)
    bare = re.sub(r"^(an?|the) ", "", term)
    question = vary(rng.choice(_ASK), rng).format(x=term, y=bare)
    named = term if re.match(r"[a-z]+$", term) else term[:1].upper() + term[1:]
    return question, rng.choice(_ANSWER).format(X=named, d=meaning)


def definitions() -> tuple[tuple[str, str], ...]:
    """The words with their articles, and what they are."""
    return tuple((term, meaning) for term, meaning in _ROWS)
