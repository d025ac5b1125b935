"""weights/recipe.py: a recipe is data, and a mistake in it is told by the name of its key."""

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.config import ModelConfig
from engine.errors import DataError
from weights.recipe import model_config, read_recipe, recipe_from

EVERY = sorted((Path(__file__).parents[2] / "weights" / "recipes").glob("*.toml"))
RECIPES = [p for p in EVERY if "architecture" not in tomllib.loads(p.read_text(encoding="utf-8"))]  # of decoders
TINY = next(p for p in RECIPES if p.name == "tiny.toml")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The tables of tiny.toml with one value changed, or taken away for None."""
    table: dict[str, Any] = copy.deepcopy(tomllib.loads(TINY.read_text(encoding="utf-8")))
    here: Any = table
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for part in parents:
        here = here[part]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return table


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_every_shipped_recipe_is_whole_and_makes_a_model(path: Path) -> None:
    recipe = read_recipe(path)
    assert isinstance(model_config(recipe, recipe.tokenizer.vocab_size, (2,)), ModelConfig)
    assert json.loads(recipe.as_json())["name"] == path.stem
    assert recipe == recipe_from(tomllib.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("model.d_modell", 3, "model: unknown key 'd_modell'. Did you mean 'd_model'"),
        ("seeed", 3, "recipe: unknown key 'seeed'. Did you mean 'seed'"),
        ("stage.0.learning", 3, "stage pretrain: unknown key 'learning'"),
        ("sources.tales.formt", "text", "sources.tales: unknown key 'formt'. Did you mean 'format'"),
        ("tokenizer.vocab", 3, "tokenizer: unknown key 'vocab'"),
        ("model.d_ff", None, "model: the key 'd_ff' is missing"),
        ("seed", None, "recipe: the key 'seed' is missing"),
        ("stage.1.tokens", None, "stage sft: the key 'tokens' is missing"),
        ("stage.0.name", None, "stage ?: the key 'name' is missing"),
        ("stage.0.whole", ["tails"], "whole names 'tails', of which it takes nothing. Did you mean 'tales'"),
        ("stage.0.shares.tails", 1, "takes from 'tails', which is no source. Did you mean 'tales'"),
        ("stage.0.shares.tales", -1, "no share may be negative"),
        ("stage.0.shares.tales", "much", "shares cannot be"),
        ("stage.0.shares", {"tales": 0}, "nor all of them zero"),
        ("stage.0.shares", {}, "nor all of them zero"),
        ("stage.0.shares", 3, "shares cannot be 3; it must be a table"),
        ("stage.0.micro_batch", 5, "a batch of 16 is no multiple of 5"),
        ("stage.0.micro_batch", 0, "micro_batch must be more than 0"),
        ("stage.0.tokens", 0, "tokens must be more than 0"),
        ("stage.0.name", "sft", "Two stages are called 'sft'"),
        ("stage.0.name", "model", "A stage cannot be called 'model'"),
        ("stage.0.name", "../out", "A stage cannot be called '../out'"),
        ("stage.0.name", "", "A stage cannot be called ''"),
        ("stage.0.lr", float("nan"), "lr must be more than 0, not nan"),
        ("stage.0.spike", float("inf"), "spike must be more than 0"),
        ("stage.0.keep_states", 0, "keep_states must be more than 0"),
        ("stage.0.dropout", 1.0, "dropout must lie between 0 and 1"),
        ("stage.0.ema", -0.1, "ema must lie between 0 and 1"),
        ("stage.0.row", 512, "a row of 512 is longer than max_positions 256"),
        ("stage.0.optimizer", "sgd", "it is one of adamw, muon"),
        ("stage.0.objective", "masked", "it is one of lm, chat"),
        ("stage.0.lr", "fast", "lr cannot be 'fast'; it must be a number"),
        ("stage.0.batch", 1.5, "batch cannot be 1.5; it must be a whole number"),
        ("stage.0.batch", True, "batch cannot be True"),
        ("evaluation.held_out", 3, "evaluation: unknown key 'held_out'. Did you mean 'held_out_bytes'"),
        ("evaluation.held_out_bytes", 0, "held_out_bytes must be at least 1, not 0"),
        ("evaluation.prompts.chatt", "Hi", "'chatt' has no sample. Did you mean 'chat'"),
        ("evaluation.prompts", "Hi", "prompts cannot be 'Hi'; it must be a table"),
        ("stage", [], "has no stage"),
        ("stage", "pretrain", "has no stage"),
        ("stage", None, "has no stage"),
        ("model", 3, "model must be a table, not 3"),
        ("sources", 3, "sources"),
        ("sources.tales", 3, "sources"),
        ("sources.tales.files", "a.txt", "files cannot be 'a.txt'; it must be a list"),
        ("sources.tales.files", [], "at least one file"),
        ("sources.identity.count", 0, "count must be at least 1"),
        ("sources.identitty", {"format": "own", "count": 3}, "no own generator has this name. Did you mean 'identity'"),
    ],
)
def test_a_mistake_is_a_data_error_that_names_it(path: str, value: Any, told: str) -> None:
    with pytest.raises(DataError) as caught:
        recipe_from(changed(path, value))
    assert told in str(caught.value)


def test_an_objective_without_a_prompt_keeps_its_own() -> None:
    told = recipe_from(changed("evaluation.prompts", {"chat": "Hi"})).evaluation
    assert told.prompts == {"lm": "The ", "chat": "Hi"}
    assert told.held_out_bytes == 8000  # of tiny.toml
    assert recipe_from(changed("evaluation", {})).evaluation.held_out_bytes == 16_000


def test_overrides_reach_every_table_and_a_stage_by_its_name() -> None:
    recipe = read_recipe(
        TINY,
        ("seed=7", "name=other", "model.d_model=128", "stage.sft.lr=0.5", "stage.pretrain.optimizer=adamw",
         'sources.tales.files=["a.xz"]', "tokenizer.sample_mb=2", "generation.top_k=5", "stage.sft.shares.tales=1"),
    )  # fmt: skip
    assert (recipe.seed, recipe.name, recipe.model.d_model) == (7, "other", 128)
    assert recipe.stage("sft").lr == 0.5
    assert recipe.stage("pretrain").optimizer == "adamw"
    assert recipe.stage("pretrain").lr == read_recipe(TINY).stage("pretrain").lr
    assert recipe.sources["tales"].files == ("a.xz",)
    assert recipe.generation["top_k"] == 5
    assert recipe.stage("sft").shares["tales"] == 1


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed", "written key=value"),
        ("stage.nothing.lr=1", "no place for 'stage.nothing.lr'"),
        ("stage.lr=1", "no place for 'stage.lr'"),
        ("seed.x=1", "no place for 'seed.x'"),
        ("model.d_modl=1", "Did you mean 'd_model'"),
        ("stage.sft.lr=fast", "lr cannot be 'fast'"),
    ],
)
def test_a_wrong_override_is_a_data_error_that_names_it(override: str, told: str) -> None:
    with pytest.raises(DataError) as caught:
        read_recipe(TINY, (override,))
    assert told in str(caught.value)


@pytest.mark.parametrize("content", [None, b"name = ", b"\xff\xfe"])
def test_a_recipe_that_cannot_be_read_is_a_data_error_that_names_the_file(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.toml"):
        read_recipe(path)


def test_a_stage_that_is_not_there_is_a_data_error_that_lists_the_others() -> None:
    with pytest.raises(DataError, match="no stage 'dpo'; it has pretrain, sft"):
        read_recipe(TINY).stage("dpo")
