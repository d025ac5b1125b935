"""What `tfm verify` computes: every way of reading the same ids, against the one that it must equal.

In float32 two ways may differ by LARGEST, or by RELATIVE of the largest logit where that is more, since numbers are
added in another order; from the reference implementation by no more than LARGEST. What is rounded (bfloat16,
quantised matrices) is compared by what a sampler sees of it.
"""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.memory import KVKind
from engine.naive import naive_logits
from engine.tokenizer import Tokenizer
from engine.verification import Row

LARGEST, RELATIVE = 1e-4, 1e-5
# Nats, the mean of all positions. bfloat16 keeps 8 bits of each number, and moves a logit of 10 by some hundredths.
ROUNDED_KL = 0.02
# Four bits keep a sixteenth of a group's range: small models lose more. What is broken is off by whole nats.
FOUR_BITS_KL = 0.5
COUNT, WIDEST = 64, 256  # positions that are read; a window of up to so many is passed
STEPS, CHUNK, ROWS = 8, 7, 3
SAMPLE = (
    "How do I find the large files in a folder? Type du -sh * | sort -h at the prompt. Wie heißt der Fluss, der durch "
    "Wien fließt? Er heißt Donau. The answer to the second question is in the text, and the third comes after it: "
)


def sample_ids(tokenizer: Tokenizer | None, config: ModelConfig) -> list[int]:
    """COUNT ids, fewer in a shorter context, and as many more as take them beyond a sliding window.

    tokenizer: None where it cannot be used; then they are drawn, always the same ones.
    """
    passed = config.window + 16 if config.window is not None and config.window <= WIDEST else 0
    count = min(max(COUNT, passed), config.max_positions)
    text = [] if tokenizer is None else tokenizer.encode(SAMPLE)
    if not text or max(text) >= config.vocab_size:
        drawn = torch.randint(config.vocab_size, (count,), generator=torch.Generator().manual_seed(0))
        return [int(token) for token in drawn]
    start = [] if config.bos_id is None else [config.bos_id]
    return (start + text * (count // len(text) + 1))[:count]


@torch.inference_mode()
def whole(model: DecoderLM, ids: Sequence[int]) -> Tensor:
    """Logits of all positions in one pass without a cache: T V, float32."""
    return model(torch.tensor([ids]))[0].float()  # type: ignore[no-any-return]


@torch.inference_mode()
def in_passes(model: DecoderLM, ids: Sequence[int], sizes: Iterable[int], kv: KVKind = "auto") -> Tensor:
    """The same, read in passes of these sizes into one cache."""
    cache = KVCache(model.config, limit=len(ids), dtype=model.embedding.weight.dtype, kind=kv)
    cache.prepare(len(ids))
    parts, start = [], 0
    for size in sizes:
        parts.append(model(torch.tensor([ids[start : start + size]]), cache)[0].float())
        start += size
    return torch.cat(parts)


def as_answered(model: DecoderLM, ids: Sequence[int], kv: KVKind = "auto") -> Tensor:
    """The same, read as a prompt in one pass and then STEPS tokens one by one: many rows, and one."""
    first = max(len(ids) - STEPS, 1)
    return in_passes(model, ids, [first, *[1] * (len(ids) - first)], kv)


def plain_pass(model: DecoderLM, ids: Sequence[int]) -> Row:
    """The engine's pass against the definition (engine/naive.py)."""
    return _close("one pass", naive_logits(model, ids), whole(model, ids), "the plain definition")


def cached(model: DecoderLM, ids: Sequence[int]) -> Row:
    """The last STEPS positions one by one from the cache, against the definition, which has none."""
    return _close("KV cache", naive_logits(model, ids), as_answered(model, ids), "the definition without one")


def chunked(model: DecoderLM, ids: Sequence[int]) -> Row:
    """A prompt that is read CHUNK positions at a time, against the whole of it at once."""
    sizes = [min(CHUNK, len(ids) - start) for start in range(0, len(ids), CHUNK)]
    at_once = in_passes(model, ids, [len(ids)])
    return _close("chunked prefill", at_once, in_passes(model, ids, sizes), f"chunks of {CHUNK} and the whole at once")


def batched(model: DecoderLM, ids: Sequence[int]) -> Row:
    """ROWS texts in one pass against each alone."""
    rows = [[*ids[n:], *ids[:n]] for n in range(ROWS)]
    with torch.inference_mode():
        together = model(torch.tensor(rows)).float()
    alone = torch.stack([whole(model, row) for row in rows])
    return _close("batch", alone, together, f"{ROWS} rows at once and each alone")


def _close(name: str, exact: Tensor, other: Tensor, said: str, relative: float = RELATIVE) -> Row:
    """Two tensors of logits in float32. NaN is no agreement, not even with NaN."""
    limit = max(LARGEST, relative * exact.abs().max().item())
    difference = (exact - other).abs().max().item()
    verdict = "same" if difference <= limit else "differs"
    return Row(name, verdict, f"largest difference of a logit: {said}", difference, limit)  # type: ignore[arg-type]


def rounded(name: str, exact: Tensor, other: Tensor, limit: float = ROUNDED_KL) -> Row:
    """Logits (T V) that are rounded on the way, against exact ones: KL(exact ‖ other) in nats, mean of positions."""
    p, q = exact.double().log_softmax(-1), other.double().log_softmax(-1)
    kl = (p.exp() * (p - q)).sum(-1).mean().item()
    agree = (exact.argmax(-1) == other.argmax(-1)).double().mean().item()
    difference = (exact - other).abs().max().item()
    said = f"KL in nats; the same best token at {agree:.1%} of positions, largest difference {difference:.3g}"
    return Row(name, "same" if kl <= limit else "differs", said, kl, limit)


def reference(directory: Path, logits: Tensor, ids: Sequence[int]) -> Row:
    """Logits (T V) in float32 against those of transformers on the same directory. No code of the directory is run."""
    name = "transformers"
    if find_spec("transformers") is None:
        return Row(name, "skipped", "the package transformers is not installed")
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    quiet: Any = logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    try:
        theirs: Any = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as e:
        return Row(name, "skipped", f"transformers cannot load it: {' '.join(str(e).split())[:120]}")
    with torch.inference_mode():
        expected = theirs.eval()(torch.tensor([ids])).logits[0].float()
    if expected.shape != logits.shape:
        return Row(name, "differs", f"its logits are {list(expected.shape)} and these {list(logits.shape)}")
    return _close(name, expected, logits, "transformers on the same directory, float32", 0.0)
