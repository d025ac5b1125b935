"""A model written as a GGUF file, for llama.cpp and what is built on it: sizes, tokenizer, templates, weights.

Only models of the architecture llama are: what llama.cpp would not compute for one is an error that names it. The
package `gguf` writes the container and knows what the blocks of a quantised tensor are (the extra [gguf]).
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config import ModelConfig, RopeScaling
from engine.decoder import DecoderLM
from engine.errors import CheckpointError, ModelError
from engine.gguf import PIECE
from engine.gguf_model import ANGLES, SAMPLING, SIZES
from engine.gguf_places import gguf_places, together
from engine.gguf_vocabulary import vocabulary
from engine.layers.positions import inverse_frequencies
from engine.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter

ARCHITECTURE = "llama"
QUANTS = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0"}
# Fields of a ModelConfig that have keys or tensors of their own; any other must be what llama computes, the default.
TOLD = frozenset(SIZES.values()) | {
    "vocab_size", "n_kv_heads", "head_dim", "rope_theta", "rope_scaling", "tie_embeddings", "attention_bias",
    "mlp_bias", "bos_id", "eos_ids",
}  # fmt: skip
LARGEST_F16 = 65504.0


@dataclass(frozen=True)
class Companions:
    """What a file tells beside the weights and the tokenizer. sampling: settings by the names of SamplingParams."""

    name: str
    templates: Mapping[str, str] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""


def write_gguf(
    path: Path, model: DecoderLM, tokenizer: Tokenizer, companions: Companions, quant: str
) -> tuple[str, ...]:
    """Write a model as a GGUF file, complete or not at all; returns the matrices that could not become `quant`.

    quant: a key of QUANTS, what the matrices become. Vectors stay float32; the head, whose roundings tell most, has
    8 bits where the others have 4; a matrix whose rows the blocks do not divide is stored as F16. Raises
    CheckpointError or TokenizerError, by name, for what such a file cannot say, and when something stands at `path`
    or it cannot be written.
    """
    if find_spec("gguf") is None:
        raise ModelError("Writing a GGUF file needs the package gguf.", "Install it: pip install 'tfm[gguf]'.")
    metadata = _metadata(model.config, tokenizer, companions, quant)
    from gguf import GGMLQuantizationType, GGUFWriter

    head = "token_embd.weight" if model.config.tie_embeddings else "output.weight"
    kinds = {
        name: _kind(tensor, "q8_0" if name == head and quant == "q4_0" else quant) for name, tensor in _tensors(model)
    }
    with _complete_file(path) as half_written:
        writer = GGUFWriter(half_written, ARCHITECTURE)
        try:
            for key, value in metadata.items():
                _add(writer, key, value)
            for name, tensor in _tensors(model):
                kind = GGMLQuantizationType[kinds[name]]
                row = _row_bytes(tensor.shape[-1], kinds[name])
                shape = (*tensor.shape[:-1], row)
                writer.add_tensor_info(name, shape, np.dtype(np.uint8), math.prod(shape), raw_dtype=kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for name, tensor in _tensors(model):
                writer.write_tensor_data(_stored(name, tensor, kinds[name]))
        finally:
            writer.close()
    return tuple(name for name, kind in kinds.items() if kind == "F16" and quant != "f16")


@contextmanager
def _complete_file(path: Path) -> Iterator[Path]:
    """A file to write into, that takes its place when the block ends without an error."""
    half_written = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        if path.exists():
            raise CheckpointError(f"{path} is there already; nothing is overwritten.", "Name another file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield half_written
        os.rename(half_written, path)
    except OSError as e:
        raise CheckpointError(f"{path} cannot be written: {e.strerror or e}.") from e
    finally:
        with suppress(OSError):  # it is not there when all went well
            half_written.unlink()


def _add(writer: "GGUFWriter", key: str, value: Any) -> None:
    """One key of the metadata; a whole number is a uint32, as llama.cpp expects."""
    kinds: dict[type, Any] = {
        bool: writer.add_bool,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    kinds.get(type(value), writer.add_uint32)(key, value)


def _metadata(config: ModelConfig, tokenizer: Tokenizer, companions: Companions, quant: str) -> dict[str, Any]:
    """All keys of the file but general.architecture, which the writer adds."""
    from gguf.constants import GGML_QUANT_VERSION, LlamaFileType

    told = {
        "general.type": "model",
        "general.name": companions.name,
        "general.file_type": int(LlamaFileType[QUANTS[quant]]),
        "general.quantization_version": GGML_QUANT_VERSION,
    }
    if companions.licence:
        told["general.license"] = companions.licence
    for setting, key in SAMPLING.items():
        value = companions.sampling.get(setting)
        if value is not None:
            told[f"general.sampling.{key}"] = value if setting == "top_k" else float(value)
    told |= {f"{ARCHITECTURE}.{key}": value for key, value in _sizes(config).items()}
    told |= {f"tokenizer.ggml.{key}": value for key, value in vocabulary(tokenizer, config).items()}
    names = {name: f".{name}" if name != "default" else "" for name in companions.templates}
    return told | {f"tokenizer.chat_template{names[name]}": text for name, text in companions.templates.items()}


def _sizes(config: ModelConfig) -> dict[str, Any]:
    for f in fields(ModelConfig):
        value = getattr(config, f.name)
        if f.name not in TOLD and value != f.default:
            raise CheckpointError(
                f"A model with {f.name} {value!r} cannot be written as a GGUF file: llama has {f.default!r}."
            )
    told: dict[str, Any] = {theirs: getattr(config, ours) for theirs, ours in SIZES.items()}
    told |= {
        "attention.layer_norm_rms_epsilon": float(config.norm_eps), "vocab_size": config.vocab_size,
        "attention.head_count_kv": config.n_kv_heads, "rope.dimension_count": config.head_dim,
        "rope.freq_base": float(config.rope_theta),
    }  # fmt: skip
    if config.head_dim * config.n_heads != config.d_model:
        told |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    return told | ({} if config.rope_scaling is None else _scaling(config.rope_scaling))


def _scaling(scaling: RopeScaling) -> dict[str, Any]:
    """The keys of a rope scaling. llama3 is told by a tensor of divisors; its original length helps to read it back."""
    original = {"rope.scaling.original_context_length": scaling.original_max_positions}
    if scaling.kind == "llama3":
        return original
    if scaling.kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(scaling.factor)}
    if scaling.kind != "yarn":
        raise CheckpointError(f"The rope scaling {scaling.kind!r} cannot be written to a GGUF file.")
    if not scaling.truncate:
        raise CheckpointError("The rope scaling 'yarn' with truncate False cannot be written to a GGUF file.")
    usual = 0.1 * math.log(scaling.factor) + 1 if scaling.factor > 1 else 1.0  # llama.cpp multiplies with it by itself
    return original | {
        "rope.scaling.type": "yarn", "rope.scaling.factor": float(scaling.factor),
        "rope.scaling.attn_factor": scaling.attention_factor / usual,
        "rope.scaling.yarn_beta_fast": float(scaling.beta_fast),
        "rope.scaling.yarn_beta_slow": float(scaling.beta_slow),
    }  # fmt: skip


def _tensors(model: DecoderLM) -> Iterator[tuple[str, Tensor]]:
    """(name in the file, numbers in the model's dtype), in the order of the file."""
    config, parameters = model.config, dict(model.named_parameters())
    for place in gguf_places(ARCHITECTURE, config):
        tensor = parameters[place.ours].detach().cpu()
        tensor = tensor if place.rows is None else tensor[place.rows]
        yield place.theirs, together(tensor, place.head_dim) if place.head_dim else tensor
    if config.rope_scaling is not None and config.rope_scaling.kind == "llama3":
        plain = replace(config, rope_scaling=None)
        yield ANGLES, inverse_frequencies(plain, 1) / inverse_frequencies(config, 1)


def _kind(tensor: Tensor, quant: str) -> str:
    """The type in which a tensor is stored, as ggml calls it."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    if tensor.dim() == 1:
        return "F32"
    in_block, _ = GGML_QUANT_SIZES[GGMLQuantizationType[quant.upper()]]
    return "F16" if tensor.shape[-1] % in_block else quant.upper()


def _row_bytes(width: int, kind: str) -> int:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    in_block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return width // in_block * block_bytes


def _stored(name: str, tensor: Tensor, kind: str) -> NDArray[np.uint8]:
    """The bytes of a tensor in a type."""
    from gguf import GGMLQuantizationType, quantize

    numbers = tensor.to(torch.float32).numpy().reshape(-1)
    if kind == "F16" and np.abs(numbers).max() > LARGEST_F16:
        raise CheckpointError(f"{name} holds numbers beyond the range of F16.", "Choose --quant bf16 or f32.")
    # As one row and in pieces: the package goes through 16 rows at a time, and blocks do not cross rows anyway.
    pieces = [
        quantize(numbers[first : first + PIECE].reshape(1, -1), GGMLQuantizationType[kind]).view(np.uint8)
        for first in range(0, len(numbers), PIECE)
    ]
    return np.concatenate(pieces, axis=1).reshape(-1)
