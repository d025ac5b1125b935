"""Characters with many particulars, and questions about one of them: employer, rank, task, pet, vehicle. Torch-free.

The system prompt gives a name that nobody has met, a place of work, and up to four things more; what is asked stands
there word for word. What does not stand there is left open, in character.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, capital
from weights.data.own.names import built_name, pet_name
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.tables import entries, listed_at, rows
from weights.data.own.unusual_names import house_name, unusual_name

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
Turn = tuple[str, str]


@cache
def _list(name: str) -> tuple[str, ...]:
    """A list of one line or more, its words parted by ` / `."""
    return listed_at(_TABLE, name)


@cache
def _table(name: str) -> tuple[str, ...]:
    return entries(_TABLE[name])


@dataclass
class Person:
    """Who the system prompt makes of the model: the words of its base, and what else it says."""

    base: str
    words: dict[str, str]
    more: dict[str, str] = field(default_factory=dict)
    system: str = ""


def _town(rng: Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(_list("values.towns"))
    return built_name(rng) + rng.choice(_list("values.town_ends"))


def _pet(rng: Random) -> str:
    kind = article(rng.choice(_list("values.pets")))
    return f"{kind} {rng.choice(('called', 'named'))} {pet_name(rng)}" if rng.random() < 0.7 else kind


def _vehicle(rng: Random) -> str:
    return article(f"{rng.choice(_list('values.colours'))} {rng.choice(_list('values.vehicles'))}")


_MADE: dict[str, Callable[[Random], str]] = {
    "town": _town,
    "pet": _pet,
    "vehicle": _vehicle,
    "age": lambda rng: str(rng.randint(9, 99)),
    "years": lambda rng: str(rng.randint(2, 45)),
    "boss": lambda rng: unusual_name(rng, plain=0.5),
    "partner": lambda rng: unusual_name(rng, plain=0.5),
}


def _value(key: str, rng: Random) -> str:
    return _MADE[key](rng) if key in _MADE else rng.choice(_list(f"more.{key}.values"))


def _worker(rng: Random) -> Person:
    (kind,), jobs = rng.choice(rows(_TABLE["houses"]))
    house, job = house_name(rng) if rng.random() < 0.6 else unusual_name(rng), rng.choice(jobs)
    place = house if house.startswith("The ") or rng.random() < 0.3 else f"the {kind} {house}"
    if rng.random() < 0.25:
        place = f"{place} in {_town(rng)}"
    return Person("worker", {"name": unusual_name(rng), "job": job, "a_job": article(job), "place": place})


def _robot(rng: Random) -> Person:
    base, third = rng.choice(_list("tasks")).split("=")
    machine = article(rng.choice(_list("machines")))
    return Person("robot", {"name": unusual_name(rng), "a_machine": machine, "base": base, "third": third})


def _ranked(rng: Random) -> Person:
    unit = rng.choice(_list("units")).replace("{n}", built_name(rng))
    rank = rng.choice(_list("ranks"))
    return Person("rank", {"name": _untitled(rng), "rank": rank, "a_rank": article(rank), "unit": unit})


def _untitled(rng: Random) -> str:
    """A name that can stand behind a rank: one word, or two that are no titles."""
    while True:
        name = unusual_name(rng, plain=0.4)
        if " " not in name:
            return name if rng.random() < 0.8 else f"{name} {built_name(rng)}"


def _voice(rng: Random) -> Person:
    (kind,), _ = rng.choice([row for row in rows(_TABLE["houses"]) if row[0][0][0] not in "aeiou"])
    return Person("voice", {"house": house_name(rng), "kind": kind, "city": _town(rng)})


def _described(person: Person, rng: Random) -> Person:
    """The person with a system prompt, and with more particulars in it."""
    frame = rng.choice(_table("frames" if person.base == "worker" else f"{person.base}_frames"))
    for key in ("unit", "a_machine"):
        if f"{{{key}}}" not in frame:
            person.words.pop(key, None)
    parts = [frame.format(**person.words)]
    count = rng.choices((0, 1, 2, 3, 4), (22, 34, 24, 13, 7))[0] if person.base != "voice" else rng.choice((0, 0, 1))
    keys = [key for key in _TABLE["more"] if person.base == "worker" or key != "years"]
    for key in rng.sample(keys, count):
        value = person.more[key] = _value(key, rng)
        parts.append(rng.choice(_list(f"more.{key}.sentence")).format(v=value))
    if rng.random() < (0.7 if person.base == "rank" else 0.35):
        parts.append(rng.choice(_table("rank_styles" if person.base == "rank" else "styles")))
    head, rest = parts[0], parts[1:]
    rng.shuffle(rest)
    person.system = " ".join([head, *rest]).replace("..", ".")
    return person


def _typed(text: str, rng: Random) -> str:
    return vary(text, rng, lead=0.06, typo=0.03)


def _about(table_ask: str, table_say: str, person: Person, rng: Random) -> Turn:
    words = person.words
    said = rng.choice([s for s in _table(table_say) if all(f"{{{k}}}" not in s or k in words for k in _OPTIONAL)])
    return _typed(rng.choice(_table(table_ask)), rng), capital(said.format(**words)).replace("..", ".")


_OPTIONAL = ("unit", "a_machine")
_BASES: dict[str, tuple[tuple[str, str, int], ...]] = {
    "worker": (
        ("who_ask", "who_say", 14),
        ("name_ask", "name_say", 14),
        ("job_ask", "job_say", 24),
        ("place_ask", "place_say", 38),
        ("hello_ask", "hello_say", 10),
    ),
    "robot": (("who_ask", "robot_who_say", 22), ("name_ask", "name_say", 22), ("robot_job_ask", "robot_job_say", 56)),
    "rank": (
        ("rank_ask", "rank_say", 40),
        ("who_ask", "rank_who_say", 20),
        ("only_rank_ask", "only_rank_say", 14),
        ("name_ask", "rank_who_say", 14),
        ("unit_ask", "unit_say", 12),
    ),
    "voice": (("who_ask", "voice_who_say", 35), ("place_ask", "voice_place_say", 65)),
}


def _base_turn(person: Person, rng: Random) -> Turn:
    kinds = [row for row in _BASES[person.base] if row[0] != "unit_ask" or "unit" in person.words]
    ask, say, _ = rng.choices(kinds, [row[2] for row in kinds])[0]
    return _about(ask, say, person, rng)


def _says(key: str, value: str, rng: Random) -> str:
    said = rng.choice(_list(f"more.{key}.say")).format(v=value, V=capital(value))
    return capital(said).replace("..", ".")


def _more_turn(person: Person, rng: Random) -> Turn:
    """A question about one of the particulars, now and then one to be answered with yes or no."""
    key = rng.choice(tuple(person.more))
    value = person.more[key]
    if rng.random() < 0.8:
        return _typed(rng.choice(_list(f"more.{key}.ask")), rng), _says(key, value, rng)
    asked = value if rng.random() < 0.5 else _value(key, rng)
    first = _list(f"more.{key}.say")[0].format(v=value)
    question = _typed(rng.choice(_list(f"more.{key}.check")), rng).format(v=asked)
    small = first if first.startswith("I") else first[:1].lower() + first[1:]
    return question, f"{'Yes' if asked == value else 'No'}, {small}".replace("..", ".")


def _unknown_turn(person: Person, rng: Random) -> Turn:
    """A question about something that the prompt does not say."""
    key = rng.choice([key for key in _TABLE["more"] if key not in person.more and key != "sells"])
    topic = _TABLE["more"][key]["topic"]
    words = person.words
    short = {
        "worker": "{name}, {a_job}",
        "robot": "{name}, and I {base}",
        "rank": "{rank} {name}",
        "voice": "the assistant of {house}",
    }[person.base].format(**words)
    said = rng.choice(_table("unknown")).format(topic=topic, Topic=capital(topic), short=short)
    return _typed(rng.choice(_list(f"more.{key}.ask")), rng), said.replace("..", ".")


def _turn(person: Person, rng: Random) -> Turn:
    kind = rng.random()
    if person.more and kind < 0.52:
        return _more_turn(person, rng)
    return _unknown_turn(person, rng) if kind > 0.93 else _base_turn(person, rng)


def one(rng: Random) -> Conversation:
    """One to three questions to a character."""
    maker = rng.choices((_worker, _robot, _ranked, _voice), (54, 20, 16, 10))[0]
    person = _described(maker(rng), rng)
    turns = [_turn(person, rng) for _ in range(rng.choices((1, 2, 3), (58, 30, 12))[0])]
    return talk(*(text for turn in turns for text in turn), system=person.system)
