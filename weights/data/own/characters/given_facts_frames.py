"""The facts of given_facts: a frame with a noun and a value, or a rule of the house. Torch-free."""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import capital
from weights.data.own.characters.given_facts_values import filled, names, nouns, plural_of, table, value
from weights.data.own.memory.told_values import Words, wordings
from weights.data.own.phrasing import lower, vary

_HERE = Path(__file__)
_HOUSES: dict[str, Any] = tomllib.loads(_HERE.with_name("given_facts_houses.toml").read_text(encoding="utf-8"))
_PERSONS: dict[str, Any] = tomllib.loads(_HERE.with_name("given_facts.toml").read_text(encoding="utf-8"))
FRAMES: dict[str, dict[str, str]] = _PERSONS["person"] | _HOUSES["house"]
PERSON, HOUSE = tuple(_PERSONS["person"]), tuple(_HOUSES["house"])
RULES: dict[str, str] = _HOUSES["rules"]
KINDS = ("may", "must", "bring", "need")
# Frames that could answer each other's questions: only one of a group stands in a prompt, for one noun.
_CLASHES = tuple(
    set(group.split())
    for group in (
        "opens hours",
        "closes hours",
        "where floor address event_room key",
        "event_time event_day",
        "table guest desk",
        "train_time bus_no",
        "hobby good_at weekend play met",
        "fear hates pet_fear",
        "drive travel",
        "saves wants_gift",
        "likes_food makes",
        "hates_food hates",
        "home born_in grew_up",
        "home work_in",
        "thing_kept thing_lost vehicle_parked",
        "thing_from thing_bought",
        "pet_name pets_many",
        "kin_name kins_many",
        "cares owner event_by",
        "from arrives",
        "shelf left where",
        "office staff_day",
        "wear thing_colour",
        "with from",
        "book song",
    )
)
_WH = re.compile(r"(?:what|who|where|when|why|how|which|in which|on which|until|from)\b")
# Rules for others, in which "your coat" is "their coat".
_SUBJECT = re.compile(r"(?:Visitors|Guests|Everyone|Nobody|Please|You let)\b")
_TURNED = {"your": "my", "yours": "mine", "you": "I", "you're": "I'm"}


@dataclass
class Fact:
    """A frame with its words: what a prompt says, what may be asked of it, and what is then answered."""

    key: str
    words: Words
    frame: dict[str, str] = field(default_factory=dict)

    @property
    def noun(self) -> str:
        return self.words.get("n", self.words.get("a", ""))


def fact_of(key: str, rng: Random) -> Fact:
    """A new fact of a frame, with a noun and a value."""
    frame = FRAMES[key]
    words: Words = {}
    kind = frame.get("n", "")
    if kind.startswith("@"):
        words["n"] = value(kind[1:], rng)
    elif kind:
        words["n"], words["ns"] = rng.choice(nouns(kind))
    if frame["v"] == "names":
        words["v"], words["count"] = names(rng)
    else:
        words["v"] = value(frame["v"], rng)
    return Fact(key, words, frame)


def rule_of(kind: str, rng: Random) -> Fact:
    """A new rule: what one may or must do, bring or need, or the contrary."""
    side = f"{kind}_{rng.choice(('yes', 'no'))}"
    entry = rng.choice(wordings(RULES[kind]))
    words: Words = {"a": entry}
    if kind in ("bring", "need"):
        noun, several = plural_of(entry)
        words = {"n": noun, "ns": several}
    return Fact(side, words)


def _names(text: str, noun: str) -> bool:
    return bool(noun) and re.search(rf"\b{re.escape(noun)}\b", text) is not None


def clash(one: Fact, other: Fact) -> bool:
    """Whether a question about one fact could be answered with the other."""
    if not one.frame or not other.frame:
        return one.noun == other.noun or bool(set(one.noun.split()) & set(other.noun.split()) - {"the", "your", "a"})
    if one.words["v"] == other.words["v"] or _names(one.words["v"], other.noun) or _names(other.words["v"], one.noun):
        return True
    if one.noun and other.noun and one.noun != other.noun:
        return one.noun in other.noun.split() or other.noun in one.noun.split()
    return one.key == other.key or any({one.key, other.key} <= group for group in _CLASHES)


def _others(act: str) -> str:
    """An act of `you` as one of others: "bring your own food" is "bring their own food"."""
    return re.sub(r"\byour\b", "their", re.sub(r"\byou\b", "they", act))


def turned(text: str) -> str:
    """The text from the other side: `your` becomes `my`."""
    return re.sub(r"\b(?:your|yours|you're|you)\b", lambda match: _TURNED[match[0]], text)


def in_small_letters(pattern: str) -> str:
    """The pattern in small letters; its values stay as they are."""
    return lower(re.sub(r"\{[A-Z]\w*\}", lambda match: match[0].lower(), pattern))


def told(fact: Fact, rng: Random, note: bool = False, small: bool = False) -> str:
    """What the prompt says of the fact; <have> and <You> are still to be set for the person."""
    words = dict(fact.words)
    if fact.frame:
        pattern = rng.choice(wordings(fact.frame["note" if note else "tell"]))
        return filled(in_small_letters(pattern) if small else pattern, words, rng)
    pattern = rng.choice(wordings(RULES[f"{fact.key}_note" if note else fact.key]))
    if "a" in words and _SUBJECT.match(pattern):
        words["a"] = _others(words["a"])
    return filled(in_small_letters(pattern) if small else pattern, words, rng)


def told_both(one: Fact, other: Fact, rng: Random, small: bool = False) -> str:
    """Two facts of one frame in one sentence."""
    words = one.words | {"m": other.words["n"], "w": other.words["v"]}
    if "ns" in other.words:
        words["ms"] = other.words["ns"]
    pattern = rng.choice(wordings(one.frame["both"]))
    return filled(in_small_letters(pattern) if small else pattern, words, rng)


def _small(pattern: str) -> str:
    if pattern.startswith("{"):
        return f"{{{pattern[1].lower()}{pattern[2:]}"
    return pattern if re.match(r"I\b", pattern) else pattern[:1].lower() + pattern[1:]


def answer(pattern: str, words: Words, rng: Random) -> str:
    """An answer with its words, and a capital at its start unless a name that is written small stands there."""
    text = filled(pattern, words, rng)
    return text if text.startswith(('"', words.get("name", "\0"))) else capital(text)


def checked(fact: Fact, known: list[Fact], rng: Random) -> tuple[str, str]:
    """A question to be answered with yes or no: often with the value of another fact of the prompt."""
    asked = fact.words["v"]
    right = rng.random() < 0.5
    if not right:
        same = [other.words["v"] for other in known if other.frame and other.frame["v"] == fact.frame["v"]]
        same = [found for found in same if found != asked]
        while asked == fact.words["v"]:
            asked = rng.choice(same) if same and rng.random() < 0.6 else value(fact.frame["v"], rng)
    says = [say for say in wordings(fact.frame["say"]) if re.search(r"\{a?[vV]\}|\{Av\}", say) and "don't" not in say]
    whole = [say for say in says if re.match(r"(?:My|I|It's on|The|There|We|It is) |\{(?:N|An)\}", say)] or says[:1]
    question = rng.choice(wordings(fact.frame["check"]))
    said = filled(_small(rng.choice(whole)), fact.words, rng)
    return _wrapped(question, fact.words | {"v": asked}, rng), f"{'Yes' if right else 'No'}, {said}"


def _wrapped(question: str, words: Words, rng: Random) -> str:
    return filled(vary(question, rng, lead=0, typo=0.02), words, rng)


def question_of(fact: Fact, rng: Random, end: str = "") -> str:
    """A question about a fact: straight, or after "do you know" and its like."""
    if fact.frame:
        if rng.random() < 0.72:
            return _typed(rng.choice(wordings(fact.frame[f"ask{end}"])), fact.words, rng)
        indirect = rng.choice(wordings(fact.frame[f"ind{end}"]))
        wraps = table("wrap", "ask") + (table("wrap", "ask_wh") if _WH.match(indirect) else ())
        return _typed(rng.choice(wraps).replace("{i}", indirect), fact.words, rng)
    pattern, words = rng.choice(wordings(RULES[f"{fact.key.split('_')[0]}_ask"])), dict(fact.words)
    if "a" in words:
        words["a"] = turned(words["a"])
    return _typed(pattern, words, rng)


def _typed(pattern: str, words: Words, rng: Random) -> str:
    """The question as people type it: with a capital or without, with its mark or without."""
    start = pattern if rng.random() < 0.45 else capital(pattern)
    return filled(vary(start, rng, lead=0.03, typo=0.02), words, rng)


def said(fact: Fact, rng: Random, end: str = "") -> str:
    """The answer to a question about a fact."""
    says = wordings(fact.frame[f"say{end}"] if fact.frame else RULES[f"{fact.key}_say"])
    return answer(rng.choice(says), fact.words, rng)


def topic(fact: Fact, rng: Random) -> str:
    """What was asked, for an answer that leaves it open: "what my dog is called"."""
    if fact.frame:
        whole = [indirect for indirect in wordings(fact.frame["ind"]) if _WH.match(indirect)]
        return filled(turned_back(rng.choice(whole or wordings(fact.frame["ind"]))), fact.words, rng)
    kind = fact.key.split("_")[0]
    frame = {
        "may": "whether you may {a}",
        "must": "whether you have to {a}",
        "bring": "whether {ns} are allowed",
        "need": "whether you need {an}",
    }[kind]
    return filled(frame, fact.words, rng)


def turned_back(indirect: str) -> str:
    """An indirect question of the user as the model says it: `your dog` is `my dog`, and `I` is `you`."""
    swap = _TURNED | {"I": "you"}
    text = re.sub(r"\b(?:your|yours|you're|you|I)\b", lambda match: swap[match[0]], indirect)
    text = re.sub(r"\bI are\b", "I am", re.sub(r"\bI were\b", "I was", text))
    return re.sub(r"\b(gave|taught|call) I\b", r"\1 me", text)


@cache
def frames_with_nouns(scope: tuple[str, ...]) -> tuple[str, ...]:
    """The frames of a scope that hold a noun."""
    return tuple(key for key in scope if "n" in FRAMES[key])
