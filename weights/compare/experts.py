"""`tfm train compare-experts`: one small decoder dense, and with experts, at equal active parameters."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.config import ExpertsConfig, ModelConfig
from engine.decoder import DecoderLM
from engine.routing import typical_tokens, watched_routers
from engine.tokenizer import SentencePieceTokenizer
from weights.compare.trials import Outcome, Variant, by_variant, compare, notes_of, read_data, write_report
from weights.data.mixture import Batch
from weights.figure import draw_figure
from weights.sharpness import entropy

VOCABULARY = 2048
ROW, BATCH, LR = 128, 16, 3e-3
WIDTH = 384  # of a dense feed-forward part, and of all that a token takes of experts
EXPLAINED = ("by_token", "by_before", "by_chance")
TYPICAL = 6  # pieces that are named for an expert
COLUMNS = {
    "held-out loss": "held_out", "tokens/s": "tokens_per_s", "parameters": "parameters", "active": "active",
    "busiest expert": "busiest", "idlest expert": "idlest", "told by the token": "by_token",
    "by the one before": "by_before", "by chance": "by_chance",
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


@torch.no_grad()
def choices(model: DecoderLM, rows: Sequence[Batch]) -> dict[int, Tensor]:
    """Layer -> the experts that take each token of some rows, N k. Raises ModelError without experts."""
    with watched_routers(model) as seen:
        for batch in rows:
            model.hidden(batch.ids, documents=batch.documents)
    return {layer: torch.cat(passes) for layer, passes in seen.items()}


def expert_load(model: DecoderLM, rows: Sequence[Batch]) -> dict[str, float]:
    """How many of the choices of held-out tokens fall on each expert: "load LAYER.EXPERT", 1 is an even share.

    busiest, idlest: the highest and the lowest of a layer, the mean over layers. Raises ModelError without experts.
    """
    loads: dict[str, float] = {}
    extremes = []
    for layer, chosen in choices(model, rows).items():
        n_experts = model.config.layer(layer).experts.n_experts  # type: ignore[union-attr]
        shares = (chosen.flatten().bincount(minlength=n_experts) / chosen.numel() * n_experts).tolist()
        loads |= {f"load {layer}.{expert}": share for expert, share in enumerate(shares)}
        extremes.append((max(shares), min(shares)))
    busiest, idlest = (statistics.fmean(side) for side in zip(*extremes, strict=True))
    return {"busiest": busiest, "idlest": idlest, **loads}


def explained(chosen: Tensor, facts: Tensor) -> float:
    """How much of the entropy of a choice (N, whole numbers) a fact of the same thing (N) takes away: 0 to 1."""
    joint = torch.zeros(int(facts.max()) + 1, int(chosen.max()) + 1, dtype=torch.float64)
    joint.index_put_((facts, chosen), torch.full(facts.shape, 1 / len(facts), dtype=torch.float64), accumulate=True)
    of_both, of_facts, of_choice = (float(entropy(p)) for p in (joint.flatten(), joint.sum(1), joint.sum(0)))
    return (of_choice + of_facts - of_both) / of_choice if of_choice else 0.0


def speciality(model: DecoderLM, rows: Sequence[Batch], tokenizer: SentencePieceTokenizer) -> dict[str, Any]:
    """What decides which expert a held-out token goes to first: "by_WHAT LAYER", and "by_WHAT", the mean over layers.

    by_token, by_before: the share of the choice's entropy that the token, and the token before it, explain. by_chance:
    what a token explains of choices that were dealt out anew, which is not 0, since many tokens are rare.
    "typical LAYER": for each expert the pieces that are most typical of it. Raises ModelError without experts.
    """
    ids = torch.cat([batch.ids.flatten() for batch in rows])
    dealt = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))
    told: dict[str, Any] = {}
    found = choices(model, rows)
    for layer, chosen in found.items():
        first = chosen[:, 0]
        told[f"by_token {layer}"] = explained(first, ids)
        told[f"by_before {layer}"] = explained(first, ids.roll(1))
        told[f"by_chance {layer}"] = explained(first[dealt], ids)
        n_experts = model.config.layer(layer).experts.n_experts  # type: ignore[union-attr]
        typical = typical_tokens(ids.tolist(), chosen.tolist(), n_experts, TYPICAL)
        told[f"typical {layer}"] = [[tokenizer.piece(token) for token in best] for best in typical]
    return {key: statistics.fmean(told[f"{key} {layer}"] for layer in found) for key in EXPLAINED} | told


def compare_experts(corpus: Path, out: Path, *, seeds: int, tokens: int) -> str:
    """Train each variant with each seed on the same tokens; write compare-experts.md, .json and .png; the text.

    Raises DataError when the corpus has no text or `out` holds other settings.
    """
    data = read_data(corpus, out, vocab_size=VOCABULARY, tokens=tokens)

    def measure(model: DecoderLM, rows: Sequence[Batch]) -> Mapping[str, Any]:
        sizes = {"parameters": model.config.n_parameters, "active": model.config.n_active_parameters}
        if model.config.experts is None:
            return sizes
        return {**sizes, **expert_load(model, rows), **speciality(model, rows, data.tokenizer)}

    variants = expert_variants(data.vocab_size)
    outcomes = compare(
        variants, data, seeds=range(seeds), tokens=tokens, row=ROW, batch=BATCH, lr=LR, measure=measure, out=out
    )
    base = variants[0].config
    about = (
        f"{base.n_layers} layers, width {base.d_model}; {tokens:,} tokens a run in rows of {ROW}, {seeds} seeds, mean "
        "± standard deviation; losses in nats per token, those of the routers not counted. Active: the parameters that "
        "one token passes through. The busiest and the idlest expert of a layer, in even shares of the choices of "
        "held-out tokens, mean over layers; the load of each is in compare-experts.json. Told by the token, or by the "
        "one before it: the share of the entropy of a token's first choice that it explains, mean over layers; by "
        "chance: what the token explains of choices dealt out anew.\n\n"
    )
    about += notes_of(variants)
    if draw_speciality(outcomes, out / "speciality.png"):
        about += "\n\n![How much of an expert's choice is explained, by layer](speciality.png)"
    title = "A mixture of experts and a dense model at equal active parameters"
    return write_report(out, "compare-experts", title, outcomes, COLUMNS, about)


def draw_speciality(outcomes: Sequence[Outcome], path: Path) -> bool:
    """Draw what explains the choice of an expert, layer by layer, mean over seeds; False without matplotlib."""
    with_experts = {n: g for n, g in by_variant(outcomes).items() if "by_token" in g[0].extra}

    def draw(*panels: Any) -> None:
        for axes, (name, group) in zip(panels, with_experts.items(), strict=True):
            layers = [int(key.split()[1]) for key in group[0].extra if key.startswith("typical ")]
            for key, label in zip(EXPLAINED, ("the token", "the one before", "chance"), strict=True):
                means = [statistics.fmean(o.extra[f"{key} {layer}"] for o in group) for layer in layers]
                axes.plot(layers, means, marker="o", markersize=4, linewidth=1, label=label)
            axes.set(title=name, xlabel="layer", ylabel="share of the choice explained", xticks=layers, ylim=(0, 1))
            axes.legend(fontsize=8)

    return draw_figure(path, len(with_experts), draw)
