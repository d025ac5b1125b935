"""Directories of the translating models: config.json, model.safetensors, tokenizer.model. Complete, or not there."""

import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.checkpoint import SINGLE, complete_directory, open_tensors, read_json, write_json
from engine.errors import CheckpointError
from engine.tokenizer import SentencePieceTokenizer
from weights.models.config import ARCHITECTURES, LSTMConfig, TranslatorConfig, config_from
from weights.models.kinds import wrong_kind
from weights.models.rnn import LSTMSeq2Seq
from weights.models.seq2seq import Seq2Seq

TranslatorModel = Seq2Seq | LSTMSeq2Seq
FOREIGN = ("MBartForConditionalGeneration", "MarianMTModel", "T5ForConditionalGeneration")  # of hf_checkpoint.py


def build_model(config: TranslatorConfig) -> TranslatorModel:
    """The model of a config, without values."""
    return LSTMSeq2Seq(config) if isinstance(config, LSTMConfig) else Seq2Seq(config)


def save_translator(
    directory: Path, model: TranslatorModel, tokenizer: Path, languages: tuple[str, ...],
    dtype: torch.dtype = torch.bfloat16,
) -> None:  # fmt: skip
    """Write a model directory; an old one of that name is replaced. languages: those that it translates to."""
    name = next(n for n, kind in ARCHITECTURES.items() if isinstance(model.config, kind))
    told = {"architectures": [name], "languages": list(languages), "torch_dtype": str(dtype).removeprefix("torch.")}
    weights = {n: p.detach().to("cpu", dtype).contiguous() for n, p in model.named_parameters()}
    with complete_directory(directory) as half_written:
        write_json(half_written / "config.json", told | asdict(model.config))
        save_file(weights, half_written / SINGLE, {"format": "pt"})
        shutil.copyfile(tokenizer, half_written / "tokenizer.model")


def load_translator(
    directory: Path, dtype: torch.dtype = torch.float32
) -> tuple[TranslatorModel, SentencePieceTokenizer, tuple[str, ...]]:
    """Model, tokenizer and languages of a directory.

    Raises CheckpointError, by name, for another architecture and for a tensor that is missing, left over or of
    another shape.
    """
    raw = read_json(directory / "config.json")
    named = raw.pop("architectures", None)
    name = named[0] if isinstance(named, list) and named else None
    if name not in ARCHITECTURES:
        hint = f"A translator is a {' or a '.join((*ARCHITECTURES, *FOREIGN))}."
        raise wrong_kind(directory, name, "does not translate", hint)
    languages = raw.pop("languages", None)
    if not isinstance(languages, list) or not languages or not all(isinstance(x, str) for x in languages):
        raise CheckpointError(f"{directory}: config.json names no languages.")
    raw.pop("torch_dtype", None)
    config: TranslatorConfig = config_from(ARCHITECTURES[name], raw)
    tokenizer = SentencePieceTokenizer(directory / "tokenizer.model")
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(
            f"{directory}: the tokenizer has {tokenizer.vocab_size} pieces and the model {config.vocab_size}."
        )
    model = build_model(config).to(dtype)
    fill_model(model, directory / SINGLE)
    return model.eval().requires_grad_(False), tokenizer, tuple(languages)


@torch.no_grad()
def fill_model(model: nn.Module, path: Path) -> None:
    """Copy the tensors of a file into a model of the same names. Raises CheckpointError that names what differs."""
    if not path.is_file():
        raise CheckpointError(f"There is no {path.name} in {path.parent}.")
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    with open_tensors(path) as file:
        names = set(file.keys())
        if missing := sorted(set(parameters) - names):
            raise CheckpointError(f"{path.parent}: the tensor {missing[0]} is missing.")
        if spare := sorted(names - set(parameters)):
            raise CheckpointError(f"{path.parent}: the tensor {spare[0]} has no place in this model.")
        for name, target in parameters.items():
            source = file.get_tensor(name)
            if source.shape != target.shape:
                raise CheckpointError(
                    f"{path}: {name} has the shape {list(source.shape)}; the config asks for {list(target.shape)}."
                )
            target.copy_(source)
