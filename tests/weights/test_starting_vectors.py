"""Embeddings: what a batch trains of them, and how they start from word vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import UsageError
from engine.tokenizer import SentencePieceTokenizer
from weights.cli import main
from weights.data.mixture import Batch
from weights.objectives import next_token
from weights.starting_vectors import fit_width, start_from_vectors, words_of_pieces

TINY_RECIPE = Path(__file__).parents[2] / "weights" / "recipes" / "tiny.toml"
CONFIG = ModelConfig(
    vocab_size=500, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=32, max_positions=64
)


def fresh(config: ModelConfig = CONFIG) -> DecoderLM:
    model = DecoderLM(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model


def write_text(path: Path, vectors: dict[str, np.ndarray]) -> Path:
    lines = [f"{len(vectors)} {len(next(iter(vectors.values())))}"]
    lines += [f"{w} " + " ".join(map(str, v)) for w, v in vectors.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("tied", [False, True])
def test_a_batch_trains_its_own_rows_of_an_untied_embedding_and_every_row_of_a_tied_one(tied: bool) -> None:
    """A row that is not read has no gradient; as a row of the head, every row has one: softmax lowers its logit."""
    model = fresh(replace(CONFIG, tie_embeddings=tied))
    ids = torch.tensor([[5, 9, 5, 77], [9, 300, 4, 4]])
    targets = torch.tensor([[9, 5, 77, 8], [300, 4, 4, 6]])  # 8 and 6 are predicted, and never read
    next_token(model, Batch(ids, targets, torch.zeros_like(ids))).backward()  # type: ignore[no-untyped-call]
    gradient = model.embedding.weight.grad
    assert gradient is not None
    trained = set(gradient.abs().sum(1).nonzero().flatten().tolist())
    assert trained == (set(range(500)) if tied else {4, 5, 9, 77, 300})


def test_words_are_pieces_without_their_mark_and_never_controls_or_bytes(tokenizer: SentencePieceTokenizer) -> None:
    words = words_of_pieces(tokenizer)
    told = [token for tokens in words.values() for token in tokens]
    assert len(told) == len(set(told))
    for word, tokens in words.items():
        assert all(tokenizer.piece(t) in (word, f"▁{word}") for t in tokens)
    for token in range(tokenizer.vocab_size):
        left_out = (
            tokenizer.is_control(token) or tokenizer.piece(token).startswith("<0x") or tokenizer.piece(token) == "▁"
        )
        assert (token in told) != left_out


def test_vectors_land_in_the_rows_of_their_pieces_and_nowhere_else(
    tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    words = words_of_pieces(tokenizer)
    both = next(w for w, tokens in words.items() if len(tokens) == 2 and w.isalpha())  # within words and at their start
    one = next(w for w, tokens in words.items() if len(tokens) == 1 and w.isalpha())
    rng = np.random.default_rng(0)
    vectors = {both: rng.standard_normal(16) * 7, one: rng.standard_normal(16) * 7, "xyzzyx": rng.standard_normal(16)}
    model, before = fresh(), fresh().embedding.weight.detach()
    told = start_from_vectors(model.embedding, tokenizer, write_text(tmp_path / "v.txt", vectors), seed=0)
    after = model.embedding.weight.detach()
    filled = [*words[both], *words[one]]
    assert told == f"3 of {sum(map(len, words.values()))} pieces begin with a vector of v.txt"
    others = [t for t in range(500) if t not in filled]
    assert torch.equal(after[others], before[others])
    for word, tokens in ((both, words[both]), (one, words[one])):
        for token in tokens:
            expected = torch.tensor(vectors[word], dtype=torch.float32)
            assert torch.nn.functional.cosine_similarity(after[token], expected, dim=0) > 0.9999
    size = before.pow(2).mean().sqrt()
    assert torch.allclose(after[filled].pow(2).mean().sqrt(), size, rtol=1e-3)
    lengths = after[words[both][0]].norm() / after[words[one][0]].norm()
    assert float(lengths) == pytest.approx(np.linalg.norm(vectors[both]) / np.linalg.norm(vectors[one]), rel=1e-3)


@pytest.mark.parametrize(("size", "says"), [(40, "principal components"), (6, "a random orthogonal map")])
def test_vectors_of_another_width_are_projected_and_that_is_told(
    size: int, says: str, tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    words = [w for w in words_of_pieces(tokenizer) if w.isalpha()][:50]
    path = write_text(tmp_path / "v.txt", {w: np.random.default_rng(len(w)).standard_normal(size) for w in words})
    model = fresh()
    told = start_from_vectors(model.embedding, tokenizer, path, seed=0)
    assert told.endswith(f"brought from {size} to 16 numbers by " + ("their " if size > 16 else "") + says)
    assert torch.isfinite(model.embedding.weight).all()


def test_more_numbers_keep_every_dot_product_and_fewer_keep_as_much_as_any_could() -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 6)).astype(np.float32)
    wide = fit_width(vectors, 16, seed=3)
    assert wide.shape == (30, 16) and np.allclose(wide @ wide.T, vectors @ vectors.T, atol=1e-4)
    assert not np.allclose(wide, fit_width(vectors, 16, seed=4))
    flat = np.random.default_rng(1).standard_normal((30, 4)) @ np.random.default_rng(2).standard_normal((4, 9))
    narrow = fit_width(flat.astype(np.float32), 4, seed=0)  # of rank 4: nothing is lost
    assert np.allclose(narrow @ narrow.T, flat @ flat.T, atol=1e-3)
    few = fit_width(vectors[:2], 4, seed=0)  # fewer vectors than numbers
    assert np.allclose(few @ few.T, vectors[:2] @ vectors[:2].T, atol=1e-4)


def test_a_file_without_a_known_word_changes_nothing_and_says_so(
    tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    model = fresh()
    told = start_from_vectors(model.embedding, tokenizer, write_text(tmp_path / "v", {"xyzzyx": np.ones(16)}), 0)
    assert told.startswith("0 of ") and torch.equal(model.embedding.weight, fresh().embedding.weight)


def test_a_run_begins_with_vectors_and_tells_how_many(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command, for its first step; another beginning is another run; later stages refuse."""
    path = write_text(tmp_path / "v.txt", {w: np.random.default_rng(len(w)).standard_normal(8) for w in ("the", "a")})
    sets = ("stage.pretrain.tokens=3000", "stage.pretrain.batch=2", "stage.pretrain.micro_batch=2", "model.n_layers=1")
    common = ["recipe", str(TINY_RECIPE), "--corpus", str(corpus), "--out", str(tmp_path / "out"), "--no-compile"]
    common += ["--threads", "1", "--stop-after", "1", *(part for s in sets for part in ("--set", s))]
    assert main([*common, "--only", "pretrain", "--vectors", str(path)]) == 0
    assert "pieces begin with a vector of v.txt, brought from 8 to 64 numbers" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--vectors are for a new model"):
        main([*common, "--only", "sft", "--vectors", str(path)])
