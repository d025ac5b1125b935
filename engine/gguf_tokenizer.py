"""The tokenizer that a GGUF file carries, and its chat templates.

`tokenizer.ggml.model` says which kind: "llama" is SentencePiece's BPE with scores, and becomes a SentencePiece model;
"gpt2" is byte-level BPE with merges, and becomes a tokenizer.json. How a text is cut before BPE the file tells by a
name alone (`tokenizer.ggml.pre`); a name that is not in the table here is an error, never a guess. Torch-free.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from engine.errors import TokenizerError
from engine.gguf import GgufFile
from engine.sentencepiece_format import ROLES, Kind, Piece, write_piece_model
from engine.tokenizer import SentencePieceTokenizer, Tokenizer
from engine.tokenizer_config import Control, TokenizerConfig

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
# Llama 3 and Qwen 2 differ in how many digits stand together.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
# The name of a pre-tokenizer -> the expressions that cut a text, one after the other.
CUTS: dict[str, tuple[str, ...]] = {
    "gpt-2": (GPT2,),
    "smollm": (r"\p{N}", GPT2),
    "llama-bpe": (WORDS.replace("DIGITS", "{1,3}"),),
    "qwen2": (WORDS.replace("DIGITS", ""),),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
}
WHOLE_WORDS = frozenset({"llama-bpe"})  # a word that is a token is not put together by merges
BOS_BY_HABIT = frozenset({"llama-bpe"})  # BOS before a text, where the file does not say
COMPOSED = frozenset({"qwen2"})  # its own tokenizer reads text in Unicode's form NFC; only that is not in the file


def gguf_tokenizer(file: GgufFile) -> Tokenizer:
    """The tokenizer of a GGUF file. Raises TokenizerError for a damaged one, and for a kind that is not read."""
    told = {k.removeprefix("tokenizer.ggml."): v for k, v in file.metadata.items() if k.startswith("tokenizer.ggml.")}
    model = told.get("model")
    if model not in ("llama", "gpt2"):
        raise TokenizerError(f"{file.path}: the tokenizer {model!r} is not read.", "llama and gpt2 are.")
    tokens = _list(file, told, "tokens", str)
    kinds = [Kind.NORMAL] * len(tokens)
    if "token_type" in told:
        kinds = _list(file, told, "token_type", int)
    if len(kinds) != len(tokens) or not set(kinds) <= set(Kind):
        raise TokenizerError(f"{file.path}: tokenizer.ggml.token_type does not fit the {len(tokens)} tokens.")
    named = {f"{key}_token": tokens[i] for key in ("bos", "eos", "pad") if (i := _token(file, told, key)) is not None}
    return (_of_scores if model == "llama" else _of_merges)(file, told, tokens, kinds, named)


def gguf_templates(file: GgufFile) -> dict[str, str]:
    """The Jinja templates of a GGUF file by name, the usual one called "default"."""
    prefix = "tokenizer.chat_template"
    found = {k.removeprefix(prefix).lstrip("."): v for k, v in file.metadata.items() if k.startswith(prefix)}
    return {name or "default": text for name, text in found.items() if isinstance(text, str) and text}


def _list(file: GgufFile, told: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    values = told.get(key)
    if not isinstance(values, list) or not values or not all(isinstance(v, kind) for v in values):
        raise TokenizerError(f"{file.path}: tokenizer.ggml.{key} is missing or no list of its kind.")
    return values


def _token(file: GgufFile, told: Mapping[str, Any], key: str) -> int | None:
    """The id that the file gives to a role, such as "bos"; None when it gives none."""
    name = {"pad": "padding", "unk": "unknown"}.get(key, key) + "_token_id"
    token, count = told.get(name), len(told["tokens"])
    if token is not None and not (isinstance(token, int) and 0 <= token < count):
        raise TokenizerError(f"{file.path}: tokenizer.ggml.{name} is {token!r}, and there are {count} tokens.")
    return token


def _of_scores(
    file: GgufFile, told: Mapping[str, Any], tokens: Sequence[str], kinds: Sequence[int], named: Mapping[str, str]
) -> Tokenizer:
    scores = _list(file, told, "scores", float)
    if len(scores) != len(tokens):
        raise TokenizerError(f"{file.path}: there are {len(scores)} scores for {len(tokens)} tokens.")
    ids = {key: _token(file, told, key) for key in ROLES}
    if ids["unk"] is None:
        ids["unk"] = next((i for i, kind in enumerate(kinds) if kind == Kind.UNKNOWN), None)
    pieces = [
        # Text that is kept whole stands here as it is typed, and in a SentencePiece model with ▁ for a space.
        Piece(text.replace(" ", "▁") if kind == Kind.USER_DEFINED else text, score, Kind(kind))
        for text, score, kind in zip(tokens, scores, kinds, strict=True)
    ]
    while pieces and pieces[-1].kind == Kind.UNUSED:  # they are there because the embedding has more rows than pieces
        pieces.pop()
    proto = write_piece_model(pieces, ids, space_prefix=bool(told.get("add_space_prefix", True)))
    return SentencePieceTokenizer(
        file.path,
        {piece: Control(i) for i, (piece, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind == Kind.CONTROL},
        adds_bos=bool(told.get("add_bos_token", True)),
        special_tokens=named,
        proto=proto,
    )


def _of_merges(
    file: GgufFile, told: Mapping[str, Any], tokens: Sequence[str], kinds: Sequence[int], named: Mapping[str, str]
) -> Tokenizer:
    if find_spec("tokenizers") is None:
        raise TokenizerError(f"The tokenizer in {file.path} needs tokenizers.", "Install it: pip install 'tfm[hf]'.")
    from engine.tokenizer_json import JsonTokenizer

    cut = told.get("pre")
    if cut not in CUTS:
        raise TokenizerError(
            f"{file.path}: the pre-tokenizer {cut!r} (tokenizer.ggml.pre) is not known.",
            f"Known are {', '.join(CUTS)}.",
        )
    described = {i: Kind(kind) for i, kind in enumerate(kinds) if kind not in (Kind.NORMAL, Kind.BYTE, Kind.UNUSED)}
    vocab = {piece: i for i, piece in enumerate(tokens) if kinds[i] != Kind.UNUSED}
    if len(vocab) != len(tokens) - list(kinds).count(Kind.UNUSED):
        raise TokenizerError(f"{file.path}: two tokens have the same text.")
    merges = [merge.split(" ", 1) for merge in _list(file, told, "merges", str)]
    split = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False} for regex in CUTS[cut]
    ]
    if told.get("add_space_prefix", False):
        raise TokenizerError(f"{file.path}: tokenizer.ggml.add_space_prefix is not supported for a gpt2 tokenizer.")
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": cut in WHOLE_WORDS}
    added = [
        {
            "id": i, "content": tokens[i], "special": kind != Kind.USER_DEFINED,
            "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        }
        for i, kind in described.items()
    ]  # fmt: skip
    text = json.dumps({
        "version": "1.0", "added_tokens": added, "normalizer": {"type": "NFC"} if cut in COMPOSED else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*split, level]},
        "decoder": level, "model": model,
    })  # fmt: skip
    adds_bos = told.get("add_bos_token", cut in BOS_BY_HABIT)
    return JsonTokenizer(file.path, TokenizerConfig(named, adds_bos=bool(adds_bos)), text)
