"""Conversations in which a later answer needs an earlier turn: a name, a number, a liking, the last command."""

from collections.abc import Callable
from random import Random

from weights.data.own.names import built_name, person_name, pet_name
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import shell
from weights.data.own.tables import read_tables
from weights.data.own.talk import smalltalk

_T = read_tables(__file__)
_LIKES = {
    "colour": "colour",
    "color": "colour",
    "food": "food",
    "animal": "animal",
    "fruit": "fruit",
    "season": "season",
    "sport": "sport",
    "drink": "drink",
    "city": "city_like",
    "meal": "food",
}
_SECRET_WORDS = ("animal", "fruit", "colour", "food", "drink", "sport")
# What a fact tells, the answer to it, what is asked later, and the answer to that.
Fact = tuple[str, str, str, str]


def _fact(subject: str, rng: Random, **words: str) -> Fact:
    tell = vary(rng.choice(_T[f"tell_{subject}"]), rng, lead=0.05).format(**words)
    ask = vary(rng.choice(_T[f"ask_{subject}"]), rng).format(**words)
    got = rng.choice(_T[f"got_{subject}"]).format(**words)
    say = rng.choice(_T[f"say_{subject}"]).format(**words)
    return tell, got[:1].upper() + got[1:] if words.get("capital") else got, ask, say


def _name(rng: Random) -> Fact:
    return _fact("name", rng, x=person_name(rng))


def _number(rng: Random) -> Fact:
    top = rng.choice((9, 99, 99, 999, 9999))
    return _fact("number", rng, x=str(rng.randint(1, top)))


def _word(rng: Random) -> Fact:
    word = rng.choice(_T[rng.choice(_SECRET_WORDS)]) if rng.random() < 0.6 else built_name(rng).lower()
    return _fact("word", rng, x=word)


def _pet(rng: Random) -> Fact:
    return _fact("pet", rng, x=pet_name(rng), kind=rng.choice(_T["pets"]))


def _like(rng: Random) -> Fact:
    kind = rng.choice(tuple(_LIKES))
    return _fact("like", rng, x=rng.choice(_T[_LIKES[kind]]), kind=kind, capital="yes")


def _city(rng: Random) -> Fact:
    return _fact("city", rng, x=rng.choice(_T["cities"]) if rng.random() < 0.7 else built_name(rng))


def _job(rng: Random) -> Fact:
    return _fact("job", rng, a=rng.choice(_T["jobs"]))


_FACTS: dict[str, Callable[[Random], Fact]] = {
    "name": _name,
    "number": _number,
    "word": _word,
    "pet": _pet,
    "like": _like,
    "city": _city,
    "job": _job,
}
_FACT_WEIGHTS = (10, 3, 2, 3, 5, 3, 2)


def _fillers(rng: Random) -> list[str]:
    """No, one or two turns about something else."""
    turns: list[str] = []
    for _ in range(rng.choices((0, 1, 2), (50, 32, 18))[0]):
        turns += smalltalk.exchange(rng) if rng.random() < 0.7 else shell.exchange(rng)[:2]
    return turns


def _told(rng: Random) -> list[str]:
    tell, got, ask, say = _FACTS[rng.choices(tuple(_FACTS), _FACT_WEIGHTS)[0]](rng)
    return [tell, got, *_fillers(rng), ask, say]


def _told_two(rng: Random) -> list[str]:
    """Two facts, so that the question decides which of them is meant."""
    first, second = (_FACTS[kind](rng) for kind in rng.sample(tuple(_FACTS), 2))
    asked = [first, second] if rng.random() < 0.5 else [second, first]
    turns = [*first[:2], *second[:2], *(_fillers(rng) if rng.random() < 0.3 else ()), *asked[0][2:]]
    return turns + list(asked[1][2:]) if rng.random() < 0.5 else turns


def _together(rng: Random) -> list[str]:
    """Fact and question in one breath."""
    tell, _, ask, say = _FACTS[rng.choices(tuple(_FACTS), _FACT_WEIGHTS)[0]](rng)
    return [f"{tell}{'' if tell[-1] in '.!?' else '.'} {ask}", say]


def _unknown(rng: Random) -> list[str]:
    ask = vary(rng.choice(_T["ask_name"]), rng)
    turns = [*_fillers(rng), ask, rng.choice(_T["unknown_name"])]
    if rng.random() < 0.4:
        tell, got, again, say = _name(rng)
        turns += [tell, got]
        if rng.random() < 0.6:
            turns += [again, say]
    return turns


def _both_names(rng: Random) -> list[str]:
    """The user's name and the model's own, told apart."""
    tell, got, ask, say = _name(rng)
    yours = [vary(rng.choice(_T["ask_your_name"]), rng), rng.choice(_T["say_your_name"])]
    mine = [ask, say]
    pairs = [yours, mine] if rng.random() < 0.5 else [mine, yours]
    if rng.random() < 0.3:
        pairs.pop()
    return [tell, got, *(_fillers(rng) if rng.random() < 0.3 else ()), *(text for pair in pairs for text in pair)]


def _command(rng: Random) -> list[str]:
    question, answer, command = shell.exchange(rng)
    between = smalltalk.exchange(rng) if rng.random() < 0.4 else ()
    return [
        question,
        answer,
        *between,
        vary(rng.choice(_T["again"]), rng),
        rng.choice(_T["say_again"]).replace("{x}", command),
    ]


def _repeat(rng: Random) -> list[str]:
    """What the user or the model said just before."""
    asked = rng.random() < 0.3
    said, answer = shell.exchange(rng)[:2] if asked else smalltalk.exchange(rng)
    if rng.random() < 0.3:
        return [said, answer, vary(rng.choice(_T["you_said"]), rng), rng.choice(_T["i_said"]).replace("{x}", answer)]
    kind = "asked" if said.endswith("?") else "said"
    ask = vary(rng.choice(_T[f"last_{kind}"]), rng)
    return [said, answer, ask, rng.choice(_T[f"say_{kind}"]).replace("{x}", said)]


_SHAPES: tuple[tuple[Callable[[Random], list[str]], float], ...] = (
    (_told, 52),
    (_told_two, 16),
    (_together, 4),
    (_unknown, 8),
    (_both_names, 6),
    (_command, 12),
    (_repeat, 8),
)


def one(rng: Random) -> Conversation:
    """One conversation whose later turns need the earlier ones."""
    shape = rng.choices([s for s, _ in _SHAPES], [w for _, w in _SHAPES])[0]
    system = "You are a helpful assistant." if rng.random() < 0.06 else ""
    return talk(*shape(rng), system=system)
