"""Small models and small tasks for the tests of weights/models."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.sampler import TokenRules
from weights.data.pairs import PairBatch, pair_batch
from weights.models.checkpoint import TranslatorModel, build_model
from weights.models.config import LSTMConfig, Seq2SeqConfig
from weights.models.decoding import Search, beam_search
from weights.objectives import translation

VOCABULARY = 16  # ids 0..3 are <unk>, <s>, </s>, <pad>; 4 is the control token, the rest are symbols
CONTROL, FIRST = 4, 5
IDS = (1, 2, 3)
LONGEST = 6

VARIANTS: dict[str, dict[str, Any]] = {
    f"{positions} {norm} {activation}": {"positions": positions, "norm_place": norm, "activation": activation}
    for positions, norm, activation in [
        ("rope", "before", "swiglu"), ("sinusoidal", "after", "relu"), ("learned", "before", "gelu"),
        ("relative", "before", "swiglu"), ("rope", "after", "gelu"), ("sinusoidal", "before", "swiglu"),
        ("learned", "after", "relu"), ("relative", "after", "relu"),
    ]
}  # fmt: skip
KINDS = {**{f"transformer {name}": v for name, v in VARIANTS.items()}, **{
    f"lstm {kind}": {"attention": kind} for kind in ("none", "additive", "dot")
}}  # fmt: skip


def toy_model(seed: int = 0, vocab_size: int = VOCABULARY, d_model: int = 32, **changes: Any) -> TranslatorModel:
    """A little model with weights drawn from a seed; an LSTM when `attention` is given."""
    if "attention" in changes:
        config: Any = LSTMConfig(vocab_size, d_model, changes.pop("n_layers", 1), **changes)
    else:
        shape: dict[str, Any] = {
            "n_encoder_layers": 2, "n_decoder_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "d_ff": 64,
            "max_positions": 32,
        }  # fmt: skip
        config = Seq2SeqConfig(vocab_size=vocab_size, d_model=d_model, **(shape | changes))
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


def nudged(model: TranslatorModel, seed: int = 1) -> TranslatorModel:
    """The model with all its parameters moved a little: biases and positions that begin as 0 must count in a test."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def words(rng: np.random.Generator, count: int, longest: int = LONGEST) -> list[list[int]]:
    """Sequences of symbols of random lengths."""
    return [rng.integers(FIRST, VOCABULARY, rng.integers(1, longest + 1)).tolist() for _ in range(count)]


def toy_batch(
    sources: Sequence[Sequence[int]], task: Callable[[Sequence[int]], Sequence[int]], width: int
) -> PairBatch:
    """Sources and what the task makes of them."""
    pairs = [(np.array(s), np.array(list(task(s))), CONTROL) for s in sources]
    return pair_batch(pairs, width, IDS)


def learn(model: TranslatorModel, task: Callable[[Sequence[int]], Sequence[int]], steps: int, lr: float = 4e-3) -> None:
    """Train a model on a task, on new sequences in every step; the rate rises and falls."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)
    for _ in range(steps):
        batch = toy_batch(words(rng, 64), task, LONGEST + 2)
        loss = translation(model, batch) / batch.n_targets
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def search(limit: int = LONGEST + 4, **changes: Any) -> Search:
    """A search over the toy vocabulary."""
    never = changes.pop("never", [0, 1, 3, CONTROL])
    size = changes.pop("vocab_size", VOCABULARY)
    return Search(bos=1, eos=2, rules=TokenRules.of(size, [2], never), limit=limit, **changes)


def sources_of(rows: Sequence[Sequence[int]], extra: int = 0) -> Tensor:
    """Source ids B S with control and end, padded, and `extra` columns of padding more."""
    batch = toy_batch(rows, lambda s: s, max(map(len, rows)) + 2 + extra)
    return batch.source


def accuracy(model: TranslatorModel, task: Callable[[Sequence[int]], Sequence[int]], count: int = 200) -> float:
    """The share of sequences, not seen in training, that are answered without a fault."""
    rows = words(np.random.default_rng(99), count)
    found = beam_search(model, sources_of(rows), search())
    return sum(list(h[0].ids) == list(task(row)) for h, row in zip(found, rows, strict=True)) / count
