"""From a GGUF file to a ModelConfig and a DecoderLM. An architecture is a row of the table.

The metadata names sizes as `<architecture>.<key>`. A key of the architecture that is neither read nor known to be
harmless is an error that names it: it may change the result. Weights are dequantised piece by piece into place, or
stay as they are (engine/gguf_kept.py).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from engine.checkpoint import empty_model
from engine.config import ModelConfig, RopeScaling
from engine.decoder import DecoderLM
from engine.errors import CheckpointError
from engine.gguf import GgufFile
from engine.gguf_kept import keep_quantised
from engine.gguf_places import ARCHITECTURES, Place, apart, gguf_places
from engine.layers.positions import inverse_frequencies

SIZES = {
    "embedding_length": "d_model",
    "block_count": "n_layers",
    "attention.head_count": "n_heads",
    "feed_forward_length": "d_ff",
    "context_length": "max_positions",
    "attention.layer_norm_rms_epsilon": "norm_eps",
}
OTHERS_READ = frozenset({
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "vocab_size", "rope.freq_base",
    "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length",
    "rope.scaling.attn_factor", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
    "rope.scaling.finetuned",  # whether the model was trained with the scaling; changes nothing
})  # fmt: skip
NEUTRAL = {"expert_count": (0,), "expert_used_count": (0,), "attention.causal": (True,)}
# Settings of the sampler -> their keys, behind "general.sampling.".
SAMPLING = {
    "temperature": "temp", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p", "repetition_penalty": "penalty_repeat",
}  # fmt: skip
ANGLES = "rope_freqs.weight"
LLAMA3_LENGTH = 8192  # what Llama 3.1 and its successors were trained with before they were stretched


def gguf_config(file: GgufFile) -> ModelConfig:
    """The ModelConfig that the metadata tells. Raises CheckpointError for what the engine does not compute."""
    name = file.metadata.get("general.architecture")
    kind, parts = file.metadata.get("general.type", "model"), file.metadata.get("split.count", 1)
    if kind != "model":
        raise CheckpointError(f"{file.path} holds no model, but a GGUF file of the type {kind!r}.")
    if parts not in (0, 1):
        raise CheckpointError(f"{file.path} is one of {parts} parts of a model, which are not read.", "Join them.")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise CheckpointError(
            f"{file.path}: the architecture {name!r} cannot be run.",
            f"Of GGUF files the engine runs {', '.join(ARCHITECTURES)}.",
        )
    told = {k.removeprefix(f"{name}."): v for k, v in file.metadata.items() if k.startswith(f"{name}.")}
    for key, value in told.items():
        if key not in SIZES and key not in OTHERS_READ and value not in NEUTRAL.get(key, ()):
            raise CheckpointError(f"{file.path}: {name}.{key} = {value!r} is not supported and may change the result.")
    if missing := [key for key in SIZES if key not in told]:
        raise CheckpointError(f"{file.path}: {name}.{missing[0]} is missing.")
    try:
        return _with_angles(file, _config(file, told))
    except (TypeError, ValueError) as e:
        raise CheckpointError(f"{file.path}: a value of {name} has the wrong type: {e}.") from e


def _config(file: GgufFile, told: Mapping[str, Any]) -> ModelConfig:
    """told: the keys of the architecture, without its name."""
    sizes = {ours: told[theirs] for theirs, ours in SIZES.items()}
    for theirs in ("embedding_length", "attention.head_count"):  # divided before ModelConfig looks at them
        if not isinstance(told[theirs], int) or told[theirs] < 1:
            raise CheckpointError(f"{file.path}: {theirs} must be a whole number of at least 1, not {told[theirs]!r}.")
    if "attention.key_length" not in told and sizes["d_model"] % sizes["n_heads"]:
        raise CheckpointError(
            f"{file.path}: {sizes['n_heads']} heads do not divide embedding_length {sizes['d_model']}."
        )
    head_dim = told.get("attention.key_length", sizes["d_model"] // sizes["n_heads"])
    for key in ("attention.value_length", "rope.dimension_count"):
        if told.get(key, head_dim) != head_dim:
            raise CheckpointError(f"{file.path}: {key} is {told[key]!r}, and a head has {head_dim} numbers.")
    ends = [file.metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot", "eom")]
    return ModelConfig(
        **sizes, head_dim=head_dim, n_kv_heads=told.get("attention.head_count_kv", sizes["n_heads"]),
        vocab_size=_rows(file, told.get("vocab_size")), rope_theta=told.get("rope.freq_base", 10000.0),
        rope_scaling=_scaling(file, told), tie_embeddings="output.weight" not in file.tensors,
        attention_bias="blk.0.attn_q.bias" in file.tensors, mlp_bias="blk.0.ffn_gate.bias" in file.tensors,
        bos_id=file.metadata.get("tokenizer.ggml.bos_token_id"),
        eos_ids=tuple(dict.fromkeys(end for end in ends if end is not None)),
    )  # fmt: skip


def _rows(file: GgufFile, said: Any) -> int:
    """The size of the vocabulary: the rows of the embedding, which the metadata need not tell."""
    tensor = file.tensors.get("token_embd.weight")
    if tensor is None:
        raise CheckpointError(f"{file.path}: the tensor token_embd.weight is missing.")
    if said is not None and said != tensor.rows:
        raise CheckpointError(f"{file.path}: vocab_size is {said!r}, and token_embd.weight has {tensor.rows} rows.")
    return tensor.rows


def _scaling(file: GgufFile, told: Mapping[str, Any]) -> RopeScaling | None:
    kind, factor = told.get("rope.scaling.type", "none"), told.get("rope.scaling.factor")
    if kind == "none":
        return None
    if kind not in ("linear", "yarn") or not isinstance(factor, int | float):
        raise CheckpointError(f"{file.path}: the rope scaling {kind!r} with factor {factor!r} is not supported.")
    if kind == "linear":
        return RopeScaling("linear", factor, told["context_length"])
    # What llama.cpp multiplies cosines and sines with: 0.1 ln(factor) + 1 (YaRN, eq. 22), times a factor of the file.
    attention = told.get("rope.scaling.attn_factor", 1.0) * (0.1 * math.log(factor) + 1 if factor > 1 else 1.0)
    return RopeScaling(
        "yarn", factor, told.get("rope.scaling.original_context_length", told["context_length"]),
        beta_fast=told.get("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=told.get("rope.scaling.yarn_beta_slow", 1.0), attention_factor=attention,
    )  # fmt: skip


def _with_angles(file: GgufFile, config: ModelConfig) -> ModelConfig:
    """The config with the scaling of Llama 3.1, which files tell only as what each angle is divided by.

    Raises CheckpointError when no scaling that is known here divides so.
    """
    stored = file.tensors.get(ANGLES)
    if stored is None:
        return config
    if stored.shape != (config.head_dim // 2,):
        raise CheckpointError(
            f"{file.path}: {ANGLES} has the shape {list(stored.shape)}; [{config.head_dim // 2}] is meant."
        )
    divisors = torch.cat([torch.from_numpy(numbers).flatten() for _, numbers in file.pieces(stored)])
    if bool((divisors == 1).all()):
        return config
    factor = divisors.max().item()
    architecture = file.metadata["general.architecture"]
    length = file.metadata.get(f"{architecture}.rope.scaling.original_context_length", LLAMA3_LENGTH)
    if config.rope_scaling is None and math.isfinite(factor) and factor > 0:
        stretched = replace(config, rope_scaling=RopeScaling("llama3", factor, length))
        computed = inverse_frequencies(config, 1) / inverse_frequencies(stretched, 1)
        if torch.allclose(computed, divisors, rtol=1e-3):
            return stretched
    raise CheckpointError(f"{file.path}: {ANGLES} scales positions in a way that is not supported.")


def gguf_sampling(file: GgufFile) -> dict[str, Any]:
    """The settings of the sampler that a file recommends, by the names of SamplingParams."""
    found = {setting: file.metadata.get(f"general.sampling.{key}") for setting, key in SAMPLING.items()}
    return {setting: value for setting, value in found.items() if value is not None}


def load_gguf_model(
    file: GgufFile, config: ModelConfig, dtype: torch.dtype, device: torch.device, keep: bool = False
) -> DecoderLM:
    """The decoder of a GGUF file with its weights dequantised to `dtype`.

    keep: matrices stay quantised where there is a kernel for them; then dtype must be bfloat16, on a CPU. Raises
    CheckpointError, by name, for a tensor that is missing, left over or of another shape.
    """
    architecture = file.metadata["general.architecture"]
    most = 2 * len(file.tensors) + 9  # a header may tell of any number
    places = list(islice(gguf_places(architecture, config), most))
    names = {place.theirs for place in places}
    for place in places:
        if place.theirs not in file.tensors and not place.optional:
            raise CheckpointError(f"{file.path}: the tensor {place.theirs} is missing.")
    if spare := sorted(set(file.tensors) - names - {ANGLES}):
        raise CheckpointError(
            f"{file.path}: the tensor {spare[0]} has no place in a model of the architecture {architecture}."
        )
    model = empty_model(config, dtype, device)
    if keep:
        places = keep_quantised(model, file, places)
    parameters = dict(model.named_parameters())
    for place in places:
        target = parameters[place.ours] if place.rows is None else parameters[place.ours][place.rows]
        _fill(file, place, target)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def _fill(file: GgufFile, place: Place, target: Tensor) -> None:
    if place.theirs not in file.tensors:
        target.zero_()
        return
    stored = file.tensors[place.theirs]
    if stored.shape != tuple(target.shape):
        raise CheckpointError(
            f"{file.path}: {place.theirs} has the shape {list(stored.shape)}; "
            f"the metadata asks for {list(target.shape)}."
        )
    for rows, piece in file.pieces(stored, place.head_dim or 1):
        numbers, part = torch.from_numpy(piece), target[rows]
        if target.dim() == 1:
            numbers, part = numbers[0], target
        part.copy_(apart(numbers, place.head_dim) if place.head_dim else numbers)
