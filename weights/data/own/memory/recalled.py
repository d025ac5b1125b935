"""Things the user tells over one to three turns and asks for later, a third of them put right in between. Torch-free.

told.py has few kinds of facts in many wordings; here most facts are small grammars of several values, so that only
looking back can answer. Lists are recalled_lists.py's; a quarter of the conversations asks back about an answer just
given (recalled_answers.py).
"""

from functools import partial
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.knowledge import arithmetic, definitions
from weights.data.own.memory import recalled_answers, recalled_lists
from weights.data.own.memory.recalled_values import (
    Told,
    draw,
    fitting,
    letters,
    lines,
    other,
    places,
    read,
    spelled,
    value,
)
from weights.data.own.memory.told_values import Words, filled, said, typed, wordings
from weights.data.own.names import built_name, person_name
from weights.data.own.phrasing import Conversation, talk
from weights.data.own.shell import shell

_T = read("recalled")
_FACTS: dict[str, dict[str, Any]] = _T["fact"]
_TALK: dict[str, str] = _T["talk"]
_NAMES = ("person", "pet_name", "titled", "unusual")
_COLOURS = ("coat_hue", "hue")
_PLANS = ("wday", "day", "oclock", "amount", "number", "spot_at", "platform", "ticket_no", "digit", "every", "grams")
# Kinds that are never put right: what is asked for hangs on them.
_KEPT = ("do_thing", "do_person", "either", "animals", "pet", "news", "fault_word", "code_thing", "brew", "family")
_ALIKE = {"wday": "day", "number": "amount", "code": "amount", "age": "amount", "small": "amount", "digit": "amount"}
# Facts of which a question about one could be about the other: they are not told together.
_NEAR = (
    {"plan_thing", "plan_person", "two_plans", "event", "club", "deadline", "classes", "pills", "plants"},
    {"two_pets", "pet_tastes", "pet_fear", "two_objects", "same_objects", "outfits", "bought", "lent", "hidden"},
    {"journey", "seat", "bus", "parking", "plan_person", "learned"},
    {"heard", "two_heard"},
    {"favourite", "two_favourites"},
    {"drink_way", "order", "recipe", "pet_tastes"},
    {"kin_job", "two_kin", "kin_age", "kin_hobby", "near", "gifts"},
)
_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "Answer briefly.",
    "Answer in one sentence.",
)


def _group(kind: str) -> str:
    return "name" if kind in _NAMES else "colour" if kind in _COLOURS else _ALIKE.get(kind, kind)


def _kinds_of(key: str) -> frozenset[str]:
    return frozenset({key}.union(*(group for group in _NEAR if key in group)))


def _is_single(slot: str, slots: dict[str, str], known: set[str]) -> bool:
    """Whether nothing else of what was told could be meant by a value of this kind."""
    return [_group(slots[name]) for name in known].count(_group(slots[slot])) == 1


def _sorry(kind: str, old: str, new: str, single: bool, rng: Random) -> list[str]:
    """The user puts a value right, and the model takes it."""
    frames = ["fix_name"] if kind in _NAMES else ["fix", "fix_colour"] if kind in _COLOURS else ["fix"]
    frames += ["fix_plan"] if kind in _PLANS else []
    frames += ["fix_one"] if single and kind not in _COLOURS else []
    asks = [text for text in wordings(_TALK[rng.choice(frames)]) if single or "{o}" in text]
    words = {"x": new, "o": old}
    takes = [text for text in wordings(_TALK["fixed"]) if kind != "code" or "{X}" not in text]
    return [typed(" / ".join(asks), words, rng, lead=0), said(" / ".join(takes), words, rng)]


def _spelling(old: str, rng: Random) -> tuple[str, list[str]] | None:
    """A name written another way: the new one, and the turns that say so."""
    found = spelled(old, rng)
    if found is None:
        return None
    words = {"x": found[0], "z": found[1], "o": old, "s": letters(found[0])}
    return found[0], [typed(_TALK["fix_spell"], words, rng, lead=0), said(_TALK["fixed"], words, rng)]


def _questions(fact: dict[str, Any], known: set[str], fixed: str) -> list[tuple[str, str]]:
    """The questions that what was told can answer; those about the value put right, if there is one."""
    found = []
    for asks, says in lines(fact["asks"]):
        asks = fitting(asks, fact["slots"], known, lacks=fixed)
        says = fitting(says, fact["slots"], known, needs=fixed)
        if asks and says:
            found.append((asks, says))
    return found


def _ask_fact(fact: dict[str, Any], words: Words, known: set[str], fixed: str, rng: Random) -> list[str]:
    slots = fact["slots"]
    singles = [slot for slot in known if _is_single(slot, slots, known) and slots[slot] not in _KEPT]
    if singles and rng.random() < 0.07:
        slot = fixed if fixed in singles else rng.choice(sorted(singles))
        now = {"x": words[slot]}
        if rng.random() < 0.5:
            return [typed(_TALK["check"], now, rng), said(_TALK["yes"], now, rng)]
        wrong = other(slots[slot], words.values(), rng)
        return [typed(_TALK["check"], {"x": wrong}, rng), said(_TALK["no"], {**now, "o": wrong}, rng)]
    about = _questions(fact, known, fixed) if fixed and rng.random() < 0.85 else []
    asks, says = rng.choice(about or _questions(fact, known, ""))
    return [typed(asks, words, rng), said(says, words, rng)]


def _fact(rng: Random, fix: float = 0.36) -> Told:
    """One fact of several values, now and then with one of them put right."""
    key = rng.choice(tuple(_FACTS))
    fact = _FACTS[key]
    slots, words = fact["slots"], draw(fact["slots"], rng)
    tell = rng.choice(wordings(fact["tell"]))
    known = places(tell, slots) & set(slots)
    turns = [typed(tell, words, rng), said(fitting(fact["got"], slots, known), words, rng)]
    can = sorted(slot for slot in known if slots[slot] not in _KEPT and _questions(fact, known, slot))
    fixed = rng.choice(can) if can and rng.random() < fix else ""
    if fixed:
        kind, old = slots[fixed], words[fixed]
        spelling = _spelling(old, rng) if kind in ("person", "pet_name") and rng.random() < 0.4 else None
        if spelling:
            words[fixed], more = spelling
        else:
            words[fixed] = other(kind, words.values(), rng)
            more = _sorry(kind, old, words[fixed], _is_single(fixed, slots, known), rng)
        turns += more
    rows = [(topic, asks) for topic, asks in lines(fact["untold"]) if places(topic + asks, slots) <= known]
    topic, asks = rng.choice(rows) if rows else ("", "")
    unknown = (filled(topic, words), filled(asks, words)) if rows else None
    about = _kinds_of(key) | {words[slot] for slot in known}
    return Told(turns, partial(_ask_fact, fact, words, known, fixed), unknown, bool(fixed), about)


def _favourite_words(rng: Random) -> tuple[Words, str]:
    table = _T["favourite"]
    kind, source = rng.choice(wordings(table["kinds"])).split("=")
    name = {"k": value("family", rng), "m": value("person", rng)}
    whose = filled(rng.choice(wordings(table["whose"])), name)
    theirs = f"your{whose.removeprefix('my')}" if whose.startswith("my") else whose
    words = {"f": kind, "w": whose, "y": theirs, "x": value(source, rng)}
    return {**words, "o": other(source, [words["x"]], rng)}, source


def _ask_favourite(words: Words, rng: Random) -> list[str]:
    return [typed(_T["favourite"]["ask"], words, rng), said(_T["favourite"]["say"], words, rng)]


def _favourite(rng: Random) -> Told:
    table = _T["favourite"]
    words, source = _favourite_words(rng)
    tells = [text for text in wordings(table["tell"]) if words["w"] == "my" or "ask me" not in text]
    turns = [typed(" / ".join(tells), words, rng), said(table["got"], words, rng)]
    fixed = rng.random() < 0.36
    if fixed:
        new = other(source, [words["x"], words["o"]], rng)
        turns += _sorry(source, words["x"], new, True, rng)
        words["x"] = new
    untold = rng.choice([kind.split("=")[0] for kind in wordings(table["kinds"]) if kind.split("=")[0] != words["f"]])
    asks = filled(table["ask"], {"w": words["w"], "f": untold})
    return Told(
        turns, partial(_ask_favourite, words), (f"{words['y']} favourite {untold}", asks), fixed, _kinds_of("favourite")
    )


def _ask_me(words: Words, rng: Random) -> list[str]:
    table = _T["me"]
    if rng.random() < 0.2:
        return [typed(table["spelling"], words, rng), said(table["spelled"], words, rng)]
    return [typed(table["ask"], words, rng), said(table["say"], words, rng)]


def _me(rng: Random) -> Told:
    """The user's name, half of the time put right: another one to be called by, or another spelling."""
    table, old = _T["me"], person_name(rng).split(" ")[0]
    words = {"x": old, "n": old, "s": letters(old)}
    turns = [typed(table["tell"], words, rng), said(table["got"], words, rng)]
    fixed = rng.random() < 0.6
    if fixed:
        new = spelled(old, rng) if rng.random() < 0.5 else None
        name = new[0] if new else other("person", [old], rng) if rng.random() < 0.5 else built_name(rng)[:4]
        words = {"x": old, "o": old, "n": name, "s": letters(name), "z": new[1] if new else ""}
        turns += [typed(table["spell" if new else "call"], words, rng, lead=0), said(table["fixed"], words, rng)]
    return Told(turns, partial(_ask_me, words), None, fixed)


def _between(rng: Random) -> list[str]:
    """No, one or two turns about something else."""
    turns: list[str] = []
    for _ in range(rng.choices((0, 1, 2), (58, 30, 12))[0]):
        kind = rng.random()
        if kind < 0.4:
            turns += definitions.exchange(rng)
        elif kind < 0.7:
            turns += [message.content for message in arithmetic.one(rng) if message.role != "system"][:2]
        else:
            turns += shell.exchange(rng)[:2]
    return turns


def _untold(told: Told, rng: Random) -> list[str]:
    """A question that nothing told can answer."""
    topic, asks = told.unknown if told.unknown and rng.random() < 0.6 else rng.choice(lines(_TALK["untold"]))
    return [typed(asks, {}, rng), capital(said(_TALK["unknown"], {"t": topic}, rng))]


def _told_one(rng: Random) -> Told:
    return rng.choices((_fact, _favourite, _me, recalled_lists.told), (66, 10, 5, 19))[0](rng)


def _remembered(rng: Random) -> list[str]:
    """One or two things told, turns about something else, and one or two questions."""
    told = [_told_one(rng)]
    if len(told[0].turns) < 5 and rng.random() < 0.3:
        second = _fact(rng, fix=0.15)
        while second.about & told[0].about:
            second = _fact(rng, fix=0.15)
        told.append(second)
    turns = [text for thing in told for text in thing.turns]
    if len(turns) < 6 and rng.random() < 0.06:
        turns = [typed(_TALK["remember"], {}, rng), said(_TALK["ready"], {}, rng), *turns]
    turns += _between(rng)
    asked = next((thing for thing in told if thing.fixed), None) if rng.random() < 0.7 else None
    asked = asked or rng.choice(told)
    if rng.random() < 0.125:
        return [*turns, *_untold(asked, rng)]
    turns += asked.ask(rng)
    if rng.random() < 0.22:
        again = rng.choice(told).ask(rng)
        turns += again if again[1] != turns[-1] else []
    if rng.random() < 0.04:
        turns += [typed(_TALK["thanks"], {}, rng, lead=0), said(_TALK["thanked"], {}, rng)]
    return turns


def one(rng: Random) -> Conversation:
    """One conversation of which the last answer needs an earlier turn."""
    turns = recalled_answers.turns(rng) if rng.random() < 0.25 else _remembered(rng)
    return talk(*turns, system=rng.choice(_SYSTEMS) if rng.random() < 0.07 else "")
