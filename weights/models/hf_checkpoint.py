"""A directory of an encoder-decoder in Hugging Face's layout: model, tokenizer, and how it wants to be decoded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.checkpoint import load_generation_config
from engine.errors import CheckpointError
from weights.models.generation import Generation, read_generation
from weights.models.hf_seq2seq import SEQ2SEQ_FAMILIES, load_seq2seq
from weights.models.hf_tokenizers import TextTokenizer, read_tokenizer
from weights.models.seq2seq import Seq2Seq

SENTENCEPIECE = {
    "T5ForConditionalGeneration": "spiece.model", "MBartForConditionalGeneration": "sentencepiece.bpe.model",
    "MarianMTModel": "source.spm",
}  # fmt: skip


@dataclass(frozen=True)
class HFCheckpoint:
    """raw: the contents of config.json."""

    model: Seq2Seq
    tokenizer: TextTokenizer
    generation: Generation
    raw: Mapping[str, Any]


def is_hf(raw: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of one of the families."""
    named = raw.get("architectures")
    return isinstance(named, list) and bool(named) and named[0] in SEQ2SEQ_FAMILIES


def load_hf(directory: Path, raw: Mapping[str, Any], task: str = "") -> HFCheckpoint:
    """All of a directory, in float32. task: whose entry of task_specific_params holds.

    Raises CheckpointError or TokenizerError that names what is missing or cannot be done.
    """
    generation = read_generation(raw, load_generation_config(directory), task)
    model = load_seq2seq(directory, torch.float32)
    vocab_size = model.config.vocab_size
    tokenizer = read_tokenizer(directory, SENTENCEPIECE.get(raw["architectures"][0], ""), vocab_size)
    for token in (generation.forced_bos, *generation.never):
        if token is not None and not 0 <= token < vocab_size:
            raise CheckpointError(f"{directory}: the settings of decoding name the token {token} of {vocab_size}.")
    return HFCheckpoint(model, tokenizer, generation, raw)
