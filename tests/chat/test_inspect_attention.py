"""`tfm inspect attention`: a line for each head, one head shaded, JSON, pictures, and what is refused."""

import builtins
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from chat import cli
from chat.inspect_attention import FEWEST_CELLS, SHADES, Request, inspect_attention, shaded
from chat.screen import Screen
from chat.settings import gather
from engine.api import load_engine
from engine.attention_maps import decoder_maps
from engine.checkpoint import save_checkpoint
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.template import TFM
from weights.data.pairs import controls
from weights.data.vocabulary import train_tokenizer
from weights.models.boards import Board
from weights.models.checkpoint import build_model, save_translator
from weights.models.config import EncoderConfig, LSTMConfig, Seq2SeqConfig
from weights.models.encoder import Encoder
from weights.models.encoder_checkpoint import save_encoder
from weights.models.reading import CONTROLS

TEXT = "The cat sees the dog."
TEXTS = [TEXT, "Le chat voit le chien.", "The dog sees no bird."] * 4


def chat_model(where: Path) -> None:
    train_tokenizer(TEXTS, 380, where / "t.model", threads=1)
    model = DecoderLM(ModelConfig(396, 16, 2, 2, 1, 8, 24, max_positions=64))
    model.init_weights(torch.Generator().manual_seed(0))
    save_checkpoint(where / "chat", model, tokenizer_path=where / "t.model", template=TFM, dtype=torch.float32)


def translators(where: Path) -> None:
    pieces = where / "p.model"
    train_tokenizer(TEXTS, 380, pieces, threads=1, controls=controls(("fr",)))
    configs = {
        "translator": Seq2SeqConfig(380, 16, 1, 1, 2, 2, 8, 24, max_positions=32), "lstm": LSTMConfig(380, 16, 1)
    }  # fmt: skip
    for name, config in configs.items():
        model = build_model(config)
        model.init_weights(torch.Generator().manual_seed(0))
        save_translator(where / name, model, pieces, ("fr",), dtype=torch.float32)


def encoder(where: Path) -> None:
    train_tokenizer(TEXTS, 380, where / "m.model", threads=1, controls=CONTROLS)
    shape: dict[str, Any] = {"vocab_size": 380, "d_model": 16, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2}
    model = Encoder(
        EncoderConfig(**shape, head_dim=8, d_ff=24, max_positions=32, cls_id=1, sep_id=2, pad_id=3, mask_id=4)
    )
    model.init_weights(torch.Generator().manual_seed(0))
    save_encoder(where / "masked", model, where / "m.model", torch.float32)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("models")
    for make in (chat_model, translators, encoder):
        make(where)
    return where


def told(request: Request) -> str:
    out = io.StringIO()
    assert inspect_attention(request, gather({"dtype": "float32"}, {}), Screen(out, io.StringIO(), environ={})) == 0
    return out.getvalue()


def test_without_a_head_there_is_a_line_for_each(directories: Path) -> None:
    first, *rows = told(Request([TEXT], str(directories / "chat"))).splitlines()
    assert first.split("\t") == ["layer", "head", "entropy", "distance", "looks most at"]
    assert [row.split("\t")[:2] for row in rows] == [[str(i), str(j)] for i in range(2) for j in range(2)]
    engine = load_engine(directories / "chat", dtype="float32")
    weights = decoder_maps(engine.model, engine.raw_ids(TEXT))[1, 0]
    entropy = -(weights * weights.clamp_min(1e-30).log()).sum(-1).mean()
    assert float(rows[2].split("\t")[2]) == pytest.approx(float(entropy), abs=0.01)


def test_json_holds_the_weights_and_the_names(directories: Path) -> None:
    model = str(directories / "chat")
    found = json.loads(told(Request([TEXT], model, json=True)))
    one = json.loads(told(Request([TEXT], model, layer=1, head=0, json=True)))
    engine = load_engine(directories / "chat", dtype="float32")
    expected = decoder_maps(engine.model, engine.raw_ids(TEXT))
    torch.testing.assert_close(torch.tensor(found["weights"]), expected, atol=6e-5, rtol=0)
    assert one["weights"] == found["weights"][1][0] and one["rows"] == found["rows"] == found["columns"]
    assert found["part"] == "decoder" and "".join(found["rows"]).replace("▁", " ").endswith(TEXT)


def sharp_board(count: int) -> Board:
    """Row t has 0.7 of its attention at column t and 0.3 at column 0; row 0 has all of it there."""
    weights = 0.7 * torch.eye(count)
    weights[:, 0] += 0.3
    names = [f"▁{i}" for i in range(count)]
    return Board("encoder", names, names, weights[None, None])


def test_one_head_is_shaded_by_how_much_it_looks_where() -> None:
    _, *rows = shaded(sharp_board(3), 0, 0)
    full, most, some, none = (shade * 2 for shade in (SHADES[4], SHADES[3], SHADES[1], SHADES[0]))
    assert rows == [
        f"▁0 |{full}{none}{none}| ▁0 100%", f"▁1 |{some}{most}{none}| ▁1 70%", f"▁2 |{some}{none}{most}| ▁2 70%"
    ]  # fmt: skip


@pytest.mark.parametrize("width", [20, 40, 79, 200])
def test_no_line_is_wider_than_the_terminal_and_no_column_is_lost(width: int) -> None:
    board = sharp_board(60)
    lines = list(shaded(board, 0, 0, width))[1:]
    rows = [line for line in lines if not line.startswith("columns")]
    assert max(map(len, rows)) <= max(width, FEWEST_CELLS + 14)
    cells = {
        i: "".join(row.split("|")[1] for row in rows if row.split() and row.split()[0] == f"▁{i}") for i in range(60)
    }
    wide = {len(c) // 60 for c in cells.values()}
    assert len(wide) == 1 and all(c[i * wide.copy().pop()] == SHADES[3] for i, c in cells.items() if i)
    assert (len(rows) > 60) == (width < 79)


def test_a_terminal_decides_how_wide_the_shades_are(directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((40, 24)))
    request = Request([TEXT], str(directories / "chat"), layer=0, head=1)
    assert inspect_attention(request, gather({"dtype": "float32"}, {}), Screen(out, io.StringIO(), environ={})) == 0
    rows = [line for line in out.getvalue().splitlines() if "|" in line and not line.startswith("columns")]
    assert max(map(len, rows)) <= 40 < max(map(len, told(request).splitlines()))


def test_a_conversation_is_read_with_its_answer(directories: Path) -> None:
    found = json.loads(told(Request(["Hi"], str(directories / "chat"), chat=True, json=True)))
    assert {"<|user|>", "<|assistant|>"} <= set(found["rows"]) and "<|user|>" not in told(
        Request(["Hi"], str(directories / "chat"))
    )
    assert len(found["rows"]) > found["rows"].index("<|assistant|>") + 1


def test_of_a_translator_each_part_can_be_seen(directories: Path) -> None:
    def part(name: str | None) -> dict[str, Any]:
        request = Request([TEXT], str(directories / "translator"), "fr", "Le chat.", name, json=True)
        return json.loads(told(request))  # type: ignore[no-any-return]

    cross = part(None)
    assert (
        cross == part("cross")
        and cross["columns"] == part("encoder")["rows"]
        and cross["rows"] == part("decoder")["rows"]
    )
    assert "".join(cross["rows"]) == "<s>Le▁chat."


def test_a_masked_model_reads_both_ways(directories: Path) -> None:
    found = json.loads(told(Request(["The [MASK] sees"], str(directories / "masked"), json=True)))
    assert found["part"] == "encoder" and "<mask>" in found["rows"] and found["weights"][0][0][0][-1] > 0


@pytest.mark.parametrize("head", [None, 1])
def test_a_picture_comes_beside_what_is_printed(directories: Path, tmp_path: Path, head: int | None) -> None:
    pytest.importorskip("matplotlib")
    model, path = str(directories / "masked"), tmp_path / "map.png"
    layer = None if head is None else 0
    printed = told(Request([TEXT], model, layer=layer, head=head, png=str(path)))
    assert path.read_bytes().startswith(b"\x89PNG") and printed == told(Request([TEXT], model, layer=layer, head=head))


def test_without_matplotlib_a_picture_is_refused_and_nothing_else(
    directories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    words = ["inspect", "attention", TEXT, "-m", str(directories / "masked")]
    assert cli.run_app([*words, "--png", str(tmp_path / "x.png")]) == 6
    assert "needs matplotlib" in capsys.readouterr().err and not (tmp_path / "x.png").exists()
    assert cli.run_app(words) == 0


@pytest.mark.parametrize(
    ("model", "arguments", "code", "says"),
    [
        ("chat", [], 2, "wants a text"), ("chat", ["  "], 2, "wants a text"),
        ("chat", [TEXT, "--layer", "0"], 2, "name one head together"),
        ("chat", [TEXT, "--layer", "2", "--head", "0"], 2, "no layer 2: this decoder has layers 0 to 1."),
        ("masked", [TEXT, "--layer", "0", "--head", "-1"], 2, "There is no head -1: this encoder has heads 0 to 1."),
        ("chat", [TEXT, "--to", "fr"], 2, "--to means nothing"),
        ("masked", [TEXT, "--chat"], 2, "--chat means nothing"),
        ("masked", [TEXT, "--target", "x"], 2, "--target means nothing"),
        ("translator", [TEXT, "--to", "fr", "--chat"], 2, "--chat means nothing"),
        ("translator", [TEXT], 2, "not said which language"), ("translator", [TEXT, "--to", "de"], 2, "'de'"),
        ("translator", [TEXT, "--to", "fr", "--part", "middle"], 2, "--part is one of encoder, decoder, cross"),
        ("lstm", [TEXT, "--to", "fr"], 3, "has no heads"),
        ("chat", [TEXT * 20], 4, "more than the context of 64"), ("masked", [TEXT * 20], 2, "reads at most 32"),
        ("translator", [TEXT * 20, "--to", "fr", "--target", "x"], 4, "reads at most 32 at once"),
        ("masked", [TEXT, "--png", "/no/such/folder/x.png"], 6, "cannot be drawn"),
        ("nowhere", [TEXT], 3, "nowhere"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_one_sentence_and_the_codes_of_the_design(
    directories: Path, model: str, arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_app(["inspect", "attention", *arguments, "-m", str(directories / model)]) == code
    out, err = capsys.readouterr()
    assert says in err and err.count("\n") == 1 and "Traceback" not in err and not out
