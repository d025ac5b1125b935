"""What a GGUF file says of a tokenizer: the keys `tokenizer.ggml.*`, for llama.cpp and for engine/gguf_tokenizer.py.

llama.cpp reads two kinds of those that models here have. "llama": SentencePiece's merges, by the score of each piece.
"gpt2": byte-level BPE by a list of merges, where how a text is cut before is one of the names of CUTS. What neither can
say is an error that names it. Torch-free.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config import ModelConfig
from engine.errors import TokenizerError
from engine.gguf_tokenizer import COMPOSED, CUTS, GPT2, WHOLE_WORDS
from engine.sentencepiece_format import Kind, read_piece_model
from engine.tokenizer import SentencePieceTokenizer, Tokenizer

ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")  # the roles that end an answer
# Two tokenizer files of one model must read these alike.
SAMPLES = ("The quick brown fox, 3.14 times", "  two  spaces\n\n\ttab ", "Crème brûlée 你好 😀", "<s> </s> user")
Token = tuple[str, Kind]


def vocabulary(tokenizer: Tokenizer, config: ModelConfig) -> dict[str, Any]:
    """The keys for a model's tokenizer, without `tokenizer.ggml.` before them.

    There are as many tokens as the embedding has rows: llama.cpp asks for that. Raises TokenizerError for what GGUF
    cannot say, by name.
    """
    for name, control in tokenizer.controls.items():
        if control.lstrip or control.rstrip:
            raise TokenizerError(f"{name} takes white space with it, which a GGUF file cannot say.")
    plain = _plain(tokenizer)
    told = _scored(plain) if isinstance(plain, SentencePieceTokenizer) else _merged(plain)
    tokens: list[str] = told["tokens"]
    spare = range(len(tokens), config.vocab_size)
    tokens += [f"[PAD{i}]" for i in spare]
    told["token_type"] += [int(Kind.UNUSED)] * len(spare)
    if "scores" in told:
        told["scores"] += [0.0] * len(spare)
    text, times = Counter(tokens).most_common(1)[0]
    if times > 1:
        raise TokenizerError(f"{times} tokens have the text {text!r}, which a GGUF file cannot say.")
    return told | _roles(tokenizer, config)


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, or the tokenizer.model beside its tokenizer.json where that is of SentencePiece's kind."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        return tokenizer
    beside = tokenizer.path.with_name("tokenizer.model")
    if not beside.is_file():
        return tokenizer
    same = SentencePieceTokenizer.from_dir(beside.parent)
    for text in SAMPLES:
        if same.encode(text) != tokenizer.encode(text):
            raise TokenizerError(f"{tokenizer.path} and {beside.name} beside it read {text!r} in two ways.")
    return same


def _roles(tokenizer: Tokenizer, config: ModelConfig) -> dict[str, Any]:
    """Which token begins and which ones end. llama.cpp takes tokens of its own for what is not said."""
    if not 1 <= len(config.eos_ids) <= len(ENDS):
        raise TokenizerError(
            f"The model ends with {len(config.eos_ids)} different tokens; a GGUF file can name one to {len(ENDS)}."
        )
    roles = dict(zip(ENDS, config.eos_ids, strict=False))
    padding = tokenizer.control_id(tokenizer.special_tokens.get("pad_token", ""))
    if padding is not None:
        roles["padding_token_id"] = padding
    if config.bos_id is not None:
        roles["bos_token_id"] = config.bos_id
    adds_bos = tokenizer.adds_bos and config.bos_id is not None
    return {**roles, "add_bos_token": adds_bos, "add_eos_token": False}


def _scored(tokenizer: SentencePieceTokenizer) -> dict[str, Any]:
    model = read_piece_model(tokenizer.proto())
    why = model.obstacle or ("" if model.has_bytes else "it has no byte pieces for what it does not know")
    if why:
        raise TokenizerError(f"{tokenizer.path} cannot be written to a GGUF file: {why}.")
    controls = {control.id: name for name, control in tokenizer.controls.items()}
    tokens: list[Token] = [
        # Text that is kept whole is looked for before spaces become ▁.
        (piece.text.replace("▁", " ") if piece.kind == Kind.USER_DEFINED else piece.text, piece.kind)
        for piece in model.pieces
    ]
    added = range(len(tokens), tokenizer.vocab_size)
    tokens += [(controls[i], Kind.CONTROL) if i in controls else (f"[PAD{i}]", Kind.UNUSED) for i in added]
    unknown = next((i for i, (_, kind) in enumerate(tokens) if kind == Kind.UNKNOWN), None)
    return {
        "model": "llama", "pre": "default", **_listed(tokens),
        "scores": [piece.score for piece in model.pieces] + [0.0] * len(added),
        "add_space_prefix": tokenizer.adds_space_prefix,
        **({} if unknown is None else {"unknown_token_id": unknown}),
    }  # fmt: skip


def _listed(tokens: Sequence[Token]) -> dict[str, Any]:
    return {"tokens": [text for text, _ in tokens], "token_type": [int(kind) for _, kind in tokens]}


def _merged(tokenizer: Tokenizer) -> dict[str, Any]:
    from engine.tokenizer_json import JsonTokenizer

    assert isinstance(tokenizer, JsonTokenizer)
    told = tokenizer.described()
    model = told["model"]
    cut = _cut(told)
    why = ""
    if model["type"] != "BPE" or model.get("byte_fallback"):
        why = "it is no byte-level BPE, and there is no tokenizer.model beside it"
    elif cut is None:
        why = f"GGUF has no name that is known here ({', '.join(CUTS)}) for how it cuts a text before BPE"
    elif bool(model.get("ignore_merges")) != (cut in WHOLE_WORDS):
        why = f"it does not look up whole words as {cut} does"
    elif (told.get("normalizer") == {"type": "NFC"}) != (cut in COMPOSED) or told.get("normalizer", {}) not in (
        None, {"type": "NFC"},
    ):  # fmt: skip
        why = f"it normalises text in another way than {cut} does"
    elif odd := next((t["content"] for t in told["added_tokens"] if t["single_word"]), None):
        why = f"its token {odd!r} stands for whole words only"
    if why:
        raise TokenizerError(f"{tokenizer.path} cannot be written to a GGUF file: {why}.")
    by_id: dict[int, Token] = {i: (text, Kind.NORMAL) for text, i in model["vocab"].items()}
    for token in told["added_tokens"]:
        by_id[token["id"]] = (token["content"], Kind.CONTROL if token["special"] else Kind.USER_DEFINED)
    tokens = [by_id.get(i, (f"[PAD{i}]", Kind.UNUSED)) for i in range(tokenizer.vocab_size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return {"model": "gpt2", "pre": cut, **_listed(tokens), "merges": merges}


def _cut(told: Mapping[str, Any]) -> str | None:
    """The name in CUTS of how a tokenizer.json cuts a text before BPE; None when there is none."""
    part = told.get("pre_tokenizer") or {}
    steps = part.get("pretokenizers", [part])
    expressions: list[str] = []
    for n, step in enumerate(steps):
        kind = step.get("type")
        if kind == "Split" and step["behavior"] == "Isolated" and not step["invert"] and "Regex" in step["pattern"]:
            expressions.append(step["pattern"]["Regex"])
        elif kind == "Digits" and step["individual_digits"]:
            expressions.append(r"\p{N}")
        elif kind == "ByteLevel" and n == len(steps) - 1 and not step["add_prefix_space"]:
            expressions += [GPT2] if step.get("use_regex", True) else []
            return next((name for name, cuts in CUTS.items() if list(cuts) == expressions), None)
        else:
            return None
    return None
