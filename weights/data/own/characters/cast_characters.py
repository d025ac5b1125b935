"""The characters of cast.py: their roles, facts of many kinds, system prompts, and questions about them. Torch-free."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, capital
from weights.data.own.names import built_name, person_name, pet_name
from weights.data.own.phrasing import vary
from weights.data.own.tables import listed_at, rows
from weights.data.own.unusual_names import bot_name, house_name, unusual_name

TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("cast.toml").read_text(encoding="utf-8"))
Turn = tuple[str, str]
Pair = tuple[tuple[str, ...], tuple[str, ...]]
_PLACE = re.compile(r"<([^<>]+)>")
_FIELD = re.compile(r"\{(\w+)\}")
_VOWEL = re.compile(r"\b([Aa]) (?=[aeioAEIO](?!ne-|ne\b|uropean)|[uU](?!ni|se|ku))")
_CLASSES = ("a_person", "a_favourite", "names", "colour", "kept", "maker", "price", "made_of")
_MANY = {
    "foxs": "foxes", "lynxs": "lynxes", "gooses": "geese", "mouses": "mice", "wolfs": "wolves", "thiefs": "thieves",
    "walruss": "walruses", "compasss": "compasses", "bisons": "bison", "squids": "squid",
}  # fmt: skip
_PLURALS = re.compile(rf"\b(?:{'|'.join(_MANY)})\b", re.IGNORECASE)
_NOT_HUMAN = ("device", "pet", "ghost")
_PLURAL = ("keys", "boots", "gloves", "glasses", "socks", "shoes", "slippers", "earrings")
_HEAVY = ("desk", "ruler", "device")


@cache
def words_of(name: str) -> tuple[str, ...]:
    """The list at a dotted name of the table."""
    return listed_at(TABLE, name)


def pick(name: str, rng: Random) -> str:
    """An entry of the list at a dotted name."""
    return rng.choice(words_of(name))


def filled(pattern: str, words: dict[str, str]) -> str:
    """The pattern with its words; `a` becomes `an` where it must, and no full stop stands twice."""
    text = _VOWEL.sub(r"\1n ", pattern.format(**words))
    return re.sub(r"([.!?])([\"']?)\.$", r"\1\2", text)


# How values are made: a text, whose places in angle brackets are drawn again, or a function.
_SIMPLE = {
    "colour": "colours", "adj": "adjectives", "noun": "nouns", "animal": "animals", "taste": "tastes",
    "dish1": "dishes", "drink": "drinks", "thing": "things", "did": "dids", "dream": "dreams", "hobby": "hobbies",
    "fear": "fears", "tool": "tools", "instrument": "instruments", "cargo": "cargo", "crop": "crops", "job": "jobs",
    "unit": "units", "month": "months", "day": "days", "season": "seasons", "quarter": "quarters", "room": "rooms",
    "trick": "tricks", "bodypart": "bodyparts", "rank": "ranks", "material": "materials", "sport": "sports",
    "subject": "subjects", "power": "powers", "motto": "mottos", "pet": "pets",
}  # fmt: skip
_MADE: dict[str, tuple[str, ...]] = {
    "place": ("<two>", "<two>", "<built> <after>"),
    "two": ("<before> <after>",),
    "hall": ("the <two>", "the <two>", "the <Adj> <after>", "the House of <built>", "<two>", "<built> <after>"),
    "spot": ("<place>", "<two>", "<town>", "the village of <town>", "<town>", "the old mill of <town>"),
    "song": ('"The <Adj> <Noun>"', '"<Noun> and <Noun>"', '"My <Adj> <Noun>"', "The <Adj> <Noun>", '"<Two>"'),
    "Two": ("<two>",),
    "dish": ("<taste> <dish1>",),
    "ship": ("the <Adj> <Animal>", "the <Adj> <Noun>", "the <built>", "the <Before> <Animal>", "the <first>"),
    "Before": ("<before>",),
    "planet": ("<built>", "<built>-<n:2-99>", "<built> <roman>", "<Adj> <built>"),
    "money": ("<n:2-90> <unit>", "<n:2-30> euros", "$<n:2-99>.50", "<n:100-900> <unit>"),
    "hours": ("<n:6-11> to <n:3-9>", "<n:6-11> am to <n:2-9> pm", "<n:6-11>:30 to <n:15-22>:00", "noon to <n:5-11>"),
    "time": ("<n:5-23>:<n:10-59>", "<n:5-11>:<quarter>", "<n:2-11> o'clock", "half past <n:5-11>"),
    "model": ("<built> <n:2-900>", "<letter><letter>-<n:10-999>", "<built> <letter><n:2-9>", "<first> Plus"),
}


def _people(rng: Random) -> str:
    if rng.random() < 0.4:
        return f"{pick('words.before', rng).split()[0]} {rng.choice(('People', 'Folk', 'Clan', 'Giants', 'Tribes'))}"
    return built_name(rng) + pick("words.people_ends", rng)


def _town(rng: Random) -> str:
    return built_name(rng) + (pick("words.town_ends", rng) if rng.random() < 0.6 else "")


_FUNCTIONS: dict[str, Callable[[Random], str]] = {
    "name": lambda rng: unusual_name(rng, plain=0.5),
    "first": person_name,
    "petname": pet_name,
    "built": built_name,
    "built3": lambda rng: built_name(rng)[:3].upper(),
    "house": house_name,
    "town": _town,
    "people": _people,
    "tongue": lambda rng: built_name(rng) + pick("words.tongue_ends", rng),
    "letter": lambda rng: rng.choice("ABCDEFGHKLMNPRSTVWXZ"),
    "roman": lambda rng: rng.choice(("II", "III", "IV", "V", "VI", "IX")),
    "before": lambda rng: pick("words.before", rng),
    "after": lambda rng: pick("words.after", rng),
}


def _many(match: re.Match[str]) -> str:
    plural = _MANY[match[0].lower()]
    return capital(plural) if match[0][0].isupper() else plural


def value(template: str, rng: Random) -> str:
    """The template with each of its places drawn."""

    def drawn(match: re.Match[str]) -> str:
        kind = match[1]
        if kind.startswith("n:"):
            low, high = kind[2:].split("-")
            return str(rng.randint(int(low), int(high)))
        if kind in _FUNCTIONS:
            return _FUNCTIONS[kind](rng)
        if kind in _MADE:
            return value(rng.choice(_MADE[kind]), rng)
        small = kind[:1].lower() + kind[1:]
        text = value(pick(f"words.{_SIMPLE[small]}", rng), rng)
        return text if kind == small else " ".join(map(capital, text.split()))

    return _PLURALS.sub(_many, _VOWEL.sub(r"\1n ", _PLACE.sub(drawn, template)))


@dataclass
class Fact:
    """One thing that the prompt says: its words, how it is told, and questions with their answers."""

    topic: str
    tag: str
    the: str
    words: dict[str, str]
    tells: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def says(self, rng: Random, whole: bool = False) -> str:
        """An answer to the first questions; a whole sentence about oneself if asked for, or nothing."""
        found = [say for say in self.pairs[0][1] if not whole or say.startswith(("I ", "I'm ", "My "))]
        return filled(rng.choice(found), self.words) if found else ""


def made_fact(topic: str, made: str, fields: tuple[tuple[str, ...], ...], rng: Random, **more: str) -> Fact:
    """A fact of a row: tells, then questions and answers by turns."""
    mark, name, tag = re.fullmatch(r"([!+=*]*)([^@]+)@?(.*)", topic).groups()  # type: ignore[union-attr]
    words = {key: value(part, rng) for key, part in zip("vw", made.split(" ; "), strict=False)} | more
    words |= {key.upper(): capital(words[key]) for key in ("v", "w") if key in words}
    tells, pairs = fields[0], list(zip(fields[1::2], fields[2::2], strict=True))
    if "*" not in mark:
        common = "a_person" if "!" in mark else "a_plural" if "+" in mark else "a_thing"
        own, mine = ("the", "the") if "=" in mark else ("your", "my")
        told, asks, says = (tuple(s.replace("{t}", name) for s in part) for part in rows(TABLE["common"][common])[0])
        tells += tuple(capital(tell.replace("{own}", own)) for tell in told)
        asks = tuple(ask.replace("{own}", own) for ask in asks)
        says = tuple(capital(say.replace("{mine}", mine)) for say in says)
        pairs[0] = (pairs[0][0] + asks, pairs[0][1] + says)
    the = "" if "*" in mark else "the" if "=" in mark else "my"
    return Fact(name, tag or name, the, words, tells, tuple(pairs))


@cache
def _group(name: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    return rows(TABLE["facts"][name])


_KEYS = ("names", "names", "colour", "colour", "kept", "maker", "price", "made_of")


def _belonging(rng: Random, key: str = "") -> Fact:
    """Something of one's own: its name, colour, place, maker or price; a person one knows; a favourite."""
    kind = {"": rng.random(), "a_person": 0.0, "a_favourite": 0.5}.get(key, 1.0)
    if kind < 0.3:
        thing, key, made = pick("belongings.persons", rng), "a_person", "<name>"
    elif kind < 0.55:
        thing, made = pick("belongings.favourites", rng).split("=")
        key = "a_favourite"
    else:
        key = key or rng.choice(_KEYS)
        thing, made = pick("belongings.named" if key == "names" else "belongings.things", rng), "<name>"
    (template,), *fields = rows(TABLE["belongings"][key])[0]
    many = thing in _PLURAL
    verbs = {"is": "are", "was": "were", "It": "They"} if many else {"is": "is", "was": "was", "It": "It"}
    verbs |= {"a": "some" if many else "a", "t": thing}
    return made_fact(f"*{thing}@{key} {thing}", made if template == "<made>" else template, tuple(fields), rng, **verbs)


def _drawn_fact(group: str, rng: Random) -> Fact:
    kind = rng.random()
    also = words_of(f"besides.{group}")
    groups = [group] if group in TABLE["facts"] else list(also)
    if kind > 0.72:
        return _belonging(rng)
    (topic,), (made,), *fields = rng.choice(_group(rng.choice(groups if kind < 0.5 else also)))
    return made_fact(topic, made, tuple(fields), rng)


_PLACES = {"home", "seat", "house", "stage", "ground"}


def _taken(facts: list[Fact]) -> set[str]:
    """What more facts may not be about: two homes would answer one question."""
    taken = {fact.tag for fact in facts} | {fact.topic for fact in facts}
    return taken | {"home", "seat"} if taken & {"home", "seat"} else taken


def _is_belonging(fact: Fact) -> bool:
    return fact.tag.startswith(tuple(f"{key} " for key in _CLASSES))


def drawn_facts(group: str, count: int, rng: Random) -> list[Fact]:
    """So many facts of different kinds as a character of the group may have; now and then two of one class."""
    found: list[Fact] = []
    while len(found) < count:
        key = next((key for fact in found for key in _CLASSES if fact.tag.startswith(f"{key} ")), "")
        fact = _belonging(rng, key) if key and rng.random() < 0.25 else _drawn_fact(group, rng)
        if not {fact.tag, fact.topic} & _taken(found):
            found.append(fact)
    rng.shuffle(found)
    return found


@dataclass
class Character:
    """Whom the system prompt makes of the model."""

    group: str
    words: dict[str, str]
    facts: list[Fact] = field(default_factory=list)
    system: str = ""
    told: dict[str, list[Fact]] = field(default_factory=dict)


def _named(group: str, role: str, rng: Random) -> str:
    if group == "pet":
        return pet_name(rng)
    if group == "ruler" and role in ("queen", "king", "empress", "emperor", "duchess", "sultan") and rng.random() < 0.6:
        return f"{capital(role)} {built_name(rng)}"
    return bot_name(rng) if group == "device" and rng.random() < 0.3 else unusual_name(rng, plain=0.5)


def character(rng: Random, group: str = "") -> Character:
    """A character without a prompt."""
    group = group or rng.choice((*TABLE["roles"], *_HEAVY))
    role, deed = pick(f"roles.{group}", rng).split("=")
    other = role
    while other == role:
        other = pick(f"roles.{rng.choice(tuple(TABLE['roles']))}", rng).split("=")[0]
    name, other_name = _named(group, role, rng), unusual_name(rng, plain=0.6)
    yours = re.sub(r"\bmy\b", "your", re.sub(r"\bI\b", "you", deed))
    words = {"name": name, "role": role, "a_role": article(role), "deed": deed, "deed_you": yours}
    return Character(group, words | {"a_other": article(other), "other_name": other_name})


def sentences(facts: list[Fact], sort: str, name: str, rng: Random) -> list[str]:
    """Each fact in a sentence: as the sort of frame wants it."""
    found = []
    for fact in facts:
        tells = [tell for tell in fact.tells if not tell.startswith("You ")] if sort == "third" else []
        text = filled(rng.choice(tells or fact.tells), fact.words)
        if tells and text.startswith("Your "):
            text = f"{name}'s {text[5:]}"
        if sort == "listing" and "w" not in fact.words and not _is_belonging(fact):
            text = f"{capital(fact.topic)}: {fact.words['v']}"
            text = filled(f"{text}.", {}) if "{" not in text else text
        found.append(text)
    return found


def _described(person: Character, rng: Random) -> None:
    """Writes the system prompt: a frame, and the facts before or behind it."""
    sort = rng.choices(("first", "listing", "third"), (76, 12, 12))[0]
    head = filled(pick(f"frames.{sort}", rng).replace("\\n", "\n"), person.words)
    said = sentences(person.facts, sort, person.words["name"], rng)
    kind = rng.random()
    if sort == "first" and kind < 0.14 and said[0].startswith("You"):
        said[0] = f"{head[:-1]}, and y{said[0][1:]}"
    elif sort == "first" and kind < 0.3:
        said.insert(rng.randint(1, len(said)), head)
    else:
        said.insert(0, head)
    for at in range(1, len(said) - 1):
        if sort == "first" and rng.random() < 0.07 and all(s.startswith("You") for s in said[at : at + 2]):
            said[at : at + 2] = [f"{said[at][:-1]}, and y{said[at + 1][1:]}"]
            break
    if rng.random() < 0.18:
        said.append(pick("frames.tail", rng))
    text = ("\n" if "\n" in head else " ").join(said)
    person.system = text.rstrip(".") if rng.random() < 0.08 else text


def typed(pattern: str, words: dict[str, str], rng: Random) -> str:
    """A question as one of many people would type it."""
    if rng.random() < 0.55:
        pattern = re.sub(r"\bi\b(?!\}|\.)", "I", capital(pattern))
    return filled(vary(pattern, rng, lead=0.05, typo=0.03), words)


def fact_turn(fact: Fact, rng: Random) -> Turn:
    """A question about the fact, with its answer."""
    at = 0 if len(fact.pairs) == 1 else rng.randrange(len(fact.pairs))
    asks, says = fact.pairs[at]
    return typed(rng.choice(asks), fact.words, rng), filled(rng.choice(says), fact.words)


def _placed(facts: list[Fact], rng: Random) -> Fact:
    """A fact from the front, the middle or the end of the prompt, each as often."""
    parts = (facts[:1], facts[1:-1] or facts, facts[-1:])
    return rng.choice(rng.choice(parts))


_TALK = {
    "who": 24,
    "name": 22,
    "job": 14,
    "hello": 12,
    "isrole": 4,
    "notrole": 7,
    "isname": 3,
    "notname": 4,
    "human": 7,
}


def talk_turn(key: str, person: Character, rng: Random) -> Turn:
    """A question that can be asked of anybody."""
    ask, say = f"talk.{key}", f"talk.{key}_say"
    if key == "human" and person.group in _NOT_HUMAN and rng.random() < 0.7:
        ask, say = "talk.human_no_ask", "talk.human_no"
    words = dict(person.words)
    if more := [text for fact in person.facts if (text := fact.says(rng, whole=True))]:
        words["more"] = rng.choice(more)
    fitting = [pattern for pattern in words_of(say) if set(_FIELD.findall(pattern)) <= set(words)]
    said = filled(rng.choice(fitting), words)
    while len(said.split()) > 24:
        said = filled(rng.choice([pattern for pattern in fitting if "{more}" not in pattern]), words)
    return typed(pick(ask, rng), words, rng), said


def _unknown_turn(person: Character, rng: Random) -> Turn:
    """A question about something that the prompt does not say."""
    taken = _taken(person.facts) | {"place", "offer", "line"}
    taken |= _PLACES if taken & _PLACES else set()
    while (fact := _drawn_fact(person.group, rng)).tag in taken or fact.topic in taken or "w" in fact.words:
        pass
    words = {**person.words, "the": fact.the, "topic": fact.topic}
    says = [say for say in words_of("talk.unknown_say") if fact.the or "{topic}" not in say]
    return typed(rng.choice(fact.pairs[0][0]), fact.words, rng), filled(rng.choice(says), words)


def role_turns(person: Character, count: int, rng: Random) -> list[Turn]:
    """So many different questions about the character and what the prompt says of it."""
    turns: list[Turn] = []
    asked: set[str] = set()
    while len(turns) < count:
        kind = rng.random()
        if kind < 0.06:
            turns.append(_unknown_turn(person, rng))
            continue
        fact = _placed(person.facts, rng)
        key = fact.tag if kind < 0.72 else rng.choices(tuple(_TALK), tuple(_TALK.values()))[0]
        if key not in asked:
            asked.add(key)
            turns.append(fact_turn(fact, rng) if kind < 0.72 else talk_turn(key, person, rng))
    if count > 1 and rng.random() < 0.06:
        turns[-1] = talk_turn("thanks", person, rng)
    return turns


def whole_character(rng: Random, group: str = "") -> Character:
    """A character with two to five facts and its system prompt."""
    person = character(rng, group)
    person.facts = drawn_facts(person.group, rng.choices((2, 3, 4, 5), (20, 36, 28, 16))[0], rng)
    _described(person, rng)
    return person
