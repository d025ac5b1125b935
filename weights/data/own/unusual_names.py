"""Names that nobody has seen before: other letters, other scripts, digits, hyphens, titles, shops and bots.

A model that meets enough of them learns to copy a name, and not to know it. Held-out names are never drawn.
"""

from random import Random

from weights.data.own.heldout import has_heldout_name
from weights.data.own.names import any_name, built_name
from weights.data.own.tables import read_tables

_LINES = {key: " ".join(value).split() for key, value in read_tables(__file__).items() if key not in ("nicks", "joins")}
_NICKS, _JOINS = read_tables(__file__)["nicks"], read_tables(__file__)["joins"]
_LETTERS = {group[0]: group[1:] for group in _LINES["letters"]}
_ENDS = ("Inc.", "Ltd.", "GmbH", "Labs", "Works", "Systems", "Soft", "Group", "Studio", "Express", "& Co.", "& Sons")
_CAPITALS, _DIGITS = "ABCDEFGHJKLMNPQRSTUVWXYZ", "0123456789"


def _marked(name: str, rng: Random) -> str:
    """The name with one or two of its letters replaced by letters with a mark."""
    places = [at for at, letter in enumerate(name) if letter in _LETTERS]
    letters = list(name)
    for at in rng.sample(places, min(len(places), rng.choice((1, 1, 2)))):
        letters[at] = rng.choice(_LETTERS[letters[at]])
    return "".join(letters)


def _accented(rng: Random) -> str:
    first = rng.choice(_LINES["accented"]) if rng.random() < 0.55 else _marked(built_name(rng), rng)
    if rng.random() < 0.75:
        return first
    return f"{first} {rng.choice(_LINES['accented_last']) if rng.random() < 0.6 else _marked(built_name(rng), rng)}"


def _script(rng: Random) -> str:
    return rng.choice(_LINES["greek" if rng.random() < 0.4 else "cyrillic"])


def _hyphened(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return f"{built_name(rng)}-{built_name(rng)}"
    if kind < 0.8:
        return f"{rng.choice(('O', 'D', 'K', 'M', 'T', 'N', 'Za', 'Ne', 'Ka', 'Ra'))}'{built_name(rng)}"
    begin, end = built_name(rng), built_name(rng).lower()
    return f"{begin[:3]}'{end}"


def _numbered(rng: Random) -> str:
    kind = rng.random()
    letter, digit = rng.choice(_CAPITALS), rng.choice(_DIGITS)
    if kind < 0.3:
        return f"{letter}{digit}-{rng.choice(_CAPITALS)}{rng.choice(_DIGITS)}"
    if kind < 0.5:
        return f"{letter}{rng.choice(_CAPITALS)}-{rng.randint(2, 999)}"
    if kind < 0.65:
        return f"{rng.choice(('Unit', 'Model', 'Agent', 'Robot', 'Number', 'Droid', 'Station'))} {rng.randint(1, 99)}"
    return f"{built_name(rng)}{rng.choice(('', '-', ' '))}{rng.randint(1, 99)}"


def _many_words(rng: Random) -> str:
    first, last = built_name(rng), built_name(rng)
    kind = rng.random()
    if kind < 0.35:
        return f"{first} {last}"
    if kind < 0.55:
        return f"{first} {rng.choice(_JOINS)} {last}"
    if kind < 0.8:
        return f"{first} {rng.choice(_NICKS)}"
    return f"{first} {rng.choice(_CAPITALS)}. {last}"


def _titled(rng: Random) -> str:
    after = rng.choice((built_name, built_name, _accented, _many_words))(rng)
    return f"{rng.choice(_LINES['titles'])} {after}"


def _random_letters(rng: Random) -> str:
    """A word that follows no language."""
    count = rng.choice((2, 2, 2, 3))
    parts = (
        rng.choice(("b", "ch", "d", "fl", "g", "gr", "h", "j", "k", "kr", "m", "n", "ng", "p", "q", "r", "shl", "t"))
        + rng.choice(("a", "e", "i", "o", "u", "aa", "ei", "oo", "y", "ai"))
        + rng.choice(("", "", "x", "zz", "k", "lf", "mp", "nd", "rr", "ss", "v", "w"))
        for _ in range(count)
    )
    return "".join(parts).capitalize()


def bot_name(rng: Random) -> str:
    """A name for a program: "DataBot 3000", "HelpDesk+"."""
    while True:
        head = rng.choice(_LINES["bot_heads"]) if rng.random() < 0.75 else built_name(rng)
        name = head + rng.choice(_LINES["bot_tails"])
        if rng.random() < 0.5:
            mark = rng.choice(_LINES["bot_marks"])
            name += mark if mark[0] in "+-." else f" {mark}"
        if not has_heldout_name(name):
            return name


def house_name(rng: Random) -> str:
    """A name for a shop or a company: "Spoke & Chain", "Oldtree Labs"."""
    while True:
        kind = rng.random()
        one, two = rng.sample(_LINES["things"], 2)
        if kind < 0.35:
            name = f"{one} & {two}"
        elif kind < 0.5:
            name = f"The {rng.choice(('Old', 'Little', 'Golden', 'Blue', 'Red', 'Silver', 'Happy', 'Green'))} {one}"
        elif kind < 0.7:
            name = f"{rng.choice((one, built_name(rng)))} {rng.choice(_ENDS)}"
        elif kind < 0.85:
            name = f"{built_name(rng)}'s"
        else:
            name = f"{built_name(rng)} {two}"
        if not has_heldout_name(name):
            return name


_KINDS = (_accented, _script, _hyphened, _numbered, _many_words, _titled, _random_letters, bot_name)
_WEIGHTS = (32, 4, 10, 10, 12, 14, 8, 10)


def unusual_name(rng: Random, plain: float = 0.3) -> str:
    """A name of any kind; with the probability `plain` one of those that names.any_name draws."""
    while True:
        name = any_name(rng) if rng.random() < plain else rng.choices(_KINDS, _WEIGHTS)[0](rng)
        if not has_heldout_name(name):
            return name
