"""Sums with small numbers, answered in one line."""

from random import Random

from weights.data.own.phrasing import Conversation, talk, vary

_WORDS = {"+": ("plus", "added to"), "-": ("minus", "less"), "*": ("times", "multiplied by")}
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
_ANSWERS = ("{s} = {r}", "{s} = {r}", "{s} = {r}.", "{s} is {r}.", "That is {r}.", "{r}")
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
_TASKS = {"+": _ADD, "-": _SUB, "*": _MUL}


def _sum(rng: Random) -> tuple[str, str]:
    sign = rng.choices("+-*", (5, 3, 3))[0]
    top = 12 if sign == "*" else rng.choice((10, 10, 20, 20, 50, 100))
    a, b = (
        rng.randint(0 if sign != "*" else 1, top),
        rng.randint(0 if sign != "*" else 1, min(top, rng.choice((10, 20, 100)))),
    )
    if sign == "-" and b > a:
        a, b = b, a
    result = a + b if sign == "+" else a - b if sign == "-" else a * b
    written = f"{a} {sign} {b}"
    if rng.random() < 0.2:
        question = vary(rng.choice(_TASKS[sign]), rng).format(a=a, b=b)
    else:
        asked = written
        if rng.random() < 0.35:
            asked = f"{a} {_WORDS[sign][0] if rng.random() < 0.85 else _WORDS[sign][1]} {b}"
        elif rng.random() < 0.2:
            asked = written.replace(" ", "")
        elif sign == "*" and rng.random() < 0.3:
            asked = f"{a} x {b}"
        question = vary(rng.choice(_FRAMES), rng).format(s=asked)
    return question, rng.choice(_ANSWERS).format(s=written, r=result)


def one(rng: Random) -> Conversation:
    """One sum, or two in a row."""
    turns = list(_sum(rng))
    if rng.random() < 0.15:
        turns += _sum(rng)
    return talk(*turns)
