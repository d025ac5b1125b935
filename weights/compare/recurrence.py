"""`tfm train compare-recurrence`: what LSTMs and a transformer keep of a sequence that they are to say again.

The sequences are random, so nothing can be guessed: each symbol must come through the model. All read the same pairs in
the same order, by the trainer of the translators. No corpus is needed.
"""

import hashlib
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.hardware import fastest
from weights.compare.trials import Outcome, by_variant, kept, outcome_of, stage_of, table, write_report
from weights.data.pairs import EncodedPairs, PairBatch, PairRows, pair_batch
from weights.figure import draw_figure, mark_powers
from weights.models.checkpoint import TranslatorModel, build_model
from weights.models.config import LSTMConfig, Seq2SeqConfig, TranslatorConfig
from weights.objectives import translation
from weights.recipe import Stage
from weights.train.loop import Run, train
from weights.workshop import say

BOS, EOS, PAD, CONTROL, FIRST = 1, 2, 3, 4, 5  # FIRST is the first symbol
SYMBOLS = 16
PAIRS, LONGEST = 40_000, 20  # to learn from: of 1 to so many symbols
ROW, BATCH, LR = 1024, 1, 2e-3  # a row is a bundle of pairs that fill so many positions
LENGTHS = (4, 8, 12, 16, 20)  # symbols of the sequences that are measured
MEASURED = 6000  # symbols at each length
SPEED_LENGTHS = (8, 16, 32, 64, 128)  # positions in a row of which the speed is measured
PASSES = 9  # of which the median is the speed
COLUMNS = {
    "held-out loss": "held_out", **{f"right at {n}": f"right_{n}" for n in LENGTHS},
    "parameters": "parameters",
}  # fmt: skip
SPEED_COLUMNS = {f"positions/s in rows of {n}": f"speed_{n}" for n in SPEED_LENGTHS}


@dataclass(frozen=True)
class Kind:
    """One of the models that are compared."""

    name: str
    config: TranslatorConfig
    note: str


def kinds() -> list[Kind]:
    """Three LSTMs and a transformer of about as many parameters."""
    vocab = FIRST + SYMBOLS
    transformer = Seq2SeqConfig(
        vocab_size=vocab, d_model=96, n_encoder_layers=2, n_decoder_layers=2, n_heads=4, n_kv_heads=4, head_dim=24,
        d_ff=256, max_positions=max(SPEED_LENGTHS), positions="sinusoidal",
    )  # fmt: skip
    return [
        Kind("LSTM", LSTMConfig(vocab, 136, 2, "none"), "its decoder knows only the state in which the encoder ends"),
        Kind("LSTM, additive", LSTMConfig(vocab, 124, 2, "additive"), "and attention as in Bahdanau 2014"),
        Kind("LSTM, dot", LSTMConfig(vocab, 128, 2, "dot"), "and attention as in Luong 2015"),
        Kind("transformer", transformer, "two layers on each side, sinusoidal positions"),
    ]  # fmt: skip


def copies(rng: np.random.Generator, lengths: Sequence[int]) -> EncodedPairs:
    """Random sequences of these lengths, each the translation of itself."""
    starts = np.cumsum([0, *lengths])
    ids = rng.integers(FIRST, FIRST + SYMBOLS, starts[-1])
    return EncodedPairs(CONTROL, ids, starts, ids, starts)


def batch_of(pairs: EncodedPairs) -> PairBatch:
    """All of some pairs."""
    rows = [(*pairs.pair(i), pairs.control) for i in range(len(pairs))]
    return pair_batch(rows, None, (BOS, EOS, PAD))


@torch.no_grad()
def said_again(model: TranslatorModel, batch: PairBatch) -> tuple[float, float]:
    """(nats per target, share of the symbols that are the most probable), each after the true ones before it."""
    right = model(batch.source, batch.inputs).argmax(-1) == batch.targets
    symbols = batch.targets >= FIRST
    return float(translation(model, batch)) / batch.n_targets, float(right[symbols].double().mean())


def speeds() -> dict[str, dict[str, float]]:
    """Positions of the target per second, forward and backward, by kind and then by the length of rows that fill ROW.

    The kinds take turns, pass by pass, so that whatever else the machine does meets all of them alike.
    """
    models = {kind.name: build_model(kind.config) for kind in kinds()}
    found: dict[str, dict[str, float]] = {name: {} for name in models}
    for model in models.values():
        model.init_weights(torch.Generator().manual_seed(0))
    for length in SPEED_LENGTHS:
        batch = batch_of(copies(np.random.default_rng(0), [length - 2] * max(1, ROW // length)))
        turns = [{name: pass_seconds(model, batch) for name, model in models.items()} for _ in range(1 + PASSES)]
        for name in models:
            found[name][f"speed_{length}"] = batch.inputs.numel() / statistics.median(t[name] for t in turns[1:])
    return found


def pass_seconds(model: TranslatorModel, batch: PairBatch) -> float:
    """How long one pass of training takes, forward and backward."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=fastest("matmul") == "bfloat16"):  # as in training
        loss = translation(model, batch) / batch.n_targets
    loss.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - start
    model.zero_grad()
    return seconds


def measured(model: TranslatorModel) -> tuple[float, dict[str, float]]:
    """Loss over sequences of all measured lengths, the same for all; and what is told of each length."""
    rng = np.random.default_rng(1)
    found = {n: said_again(model, batch_of(copies(rng, [n] * (MEASURED // n)))) for n in LENGTHS}
    told = {f"right_{n}": right for n, (_, right) in found.items()}
    told["parameters"] = sum(p.numel() for p in model.parameters())
    return statistics.fmean(loss for loss, _ in found.values()), told


def _outcome(kind: Kind, pairs: EncodedPairs, stage: Stage, seed: int, out: Path) -> Outcome:
    def work(run: Run) -> Outcome:
        model = build_model(kind.config)
        model.init_weights(torch.Generator().manual_seed(seed))
        say(f"{kind.name}, seed {seed}: {sum(p.numel() for p in model.parameters()):,} parameters")
        if not train(model, stage, PairRows(stage, {"text": pairs}, seed, (BOS, EOS, PAD)), run, translation):
            raise KeyboardInterrupt
        return outcome_of(kind.name, seed, run.home, *measured(model))

    facts = json.dumps([asdict(kind.config), asdict(stage), seed], sort_keys=True) + pairs.key()
    return kept(out, kind.name, seed, hashlib.sha256(facts.encode()).hexdigest(), work)


def compare_recurrence(out: Path, *, seeds: int, tokens: int) -> str:
    """Train each kind with each seed; write compare-recurrence.md, .json, .png and recurrence.png; the text.

    Raises DataError when `out` holds other settings.
    """
    rng = np.random.default_rng(0)
    pairs = copies(rng, rng.integers(1, LONGEST + 1, PAIRS).tolist())
    stage = stage_of(tokens, ROW, BATCH, LR, "translation")
    trained = [_outcome(kind, pairs, stage, seed, out) for seed in range(seeds) for kind in kinds()]
    timed = [speeds() for _ in range(seeds)]  # anew each time, and after all training
    outcomes = [replace(o, extra=o.extra | timed[o.seed][o.variant]) for o in trained]
    about = (
        f"Random sequences of 1 to {LONGEST} of {SYMBOLS} symbols, to be said again; {tokens:,} target positions a "
        f"run, {seeds} seeds, mean ± standard deviation. Right: the share of symbols that are right, each after the "
        f"true ones before it, in sequences of one length that were not trained on; {1 / SYMBOLS:.3f} is chance. "
        f"Speed in rows of a length: a training pass over {ROW:,} target positions, median of {PASSES}, the kinds in "
        f"turns; {seeds} times.\n\n"
    )
    about += "\n".join(f"- {kind.name}: {kind.note}" for kind in kinds()) + "\n\n" + table(outcomes, SPEED_COLUMNS)
    if draw_recurrence(outcomes, out / "recurrence.png"):
        about += "\n![What is kept and how fast, against length](recurrence.png)"
    title = "LSTMs and a transformer that say a sequence again"
    return write_report(out, "compare-recurrence", title, outcomes, COLUMNS, about)


def draw_recurrence(outcomes: Sequence[Outcome], path: Path) -> bool:
    """Draw what is right, and the speed of training, against length; False when matplotlib is not installed."""

    def draw(*panels: Any) -> None:
        for axes, key, lengths in zip(panels, ("right", "speed"), (LENGTHS, SPEED_LENGTHS), strict=True):
            for name, group in by_variant(outcomes).items():
                values = [[o.extra[f"{key}_{n}"] for o in group] for n in lengths]
                spreads = [statistics.stdev(v) if len(v) > 1 else 0.0 for v in values]
                means = [statistics.fmean(v) for v in values]
                axes.errorbar(lengths, means, yerr=spreads, marker="o", markersize=3, linewidth=1, label=name)
            mark_powers(axes, lengths, "length of a sequence")
        panels[0].set(ylabel="share of symbols that are right", ylim=(0, 1.02))
        panels[1].set(ylabel="target positions/s in training", ylim=(0, None))

    return draw_figure(path, 2, draw)
