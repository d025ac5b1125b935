"""Short system prompts that give a role, and questions whose answers stand there word for word. Torch-free.

personas.py and characters.py make long prompts; here many shapes of short ones, with up to three particulars.
"""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, capital
from weights.data.own.knowledge import arithmetic, definitions
from weights.data.own.names import built_name, person_name, pet_name
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.shell import shell_basics
from weights.data.own.tables import listed_at, rows
from weights.data.own.unusual_names import bot_name, house_name, unusual_name

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
Turn = tuple[str, str]
_FIELD = re.compile(r"\{(\w+)\}")
_VOWEL = re.compile(r"\b([Aa]) (?=[aeio](?!ne-|ne\b)|u(?!ni|se|ku))")
_LONGEST = 22
_CLAUSES = ("who", "whose")
_GENUS = {"job": "person", "animal": "animal", "object": "thing", "being": "creature", "robot": "machine"}
_FAMILIES = ("job", "animal", "object", "being", "historic", "robot", "support", "crew", "staff", "guide", "bare")
_FAMILY_WEIGHTS = (24, 9, 6, 8, 5, 9, 14, 6, 4, 5, 10)
_PLACED = ("support", "crew", "staff", "guide")
_FACT_WEIGHTS = {
    "home": 22, "origin": 18, "pet": 16, "kin": 6, "age": 9, "years": 6, "instrument": 6, "language": 5, "love": 12,
    "hate": 7, "favourite": 8, "thing": 6, "work": 14,
}  # fmt: skip
_TALK_WEIGHTS = {
    "who": 15, "name": 13, "isname": 5, "isrole": 5, "notrole": 3, "notname": 3, "other": 8, "what": 9, "job": 11,
    "house": 12, "support": 12, "ship": 10, "guide": 14, "title": 9, "mood": 4, "hello": 9, "met": 3, "help": 7,
    "how": 3, "with_house": 7,
    "day": 8, "bye": 2, "thanks": 2, "remember": 4, "spell": 2, "lure": 3, "claim": 3,
}  # fmt: skip
_QUIET = ("I like it.", "There is always something to do.", "I can't complain.", "It never gets boring.", "I enjoy it.")


@cache
def _list(name: str) -> tuple[str, ...]:
    return listed_at(_TABLE, name)


@cache
def _fitting(name: str, known: frozenset[str]) -> tuple[str, ...]:
    """The entries of a list whose places can all be filled."""
    return tuple(entry for entry in _list(name) if set(_FIELD.findall(entry)) <= known)


def _filled(pattern: str, words: dict[str, str]) -> str:
    """The pattern with its words; `a` becomes `an` where it must."""
    text = pattern.format(**words)
    return _VOWEL.sub(r"\1n ", text).replace("..", ".").replace("!.", "!")


@dataclass
class Role:
    """Whom the system prompt makes of the model: its words (name, noun, place), and what else is said of it."""

    family: str
    words: dict[str, str]
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    mods: list[str] = field(default_factory=list)
    system: str = ""
    sounds: tuple[str, ...] = ()


def _town(rng: Random) -> str:
    return rng.choice(_list("words.towns")) if rng.random() < 0.7 else built_name(rng)


def _name(family: str, rng: Random) -> tuple[str, str]:
    """A name, and its title if it was given one."""
    if family == "robot" and rng.random() < 0.6:
        plain = bot_name(rng) if rng.random() < 0.5 else f"{built_name(rng)}-{rng.randint(1, 99)}"
        return plain, ""
    if rng.random() < (0.6 if family == "bare" else 0.14):
        title = rng.choice(_list("words.titles"))
        kind = rng.random()
        after = person_name(rng) if kind < 0.4 else built_name(rng)
        return f"{title} {after} {built_name(rng)}" if kind > 0.85 else f"{title} {after}", title
    return (pet_name(rng) if rng.random() < 0.25 else unusual_name(rng, plain=0.55)), ""


def _house(family: str, rng: Random) -> dict[str, str]:
    """The words of a role at a house: what kind of house, its name, where one works, and as what."""
    (kind,), jobs, deeds = rng.choice(rows(_TABLE["houses"][family]))
    if family == "crew":
        house = f"{rng.choice(_list('words.ship_first'))} {rng.choice(_list('words.ship_second'))}"
        place = f"on the {kind} {house}" if rng.random() < 0.6 else f"on the {house}"
    else:
        house = rng.choice(
            (house_name, unusual_name, bot_name) if kind in ("app", "game", "website") else (house_name,)
        )(rng)
        if family == "staff" or rng.random() < 0.25:
            house = built_name(rng)
        preposition = "for" if kind in _FOR else "at"
        place = f"{preposition} {'' if house.startswith('The ') else f'the {kind} '}{house}"
    deed = rng.choice(deeds).format(house=house)
    return {"kind": kind, "house": house, "place": place, "role": rng.choice(jobs), "deed": deed}


_FOR = ("app", "game", "website", "bank", "airline", "railway", "bus company", "insurance company", "phone company",
        "newspaper", "software company", "pizza service", "shop", "travel agency")  # fmt: skip


def _noun(family: str, rng: Random) -> dict[str, str]:
    if family in ("support", "crew", "staff"):
        return _house(family, rng)
    if family == "guide":
        town = _town(rng)
        role = rng.choice(_list("words.guides")).format(town=town)
        return {"town": town, "role": role, "deed": f"show visitors {town}"}
    role, deed = rng.choice(_list(f"roles.{family}")).split("=")
    return {"role": role, "deed": deed, "genus": _GENUS.get(family, "person")}


def _fact(key: str, rng: Random) -> dict[str, str]:
    """What is said of one particular: its value {v}, and the words that go with it."""
    if key == "home":
        return {"v": rng.choice(_list("words.spots")).format(town=_town(rng), made=built_name(rng))}
    if key == "origin":
        return {"v": _town(rng)}
    if key in ("pet", "kin"):
        name = pet_name(rng) if key == "pet" else person_name(rng)
        return {key: rng.choice(_list("words.pets" if key == "pet" else "words.kin")), "v": name}
    if key in ("age", "years"):
        return {"v": str(rng.randint(18, 99) if key == "age" else rng.randint(2, 45))}
    if key == "thing":
        return {"t": rng.choice(_list("words.things")), "v": rng.choice(_list("words.colours"))}
    if key == "favourite":
        topic, things = rng.choice(_list("facts.favourite.values")).split("=")
        return {"t": topic, "v": rng.choice(things.split(","))}
    if key == "work":
        (base,), (third,), (ing,), values = rng.choice(rows(_TABLE["facts"]["work"]["values"]))
        return {"base": base, "third": third, "ing": ing, "v": rng.choice(values)}
    return {"v": rng.choice(_list(f"facts.{key}.values"))}


def _facts(family: str, rng: Random) -> dict[str, dict[str, str]]:
    weights = dict(_FACT_WEIGHTS)
    if family in _PLACED:
        del weights["home"], weights["work"]
    if family in ("job", "historic"):
        weights["work"] = 3
    if family in ("bare", "animal", "object"):
        del weights["years"]
    found: dict[str, dict[str, str]] = {}
    for _ in range(rng.choices((0, 1, 2, 3), (26, 42, 23, 9))[0]):
        key = rng.choices(tuple(weights), tuple(weights.values()))[0]
        del weights[key]
        if key in ("age", "years"):
            weights.pop("years" if key == "age" else "age", None)
        found[key] = _fact(key, rng)
    return found


def _placed_mods(role: Role, rng: Random) -> tuple[list[str], list[str]]:
    """What stands behind the noun, at most one clause and one `with`, and the sentences for the rest."""
    mods = [role.words["place"]] if "place" in role.words else []
    sentences: list[str] = []
    seen: set[str] = set()
    for key, words in role.facts.items():
        mod = _filled(rng.choice(_list(f"facts.{key}.mods")), words) if role.family != "bare" else f"from {words['v']}"
        first = mod.split(" ", 1)[0]
        sort = "clause" if first in _CLAUSES else "with" if first == "with" else key
        apart = key != "origin" if role.family == "bare" else key == "origin" and role.family in _PLACED
        if apart or sort in seen or rng.random() < 0.45 or (key == "home" and "origin" in seen):
            sentences.append(_filled(rng.choice(_list(f"facts.{key}.sentences")), words))
        else:
            seen.update((sort, key))
            mods.append(mod)
    mods.sort(key=lambda mod: 2 * mod.startswith(_CLAUSES) + mod.startswith("with "))
    return mods, sentences


def _frame(role: Role, rng: Random) -> str:
    if "np" not in role.words:
        return "name_only" if not role.mods and rng.random() < 0.4 else "bare"
    return "full" if "name" in role.words else "nameless"


def _written(text: str, rng: Random) -> str:
    """The prompt as somebody writes it: now and then with a small start, without its full stop."""
    if rng.random() < 0.08:
        text = text[:1].lower() + text[1:]
    return text.rstrip(".") if rng.random() < 0.15 else text


def any_role(rng: Random) -> Role:
    """A role with its system prompt."""
    family = rng.choices(_FAMILIES, _FAMILY_WEIGHTS)[0]
    words = {} if family == "bare" else _noun(family, rng)
    facts = _facts(family, rng)
    if family == "bare" or rng.random() < 0.91:
        words["name"], title = _name(family, rng)
        words |= {"title": title} if title else {}
    if family != "bare" and rng.random() < 0.22:
        words["mood"] = rng.choice(_list("words.moods"))
    small = rng.random() < 0.05
    if small:
        words = {key: word.lower() for key, word in words.items()}
        facts = {key: {k: word.lower() for k, word in fact.items()} for key, fact in facts.items()}
    if "role" in words:
        words["a_role"] = article(words["role"])
        words["np"] = article(f"{words['mood']} {words['role']}") if "mood" in words else words["a_role"]
    role = Role(family, words, facts)
    role.mods, sentences = _placed_mods(role, rng)
    frame = rng.choice(_list(f"frames.{_frame(role, rng)}"))
    head = _filled(frame, {**words, "mods": "".join(f" {mod}" for mod in role.mods)})
    if (
        "deed" in words
        and "place" not in words
        and "work" not in facts
        and "I'm" not in words["deed"]
        and rng.random() < 0.12
    ):
        sentences.append(f"You {words['deed'].replace(' my ', ' your ')}.")
    if rng.random() < 0.05:
        said, *sounds = rng.choice(_list("words.manners")).split("=")
        role.sounds = tuple(sounds)
        sentences.append(said)
    rng.shuffle(sentences)
    text = ("\n" if rng.random() < 0.03 else " ").join([head, *sentences])
    role.system = _written(text.lower() if small else text, rng)
    if "work" in facts:
        words["deed"] = f"{facts['work']['base']} {facts['work']['v']}"
    return role


def _base(role: Role) -> str:
    """Where the role is, if the prompt says it: " in Lisbon", " at the hotel Miro"."""
    if "place" in role.words:
        return f" {role.words['place']}"
    if "home" in role.facts:
        return f" {role.facts['home']['v']}"
    return f" from {role.facts['origin']['v']}" if "origin" in role.facts else ""


def _spoken(role: Role, rng: Random) -> dict[str, str]:
    """The words of the role for one turn: how it calls itself, and whom the user takes it for."""
    words = dict(role.words)
    base, name, noun = _base(role), words.get("name", ""), words.get("np", "")
    rest = "".join(f" {mod}" for mod in role.mods)
    words["base"] = base
    if name and noun:
        long = f"{name}, {noun}{base}"
        words["who"] = rng.choices((name, f"{name}, {noun}", long), (12, 48, 40))[0]
        words["full"] = f"{name}, {noun}{rest}"
    else:
        words["who"] = f"{name or noun}{base if rng.random() < 0.5 and (noun or 'origin' in role.facts) else ''}"
        words["bare" if name else "np_only"] = name or noun
    if noun:
        words["other_role"] = rng.choice([r for r in _list("roles.job") if r.split("=")[0] not in noun]).split("=")[0]
        words["a_other_role"] = article(words["other_role"])
    fact = rng.choice(tuple(role.facts)) if role.facts else ""
    words["more"] = _fact_says(fact, role, rng) if fact else rng.choice(_QUIET)
    while (other := unusual_name(rng, plain=0.6)).lower() == name.lower():
        pass
    words |= {"other_name": other, "other": rng.choice(_list("words.others")), "user": person_name(rng)}
    return words


def _typed(pattern: str, words: dict[str, str], rng: Random) -> str:
    """A question as one of many people would type it, the name now and then in small letters."""
    text = vary(pattern if rng.random() < 0.4 else capital(pattern), rng, lead=0.06, typo=0.03)
    if rng.random() < 0.2 and "name" in words:
        words = {**words, "name": words["name"].lower()}
    return _filled(text, words)


def _fact_says(key: str, role: Role, rng: Random, list_name: str = "say") -> str:
    words = role.facts[key]
    pattern = rng.choice(_list(f"facts.{key}.{list_name}"))
    return _filled(pattern, {**words, "V": capital(words["v"])})


def _fact_turn(key: str, role: Role, rng: Random) -> Turn:
    """A question about a particular of the prompt; now and then one that already names it."""
    table, words = _TABLE["facts"][key], role.facts[key]
    if "check" in table and rng.random() < 0.18:
        asked = rng.choice(_list(f"facts.{key}.check"))
        return _typed(asked, {**role.words, **words}, rng), _fact_says(key, role, rng, "check_say")
    name = f"facts.{key}.ask"
    if "also" in table and role.family not in _PLACED and not {"home", "origin"} <= set(role.facts):
        name = f"facts.{key}.also" if rng.random() < 0.3 else name
    return _typed(rng.choice(_list(name)), {**role.words, **words}, rng), _fact_says(key, role, rng)


def _talk_turn(key: str, role: Role, rng: Random) -> Turn:
    """A question that can be asked of any role that has the words for it."""
    while True:
        words = _spoken(role, rng)
        known = frozenset(words)
        said = _filled(rng.choice(_fitting(f"talk.{key}.say", known)), words)
        if len(said.split()) <= _LONGEST:
            return _typed(rng.choice(_fitting(f"talk.{key}.ask", known)), words, rng), said


def _unknown_turn(role: Role, rng: Random) -> Turn:
    """A question about something that the prompt does not say."""
    taken = {*role.facts, "work", *(("home", "origin") if _base(role) or role.family == "guide" else ())}
    key = rng.choice([key for key in _TABLE["facts"] if key not in taken])
    words = {**_spoken(role, rng), **_fact(key, rng), "topic": _TABLE["facts"][key]["topic"]}
    said = _filled(rng.choice(_list("talk.unknown.say")), words)
    return _typed(rng.choice(_list(f"facts.{key}.ask")), words, rng), said


def _kinds(role: Role) -> dict[str, int]:
    """The questions of `talk` that make sense for this role, with their weights."""
    without = {"house", "support", "with_house", "ship", "guide"} - {role.family}
    without -= {"support": {"house", "with_house"}, "staff": {"house"}, "crew": {"ship"}}.get(role.family, set())
    if "name" not in role.words:
        without |= {"isname", "spell", "met", "title"}
    if "np" not in role.words:
        without |= {"isrole", "notrole"} if role.facts else {"isrole", "notrole", "day"}
    without |= {key for key in ("title", "mood") if key not in role.words}
    if "work" in role.facts:
        without.add("job")
    return {key: weight for key, weight in _TALK_WEIGHTS.items() if key not in without}


def _plain_turn(rng: Random) -> Turn:
    """A sum, a definition or a shell command: answered as ever."""
    kind = rng.random()
    if kind < 0.4:
        texts = [message.content for message in arithmetic.one(rng) if message.role != "system"]
        return texts[0], texts[1]
    return definitions.exchange(rng) if kind < 0.7 else shell_basics.task_exchange(rng)


def _own_turn(role: Role, asked: set[str], rng: Random) -> Turn:
    """A question that the role answers: a particular that was not asked for yet, or one of the others."""
    open_facts = [key for key in role.facts if key not in asked]
    kind = rng.random()
    if kind < 0.04:
        return _unknown_turn(role, rng)
    if open_facts and kind < 0.55:
        key = rng.choice(open_facts)
        asked.add(key)
        return _fact_turn(key, role, rng)
    kinds = {key: weight for key, weight in _kinds(role).items() if key not in asked}
    key = rng.choices(tuple(kinds), tuple(kinds.values()))[0]
    asked.add(key)
    return _talk_turn(key, role, rng)


def _turns(role: Role, rng: Random) -> list[Turn]:
    asked = {"bye", "thanks", "remember", "hello", "how"}
    count = rng.choices((1, 2, 3, 4), (48, 30, 15, 7))[0]
    if count == 1 and rng.random() < 0.2:
        asked.clear()
    turns = [_own_turn(role, asked, rng) for _ in range(count)]
    if count == 1:
        return turns
    if rng.random() < 0.14:
        turns[0] = _talk_turn(rng.choice(("hello", "hello", "how")), role, rng)
    if rng.random() < 0.14:
        turns[-1] = _talk_turn(rng.choice(("bye", "thanks", "remember", "remember")), role, rng)
    if rng.random() < 0.12:
        turns[-1] = _talk_turn(rng.choice(("lure", "claim")), role, rng)
    if rng.random() < 0.22:
        turns.insert(rng.randrange(len(turns)), _plain_turn(rng))
    return list(dict(turns[:4]).items())


def one(rng: Random) -> Conversation:
    """One to four questions to a role of a short prompt."""
    role = any_role(rng)
    texts: list[str] = []
    for said, answer in _turns(role, rng):
        sound = f"{rng.choice(role.sounds)} " if role.sounds else ""
        texts += [said, f"{sound}{answer}"]
    return talk(*texts, system=role.system)
