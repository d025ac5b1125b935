"""A SentencePiece model told as a tokenizer.json: for transformers and vLLM, which no longer read tokenizer.model well.

The `tokenizers` library merges by a list of pairs: those are every pair of pieces that together are a piece, best
score first. Where no space is put before a text, spaces stay spaces and pieces are written with them, not with ▁: then
a ▁ that was typed is told from a space, as it is by engine/tokenizer.py. Torch-free.
"""

from collections.abc import Mapping
from typing import Any

from engine.errors import TokenizerError
from engine.sentencepiece_format import Kind, PieceModel

MARK = "▁"


def tokenizer_json(model: PieceModel, controls: Mapping[str, int], bos: str | None) -> dict[str, Any]:
    """The contents of a tokenizer.json that gives the ids of a SentencePiece model.

    controls: control tokens by name, also those that are no pieces. bos: put before a text, where there is one.
    Raises TokenizerError for a model that does more than merge pieces.
    """
    if model.obstacle:
        raise TokenizerError(f"The SentencePiece model cannot be told as a tokenizer.json: {model.obstacle}.")
    pieces = [piece.text if model.space_prefix else piece.text.replace(MARK, " ") for piece in model.pieces]
    vocab = {text: i for i, text in enumerate(pieces)}
    if len(vocab) != len(pieces):
        raise TokenizerError("The SentencePiece model cannot be told as a tokenizer.json: two pieces are alike.")
    unknown = next((text for text, piece in zip(pieces, model.pieces, strict=True) if piece.kind == Kind.UNKNOWN), None)
    whole = {i: text.replace(MARK, " ") for i, text in enumerate(pieces) if model.pieces[i].kind == Kind.USER_DEFINED}
    special = {i: name for name, i in controls.items()} | ({} if unknown is None else {vocab[unknown]: unknown})
    prefix = [{"type": "Prepend", "prepend": MARK}, _replace(" ", MARK)]
    decoders: list[dict[str, Any]] = [{"type": "ByteFallback"}, {"type": "Fuse"}]
    if model.space_prefix:
        decoders = [_replace(MARK, " "), *decoders, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [_added(i, text, i in special) for i, text in sorted((whole | special).items())],
        "normalizer": {"type": "Sequence", "normalizers": prefix} if model.space_prefix else None,
        "pre_tokenizer": None,
        "post_processor": None if bos is None else before_text(bos, controls[bos]),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": model.has_bytes, "ignore_merges": False,
            "vocab": vocab, "merges": _merges(model, pieces),
        },
    }  # fmt: skip


def _replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def _merges(model: PieceModel, pieces: list[str]) -> list[list[str]]:
    """Every pair of pieces whose join is one, best score first; of one join's pairs, those of earlier pieces."""
    normal = {text: i for i, text in enumerate(pieces) if model.pieces[i].kind == Kind.NORMAL}
    found: list[tuple[float, int, int, list[str]]] = []
    for text, i in normal.items():
        pairs = ((text[:cut], text[cut:]) for cut in range(1, len(text)))
        found += [
            (-model.pieces[i].score, normal[a], normal[b], [a, b]) for a, b in pairs if a in normal and b in normal
        ]
    return [pair for *_, pair in sorted(found, key=lambda merge: merge[:3])]


def _added(token: int, text: str, special: bool) -> dict[str, Any]:
    return {
        "id": token, "content": text, "special": special,
        "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
    }  # fmt: skip


def before_text(bos: str, token: int) -> dict[str, Any]:
    """The post_processor of a tokenizer.json that puts BOS before each text."""
    first: dict[str, Any] = {"SpecialToken": {"id": bos, "type_id": 0}}
    text, pair = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
    return {
        "type": "TemplateProcessing", "single": [first, text], "pair": [first, text, first, pair],
        "special_tokens": {bos: {"id": bos, "ids": [token], "tokens": [bos]}},
    }  # fmt: skip
