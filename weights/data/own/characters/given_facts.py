"""Whatever fact the system prompt gives: some hundred nouns, frames and values, freely put together. Torch-free.

Neighbours list facts; here any noun may meet any fitting frame and an open value, with others of its kind beside it,
so that only reading the prompt and copying what belongs to the asked noun can be right. What is not given stays open.
"""

import re
from dataclasses import dataclass, field
from random import Random

from weights.data.own.asking import capital
from weights.data.own.characters.given_facts_frames import (
    FRAMES,
    HOUSE,
    KINDS,
    PERSON,
    Fact,
    answer,
    checked,
    clash,
    fact_of,
    frames_with_nouns,
    in_small_letters,
    question_of,
    rule_of,
    said,
    told,
    told_both,
    topic,
)
from weights.data.own.characters.given_facts_values import filled, table, value
from weights.data.own.memory.told_values import Words
from weights.data.own.names import built_name, person_name
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.unusual_names import unusual_name

_VERB = re.compile(r"<(\w+)>")
_ODD = {"have": "has", "are": "is", "were": "was", "do": "does", "go": "goes"}
_STAYS_AT = {"home", "work_in", "born_in", "grew_up"}
Turn = tuple[str, str]


@dataclass
class Scene:
    """Who the prompt makes of the model, what it tells, and how it is written."""

    kind: str
    words: Words
    facts: list[Fact] = field(default_factory=list)
    system: str = ""

    @property
    def placed(self) -> bool:
        return self.kind in ("desk", "desk_named", "note_desk")

    @property
    def name(self) -> str:
        return self.words.get("name", "")


def _scene(rng: Random) -> Scene:
    kinds = ("named", "run", "bare", "desk", "desk_named", "third", "note", "note_desk")
    kind = rng.choices(kinds, (36, 9, 10, 18, 5, 9, 8, 5))[0]
    words: Words = {"role": value("role", rng), "run": value("run", rng), "town": value("town", rng)}
    if kind in ("named", "run", "third", "note", "desk_named"):
        words["name"] = unusual_name(rng, plain=0.6) if rng.random() < 0.5 else person_name(rng)
    if kind == "third":
        words["name"] = built_name(rng)
    if kind in ("desk", "desk_named", "note_desk"):
        place = rng.choice(table("roles", "desk"))
        big = " ".join(capital(word) for word in place.split())
        pattern = rng.choice(table("heads", "houses")).replace("{kind}", big)
        begin = rng.choice(table("heads", "begin"))
        words["house"] = "the " + filled(pattern.replace("{begin}", begin), _house_words(rng), rng)
    return Scene(kind, words)


def _house_words(rng: Random) -> Words:
    return {"built": built_name(rng), "tree": value("tree", rng)}


def _fits(fact: Fact, scene: Scene, head: str) -> bool:
    if fact.key in _STAYS_AT and "{town}" in head:
        return False
    return not any(clash(fact, other) for other in scene.facts)


def _scope(scene: Scene, rng: Random) -> tuple[str, ...]:
    return HOUSE if scene.placed or rng.random() < (0.6 if scene.kind == "run" else 0.15) else PERSON


def _another(scene: Scene, rng: Random) -> Fact:
    """A fact at random: often of the frame or of the kind of value of one that is there already, with another noun."""
    framed = [fact for fact in scene.facts if fact.frame]
    kind = rng.random()
    if framed and kind < 0.65:
        near = rng.choice(framed)
        same = near.frame["v"] == "names"
        if kind < 0.4 and "n" in near.frame and not same:
            return fact_of(near.key, rng)
        scope = HOUSE if near.key in HOUSE else PERSON
        return fact_of(rng.choice([key for key in scope if FRAMES[key]["v"] == near.frame["v"]]), rng)
    scope = _scope(scene, rng)
    if scope is HOUSE and rng.random() < 0.4:
        return rule_of(rng.choice(KINDS), rng)
    return fact_of(rng.choice(frames_with_nouns(scope) if rng.random() < 0.5 else scope), rng)


def _add(scene: Scene, head: str, rng: Random) -> None:
    for _ in range(20):
        fact = _another(scene, rng)
        if _fits(fact, scene, head):
            scene.facts.append(fact)
            return


def _spoken(text: str, scene: Scene, pronoun: str, rng: Random) -> str:
    """The sentence for `you`, or for the third person: <have> is have or has, <Your> is Your, Nora's or her."""
    if scene.kind != "third":
        return _VERB.sub(lambda match: match[1].rstrip("_"), text)
    his, him = ("his", "him") if pronoun == "he" else ("her", "her")
    forms = {"you": pronoun, "your": his, "you_": him, "You": capital(pronoun), "Your": capital(his)}
    if rng.random() < 0.3:
        forms |= {"You": scene.name, "Your": f"{scene.name}'s"}

    def form(match: re.Match[str]) -> str:
        word = match[1]
        if word in forms:
            return forms[word]
        if word in _ODD:
            return _ODD[word]
        if re.search(r"(?:ch|sh|s|x)$", word):
            return f"{word}es"
        return f"{word[:-1]}ies" if re.search(r"[^aeiou]y$", word) else f"{word}s"

    return _VERB.sub(form, text)


def _sentences(scene: Scene, pronoun: str, note: bool, small: bool, rng: Random) -> list[str]:
    """The sentences of the facts; two of one frame are now and then said in one."""
    parts, left = [], list(scene.facts)
    while left:
        fact = left.pop(0)
        pair = [other for other in left if other.key == fact.key and "both" in fact.frame]
        if pair and not note and rng.random() < 0.6:
            left.remove(pair[0])
            text = told_both(fact, pair[0], rng, small)
        else:
            text = told(fact, rng, note, small)
        spoken = _spoken(text, scene, pronoun, rng)
        parts.append(spoken if note or small else capital(spoken))
    return parts


def _written(scene: Scene, head: str, rng: Random) -> None:
    """Sets the system prompt: in sentences, in small letters, or as terse notes."""
    note = scene.kind.startswith("note") or rng.random() < 0.07
    pronoun = rng.choice(("he", "she"))
    small = rng.random() < (0.4 if note else 0.12)
    parts = _sentences(scene, pronoun, note, small, rng)
    rng.shuffle(parts)
    start = filled(in_small_letters(head) if small else head, scene.words, rng)
    if note:
        mark = rng.choice((". ", ", ", "; ", "\n", " - "))
        scene.system = mark.join([start.rstrip("."), *parts])
        return
    if rng.random() < 0.2:
        style = rng.choice(table("heads", "style" if scene.name and scene.kind != "third" else "style_place"))
        written = filled(in_small_letters(style) if small else style, scene.words, rng)
        parts.insert(rng.randrange(len(parts) + 1), written)
    start = start if small else capital(start)
    parts.insert(rng.choice((1, len(parts))) if scene.kind != "third" and rng.random() < 0.08 else 0, start)
    scene.system = re.sub(r"([.?!])\.(?= |$)", r"\1", " ".join(parts))


def _head(scene: Scene, rng: Random) -> str:
    return rng.choice(table("heads", scene.kind))


def _base_turn(scene: Scene, rng: Random) -> Turn:
    """The name, the work, or the place itself."""
    if scene.name and (rng.random() < 0.6 or scene.kind == "desk_named"):
        kind = "name"
    elif scene.placed:
        kind = "place" if rng.random() < 0.8 else "noname"
    else:
        kind = "role" if scene.name or rng.random() < 0.8 else "noname"
    pattern = rng.choice(table("wrap", f"{kind}_ask"))
    say = rng.choice(table("wrap", "run_say" if kind == "role" and scene.kind == "run" else f"{kind}_say"))
    question = vary(pattern if rng.random() < 0.5 else capital(pattern), rng, lead=0.04, typo=0.02)
    return question, _said(say, scene, rng)


def _said(pattern: str, scene: Scene, rng: Random) -> str:
    if scene.placed:
        pattern = pattern.replace("{what}", "here for you at {house}")
    what = "the one who runs {arun}" if scene.kind == "run" else "{arole}"
    return answer(pattern.replace("{what}", what), scene.words, rng)


def _unknown_turn(scene: Scene, head: str, rng: Random) -> Turn:
    """A question about something that the prompt does not say: often of a frame that it uses, with another noun."""
    while True:
        near = rng.choice(scene.facts)
        if near.frame and "n" in near.frame and rng.random() < 0.5:
            fact = fact_of(near.key, rng)
        elif not near.frame and rng.random() < 0.5:
            fact = rule_of(rng.choice(KINDS), rng)
        else:
            fact = fact_of(rng.choice(_scope(scene, rng)), rng)
        if _fits(fact, scene, head):
            break
    name = "unknown_place" if scene.placed and rng.random() < 0.35 else "unknown"
    pattern = rng.choice(table("wrap", name)).replace("{t}", topic(fact, rng))
    return question_of(fact, rng), capital(pattern)


def _fact_turn(scene: Scene, fact: Fact, rng: Random) -> Turn:
    if fact.frame and "check" in fact.frame and rng.random() < 0.15:
        return checked(fact, scene.facts, rng)
    end = "2" if "ask2" in fact.frame and rng.random() < 0.4 else ""
    return question_of(fact, rng, end), said(fact, rng, end)


def _greeted(question: str, scene: Scene, rng: Random) -> str:
    """The question, now and then after a greeting or the name."""
    kind = rng.random()
    if kind > 0.14:
        return question
    small = question if re.match(r"I\b|[A-Z]{2}", question) else question[:1].lower() + question[1:]
    named = scene.name and kind < 0.06
    pattern = rng.choice(table("wrap", "greet_name" if named else "greet"))
    greeting = filled(pattern.replace("{q}", "\0"), scene.words, rng)
    text = greeting if rng.random() < 0.4 else capital(greeting)
    return text.replace("\0", small)


def _hello_turn(scene: Scene, rng: Random) -> Turn:
    named = scene.name and rng.random() < 0.4
    hello = filled(rng.choice(table("wrap", "hello_name" if named else "hello")), scene.words, rng)
    kind = "hello_say" if scene.name else "hello_place" if scene.placed else "hello_bare"
    typed = hello if rng.random() < 0.4 else capital(hello)
    return typed + rng.choice(("", "", "!")) if typed[-1] != "?" else typed, _said(
        rng.choice(table("wrap", kind)), scene, rng
    )


def _turns(scene: Scene, head: str, rng: Random) -> list[Turn]:
    count = rng.choices((1, 2, 3), (75, 18, 7))[0]
    turns: list[Turn] = []
    if count > 1 and rng.random() < 0.35:
        turns.append(_hello_turn(scene, rng))
    order = rng.sample(scene.facts, len(scene.facts))
    while len(turns) < count:
        kind = rng.random()
        if kind < 0.14:
            question, reply = _unknown_turn(scene, head, rng)
        elif kind < 0.26 or not order:
            question, reply = _base_turn(scene, rng)
        else:
            question, reply = _fact_turn(scene, order.pop(), rng)
        if not turns:
            question = _greeted(question, scene, rng)
        elif rng.random() < 0.25 and not re.match(r"(?:hi|hello|hey|good|and)\b", question, re.IGNORECASE):
            small = question if re.match(r"I\b|[A-Z]{2}", question) else question[:1].lower() + question[1:]
            question = rng.choice(table("wrap", "more")).replace("{q}", small)
        turns.append((question, reply))
    return turns


def one(rng: Random) -> Conversation:
    """One to three questions to a persona or a place, about what its prompt says and what it does not."""
    scene = _scene(rng)
    head = _head(scene, rng)
    for _ in range(rng.choices((1, 2, 3, 4), (22, 38, 27, 13))[0]):
        _add(scene, head, rng)
    _written(scene, head, rng)
    turns = _turns(scene, head, rng)
    return talk(*(text for turn in turns for text in turn), system=scene.system)
