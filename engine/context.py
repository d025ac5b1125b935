"""Which messages fit the context: whole turns go, oldest first; never the system prompt, never half a turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.errors import ContextOverflow, UsageError
from engine.template import Message

Overflow = Literal["error", "drop-oldest", "shift"]
OVERFLOWS: tuple[Overflow, ...] = ("error", "drop-oldest", "shift")
FULL = 0.75  # after a drop: each drop makes everything after the system prompt be read again, so drop in blocks


@dataclass(frozen=True)
class Fit:
    """What will be sent, and what was left out of it to make it fit."""

    messages: tuple[Message, ...]
    prompt_tokens: int
    dropped: tuple[Message, ...] = ()
    dropped_tokens: int = 0


def fit(
    messages: Sequence[Message], count: Callable[[Sequence[Message]], int], context: int, room: int, overflow: str,
    maximum: int | None = None,
) -> Fit:  # fmt: skip
    """The messages that go to the model when `context` positions are there and the answer wants `room` of them.

    count: tokens of a rendered conversation. maximum: positions of the model, for the error. With "error" nothing is
    dropped; a prompt longer than the context is refused. Otherwise the oldest turns are dropped until the prompt fills
    at most FULL of the context, when prompt and room do not fit. Raises ContextOverflow with the counts when what may
    not be dropped does not fit.
    """
    if overflow not in OVERFLOWS:
        raise UsageError(f"--overflow must be one of {', '.join(OVERFLOWS)}, not {overflow!r}.")
    total = count(messages)
    room = min(room, context // 4)  # an answer that is allowed to be long does not empty the history
    if total + (0 if overflow == "error" else room) <= context:
        return Fit(tuple(messages), total)
    head = [m for m in messages[:1] if m.role == "system"]
    turns = list(messages[len(head) :])
    kept, size = turns, total
    if overflow != "error":
        while _after_first_turn(kept) and size > min(context - room, int(context * FULL)):
            kept = _after_first_turn(kept)
            size = count([*head, *kept])
    if size > context:
        raise too_long(f"The prompt has {size} tokens", context, maximum or context)
    return Fit((*head, *kept), size, tuple(turns[: len(turns) - len(kept)]), total - size)


def too_long(what: str, context: int, maximum: int) -> ContextOverflow:
    """The error for a text, with its count, that has more tokens than the context has positions; `maximum`: how many
    the model has."""
    more = f"Shorten it, or raise --context, up to {maximum}."
    hint = more if context < maximum else "Shorten it: the model has no more positions."
    return ContextOverflow(f"{what} and the context {context} positions.", hint)


def _after_first_turn(messages: list[Message]) -> list[Message]:
    """The messages from the second turn on; empty when there is none: the last question is never dropped.

    A turn begins with its user message, or with the context that was looked up for it.
    """
    users = [i for i, m in enumerate(messages) if m.role == "user"]
    starts = [i - 1 if i and messages[i - 1].role == "context" else i for i in users]
    return messages[starts[1] :] if len(starts) > 1 else []
