"""What the user's own computer tells, against what only the user knows: "what is my ..." in both senses.

A shell command answers the first; to the second the answer is what the user has told in this conversation, or that
it was not told. Torch-free.
"""

import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import asked, capital
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import everyday, shell_phrasing
from weights.data.own.tables import rows

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_THANKS = ("thanks", "ok thanks", "thank you", "great", "that works", "cool", "nice")
_WELCOME = ("You're welcome!", "Glad I could help!", "Happy to help!")
_SECRET = ("-",)  # the values of what nobody should tell


@cache
def table(name: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The rows of a table of own_machine.toml."""
    return rows(_TABLE[name])


@cache
def wordings(name: str) -> tuple[str, ...]:
    """All wordings of a table that has one field a row."""
    return tuple(wording for row in table(name) for wording in row[0])


def _fill(text: str, **words: str) -> str:
    for key, word in words.items():
        text = text.replace(f"{{{key}}}", word)
    return text


def _named(frames: str, name: str, rng: Random) -> str:
    """A question about a named thing; its name is sometimes in small letters."""
    name = name.lower() if rng.random() < 0.5 else name
    frame = rng.choice(wordings(frames))
    return asked(_fill(frame, x=name), rng, lead=0.1)


def machine(rng: Random) -> list[str]:
    """Something that a command shows, and the command."""
    if rng.random() < 0.5:
        names, command, explain = rng.choice(table("machine"))
        name = names[0] if rng.random() < 0.4 else rng.choice(names)
        question = _named("ask_machine", name, rng)
    else:
        asks, command, explain = rng.choice(table("machine_asks"))
        question = asked(rng.choice(asks), rng, lead=0.1)
    return [question, shell_phrasing.answer(rng, " / ".join(command), explain[0])]


def _things() -> list[tuple[tuple[str, ...], ...]]:
    return [row for row in table("person") if row[1] != _SECRET]


def _not_told(name: str, rng: Random) -> list[str]:
    secret = any(name in row[0] for row in table("person") if row[1] == _SECRET)
    said = rng.choice(table("secret" if secret else "unknown_person")[0][0])
    return [_named("ask_person", name, rng), _fill(said, x=name)]


def personal(rng: Random) -> list[str]:
    """Something that only the user knows, and that it was not told."""
    if rng.random() < 0.45:
        question = rng.choice(wordings("person_asks"))
        return [asked(question, rng, lead=0.1), rng.choice(wordings("unknown_asks"))]
    return _not_told(rng.choice(rng.choice(table("person"))[0]), rng)


def told(rng: Random) -> list[str]:
    """Something is told, and later asked for: the four texts."""
    if rng.random() < 0.4:
        tells, gots, asks, says, values = rng.choice(table("told"))
        value = rng.choice(values)
        yours = value.replace("my ", "your ")
        texts = [rng.choice(tells), rng.choice(gots), rng.choice(asks), rng.choice(says)]
        texts[0] = vary(texts[0], rng, lead=0.05)
        tell, got, ask, say = (_fill(t, v=v, V=capital(v)) for t, v in zip(texts, (value, *[yours] * 3), strict=True))
        return [tell, capital(got), asked(ask, rng), capital(say)]
    names, values = rng.choice(_things())
    name, value = rng.choice(names), rng.choice(values)
    yours = value.replace("my ", "your ")
    tell = _fill(vary(rng.choice(wordings("tell_person")), rng, lead=0.05), x=name, v=value)
    got, say = (_fill(rng.choice(wordings(key)), x=name, v=yours) for key in ("got_person", "say_person"))
    return [tell, capital(got), _named("ask_person", name, rng), capital(say)]


def _remembered(rng: Random) -> list[str]:
    """Told and asked, with other questions between; sometimes one that was not answered by what was told."""
    tell, got, ask, say = told(rng)
    turns = [tell, got]
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        turns += machine(rng) if rng.random() < 0.5 else _other_not_told(tell, rng)
    turns += [ask, say]
    if rng.random() < 0.25:
        turns += _other_not_told(tell, rng)
    return turns


def _other_not_told(tell: str, rng: Random) -> list[str]:
    """A question about a thing of another kind than the one that was told."""
    words = set(tell.lower().replace(".", "").split()) - {"favourite", "favorite", "name", "number", "my"}
    far = [names[0] for names, _ in _things() if not words & set(names[0].replace("'s", "").split())]
    return _not_told(rng.choice([name for name in far if _apart(name, tell)] or far), rng)


def _apart(name: str, tell: str) -> bool:
    """Whether the told sentence says nothing of the thing: no name of its row stands in it."""
    row = next(names for names, _ in table("person") if name in names)
    return not any(other.lower() in tell.lower() for other in row)


def _contrast(rng: Random) -> list[str]:
    """The same wording twice: once about the computer, once about the user."""
    frame = rng.choice([f for f in wordings("ask_machine") if f in wordings("ask_person")])
    names, command, explain = rng.choice(table("machine"))
    pairs = [[_fill(frame, x=rng.choice(names)), shell_phrasing.answer(rng, " / ".join(command), explain[0])]]
    thing = rng.choice(rng.choice(_things())[0])
    pairs.append([_fill(frame, x=thing), _fill(rng.choice(wordings("unknown_person")), x=thing)])
    rng.shuffle(pairs)
    if rng.random() < 0.3:
        pairs.append(machine(rng) if rng.random() < 0.5 else personal(rng))
    return [text for ask, say in pairs for text in (asked(ask, rng, lead=0.06), say)]


def _thanked(rng: Random) -> list[str]:
    return [*machine(rng), vary(rng.choice(_THANKS), rng, lead=0), rng.choice(_WELCOME)]


_SHAPES = ((machine, 34), (personal, 24), (_remembered, 20), (_contrast, 17), (_thanked, 5))


def one(rng: Random) -> Conversation:
    """One conversation about what is the user's own."""
    shape = rng.choices([shape for shape, _ in _SHAPES], [weight for _, weight in _SHAPES])[0]
    system = rng.choice(everyday.SYSTEM_PROMPTS) if rng.random() < 0.08 else ""
    return talk(*shape(rng), system=system)
