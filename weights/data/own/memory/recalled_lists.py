"""Lists told in one turn or several, changed, and asked for: all of it, the first, how many. Torch-free."""

import re
from functools import partial
from random import Random

from weights.data.own.asking import listed
from weights.data.own.memory.recalled_values import Told, other, read, value
from weights.data.own.memory.told_values import Words, said, typed, wordings

_WORDS: dict[str, str] = read("recalled_lists")["words"]
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
_ORDER = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")


def _words(name: str, verb: str, things: list[str]) -> Words:
    return {"l": name, "v": verb, "s": listed(things), "n": _NUMBERS[len(things)]}


def _only(table: str, bare: re.Pattern[str]) -> str:
    return " / ".join(text for text in wordings(table) if not bare.search(text))


def _asked(name: str, verb: str, kind: str, things: list[str], rng: Random) -> list[str]:
    """A question about the list as it stands, and its answer."""
    words = _words(name, verb, things)
    form = rng.choices(("all", "count", "first", "last", "nth", "after", "has"), (46, 12, 12, 7, 8, 6, 9))[0]
    if form in ("all", "count"):
        return [typed(_WORDS[form], words, rng), said(_WORDS[f"say_{form}"], words, rng)]
    if form == "has":
        has = rng.random() < 0.5
        words["x"] = rng.choice(things) if has else other(kind, things, rng)
        return [typed(_WORDS["has"], words, rng), said(_WORDS["yes" if has else "no"], words, rng)]
    at = {"first": 0, "last": -1}.get(form, rng.randrange(1, len(things)))
    words |= {"x": things[at], "o": _ORDER[at] if form == "nth" else things[at - 1]}
    return [typed(_WORDS[form], words, rng), said(_WORDS["say_one"], words, rng)]


def _changed(name: str, verb: str, kind: str, things: list[str], rng: Random) -> list[str]:
    """The user changes the list, which is changed here too."""
    at = rng.randrange(len(things))
    old = things[at]
    if len(things) > 2 and rng.random() < 0.35:
        del things[at]
        words = {**_words(name, verb, things), "o": old}
        # "without call Ada" is no English.
        bare = re.compile(r"no \{o\}|without|want" if kind == "chore" else "$^")
        asks, takes = (_only(_WORDS[key], bare) for key in ("drop", "dropped"))
        return [typed(asks, words, rng, lead=0), said(takes, words, rng)]
    things[at] = other(kind, things, rng)
    words = {**_words(name, verb, things), "x": things[at], "o": old}
    return [typed(_WORDS["swap"], words, rng, lead=0), said(_WORDS["swapped"], words, rng)]


def told(rng: Random) -> Told:
    """A list, in one breath or with things added in later turns; a third is changed."""
    name, kind, verb = rng.choice(wordings(read("recalled_lists")["kinds"])).split("=")
    things: list[str] = []
    for _ in range(rng.choice((2, 3, 3, 4, 5))):
        things.append(other(kind, things, rng) if things else value(kind, rng))
    words = _words(name, verb, things)
    tells = [text for text in wordings(_WORDS["tell"]) if kind != "chore" or "{v}" not in text]
    turns = [typed(" / ".join(tells), words, rng), said(_WORDS["got"], words, rng)]
    for _ in range(rng.choices((0, 1, 2), (60, 28, 12))[0]):
        things.append(other(kind, things, rng))
        words = {**_words(name, verb, things), "x": things[-1]}
        turns += [typed(_WORDS["add"], words, rng, lead=0), said(_WORDS["added"], words, rng)]
    fixed = len(turns) < 6 and rng.random() < 0.36
    if fixed:
        turns += _changed(name, verb, kind, things, rng)
    topic, asks = rng.choice(_WORDS["untold"].split(" ;; ")).replace("{l}", name).split(" :: ")
    return Told(turns, partial(_asked, name, verb, kind, things), (topic, asks), fixed)
