"""weights/models/boards.py: boards of a decoder, an encoder and a translator, with their tokens' names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_encoder import toy_config
from toys import nudged, toy_model

from engine.attention_maps import decoder_maps
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, ContextOverflow, UsageError
from engine.tokenizer import SentencePieceTokenizer
from weights.data.pairs import controls
from weights.data.vocabulary import train_tokenizer
from weights.models.boards import WIDEST, Board, decoder_board, draw_boards, draw_head, encoder_board, translator_boards
from weights.models.encoder import Encoder
from weights.models.fill import Filler
from weights.models.reading import CONTROLS
from weights.models.translate import Options, Translator

TEXTS = ["The cat sleeps in the garden.", "Le chat dort dans le jardin.", "El gato duerme en el jardín."] * 4
PARTS = {"encoder", "decoder", "cross"}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    path = tmp_path_factory.mktemp("pieces") / "tokenizer.model"
    train_tokenizer(TEXTS, 380, path, threads=1, controls=controls(("fr", "es")))
    return SentencePieceTokenizer(path)


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Filler:
    path = tmp_path_factory.mktemp("masked") / "tokenizer.model"
    train_tokenizer(TEXTS, 380, path, threads=1, controls=CONTROLS)
    tokenizer = SentencePieceTokenizer(path)
    ids = {f"{name}_id": tokenizer.control_id(f"<{name}>") for name in ("pad", "mask")}
    model = Encoder(toy_config(vocab_size=380, cls_id=1, sep_id=2, **ids))
    model.init_weights(torch.Generator().manual_seed(0))
    return Filler(model.eval().requires_grad_(False), tokenizer)


def translator(pieces: SentencePieceTokenizer, **shape: Any) -> Translator:
    return Translator.of(nudged(toy_model(vocab_size=pieces.vocab_size, **shape)), pieces, ("fr", "es"))


def is_board(board: Board) -> bool:
    """Whether its rows and columns have names, and its rows sum to one."""
    weights = board.weights
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))
    return weights.shape[2:] == (len(board.rows), len(board.columns)) and weights.dtype == torch.float32


def test_a_decoders_board_names_its_tokens_and_refuses_what_does_not_fit(pieces: SentencePieceTokenizer) -> None:
    model = DecoderLM(ModelConfig(380, 16, 2, 2, 1, 8, 24, max_positions=16))
    model.init_weights(torch.Generator().manual_seed(0))
    engine: Any = SimpleNamespace(model=model, tokenizer=pieces, context=16)
    ids = [1, *pieces.encode("The cat sleeps.")]
    board = decoder_board(engine, ids)
    assert is_board(board) and board.part == "decoder"
    assert board.rows == board.columns and "".join(board.rows) == "<s>The▁cat▁sleeps."
    assert torch.equal(board.weights, decoder_maps(model, ids))
    with pytest.raises(ContextOverflow, match="17 tokens are more than the context of 16"):
        decoder_board(engine, [1] * 17)


@pytest.mark.parametrize("text", ["The cat sleeps.", "The [MASK] sleeps.", "The cat sleeps"])
def test_an_encoders_board_shows_the_mask_where_there_is_one(filler: Filler, text: str) -> None:
    board = encoder_board(filler, text)
    assert is_board(board) and board.part == "encoder" and board.weights.shape[:2] == (2, 2)
    assert (board.rows[0], board.rows[-1]) == ("<s>", "</s>") and board.rows == board.columns
    assert board.rows.count("<mask>") == text.count("[MASK]")
    assert board.weights.triu(1).any()  # it looks both ways
    assert encoder_board(filler, text).weights.equal(board.weights)


def test_an_encoder_refuses_a_text_that_is_too_long(filler: Filler) -> None:
    with pytest.raises(UsageError, match="the model reads at most 32"):
        encoder_board(filler, "The cat sleeps. " * 12)


def test_a_translator_has_three_boards(pieces: SentencePieceTokenizer) -> None:
    boards = translator_boards(translator(pieces), "The cat sleeps.", "fr", "Le chat dort.")
    assert set(boards) == PARTS and all(is_board(board) and board.part == part for part, board in boards.items())
    source = ["<|fr|>", *(pieces.piece(i) for i in pieces.encode("The cat sleeps.")), "</s>"]
    target = ["<s>", *(pieces.piece(i) for i in pieces.encode("Le chat dort."))]
    assert (boards["cross"].rows, boards["cross"].columns) == (target, source)
    assert (boards["encoder"].rows, boards["decoder"].rows) == (source, target)
    assert boards["encoder"].weights.triu(1).any() and not boards["decoder"].weights.triu(1).any()
    assert all(board.weights.shape[:2] == (2, 4) for board in boards.values())


def test_without_a_translation_it_is_the_models_own_greedy_one(pieces: SentencePieceTokenizer) -> None:
    model = translator(pieces)
    own = model.translate(["The garden."], "es", Options(beam=1))[0].text
    board = translator_boards(model, "The garden.", "es")["cross"]
    assert own and board.rows == ["<s>", *(pieces.piece(i) for i in pieces.encode(own))][:32]
    assert board.columns[0] == "<|es|>"


@pytest.mark.parametrize(("text", "target"), [("The cat. " * 20, "Le chat."), ("The cat.", "Le chat. " * 20)])
def test_a_translator_refuses_what_it_cannot_read_at_once(
    pieces: SentencePieceTokenizer, text: str, target: str
) -> None:
    with pytest.raises(ContextOverflow, match="reads at most 32 at once"):
        translator_boards(translator(pieces), text, "fr", target)


def test_recurrent_models_and_unknown_languages_are_refused(pieces: SentencePieceTokenizer) -> None:
    with pytest.raises(CheckpointError, match="has no heads"):
        translator_boards(translator(pieces, attention="dot"), "The cat.", "fr")
    with pytest.raises(UsageError, match="does not translate to 'de'"):
        translator_boards(translator(pieces), "The cat.", "de")


def test_pictures_are_drawn(filler: Filler, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    board = encoder_board(filler, "A price of $5 or $6.")  # no formula
    assert draw_head(board, 1, 0, tmp_path / "one.png") and draw_boards(board, tmp_path / "all.png")
    one, every = ((tmp_path / name).read_bytes() for name in ("one.png", "all.png"))
    assert one.startswith(b"\x89PNG") and every.startswith(b"\x89PNG") and one != every


def test_a_picture_of_a_long_text_stays_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = []
    monkeypatch.setattr("weights.figure.draw_grid", lambda path, down, across, side, draw: sides.append(side * down))
    for heads in (1, 4):
        board = Board("decoder", ["a"] * 900, ["a"] * 900, torch.zeros(heads, heads, 1, 1))
        draw_head(board, 0, 0, Path("one.png"))
        draw_boards(board, Path("all.png"))
    assert len(sides) == 4 and max(sides) <= WIDEST
