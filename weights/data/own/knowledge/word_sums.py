"""Sums in words: halves and percents, money spent, sweets shared, ages, hours, units, rows of numbers.

The numbers are small enough for the head, and each answer is worked out and names what it counts. Torch-free.
"""

import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from weights.data.own.asking import article, capital
from weights.data.own.phrasing import Conversation, talk, vary
from weights.data.own.talk.situations import one_of

_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SLOTS: dict[str, str] = _TABLE["slots"]
_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ODD_ONES = {"feet": "foot", "centuries": "century", "dozen": "dozen"}
_LEADS = ("quick sum", "maths question", "quick one", "help me count", "ok", "so", "hey", "hi", "homework", "tell me")
_PLACE = re.compile(r"\{(\w+)\}")
_YES_NO = re.compile(r"(?:is \{[an]\} (?!or\b|odd or\b)|can |does |is \{p\} more)")

Values = dict[str, Any]


@cache
def _parts(kind: str, key: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _TABLE[kind][key].split(" / "))


@cache
def facts(name: str) -> tuple[tuple[str, str, int], ...]:
    """Small unit, big unit and how many go in: `rows`; or what has how many of which part: `parts`."""
    groups = (group.split() for group in _TABLE["units"][name].split(";"))
    return tuple((first, second, int(number)) for first, second, number in groups)


def in_words(n: int) -> str:
    """A number below a hundred as it is written out."""
    if n < 20:
        return _SMALL[n]
    return _TENS[n // 10 - 2] + (f"-{_SMALL[n % 10]}" if n % 10 else "")


def _number(rng: Random, low: int = 2) -> int:
    """Mostly up to 100; now and then a round number up to 1000."""
    if rng.random() < 0.12:
        return rng.randrange(100, 1001, rng.choice((10, 50, 100)))
    return rng.randint(low, rng.choice((12, 20, 50, 100)))


def _part_of(k: int, rng: Random) -> Values:
    c = rng.randint(2, rng.choice((12, 30, 50 if k < 4 else 25)))
    c = 10 * c if rng.random() < 0.15 else c
    return {"n": c * k, "c": c}


def _times(k: int, rng: Random) -> Values:
    n = _number(rng)
    return {"n": n, "c": n * k}


def _share(p: int) -> int:
    return {10: 10, 20: 5, 25: 4, 50: 2, 75: 4}[p]


def _percent(rng: Random) -> Values:
    p = rng.choice((10, 20, 25, 50, 75))
    step = _share(p)
    n = rng.randrange(100, 1001, 100) if rng.random() < 0.2 else step * rng.randint(2, max(240 // step, 30))
    return {"p": p, "n": n, "c": n * p // 100, "d": n * p // 100}


def _off(rng: Random) -> Values:
    values = _percent(rng)
    return {**values, "c": values["n"] - values["d"]}


def _add(rng: Random) -> Values:
    a, b = _number(rng), _number(rng)
    return {"a": a, "b": b, "c": a + b}


def _take(rng: Random) -> Values:
    a, c = rng.randint(2, rng.choice((12, 20, 50))), rng.randint(2, rng.choice((12, 40, 80)))
    return {"a": a + c, "b": a, "c": c}


def _less(rng: Random) -> Values:
    values = _take(rng)
    return {"a": values["b"], "b": values["a"], "c": values["c"]}


def _product(rng: Random) -> Values:
    a, b = rng.randint(2, rng.choice((10, 12, 20, 30))), rng.randint(2, 10)
    return {"a": a, "b": b, "c": a * b}


def _divided(rng: Random) -> Values:
    b, c = rng.randint(2, 10), rng.randint(2, rng.choice((10, 12, 20)))
    return {"a": b * c, "b": b, "c": c}


def _age(rng: Random) -> Values:
    a, b = rng.randint(4, 75), rng.randint(2, 25)
    return {"a": a, "b": b, "c": a + b}


def _age_ago(rng: Random) -> Values:
    a, b = rng.randint(12, 90), rng.randint(2, 9)
    return {"a": a, "b": b, "c": a - b}


def _born(rng: Random) -> Values:
    a, c = rng.randint(1900, 2010), rng.randint(3, 60)
    a = a - a % 10 if rng.random() < 0.4 else a
    return {"a": a, "b": a + c, "c": c}


def _o_clock(hour: int, style: int) -> str:
    hour %= 24
    if style == 0:
        return f"{hour}:00"
    if hour % 12 == 0:
        return "noon" if hour else "midnight"
    return f"{hour % 12}{' ' if style == 1 else ''}{'am' if hour < 12 else 'pm'}"


def _clock(back: int, rng: Random) -> Values:
    """A time, some hours, and the time so many hours later or before."""
    style, hour, h = rng.choice((0, 1, 1, 2)), rng.randrange(24), rng.randint(2, 11)
    return {"t": _o_clock(hour, style), "h": h, "e": _o_clock(hour + back * h, style)}


def _unit(rng: Random) -> Values:
    small, big, k = rng.choice(facts("rows"))
    n = rng.randint(2, rng.choice((5, 10, 10, 20)) if k in (10, 100, 1000) else rng.choice((5, 10)))
    one = "an hour" if big == "hours" else article(_ODD_ONES.get(big, big.removesuffix("s")))
    return {"small": small, "big": big, "k": k, "n": n, "c": n * k, "one": one}


def _of_animals(rng: Random) -> Values:
    animal, part, k = rng.choice(facts("parts"))
    n = rng.randint(2, rng.choice((6, 10, 12, 20)))
    return {"animal": animal, "part": part, "k": k, "n": n, "c": n * k}


def _boxes(rng: Random) -> Values:
    n, k = rng.randint(2, 12), rng.choice((3, 4, 5, 6, 6, 8, 10, 10, 12, 20))
    return {"n": n, "k": k, "c": n * k, "item": rng.choice(_TABLE["units"]["items"].split("|"))}


def _two(rng: Random) -> Values:
    a = _number(rng, 0)
    b = rng.choice([n for n in (_number(rng, 0), a + rng.randint(1, 9), a * 10 + 10, a + 1) if n != a])
    a, b = rng.choice(((a, b), (b, a)))
    return {"a": a, "b": b, "x": max(a, b), "y": min(a, b), "yes": a > b}


def _sizes(rng: Random) -> Values:
    small, big, k = rng.choice(facts("rows"))
    n = rng.randint(2, 9)
    m = k * n + rng.choice((-1, 1)) * max(k * rng.randint(1, n - 1) // 2, 1)
    pair = (f"{n} {big}", f"{m} {small}")
    x, y = pair if n * k > m else pair[::-1]
    p, q = rng.choice((pair, pair[::-1]))
    return {"p": p, "q": q, "x": x, "y": y, "yes": p == x}


def _parity(rng: Random) -> Values:
    n = rng.randint(0, 1000) if rng.random() < 0.3 else rng.randint(0, 100)
    return {"n": n, "kind": "odd" if n % 2 else "even", "odd": n % 2}


def _series(rng: Random) -> Values:
    if rng.random() < 0.2:
        start = rng.randint(1, 12)
        row = [start * 2**i for i in range(5)]
    else:
        step = rng.choice((1, 2, 2, 3, 4, 5, 10, 10, 20, 25, 50, 100, 6, 7, 9, 11))
        start = rng.choice((step, step, rng.randint(0, 40)))
        row = [start + step * i for i in range(5)]
        row = row[::-1] if rng.random() < 0.25 else row
    shown = row[-4:-1] if rng.random() < 0.5 else row[:-1]
    return {"s": rng.choice((", ", ", ", " ", ",")).join(map(str, shown)), "last": row[-2], "c": row[-1]}


def _middle(rng: Random) -> Values:
    a, half = _number(rng, 0), rng.randint(1, 20)
    return {"a": a, "b": a + 2 * half, "c": a + half}


def _three(rng: Random) -> Values:
    a, b, d = (rng.randint(2, rng.choice((10, 20, 40))) for _ in range(3))
    return {"a": a, "b": b, "d": d, "c": a + b + d}


# Each kind: how its numbers are found, how often it comes, and the place that names the unit of the result.
KINDS: dict[str, tuple[Callable[[Random], Values], int, str]] = {
    "half": (lambda rng: _part_of(2, rng), 8, ""),
    "double": (lambda rng: _times(2, rng), 8, ""),
    "third": (lambda rng: _part_of(3, rng), 4, ""),
    "quarter": (lambda rng: _part_of(4, rng), 5, ""),
    "triple": (lambda rng: _times(3, rng), 3, ""),
    "percent": (_percent, 11, ""),
    "off": (_off, 4, "money"),
    "more": (_add, 7, ""),
    "less": (_less, 7, ""),
    "gain": (_add, 9, "thing"),
    "loss": (_take, 8, "thing"),
    "eaten": (_take, 5, "fruit"),
    "spent": (_take, 11, "money"),
    "cost": (_product, 7, "money"),
    "sum_money": (_add, 6, "money"),
    "need": (_take, 5, "money"),
    "share": (_divided, 9, "sweet"),
    "groups": (_product, 7, "noun"),
    "age": (_age, 9, ""),
    "age_ago": (_age_ago, 5, ""),
    "born": (_born, 8, ""),
    "gap": (_take, 4, ""),
    "clock_after": (lambda rng: _clock(1, rng), 9, ""),
    "clock_before": (lambda rng: _clock(-1, rng), 4, ""),
    "clock_between": (lambda rng: _clock(1, rng), 7, ""),
    "convert": (_unit, 11, "small"),
    "convert_up": (_unit, 7, ""),
    "convert_one": (_unit, 2, ""),
    "parts": (_of_animals, 8, "part"),
    "eggs": (_boxes, 4, "item"),
    "bigger": (_two, 7, ""),
    "smaller": (_two, 4, ""),
    "sizes": (_sizes, 4, ""),
    "parity": (_parity, 5, ""),
    "series": (_series, 9, ""),
    "average": (_middle, 3, ""),
    "table": (_product, 4, ""),
    "howmany": (_divided, 5, ""),
    "three": (_three, 5, ""),
}
_NAMES = tuple(KINDS)
_WEIGHTS = tuple(weight for _, weight, _ in KINDS.values())
_OF = ("half", "third", "quarter", "percent")
_NO_FOLLOW = ("age", "age_ago", "born", "gap", "series", "convert_one", "convert_up")


def _slotted(values: Values, rng: Random) -> Values:
    """The values with a word for each slot, two different names and two different things to buy."""
    values |= {slot: rng.choice(words.split("|")) for slot, words in _SLOTS.items()}
    values["who"], values["who2"] = rng.sample(_SLOTS["who"].split("|"), 2)
    values["bought"], values["bought2"] = rng.sample(_SLOTS["bought"].split("|"), 2)
    return values | {"unit1": values["money"].removesuffix("s"), "over": "/"}


def _a(word: str) -> str:
    """`a`, or `an` before words and numbers such as eight and 18."""
    return "an" if re.match(r"[aeiou]|8|11\b|18\b", word) else "a"


def _filled(pattern: str, values: Values, written: bool = False) -> str:
    """The pattern with its values; numbers below a hundred in words where they are `written` so."""

    def shown(match: re.Match[str]) -> str:
        value = values[match[1]]
        return in_words(value) if written and isinstance(value, int) and value < 100 else str(value)

    text = re.sub(r"\ba \{(bought2?|unit1|n)\}", lambda m: f"{_a(str(values[m[1]]))} {{{m[1]}}}", pattern)
    return _PLACE.sub(shown, text)


def _typed(text: str, rng: Random) -> str:
    if rng.random() < 0.1:
        text = rng.choice(_LEADS) + rng.choice((": ", ", ", " - ")) + text
    if rng.random() < 0.02:
        return text.upper()
    return vary(text if rng.random() < 0.5 else capital(text), rng, lead=0, typo=0.05)


def _ruled(kind: str, pattern: str, answer: str, values: Values) -> str:
    """The answer with `Yes` or `No` before it, where the question asks for one of them."""
    if kind not in ("bigger", "sizes", "parity") or not _YES_NO.match(pattern):
        return capital(answer)
    wanted = values["odd"] == ("odd" in pattern) if kind == "parity" else values["yes"]
    return f"{'Yes' if wanted else 'No'}, {answer}"


def asked(rng: Random, kind: str = "") -> tuple[str, str, str, Values]:
    """The kind, a question, its answer and the values; of one kind or of any."""
    kind = kind or rng.choices(_NAMES, _WEIGHTS)[0]
    values = _slotted(KINDS[kind][0](rng), rng)
    pattern = one_of(rng.choice(_parts(kind, "ask")), rng)
    question = _filled(pattern, values, rng.random() < 0.12 and kind != "born" and "%" not in pattern)
    if kind == "groups":
        found = re.search(r"how many ([a-z]+)", question, re.IGNORECASE)
        values["noun"] = found[1] if found else "things"
    answer = _filled(rng.choice(_parts(kind, "answer")), values)
    counted = re.search(r"\{(thing|money)\}", pattern)
    if counted and kind in _OF:
        values["unit"] = values[counted[1]]
        answer = f"{answer.rstrip('.')} {values['unit']}."
    return kind, _typed(question, rng), _ruled(kind, pattern, answer, values), values


def _followed(c: int, unit: str, rng: Random) -> tuple[str, str]:
    """A question that goes on from the result, and its answer with the same unit."""
    ways = ["double", "plus", "minus", "half", "half", "triple"]
    ways = [way for way in ways if (way != "half" or (c % 2 == 0 and c > 2)) and (way != "minus" or c > 3)]
    way = rng.choice(ways)
    m = rng.randint(1, min(c - 2, 20)) if way == "minus" else rng.randint(2, 20)
    said = {
        "double": f"2 * {c} = {2 * c}",
        "half": f"{c} / 2 = {c // 2}",
        "triple": f"3 * {c} = {3 * c}",
        "plus": f"{c} + {m} = {c + m}",
        "minus": f"{c} - {m} = {c - m}",
    }[way]
    question = rng.choice(_parts("follow", way)).replace("{m}", str(m))
    return _typed(question, rng), f"{said} {unit}." if unit else said


def one(rng: Random) -> Conversation:
    """One sum; now and then another that goes on from its result."""
    kind, question, answer, values = asked(rng)
    turns = [question, answer]
    if rng.random() < 0.26 and values.get("c", 0) > 1 and kind not in _NO_FOLLOW:
        unit = values.get(KINDS[kind][2] or "unit", "")
        turns += _followed(values["c"], unit, rng)
    return talk(*turns)
