"""How people type: the same question in small letters, without its question mark, with a slip of the finger.

Text in braces stays as it is, so a table's `{name}` can be filled in afterwards.
"""

import re
from random import Random

from engine.template import Message

Conversation = tuple[Message, ...]

_SHORT = (
    ("what is ", "what's "),
    ("what is ", "whats "),
    ("what is ", "wats "),
    ("who are you", "who r u"),
    ("do not ", "don't "),
    ("do not ", "dont "),
    ("i am ", "i'm "),
    ("i am ", "im "),
    ("you are ", "you're "),
    ("are you ", "are u "),
    ("can you ", "can u "),
    ("do you ", "do u "),
    ("your ", "ur "),
    ("please", "pls"),
    ("how do i ", "how to "),
    ("tell me ", "tell me "),
    ("cannot", "can't"),
    ("it is ", "it's "),
    ("who is ", "who's "),
)
_LEADS = (
    "hi",
    "hello",
    "hey",
    "hi there",
    "hello there",
    "hey there",
    "good morning",
    "good evening",
    "good afternoon",
    "ok",
    "okay",
    "so",
    "well",
    "now",
    "alright",
    "thanks",
    "please",
    "excuse me",
    "sorry",
    "wait",
    "um",
    "tell me",
    "one question",
    "one more thing",
    "by the way",
    "just wondering",
    "i was wondering",
    "quick question",
    "first of all",
    "and",
    "but",
    "hmm",
    "oh",
    "yo",
)
_TAILS = (
    "please",
    "exactly",
    "by the way",
    "then",
    "now",
    "again",
    "my friend",
    "if i may ask",
    "actually",
    "thanks",
    "really",
    "anyway",
)


def _typo(text: str, rng: Random) -> str:
    """One slip: two letters swapped, one left out, or one doubled, inside a longer word."""
    places = list(re.finditer(r"(?<![{/\-`\w])[A-Za-z]{4,}(?![}\w])", text))
    if not places:
        return text
    word = rng.choice(places)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    kind = rng.random()
    if kind < 0.4:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind < 0.75:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small_start(text: str) -> str:
    return text if re.match(r"(I\b|[A-Z]{2}|\{)", text) else text[:1].lower() + text[1:]


def lower(text: str) -> str:
    """The text in small letters, but for the places in braces."""
    return "".join(part if part.startswith("{") else part.lower() for part in re.split(r"(\{\w+\})", text))


def vary(text: str, rng: Random, lead: float = 0.12, typo: float = 0.06) -> str:
    """The text as one of many people would type it; most keep it as it is, or nearly."""
    if rng.random() < 0.22:
        low = text.lower()
        fits = [pair for pair in _SHORT if pair[0] in low]
        if fits:
            old, new = rng.choice(fits)
            at = low.index(old)
            upper = text[at : at + 1].isupper()
            text = text[:at] + (_capital(new) if upper else new) + text[at + len(old) :]
    if rng.random() < lead:
        start = _capital(rng.choice(_LEADS))
        text = start + rng.choice((", ", ", ", " ", "! ", ". ")) + _small_start(text)
    elif text.endswith("?") and rng.random() < lead / 3:
        text = f"{text[:-1]}{rng.choice((', ', ' '))}{rng.choice(_TAILS)}?"
    if rng.random() < typo:
        text = _typo(text, rng)
    if rng.random() < 0.35:
        text = lower(text)
    end = rng.random()
    if end < 0.35:
        text = text.rstrip("?.! ") or text
    elif end < 0.38:
        text = text.rstrip("?.!") + text[-1] * 2 if text[-1] in "?!" else text
    elif end < 0.40 and text.endswith("?"):
        text = text[:-1] + rng.choice((" ?", "?!", "..."))
    if rng.random() < 0.01:
        text = "".join(p if p.startswith("{") else p.upper() for p in re.split(r"(\{\w+\})", text))
    return text


def talk(*turns: str, system: str = "") -> Conversation:
    """A conversation from its turns, the user's first; with a system prompt in front if there is one."""
    start = (Message("system", system),) if system else ()
    return start + tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(turns))
