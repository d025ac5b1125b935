"""Characters of a system prompt: name, role, what the role says of itself, likings, facts, and the prompt's wording.

The roles are written in roles.toml, the shops in houses.toml, the wordings in characters.toml.
"""

import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

from weights.data.own.characters import personas
from weights.data.own.characters.character_facts import Fact, any_fact, kinds, prices
from weights.data.own.phrasing import lower
from weights.data.own.tables import entries, read_tables
from weights.data.own.unusual_names import bot_name, house_name, unusual_name

_T = read_tables(__file__)
_HOUSES = read_tables(str(Path(__file__).with_name("houses.py")))
_NAMED_LATER = re.compile(r"\{role\}[^.]* (?:named|called|whose)|As \{role\}")
FRAMES = (*read_tables(personas.__file__)["frames"], *_T["frames"])
# A role with something behind its noun must not be followed by "named X".
_LONG_FRAMES = tuple(frame for frame in FRAMES if not _NAMED_LATER.search(frame))
# Not those that ask for short answers: kept_instructions keeps them, and here nobody would.
_STYLES = tuple(
    s for s in read_tables(personas.__file__)["styles"] if not re.search("short|brief|concise|one sentence", s, re.I)
)
_BOT_FACTS = ("maker", "favourite", "secret", "lucky", "friend", "boss", "languages", "task", "age", "home")


@dataclass(frozen=True)
class Role:
    """What a role says of itself."""

    noun: str
    days: tuple[str, ...]
    likes: tuple[str, ...]
    offers: tuple[str, ...]
    tips: tuple[str, ...]
    hellos: tuple[str, ...]
    byes: tuple[str, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Character:
    """Who a system prompt makes of the model: `name` or `role` ("a baker") is empty where it is not given."""

    name: str
    role: str
    lines: Role
    likes: tuple[str, ...]
    facts: tuple[Fact, ...]
    system: str
    house: str = ""
    kind: str = ""
    hidden: str = ""
    manner: bool = False

    @property
    def who(self) -> str:
        """Name and role, as far as they were given: "Ada, a baker"."""
        return ", ".join(part for part in (self.name, self.role) if part)


@cache
def roles() -> tuple[Role, ...]:
    """All written roles."""
    tables = tomllib.loads(Path(__file__).with_name("roles.toml").read_text(encoding="utf-8"))
    found = []
    for text in tables.values():
        for block in text.strip().split("\n\n"):
            noun, *lines = block.splitlines()
            found.append(Role(noun, *(entries(line) for line in lines)))
    return tuple(found)


@cache
def likings() -> tuple[str, ...]:
    """Everything that a role or anyone else loves."""
    loved = (like for role in roles() for like in role.likes if " my " not in f" {like}")
    return (*dict.fromkeys(loved), *_T["likings"])


def article(noun: str) -> str:
    """The noun with "a" or "an"."""
    vowel = noun.startswith("hon") or (noun[0].lower() in "aeio" and not noun.startswith(("one", "eu")))
    return f"{'an' if vowel else 'a'} {noun}"


def _joined(text: str, more: str) -> str:
    return f"{text}{'' if text[-1] in '.!?:' else '.'} {more}"


def _told(fact: Fact, third: bool, rng: Random) -> str:
    return rng.choice(fact.others if third else fact.tells)


def _prompt(start: str, character: Character, more: list[str], rng: Random) -> str:
    """The wording of the system prompt: its first sentence, what else it tells, and a style."""
    third = bool(character.name) and rng.random() < 0.15
    sentences = [*more, *(_told(fact, third, rng) for fact in character.facts)]
    rng.shuffle(sentences)
    if rng.random() < 0.25:
        sentences.append(rng.choice(_STYLES))
    if sentences and rng.random() < 0.1:
        first = sentences.pop(0)
        return " ".join([_joined(first, start), *sentences])
    text = start
    for sentence in sentences:
        text = _joined(text, sentence)
    return text.rstrip(".") if rng.random() < 0.06 else text


def _sheet(character: Character, like: str, rng: Random) -> str:
    """The system prompt as a list of lines."""
    rows = [f"Name: {character.name}"] if character.name else []
    rows += [f"{rng.choice(('Role', 'Role', 'Job', 'Character'))}: {character.role}"] if character.role else []
    rows += [f"Likes: {like}"] if like else []
    rows += [fact.label for fact in character.facts]
    mark = rng.choice(("", "", "- ", "* "))
    head = rng.choice(("", "", "Character:\n", "You are this character:\n", "Play this role.\n", "Persona\n"))
    return head + "\n".join(mark + row for row in rows)


def _facts(names: tuple[str, ...], rng: Random, who: str = "person", **words: str) -> tuple[Fact, ...]:
    count = rng.choices((0, 1, 2, 3), (42, 30, 18, 10))[0]
    return tuple(any_fact(who, kind, rng, **words) for kind in rng.sample(names, count))


def _person(rng: Random) -> Character:
    """A name and a role, or seldom a role alone."""
    role = rng.choice(roles())
    name = "" if rng.random() < 0.1 else unusual_name(rng)
    phrase = role.noun if rng.random() < 0.6 else f"{rng.choice(_T['adjectives'])} {role.noun}"
    names = tuple(kind for kind in kinds("person") if kind != "maker")
    facts = list(_facts(names, rng, name=name or "the " + role.noun))
    shown, long = article(phrase), ""
    if rng.random() < 0.2:
        origin = any_fact("person", "origin", rng, name=name)
        if not {fact.kind for fact in facts} & {"origin", "home"}:
            shown += f" from {origin.values[0]}"
            facts.append(replace(origin, tells=(), others=(), label=""))
    like = rng.choice(likings()) if rng.random() < 0.35 else ""
    more, told = [], tuple(fact for fact in facts if fact.tells)
    if like and rng.random() < 0.6:
        long = f" who {rng.choice(('loves', 'loves', 'likes', 'adores'))} {like}"
    elif like:
        more.append(rng.choice(("You love {x}.", "You like {x}.", "You are fond of {x}.")).format(x=like))
    character = Character(name, shown, role, (like,) if like else role.likes, told, "")
    if rng.random() < 0.06:
        return replace(character, system=_sheet(character, like, rng), facts=tuple(facts))
    manner = bool(role.words) and bool(name) and rng.random() < 0.25
    if manner:
        frames = _T["manner_frames"]
        shown, long = article(role.noun), ""
        character = replace(character, role=shown, likes=(like,) if more else role.likes)
        facts = list(told)
    else:
        frames = (_LONG_FRAMES if long else FRAMES) if name else read_tables(personas.__file__)["role_frames"]
    start = _start(rng.choice(frames), rng, name=name, role=shown + long)
    return replace(character, system=_prompt(start, character, more, rng), facts=tuple(facts), manner=manner)


def _start(frame: str, rng: Random, **words: str) -> str:
    if rng.random() < 0.08:
        frame = lower(frame)
    text = frame.format(**words, br="\n")
    return (text[:1].upper() + text[1:] if frame[0] == "{" else text).replace("..", ".")


def _named(rng: Random) -> Character:
    """A name alone: an assistant that says so, and no more."""
    name = bot_name(rng) if rng.random() < 0.35 else unusual_name(rng)
    lines = Role("assistant", *(_T[f"bot_{key}"] for key in ("days", "likes", "offers", "tips", "hellos", "byes")))
    facts = _facts(_BOT_FACTS, rng, name=name)
    character = Character(name, "", lines, lines.likes, facts, "")
    start = _start(rng.choice(read_tables(personas.__file__)["name_frames"]), rng, name=name)
    return replace(character, system=_prompt(start, character, [], rng))


def _house(rng: Random) -> Character:
    """Someone who speaks for a shop or another house."""
    kind, does, offer, things = rng.choice(_rows())
    house = house_name(rng)
    name = "" if rng.random() < 0.3 else (bot_name(rng) if rng.random() < 0.5 else unusual_name(rng))
    fill = {"house": house, "kind": kind}

    def said(key: str) -> tuple[str, ...]:
        return tuple(text.format(**fill) for text in _HOUSES[key])

    days = (*said("days"), does, does)
    lines = Role("assistant", days, said("likes"), (offer,), said("tips"), said("hellos"), said("byes"))
    facts, hidden = list(_facts(kinds("house"), rng, "house", **fill)), ""
    if rng.random() < 0.4:
        price, hidden = prices(things, rng)
        facts.append(price)
    desk, inline = rng.choice(_HOUSES["desks"]), rng.random() < 0.5
    role = f"{desk} {'the ' + kind + ' ' if inline else ''}{house}"
    more = [] if inline else [f"{house} is {article(kind)}."]
    if not inline and rng.random() < 0.4:
        more = [f"{more[0]} {does.replace('We ', 'They ', 1)}".replace(" our ", " their ")]
    character = Character(name, role, lines, lines.likes, tuple(facts), "", house, kind, hidden)
    frames = _LONG_FRAMES if name else read_tables(personas.__file__)["role_frames"]
    return replace(
        character, system=_prompt(_start(rng.choice(frames), rng, name=name, role=role), character, more, rng)
    )


@cache
def _rows() -> tuple[tuple[str, str, str, str], ...]:
    lines = (
        tomllib.loads(Path(__file__).with_name("houses.toml").read_text(encoding="utf-8"))["rows"].strip().splitlines()
    )
    return tuple((kind, does, offer, things) for kind, does, offer, things in (line.split("|") for line in lines))


def any_character(rng: Random) -> Character:
    """A person with a role, the voice of a house, or a name alone."""
    return rng.choices((_person, _house, _named), (70, 18, 12))[0](rng)
