"""`RemoteEngine`: the model runs on an OpenAI-compatible server, and text goes there and comes back. Torch-free.

What a server tells are texts, not tokens: so what needs ids (look-up, /continue, /compare, log-probabilities, replay)
is refused in one sentence, and what the API has no word for is told to be left out.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NoReturn

from chat.remote.address import Address, address_of, key_for
from chat.remote.exchange import LONGEST_LINE, Exchange
from chat.remote.params import RequestParams, request_of
from chat.remote.replies import DONE, Nonsense, Piece, check, context_of, names_of, piece_of
from chat.screen import Screen
from chat.settings import SETTINGS, Rank, Settings, flag
from engine.context import Fit
from engine.errors import ModelError, UsageError
from engine.events import Finish, FinishReason, PrefillProgress, StreamEvent, TextDelta, Timings, Usage
from engine.info import ModelInfo
from engine.params import SamplingParams
from engine.stream import StopMatcher
from engine.template import Message
from engine.thinking import Thinking

LIST_SECONDS = 30.0  # some servers do not even list their models while they answer
SILENCE_SECONDS = 600.0  # a long prompt on a slow machine is read for minutes before the first word
TOKEN_BYTES = 1 << 12  # more than an event of one token ever has
SEED_BITS = 31
LISTED = 20  # models in an error
HERE = ("model", "server", "offline")  # of the settings of a model, those that a server does not decide
SERVERS_OWN = (*(n for n, s in SETTINGS.items() if s.table == "model" and n not in HERE), "context", "overflow")


def connect(settings: Settings, screen: Screen) -> "tuple[RemoteEngine, Settings]":
    """The engine for the server of the settings, and the settings with the model's name there.

    What is set and has no effect there is told. Raises UsageError for a server that may not be, ModelError for one that
    does not answer or lacks the model.
    """
    address = address_of(settings)
    key = key_for(address)
    screen.wait(f"asking {address.host}")
    try:
        body = fetch(address, key, "/models", LIST_SECONDS)
        names = names_of(body)
        wanted = settings.values["model"]
        name = choose(names, wanted.value if wanted.rank > Rank.DEFAULT else None, address)
        context = context_of(body, name)
    except Nonsense as e:
        raise ModelError(f"The server at {address} does not list its models: it sent {e}.") from e
    finally:
        screen.stop_waiting()
    if wanted.rank == Rank.DEFAULT and len(names) > 1:
        screen.report(f"{name} answers, the first of {len(names)} models there; -m chooses: {_listed(names)}.")
    useless = [n for n in SERVERS_OWN if settings.values[n].rank > Rank.MODEL]
    if useless:
        screen.report(f"The server decides on what this sets, so it has no effect: {', '.join(map(flag, useless))}.")
    named = Settings({**settings.values, "model": replace(wanted, value=name)})
    return RemoteEngine(address, key, name, screen.report, context), named


def fetch(address: Address, key: str, path: str, seconds: float) -> bytes:
    """The body of a GET. Raises TfmError unless it is there and answered 200."""
    with closing(Exchange(address, key, path, None, silence=seconds)) as exchange:
        body = b"".join(exchange.parts(lambda: False))
        check(exchange.head, body, address)
        return body


def choose(names: Sequence[str], wanted: str | None, address: Address) -> str:
    """The model that a name means among those of a server: its whole name, or a part of one alone; None: the first."""
    if not names:
        raise ModelError(f"The server at {address} has no model.")
    if wanted is None:
        return names[0]
    near = [name for name in names if wanted == name] or [n for n in names if wanted.casefold() in n.casefold()]
    if len(near) == 1 and wanted:
        return near[0]
    if near and wanted:
        raise ModelError(f"{wanted!r} is a part of several models' names at {address}: {_listed(near)}.")
    raise ModelError(f"The server at {address} has no model {wanted!r}.", f"It has {_listed(names)}.")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


class RemoteEngine:
    """A `Backend` without tokens. tell: takes a sentence for the person."""

    tokenizer = template = kept = None

    def __init__(self, address: Address, key: str, model: str, tell: Callable[[str], None], context: int = 0) -> None:
        self.address, self.context = address, context
        self.defaults: dict[str, Any] = {}
        self.info = ModelInfo(
            name=model, path=str(address), parameters=0, dtype="", device=str(address), threads=0,
            template="the server's", template_source="it is applied there",
        )  # fmt: skip
        self._key, self._tell = key, tell
        self._left_out: tuple[str, ...] = ()  # what was told last

    def remarks(self) -> tuple[str, ...]:
        """Whose the settings are; and that a key goes where others can read it."""
        remarks = ["What of the sampling is not set here is as the server has it."]
        if self._key and self.address.scheme == "http" and not self.address.is_here:
            remarks.append(f"The key goes to {self.address.host} unencrypted.")
        return tuple(remarks)

    def tokenize(self, text: str) -> list[int]:
        """Raises UsageError: a server tells no tokens."""
        self._refuse()

    def prompt_ids(self, messages: Sequence[Message], *, prefill: str | Sequence[int] = "") -> list[int]:
        """Raises UsageError: a server tells no tokens."""
        self._refuse()

    def spoken(self, messages: Sequence[Message], ids: Sequence[int], params: SamplingParams) -> tuple[str, str]:
        """Raises UsageError: a server tells no tokens."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UsageError(f"The server at {self.address} tells no tokens: nothing can be counted or begun for it.")

    def fit(
        self, messages: Sequence[Message], params: SamplingParams, overflow: str, *, prefill: str | Sequence[int] = ""
    ) -> Fit:
        """All messages: whether they fit, the server says."""
        return Fit(tuple(messages), 0)

    def generate(
        self, prompt: str | Sequence[int], params: SamplingParams, *, overflow: str = "error",
        cancelled: Callable[[], bool],
    ) -> Iterator[StreamEvent]:  # fmt: skip
        """Continue a text. Ends with exactly one Finish."""
        yield from self._run("/completions", {"prompt": prompt}, params, Thinking(over=True), cancelled)

    def chat(
        self, messages: Sequence[Message], params: SamplingParams, *, overflow: str = "drop-oldest",
        prefill: str | Sequence[int] = "", cancelled: Callable[[], bool],
    ) -> Iterator[StreamEvent]:  # fmt: skip
        """Answer a conversation. Ends with exactly one Finish.

        Raises UsageError for a prefill, ContextOverflow when the server says that it does not fit, ModelError for all
        else that goes wrong, also in mid-answer.
        """
        if prefill:
            self._refuse()
        yield from self._run("/chat/completions", {"messages": as_sent(messages)}, params, Thinking(), cancelled)

    def _run(
        self, path: str, prompt: dict[str, Any], params: SamplingParams, thinking: Thinking,
        cancelled: Callable[[], bool],
    ) -> Iterator[StreamEvent]:  # fmt: skip
        """One request and its answer."""
        self._tell_left_out(params)
        seed = params.seed if params.seed is not None else secrets.randbits(SEED_BITS)
        body = {"model": self.info.name, **prompt, **request_of(params, seed), "stream": True}
        body["stream_options"] = {"include_usage": True}
        clock = _Clock()
        yield PrefillProgress(0, 1)
        if params.max_new_tokens == 0:
            yield Finish("length", (), Usage(0, 0, 0), clock.timings(), seed)
            return
        counts, reason, stop, pieces = None, "", None, 0
        matcher = StopMatcher(params.stop)
        limit = LONGEST_LINE + TOKEN_BYTES * params.max_new_tokens
        with closing(Exchange(self.address, self._key, path, body, silence=SILENCE_SECONDS, limit=limit)) as exchange:
            for piece in self._pieces(exchange, cancelled):
                counts, reason = piece.counts or counts, piece.end or reason
                if not (piece.text or piece.thoughts):
                    continue
                pieces += 1
                clock.token()
                thoughts, text = thinking.add(piece.text)
                text, stop = matcher.add(text)
                yield TextDelta(text, (), piece.thoughts + thoughts)
                if stop is not None:
                    break
        more, rest = thinking.finish()
        if stop is None:
            text, stop = matcher.add(rest)
            text += "" if stop is not None else matcher.finish()
            if text or more:
                yield TextDelta(text, (), more)
        usage = Usage(*counts) if counts is not None else Usage(0, 0, pieces)
        ended = "stop" if stop is not None else "interrupted" if cancelled() else self._end(reason, usage, params)
        yield Finish(ended, (), usage, clock.timings(), seed, stop)

    def _pieces(self, exchange: Exchange, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        """The events of a stream to its end. Raises TfmError when there is no stream, or it ends before its end."""
        ended = begun = False
        try:
            for part in exchange.parts(cancelled):
                if exchange.head is not None and not exchange.head.is_stream:
                    check(exchange.head, part, self.address)
                    raise Nonsense("one text and no stream")
                if part == DONE:
                    return
                piece = piece_of(part)
                ended, begun = ended or bool(piece.end), begun or bool(piece.text or piece.thoughts)
                yield piece
        except Nonsense as e:
            raise ModelError(
                f"The server at {self.address} does not answer as the OpenAI API does: it sent {e}."
            ) from e
        if ended or cancelled():
            return
        if begun:
            raise ModelError(f"The server at {self.address} stopped in the middle of its answer.")
        raise ModelError(
            f"The server at {self.address} ended without a word of an answer.",
            "Its log may say why; one reason is a prompt that is too long for it.",
        )

    def _end(self, reason: str, usage: Usage, params: SamplingParams) -> FinishReason:
        """Why an answer ended, by the server's word for it."""
        if reason == "length":
            is_short = usage.prompt_tokens > 0 and usage.completion_tokens < params.max_new_tokens
            return "context" if is_short else "length"
        if reason in ("stop", ""):
            return "eos"
        raise ModelError(f"The server at {self.address} ended its answer, and gives as the reason: {reason[:80]}.")

    def _tell_left_out(self, params: SamplingParams) -> None:
        """Say what cannot be asked for, whenever that has changed."""
        left_out = params.left_out if isinstance(params, RequestParams) else ()
        if left_out and left_out != self._left_out:
            self._tell(f"Left out, because the OpenAI API has no word for it: {_flags(left_out)}.")
        self._left_out = left_out


def _flags(names: Sequence[str]) -> str:
    """Flags of settings in a sentence."""
    flags = [flag(name) for name in names]
    return flags[0] if len(flags) == 1 else f"{', '.join(flags[:-1])} and {flags[-1]}"


def as_sent(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as the API has them: thoughts stay here, and what was once looked up goes with its question."""
    sent: list[dict[str, str]] = []
    context = ""
    for message in messages:
        content = message.content
        if message.role == "context":
            context = f"{content}\n\n"
            continue
        if message.role == "assistant":
            thinking = Thinking()
            content = thinking.add(content)[1] + thinking.finish()[1]
        sent.append({"role": message.role, "content": context + content})
        context = ""
    return sent


class _Clock:
    """When the pieces of an answer came."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._first = self._last = 0.0

    def token(self) -> None:
        """A piece is here."""
        self._last = time.perf_counter()
        self._first = self._first or self._last

    def timings(self) -> Timings:
        """As the engine has them; what the network takes is in them."""
        first = self._first - self._start if self._first else 0.0
        return Timings(first, first, self._last - self._first)
