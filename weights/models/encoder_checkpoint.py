"""Directories of encoders: config.json, model.safetensors, tokenizer.model. Complete, or not there."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from engine.checkpoint import SINGLE, complete_directory, read_json, write_json
from engine.errors import CheckpointError
from engine.tokenizer import SentencePieceTokenizer
from weights.models.checkpoint import fill_model
from weights.models.config import EncoderConfig, config_from
from weights.models.encoder import Encoder
from weights.models.hf_encoder import ENCODER_FAMILIES, load_hf_encoder
from weights.models.hf_tokenizers import TextTokenizer
from weights.models.kinds import architecture, wrong_kind

ENCODER = "TfmEncoder"


def save_encoder(directory: Path, model: Encoder, tokenizer: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a model directory; an old one of that name is replaced."""
    told = {"architectures": [ENCODER], "torch_dtype": str(dtype).removeprefix("torch.")}
    weights = {n: p.detach().to("cpu", dtype).contiguous() for n, p in model.named_parameters()}
    with complete_directory(directory) as half_written:
        write_json(half_written / "config.json", told | asdict(model.config))
        save_file(weights, half_written / SINGLE, {"format": "pt"})
        shutil.copyfile(tokenizer, half_written / "tokenizer.model")


def load_encoder(directory: Path) -> tuple[Encoder, SentencePieceTokenizer]:
    """Model (float32) and tokenizer of a directory.

    Raises CheckpointError, by name, for another architecture and for a tensor that is missing, left over or of
    another shape.
    """
    config, _ = read_encoder_config(directory, ENCODER, "is no masked language model", f"One is a {ENCODER}.")
    tokenizer = SentencePieceTokenizer(directory / "tokenizer.model")
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(
            f"{directory}: the tokenizer has {tokenizer.vocab_size} pieces and the model {config.vocab_size}."
        )
    model = Encoder(config)
    fill_model(model, directory / SINGLE)
    return model.eval().requires_grad_(False), tokenizer


def open_encoder(directory: Path) -> tuple[Encoder, TextTokenizer]:
    """The same for a directory of ours, or one in the layout of Hugging Face: BERT, RoBERTa, DistilBERT."""
    return load_hf_encoder(directory) if architecture(directory) in ENCODER_FAMILIES else load_encoder(directory)


def read_encoder_config(directory: Path, wanted: str, lacks: str, hint: str) -> tuple[EncoderConfig, Any]:
    """The config of a directory, and the labels that it may name beside it.

    Raises CheckpointError where it holds another architecture than the wanted one; see `wrong_kind`.
    """
    name = architecture(directory)
    raw = read_json(directory / "config.json")
    if name != wanted:
        raise wrong_kind(directory, name, lacks, hint)
    for key in ("architectures", "torch_dtype"):
        raw.pop(key, None)
    labels = raw.pop("labels", None)
    return config_from(EncoderConfig, raw), labels
