"""The token generator: prefill in chunks, then one token a step. Knows nothing of text."""

import math
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.context import too_long
from engine.decoder import DecoderLM
from engine.errors import ContextOverflow, ModelError
from engine.events import FinishReason, PrefillProgress, Timings, TokenEvent
from engine.params import SamplingParams
from engine.sampler import History, Stage, TokenRules, sample, stages
from engine.splits import Split

PREFILL_CHUNK = 512  # positions; bounds the memory of a pass, and how long Ctrl-C waits


def never_cancelled() -> bool:
    """The default of `cancelled`."""
    return False


@torch.inference_mode()
def prefill(model: DecoderLM, ids: Sequence[int], cache: KVCache) -> Tensor:
    """Read `ids` after what the cache holds; float32 logits (V) of the last of them."""
    device = model.embedding.weight.device
    return model(torch.tensor([ids], device=device), cache, last_only=True)[0, -1].float()  # type: ignore[no-any-return]


def read_in(model: DecoderLM, ids: Sequence[int], splits: Iterable[Split], cache: KVCache) -> None:
    """Read `ids` in these passes, but for the last, which is left to a Generation.

    Of a pass that was cut the rest is read, too, and forgotten: a pass of another length would round otherwise. What
    stands there does not matter, as no position sees a later one.
    """
    cache.prepare(len(ids))
    for size, kept, times in splits:
        for _ in range(times):
            start = cache.length
            if start + kept >= len(ids):
                return
            chunk = list(ids[start : start + size])
            prefill(model, chunk + chunk[:1] * (size - len(chunk)), cache)
            cache.truncate(start + kept)


@torch.inference_mode()
def decode(model: DecoderLM, token: int, cache: KVCache) -> Tensor:
    """Read one token after what the cache holds; float32 logits (V) of the next. The step that speed is about."""
    device = model.embedding.weight.device
    return model(torch.tensor([[token]], device=device), cache, last_only=True)[0, -1].float()  # type: ignore[no-any-return]


class Generation:
    """One completion on its way. Iterate it once for PrefillProgress and TokenEvent; then `reason` says why it ended.

    prompt: ids, of which the cache already holds the first cache.length. The caller's list is not changed.
    sequence: the ids that the cache holds or is about to; sequence[:cache.length] agrees with the cache whenever
    the iteration is left, also by an exception. completion: the sampled ids, end token excluded.
    shifted_tokens: how many ids were let go, all in all, because the context was full.
    keep, shift: with shift, a full context drops the older half of what follows the first `keep` ids and reads
    the rest again, instead of ending.

    Raises ContextOverflow for a prompt longer than the cache may grow.
    """

    def __init__(
        self, model: DecoderLM, prompt: Sequence[int], params: SamplingParams, cache: KVCache, rules: TokenRules, *,
        seed: int, keep: int = 0, shift: bool = False, cancelled: Callable[[], bool] = never_cancelled,
        chunk: int = PREFILL_CHUNK,
    ) -> None:  # fmt: skip
        if len(prompt) > cache.limit:
            raise too_long(f"The prompt has {len(prompt)} tokens", cache.limit, model.config.max_positions)
        if shift and keep >= cache.limit - 1:
            raise ContextOverflow(
                f"{keep} tokens are to be kept, which leaves a context of {cache.limit} no room to move on."
            )
        cache.prepare(len(prompt))
        if not cache.length < max(1, len(prompt)):
            raise ValueError("at least one token of the prompt must be new to the cache")
        self.model, self.params, self.cache = model, params, cache
        self.sequence = list(prompt)
        self.completion: list[int] = []
        self.reason: FinishReason | None = None
        self.cached_tokens = cache.length
        self.shifted_tokens = 0
        self.splits: list[int] = []
        self.timings = Timings(0.0, 0.0, 0.0)
        self._rules, self._keep, self._shift = rules, keep, shift
        self._cancelled, self._chunk = cancelled, chunk
        self._random = random.Random(seed)

    def __iter__(self) -> Iterator[PrefillProgress | TokenEvent]:
        start = time.perf_counter()
        if self.params.max_new_tokens == 0:
            self.reason = "length"
            return
        history = History([self.sequence], self.model.config.vocab_size)
        active = stages(self.params, self._rules)
        logits = yield from self._read()
        read = first = last = time.perf_counter()
        while logits is not None:
            event = self._sample(logits, active, history)
            token = event.id
            if self._rules.ends[token]:
                self.reason = "eos"
                break
            self.sequence.append(token)
            self.completion.append(token)
            history.add([token])
            last = time.perf_counter()
            first = last if len(self.completion) == 1 else first
            self.timings = Timings(read - start, first - start, last - first)
            yield event
            if len(self.completion) >= self.params.max_new_tokens:
                self.reason = "length"
                break
            logits = yield from self._next(token)

    def _next(self, token: int) -> Generator[PrefillProgress, None, Tensor | None]:
        """Logits after `token`, or None with the reason set: the step of every token but the first."""
        if self._cancelled():
            self.reason = "interrupted"
            return None
        if self.cache.length < self.cache.limit:
            if self.cache.length == self.cache.turning_point:
                return (yield from self._read())  # all of it, with other angles
            return decode(self.model, token, self.cache)
        if not self._shift:
            self.reason = "context"
            return None
        kept, rest = self.sequence[: self._keep], self.sequence[self._keep :]
        half = rest[-max(1, len(rest) // 2) :]
        self.cache.truncate(self._keep if self.cache.holds(self._keep) else 0)
        self.sequence[:] = kept + half
        self.shifted_tokens += len(rest) - len(half)
        return (yield from self._read())

    def _read(self) -> Generator[PrefillProgress, None, Tensor | None]:
        """Read what the cache does not hold yet, in chunks; the logits of its last token, or None if cancelled."""
        logits = None
        self.cache.prepare(len(self.sequence))
        begin, total = self.cache.length, len(self.sequence)
        while self.cache.length < total:
            if self._cancelled():
                self.reason = "interrupted"
                return None
            chunk = self.sequence[self.cache.length : self.cache.length + self._chunk]
            logits = prefill(self.model, chunk, self.cache)
            self.splits.append(len(chunk))
            yield PrefillProgress(self.cache.length - begin, total - begin)
        return logits

    def _sample(self, logits: Tensor, active: Sequence[Stage], history: History) -> TokenEvent:
        """The next token. Raises ModelError when the logits are no numbers, or no token is left to choose."""
        logprobs = logits.log_softmax(-1)  # the model's own distribution, before any stage
        if not math.isfinite(float(logprobs.max())):
            raise ModelError(
                "The model's logits are not finite numbers; its weights are damaged or overflow their dtype."
            )
        # One number for each token, whatever the settings.
        uniform = torch.tensor([self._random.random()], dtype=torch.float64)
        token = int(sample(logits.cpu().unsqueeze(0), self.params, active, history, uniform))
        if token >= len(logits) or self._rules.never[token]:
            raise ModelError("No token is left to choose from: the settings remove every one.")
        if not self.params.logprobs:
            return TokenEvent(token, float(logprobs[token]))
        best = logprobs.topk(min(self.params.logprobs, len(logprobs)))
        top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        entropy = -(logprobs.exp() * logprobs).nansum()  # 0 · -inf is 0 here
        return TokenEvent(token, float(logprobs[token]), top, float(entropy))
