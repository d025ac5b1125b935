"""What the store gives back, as plain data: sessions, the messages of their trees, the generations of an answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Verdict = Literal["good", "bad", "fixed"]


@dataclass(frozen=True)
class Session:
    """One conversation. Times are seconds since 1970. head: the message at which it stands."""

    id: str
    created: float
    updated: float
    title: str
    model: str
    head: int | None
    messages: int


@dataclass(frozen=True)
class Generation:
    """One generation of an answer, with what is needed to repeat it.

    settings: what was set and loaded (see provenance.py). start: how many of the answer's ids were there before;
    ids: those that it sampled. seed, splits and counts are None when it was killed.
    """

    number: int
    model_hash: str
    template_hash: str
    settings: Mapping[str, Any]
    start: int
    ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    splits: Mapping[str, Any] | None = None
    seed: int | None = None
    draws: int | None = None
    logprobs: tuple[float, ...] = ()
    counts: Mapping[str, Any] | None = None
    reason: str = "interrupted"
    stop: str | None = None


@dataclass(frozen=True)
class Judgement:
    """What a person thinks of an answer; text: as it should have been."""

    verdict: Verdict
    text: str | None = None


@dataclass(frozen=True)
class Kept:
    """One message. A system prompt stands in the tree where it comes into force; the last on a path is in force.

    complete: False while an answer streams, or when its process was killed; cut: it ended before its end. found: what
    was looked up for its prompt; dropped: which turns went out of the context before it.
    """

    id: int
    parent: int | None
    role: Role
    text: str
    created: float
    ids: tuple[int, ...] | None = None
    complete: bool = True
    cut: bool = False
    found: Mapping[str, Any] | None = None
    dropped: Mapping[str, Any] | None = None
    generations: tuple[Generation, ...] = ()
    judgement: Judgement | None = None


@dataclass(frozen=True)
class Conversation:
    """A session with its whole tree, parents before children."""

    session: Session
    messages: tuple[Kept, ...]
    by_id: Mapping[int, Kept] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {message.id: message for message in self.messages})

    def path(self, leaf: int | None = None) -> list[Kept]:
        """The messages from the root to `leaf`, or to where the conversation stands."""
        head = self.session.head if leaf is None else leaf
        if head is not None and head not in self.by_id and self.messages:
            head = self.messages[-1].id
        path: list[Kept] = []
        while head is not None and head in self.by_id:
            path.append(self.by_id[head])
            head = path[-1].parent
        return path[::-1]
