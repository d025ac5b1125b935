"""The recipe of a translator: a TOML file like those of weights/recipe.py, with languages in place of sources."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from engine.errors import CheckpointError, DataError
from weights.models.config import ARCHITECTURES, TranslatorConfig, config_from
from weights.recipe import Stage, TokenizerRecipe, build, check_numbers, fits, read_table, with_experts

OF_TOKENIZER = ("vocab_size", "bos_id", "eos_id", "pad_id")  # fields of a config that no recipe gives


@dataclass(frozen=True)
class LanguageRecipe:
    """Files of English<TAB>other pairs for one target language."""

    train: tuple[str, ...]
    valid: tuple[str, ...] = ()


@dataclass(frozen=True)
class TranslatorRecipe:
    """A whole recipe. model: the fields of its architecture's config, but for those that the tokenizer decides."""

    name: str
    seed: int
    architecture: str
    model: Mapping[str, Any]
    languages: Mapping[str, LanguageRecipe]
    stage: Stage
    label_smoothing: float = 0.0
    tokenizer: TokenizerRecipe = field(default_factory=TokenizerRecipe)

    def config(self, vocab_size: int, bos_id: int, eos_id: int, pad_id: int) -> TranslatorConfig:
        """The model's config for a tokenizer. Raises DataError that names the key."""
        told = {"vocab_size": vocab_size, "bos_id": bos_id, "eos_id": eos_id, "pad_id": pad_id}
        try:
            return config_from(ARCHITECTURES[self.architecture], {**self.model, **told})
        except CheckpointError as e:
            raise DataError(f"The recipe's model: {e.message}") from e


def read_translator_recipe(path: Path, overrides: tuple[str, ...] = ()) -> TranslatorRecipe:
    """The recipe in a TOML file, with `dotted.key=value` overrides. Raises DataError for what cannot be used."""
    table = read_table(path, overrides)
    stages = table.pop("stage", [])
    if not fits(stages, list[dict]) or len(stages) != 1:  # type: ignore[type-arg]
        raise DataError("The recipe of a translator has one stage: a table that begins with [[stage]].")
    languages = table.get("languages", {})
    if not languages or not fits(languages, Mapping[str, dict]):  # type: ignore[type-arg]
        raise DataError("The recipe has no languages: each is a table that begins with [languages.NAME].")
    recipe = build(
        TranslatorRecipe,
        table
        | {
            "languages": {n: build(LanguageRecipe, t, f"languages.{n}") for n, t in languages.items()},
            "model": with_experts(table.get("model", {})),
            "tokenizer": build(TokenizerRecipe, table.get("tokenizer", {}), "tokenizer"),
            "stage": build(Stage, stages[0], f"stage {stages[0].get('name', '?')}"),
        },
        "recipe",
    )
    _check(recipe)
    return recipe


def _check(recipe: TranslatorRecipe) -> None:
    stage = recipe.stage
    check_numbers(stage)
    if stage.objective != "translation":
        raise DataError(f"Stage {stage.name!r}: the objective of a translator is translation, not {stage.objective}.")
    if strange := sorted(set(stage.shares) - set(recipe.languages)):
        raise DataError(f"Stage {stage.name!r} takes from {strange[0]!r}, which is none of the languages.")
    if stage.batch % stage.micro_batch:
        raise DataError(f"Stage {stage.name!r}: a batch of {stage.batch} is no multiple of {stage.micro_batch} rows.")
    if not 0 <= recipe.label_smoothing < 1:
        raise DataError(f"label_smoothing must be at least 0 and less than 1, not {recipe.label_smoothing}.")
    if recipe.architecture not in ARCHITECTURES:
        raise DataError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {recipe.architecture!r}.")
    if recipe.architecture == "TfmLSTM" and stage.optimizer == "muon":
        raise DataError(f"Stage {stage.name!r}: Muon is for the matrices of blocks, and an LSTM has none; use adamw.")
    for name in OF_TOKENIZER:
        if name in recipe.model:
            raise DataError(f"model: {name} is the tokenizer's; leave it out.")
    known = {f.name: f for f in fields(ARCHITECTURES[recipe.architecture])}
    for name, value in recipe.model.items():
        if name in known and not fits(value, known[name].type):
            raise DataError(f"model: {name} cannot be {value!r}.")
    if missing := [n for n, f in known.items() if f.default is MISSING and n not in (*recipe.model, *OF_TOKENIZER)]:
        raise DataError(f"model: the key {missing[0]!r} is missing.")
    recipe.config(recipe.tokenizer.vocab_size, 1, 2, 3)  # names an unknown key now, before anything is made
