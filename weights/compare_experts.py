"""`tfm train compare-experts`: one small decoder dense, and with experts, at equal active parameters."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from engine.config import ExpertsConfig, ModelConfig
from engine.decoder import DecoderLM
from engine.routing import watched_routers
from weights.compare import Variant, compare, read_data, write_report
from weights.data.mixture import Batch

VOCABULARY = 2048
ROW, BATCH, LR = 128, 16, 3e-3
WIDTH = 384  # of a dense feed-forward part, and of all that a token takes of experts
COLUMNS = {
    "held-out loss": "held_out", "tokens/s": "tokens_per_s", "parameters": "parameters", "active": "active",
    "busiest expert": "busiest", "idlest expert": "idlest",
}  # fmt: skip


def expert_variants(vocab_size: int) -> list[Variant]:
    """A dense decoder, and three whose tokens pass through as many parameters, of four times as many in experts."""
    dense = ModelConfig(
        vocab_size=vocab_size, d_model=128, n_layers=4, n_heads=4, n_kv_heads=4, head_dim=32, d_ff=WIDTH,
        max_positions=ROW,
    )  # fmt: skip
    half = WIDTH // 2
    return [
        Variant("dense", dense, f"one feed-forward part of {WIDTH}"),
        Variant("top-1", _with(dense, ExpertsConfig(8, WIDTH)), f"8 experts of {WIDTH}, each token takes one (Switch)"),
        Variant(
            "top-2", _with(dense, ExpertsConfig(16, half, n_chosen=2, renormalise=True)),
            f"16 experts of {half}, each token takes two, whose weights add up to 1",
        ),
        Variant(
            "shared", _with(dense, ExpertsConfig(16, half, d_shared=half)),
            f"16 experts of {half}, each token takes one, and one more of {half} takes all (DeepSeekMoE)",
        ),
    ]  # fmt: skip


def _with(dense: ModelConfig, experts: ExpertsConfig) -> ModelConfig:
    return replace(dense, experts=experts)


def expert_load(model: DecoderLM, rows: Sequence[Batch]) -> dict[str, float]:
    """How many of the choices of held-out tokens fall on each expert: "load LAYER.EXPERT", 1 is an even share.

    busiest, idlest: the highest and the lowest of a layer, the mean over layers. Raises ModelError without experts.
    """
    with torch.no_grad(), watched_routers(model) as seen:
        for batch in rows:
            model.hidden(batch.ids, documents=batch.documents)
    loads: dict[str, float] = {}
    extremes = []
    for layer, passes in seen.items():
        n_experts = model.config.layer(layer).experts.n_experts  # type: ignore[union-attr]
        chosen = torch.cat(passes).flatten()
        shares = (chosen.bincount(minlength=n_experts) / len(chosen) * n_experts).tolist()
        loads |= {f"load {layer}.{expert}": share for expert, share in enumerate(shares)}
        extremes.append((max(shares), min(shares)))
    busiest, idlest = (statistics.fmean(side) for side in zip(*extremes, strict=True))
    return {"busiest": busiest, "idlest": idlest, **loads}


def _measure(model: DecoderLM, rows: Sequence[Batch]) -> Mapping[str, float]:
    sizes = {"parameters": model.config.n_parameters, "active": model.config.n_active_parameters}
    return sizes if model.config.experts is None else {**sizes, **expert_load(model, rows)}


def compare_experts(corpus: Path, out: Path, *, seeds: int, tokens: int) -> str:
    """Train each variant with each seed on the same tokens; write compare-experts.md, .json and .png; the text.

    Raises DataError when the corpus has no text or `out` holds other settings.
    """
    data = read_data(corpus, out, vocab_size=VOCABULARY, tokens=tokens)
    variants = expert_variants(data.vocab_size)
    outcomes = compare(
        variants, data, seeds=range(seeds), tokens=tokens, row=ROW, batch=BATCH, lr=LR, measure=_measure, out=out
    )
    base = variants[0].config
    about = (
        f"{base.n_layers} layers, width {base.d_model}; {tokens:,} tokens a run in rows of {ROW}, {seeds} seeds, mean "
        "± standard deviation; losses in nats per token, those of the routers not counted. Active: the parameters that "
        "one token passes through. The busiest and the idlest expert of a layer, in even shares of the choices of "
        "held-out tokens, mean over layers; the load of each is in compare-experts.json.\n\n"
    )
    about += "\n".join(f"- {v.name}: {v.note}" for v in variants)
    title = "A mixture of experts and a dense model at equal active parameters"
    return write_report(out, "compare-experts", title, outcomes, COLUMNS, about)
