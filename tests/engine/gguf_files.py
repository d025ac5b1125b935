"""Tiny GGUF files as llama.cpp's converter lays them out, written with llama.cpp's own writer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from torch import Tensor

from engine.config import ModelConfig
from engine.decoder import DecoderLM

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def interleaved(rows: Tensor, heads: int) -> Tensor:
    """Rows of queries or keys in the order in which neighbours rotate: what a file of the architecture llama has."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


def tensors_of(model: DecoderLM, architecture: str) -> dict[str, Tensor]:
    """The parameters of a model by their names in a file."""
    config, ours = model.config, dict(model.named_parameters())
    out = {"token_embd.weight": ours["embedding.weight"], "output_norm.weight": ours["norm.weight"]}
    if not config.tie_embeddings:
        out["output.weight"] = ours["head.weight"]
    for i in range(config.n_layers):
        for kind in ("weight", "bias"):
            block = {n.removeprefix(f"blocks.{i}."): p for n, p in ours.items() if n.startswith(f"blocks.{i}.")}
            if qkv := [block[n] for n in (f"attention.qkv.{kind}",) if n in block]:
                q, k, v = qkv[0].split(config.qkv_rows)
                if architecture == "llama":
                    q, k = interleaved(q, config.n_heads), interleaved(k, config.n_kv_heads)
                out |= {f"blk.{i}.attn_q.{kind}": q, f"blk.{i}.attn_k.{kind}": k, f"blk.{i}.attn_v.{kind}": v}
                if not (kind == "bias" and architecture == "qwen2"):
                    out[f"blk.{i}.attn_output.{kind}"] = block[f"attention.out.{kind}"]
            if gate_up := [block[n] for n in (f"mlp.gate_up.{kind}",) if n in block]:
                gate, up = gate_up[0].chunk(2)
                out |= {f"blk.{i}.ffn_gate.{kind}": gate, f"blk.{i}.ffn_up.{kind}": up}
                out[f"blk.{i}.ffn_down.{kind}"] = block[f"mlp.down.{kind}"]
        out |= {f"blk.{i}.attn_norm.weight": block_norm(ours, i, "attention_norm")}
        out |= {f"blk.{i}.ffn_norm.weight": block_norm(ours, i, "mlp_norm")}
    return {name: tensor.detach() for name, tensor in out.items()}


def block_norm(ours: Mapping[str, Tensor], i: int, name: str) -> Tensor:
    return ours[f"blocks.{i}.{name}.weight"]


def q4_k(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blocks of Q4_K whose scales and minima are one for the whole block; the package only reads this type.

    256 numbers: two float16, 12 bytes with eight scales and eight minima of 6 bits, 128 bytes of 4-bit numbers.
    """
    blocks = rows.reshape(-1, 256)
    low = np.minimum(blocks.min(1, keepdims=True), 0)
    step = ((blocks.max(1, keepdims=True) - low) / 15).astype(np.float16)
    least = (-low).astype(np.float16)
    numbers = np.clip(np.round((blocks + least) / step), 0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
    ones = np.tile(np.array([1] * 8 + [0x11] * 4, np.uint8), (len(blocks), 1))
    packed = (numbers[:, :, 0] | numbers[:, :, 1] << 4).reshape(-1, 128)
    data = np.concatenate([step.view(np.uint8), least.view(np.uint8), ones, packed], 1)
    return data.reshape(*rows.shape[:-1], -1)


def metadata_of(config: ModelConfig, architecture: str) -> dict[str, Any]:
    """The sizes, as a converter writes them."""
    told: dict[str, Any] = {
        "block_count": config.n_layers, "context_length": config.max_positions, "embedding_length": config.d_model,
        "feed_forward_length": config.d_ff, "attention.head_count": config.n_heads,
        "attention.head_count_kv": config.n_kv_heads, "rope.freq_base": float(config.rope_theta),
        "attention.layer_norm_rms_epsilon": float(config.norm_eps),
    }  # fmt: skip
    if architecture == "llama":
        told |= {"vocab_size": config.vocab_size, "rope.dimension_count": config.head_dim}
    if config.head_dim * config.n_heads != config.d_model:
        told |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    return {f"{architecture}.{key}": value for key, value in told.items()}


def write_gguf(
    path: Path, model: DecoderLM, architecture: str = "llama", kind: Type = Type.F32, *,
    metadata: Mapping[str, Any] | None = None, tensors: Mapping[str, Tensor | None] | None = None,
) -> Path:  # fmt: skip
    """A model as a GGUF file, its matrices in one type. metadata, tensors: what is other or more; None: left out."""
    writer = gguf.GGUFWriter(path, architecture)
    told = metadata_of(model.config, architecture) | spoken(model.config.vocab_size) | dict(metadata or {})
    for key, value in told.items():
        add(writer, key, value)
    for name, tensor in (tensors_of(model, architecture) | dict(tensors or {})).items():
        if tensor is None:
            continue
        numbers = tensor.float().numpy().copy()
        if tensor.dim() == 1:
            writer.add_tensor(name, numbers)
        elif kind == Type.Q4_K:
            writer.add_tensor(name, q4_k(numbers), raw_dtype=kind)
        else:
            writer.add_tensor(name, gguf.quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """One key of the metadata; None is none."""
    kinds = {bool: writer.add_bool, float: writer.add_float32, str: writer.add_string, list: writer.add_array}
    if value is not None:
        kinds.get(type(value), writer.add_uint32)(key, value)


def spoken(vocab_size: int) -> dict[str, Any]:
    """The least tokenizer: SentencePiece with the 256 bytes, and unused pieces up to the size."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256]
    pieces += [f"[unused{n}]" for n in range(vocab_size - len(pieces))]
    told = of_scores(pieces, [0.0] * len(pieces), kinds + [UNUSED] * (len(pieces) - len(kinds)))
    return told | {"tokenizer.ggml.add_space_prefix": False}


def of_scores(pieces: Sequence[str], scores: Sequence[float], kinds: Sequence[int]) -> dict[str, Any]:
    """The metadata of an SPM vocabulary whose first pieces are <unk>, <s> and </s>."""
    told = {
        "model": "llama", "pre": "default", "tokens": list(pieces), "scores": list(scores), "token_type": list(kinds),
        "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0, "add_bos_token": True,
    }  # fmt: skip
    return {f"tokenizer.ggml.{key}": value for key, value in told.items()}
