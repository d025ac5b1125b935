"""`load_engine` and `Engine`: what a program asks of this library."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.adapter import apply_adapter, read_adapter_config
from engine.cache import Kept, KVCache, PrefixCache
from engine.config import ModelConfig
from engine.context import Fit, fit
from engine.decoder import DecoderLM
from engine.errors import ContextOverflow, ModelError, TemplateError, TokenizerError, UsageError
from engine.events import Finish, FinishReason, StreamEvent, TextDelta, TokenEvent, Usage
from engine.generate import Generation, never_cancelled, read_in
from engine.hardware import resolve_device, resolve_dtype
from engine.info import ModelInfo
from engine.layers.quantised import tile_rows
from engine.memory import CHUNK, KV_KINDS, QUANTS, KVKind, QuantKind, memory_of, refuse_too_large
from engine.params import SamplingParams
from engine.recommended import sampling_defaults
from engine.sampler import TokenRules
from engine.source import Source, open_source
from engine.splits import Split
from engine.stream import Detokenizer, stream
from engine.template import Message, Segment, Template
from engine.template_choice import choose_template, look_over
from engine.thinking import CLOSE, OPEN, Thinking, watch
from engine.tokenizer import Tokenizer, encode_segments

PREFIX_BYTES = 256 << 20
SEED_BITS = 31
# How an answer is made to begin: with a text of the caller, or with the ids of an answer that goes on.
Prefill = str | Sequence[int]


def load_engine(
    path: str | Path, *, dtype: str = "auto", device: str = "cpu", threads: int | None = None,
    context: int | None = None, template: str | None = None, adapter: str | Path | None = None, kv: KVKind = "auto",
    quant: QuantKind = "none",
) -> "Engine":  # fmt: skip
    """An Engine for a checkpoint directory in Hugging Face layout with a tokenizer.json or a tokenizer.model, or for
    a GGUF file (also a directory with one such file and no config.json).

    dtype: auto, float32 or bfloat16. Quantised weights stay so in memory where there is a kernel for them, which is in
    bfloat16 (auto then is bfloat16) and without an adapter; else they are dequantised. context: positions at most, no
    more than the model's maximum. template: a name or file instead of the checkpoint's own. adapter: a PEFT
    directory, which is merged into the weights. kv: how keys and values are cached: auto (as wide as the model
    computes), bf16 or int8 (engine/kv_buffers.py). quant: q8_0 or q4_0 quantises the matrices of float weights as they
    are read (engine/quantising.py), in bfloat16 and without an adapter.
    Raises ModelError or UsageError, by name, for what cannot be used, and ModelError with the numbers where there is
    not the memory for the weights, the cache of `context` positions (without it: of the first) and a pass.
    """
    stored = open_source(Path(path))
    config = stored.config
    if context is not None and context < 1:
        raise UsageError(f"--context must be at least 1, not {context}.")
    for name, value, known in (("kv", kv, KV_KINDS), ("quant", quant, QUANTS)):
        if value not in known:
            raise UsageError(f"--{name} must be one of {', '.join(known)}, not {value!r}.")
    if threads is not None:
        if threads < 1:
            raise UsageError(f"--threads must be at least 1, not {threads}.")
        torch.set_num_threads(threads)
    tokenizer = stored.tokenizer()
    if tokenizer.vocab_size > config.vocab_size:  # fewer is normal: vocabularies are padded
        raise TokenizerError(
            f"The tokenizer has {tokenizer.vocab_size} pieces and the embedding {config.vocab_size} rows: "
            f"they do not belong together."
        )
    chosen, source = choose_template(stored.templates(), template, tokenizer)
    where = resolve_device(device)
    kind, keeps = _form(stored, dtype, where, adapter, quant)
    if adapter is not None:
        read_adapter_config(Path(adapter))  # a mistake in its name is told before the weights are read
    if where.type == "cpu":
        _check_memory(config, stored.weight_bytes(kind, keeps, quant), kind, context, kv, quant)
    model = stored.model(kind, where, keeps, quant)
    if adapter is not None:
        apply_adapter(model, Path(adapter))
    info = ModelInfo(
        name=stored.name, path=str(path), parameters=config.n_parameters,
        dtype=str(kind).removeprefix("torch."), device=str(where), threads=torch.get_num_threads(),
        template=chosen.name if chosen else "none", template_source=source, adapter=str(adapter or ""),
        tokenizer=tokenizer.path.name, quantisation=stored.quantisation, quant=quant, kv=kv,
    )  # fmt: skip
    defaults = sampling_defaults(stored.generation)
    limit = min(context or config.max_positions, config.max_positions)
    return Engine(model, tokenizer, chosen, info, limit, defaults)


def _form(
    stored: Source, dtype: str, where: torch.device, adapter: str | Path | None, quant: QuantKind
) -> tuple[torch.dtype, bool]:
    """(what a model computes in, whether weights that are stored quantised stay so)."""
    if quant == "none":
        keeps = adapter is None and where.type == "cpu" and stored.stays_quantised()
        kind = torch.bfloat16 if keeps and dtype == "auto" else resolve_dtype(dtype)
        return kind, keeps and kind == torch.bfloat16
    if adapter is not None:
        raise UsageError("--quant and --adapter exclude each other: an adapter is merged into float weights.")
    if dtype == "float32" or where.type != "cpu":
        raise UsageError("--quant computes in bfloat16 on a cpu: it goes with no other --dtype or --device.")
    resolve_dtype(dtype)
    if tile_rows() is None:
        raise ModelError("torch has no quick kernel for quantised weights on this processor.", "Leave --quant out.")
    return torch.bfloat16, False


def _check_memory(
    config: ModelConfig, weights: int, kind: torch.dtype, context: int | None, kv: KVKind, quant: QuantKind
) -> None:
    """Refuse a model that cannot fit. Without a context the cache grows by need: then the first chunk must fit."""
    positions = min(context or CHUNK, config.max_positions)
    needed = memory_of(config, positions, str(kind).removeprefix("torch."), kv, weights)
    if quant != "none":  # while it loads, one matrix at a time is in float32
        needed = replace(needed, work=max(needed.work, 4 * config.vocab_size * config.d_model))
    less = ["a smaller --context"] * (positions > CHUNK) + ["--kv int8"] * (kv != "int8")
    less += ["--quant q4_0, for float weights"] * (quant != "q4_0")
    refuse_too_large(needed, positions, f"Less is needed with {' or '.join(less)}." if less else "")


class Engine:
    """A loaded model: text and conversations in, events out. Keeps the caches of earlier prompts.

    One generation runs at a time. defaults: the sampling settings in the model's generation_config.json.
    """

    def __init__(
        self, model: DecoderLM, tokenizer: Tokenizer, template: Template | None, info: ModelInfo,
        context: int, defaults: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.tokenizer, self.template, self.info = model, tokenizer, template, info
        self.config = model.config
        self.context = context
        self.defaults = dict(defaults or {})
        weight = model.embedding.weight
        self._prefixes = PrefixCache(
            lambda: KVCache(model.config, limit=context, dtype=weight.dtype, device=weight.device, kind=info.kv),
            PREFIX_BYTES,
        )
        self._texts: dict[str, list[int]] = {}
        self._rules = self._token_rules()
        if template is not None:
            self._check_template(template)
        # Whether it may think aloud: its template knows of thoughts, or its vocabulary has their tag.
        knows = template is not None and CLOSE in template.jinja
        self.thinks = knows or len(tokenizer.encode_within(CLOSE)) == 1

    def _token_rules(self) -> TokenRules:
        """Ends: all that config, template and tokenizer declare. Never: other controls, rows without a piece."""
        ends = set(self.config.eos_ids)
        for name in (
            "</s>", self.tokenizer.special_tokens.get("eos_token", ""),
            self.template.end_of_turn if self.template else "",
        ):  # fmt: skip
            if (token := self.tokenizer.control_id(name)) is not None:
                ends.add(token)
        spoken = {self.tokenizer.control_id(tag) for tag in (OPEN, CLOSE)}  # marked as special, and yet text
        controls = [i for i in range(self.tokenizer.vocab_size) if self.tokenizer.is_control(i) and i not in spoken]
        padding = range(self.tokenizer.vocab_size, self.config.vocab_size)
        return TokenRules.of(self.config.vocab_size, sorted(ends), [*controls, *padding])

    def _check_template(self, template: Template) -> None:
        for name in template.controls:
            if self.tokenizer.control_id(name) is None:
                raise TemplateError(
                    f"The template {template.name!r} needs the control token {name}, which the tokenizer lacks.",
                    "Choose another with --template.",
                )

    @property
    def kept(self) -> Kept:
        """The caches of earlier prompts and branches that are kept, and how many bytes they may take."""
        return self._prefixes.kept

    def remarks(self) -> tuple[str, ...]:
        """What a person should know of the template and the weights before the first question, a sentence each."""
        remarks = look_over(self.template, self.tokenizer) if self.template else ()
        if self.info.quantisation.endswith("dequantised"):
            remarks += (f"The file's weights take the memory of {self.info.dtype}: {self.info.quantisation}.",)
        return remarks

    def tokenize(self, text: str) -> list[int]:
        """Ids of a plain text: no BOS, no control tokens."""
        return self.tokenizer.encode(text)

    def prompt_ids(self, messages: Sequence[Message], *, prefill: Prefill = "") -> list[int]:
        """Ids of a conversation up to where the answer begins, then those of `prefill`, the answer's given start.

        Raises TemplateError when the model has no template, or none of its roles fits.
        """
        return self._ids(self._prompt(messages), prefill)

    def _prompt(self, messages: Sequence[Message]) -> list[Segment]:
        if self.template is None:
            raise TemplateError(
                f"This model cannot chat as it is: {self.info.template_source}.",
                "Choose a template with --template, or use --raw.",
            )
        return self.template.render(messages)

    def _ids(self, segments: Sequence[Segment], prefill: Prefill = "") -> list[int]:
        ids = encode_segments(_Remembered(self.tokenizer, self._texts), segments)
        if isinstance(prefill, str):
            return ids + (self.tokenizer.encode_within(prefill) if prefill else [])
        return [*ids, *prefill]

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits of all positions of ids in one pass: T V, float32. Raises ContextOverflow beyond the maximum."""
        scaling = self.config.rope_scaling
        stretches = scaling is not None and scaling.kind == "dynamic"  # its angles are defined for any length
        if len(ids) > self.config.max_positions and not stretches:
            raise ContextOverflow(f"{len(ids)} tokens are more than the model's {self.config.max_positions} positions.")
        with torch.inference_mode():
            batch = torch.tensor([list(ids)], device=self.model.embedding.weight.device)
            return self.model(batch)[0].float()  # type: ignore[no-any-return]

    def fit(self, messages: Sequence[Message], params: SamplingParams, overflow: str, *, prefill: Prefill = "") -> Fit:
        """What of a conversation would be sent under the policy `overflow`, and what left out. See engine.context."""

        def count(some: Sequence[Message]) -> int:
            return len(self.prompt_ids(some, prefill=prefill))

        return fit(messages, count, self.context, params.max_new_tokens, overflow, maximum=self.config.max_positions)

    def generate(
        self, prompt: str | Sequence[int], params: SamplingParams, *, overflow: str = "error",
        cancelled: Callable[[], bool] = never_cancelled,
    ) -> Iterator[StreamEvent]:  # fmt: skip
        """Continue a text (BOS is put before it) or ids (taken as they are). Ends with exactly one Finish.

        Raises ContextOverflow with the counts when the prompt does not fit.
        """
        ids = self.raw_ids(prompt) if isinstance(prompt, str) else list(prompt)
        if not ids:
            raise UsageError("There is nothing to continue: the prompt has no tokens and the model no BOS token.")
        starts_anew = not prompt if isinstance(prompt, str) else False
        detokenizer = Detokenizer(self.tokenizer, skip_space=self.tokenizer.adds_space_prefix and starts_anew)
        yield from self._run(ids, params, detokenizer, params.stop, 1, overflow == "shift", cancelled)

    def replay(
        self, prompt: Sequence[int], params: SamplingParams, splits: Iterable[Split], *, keep: int = 0,
        overflow: str = "error", cancelled: Callable[[], bool] = never_cancelled,
    ) -> Iterator[StreamEvent]:  # fmt: skip
        """Continue ids that are read in these passes, as once before. The caches of other prompts are dropped.

        On the same machine, with as many threads, it is equal bit for bit; but for experts, where a pass was cut.
        """
        self._prefixes.clear()
        cache = self._prefixes.take(prompt)
        read_in(self.model, prompt, splits, cache)
        self._prefixes.put(prompt[: cache.length], cache)
        yield from self._run(
            list(prompt), params, Detokenizer(self.tokenizer), (), keep, overflow == "shift", cancelled
        )

    def raw_ids(self, text: str) -> list[int]:
        """The ids of a text without a template, after BOS where the tokenizer puts one."""
        wanted = self.tokenizer.adds_bos or not text  # an empty text has nothing else to begin with
        bos = [self.config.bos_id] if wanted and self.config.bos_id is not None else []
        return bos + (self.tokenize(text) if text else [])

    def chat(
        self, messages: Sequence[Message], params: SamplingParams, *, overflow: str = "drop-oldest",
        prefill: Prefill = "", cancelled: Callable[[], bool] = never_cancelled,
    ) -> Iterator[StreamEvent]:  # fmt: skip
        """Answer a conversation. Ends with exactly one Finish.

        prefill: a text that the answer begins with, or the ids of an answer that was cut and goes on. Neither is
        repeated in what comes; `spoken` tells the whole text of ids.
        """
        fitted = self.fit(messages, params, overflow, prefill=prefill)
        prompt = self._prompt(fitted.messages)
        assert self.template is not None
        system = [m for m in fitted.messages[:1] if m.role == "system"]
        keep = len(self._ids(self.template.head(system)))
        text, begun = (prefill, ()) if isinstance(prefill, str) else ("", tuple(prefill))
        detokenizer, stops, thinking = self._reading(prompt, params, text)
        ids, shift = self._ids(prompt, prefill), overflow == "shift"
        yield from self._run(ids, params, detokenizer, stops, keep, shift, cancelled, thinking, begun)

    def spoken(self, messages: Sequence[Message], ids: Sequence[int], params: SamplingParams) -> tuple[str, str]:
        """(thoughts, text) of an answer's ids to these messages, as if they had been sampled in one go: a character
        or a stop string that a cut went through is whole."""
        events = (TokenEvent(token, 0.0) for token in ids)
        items = list(stream(events, *self._reading(self._prompt(messages), params)))
        deltas = [item for item in items if isinstance(item, TextDelta)]
        return "".join(delta.thoughts for delta in deltas), "".join(delta.text for delta in deltas)

    def _reading(
        self, prompt: Sequence[Segment], params: SamplingParams, prefill: str = ""
    ) -> tuple[Detokenizer, tuple[str, ...], Thinking | None]:
        """What turns an answer's ids into text: detokenizer, stop strings, and the thoughts to tell apart."""
        assert self.template is not None
        detokenizer = Detokenizer(self.tokenizer, skip_space=self.tokenizer.adds_space_prefix and not prefill)
        thinking = watch(prompt, prefill) if self.thinks else None
        return detokenizer, (*params.stop, *self.template.stop), thinking

    def _run(
        self, ids: list[int], params: SamplingParams, detokenizer: Detokenizer, stops: Sequence[str], keep: int,
        shift: bool, cancelled: Callable[[], bool], thinking: Thinking | None = None, begun: Sequence[int] = (),
    ) -> Iterator[StreamEvent]:  # fmt: skip
        """One generation on the best cache there is; whatever happens, the cache and its ids agree afterwards."""
        for token in params.logit_bias:
            if not 0 <= token < self.config.vocab_size:
                raise UsageError(f"--logit-bias {token} is outside the vocabulary of {self.config.vocab_size} tokens.")
        for token in ids:
            if not 0 <= token < self.config.vocab_size:
                raise UsageError(f"The id {token} is outside the vocabulary of {self.config.vocab_size} tokens.")
        seed = params.seed if params.seed is not None else secrets.randbits(SEED_BITS)
        stop = None
        cache = self._prefixes.take(ids)
        held, cached = ids[: cache.length], tuple(cache.splits)
        try:
            generation = Generation(
                self.model, ids, params, cache, self._rules, seed=seed, keep=keep, shift=shift, cancelled=cancelled
            )
            held = generation.sequence
            for item in stream(generation, detokenizer, stops, thinking, begun):
                if isinstance(item, str):
                    stop = item
                else:
                    yield item
        finally:
            self._prefixes.put(held[: cache.length], cache)
        yield Finish(
            reason="stop" if stop is not None else _ended(generation),
            ids=tuple(generation.completion),
            usage=Usage(len(ids), generation.cached_tokens, len(generation.completion), generation.shifted_tokens),
            timings=generation.timings,
            seed=seed,
            stop=stop,
            prompt_ids=tuple(ids),
            prefill_splits=tuple(generation.splits),
            cached_splits=cached,
            keep=keep,
        )


def _ended(generation: Generation) -> FinishReason:
    assert generation.reason is not None, "an iteration that came to its end has a reason"
    return generation.reason


class _Remembered:
    """A tokenizer that remembers the texts it has encoded: a turn costs only its new text, however long the history."""

    LIMIT = 4096

    def __init__(self, tokenizer: Tokenizer, known: dict[str, list[int]]) -> None:
        self._tokenizer, self._known = tokenizer, known

    def control_id(self, name: str) -> int | None:
        return self._tokenizer.control_id(name)

    def encode(self, text: str) -> list[int]:
        return self._once("begins " + text, text, self._tokenizer.encode)

    def encode_within(self, text: str) -> list[int]:
        return self._once("within " + text, text, self._tokenizer.encode_within)

    def _once(self, key: str, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        if key not in self._known:
            if len(self._known) >= self.LIMIT:
                self._known.clear()
            self._known[key] = encode(text)
        return self._known[key]
