"""Bad lines of sentence pairs: told with file and line, or with --strict the end of the run."""

from pathlib import Path

import pytest

from engine.errors import DataError
from weights.data.vocabulary import train_tokenizer
from weights.models.reading import CONTROLS
from weights.recipe import read_recipe
from weights.stages import run_stage
from weights.translation import TranslatorShop
from weights.translation_recipe import read_translator_recipe
from weights.workshop import Workshop, make_rows, make_tokenizer

RECIPES = Path(__file__).parents[2] / "weights" / "recipes"
ENCODER = """
name = "toy"
seed = 1
architecture = "TfmEncoder"
[tokenizer]
vocab_size = 370
[model]
d_model = 16
n_layers = 1
n_heads = 2
n_kv_heads = 2
head_dim = 8
d_ff = 24
max_positions = 64
[sources.pairs]
format = "parallel"
files = ["train.tsv"]
valid = ["valid.tsv"]
[[stage]]
name = "pairs"
objective = "contrastive"
tokens = 64
row = 16
batch = 2
micro_batch = 2
lr = 0.001
[stage.shares]
pairs = 1
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Pairs with a bad second line, in a file to learn and a file to measure."""
    for name in ("train", "valid"):
        (tmp_path / f"{name}.tsv").write_text("a cat\tun chat\nno tab\n" + "a dog\tun chien\n" * 6)
    (tmp_path / "toy.toml").write_text(ENCODER)
    return tmp_path


def shop_of(place: Path, strict: bool) -> Workshop:
    shop = Workshop(read_recipe(place / "toy.toml"), place, place / "out", strict=strict, compiled=False)
    train_tokenizer(["a cat, un chat, a dog, un chien"] * 3, 370, shop.tokenizer_path, controls=CONTROLS, threads=1)
    return shop


def test_those_of_a_contrastive_stage_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stage(shop_of(place, strict=False), "pairs")
    told = capsys.readouterr().err
    for name in ("train", "valid"):
        assert f"{name}.tsv, line 2: " in told
    assert told.count("1 bad lines were left out") == 2


def test_and_strict_stops_at_them(place: Path) -> None:
    shop = shop_of(place, strict=True)
    with pytest.raises(DataError, match=r"train\.tsv, line 2: "):
        make_rows(shop, shop.recipe.stages[0], make_tokenizer(shop))
    (place / "train.tsv").write_text("a cat\tun chat\n" * 6)
    with pytest.raises(DataError, match=r"valid\.tsv, line 2: "):
        run_stage(shop, "pairs")


def test_those_of_a_translator_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = read_translator_recipe(
        RECIPES / "translator.toml", ('languages={fr={train=["train.tsv"]}}', "stage.translate.shares={fr=1}")
    )
    assert len(TranslatorShop(recipe, place, place / "out").pairs("fr", "train")) == 7
    told = capsys.readouterr().err
    assert "train.tsv, line 2: " in told and "1 bad lines were left out" in told
    with pytest.raises(DataError, match=r"train\.tsv, line 2: "):
        TranslatorShop(recipe, place, place / "out", strict=True).pairs("fr", "train")
