"""`tfm train compare-positions`: each kind of positions trained at one length and read at up to eight times of it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from engine.config import PositionKind
from engine.decoder import DecoderLM
from engine.errors import ContextOverflow, DataError
from weights.compare.attention import VOCABULARY, small_config
from weights.compare.trials import Outcome, Variant, by_variant, compare, notes_of, read_data, write_report
from weights.data.mixture import Batch
from weights.data.shards import Shard
from weights.figure import draw_figure, mark_powers
from weights.objectives import cross_entropy

TIMES = (1, 2, 4, 8)  # the trained length
WINDOWS = 32  # stretches of held-out documents, each of the greatest length
BATCH, LR = 16, 2e-3
NOTES = {
    "rope": "queries and keys turned by their position",
    "sinusoidal": "sines and cosines added to the embedding",
    "learned": "a learned vector for each position, added; there is none beyond the trained length",
    "alibi": "scores fall with distance, at a slope for each head",
    "none": "nothing but the causal mask",
}


def long_windows(held_out: Shard, length: int, count: int = WINDOWS) -> Tensor:
    """Up to `count` stretches of length + 1 ids, each within one document: N length+1.

    Documents give one stretch in turn, then a second. Raises DataError when no document is so long.
    """
    offsets = []
    for turn in range(int(held_out.lengths.max()) // (length + 1)):
        starts = held_out.starts[:-1] + turn * (length + 1)
        offsets += starts[starts + length + 1 <= held_out.starts[1:]].tolist()
    if not offsets:
        raise DataError(f"No held-out document has {length + 1} tokens.", "Choose a smaller --length.")
    return torch.from_numpy(np.stack([held_out.ids[i : i + length + 1].astype(np.int64) for i in offsets[:count]]))


@torch.no_grad()
def loss_at(model: DecoderLM, windows: Tensor, length: int) -> float:
    """Nats per token when the windows (N W+1) are read `length` tokens at a time, length a divisor of W.

    The same tokens are predicted at every length; only how much stands before them differs. Raises ContextOverflow
    where the model has no positions.
    """
    ids, targets = windows[:, :-1].reshape(-1, length), windows[:, 1:].reshape(-1, length)
    total, at_once = 0.0, max(1, 4096 // length)
    for start in range(0, len(ids), at_once):
        hidden = model.hidden(ids[start : start + at_once])
        wanted = targets[start : start + at_once].flatten()
        total += float(cross_entropy(hidden.flatten(0, 1), model.head_weight, wanted))
    return total / targets.numel()


def compare_positions(corpus: Path, out: Path, *, seeds: int, tokens: int, length: int) -> str:
    """Train each kind with each seed; write compare-positions.md, .json, .png (curves) and extrapolation.png; the text.

    Raises DataError when the corpus has no text, or none that is long enough, or `out` holds other settings.
    """
    data = read_data(corpus, out, vocab_size=VOCABULARY, tokens=tokens)
    windows = long_windows(data.held_out, TIMES[-1] * length)

    def measure(model: DecoderLM, _: Sequence[Batch]) -> Mapping[str, float]:
        found = {}
        for times in TIMES:
            try:
                found[f"at_{times * length}"] = loss_at(model, windows, times * length)
            except ContextOverflow:  # learned positions have an end
                break
        return found

    base = replace(small_config(data.vocab_size), max_positions=length)
    kinds = get_args(PositionKind)
    variants = [Variant(kind, replace(base, positions=kind), NOTES[kind]) for kind in kinds]
    outcomes = compare(
        variants, data, seeds=range(seeds), tokens=tokens, row=length, batch=BATCH, lr=LR, measure=measure, out=out
    )
    lengths = [times * length for times in TIMES]
    about = (
        f"{base.n_layers} layers, width {base.d_model}; trained on {tokens:,} tokens in rows of {length}, {seeds} "
        f"seeds, mean ± standard deviation. Losses in nats per token, of the same {windows[:, 1:].numel():,} tokens of "
        f"{len(windows)} stretches at every length; – where there are no positions.\n\n"
    )
    about += notes_of(variants)
    if draw_lengths(outcomes, lengths, out / "extrapolation.png"):
        about += "\n\n![Loss against length](extrapolation.png)"
    columns = {f"loss at {n}": f"at_{n}" for n in lengths}
    title = f"Positions trained at {length} and read at {lengths[0]} to {lengths[-1]}"
    return write_report(out, "compare-positions", title, outcomes, columns, about)


def draw_lengths(outcomes: Sequence[Outcome], lengths: Sequence[int], path: Path) -> bool:
    """Draw loss against length, mean and standard deviation; False when matplotlib is not installed."""

    def draw(axes: Any) -> None:
        for name, group in by_variant(outcomes).items():
            read = [n for n in lengths if f"at_{n}" in group[0].extra]
            losses = [[o.extra[f"at_{n}"] for o in group] for n in read]
            means = [statistics.fmean(x) for x in losses]
            spreads = [statistics.stdev(x) if len(x) > 1 else 0.0 for x in losses]
            axes.errorbar(read, means, yerr=spreads, marker="o", markersize=4, linewidth=1, capsize=2, label=name)
        axes.axvline(lengths[0], color="grey", linewidth=0.7, linestyle=":")
        axes.set(ylabel="loss, nats per token")
        mark_powers(axes, lengths, "length that is read (dotted: trained)")

    return draw_figure(path, 1, draw)
