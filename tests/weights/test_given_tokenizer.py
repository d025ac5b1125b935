"""`tfm train recipe --weights DIR`: an embedding means the pieces that it was trained with, and no others."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoint import save_checkpoint
from engine.decoder import DecoderLM
from engine.errors import DataError, TokenizerError
from engine.template import TFM
from engine.tokenizer import SentencePieceTokenizer
from weights.cli import main
from weights.data.readers import Record
from weights.data.vocabulary import train_tokenizer
from weights.recipe import read_recipe
from weights.workshop import Workshop, initial_model, make_tokenizer

TINY = Path(__file__).parents[2] / "weights" / "recipes" / "tiny.toml"
SETS = ("tokenizer.vocab_size=500", "model.n_layers=1", "sources.identity.count=3", "sources.smalltalk.count=3",
        "stage.pretrain.batch=4", "stage.pretrain.micro_batch=4")  # fmt: skip


@pytest.fixture
def shop(corpus: Path, tmp_path: Path) -> Workshop:
    return Workshop(read_recipe(TINY, SETS), corpus, tmp_path / "out")


@pytest.fixture
def given(shop: Workshop, tokenizer: SentencePieceTokenizer, tmp_path: Path) -> Path:
    """A model directory of the recipe's shape, with a tokenizer that no run of the recipe would train."""
    model = initial_model(shop, tokenizer)
    assert isinstance(model, DecoderLM)
    save_checkpoint(tmp_path / "given", model, tokenizer_path=tokenizer.path, template=TFM, dtype=torch.float32)
    return tmp_path / "given"


def begin(given: Path, corpus: Path, out: Path) -> int:
    sets = [part for value in SETS for part in ("--set", value)]
    paths = ["--corpus", str(corpus), "--out", str(out), "--weights", str(given)]
    short = ["--only", "pretrain", "--stop-after", "1", "--threads", "1", "--no-compile"]
    return main(["recipe", str(TINY), *paths, *sets, *short])


def test_a_fresh_directory_takes_the_tokenizer_of_the_weights(
    given: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert begin(given, corpus, out) == 0
    told = capsys.readouterr().err
    assert f"taking the tokenizer of {given}" in told and "training a tokenizer" not in told
    assert (out / "tokenizer" / "tokenizer.model").read_bytes() == (given / "tokenizer.model").read_bytes()
    assert [p.name for p in (out / "tokenizer").glob("tokenizer*")] == ["tokenizer.model"]
    assert begin(given, corpus, out) == 0  # the same one again is no other one


def backwards(texts: Iterable[Record], size: int, path: Path) -> None:
    """A tokenizer of as many pieces as are wanted, but of others."""
    train_tokenizer((r.text[::-1] for r in texts), size, path, threads=1)


def test_a_directory_with_another_tokenizer_is_refused(
    given: Path, corpus: Path, corpus_records: dict[str, list[Record]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ours = out / "tokenizer" / "tokenizer.model"
    backwards(corpus_records["text"], 500, ours)
    before = ours.read_bytes()
    with pytest.raises(DataError, match="were trained with another tokenizer than"):
        begin(given, corpus, out)
    assert ours.read_bytes() == before
    assert not (out / "pretrain").exists()


def test_weights_without_the_recipes_tokenizer_are_refused_and_nothing_is_taken(
    given: Path, shop: Workshop, corpus_records: dict[str, list[Record]]
) -> None:
    backwards(corpus_records["text"], 480, given / "tokenizer.model")
    with pytest.raises(DataError, match="480 pieces and the recipe wants 500"):
        make_tokenizer(replace(shop, weights=given))
    (given / "tokenizer.model").unlink()
    with pytest.raises(TokenizerError, match=r"no tokenizer at .*given/tokenizer\.model"):
        make_tokenizer(replace(shop, weights=given))
    assert not shop.tokenizer_path.exists()


def test_a_run_that_is_done_is_exported_without_the_weights_that_it_began_with(
    given: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop: Workshop
) -> None:
    monkeypatch.setattr("weights.pipeline.run_stages", lambda *_: shutil.rmtree(given) is None)
    seen: list[Path | None] = []
    monkeypatch.setattr("weights.pipeline.export", lambda done: seen.append(done.weights))
    paths = ["--corpus", str(corpus), "--out", str(shop.out), "--weights", str(given)]
    assert main(["recipe", str(TINY), *paths, "--threads", "1"]) == 0
    assert seen == [None]
