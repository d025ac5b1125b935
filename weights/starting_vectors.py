"""A model's embedding that starts from word vectors: the rows whose piece is a word of the file."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from engine.layers.linear import Embedding
from engine.tokenizer import SentencePieceTokenizer
from weights.data.word_vectors import read_vectors

BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def words_of_pieces(tokenizer: SentencePieceTokenizer) -> dict[str, list[int]]:
    """Word -> the ids of its pieces, with and without the mark of a word's beginning. No controls, no bytes."""
    words: dict[str, list[int]] = {}
    for token in range(tokenizer.vocab_size):
        word = tokenizer.piece(token).removeprefix("▁")
        if word and not tokenizer.is_control(token) and not BYTE.fullmatch(word):
            words.setdefault(word, []).append(token)
    return words


def fit_width(vectors: npt.NDArray[np.float32], width: int, seed: int) -> npt.NDArray[np.float32]:
    """Vectors N D in `width` numbers: N C.

    Fewer than D: the directions in which they are largest (principal components of what is not centred, so that dot
    products stay as near as they can). More than D: a random orthogonal map, which keeps every dot product.
    """
    size = vectors.shape[1]
    if width == size:
        return vectors
    if width < size:
        turn = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)[1][:, : -width - 1 : -1]  # the largest stand last
    else:
        turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, size)))[0].T
    return vectors @ turn.astype(np.float32)


@torch.no_grad()
def start_from_vectors(embedding: Embedding, tokenizer: SentencePieceTokenizer, path: Path, seed: int) -> str:
    """Fill the rows of an initialised embedding whose piece is a word of the file; the sentence that tells of it.

    The rows that are filled get the size (root mean square) that the embedding has. Raises DataError as `read_vectors`.
    """
    words = words_of_pieces(tokenizer)
    found, size = read_vectors(path, words.keys())
    n_pieces = sum(map(len, words.values()))
    rows = [token for word in found for token in words[word]]
    told = f"{len(rows)} of {n_pieces} pieces begin with a vector of {path.name}"
    if not rows:
        return told
    width = embedding.weight.shape[1]
    vectors = fit_width(np.stack([found[word] for word in found for _ in words[word]]), width, seed)
    scale = float(embedding.weight.pow(2).mean().sqrt()) / max(float(np.sqrt(np.mean(vectors**2))), 1e-12)
    embedding.weight[rows] = torch.from_numpy(vectors * scale).to(embedding.weight)
    if width < size:
        return f"{told}, brought from {size} to {width} numbers by their principal components"
    return told if width == size else f"{told}, brought from {size} to {width} numbers by a random orthogonal map"
