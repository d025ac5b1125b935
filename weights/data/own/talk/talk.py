"""More small talk: jokes, stories, feelings, and simple instructions such as "spell cat". Torch-free.

smalltalk.py and identity.py hold the first wordings; this module has what newcomers type besides.
"""

import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import entries as read_entries

entries = cache(read_entries)
_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_TOPICS: dict[str, dict[str, str]] = _TABLE["topic"]
_WORDS: dict[str, str] = _TABLE["words"]
_ASKS: dict[str, str] = _TABLE["asks"]
_SYSTEMS = ("You are a helpful assistant.", "Answer briefly.", "You are a friendly assistant.", "Be polite.")
_NAMES = tuple(name for name in _TOPICS if name != "knock")
_WEIGHTS = tuple(len(entries(_TOPICS[name]["ask"])) ** 0.6 * (2 if name == "joke" else 1) for name in _NAMES)
_LANGUAGES = ("French", "Spanish", "German", "Italian")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def topic(name: str, rng: Random) -> tuple[str, str]:
    """A message on the topic, and an answer."""
    table = _TOPICS[name]
    return vary(rng.choice(entries(table["ask"])), rng, lead=0.04), rng.choice(entries(table["answer"]))


def _asked(kind: str, rng: Random, **words: str) -> str:
    text = vary(rng.choice(entries(_ASKS[kind])), rng, lead=0.06)
    for key, word in words.items():
        text = text.replace(f"{{{key}}}", word)
    return text


def _pair(kind: str, rng: Random) -> tuple[str, str]:
    left, right = rng.choice(entries(_WORDS[kind])).split("=")
    return left, right


def _spell(rng: Random) -> tuple[str, str]:
    word = rng.choice(entries(_WORDS["spell"]))
    return _asked("spell", rng, x=word), "-".join(word.upper())


def _letters(rng: Random) -> tuple[str, str]:
    word = rng.choice(entries(_WORDS["spell"]))
    kind = rng.choice(("letters", "first", "last", "upper"))
    answers = {
        "letters": f"The word {word} has {_NUMBERS[len(word)]} letters.",
        "first": f"The first letter of {word} is {word[0].upper()}.",
        "last": f"The last letter of {word} is {word[-1].upper()}.",
        "upper": word.upper(),
    }
    return _asked(kind, rng, x=word), answers[kind]


def _rhyme(rng: Random) -> tuple[str, str]:
    word, other = _pair("rhyme", rng)
    return _asked("rhyme", rng, x=word), f"{other.capitalize()} rhymes with {word}."


def _sentence(rng: Random) -> tuple[str, str]:
    subject, said = _pair("sentence", rng)
    return _asked("sentence", rng, x=subject), said


def _translate(rng: Random) -> tuple[str, str]:
    word, *others = rng.choice(entries(_WORDS["translate"])).split("=")
    at = rng.randrange(len(_LANGUAGES))
    language = _LANGUAGES[at]
    asked = _asked("translate", rng, x=word, l=language.lower() if rng.random() < 0.2 else language)
    return asked, f"{word.capitalize()} is {others[at]} in {language}."


def _finish(rng: Random) -> tuple[str, str]:
    start, end = _pair("finish", rng)
    return _asked("finish", rng, x=start), f"{start.capitalize()} {end}."


def _echo(rng: Random) -> tuple[str, str]:
    words = rng.choice(entries(_WORDS["echo"]))
    return _asked("echo", rng, x=words), words


def _reverse(rng: Random) -> tuple[str, str]:
    word, back = _pair("reverse", rng)
    return _asked("reverse", rng, x=word), back


def _list(rng: Random) -> tuple[str, str]:
    kind = rng.choice(tuple(_TABLE["lists"]))
    named = rng.choice(entries(_TABLE["lists"][kind]))
    return _asked("list", rng, x=kind), f"{named[:1].upper()}{named[1:]}."


_DONE: tuple[tuple[Callable[[Random], tuple[str, str]], int], ...] = (
    (_spell, 4),
    (_letters, 4),
    (_rhyme, 4),
    (_sentence, 4),
    (_translate, 7),
    (_finish, 3),
    (_echo, 4),
    (_reverse, 2),
    (_list, 6),
)


def instruction(rng: Random) -> tuple[str, str]:
    """A simple instruction, carried out."""
    return rng.choices([do for do, _ in _DONE], [weight for _, weight in _DONE])[0](rng)


def exchange(rng: Random) -> tuple[str, str]:
    """A message and its answer."""
    return instruction(rng) if rng.random() < 0.3 else topic(rng.choices(_NAMES, _WEIGHTS)[0], rng)


def _knock(rng: Random) -> list[str]:
    """A knock-knock joke, told by the user."""
    who, end = rng.choice(
        (
            ("Lettuce", "Lettuce in, it's cold!"),
            ("Boo", "Don't cry!"),
            ("Cows go", "No, cows go moo!"),
            ("Tank", "You're welcome!"),
        )
    )
    laugh = rng.choice(("Haha, that's a good one!", "Ha! That was funny."))
    return [*topic("knock", rng), vary(who, rng, lead=0), f"{who} who?", vary(end, rng, lead=0), laugh]


def _followed(rng: Random) -> list[str]:
    """Two or three exchanges of which each fits the one before."""
    name = rng.choice(tuple(_TABLE["follow"]))
    turns = list(topic(name, rng))
    for _ in range(rng.choice((1, 1, 2))):
        after = [n for n in _TABLE["follow"].get(name, "").split() if n in _TOPICS]
        if not after:
            break
        name = rng.choice(after)
        turns += topic(name, rng)
    return turns


def one(rng: Random) -> Conversation:
    """One conversation of one to three turns."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.1 else ""
    kind = rng.random()
    if kind < 0.02:
        return talk(*_knock(rng), system=system)
    if kind < 0.24:
        return talk(*_followed(rng), system=system)
    if kind < 0.34:
        return talk(*topic("greet", rng), *exchange(rng), system=system)
    length = rng.choices((1, 2), (82, 18))[0]
    return talk(*(text for _ in range(length) for text in exchange(rng)), system=system)
