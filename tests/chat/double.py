"""`ScriptedEngine`: the engine's interface without a model, for tests of everything that a person touches.

Its tokens are characters and its ids are code points, so a test can read what was sent. It answers from a list, or
repeats the last user message, and records every call.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from engine.context import Fit, fit
from engine.errors import ContextOverflow
from engine.events import Finish, PrefillProgress, StreamEvent, TextDelta, Timings, TokenEvent, Usage
from engine.params import SamplingParams
from engine.splits import Split
from engine.template import TFM, Message


@dataclass(frozen=True)
class Call:
    """One request that reached the engine."""

    kind: str
    prompt: Any
    params: SamplingParams
    overflow: str
    prefill: str | Sequence[int] = ""

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The messages as (role, text)."""
        return [(m.role, m.content) for m in self.prompt]


class CharTokenizer:
    """A character is a token."""

    vocab_size = 0x110000
    special_tokens = {"bos_token": "<s>"}  # noqa: RUF012
    controls = dict.fromkeys(TFM.controls)

    def control_id(self, name: str) -> int | None:
        return 1 if name in self.controls else None

    def is_control(self, id: int) -> bool:
        return id == 1

    def token_bytes(self, id: int) -> bytes:
        return chr(id).encode()

    def encode_within(self, text: str) -> list[int]:
        return self.encode(text)

    def encode(self, text: str) -> list[int]:
        return [ord(char) for char in text]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(map(chr, ids))

    def piece(self, id: int) -> str:
        return chr(id)


@dataclass
class ScriptedEngine:
    """answers: what it says, in turn; when they are used up it repeats the prompt. chunk: characters a delta."""

    answers: list[str] = field(default_factory=list)
    delay: float = 0.0
    prefill_delay: float = 0.0
    chunk: int = 1
    context: int = 100_000
    defaults: dict[str, Any] = field(default_factory=dict)
    reason: str = "eos"
    fail: Exception | None = None  # raised after half of the answer

    def __post_init__(self) -> None:
        self.calls: list[Call] = []
        self.loaded: dict[str, Any] = {}
        self.tokenizer = CharTokenizer()
        self.template = TFM
        self.config = SimpleNamespace(vocab_size=0x110000, n_layers=1, max_positions=self.context, eos_ids=(1,))
        self.info = SimpleNamespace(
            name="scripted",
            path="/nowhere",
            parameters=10_000_000,
            dtype="float32",
            device="cpu",
            threads=1,
            template="tfm",
            template_source="built in",
            adapter="",
            quantisation="",
            quant="none",
            kv="auto",
        )
        self._seen: list[int] = []

    def loader(self, path: Any, **options: Any) -> "ScriptedEngine":
        """Stands in for `load_engine`."""
        self.loaded = {"path": path, **options}
        if options.get("context"):
            self.context = min(self.context, options["context"])
        return self

    def tokenize(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def remarks(self) -> tuple[str, ...]:
        return ()

    @property
    def kept(self) -> SimpleNamespace:
        return SimpleNamespace(caches=1, nbytes=1 << 20, max_bytes=1 << 28)

    def prompt_ids(self, messages: Sequence[Message], *, prefill: str | Sequence[int] = "") -> list[int]:
        ids: list[int] = []
        for segment in TFM.render(messages):
            ids += [1] if segment.control else segment.ids or self.tokenize(segment.text)
        return ids + (self.tokenize(prefill) if isinstance(prefill, str) else list(prefill))

    def fit(
        self, messages: Sequence[Message], params: SamplingParams, overflow: str, *, prefill: str | Sequence[int] = ""
    ) -> Fit:
        def count(some: Sequence[Message]) -> int:
            return len(self.prompt_ids(some, prefill=prefill))

        return fit(messages, count, self.context, params.max_new_tokens, overflow, maximum=self.config.max_positions)

    def spoken(self, messages: Sequence[Message], ids: Sequence[int], params: SamplingParams) -> tuple[str, str]:
        return "", self.tokenizer.decode(ids)

    def generate(
        self,
        prompt: str | Sequence[int],
        params: SamplingParams,
        *,
        overflow: str = "error",
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[StreamEvent]:
        self.calls.append(Call("generate", prompt, params, overflow))
        text = prompt if isinstance(prompt, str) else self.tokenizer.decode(prompt)
        yield from self._stream([1, *self.tokenize(text)], text, params, overflow, cancelled)

    def chat(
        self,
        messages: Sequence[Message],
        params: SamplingParams,
        *,
        overflow: str = "drop-oldest",
        prefill: str | Sequence[int] = "",
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[StreamEvent]:
        self.calls.append(Call("chat", tuple(messages), params, overflow, prefill))
        messages = self.fit(messages, params, overflow, prefill=prefill).messages
        ids = self.prompt_ids(messages, prefill=prefill)
        yield from self._stream(ids, messages[-1].content, params, overflow, cancelled)

    def replay(
        self,
        prompt: Sequence[int],
        params: SamplingParams,
        splits: Iterable[Split],
        *,
        keep: int = 0,
        overflow: str = "error",
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[StreamEvent]:
        self.calls.append(Call("replay", (tuple(prompt), tuple(splits), keep), params, overflow))
        yield from self._stream(list(prompt), self.tokenizer.decode(prompt), params, overflow, cancelled)

    def _stream(
        self,
        ids: list[int],
        echo: str,
        params: SamplingParams,
        overflow: str,
        cancelled: Callable[[], bool] | None,
    ) -> Iterator[StreamEvent]:
        if len(ids) > self.context:
            raise ContextOverflow(f"The prompt has {len(ids)} tokens and the context {self.context} positions.")
        stop = cancelled or (lambda: False)
        answer = self.answers.pop(0) if self.answers else echo
        reason, said = self.reason, ""
        if len(answer) > params.max_new_tokens:
            answer, reason = answer[: params.max_new_tokens], "length"
        for done in range(0, len(ids), 10):
            if stop():
                answer, reason = "", "interrupted"
                break
            yield PrefillProgress(done, len(ids))
            time.sleep(self.prefill_delay)
        for start in range(0, len(answer), self.chunk):
            if stop():
                reason = "interrupted"
                break
            if self.fail and start >= len(answer) / 2:
                raise self.fail
            part = answer[start : start + self.chunk]
            said += part
            yield TextDelta(part, tuple(TokenEvent(ord(c), -0.5, ((ord(c), -0.5),), 1.5) for c in part))
            time.sleep(self.delay)
        yield self._finish(ids, said, reason, params)

    def _finish(self, ids: list[int], said: str, reason: str, params: SamplingParams) -> Finish:
        cached = 0
        while cached < min(len(ids), len(self._seen)) and ids[cached] == self._seen[cached]:
            cached += 1
        new = tuple(map(ord, said))
        self._seen = ids + list(new)
        return Finish(
            reason=reason,  # type: ignore[arg-type]
            ids=new,
            usage=Usage(len(ids), cached, len(new)),
            timings=Timings(0.1, 0.1, 0.5),
            seed=1234 if params.seed is None else params.seed,
            stop="X" if reason == "stop" else None,
            prompt_ids=tuple(ids),
            prefill_splits=(len(ids) - cached,),
            cached_splits=(Split(cached, cached, 1),) if cached else (),
        )
