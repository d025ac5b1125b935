"""What every child learns, asked from both sides: opposites, animals, order, units, shapes, countries. Torch-free."""

import tomllib
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.asking import article, asked, capital
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.shell.everyday import expand
from weights.data.own.tables import rows

_TABLE: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SYSTEMS = ("You are a helpful assistant.", "Answer briefly.", "You are a friendly assistant.")
_NTH = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh")
_COMMONEST = 120  # the table of opposites begins with the words that people ask for most
# Words for the young that several animals share, or that mean something else as well.
_SHARED_YOUNG = {"cub", "pup", "kit", "larva", "hatchling", "fry", "kid", "infant", "maggot", "nymph"}

Pair = tuple[str, str]


@cache
def _lines(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of a table whose fields are parted by `|`; rows end at a line's end or at ` / `."""
    parts = [part for line in _TABLE[name].strip().splitlines() for part in line.split(" / ")]
    return tuple(tuple(part.split("|")) for part in parts)


@cache
def _frames(name: str) -> tuple[str, ...]:
    return rows(_TABLE[name])[0][0]


def _asked(frame: str, rng: Random, **words: str) -> str:
    """A question from a table with its places filled; names lose their capitals now and then, with the rest."""
    text = rng.choice(_frames(frame)).format(**words)
    text = asked(text, rng, typo=0.03)
    return text.lower() if rng.random() < 0.2 else text


@cache
def opposites() -> dict[str, str]:
    """Word -> its opposite."""
    found: dict[str, str] = {}
    for line in _TABLE["opposites"].strip().splitlines():
        for pair in line.split("|"):
            left, right = pair.replace(">", "=").split("=")
            found[left] = right
            if "=" in pair:
                found.setdefault(right, left)
    return found


def _opposite(rng: Random) -> Pair:
    known = tuple(opposites())
    word = rng.choice(known[:_COMMONEST] if rng.random() < 0.4 else known)
    return _asked("opposite_ask", rng, x=word), f"The opposite of {word} is {opposites()[word]}."


@cache
def animals() -> tuple[dict[str, str], ...]:
    """The animals: x, many, sound, food, home, young, legs, class, can."""
    keys = ("x", "many", "sound", "food", "home", "young", "legs", "class", "can")
    lines = (line.split("|") for line in _TABLE["animals"].strip().splitlines())
    return tuple(dict(zip(keys, line, strict=True)) for line in lines)


def _animal(rng: Random) -> Pair:
    kind = rng.choices(tuple(_ANIMAL_KINDS), (10, 14, 14, 12, 14, 6, 10, 10, 10))[0]
    return _ANIMAL_KINDS[kind](rng)


def _words(animal: dict[str, str]) -> dict[str, str]:
    return {"a": article(animal["x"]), "x": animal["x"], "many": animal["many"]}


def _sound(rng: Random) -> Pair:
    animal = rng.choice([animal for animal in animals() if animal["sound"]])
    return _asked("sound_ask", rng, **_words(animal)), f"{capital(article(animal['x']))} {animal['sound']}."


def _sound_back(rng: Random) -> Pair:
    first: dict[str, str] = {}
    for animal in animals():
        first.setdefault(animal["sound"], animal["x"])
    sound = rng.choice([sound for sound in first if sound])
    return _asked("sound_back", rng, v=sound), f"{capital(article(first[sound]))} {sound}."


def _food(rng: Random) -> Pair:
    animal = rng.choice(animals())
    return _asked("food_ask", rng, **_words(animal)), f"{capital(animal['many'])} eat {animal['food']}."


def _home(rng: Random) -> Pair:
    animal = rng.choice(animals())
    return _asked("home_ask", rng, **_words(animal)), f"{capital(animal['many'])} live {animal['home']}."


def _young(rng: Random) -> Pair:
    animal = rng.choice(animals())
    return _asked("young_ask", rng, **_words(animal)), f"A young {animal['x']} is called {article(animal['young'])}."


def _young_back(rng: Random) -> Pair:
    first: dict[str, str] = {}
    for animal in animals():
        first.setdefault(animal["young"], animal["x"])
    young = rng.choice([young for young in first if young not in _SHARED_YOUNG])
    question = _asked("young_back", rng, y=young).replace(f" a {young}", f" {article(young)}")
    return question, f"{capital(article(young))} is a young {first[young]}."


def _legs(rng: Random) -> Pair:
    animal = rng.choice(animals())
    legs = animal["legs"]
    said = "no legs" if legs == "0" else f"{legs} legs" if legs.isdigit() else legs
    return _asked("legs_ask", rng, **_words(animal)), f"{capital(article(animal['x']))} has {said}."


def _class(rng: Random) -> Pair:
    animal = rng.choice(animals())
    question = _asked("class_ask", rng, **_words(animal))
    said = f"{article(animal['x'])} is {article(animal['class'])}."
    if not question.lower().startswith(("is ", "are ")):
        return question, capital(said)
    plural = {"bird": "birds", "fish": "fish"}.get(animal["class"], f"{animal['class']}s")
    named = (f" {animal['class']}", f" {plural}")
    right = question.lower().rstrip("?!. ").endswith(named)
    return question, f"{'Yes' if right else 'No'}, {said}"


def _can(rng: Random) -> Pair:
    swims = rng.random() < 0.35
    if swims:
        animal = rng.choice([animal for animal in animals() if "s" in animal["can"]])
        return _asked("can_ask", rng, **_words(animal), v="swim"), f"Yes, {animal['many']} can swim."
    flies = rng.random() < 0.5
    animal = rng.choice([a for a in animals() if ("f" in a["can"]) == flies and a["can"] != "x"])
    said = f"Yes, {animal['many']} can fly." if flies else f"No, {animal['many']} cannot fly."
    return _asked("can_ask", rng, **_words(animal), v="fly"), said


_ANIMAL_KINDS = {
    "sound": _sound,
    "back": _sound_back,
    "food": _food,
    "home": _home,
    "young": _young,
    "young_back": _young_back,
    "legs": _legs,
    "class": _class,
    "can": _can,
}


def _order(rng: Random) -> Pair:
    """What comes after Tuesday? Which is the third month?"""
    kind, listed = rng.choices([line.split("|") for line in _TABLE["orders"].strip().splitlines()], (5, 4, 2))[0]
    names = listed.split(" / ")
    at = rng.randrange(len(names))
    after, before = names[(at + 1) % len(names)], names[at - 1]
    shape = rng.random()
    if shape < 0.4:
        return _asked("after_ask", rng, x=names[at], k=kind), f"{capital(after)} comes after {names[at]}."
    if shape < 0.65:
        return _asked("before_ask", rng, x=names[at], k=kind), f"{capital(before)} comes before {names[at]}."
    if kind == "day" and shape < 0.85:
        if shape < 0.78:
            return _asked("today_ask", rng, x=names[at]), f"Tomorrow is {after}."
        return _asked("yesterday_ask", rng, x=names[at]), f"Yesterday was {before}."
    if kind == "season":
        return "what are the seasons?", "The seasons are spring, summer, autumn and winter."
    whole = "week" if kind == "day" else "year"
    nth = (*_NTH, "twelfth")[at]
    return _asked("place_ask", rng, n=nth, k=kind, w=whole), f"{names[at]} is the {nth} {kind} of the {whole}."


def _unit(rng: Random) -> Pair:
    small, large, many, count = rng.choice(_lines("units"))
    if rng.random() < 0.3:
        times = rng.randint(2, 10)
        question = asked(f"how many {small} are in {times} {many}?", rng, typo=0.02)
        return question, f"{times} {many} are {times * int(count)} {small}."
    one = "an hour" if large == "hour" else article(large)
    return _asked("unit_ask", rng, s=small, a=one), f"There are {count} {small} in {one}."


def _shape(rng: Random) -> Pair:
    name, digit, word = rng.choice(_lines("shapes"))
    said = f"{capital(article(name))} has {word} sides."
    if rng.random() < 0.6:
        return _asked("shape_ask", rng, a=article(name)), said
    if name == "rectangle":
        name = "square"
    back = f"{capital(article(name))} has {word} sides."
    return _asked("shape_back", rng, n=rng.choice((digit, word))), back


def _mix(rng: Random) -> Pair:
    first, second, made = rng.choice(_lines("mixes"))
    if rng.random() < 0.5:
        first, second = second, first
    return _asked("mix_ask", rng, a=first, b=second), f"{capital(first)} and {second} make {made}."


def _colour(rng: Random) -> Pair:
    colour, things = rng.choice(_lines("colours"))
    thing = rng.choice(things.split(", "))
    verb = "is" if thing in _TABLE["mass"].split("|") else "are"
    question = rng.choice(_frames("colour_ask")).replace("is {x}", f"{verb} {{x}}").format(x=thing)
    return asked(question, rng, typo=0.03), f"{capital(thing)} {verb} {colour}."


def _country(rng: Random) -> Pair:
    country, city, continent, language, money = rng.choice(_lines("countries"))
    name = capital(country)
    ways = {
        "capital": f"The capital of {country} is {city}.",
        "continent": f"{name} {'are' if country in ('the Philippines', 'the Netherlands') else 'is'} in {continent}.",
        "language": f"People in {country} speak {language}.",
        "money": f"The currency of {country} is {money}.",
        "back": f"{city} is the capital of {country}.",
    }
    way = rng.choices(tuple(ways), (30, 18, 22, 14, 16))[0]
    if way == "back" and city in country:
        way = "capital"
    return _asked(f"country_ask_{way}", rng, x=city if way == "back" else country), ways[way].replace("..", ".")


@cache
def truths() -> tuple[tuple[tuple[tuple[str, ...], ...], str], ...]:
    """Questions, each with its spellings, and the answer with its reason."""
    return tuple((tuple(expand(ask) for ask in asks), said[0]) for asks, said in rows(_TABLE["truths"]))


def _truth(rng: Random) -> Pair:
    asks, said = rng.choice(truths())
    question = rng.choice(rng.choice(asks))
    return asked(question, rng, typo=0.04), said


def exchange(rng: Random) -> Pair:
    """One question and its answer."""
    kinds = (_opposite, _animal, _order, _unit, _shape, _mix, _colour, _country, _truth)
    return rng.choices(kinds, (22, 20, 8, 6, 3, 3, 4, 12, 22))[0](rng)


def one(rng: Random) -> Conversation:
    """One question, or two of any kind."""
    system = rng.choice(_SYSTEMS) if rng.random() < 0.08 else ""
    turns = [*exchange(rng), *(exchange(rng) if rng.random() < 0.2 else ())]
    return talk(*turns, system=system)
