"""How sharp a softmax of scores is, and what gradient comes through it, against the width d_k of a head. No training.

Queries and keys are drawn with unit variance, as a well initialised model has them. Their dot product then has the
variance d_k: the softmax becomes a maximum, and the gradient through it dies. Divided by √d_k it has variance 1 at any
width. A cosine has variance 1/d_k: its softmax becomes a plain mean.
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.layers.scores import Score, cosine, dot, scaled_dot
from weights.figure import draw_figure, mark_powers

WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
SCORES: dict[str, Score] = {"q·k": dot, "q·k / √d": scaled_dot, "cosine": cosine}
KEYS, QUERIES = 128, 256


@dataclass(frozen=True)
class Sharpness:
    """entropy: of the weights, as a share of its highest value ln(keys), mean over queries.

    gradient: `gradient_norm` of the median query. Two keys of nearly equal score keep it alive for a few queries, which
    a mean would show in place of the many for which it is dead.
    """

    score: str
    width: int
    seed: int
    entropy: float
    gradient: float


def measure_sharpness(seeds: Sequence[int], widths: Sequence[int] = WIDTHS) -> list[Sharpness]:
    """Each score at each width with each seed."""
    found = []
    for seed in seeds:
        for width in widths:
            generator = torch.Generator().manual_seed(seed)
            q = torch.randn(1, 1, QUERIES, width, generator=generator)
            k = torch.randn(1, 1, KEYS, width, generator=generator)
            for name, score in SCORES.items():
                weights = score(q, k)[0, 0].double().softmax(-1)
                share = float(entropy(weights).mean()) / math.log(KEYS)
                found.append(Sharpness(name, width, seed, share, float(gradient_norm(weights).median())))
    return found


def entropy(weights: Tensor) -> Tensor:
    """-Σ w ln w over the last dimension, in nats."""
    nats: Tensor = torch.special.entr(weights).sum(-1)
    return nats


def gradient_norm(weights: Tensor) -> Tensor:
    """The Frobenius norm of d softmax / d scores = diag(w) - w wᵀ, over the last dimension."""
    squares = weights.pow(2).sum(-1)
    return (squares - 2 * weights.pow(3).sum(-1) + squares.pow(2)).clamp_min(0).sqrt()


def sharpness_table(found: Sequence[Sharpness]) -> str:
    """A markdown table: a row for each width, mean ± standard deviation over seeds."""
    names = list(dict.fromkeys(f.score for f in found))
    lines = ["| d_k | " + " | ".join(f"entropy, {n}" for n in names) + " | "]
    lines[0] += " | ".join(f"gradient, {n}" for n in names) + " |"
    lines.append("|---:|" + "---:|" * (2 * len(names)))
    for width in dict.fromkeys(f.width for f in found):
        cells = []
        for what in ("entropy", "gradient"):
            for name in names:
                mean, spread = _over_seeds(found, name, width, what)
                cells.append(f"{mean:.4f} ± {spread:.4f}")
        lines.append(f"| {width} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _over_seeds(found: Sequence[Sharpness], name: str, width: int, what: str) -> tuple[float, float]:
    values = [getattr(f, what) for f in found if (f.score, f.width) == (name, width)]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def draw_sharpness(found: Sequence[Sharpness], path: Path) -> bool:
    """Draw entropy and gradient against d_k; False when matplotlib is not installed."""
    widths = list(dict.fromkeys(f.width for f in found))
    labels = {"entropy": "entropy of the weights / ln(keys)", "gradient": "norm of d softmax / d scores"}

    def draw(*panels: Any) -> None:
        for axes, (what, label) in zip(panels, labels.items(), strict=True):
            for name in dict.fromkeys(f.score for f in found):
                means, spreads = zip(*(_over_seeds(found, name, width, what) for width in widths), strict=True)
                axes.errorbar(widths, means, yerr=spreads, marker="o", markersize=3, linewidth=1, label=name)
            axes.set(ylabel=label, ylim=(0, None))
            mark_powers(axes, widths, "d_k")

    return draw_figure(path, len(labels), draw)


def report_sharpness(out: Path, seeds: Sequence[int]) -> str:
    """Measure, and write softmax.md, softmax.json and (where matplotlib is) softmax.png; the text of the first."""
    found = measure_sharpness(seeds)
    text = "## Why the square root of d_k\n\n" + sharpness_table(found)
    text += (
        f"\n{QUERIES} random queries and {KEYS} random keys of unit variance, {len(seeds)} seeds, mean ± standard "
        f"deviation.\nEntropy, as a share of ln {KEYS}: 1 when all keys count the same, 0 when one takes all.\n"
        f"Gradient, the norm of d softmax / d scores of the median query: {math.sqrt(KEYS - 1) / KEYS:.4f} when all "
        f"keys count the same, 0 when one takes all.\n"
    )
    if draw_sharpness(found, out / "softmax.png"):
        text += "\n![Entropy and gradient against d_k](softmax.png)\n"
    (out / "softmax.md").write_text(text, encoding="utf-8")
    (out / "softmax.json").write_text(json.dumps([asdict(f) for f in found], indent=1) + "\n", encoding="utf-8")
    return text
