"""Sums with small numbers, answered in one line, and halves, doubles, neighbours and the bigger of two."""

from random import Random

from weights.data.own.phrasing import Conversation, talk, vary

_WORDS = {
    "+": ("plus", "added to", "and"),
    "-": ("minus", "less", "take away"),
    "*": ("times", "multiplied by", "times"),
    "/": ("divided by", "over", "divided by"),
}
_SMALL = 12
_NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_FRAMES = (
    "What is {s}?",
    "What's {s}?",
    "How much is {s}?",
    "{s}",
    "{s} = ?",
    "{s}=",
    "{s}?",
    "Calculate {s}.",
    "Compute {s}",
    "Can you calculate {s}?",
    "What does {s} make?",
    "Tell me what {s} is.",
    "What do I get for {s}?",
    "Please work out {s}",
    "How much do {s} make?",
    "solve {s}",
    "I need to know what {s} is.",
    "Do you know what {s} is?",
    "Give me the result of {s}.",
    "what is the result of {s}",
)
_ADD = (
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
    "What do you get if you add {a} to {b}?",
    "I have {a} apples and buy {b} more. How many do I have?",
)
_SUB = (
    "Subtract {b} from {a}.",
    "What is {a} less {b}?",
    "What is the difference between {a} and {b}?",
    "I have {a} apples and eat {b}. How many are left?",
)
_MUL = ("Multiply {a} by {b}.", "What is the product of {a} and {b}?")
_DIV = (
    "Divide {a} by {b}.",
    "What do you get if you divide {a} by {b}?",
    "How many times does {b} fit into {a}?",
    "Share {a} sweets among {b} children. How many does each get?",
)
_TASKS = {"+": _ADD, "-": _SUB, "*": _MUL, "/": _DIV}
_HALF = ("What is half of {a}?", "Half of {a}?", "What's the half of {a}?", "Give me half of {a}.", "halve {a}")
_DOUBLE = ("What is double {a}?", "Double {a}", "What is twice {a}?", "Twice {a}?", "What is the double of {a}?")
_NEXT = (
    "What comes after {a}?",
    "What number comes after {a}?",
    "Which number comes after {a}?",
    "What is the next number after {a}?",
    "Next number after {a}?",
    "What is one more than {a}?",
)
_BEFORE = (
    "What comes before {a}?",
    "What number comes before {a}?",
    "Which number is right before {a}?",
    "What is one less than {a}?",
)
_BIGGER = (
    "Which is bigger, {a} or {b}?",
    "What is more, {a} or {b}?",
    "Which number is bigger: {a} or {b}?",
    "{a} or {b}, which is larger?",
    "Which is greater, {a} or {b}?",
)
_SMALLER = (
    "Which is smaller, {a} or {b}?",
    "What is less, {a} or {b}?",
    "Which number is smaller: {a} or {b}?",
    "{a} or {b}, which is smaller?",
)


def _operands(sign: str, rng: Random) -> tuple[int, int]:
    """Two numbers, most often from 0 to 12; a difference is never negative, and a division has no rest."""
    top = _SMALL if sign in "*/" or rng.random() < 0.75 else rng.choice((20, 20, 50, 100))
    a, b = rng.randint(0, top), rng.randint(0, top if top <= 20 else rng.choice((10, 20, top)))
    if sign == "/":
        b = max(b, 1)
        return a * b, b
    return (b, a) if sign == "-" and b > a else (a, b)


def _result(a: int, sign: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[sign]


def _named(number: int, words: bool) -> str:
    return _NUMBERS[number] if words and number < len(_NUMBERS) else str(number)


def _sum(rng: Random) -> tuple[str, str]:
    sign = rng.choices("+-*/", (45, 25, 20, 10))[0]
    a, b = _operands(sign, rng)
    written = f"{a} {sign} {b}"
    in_words = rng.random() < 0.2
    first, second = _named(a, in_words), _named(b, in_words)
    if rng.random() < 0.2:
        question = vary(rng.choice(_TASKS[sign]), rng).format(a=first, b=second)
    else:
        asked = written
        if in_words or rng.random() < 0.35:
            asked = f"{first} {rng.choices(_WORDS[sign], (80, 10, 10))[0]} {second}"
        elif rng.random() < 0.25:
            asked = written.replace(" ", "")
        elif sign == "*" and rng.random() < 0.3:
            asked = f"{a} x {b}"
        question = vary(rng.choice(_FRAMES), rng).format(s=asked)
    return question, f"{written} = {_result(a, sign, b)}"


def _about(rng: Random) -> tuple[str, str]:
    """A question about one number or two that is no sum."""
    a, b = rng.sample(range(rng.choice((13, 13, 21, 101))), 2)
    in_words = rng.random() < 0.15
    kind = rng.choice(("half", "double", "next", "before", "bigger", "smaller"))
    asks, said = {
        "half": (_HALF, f"Half of {2 * a} is {a}."),
        "double": (_DOUBLE, f"Double {a} is {2 * a}."),
        "next": (_NEXT, f"{a + 1} comes after {a}."),
        "before": (_BEFORE, f"{a} comes before {a + 1}."),
        "bigger": (_BIGGER, f"{max(a, b)} is bigger than {min(a, b)}."),
        "smaller": (_SMALLER, f"{min(a, b)} is smaller than {max(a, b)}."),
    }[kind]
    shown = {"half": 2 * a, "before": a + 1}.get(kind, a)
    return vary(rng.choice(asks), rng).format(a=_named(shown, in_words), b=_named(b, in_words)), said


def one(rng: Random) -> Conversation:
    """One sum or question about numbers, or two in a row."""
    turns: list[str] = []
    for _ in range(2 if rng.random() < 0.15 else 1):
        turns += _sum(rng) if rng.random() < 0.82 else _about(rng)
    return talk(*turns)
