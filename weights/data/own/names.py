"""Names for persons, animals and programs: so many that a model can only copy them, never guess them.

Names of the held-out personas are never drawn.
"""

import tomllib
from pathlib import Path
from random import Random

from weights.data.own.heldout import has_heldout_name

_TABLES: dict[str, tuple[str, ...]] = {
    key: tuple(text.split())
    for key, text in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
}
FIRST_NAMES = _TABLES["first"]


def built_name(rng: Random) -> str:
    """A name of two or three syllables that most likely nobody bears."""
    middle = rng.choice(_TABLES["middle"]) if rng.random() < 0.45 else ""
    return rng.choice(_TABLES["begin"]) + middle + rng.choice(_TABLES["end"])


def _single(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(FIRST_NAMES)
    return built_name(rng) if kind < 0.85 else rng.choice(_TABLES["words"])


def _titled(rng: Random) -> str:
    return f"{rng.choice(_TABLES['titles'])} {_single(rng)}"


def _full(rng: Random) -> str:
    last = rng.choice(_TABLES["surnames"]) if rng.random() < 0.6 else built_name(rng)
    return f"{_single(rng)} {last}"


def _bot(rng: Random) -> str:
    begin = rng.choice((rng.choice(_TABLES["bot_begins"]), rng.choice(_TABLES["words"]), built_name(rng)))
    end = rng.choice(_TABLES["bot_ends"])
    space = " " if end[0].isdigit() or (end[0].isupper() and rng.random() < 0.2) else ""
    if rng.random() < 0.1:
        return rng.choice(("R", "K", "T", "X", "B", "Z", "C", "M")) + f"{rng.choice('ABDKLNPXZ')}-{rng.randint(1, 99)}"
    return begin + space + end


def any_name(rng: Random) -> str:
    """A name as a system prompt may give it: of a person, of a program, with a title, now and then oddly written."""
    while True:
        kind = rng.random()
        if kind < 0.62:
            name = _single(rng)
        elif kind < 0.76:
            name = _titled(rng)
        elif kind < 0.86:
            name = _full(rng)
        else:
            name = _bot(rng)
        style = rng.random()
        if style < 0.05:
            name = name.lower()
        elif style < 0.08:
            name = name.upper()
        if not has_heldout_name(name):
            return name


def person_name(rng: Random) -> str:
    """A name as people give their own: one word, or seldom two."""
    while True:
        kind = rng.random()
        name = rng.choice(FIRST_NAMES) if kind < 0.5 else built_name(rng) if kind < 0.92 else _full(rng)
        if rng.random() < 0.08:
            name = name.lower()
        if not has_heldout_name(name):
            return name


def pet_name(rng: Random) -> str:
    """A name for a pet."""
    while True:
        name = rng.choice((rng.choice(_TABLES["words"]), rng.choice(FIRST_NAMES), built_name(rng)))
        if not has_heldout_name(name):
            return name
