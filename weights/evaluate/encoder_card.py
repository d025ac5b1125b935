"""The card of a masked language model, from the numbers of one evaluation, written as README.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weights.evaluate.history import training_section
from weights.recipe import Recipe

PROVENANCE = Path(__file__).with_name("encoder_provenance.md")
SHIPPED = "masked-lm"  # the recipe whose data the provenance is of


def render_card(recipe: Recipe, numbers: Mapping[str, Any], history: Mapping[str, Any]) -> str:
    """The card's text. It needs no corpus: all is in the numbers."""
    parts = [
        [f"# tfm {recipe.name}{f', v{recipe.version}' if recipe.version else ''}"],
        _about(numbers),
        training_section(recipe, history, "target"),
        _masked(numbers),
        _retrieval(numbers),
        _fills(numbers),
        [PROVENANCE.read_text(encoding="utf-8").rstrip("\n")] if recipe.name == SHIPPED else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _about(numbers: Mapping[str, Any]) -> list[str]:
    c = numbers["config"]
    return [
        f"An encoder of {numbers['parameters']:,} parameters, trained from scratch by this project's own trainer. It "
        "tells which", "word a mask hides, and turns a sentence into a vector that is near to those of its "
        "paraphrases.", "",
        '    tfm fill "The capital of France is [MASK]."',
        '    tfm embed --similar "I lost my card." < lines.txt', "",
        "## Shape", "",
        f"{c['n_layers']} layers, width {c['d_model']}, {c['n_heads']} heads of {c['head_dim']}, feed-forward "
        f"{c['d_ff']}, {c['positions']} positions up to {c['max_positions']}, norms {c['norm_place']}, "
        f"{c['activation']}, tied head of {c['vocab_size']:,}", "SentencePiece pieces with byte fallback. Stored as "
        f"bfloat16; the directory takes {numbers['megabytes']} MB.",
    ]  # fmt: skip


def _masked(numbers: Mapping[str, Any]) -> list[str]:
    sizes = numbers["bytes"]
    perplexity = {name: 2**bits for name, bits in numbers["pseudo_bits_per_byte"].items()}
    return [
        "## Hidden tokens of held-out text", "",
        f"Of the first {sizes['masked'] // 1000} kB of each source's validation files, 15 % of the tokens behind "
        "masks: the share that is told", "at the first guess and within five, and the bits needed for one. "
        f"Pseudo-perplexity per byte: each token of the first {sizes['one_by_one'] // 1000} kB hidden", "alone "
        "(Salazar 2020).", "",
        "| source | hidden | first guess | within five | bits per token | pseudo-perplexity per byte |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {n} | {s['count']:,} | {s['top1']:.1%} | {s['top5']:.1%} | {s['bits']:.2f} | {perplexity[n]:.3f} |"
            for n, s in numbers["masked"].items()
        ), "",
        "Repeated by: `tfm eval -m DIR --corpus CORPUS --card`",
    ]  # fmt: skip


def _retrieval(numbers: Mapping[str, Any]) -> list[str]:
    if "retrieval" not in numbers:
        return []
    return [
        "## Retrieval", "",
        f"Of {numbers['pairs']:,} held-out pairs: is the second sentence the nearest to the first, among all second "
        "sentences? Many", "of them ask the same in other words, so that another than the right one is often as good.",
        "", "| vectors | recall at 1 | mean reciprocal rank |", "|---|---:|---:|",
        *(f"| {name} | {r['recall@1']:.1%} | {r['mrr']:.3f} |" for name, r in numbers["retrieval"].items()),
    ]  # fmt: skip


def _fills(numbers: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {told['line']} | {', '.join(f'{piece} {p:.2f}' for piece, p in told['guesses'])} |"
        for told in numbers["fills"]
    ]
    return [
        f"## {len(rows)} fills", "", "Unedited, the three likeliest of each.", "",
        "| line | guesses |", "|---|---|", *(row.replace("[MASK]", "`[MASK]`") for row in rows),
    ]  # fmt: skip
