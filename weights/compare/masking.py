"""`tfm train compare-masking`: the same decoder trained with the causal mask and without it, and then asked to write.

With the mask, one pass over a text predicts every token from those before it, as if they had come one by one; so
training may take all positions at once. Without it a position sees the very token that it is to predict.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.generate import decode, prefill
from engine.layers.attention import Attention, Step
from weights.compare.attention import ROW, VOCABULARY, small_config
from weights.compare.positions import BATCH, LR, long_windows, loss_at
from weights.compare.trials import Outcome, Variant, by_variant, compare, notes_of, read_data, write_report
from weights.data.mixture import Batch
from weights.objectives import cross_entropy

PROMPT, WRITTEN = 16, 32  # tokens that a trained model is given, and that it goes on with
COLUMNS = {
    "loss, all at once": "at_once", "loss, one by one": "one_by_one", "all at once, s": "seconds_at_once",
    "one by one, s": "seconds_one_by_one",
}  # fmt: skip


class OpenAttention(Attention):
    """Attention to all of a document, also to what follows. B T C -> B T C."""

    def forward(self, x: Tensor, step: Step, cache: Any = None) -> Tensor:
        mask = None if step.mask is None else step.mask | step.mask.transpose(-1, -2)
        return super().forward(x, replace(step, mask=mask, is_causal=False), cache)


def without_mask(config: ModelConfig) -> DecoderLM:
    """A decoder that sees what follows wherever something follows."""
    model = DecoderLM(config)
    for block in model.blocks:
        block.attention = OpenAttention(config)
    return model


def masking_variants(vocab_size: int) -> list[Variant]:
    """With the causal mask and without it."""
    base = small_config(vocab_size)
    return [
        Variant("causal mask", base, "a position sees itself and what stands before it"),
        Variant("no mask", base, "a position sees its whole document, also what it is to predict", without_mask),
    ]


@torch.no_grad()
def loss_one_by_one(model: DecoderLM, windows: Tensor) -> float:
    """Nats per token of windows (N W+1) that are read as an answer is written: one position at a time, by the cache."""
    cache = KVCache(model.config, batch=len(windows))
    ids, targets = windows[:, :-1], windows[:, 1:]
    hidden = torch.cat([model.hidden(ids[:, i : i + 1], cache) for i in range(ids.shape[1])], dim=1)
    return float(cross_entropy(hidden.flatten(0, 1), model.head_weight, targets.flatten())) / targets.numel()


def go_on(model: DecoderLM, prompt: Sequence[int], count: int) -> list[int]:
    """The `count` ids that follow a prompt, each the most probable."""
    cache = KVCache(model.config)
    logits, ids = prefill(model, prompt, cache), list[int]()
    while len(ids) < count:
        ids.append(int(logits.argmax()))
        logits = decode(model, ids[-1], cache)
    return ids


def compare_masking(corpus: Path, out: Path, *, seeds: int, tokens: int) -> str:
    """Train both with each seed; write compare-masking.md, .json and .png; the text.

    Raises DataError when the corpus has no text, or none that is long enough, or `out` holds other settings.
    """
    data = read_data(corpus, out, vocab_size=VOCABULARY, tokens=tokens)
    windows = long_windows(data.held_out, ROW)

    def measure(model: DecoderLM, _: Sequence[Batch]) -> Mapping[str, Any]:
        at_once, quick = _timed(lambda: loss_at(model, windows, ROW))
        one_by_one, slow = _timed(lambda: loss_one_by_one(model, windows))
        prompt = windows[0, :PROMPT].tolist()
        said = [data.tokenizer.decode(ids) for ids in (prompt, go_on(model, prompt, WRITTEN))]
        return {
            "at_once": at_once, "one_by_one": one_by_one, "seconds_at_once": quick, "seconds_one_by_one": slow,
            "prompt": said[0], "written": said[1],
        }  # fmt: skip

    variants = masking_variants(data.vocab_size)
    outcomes = compare(
        variants, data, seeds=range(seeds), tokens=tokens, row=ROW, batch=BATCH, lr=LR, measure=measure, out=out
    )
    about = (
        f"{tokens:,} tokens a run in rows of {ROW}, {seeds} seeds, mean ± standard deviation. Losses in nats per token "
        f"of the same {windows[:, 1:].numel():,} tokens of {len(windows)} held-out stretches, in one pass each and "
        "position by position from the KV cache; seconds for all of them.\n\n"
    )
    about += notes_of(variants) + "\n\n" + quotes(outcomes)
    return write_report(out, "compare-masking", "Training with and without the causal mask", outcomes, COLUMNS, about)


def _timed(work: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def quotes(outcomes: Sequence[Outcome]) -> str:
    """What the first run of each variant writes, as a markdown list."""
    told = ((name, group[0].extra) for name, group in by_variant(outcomes).items())
    lines = (f"- {name}: *{_flat(x['prompt'])}* … **{_flat(x['written'])}**" for name, x in told)
    return f"What seed 0 makes of {PROMPT} held-out tokens, each token the most probable:\n\n" + "\n".join(lines)


def _flat(text: str) -> str:
    """A text on one line, without what Markdown would read."""
    return " ".join(text.replace("*", "").replace("\ufffd", "").split())
