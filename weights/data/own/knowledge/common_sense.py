"""What everybody knows, from tables: yes and no, opposites, kinds, order, parts, uses and colours. Torch-free."""

import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, asked, capital, listed
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import rows

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are a friendly assistant.",
    "Answer in one sentence.",
)
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

Pair = tuple[str, str]


@cache
def table(*path: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The rows of the table at the path."""
    found: Any = _TABLE
    for key in path:
        found = found[key]
    return rows(found)


@cache
def frames(*path: str) -> tuple[str, ...]:
    """The wordings of a table of one line."""
    return table(*path)[0][0]


# Kinds. A thing of a kind is also of the kind above it; pairs that people could argue about are not asked.
_ABOVE = {"bird": "animal", "mammal": "animal", "fish": "animal", "insect": "animal", "reptile": "animal"} | {
    "tree": "plant",
    "flower": "plant",
}
_UNCLEAR = {frozenset(pair.split(" - ")) for pair in _TABLE["unclear"].split("|")}
_PLURALS = {
    "mouse": "mice",
    "sheep": "sheep",
    "goose": "geese",
    "wolf": "wolves",
    "fish": "fish",
    "salmon": "salmon",
    "trout": "trout",
    "octopus": "octopuses",
    "foot": "feet",
    "teddy bear": "teddy bears",
    "bookshelf": "bookshelves",
    "scarf": "scarves",
    "bus": "buses",
    "cactus": "cactuses",
    "mango": "mangoes",
    "potato": "potatoes",
    "cup of tea": "cups of tea",
    "cup of coffee": "cups of coffee",
    "glass of milk": "glasses of milk",
}


def plural(noun: str) -> str:
    """The plural of an English noun of the tables."""
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in "aeo":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "sh", "ch", "x")) else f"{noun}s"


@cache
def _kinds(family: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Kind -> its plural and its members."""
    return {names[0]: (names[1], members) for names, members in table("kinds", family)}


def _is_of(thing: str, kind: str, family: str) -> bool:
    return any(thing in members and kind in (name, _ABOVE.get(name)) for name, (_, members) in _kinds(family).items())


def _kind(rng: Random) -> Pair:
    """Is a cat an animal? Are cats plants?"""
    family = rng.choice(("living", "living", "things", "names"))
    kinds = _kinds(family)
    kind = rng.choice(tuple(kinds))
    thing = rng.choice(kinds[kind][1])
    yes = rng.random() < 0.5
    asked_kind, asked_plural = kind, kinds[kind][0]
    if not yes:
        other = "things" if family == "living" and rng.random() < 0.3 else family
        false = [
            name
            for name in _kinds(other)
            if not _is_of(thing, name, other) and frozenset((kind, name)) not in _UNCLEAR and name != kind
        ]
        asked_kind = rng.choice(false)
        asked_plural = _kinds(other)[asked_kind][0]
    if family != "names" and rng.random() < 0.5:
        return _kinds_asked(plural(thing), kinds[kind][0], asked_plural, yes, rng)
    one = thing if family == "names" else article(thing)
    question = rng.choice(
        ("is {a} {k}?", "is {a} {k}?", "is {a} {k} or not?", "is it true that {a} is {k}?", "{a} is {k}, right?")
    ).format(a=one, k=article(asked_kind))
    return question, f"{'Yes' if yes else 'No'}, {one} is {article(kind)}."


def _kinds_asked(many: str, kinds: str, asked_kinds: str, yes: bool, rng: Random) -> Pair:
    question = rng.choice(("are {x} {k}?", "are {x} {k}?", "are all {x} {k}?", "do {x} count as {k}?"))
    return question.format(x=many, k=asked_kinds), f"{'Yes' if yes else 'No'}, {many} are {kinds}."


def _can(rng: Random) -> Pair:
    (what,), can, cannot = rng.choice(table("yes_no", "can"))
    yes = rng.random() < 0.5
    who = rng.choice(can if yes else cannot)
    question = rng.choice(("can {x} {v}?", "can {x} {v}?", "are {x} able to {v}?", "is it true that {x} can {v}?"))
    return question.format(x=who, v=what), f"Yes, {who} can {what}." if yes else f"No, {who} cannot {what}."


def _have(rng: Random) -> Pair:
    (what,), has, lacks = rng.choice(table("yes_no", "have"))
    yes = rng.random() < 0.5
    who = rng.choice(has if yes else lacks)
    question = rng.choice(
        ("do {x} have {v}?", "do {x} have {v}?", "have {x} got {v}?", "is it true that {x} have {v}?")
    )
    return question.format(x=who, v=what), f"Yes, {who} have {what}." if yes else f"No, {who} do not have {what}."


_SCALES = (
    ("sizes", "bigger", "smaller", 2),
    ("sizes_more", "larger", "smaller", 1),
    ("speeds", "faster", "slower", 2),
    ("weights", "heavier", "lighter", 2),
    ("heats", "hotter", "colder", 1),
    ("ages", "older", "younger", 1),
    ("lengths", "longer", "shorter", 1),
)


def _compared(rng: Random) -> Pair:
    """Is a mouse bigger than a cat? Which is faster, a car or a plane?"""
    name, more, less, gap = rng.choice(_SCALES)
    order = frames("yes_no", name)
    low = rng.randrange(len(order) - gap)
    small, large = order[low], order[rng.randrange(low + gap, len(order))]
    if rng.random() < 0.25:
        first, second = (small, large) if rng.random() < 0.5 else (large, small)
        word = more if rng.random() < 0.6 else less
        question = rng.choice(("which is {w}, {a} or {b}?", "what is {w}: {a} or {b}?", "{a} or {b}, which is {w}?"))
        one, other = (large, small) if word == more else (small, large)
        return question.format(w=word, a=first, b=second), capital(f"{one} is {word} than {other}.")
    word, one, other = (more, large, small) if rng.random() < 0.5 else (less, small, large)
    yes = rng.random() < 0.5
    first, second = (one, other) if yes else (other, one)
    question = f"is {first} {word} than {second}?"
    return question, f"{'Yes' if yes else 'No'}, {one} is {word} than {other}."


def _hot(rng: Random) -> Pair:
    hot = rng.random() < 0.5
    place = rng.choice(frames("yes_no", "hot" if hot else "cold"))
    word = rng.choice(("hot", "cold"))
    near = "at" if place == "the North Pole" else "on" if place.startswith("the top") else "in"
    yes = (word == "hot") == hot
    question = rng.choice(("is it {w} {n} {x}?", "is it very {w} {n} {x}?", "do you think it is {w} {n} {x}?"))
    said = f"{'Yes' if yes else 'No'}, it is very {'hot' if hot else 'cold'} {near} {place}."
    return question.format(w=word, n=near, x=place), said


def _where(rng: Random) -> Pair:
    found = table("yes_no", rng.choice(("where", "cities")))
    place, members = rng.choice(found)
    member, yes = rng.choice(members), rng.random() < 0.5
    other = place[0] if yes else rng.choice([row[0][0] for row in found if row[0] != place])
    question = rng.choice(("is {x} in {p}?", "is {x} in {p}?", "does {x} lie in {p}?", "{x} is in {p}, right?"))
    return question.format(x=member, p=other), f"{'Yes' if yes else 'No'}, {member} is in {place[0]}."


def _coloured(rng: Random) -> Pair:
    found = table("yes_no", "colours")
    colour, things = rng.choice(found)
    thing, yes = rng.choice(things), rng.random() < 0.5
    other = colour[0] if yes else rng.choice([row[0][0] for row in found if row[0] != colour])
    said = f"{thing} are white" if colour[0] == "white" else f"{thing} are {colour[0]}"
    return f"are {thing} {other}?", f"{'Yes' if yes else 'No'}, {said}."


def _written(rng: Random) -> Pair:
    asks, said = rng.choice(table("yes_no", "written"))
    return rng.choice(asks), rng.choice(said)


def yes_no(rng: Random) -> Pair:
    """A question that is answered by yes or no, and the short answer."""
    makers = (_kind, _can, _have, _compared, _hot, _where, _coloured, _written)
    question, said = rng.choices(makers, (24, 12, 14, 12, 3, 8, 6, 20))[0](rng)
    return asked(question, rng), said


def _opposite(rng: Random) -> Pair:
    x, y = rng.choice(_TABLE["opposites"]["rows"].split("|")).split("=")
    question = asked(rng.choice(frames("opposites", "ask")), rng).replace("{x}", x)
    return question, rng.choice(frames("opposites", "answer")).format(x=x, y=y, Y=capital(y))


def _name_some(rng: Random) -> list[str]:
    names, members = rng.choice(table("named", "rows"))
    n = rng.choices((2, 3, 4, 5), (15, 55, 15, 15))[0]
    n = min(n, len(members))
    chosen = rng.sample(members, n)
    count = str(n) if rng.random() < 0.3 else _NUMBERS[n]
    question = asked(rng.choice(frames("named", "ask")), rng, typo=0.03).format(n=count, x=rng.choice(names))
    turns = [question, f"{capital(listed(chosen))}."]
    left = [member for member in members if member not in chosen]
    if len(left) >= 2 and rng.random() < 0.25:
        more = rng.sample(left, min(len(left), rng.choice((2, 2, 3))))
        asked_more = vary(rng.choice(frames("named", "more")), rng, lead=0.04).format(n=_NUMBERS[len(more)])
        turns += [asked_more, f"{capital(listed(more))}."]
    return turns


def _sequence(rng: Random) -> Pair:
    (way,), (kind,), members = rng.choice(table("order", "rows"))
    at = rng.randrange(1, len(members) - 1)
    if way == "round":
        at = rng.randrange(len(members))
    shape = rng.choices(("after", "before", "between"), (50, 35, 15))[0]
    x, before, after = members[at], members[at - 1], members[(at + 1) % len(members)]
    question = asked(rng.choice(frames("order", shape)), rng, typo=0.03)
    if shape == "between":
        return question.format(x=before, z=after, k=kind), f"{capital(x)} comes between {before} and {after}."
    said = after if shape == "after" else before
    return question.format(x=x, k=kind), f"{capital(said)} comes {shape} {x}."


_COUNTED = (
    "count from {a} to {b}",
    "count from {a} to {b} please",
    "can you count from {a} to {b}?",
    "count up from {a} to {b}",
    "numbers from {a} to {b}",
    "list the numbers from {a} to {b}",
)


def _count(rng: Random) -> Pair:
    if rng.random() < 0.5:
        low = rng.randrange(0, 8)
        high = min(12, low + rng.randrange(2, 9))
        words = [_NUMBERS[at] for at in range(low, high + 1)]
        said = f"{capital(', '.join(words))}."
        return asked(rng.choice(_COUNTED), rng, typo=0).format(a=words[0], b=words[-1]), said
    low = rng.randrange(1, 60)
    high = low + rng.randrange(2, 10)
    said = ", ".join(str(at) for at in range(low, high + 1)) + "."
    return asked(rng.choice(_COUNTED), rng, typo=0).format(a=low, b=high), said


_FACTS = ("sound", "home", "use", "buy", "made", "colour", "parts", "young")


def fact(rng: Random, kind: str = "") -> Pair:
    """A question about a thing of everyday life, and its answer."""
    kind = kind or rng.choices(_FACTS, [len(table("facts", name)) for name in _FACTS])[0]
    (thing,), said = rng.choice(table("facts", kind))
    many = thing in ("scissors",)
    frame = rng.choice([f for f in frames("facts", f"{kind}_ask") if not (many and "{a} is" in f)])
    question = asked(frame, rng).replace("{a}", thing if many else article(thing))
    if "{x}s" in question:
        question = question.replace("{x}s", plural(thing))
    if "a {x}" in question and thing[0] in "aeio":
        question = question.replace("a {x}", article(thing))
    return question.replace("{x}", thing), rng.choice(said)


def _fact_twice(rng: Random) -> list[str]:
    """The second question names only the other thing."""
    kind = rng.choice(("sound", "young", "made", "colour", "home"))
    first = fact(rng, kind)
    (thing,), said = rng.choice([row for row in table("facts", kind) if first[1] not in row[1]])
    one = thing if kind in ("made", "colour") else article(thing)
    and_asked = vary(rng.choice(("and {x}?", "what about {x}?", "and what about {x}?", "{x}?")), rng, lead=0)
    return [*first, and_asked.replace("{x}", one), rng.choice(said)]


def exchange(rng: Random) -> Pair:
    """A question and its answer."""
    makers: Sequence[Callable[[Random], Pair]] = (yes_no, _opposite, _sequence, _count, fact)
    return rng.choices(makers, (46, 10, 8, 3, 33))[0](rng)


def one(rng: Random) -> Conversation:
    """One to three questions of common sense."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    kind = rng.random()
    if kind < 0.13:
        return talk(*_name_some(rng), system=system)
    if kind < 0.2:
        return talk(*_fact_twice(rng), system=system)
    length = rng.choices((1, 2, 3), (70, 21, 9))[0]
    return talk(*(text for _ in range(length) for text in exchange(rng)), system=system)
