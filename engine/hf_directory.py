"""A model of any source written as a directory that transformers and vLLM load: weights, config, tokenizer, template.

transformers reads a SentencePiece model only with more packages and by rules of its own; so a tokenizer.json that
gives the same ids is written beside it, where it can be told as one.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint import (
    COMPANIONS,
    INDEX,
    complete_directory,
    files_of_tensors,
    open_tensors,
    read_json,
    write_json,
    write_weights,
)
from engine.decoder import DecoderLM
from engine.errors import TokenizerError
from engine.families import write_config
from engine.sentencepiece_format import read_piece_model
from engine.source import Source
from engine.tokenizer import SentencePieceTokenizer, Tokenizer
from engine.tokenizer_config import CONFIG
from engine.tokenizer_json_writing import before_text, tokenizer_json

TOKENIZER_JSON, TOKENIZER_MODEL = "tokenizer.json", "tokenizer.model"


def copy_directory(target: Path, base: Path, dtype: torch.dtype | None) -> str:
    """Write `target`: the checkpoint directory `base` with its weights in `dtype` (None: as they are stored).

    The tokenizer gets a tokenizer.json when it has none. Returns why it got none, or "". Complete, or not at all.
    """
    with complete_directory(target) as half_written:
        for path in sorted({p for pattern in COMPANIONS for p in base.glob(pattern) if p.is_file()}):
            shutil.copyfile(path, half_written / path.name)
        if dtype is not None:
            told = read_json(base / "config.json") | {"torch_dtype": _name(dtype)}
            told.pop("dtype", None)
            write_json(half_written / "config.json", told)
        _copy_weights(half_written, base, dtype)
        if not (half_written / TOKENIZER_MODEL).is_file() or (half_written / TOKENIZER_JSON).is_file():
            return ""
        old = read_json(base / CONFIG) if (base / CONFIG).is_file() else {}
        return _write_pieces(half_written, SentencePieceTokenizer.from_dir(base), old)


def write_directory(target: Path, source: Source, model: DecoderLM, dtype: torch.dtype) -> str:
    """Write the directory `target` for a model that is of no directory itself, with its weights in `dtype`.

    Returns why its tokenizer has no tokenizer.json, or "". Complete, or not at all. Raises CheckpointError for a model
    that no family here has.
    """
    config, tokenizer = source.config, source.tokenizer()
    told = write_config(config) | {"torch_dtype": _name(dtype)}
    ends: dict[str, Any] = {"bos_token_id": config.bos_id, "eos_token_id": list(config.eos_ids)}
    sampled = {"do_sample": True} if source.generation else {}
    with complete_directory(target) as half_written:
        write_json(half_written / "config.json", told)
        write_json(half_written / "generation_config.json", ends | sampled | dict(source.generation))
        write_weights(half_written, model, dtype)
        named = _named(tokenizer, source.templates())
        if isinstance(tokenizer, SentencePieceTokenizer):
            (half_written / TOKENIZER_MODEL).write_bytes(tokenizer.proto())
            return _write_pieces(half_written, tokenizer, named)
        _write_tokenizer(half_written, _described(tokenizer), named)
        return ""


def _described(tokenizer: Tokenizer) -> dict[str, Any]:
    """A tokenizer.json of one that has none of its own."""
    from engine.tokenizer_json import JsonTokenizer

    assert isinstance(tokenizer, JsonTokenizer)
    bos = tokenizer.special_tokens.get("bos_token", "")
    token = tokenizer.control_id(bos)
    told = tokenizer.described()
    if tokenizer.adds_bos and token is not None:
        told["post_processor"] = before_text(bos, token)
    return told


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _copy_weights(target: Path, base: Path, dtype: torch.dtype | None) -> None:
    files = files_of_tensors(base)
    total = 0
    for path in sorted(set(files.values())):
        tensors: dict[str, Tensor] = {}
        with open_tensors(path) as file:
            for name in file.keys():  # noqa: SIM118  (no dictionary)
                tensor = file.get_tensor(name)
                kept = dtype is None or not tensor.is_floating_point()
                tensors[name] = tensor if kept else tensor.to(dtype)
            total += sum(tensor.nbytes for tensor in tensors.values())
            save_file(tensors, target / path.name, {"format": "pt"})
    if (base / INDEX).is_file():
        names = {name: path.name for name, path in files.items()}
        write_json(target / INDEX, {"metadata": {"total_size": total}, "weight_map": names})


def _named(tokenizer: Tokenizer, templates: Mapping[str, str]) -> dict[str, Any]:
    """A tokenizer_config.json: the special tokens, whether BOS comes first, and the templates."""
    told: dict[str, Any] = dict(tokenizer.special_tokens) | {"add_bos_token": tokenizer.adds_bos}
    if set(templates) == {"default"}:
        return told | {"chat_template": templates["default"]}
    several = [{"name": name, "template": text} for name, text in templates.items()]
    return told | ({"chat_template": several} if several else {})


def _write_pieces(directory: Path, tokenizer: SentencePieceTokenizer, told: Mapping[str, Any]) -> str:
    """tokenizer.json and tokenizer_config.json of a SentencePiece model; returns why there is none, or ""."""
    bos = tokenizer.special_tokens.get("bos_token") if tokenizer.adds_bos else None
    controls = {name: control.id for name, control in tokenizer.controls.items()}
    try:
        described = tokenizer_json(read_piece_model(tokenizer.proto()), controls, bos)
    except TokenizerError as e:
        write_json(directory / CONFIG, told)
        return str(e)
    _write_tokenizer(directory, described, {k: v for k, v in told.items() if k not in ("legacy", "sp_model_kwargs")})
    return ""


def _write_tokenizer(directory: Path, described: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """The class is the one that takes a tokenizer.json as it is."""
    text = json.dumps(described, ensure_ascii=False)
    (directory / TOKENIZER_JSON).write_text(text + "\n", encoding="utf-8")
    write_json(
        directory / CONFIG,
        {**told, "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False},
    )
