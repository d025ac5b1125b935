"""Questions as many people type them: with a lead such as "quick question:", small letters, slips, no question mark."""

import re
from collections.abc import Sequence
from random import Random

from weights.data.own.phrasing import vary

_FRAMES = (
    "quick question: {q}",
    "question: {q}",
    "hey, {q}",
    "hello, {q}",
    "ok, {q}",
    "so, {q}",
    "please tell me: {q}",
    "tell me, {q}",
    "can you tell me: {q}",
    "do you know: {q}",
    "i want to know: {q}",
    "just curious, {q}",
    "help me with this: {q}",
    "{q} please",
    "{q} i forgot",
    "{q} do you know?",
    "tfm, {q}",
)
_WH = re.compile(r"(?:what|who|where|when|why|how|which|is|are|can|do|does)\b", re.IGNORECASE)


def capital(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]


def article(noun: str) -> str:
    """The noun with `a` or `an` before it."""
    vowel = re.match(r"[aeiou]", noun, re.IGNORECASE) and not re.match(
        r"(?:uni|use|eu|one|ukulele)", noun, re.IGNORECASE
    )
    return f"{'an' if vowel else 'a'} {noun}"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def asked(question: str, rng: Random, lead: float = 0.08, typo: float = 0.06) -> str:
    """A whole question as one of many people would type it."""
    if _WH.match(question) and rng.random() < lead:
        first = question.split(" ", 1)[0]
        small = question if first == "I" else question[:1].lower() + question[1:]
        return vary(rng.choice(_FRAMES).format(q=small), rng, lead=0, typo=typo)
    return vary(question if rng.random() < 0.3 else capital(question), rng, lead=lead / 2, typo=typo)
