"""What the OpenAI API answers, as plain values. Every field is looked at before it is believed. Torch-free."""

import json
import re
from dataclasses import dataclass
from typing import Any

from chat.remote.address import KEYS
from chat.remote.exchange import Head
from engine.errors import ContextOverflow, ModelError, TfmError

DONE = b"[DONE]"  # the last event of a stream
SHOWN = 300  # characters of a server's own words
TOO_LONG = re.compile(r"context.{0,40}(length|size|window)|context_length_exceeded|exceed_context", re.IGNORECASE)
THOUGHTS = ("reasoning_content", "reasoning")  # no part of the API; servers of reasoning models have one of them


@dataclass(frozen=True)
class Piece:
    """One event of a stream. end: the reason, in the last that has text. counts: tokens of (prompt, its part that was
    cached, answer), when the server tells them."""

    text: str = ""
    thoughts: str = ""
    end: str = ""
    counts: tuple[int, int, int] | None = None


class Nonsense(Exception):
    """What came is not what the API has there."""


def names_of(body: bytes) -> list[str]:
    """The models that GET /v1/models lists. Raises Nonsense."""
    entries = _object(body).get("data")
    if not isinstance(entries, list):
        raise Nonsense("a list of models without `data`")
    return [_text(entry.get("id")) for entry in entries if isinstance(entry, dict) and entry.get("id")]


def context_of(body: bytes, name: str) -> int:
    """The positions that a server says a model has (vLLM does); 0 when it says nothing."""
    for entry in _object(body)["data"]:
        told = entry.get("max_model_len") if isinstance(entry, dict) and entry.get("id") == name else None
        if isinstance(told, int) and told > 0:
            return told
    return 0


def piece_of(event: bytes) -> Piece:
    """One event of a stream. Raises Nonsense, and TfmError when the server tells of an error in mid-answer."""
    value = _object(event)
    if value.get("error"):
        raise refusal(f"The server broke off its answer: {_said(value)}")
    choices = value.get("choices")
    if not isinstance(choices, list):
        raise Nonsense("an event without `choices`")
    counts = _counts(value.get("usage"))
    if not choices:
        return Piece(counts=counts)
    choice = choices[0]
    delta = choice.get("delta", choice) if isinstance(choice, dict) else None  # a raw text stands in `choice` itself
    if not isinstance(choice, dict) or not isinstance(delta, dict):
        raise Nonsense("a choice that is no object")
    thoughts = next((delta[name] for name in THOUGHTS if delta.get(name)), "")
    text = delta.get("content") or delta.get("text") or ""
    return Piece(_text(text), _text(thoughts), _text(choice.get("finish_reason") or ""), counts)


def check(head: Head | None, body: bytes, address: object) -> None:
    """Raise TfmError with the server's own words unless it answered 200."""
    if head is None or head.status == 200:
        return
    try:
        said = _said(_object(body))
    except Nonsense:
        said = ""
    hint = f"The key is read from {' or '.join(KEYS)}." if head.status in (401, 403) else ""
    if 300 <= head.status < 400:
        hint = "It sends elsewhere; give the address that it means."
    raise refusal(f"The server at {address} answered {head.status} {head.reason}{f': {said}' if said else '.'}", hint)


def refusal(message: str, hint: str = "") -> TfmError:
    """The error that a server's words tell of: too long a prompt, or anything else."""
    message = message if message.endswith(".") else message + "."
    if TOO_LONG.search(message):
        return ContextOverflow(message, "Nothing was left out: shorten it, or /undo turns.")
    return ModelError(message, hint)


def _said(value: dict[str, Any]) -> str:
    """The message of an error, in the several forms that servers give it."""
    error = value.get("error", value.get("detail", value.get("message", "")))
    if isinstance(error, dict):
        error = error.get("message") or error.get("code") or ""
    said = " ".join(str(error).split())
    return said if len(said) <= SHOWN else said[:SHOWN] + "..."


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as e:
        shown = text[:60].decode(errors="replace")
        raise Nonsense(f"no JSON: {' '.join(shown.split())!r}" if text.strip() else "nothing") from e
    if not isinstance(value, dict):
        raise Nonsense("JSON that is no object")
    return value


def _text(value: Any) -> str:
    """A text, with halves of characters made whole or replaced: neither a terminal nor a store takes them."""
    if not isinstance(value, str):
        raise Nonsense(f"{type(value).__name__} in place of a text")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _counts(usage: Any) -> tuple[int, int, int] | None:
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    counts = (usage.get("prompt_tokens"), cached or 0, usage.get("completion_tokens"))
    if not all(isinstance(n, int) and n >= 0 for n in counts):
        return None
    return counts  # type: ignore[return-value]
