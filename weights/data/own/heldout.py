"""What the evaluation keeps for itself: the names and prompts that no generated conversation may hold."""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from engine.template import Message

EVALUATE = Path(__file__).resolve().parents[2] / "evaluate"
_TITLES = {"dr", "captain", "aunt", "sir"}
_MEMORY_NAMES = ("Ludmire", "Bramwick")


def _rows(name: str, file: str = "") -> list[dict[str, object]]:
    table = tomllib.loads((EVALUATE / f"{file or name + 's'}.toml").read_text(encoding="utf-8"))
    rows: list[dict[str, object]] = table[name]
    return rows


def plain(text: str) -> str:
    """The words of a text, small and without punctuation: what two spellings of one prompt share."""
    return " ".join(re.findall(r"[a-z0-9']+", text.casefold()))


@cache
def heldout_names() -> tuple[str, ...]:
    """The names that only the evaluation uses, without their titles."""
    names = []
    for row in _rows("persona"):
        words = str(row["name"]).split()
        names.append(" ".join(words[1:] if words[0].rstrip(".").lower() in _TITLES else words))
    return (*names, *_MEMORY_NAMES)


@cache
def heldout_prompts() -> frozenset[str]:
    """The last user message of every held-out prompt, as `plain` writes it."""
    prompts = set()
    for row in _rows("prompt"):
        messages = row.get("messages")
        last = messages[-1]["content"] if isinstance(messages, list) else row["user"]
        prompts.add(plain(str(last)))
    prompts.update(plain(str(row["ask"])) for row in _rows("question", "shell"))
    return frozenset(prompts)


@cache
def _name_pattern() -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in heldout_names())
    return re.compile(rf"\b(?:{names})\b", re.IGNORECASE)


def has_heldout_name(text: str) -> bool:
    """Whether one of the held-out names stands in the text, however it is written."""
    return _name_pattern().search(text) is not None


def is_heldout(conversation: Iterable[Message]) -> bool:
    """Whether a conversation holds a held-out name, or a held-out prompt as a user's turn."""
    return any(
        has_heldout_name(m.content) or (m.role == "user" and plain(m.content) in heldout_prompts())
        for m in conversation
    )
