"""weights/translation.py and its recipe: from sentence pairs to a translator, as a user runs it."""

import builtins
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import DataError
from weights.cli import main
from weights.evaluate.translation import scores
from weights.models.translate import Options, Translator
from weights.train.state import load_state
from weights.translation_recipe import read_translator_recipe

RECIPES = Path(__file__).parents[2] / "weights" / "recipes"
NOUNS = {"cat": ("chat", "gato"), "dog": ("chien", "perro"), "bird": ("oiseau blanc", "pájaro")}
VERBS = {"sleeps": ("dort", "duerme"), "eats": ("mange", "come"), "sings": ("chante", "canta")}
RECIPE = """
name = "toy"
seed = 1
architecture = "TfmSeq2Seq"
label_smoothing = 0.05
[tokenizer]
vocab_size = 400
[model]
d_model = 32
n_encoder_layers = 1
n_decoder_layers = 1
n_heads = 2
n_kv_heads = 2
head_dim = 16
d_ff = 64
max_positions = 64
[languages.fr]
train = ["fr.tsv"]
valid = ["fr.tsv"]
[languages.es]
train = ["es.tsv"]
[[stage]]
name = "translate"
objective = "translation"
tokens = 20_000
row = 128
batch = 2
micro_batch = 1
optimizer = "muon"
lr = 0.02
warmup = 10
dropout = 0.05
eval_every = 60
[stage.shares]
fr = 1.0
es = 1.0
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a small corpus of both languages, and a recipe."""
    for column, language in enumerate(("fr", "es")):
        article = ("Le", "El")[column]
        rows = [
            f"The {n} {v}.\t{article} {NOUNS[n][column]} {VERBS[v][column]}."
            for n, v in itertools.product(NOUNS, VERBS)
        ]
        (tmp_path / f"{language}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "toy.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def train(place: Path, out: str, *more: str, changes: Sequence[str] = ()) -> int:
    sets = [part for change in changes for part in ("--set", change)]
    words = ["translator", str(place / "toy.toml"), "--corpus", str(place), "--out", str(place / out), "--threads", "1"]
    return main([*words, "--no-compile", *sets, *more])


def losses(out: Path) -> list[float]:
    rows = map(json.loads, (out / "translate" / "metrics.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


def test_a_few_sentences_are_learned_by_heart_and_the_language_is_heard(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(place, "out") == 0
    assert capsys.readouterr().out.strip() == str(place / "out" / "model")
    translator = Translator.load(place / "out" / "model")
    for language in ("fr", "es"):
        rows = [line.split("\t") for line in (place / f"{language}.tsv").read_text().splitlines()]
        found = translator.translate([english for english, _ in rows], language, Options(beam=2))
        assert [t.text for t in found] == [other for _, other in rows]
    metrics = [json.loads(line) for line in (place / "out" / "translate" / "metrics.jsonl").read_text().splitlines()]
    told = [row for row in metrics if "bits_per_byte" in row]
    assert told and set(told[-1]["bits_per_byte"]) == {"fr"}  # es has no held-out file
    assert told[-1]["bits_per_byte"]["fr"] < told[0]["bits_per_byte"]["fr"]


@pytest.mark.parametrize("lstm", [False, True])
def test_a_run_that_was_cut_goes_on_to_the_very_same_numbers(place: Path, lstm: bool) -> None:
    changes = ["stage.translate.tokens=4000", "stage.translate.eval_every=5", "stage.translate.ema=0.9"]
    if lstm:
        text = (place / "toy.toml").read_text()
        start, end = text.index("[model]"), text.index("[languages.fr]")
        text = text[:start] + '[model]\nd_model = 24\nn_layers = 1\nattention = "additive"\n' + text[end:]
        (place / "toy.toml").write_text(text.replace("TfmSeq2Seq", "TfmLSTM").replace('"muon"', '"adamw"'))
    assert train(place, "whole", changes=changes) == 0
    assert train(place, "cut", "--stop-after", "7", changes=changes) == 0
    assert not (place / "cut" / "model").exists()
    assert train(place, "cut", changes=changes) == 0
    assert losses(place / "cut") == losses(place / "whole")
    states = [load_state(place / out / "translate") for out in ("whole", "cut")]
    assert states[0] is not None and states[1] is not None
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name]), name


def test_a_state_of_another_recipe_is_refused(place: Path) -> None:
    assert train(place, "out", "--stop-after", "1") == 0
    with pytest.raises(DataError, match="another recipe"):
        train(place, "out", changes=["label_smoothing=0.2"])


def test_the_finished_model_is_measured_beside_a_dictionary(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sacrebleu")
    assert train(place, "out", changes=["stage.translate.tokens=500"]) == 0
    capsys.readouterr()
    assert train(place, "out", "--evaluate") == 0
    told = json.loads(capsys.readouterr().out)
    assert (place / "out" / "model" / "README.md").read_text().startswith("# tfm toy\n")
    assert told["dictionary"]["fr"]["chrF"] > 60 > told["model"]["fr"]["chrF"]  # word by word is right here
    assert told["model"]["fr"]["by_words"]["1-5"]["sentences"] == told["model"]["fr"]["sentences"] == 9


def test_without_sacrebleu_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def none(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("sacrebleu"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(DataError, match="pip install sacrebleu"):
        scores(["a"], ["a"])


def test_scores_are_whole_for_the_truth_and_nothing_for_something_else() -> None:
    pytest.importorskip("sacrebleu")
    truth = ["Le chat dort dans le jardin.", "Il pleut depuis trois jours."]
    assert scores(truth, truth) == {"chrF": 100.0, "BLEU": 100.0}
    assert scores(["xyz", "www"], truth)["chrF"] < 5


@pytest.mark.parametrize("name", ["translator", "translator-lstm"])
def test_the_shipped_recipes_can_be_read_and_stay_small(name: str) -> None:
    from weights.models.checkpoint import build_model

    recipe = read_translator_recipe(RECIPES / f"{name}.toml")
    model = build_model(recipe.config(recipe.tokenizer.vocab_size, 1, 2, 3))
    assert sum(p.numel() for p in model.parameters()) < 12_000_000  # 25 MB in bf16, with the tokenizer


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("stage.translate.objective=lm", "objective of a translator"), ("stage.translate.shares={de=1}", "'de'"),
        ("stage.translate.micro_batch=3", "multiple"), ("label_smoothing=1.5", "label_smoothing"),
        ("architecture=TfmNothing", "TfmSeq2Seq, TfmLSTM"), ("model.pad_id=3", "pad_id"),
        ("model.d_model=big", "d_model"), ("model.surprise=1", "surprise"), ("model.positions=alibi", "positions"),
        ("surprise=1", "surprise"), ("languages.fr.surprise=[]", "surprise"), ("stage.translate.lr=0", "lr"),
        ("stage=[]", "one stage"), ("languages={}", "no languages"), ("architecture=TfmLSTM", "Muon"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_used_names_the_key(place: Path, change: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_translator_recipe(place / "toy.toml", (change,))


def test_a_missing_file_is_named(place: Path) -> None:
    (place / "es.tsv").unlink()
    with pytest.raises(DataError, match=r"es\.tsv"):
        train(place, "out")
