"""System prompts of several sentences that describe a role and its small world, and questions about it. Torch-free.

What is asked stands in the prompt, and the answer copies it; now and then a rule of the prompt shapes the answer.
"""

from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.memory.told_values import Words, expanded, filled, read, said, typed, value, wordings
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.talk.situations import one_of
from weights.data.own.unusual_names import house_name, unusual_name

_T = read("told_worlds")
_RULE: dict[str, str] = _T["rule"]
_WORDED = ("end", "start", "call")
_CLAIMS = ("is it true that {q}?", "right or wrong: {q}?", "{q}, right?", "{q}, is that so?", "do I see it right: {q}?")
# Sentences of a prompt that a user could say in the same words.
_CLAIMED = ("owner", "closed", "price", "address", "where", "floor", "year", "wait")
_FOOD = ("café", "restaurant", "tea room", "coffee house", "inn", "tavern", "hotel", "ship", "bakery")


@dataclass
class World:
    """The words of a role, the particulars told of its world, and the system prompt that tells them."""

    words: Words
    known: list[tuple[str, Words]] = field(default_factory=list)
    system: str = ""


@cache
def _kinds() -> tuple[tuple[tuple[str, ...], ...], ...]:
    lines = _T["worlds"]["list"].strip().splitlines()
    return tuple(tuple(tuple(part.split("|")) for part in line.split(" :: ")) for line in lines)


def _fits(key: str, kind: str) -> bool:
    only = _T["know"][key].get("only")
    return only is None or (kind in _FOOD if only == "restaurant" else kind in ("tavern", "forge", "castle", "village"))


def _known(key: str, base: Words, items: tuple[str, ...], rng: Random) -> Words:
    words = dict(base)
    for slot, source in _T["know"][key]["slots"].items():
        words[slot] = expanded(rng.choice(items), rng) if source == "item" else value(source, rng)
    if key == "route":
        while words["y"] == words["x"]:
            words["y"] = value("stops", rng)
    return words


def _world(rng: Random) -> World:
    """A role with two to four sentences about its world, in one prompt."""
    roles, houses, helps, items = rng.choice(_kinds())
    role, kind = rng.choice(roles), rng.choice(houses)
    other = rng.choice([r for row in _kinds() for r in row[0] if r not in roles])
    words = {"role": role, "kind": kind, "help": rng.choice(helps), "other": other, "house": house_name(rng)}
    words |= {"town": value("town", rng), "role_word": value("role_word", rng)}
    named = rng.random() < 0.65
    if named:
        words["name"] = unusual_name(rng, plain=0.6)
    frame = rng.choice(wordings(_T["open"]["named" if named else "plain"]))
    parts = [filled(frame, words)]
    world = World(words)
    if "{town}" not in frame:
        del words["town"]
    keys = [key for key in _T["know"] if _fits(key, kind)]
    for key in rng.sample(keys, rng.choices((1, 2, 3), (40, 40, 20))[0]):
        known = _known(key, words, items, rng)
        world.known.append((key, known))
        parts.append(capital(filled(rng.choice(wordings(_T["know"][key]["in"])), known)))
    if rng.random() < 0.45:
        parts.append(filled(rng.choice(wordings(_T["open"]["help"])), words))
    else:
        del words["help"]
    head, rest = parts[0], parts[1:]
    rng.shuffle(rest)
    world.system = " ".join([head, *rest])
    return world


def _pair(table: dict[str, Any], slot: str, words: Words, rng: Random) -> tuple[str, str, str]:
    """Question, answer, and the bare value."""
    end = "" if slot == "x" else f"_{slot}"
    says = [text for text in wordings(table[f"say{end}"]) if "{name}" not in text or "name" in words]
    return typed(table[f"ask{end}"], words, rng), said(" / ".join(says), words, rng), words.get(slot, "")


def _base_keys(words: Words) -> list[str]:
    keys = ["role", "notrole", "isrole", "place", "place"]
    return keys + [key for key in ("name", "town", "help") if key in words]


def _asked(world: World, rng: Random) -> tuple[str, str, str]:
    if rng.random() < 0.3:
        return _pair(_T["base"][rng.choice(_base_keys(world.words))], "x", world.words, rng)
    key, words = rng.choice(world.known)
    table = _T["know"][key]
    slots = ["x"] + [name.removeprefix("ask_") for name in table if name.startswith("ask_")]
    return _pair(table, rng.choice(slots), words, rng)


def _yes_or_no(world: World, rng: Random) -> tuple[str, str]:
    plain = [(key, words) for key, words in world.known if key in _CLAIMED]
    key, words = rng.choice([*plain, ("", world.words)])
    true = rng.random() < 0.5
    if not key:
        return typed(_T["base"]["isrole" if true else "notrole"]["ask"], world.words, rng), "Yes." if true else "No."
    table = _T["know"][key]
    asked = dict(words)
    if not true:
        source = table["slots"]["x"]
        while asked["x"] == words["x"]:
            asked["x"] = value("price" if source == "item" else source, rng)
    frames = [text for text in wordings(table["in"]) if ":" not in text and "ou" not in text.split()[0]]
    claim = filled(rng.choice(frames), asked).rstrip(".")
    small = claim if claim.startswith(asked["x"]) else claim[:1].lower() + claim[1:]
    ask = rng.choice(_CLAIMS)
    return ask.replace("{q}", small), "Yes." if true else "No."


def _ruled(world: World, rng: Random) -> Conversation:
    """One or two questions under a rule that every answer keeps."""
    rule = rng.choice(("end", "start", "call", "upper", "lower", "few", "yesno"))
    word = (
        filled(rng.choice(wordings(_RULE[f"{rule}_words"])), {"built": value("built", rng)}) if rule in _WORDED else ""
    )
    limit = rng.choice((5, 6, 8))
    sentence = filled(one_of(rng.choice(wordings(_RULE[rule])), rng), {"x": word or str(limit), "more": str(limit + 1)})
    turns: list[str] = []
    for _ in range(rng.choice((1, 1, 2))):
        if rule == "yesno":
            turns += _yes_or_no(world, rng)
            continue
        ask, answer, bare = _asked(world, rng)
        while rule == "few" and len(answer.split()) > limit:
            ask, answer, bare = _asked(world, rng)
            if bare and len(bare.split()) <= limit:
                answer = f"{capital(bare)}."
        turns += [ask, _kept(rule, answer, word)]
    return talk(*turns, system=f"{world.system} {sentence}")


def _kept(rule: str, answer: str, word: str) -> str:
    if rule == "end":
        return f"{answer} {word}"
    if rule == "start":
        return f"{word} {answer}"
    if rule == "call":
        mark = answer[-1] if answer[-1] in ".!?" else ""
        return f"{answer.removesuffix(mark) if mark else answer}, {word}{mark or '.'}"
    return answer.upper() if rule == "upper" else answer.lower() if rule == "lower" else answer


def one(rng: Random) -> Conversation:
    """One to three questions about a world, one in six under a rule."""
    world = _world(rng)
    if rng.random() < 0.18:
        return _ruled(world, rng)
    system = world.system
    if rng.random() < 0.25:
        system = f"{system} {rng.choice(wordings(_RULE['free']))}"
    turns = [_asked(world, rng) for _ in range(rng.choices((1, 2, 3), (55, 32, 13))[0])]
    return talk(*(text for turn in turns for text in turn[:2]), system=system)
