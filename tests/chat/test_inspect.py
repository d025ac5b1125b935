"""`tfm inspect experts`: who takes which token, as columns, in colours, as JSON; shares of a file; what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from chat import cli
from chat.inspect import COLOURS, Request, inspect_experts
from chat.screen import Screen
from chat.settings import gather
from engine.api import load_engine
from engine.checkpoint import save_checkpoint
from engine.config import ExpertsConfig, ModelConfig
from engine.decoder import DecoderLM
from engine.routing import chosen_experts, watched_routers
from engine.template import TFM
from weights.data.pairs import language_control
from weights.data.vocabulary import train_tokenizer
from weights.models.checkpoint import build_model, save_translator
from weights.models.classifier import Classifier, Labeller
from weights.models.config import EncoderConfig, LSTMConfig, Seq2SeqConfig
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import load_encoder, save_encoder
from weights.models.reading import CONTROLS
from weights.models.translate import Translator

TEXT = "The cat sees the dog. The dog sees the cat.\nNo bird is here; 12 birds are there."


def directory(where: Path, experts: ExpertsConfig | None) -> Path:
    train_tokenizer([TEXT] * 4, 400, where / "tokenizer.model", threads=1)
    model = DecoderLM(ModelConfig(416, 32, 2, 2, 1, 16, 48, max_positions=16, experts=experts))
    model.init_weights(torch.Generator().manual_seed(0))
    save_checkpoint(where / "m", model, tokenizer_path=where / "tokenizer.model", template=TFM, dtype=torch.float32)
    return where / "m"


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return directory(tmp_path_factory.mktemp("mixture"), ExpertsConfig(4, 24, n_chosen=2, renormalise=True))


SHAPE: dict[str, Any] = {"n_heads": 2, "n_kv_heads": 2, "head_dim": 16, "d_ff": 48, "max_positions": 16}
EXPERTS = ExpertsConfig(4, 24, n_chosen=2)


def encoder(where: Path, experts: ExpertsConfig | None) -> Path:
    train_tokenizer([TEXT] * 4, 400, where / "tokenizer.model", threads=1, controls=CONTROLS)
    model = Encoder(EncoderConfig(400, 32, 2, **SHAPE, experts=experts))
    model.init_weights(torch.Generator().manual_seed(0))
    save_encoder(where / "m", model, where / "tokenizer.model", dtype=torch.float32)
    return where / "m"


def translator(where: Path, experts: ExpertsConfig | None, recurrent: bool = False) -> Path:
    train_tokenizer([TEXT] * 4, 400, where / "tokenizer.model", threads=1, controls=("<pad>", language_control("fr")))
    shape = {"n_encoder_layers": 2, "n_decoder_layers": 1, **SHAPE}
    model = build_model(LSTMConfig(400, 32, 1) if recurrent else Seq2SeqConfig(400, 32, **shape, experts=experts))
    model.init_weights(torch.Generator().manual_seed(0))
    save_translator(where / "m", model, where / "tokenizer.model", ("fr",), dtype=torch.float32)
    return where / "m"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(request: Request, out: io.StringIO, **flags: str) -> str:
    assert inspect_experts(request, gather(flags, {}), Screen(out, io.StringIO(), environ={})) == 0
    return out.getvalue()


def test_a_pipe_gets_a_line_for_each_token_and_a_column_for_each_layer(mixture: Path) -> None:
    head, *rows = told(Request([TEXT], model=str(mixture)), io.StringIO()).splitlines()
    engine = load_engine(mixture, dtype="float32")
    ids = engine.tokenize(TEXT)
    assert head == "token\tlayer 0\tlayer 1" and len(rows) == len(ids) > 16  # beyond the context: two windows
    first = chosen_experts(engine.model, ids[:16])
    for place, row in enumerate(rows[:16]):
        assert row.split("\t")[1:] == [",".join(map(str, first[layer][place])) for layer in (0, 1)]
    assert "".join(row.split("\t")[0] for row in rows) == TEXT.replace("\n", "⏎")


def test_a_terminal_gets_the_text_in_the_colours_of_the_experts(mixture: Path) -> None:
    text = told(Request(["The cat"], model=str(mixture)), Terminal())
    engine = load_engine(mixture, dtype="float32")
    ids = engine.tokenize("The cat")
    best = chosen_experts(engine.model, ids)[0][0][0]
    piece = engine.tokenizer.token_bytes(ids[0]).decode()
    assert f"layer 0\n\x1b[38;5;16m\x1b[48;5;{COLOURS[best]}m{piece}\x1b[0m" in text
    assert "\x1b" not in told(Request(["The cat"], model=str(mixture)), io.StringIO())


def test_json_holds_tokens_ids_and_layers(mixture: Path) -> None:
    found = json.loads(told(Request(["The cat"], model=str(mixture), json=True), io.StringIO()))
    assert "".join(found["tokens"]) == "The cat"
    assert len(found["layers"]["1"]) == len(found["ids"]) and all(len(pair) == 2 for pair in found["layers"]["1"])


def test_of_a_file_come_shares_and_typical_tokens(mixture: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    request = Request(files=[str(tmp_path / "text")], model=str(mixture), json=True)
    found = json.loads(told(request, io.StringIO()))
    for layer in found["layers"]:
        assert sum(e["share"] for e in layer["experts"]) == pytest.approx(1, abs=1e-3)
    rows = told(Request(files=request.files, model=str(mixture)), io.StringIO()).splitlines()
    assert rows[0].startswith("layer\texpert\tshare") and len(rows) == 1 + 2 * 4
    for row in rows[1:]:
        layer, expert, share, typical = row.split("\t")
        wanted = found["layers"][int(layer)]["experts"][int(expert)]
        assert float(share) == pytest.approx(wanted["share"], abs=1e-3) and len(typical.split('" "')) <= 8
        assert all(json.dumps(t, ensure_ascii=False) in typical for t in wanted["typical"])


def test_of_an_encoder_every_token_is_told_as_it_is_read_between_begin_and_end(tmp_path: Path) -> None:
    place = encoder(tmp_path, EXPERTS)
    head, *rows = told(Request([TEXT], model=str(place)), io.StringIO()).splitlines()
    model, tokenizer = load_encoder(place)
    ids = tokenizer.encode(TEXT)
    assert head == "token\tlayer 0\tlayer 1" and len(rows) == len(ids) > 14  # two windows of 16 with their frames
    for start in (0, 14):
        window = ids[start : start + 14]
        with watched_routers(model) as seen:
            model.hidden(torch.tensor([[model.config.cls_id, *window, model.config.sep_id]]))
        for at, row in enumerate(rows[start : start + 14], 1):
            assert row.split("\t")[1:] == [",".join(map(str, seen[i][0][at].tolist())) for i in (0, 1)]
    assert "".join(row.split("\t")[0] for row in rows) == TEXT.replace("\n", "⏎")


def test_a_classifier_is_its_encoder(tmp_path: Path) -> None:
    model, tokenizer = load_encoder(encoder(tmp_path, EXPERTS))
    classifier = Classifier(model, ("good", "bad"))
    classifier.init_head()
    Labeller(classifier, tokenizer).save(tmp_path / "c")
    found = json.loads(told(Request(["The cat"], model=str(tmp_path / "c"), json=True), io.StringIO()))
    assert "".join(found["tokens"]) == "The cat" and list(found["layers"]) == ["0", "1"]


def test_of_a_translator_the_experts_of_the_encoder_are_told(tmp_path: Path) -> None:
    place = translator(tmp_path, EXPERTS)
    found = json.loads(told(Request(["The cat"], model=str(place), json=True, to="fr"), io.StringIO()))
    loaded = Translator.load(place)
    source = loaded.routes[("en", "fr")].source(loaded.tokenizer, "The cat", 16)
    with watched_routers(loaded.model) as seen:  # of both sides: the first two layers are the encoder's
        loaded.model.hidden(torch.tensor([source]), torch.tensor([[1]]))
    assert "".join(found["tokens"]) == "The cat" and found["ids"] == source[1:-1]
    assert found["layers"] == {str(i): seen[i][0][1:-1].tolist() for i in (0, 1)}


@pytest.mark.parametrize(
    ("kind", "flags", "code", "says"),
    [
        ("encoder", [], 3, "has no experts. Train one with [model.experts]"),
        ("translator", ["--to", "fr"], 3, "has no experts. Train one with [model.experts]"),
        ("lstm", ["--to", "fr"], 3, "holds an LSTM, which has no feed-forward part and so no experts."),
        ("mixed encoder", ["--to", "fr"], 2, "--to means nothing to the TfmEncoder"),
        ("mixed translator", [], 2, "It is not said which language"),
        ("mixed translator", ["--to", "es"], 2, "does not translate to 'es'"),
    ],
)  # fmt: skip
def test_a_model_of_another_kind_that_has_none_is_one_sentence(
    kind: str, flags: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experts = EXPERTS if kind.startswith("mixed") else None
    place = encoder(tmp_path, experts) if "encoder" in kind else translator(tmp_path, experts, kind == "lstm")
    assert cli.run_app(["inspect", "experts", "hello", "-m", str(place), *flags]) == code
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["hello"], 3, "has no experts."), ([], 2, "wants a text, or files"),
        (["hello", "-f", "x"], 2, "and not both"), (["-f", "/no/such/file"], 2, "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_inspected_is_one_sentence_and_the_codes_of_the_design(
    arguments: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dense = str(directory(tmp_path, None))
    assert cli.run_app(["inspect", "experts", *arguments, "-m", dense]) == code
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and "Traceback" not in err


def test_inspect_alone_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_app(["inspect"]) == 0
    assert "experts" in capsys.readouterr().out
