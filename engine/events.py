"""What a generation tells its consumer, as plain data. Torch-free, so that a terminal can be tested without a model.

Order of a generation: any number of PrefillProgress, any number of TextDelta, exactly one Finish. Only a shift of
the context reads anew, with PrefillProgress between the TextDeltas.
"""

from dataclasses import dataclass
from typing import Literal

from engine.splits import Split

FinishReason = Literal["eos", "stop", "length", "context", "interrupted"]


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One sampled token. `logprob` is of the model's own distribution, before any sampling stage; so is `entropy`
    (in nats), which is there when `top` was asked for."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()  # (id, logprob) of the most probable, when asked for
    entropy: float | None = None


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """`done` of `total` new prompt tokens have been read."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text that is certain to be part of the answer, and the tokens that were sampled since the last delta.

    Text can be empty (half a character, or a possible stop string is held back) and tokens can be empty
    (text that was held back is let go at the end). Thoughts of a reasoning model are no part of the answer's text.
    """

    text: str
    tokens: tuple[TokenEvent, ...] = ()
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of tokens. Of `prompt_tokens`, `cached_tokens` cost nothing. A shift of the full context in mid-answer
    let the oldest `shifted_tokens` go. A server that counts none has prompt_tokens 0, and the pieces of its answer for
    completion_tokens."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    shifted_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds. `first_token` counts from the request; `decode` covers the tokens after the first."""

    prefill: float
    first_token: float
    decode: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a generation.

    ids: every sampled id, the end token excluded; what a conversation keeps as the answer.
    prompt_ids: what the model was really given.
    cached_splits, prefill_splits: the passes in which the cached and the new prompt tokens were read, and what a shift
    read anew; a replay repeats them. keep: how many positions a shift leaves in place.
    """

    reason: FinishReason
    ids: tuple[int, ...]
    usage: Usage
    timings: Timings
    seed: int
    stop: str | None = None  # which stop string, when reason is "stop"
    prompt_ids: tuple[int, ...] = ()
    prefill_splits: tuple[int, ...] = ()
    cached_splits: tuple[Split, ...] = ()
    keep: int = 0


StreamEvent = PrefillProgress | TextDelta | Finish
