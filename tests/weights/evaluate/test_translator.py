"""`tfm eval` of a translator: the numbers, the card, baselines, and what it says when it cannot measure."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chat.cli import run_app
from weights.data.pairs import PairRows, controls, encode_pairs
from weights.data.vocabulary import train_tokenizer
from weights.evaluate import translator_card
from weights.evaluate.options import EVALUATIONS
from weights.evaluate.translation import scores
from weights.evaluate.translator_card import render_card
from weights.models.checkpoint import build_model, save_translator
from weights.models.config import LSTMConfig, Seq2SeqConfig
from weights.models.translate import Translator
from weights.recipe import Stage
from weights.translation import control_ids
from weights.translation_recipe import read_translator_recipe

FRENCH = [("The cat sleeps.", "Le chat dort."), ("The dog eats.", "Le chien mange."), ("A cat eats.", "Un chat mange.")]
SPANISH = [("The cat sleeps.", "El gato duerme."), ("The dog eats.", "El perro come."), ("A cat.", "Un gato.")]
RECIPE = """
name = "little"
seed = 1
architecture = "TfmSeq2Seq"
[model]
d_model = 16
n_encoder_layers = 1
n_decoder_layers = 1
n_heads = 1
n_kv_heads = 1
head_dim = 16
d_ff = 16
max_positions = 32
[languages.fr]
train = ["fr.tsv"]
valid = ["fr.valid.tsv"]
[languages.es]
train = ["es.tsv"]
valid = ["es.tsv"]
[[stage]]
name = "translate"
objective = "translation"
tokens = 400
row = 32
batch = 2
micro_batch = 1
[stage.shares]
fr = 1.0
es = 1.0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, its recipe, and two models that have learned nothing: run/model, and lstm."""
    folder = tmp_path_factory.mktemp("place")
    for name, pairs in (("fr.tsv", FRENCH), ("fr.valid.tsv", FRENCH[:2]), ("es.tsv", SPANISH)):
        (folder / name).write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    (folder / "little.toml").write_text(RECIPE)
    pieces = folder / "tokenizer.model"
    texts = [text for pair in FRENCH + SPANISH for text in pair]
    train_tokenizer(texts, 360, pieces, threads=1, controls=controls(("fr", "es")))
    shape = read_translator_recipe(folder / "little.toml").model
    for directory, config in (("run/model", Seq2SeqConfig(360, **shape)), ("lstm", LSTMConfig(360, 16, 1, "additive"))):
        model = build_model(config)
        model.init_weights(torch.Generator().manual_seed(1))
        (folder / directory).parent.mkdir(exist_ok=True)
        save_translator(folder / directory, model, pieces, ("fr", "es"))
    (folder / "lstm" / "training.json").write_text('{"seed": 5}')
    return folder


def evaluate(place: Path, *words: str, model: str = "run/model") -> int:
    flags = ["--corpus", str(place), "--recipe", str(place / "little.toml"), "--threads", "1"]
    return run_app(["eval", "-m", str(place / model), *flags, *words])


@pytest.fixture(scope="module")
def measured(place: Path) -> dict[str, Any]:
    """The numbers of one evaluation with a baseline; the card is written."""
    pytest.importorskip("sacrebleu")
    from weights.evaluate.translator import Request, run

    recipe = read_translator_recipe(place / "little.toml")
    return run(Request(place / "run" / "model", place, recipe, as_json=True, card=True, baselines=(place / "lstm",)))


def test_the_numbers_are_of_the_model_both_ways_the_dictionary_and_the_baselines(
    measured: dict[str, Any], place: Path
) -> None:
    assert set(measured["bits_per_byte"]) == {"fr", "es"} == set(measured["model"])
    assert measured["pairs"]["fr"] == {"train": 3, "valid": 2}
    assert measured["dictionary"]["fr"]["chrF"] > 50 > measured["model"]["fr"]["chrF"]  # word by word is right here
    assert measured["model"]["es"]["by_words"]["1-5"]["sentences"] == 3
    assert list(measured["baselines"]) == ["LSTM, additive attention"]
    other = measured["baselines"]["LSTM, additive attention"]
    assert other["scores"]["fr"]["sentences"] == 2 and other["bits_per_byte"]["fr"] > 0
    assert other["training"] == {"seed": 5}  # from which its speed is told
    english, truth = zip(*FRENCH[:2], strict=True)
    for directory, told in (("run/model", measured["model"]), ("lstm", other["scores"])):
        found = Translator.load(place / directory).translate(english, "fr")
        assert told["fr"]["chrF"] == scores([t.text for t in found], truth)["chrF"]
    assert other["scores"] != measured["model"]


def test_the_examples_are_unedited_translations_of_held_out_sentences(measured: dict[str, Any], place: Path) -> None:
    translator = Translator.load(place / "run" / "model")
    assert [e["to"] for e in measured["examples"]] == ["fr"] * 2 + ["es"] * 3
    for e in measured["examples"]:
        assert (e["english"], e["reference"]) in (FRENCH[:2] if e["to"] == "fr" else SPANISH)
        assert e["translation"] == translator.translate([e["english"]], e["to"])[0].text


def test_the_card_holds_the_numbers_and_every_example(measured: dict[str, Any], place: Path) -> None:
    text = (place / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert text == render_card(read_translator_recipe(place / "little.toml"), measured)
    assert text.startswith("# tfm little\n") and f"{measured['parameters']:,} parameters" in text
    score = measured["model"]["fr"]
    assert f"| this model, beam 4 | {score['chrF']:.1f} | {score['BLEU']:.1f} |" in text
    assert "\n| LSTM, additive attention, " in text and "\n| dictionary, word by word |" in text
    assert text.count("\n    en: ") == 5 and "version:" in text
    assert "Tatoeba" not in text  # that is said of the shipped recipe's data alone
    assert "steps over" not in text  # nothing is known of a training


def test_the_shipped_recipes_card_names_its_sources_and_licence(measured: dict[str, Any]) -> None:
    recipe = read_translator_recipe(Path(translator_card.__file__).parents[1] / "recipes" / "translator.toml")
    told = {"stages": [{"steps": 30, "tokens": 1200, "hours": 0.5}], "seed": 1, "pairs_seen": 4567}
    text = render_card(recipe, measured | {"training": told, "baselines": {}})
    assert "Tatoeba contributors" in text and "CC BY 2.0 FR" in text and "## Limits" in text
    assert "30 steps over 1,200 target positions (4,567 pairs seen)" in text
    assert "LSTM" not in text and "--baseline" not in text


def test_a_run_beside_the_model_tells_steps_and_pairs_and_they_go_with_the_model(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sacrebleu")
    import shutil
    from dataclasses import asdict

    shutil.copytree(place, tmp_path / "p")
    run = tmp_path / "p" / "run" / "translate"
    run.mkdir()
    recipe = read_translator_recipe(place / "little.toml")
    (run / "recipe.json").write_text(json.dumps(asdict(recipe)))
    rows = [{"step": n, "loss": 2.0, "seconds": 1.0} for n in range(2)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluate(tmp_path / "p", "--json", "--card") == 0
    told = json.loads(capsys.readouterr().out)["training"]
    assert (told["stages"][0]["steps"], told["sources"]) == (2, ["fr", "es"])
    assert told["pairs_seen"] > 4
    shutil.rmtree(run)
    assert evaluate(tmp_path / "p") == 0
    out = capsys.readouterr().out
    assert "chrF, en-fr, 2 held-out pairs" in out and "word by word" in out
    assert json.loads((tmp_path / "p" / "run" / "model" / "training.json").read_text()) == told


def test_pairs_are_counted_by_the_step(place: Path) -> None:
    recipe = read_translator_recipe(place / "little.toml")
    tokenizer = Translator.load(place / "lstm").tokenizer
    stage: Stage = recipe.stage
    sets = {"fr": encode_pairs(FRENCH, "fr", tokenizer), "es": encode_pairs(SPANISH, "es", tokenizer)}
    rows = PairRows(stage, sets, 1, control_ids(tokenizer))
    sizes = [len(rows.batch(n * stage.batch, stage.batch).source) for n in range(rows.n_steps)]
    assert [rows.n_pairs(n) for n in range(rows.n_steps + 1)] == [0, *np.cumsum(sizes)]
    assert rows.n_steps > 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--samples", "x.md"], 2, "--samples has no place in the evaluation of a translator."),
        (["--baseline", "/absent"], 3, "config.json in /absent"),
        (["--corpus", "/absent"], 6, "The corpus /absent lacks fr.tsv and 2 more."),
        (["--recipe", "absent.toml"], 6, "There is no recipe absent.toml."),
        (["--recipe", "GERMAN"], 6, "has no pairs for 'fr'"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_sentence(
    words: list[str], code: int, told: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "de.toml").write_text(RECIPE.replace("languages.fr", "languages.de").replace("fr = 1.0", "de = 1.0"))
    given = [str(tmp_path / "de.toml") if word == "GERMAN" else word for word in words]
    assert evaluate(place, *given) == code
    out, err = capsys.readouterr()
    assert out == "" and told in err and err.count("\n") == 1


def test_a_chat_model_has_no_baselines_and_every_translator_has_its_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    assert run_app(["eval", "-m", str(tmp_path), "--corpus", "x", "--baseline", "y"]) == 2
    assert "--baseline has no place in the evaluation of a chat model." in capsys.readouterr().err
    assert {"TfmSeq2Seq", "TfmLSTM"} <= set(EVALUATIONS)
