"""The card of a translator, from the numbers of one evaluation, written as README.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weights.translation_recipe import TranslatorRecipe

PROVENANCE = Path(__file__).with_name("translator_provenance.md")
SHIPPED = "translator"  # the recipe whose data the provenance is of
NAMES = {"fr": "French", "es": "Spanish"}


def render_card(recipe: TranslatorRecipe, numbers: Mapping[str, Any]) -> str:
    """The card's text. It needs no corpus: all is in the numbers."""
    languages = list(numbers["pairs"])
    parts = [
        [f"# tfm {recipe.name}"],
        _about(recipe, numbers),
        _use(languages),
        _training(recipe, numbers),
        _scores(recipe, numbers),
        *(_by_length(numbers, language) for language in languages),
        _examples(numbers),
        [PROVENANCE.read_text(encoding="utf-8").rstrip("\n")] if recipe.name == SHIPPED else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _about(recipe: TranslatorRecipe, numbers: Mapping[str, Any]) -> list[str]:
    told = ", ".join(NAMES.get(n, n) for n in numbers["pairs"])
    config = numbers["config"]
    shape = ", ".join(f"{name} {value}" for name, value in config.items() if name in recipe.model)
    return [
        f"Translates everyday sentences from English to: {told}. {numbers['parameters']:,} parameters, trained from",
        "scratch by this project's own trainer. The target language is a control token before the sentence.", "",
        "## Shape", "",
        f"{recipe.architecture}: {shape}. {config['vocab_size']:,} SentencePiece pieces with byte fallback, shared by "
        "all languages.",
        f"Stored as bfloat16; the directory takes {numbers['megabytes']} MB.",
    ]  # fmt: skip


def _use(languages: list[str]) -> list[str]:
    return [
        "## Use", "",
        f'    tfm translate --to {languages[0]} "He is reading a book."',
        f"    tfm translate --to {languages[-1]} < english.txt", "",
        "A line in, a line out. `tfm translate --help` lists beams, alternatives, drawing and JSON.",
    ]  # fmt: skip


def _training(recipe: TranslatorRecipe, numbers: Mapping[str, Any]) -> list[str]:
    pairs = ", ".join(f"en-{n} {count['train']:,}" for n, count in numbers["pairs"].items())
    lines = ["## Training", "", f"Sentence pairs to train on: {pairs}."]
    told = numbers["training"]
    for stage in told.get("stages", []):
        seen = f" ({told['pairs_seen']:,} pairs seen)" if "pairs_seen" in told else ""
        lines.append(
            f"{stage['steps']:,} steps over {stage['tokens']:,} target positions{seen}, in {stage['hours']} hours; "
            f"label smoothing {recipe.label_smoothing}, dropout {recipe.stage.dropout}, seed {told['seed']}."
        )
    return [*lines, f"Recipe: weights/recipes/{recipe.name}.toml."]


def _scores(recipe: TranslatorRecipe, numbers: Mapping[str, Any]) -> list[str]:
    languages = list(numbers["pairs"])
    heads = [f"{metric} en-{n}" for n in languages for metric in ("chrF", "BLEU")] + [f"bits en-{n}" for n in languages]
    others = numbers["baselines"]
    rows = [
        _row(f"this model, beam {numbers['beam']}", numbers["model"], numbers, numbers["bits_per_byte"]),
        _row("this model, greedy", numbers["greedy"], numbers, numbers["bits_per_byte"]),
        *(
            _row(f"{name}, {_size(told)}", told["scores"], numbers, told["bits_per_byte"])
            for name, told in others.items()
        ),
        _row("dictionary, word by word", numbers["dictionary"], numbers, {}),
    ]
    held_out = ", ".join(f"en-{n} {count['valid']:,}" for n, count in numbers["pairs"].items())
    flags = "" if recipe.name == SHIPPED else f" --recipe {recipe.name}.toml"
    flags += " --baseline DIR" * len(others)
    return [
        "## Numbers", "",
        f"On the held-out pairs ({held_out}), with one reference for each sentence. Bits are those that a byte of the",
        "true translation needs. The dictionary is learned from the same pairs (IBM model 1) and knows no order.",
        *(["The other models are searched with the same beam."] if others else []), "",
        f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}", *rows, "",
        "sacreBLEU: " + "; ".join(f"{name} `{told}`" for name, told in numbers["signatures"].items())
        + f"; length penalty {numbers['length_penalty']}.", "",
        f"Repeated by: `tfm eval -m DIR --corpus CORPUS{flags} --card`",
    ]  # fmt: skip


def _size(told: Mapping[str, Any]) -> str:
    """How large another model is, and how long it was trained, where that is known."""
    read = sum(stage["tokens"] for stage in told["training"].get("stages", ()))
    return f"{told['parameters']:,} parameters" + (f", {read:,} target positions" if read else "")


def _row(name: str, scores: Mapping[str, Any], numbers: Mapping[str, Any], bits: Mapping[str, float]) -> str:
    cells = [f"{scores[n][metric]:.1f}" for n in numbers["pairs"] for metric in ("chrF", "BLEU")]
    cells += [f"{bits[n]:.3f}" if n in bits else "–" for n in numbers["pairs"]]
    return f"| {name} | {' | '.join(cells)} |"


def _by_length(numbers: Mapping[str, Any], language: str) -> list[str]:
    others = {name: told["scores"] for name, told in numbers["baselines"].items()}
    systems = {"this model": numbers["model"], **others, "dictionary": numbers["dictionary"]}
    return [
        f"### chrF by length, en-{language}", "",
        f"| words of English | sentences | {' | '.join(systems)} |", f"|---|---:|{'---:|' * len(systems)}",
        *(
            f"| {name} | {here['sentences']:,} | "
            + " | ".join(f"{s[language]['by_words'][name]['chrF']:.1f}" for s in systems.values()) + " |"
            for name, here in numbers["model"][language]["by_words"].items()
        ),
    ]  # fmt: skip


def _examples(numbers: Mapping[str, Any]) -> list[str]:
    lines = [
        f"## {len(numbers['examples'])} translations", "",
        f"Unedited, of held-out sentences that a seed chose, by beam {numbers['beam']}.",
    ]  # fmt: skip
    for told in numbers["examples"]:
        said = " ".join(told["translation"].splitlines())
        lines += ["", f"    en: {told['english']}", f"    {told['to']}: {said}", f"    reference: {told['reference']}"]
    return lines
