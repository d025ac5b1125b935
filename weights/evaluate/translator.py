"""`tfm eval` of a translator: measure it beside a dictionary and other models, tell the numbers, write its card."""

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from engine.errors import CheckpointError, DataError
from weights.data.pairs import Pair, PairRows, encode_pairs
from weights.evaluate.history import FILE, training
from weights.evaluate.records import require_files
from weights.evaluate.translation import evaluate_translator
from weights.evaluate.translator_card import render_card
from weights.models.config import LSTMConfig
from weights.models.translate import Options, Translator
from weights.translation import TranslatorShop, control_ids
from weights.translation_recipe import TranslatorRecipe
from weights.workshop import say

EXAMPLES, SEED = 20, 7  # unedited translations in a card, and which of the held-out pairs they are of


@dataclass(frozen=True)
class Request:
    """What was asked for. The recipe names the languages and their files in the corpus."""

    model: Path
    corpus: Path
    recipe: TranslatorRecipe
    as_json: bool = False
    card: bool = False
    baselines: tuple[Path, ...] = ()
    threads: int | None = None


def run(request: Request) -> dict[str, Any]:
    """Measure, write, and tell the numbers on stdout; they are also returned.

    Raises DataError for a corpus that lacks files, and CheckpointError for a model, before anything is measured.
    """
    if request.threads:
        torch.set_num_threads(request.threads)
    shop = TranslatorShop(request.recipe, request.corpus, request.model.resolve().parent)
    translator = Translator.load(request.model)
    baselines = _baselines(request.baselines, translator)
    train, valid = _pairs(shop, translator)
    say("measuring the model, a dictionary" + "".join(f", {name}" for name in baselines) + " ...")
    numbers = evaluate_translator(translator, train, valid, baselines)
    numbers["pairs"] = {n: {"train": len(train[n]), "valid": len(pairs)} for n, pairs in valid.items()}
    numbers["config"] = asdict(translator.model.config)
    numbers["megabytes"] = round(sum(f.stat().st_size for f in request.model.iterdir() if f.is_file()) / 1e6, 1)
    numbers["examples"] = _examples(translator, valid)
    numbers["training"] = _training(request.model, shop, translator, train)
    for name, directory in zip(baselines, request.baselines, strict=True):
        numbers["baselines"][name]["training"] = training(directory)
    if request.card:
        if numbers["training"]:
            (request.model / FILE).write_text(json.dumps(numbers["training"], indent=1) + "\n", encoding="utf-8")
        (request.model / "README.md").write_text(render_card(request.recipe, numbers), encoding="utf-8")
    if request.as_json:
        print(json.dumps(numbers, indent=1))
    else:
        show(numbers, Console(highlight=False))
    return numbers


def _baselines(directories: tuple[Path, ...], translator: Translator) -> dict[str, Translator]:
    """Other models by a name that says what they are. Raises CheckpointError for one that lacks a language."""
    found: dict[str, Translator] = {}
    for directory in directories:
        model = Translator.load(directory)
        if lacking := [n for n in translator.languages if n not in model.languages]:
            raise CheckpointError(f"{directory} does not translate to {lacking[0]!r}, as the measured model does.")
        config = model.model.config
        name = "transformer"
        if isinstance(config, LSTMConfig):
            name = "LSTM without attention" if config.attention == "none" else f"LSTM, {config.attention} attention"
        found[f"{name} ({directory})" if name in found else name] = model
    return found


def _pairs(shop: TranslatorShop, translator: Translator) -> tuple[dict[str, list[Pair]], dict[str, list[Pair]]]:
    """Training and held-out pairs of the languages that are measured. Raises DataError when there are none."""
    recipes = shop.recipe.languages
    if lacking := [n for n in translator.languages if n not in recipes]:
        raise DataError(f"The recipe {shop.recipe.name} has no pairs for {lacking[0]!r}, which the model knows.")
    measured = [n for n in translator.languages if recipes[n].valid]
    require_files(shop.corpus, (f for n in measured for f in (*recipes[n].train, *recipes[n].valid)))
    train = {n: shop.pairs(n, "train") for n in measured}
    valid = {n: pairs for n in measured if (pairs := shop.pairs(n, "valid"))}
    if not valid:
        raise DataError(f"The recipe {shop.recipe.name} has no held-out pairs; there is nothing to measure with.")
    return train, valid


def _examples(translator: Translator, valid: Mapping[str, list[Pair]]) -> list[dict[str, str]]:
    """What becomes of held-out sentences that a seed chose, as many of each language."""
    rng = random.Random(SEED)
    told = []
    for language, pairs in valid.items():
        chosen = rng.sample(pairs, min(len(pairs), EXAMPLES // len(valid)))
        found = translator.translate([english for english, _ in chosen], language, Options())
        told += [
            {"to": language, "english": english, "reference": other, "translation": t.text}
            for (english, other), t in zip(chosen, found, strict=True)
        ]
    return told


def _training(
    directory: Path, shop: TranslatorShop, translator: Translator, train: Mapping[str, list[Pair]]
) -> dict[str, Any]:
    """What is known of the training; the pairs that were seen are counted where the run was of this very recipe."""
    told = training(directory)
    stage = shop.recipe.stage
    ran = shop.home / "recipe.json"
    if not told or "pairs_seen" in told or not ran.is_file() or set(stage.shares) - set(train):
        return told
    recorded, now = json.loads(ran.read_text(encoding="utf-8")), json.loads(json.dumps(asdict(stage)))
    if recorded["seed"] != shop.recipe.seed or any(now.get(k) != v for k, v in recorded["stage"].items()):
        return told
    sets = {n: encode_pairs(train[n], n, translator.tokenizer) for n in stage.shares}
    rows = PairRows(stage, sets, shop.recipe.seed, control_ids(translator.tokenizer))
    return told | {"pairs_seen": rows.n_pairs(told["stages"][0]["steps"])}


def show(numbers: Mapping[str, Any], console: Console) -> None:
    """The numbers as tables."""
    systems = by_system(numbers)
    for language, about in numbers["pairs"].items():
        table = Table(
            "English words", "sentences", *systems, title=f"chrF, en-{language}, {about['valid']} held-out pairs"
        )
        lengths = numbers["model"][language]["by_words"]
        for name, here in lengths.items():
            told = (f"{s[language]['by_words'][name]['chrF']:.1f}" for s in systems.values())
            table.add_row(name, str(here["sentences"]), *told)
        for metric in ("chrF", "BLEU"):
            told = (f"{s[language][metric]:.1f}" for s in systems.values())
            table.add_row(f"all, {metric}", str(about["valid"]), *told)
        console.print(table)
    bits = ", ".join(f"en-{n} {value:.3f}" for n, value in numbers["bits_per_byte"].items())
    console.print(f"bits per byte of the true translations: {bits}; {numbers['parameters']:,} parameters")


def by_system(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of everything that was measured, by the name that tables give it."""
    others = {name: told["scores"] for name, told in numbers["baselines"].items()}
    return {
        f"beam {numbers['beam']}": numbers["model"], "greedy": numbers["greedy"], **others,
        "word by word": numbers["dictionary"],
    }  # fmt: skip
