"""Facts that a system prompt tells of a persona or a shop, the questions about them, and what is said without them."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.characters import personas
from weights.data.own.tables import entries as read_entries
from weights.data.own.tables import read_tables
from weights.data.own.unusual_names import house_name, unusual_name

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_WORDS: dict[str, str] = _TABLE["words"]
_TASKS = read_tables(personas.__file__)["tasks"]
# Facts that answer each other's questions: one of them is told, and then the other is not asked.
_NEAR = ({"home", "origin"}, {"maker", "origin", "teacher"}, {"boss", "task"}, {"hours", "closed"}, {"offer", "price"})
entries = cache(read_entries)


@dataclass(frozen=True)
class Fact:
    """A fact with its values filled in: the ways to tell it, and questions with their answers."""

    kind: str
    tells: tuple[str, ...]
    others: tuple[str, ...]
    label: str
    asks: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    values: tuple[str, ...]

    def asked(self, rng: Random) -> tuple[str, str]:
        """A question about the fact, and the answer that the system prompt gives."""
        questions, answers = rng.choice(self.asks)
        return rng.choice(questions), rng.choice(answers)


def kinds(who: str) -> tuple[str, ...]:
    """The kinds of facts that a "person" or a "house" can have."""
    return tuple(_TABLE[who])


def _hour(first: int, last: int, rng: Random) -> str:
    hour = rng.randint(first, last)
    return f"{(hour - 1) % 12 + 1} {'am' if hour < 12 else 'pm'}"


def _number(span: str, rng: Random) -> str:
    first, last = span.split("-")
    return str(rng.randint(int(first), int(last)))


def _word(kind: str, rng: Random) -> str:
    return rng.choice(entries(_WORDS[kind]))


def _place(rng: Random) -> str:
    """A place that is on no map."""
    while True:
        name = unusual_name(rng, plain=0.6).split()[-1]
        if name.istitle() and name.isalpha():
            return name


def _value(rule: str, words: dict[str, str], rng: Random) -> str:
    if rule == "name":
        return unusual_name(rng)
    if rule == "maker":
        return house_name(rng) if rng.random() < 0.7 else unusual_name(rng)
    if rule == "place":
        return _word("city", rng) if rng.random() < 0.6 else _place(rng)
    if rule == "favourite":
        table = _WORDS[f"favourite_{words['a']}"]
        return _number(table[1:], rng) if table[0] == "#" else rng.choice(entries(table))
    if rule == "ship":
        return f"the {_word('ship_a', rng)} {_word('ship_b', rng)}"
    if rule == "street":
        return f"{rng.randint(1, 140)} {_word('street', rng)}"
    if rule == "phone":
        return (
            f"555-{rng.randint(1000, 9999)}"
            if rng.random() < 0.6
            else f"0{rng.randint(20, 99)} {rng.randint(100000, 999999)}"
        )
    if rule == "code":
        return f"{_word('code_a', rng)}{_word('code_b', rng)}{rng.choice(('', '', str(rng.randint(1, 99))))}"
    if rule == "task":
        return rng.choice(_TASKS)
    if rule[0] == "#":
        return _number(rule[1:], rng)
    if rule.startswith("hour:"):
        first, last = rule[5:].split("-")
        return _hour(int(first), int(last), rng)
    return rng.choice(entries(rule))


def _filled(text: str, words: dict[str, str]) -> tuple[str, ...]:
    return tuple(one_stop(entry.format(**words)) for entry in entries(text))


def one_stop(text: str) -> str:
    """The text with one full stop where a name that ends in one stands at the end of a sentence."""
    return re.sub(r"(?<=\w)\.\.(?=\s|$)", ".", text)


def _mine(text: str) -> str:
    """The same spoken by the persona itself: "ride your bike" becomes "ride my bike"."""
    return text.replace(" your ", " my ")


def any_fact(who: str, kind: str, rng: Random, /, **words: str) -> Fact:
    """A fact of the kind; words: `name`, or `house` and its `kind` of house."""
    table = _TABLE[who][kind]
    for key in ("a", "b"):
        if key in table:
            words[key] = _value(table[key], words, rng)
    told = {**words, "a": _mine(words["a"])}
    asks = []
    for line in table["asks"].strip().splitlines():
        questions, answers = line.split(" :: ")
        asks.append((_filled(questions, words), _filled(answers, told)))
    values = tuple(words[key] for key in ("a", "b") if key in table)
    return Fact(
        kind,
        _filled(table["tell"], words),
        _filled(table["other"], words),
        table["label"].format(**words),
        tuple(asks),
        values,
    )


def prices(things: str, rng: Random) -> tuple[Fact, str]:
    """The prices of some things ("a bell=5-15, a map=6-15"), and one of the things whose price is not told."""
    rows = [thing.split("=") for thing in things.split(", ")]
    rng.shuffle(rows)
    hidden, currency = rows.pop()[0], _word("currency", rng)
    told = [(thing, _number(span, rng)) for thing, span in rows[: rng.choice((1, 2, 2, 3))]]
    said = [f"{thing[:1].upper()}{thing[1:]} costs {price} {currency}." for thing, price in told]
    listed = ", ".join(f"{thing} {price}" for thing, price in told)
    asks = tuple(
        (
            (
                f"how much is {thing}?",
                f"what does {thing} cost?",
                f"how much does {thing} cost?",
                f"the price of {thing}?",
            ),
            (line, line, f"It costs {price} {currency}.", f"{price} {currency}."),
        )
        for (thing, price), line in zip(told, said, strict=True)
    )
    text = " ".join(said)
    return Fact("price", (text,), (text,), f"Prices in {currency}: {listed}", asks, tuple(p for _, p in told)), hidden


def unknown(who: str, told: set[str], rng: Random, /, **words: str) -> tuple[str, str]:
    """A question about a fact that was not told, and the answer that does not invent one."""
    near = set().union(*(group for group in _NEAR if group & told))
    kind = rng.choice([k for k in kinds(who) if k not in told | near | {"task"}])
    question, _ = any_fact(who, kind, rng, **words).asked(rng)
    return question, rng.choice(entries(_TABLE["unknown"][who])).format(**words)


def unknown_price(thing: str, rng: Random) -> tuple[str, str]:
    """A question about a price that was not told, and the answer."""
    answer = rng.choice(entries(_TABLE["unknown"]["price"])).format(x=thing)
    return rng.choice((f"how much is {thing}?", f"what does {thing} cost?", f"how much does {thing} cost?")), answer
