"""`tfm train compare-residual`: a deep decoder with norms before, after and without, and without residual paths.

What each does to the gradient is measured before a step is taken, and what it costs after training.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.layers.attention import Step
from engine.layers.block import Block
from weights.compare.attention import VOCABULARY
from weights.compare.trials import Variant, compare, held_out_rows, notes_of, read_data, stage_of, write_report
from weights.data.mixture import Batch
from weights.figure import draw_figure
from weights.objectives import next_token

ROW, BATCH, LR = 128, 8, 1e-3
COLUMNS = {"held-out loss": "held_out", "tokens/s": "tokens_per_s"}


class WithoutResidual(Block):
    """f(norm(x)) for both parts: what a part does not pass on is gone. B T C -> B T C."""

    def forward(self, x: Tensor, step: Step, cache: Any = None) -> Tensor:
        x = self.attention(self.attention_norm(x), step, cache)
        return self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class WithoutNorms(Block):
    """x + f(x) for both parts. B T C -> B T C."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.attention_norm = self.mlp_norm = nn.Identity()


def without_norms(config: ModelConfig) -> DecoderLM:
    """A decoder without norms but the last one."""
    model = DecoderLM(config)
    model.blocks = nn.ModuleList(WithoutNorms(config) for _ in range(config.n_layers))
    return model


class LargeStart(DecoderLM):
    """A decoder whose matrices begin with 1 / √d_in, so that each passes on what it gets in its size.

    DecoderLM's own first values are smaller, so that branches add little to the residual path at first; without that
    path all signal would fade out.
    """

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        super().init_weights(generator)
        for parameter in self.blocks.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)


def without_paths(config: ModelConfig) -> DecoderLM:
    """A decoder without residual paths."""
    model = LargeStart(config)
    model.blocks = nn.ModuleList(WithoutResidual(config) for _ in range(config.n_layers))
    return model


def deep_config(vocab_size: int) -> ModelConfig:
    """The decoder that is compared: twelve layers of width 96."""
    return ModelConfig(
        vocab_size=vocab_size, d_model=96, n_layers=12, n_heads=3, n_kv_heads=3, head_dim=32, d_ff=256,
        max_positions=ROW,
    )  # fmt: skip


def residual_variants(vocab_size: int) -> list[Variant]:
    """Norms before, and what becomes of it with the norms elsewhere, or without one of the two helps."""
    base = deep_config(vocab_size)
    after = replace(base, norm_place="after")
    return [
        Variant("norm before", base, "x + f(norm(x)); a last norm before the head"),
        Variant("norm after", after, "norm(x + f(x)), as in Vaswani 2017"),
        Variant("no norms", base, "x + f(x); a last norm before the head", without_norms),
        Variant("norm before, large start", base, "the first, begun with matrices of 1 / √d_in", LargeStart),
        Variant("norm after, large start", after, "the second, begun with these", LargeStart),
        Variant("no residual, large start", base, "f(norm(x)), begun with these", without_paths),
    ]  # fmt: skip


@dataclass(frozen=True)
class Gradients:
    """norms: of the gradients of all weights of a layer, from the first layer to the last, before any training."""

    variant: str
    seed: int
    norms: list[float]


def gradients_by_layer(model: DecoderLM, batch: Batch) -> list[float]:
    """For each block the norm of the gradient of the mean loss with respect to all its weights."""
    (next_token(model, batch) / batch.n_targets).backward()  # type: ignore[no-untyped-call]
    return [float(torch.cat([p.grad.flatten() for p in block.parameters()]).norm()) for block in model.blocks]  # type: ignore[union-attr]


def gradients_at_start(variants: Sequence[Variant], batch: Batch, seeds: Sequence[int]) -> list[Gradients]:
    """Each variant with the weights that each seed draws, on the same rows."""
    return [Gradients(v.name, seed, gradients_by_layer(v.fresh(seed), batch)) for seed in seeds for v in variants]


def gradient_table(found: Sequence[Gradients]) -> str:
    """A markdown table: for each variant the gradient of some layers, mean ± standard deviation over seeds."""
    last = len(found[0].norms) - 1
    layers = sorted({0, last // 3, 2 * last // 3, last})
    lines = ["| gradient at the start, layer | " + " | ".join(str(i) for i in layers) + " | first / last |"]
    lines.append("|---|" + "---:|" * (len(layers) + 1))
    for name, group in _by_variant(found).items():
        cells = [_told([g.norms[i] for g in group]) for i in layers]
        lines.append(f"| {name} | " + " | ".join([*cells, _told([g.norms[0] / g.norms[-1] for g in group])]) + " |")
    return "\n".join(lines) + "\n"


def _by_variant(found: Sequence[Gradients]) -> dict[str, list[Gradients]]:
    return {name: [g for g in found if g.variant == name] for name in dict.fromkeys(g.variant for g in found)}


def _told(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.2g} ± {spread:.1g}"


def draw_gradients(found: Sequence[Gradients], path: Path) -> bool:
    """Draw the gradient of each layer, geometric mean over seeds; False when matplotlib is not installed."""

    def draw(axes: Any) -> None:
        for name, group in _by_variant(found).items():
            means = [statistics.geometric_mean(norms) for norms in zip(*(g.norms for g in group), strict=True)]
            axes.plot(range(len(means)), means, marker="o", markersize=3, linewidth=1, label=name)
        axes.set(yscale="log", xlabel="layer", ylabel="norm of the gradient at the start")
        axes.legend(fontsize=8)

    return draw_figure(path, 1, draw)


def compare_residual(corpus: Path, out: Path, *, seeds: int, tokens: int) -> str:
    """Measure gradients, train each variant with each seed; write compare-residual.* and gradients.*; the text.

    Raises DataError when the corpus has no text or `out` holds other settings.
    """
    data = read_data(corpus, out, vocab_size=VOCABULARY, tokens=tokens)
    variants = residual_variants(data.vocab_size)
    rows = held_out_rows(data, stage_of(tokens, ROW, BATCH, LR))
    gradients = gradients_at_start(variants, rows[0], range(seeds))
    (out / "gradients.json").write_text(json.dumps([asdict(g) for g in gradients], indent=1) + "\n", encoding="utf-8")
    outcomes = compare(variants, data, seeds=range(seeds), tokens=tokens, row=ROW, batch=BATCH, lr=LR, out=out)
    base = variants[0].config
    about = (
        f"{base.n_layers} layers, width {base.d_model}; {tokens:,} tokens a run in rows of {ROW}, rate {LR}, "
        f"{seeds} seeds, mean ± standard deviation; losses in nats per token.\n\n"
    )
    about += notes_of(variants) + "\n\n" + gradient_table(gradients)
    if draw_gradients(gradients, out / "gradients.png"):
        about += "\n![Gradients by layer](gradients.png)"
    return write_report(out, "compare-residual", "Residual paths and norms", outcomes, COLUMNS, about)
