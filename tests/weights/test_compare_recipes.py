"""weights/compare/recipes.py: a stage as it is and changed, measured on records that none of them was trained on."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError
from weights.cli import main
from weights.compare.recipes import HELD_OUT_EVERY, UNCHANGED, compare_recipes
from weights.data.shards import records
from weights.evaluate.records import text_of
from weights.recipe import read_recipe
from weights.workshop import Workshop

CORPUS = Path(__file__).parent / "corpus"
TINY = Path(__file__).parents[2] / "weights" / "recipes" / "tiny.toml"
SMALL = ("stage.pretrain.row=32", "stage.pretrain.batch=8", "stage.pretrain.micro_batch=8", "model.n_layers=1")
ADAMW = "stage.pretrain.optimizer=adamw stage.pretrain.lr=0.002"


def compared(out: Path, *changes: str, seeds: int = 1, only: str = "pretrain", **more: Any) -> str:
    shop = Workshop(read_recipe(TINY), CORPUS, out, compiled=False)
    return compare_recipes(TINY, only, SMALL, changes, shop, seeds=seeds, tokens=512, **more)


def outcomes(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "compare-recipes.json").read_text())
    return found


def test_every_variant_is_measured_on_the_same_bytes_of_every_source(tmp_path: Path) -> None:
    text = compared(tmp_path, ADAMW, "tokenizer.vocab_size=700", seeds=2)
    found = outcomes(tmp_path)
    assert [(o["variant"], o["seed"]) for o in found] == [
        (variant, seed) for seed in (0, 1) for variant in (UNCHANGED, ADAMW, "tokenizer.vocab_size=700")
    ]
    assert len({o["held_out"] for o in found}) == 6 and all(3 < o["held_out"] < 10 for o in found)
    assert len({tuple(o["extra"]) for o in found}) == 1 and {"hello", "facts"} <= set(found[0]["extra"])
    assert found[2]["extra"]["parameters"] > found[0]["extra"]["parameters"]
    assert (tmp_path / "compare-recipes.md").read_text() == text and f"- 1: {ADAMW}" in text


def test_what_is_done_is_read_and_a_change_of_the_common_settings_is_refused(tmp_path: Path) -> None:
    first = compared(tmp_path)
    assert compared(tmp_path) == first
    more = compared(tmp_path, "stage.pretrain.shares.hello=40", "stage.pretrain.tokens=1024")  # these read more
    assert more.splitlines()[4] == first.splitlines()[4]
    shop = Workshop(read_recipe(TINY), CORPUS, tmp_path, compiled=False)
    with pytest.raises(DataError, match=r"as-it-is-0\.json is of other settings"):
        compare_recipes(TINY, "pretrain", SMALL, (), shop, seeds=1, tokens=1024)


def test_nothing_that_is_measured_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    measured: dict[str, list[str]] = {}
    from weights.compare import recipes as module

    def shard(found: Any, tokenizer: Any) -> Any:
        trained.extend(text_of(r) for r in found)
        return original(found, tokenizer)

    def bits(model: Any, tokenizer: Any, sources: Any) -> dict[str, float]:
        measured.update({name: [text_of(r) for r in found] for name, found in sources.items()})
        return dict.fromkeys(sources, 1.0)

    original = module.make_shard
    monkeypatch.setattr(module, "make_shard", shard)
    monkeypatch.setattr(module, "bits_per_byte", bits)
    compared(tmp_path)
    recipe = read_recipe(TINY)
    source = recipe.sources["facts"]
    whole = [text_of(r) for r in records("facts", source, CORPUS, source.files, recipe.seed, module.Report())]
    assert measured["facts"] == whole[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    assert not set(measured["facts"]) & set(trained) and set(whole[:5]) <= set(trained)
    assert "notes" not in measured  # a single text: all of it is trained on


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("seed=3", "'seed=3' changes the sources or the seed"),
        ("sources.facts.passes=2", "changes the sources or the seed"),
        ("stage.pretrain.shares.hullo=3", "'hullo', which is no source. Did you mean 'hello'"),
        ("model.n_heads", "key=value"),
    ],
)
def test_what_cannot_be_compared_is_said(change: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said.replace("?", r"\?")):
        compared(tmp_path, change)


def test_a_stage_of_an_encoder_is_refused(tmp_path: Path) -> None:
    recipe = TINY.with_name("masked-lm.toml")
    shop = Workshop(read_recipe(recipe), CORPUS, tmp_path, compiled=False)
    with pytest.raises(DataError, match="Only stages that train a chat model"):
        compare_recipes(recipe, read_recipe(recipe).stages[0].name, (), (), shop, seeds=1, tokens=512)


def test_the_command_refuses_weights_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["compare-recipes", str(TINY), "--corpus", str(CORPUS), "--tokens", "512", "--no-compile", "--threads", "1"]
    args += [part for change in SMALL[:3] for part in ("--set", change)]
    shipped = TINY.parents[1] / "default"
    with pytest.raises(DataError, match="8192 pieces and the recipe wants 600"):
        main([*args, "--out", str(tmp_path), "--weights", str(shipped)])
    assert main([*args, "--out", str(tmp_path), "--vary", ADAMW]) == 0
    assert "| as it is |" in capsys.readouterr().out
