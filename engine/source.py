"""What a model is read from: a directory in Hugging Face's layout or a GGUF file, with one face for both."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from engine.checkpoint import load_config, load_generation_config, load_model, stored_dtypes
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, UsageError
from engine.gguf import gguf_at, open_gguf
from engine.gguf_kept import kept_bytes, stays_quantised, told_quantisation
from engine.gguf_model import gguf_config, gguf_sampling, load_gguf_model
from engine.gguf_tokenizer import gguf_templates, gguf_tokenizer
from engine.memory import QuantKind, quantised_bytes
from engine.quantising import told_quantised
from engine.tokenizer import Tokenizer, load_tokenizer
from engine.tokenizer_config import read_chat_templates


class Source(Protocol):
    """A model on this disk of which only the description has been read.

    generation: what a generation_config.json says. exact_dtype: one that holds the weights as they are stored.
    quantisation: the types of a file's tensors and what became of them; empty for a directory whose weights are
    taken as they are. stays_quantised: whether most weights are quantised and could stay so in memory; they do when
    `model` is asked to keep them, in bfloat16 on a CPU. quant: how float weights are quantised as they are read, there
    too. weight_bytes: what the weights will take of memory; UsageError where there is nothing to quantise.
    """

    config: ModelConfig
    name: str
    quantisation: str

    @property
    def generation(self) -> Mapping[str, Any]: ...
    def tokenizer(self) -> Tokenizer: ...
    def templates(self) -> dict[str, str]: ...
    def exact_dtype(self) -> torch.dtype: ...
    def stays_quantised(self) -> bool: ...
    def weight_bytes(self, dtype: torch.dtype, keep: bool = False, quant: QuantKind = "none") -> int: ...
    def model(
        self, dtype: torch.dtype, device: torch.device, keep: bool = False, quant: QuantKind = "none"
    ) -> DecoderLM: ...


class DirectorySource:
    """A checkpoint directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.quantisation = ""
        self.name = directory.resolve().name
        self.config = load_config(directory)
        self.generation: Mapping[str, Any] = load_generation_config(directory)

    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._directory)

    def templates(self) -> dict[str, str]:
        return read_chat_templates(self._directory)

    def exact_dtype(self) -> torch.dtype:
        kinds = set(stored_dtypes(self._directory).values())
        return kinds.pop() if kinds == {torch.bfloat16} else torch.float32

    def stays_quantised(self) -> bool:
        return False

    def weight_bytes(self, dtype: torch.dtype, keep: bool = False, quant: QuantKind = "none") -> int:
        return quantised_bytes(self.config, quant) if quant != "none" else self.config.n_parameters * dtype.itemsize

    def model(
        self, dtype: torch.dtype, device: torch.device, keep: bool = False, quant: QuantKind = "none"
    ) -> DecoderLM:
        model = load_model(self._directory, self.config, dtype, device, quant)
        self.quantisation = told_quantised(model, quant) if quant != "none" else ""
        return model


class GgufSource:
    """A GGUF file."""

    def __init__(self, path: Path) -> None:
        self._file = open_gguf(path)
        self.generation: Mapping[str, Any] = gguf_sampling(self._file)
        self.name = path.resolve().stem
        self.config = gguf_config(self._file)
        self.quantisation = told_quantisation(self._file)

    def tokenizer(self) -> Tokenizer:
        return gguf_tokenizer(self._file)

    def templates(self) -> dict[str, str]:
        return gguf_templates(self._file)

    def exact_dtype(self) -> torch.dtype:
        return torch.float32

    def stays_quantised(self) -> bool:
        return stays_quantised(self._file)

    def weight_bytes(self, dtype: torch.dtype, keep: bool = False, quant: QuantKind = "none") -> int:
        if quant != "none":
            raise UsageError(f"--quant is for directories of float weights; {self.name} holds {self.quantisation}.")
        return kept_bytes(self._file, dtype.itemsize) if keep else self.config.n_parameters * dtype.itemsize

    def model(
        self, dtype: torch.dtype, device: torch.device, keep: bool = False, quant: QuantKind = "none"
    ) -> DecoderLM:
        model = load_gguf_model(self._file, self.config, dtype, device, keep)
        self.quantisation = told_quantisation(self._file, model)
        return model


def open_source(path: Path) -> Source:
    """The model at a path: a .gguf file, a directory that holds one and no config.json, or a checkpoint directory.

    Raises ModelError when there is none, or none that the engine runs.
    """
    file = gguf_at(path)
    if file is not None:
        return GgufSource(file)
    if not path.is_dir():
        raise CheckpointError(f"There is no model directory {path}, and no GGUF file of that name.")
    return DirectorySource(path)
