"""Weights by formula: the goldens of tests/goldens hold no weights, only what transformers computed from these.

The stream of numpy's PCG64 is guaranteed never to change, so the numbers are the same on every machine.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of this HF name: uniform numbers, of variance 1 / fan-in for matrices, around 1 for norms."""
    count = int(np.prod(shape))
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(count)
    uniform = ((raw >> np.uint64(11)).astype(np.float64) / 2**53 - 0.5) * np.sqrt(12)  # mean 0, variance 1
    if name.endswith(".weight") and len(shape) == 1:  # of a norm
        values = 1 + 0.2 * uniform
    elif name.endswith(".bias"):
        values = 0.3 * uniform
    elif "embed" in name or "lm_head" in name:
        values = 0.5 * uniform
    else:
        values = 1.5 * uniform / np.sqrt(shape[-1])
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of a LlamaForCausalLM with this config.json, written out by hand."""
    c, v, f = config["hidden_size"], config["vocab_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    dim = config.get("head_dim") or c // heads
    result: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (v, c), "model.norm.weight": (c,)}
    if not config.get("tie_word_embeddings", False):
        result["lm_head.weight"] = (v, c)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        result[f"{layer}.input_layernorm.weight"] = (c,)
        result[f"{layer}.post_attention_layernorm.weight"] = (c,)
        attention = {"q": (heads * dim, c), "k": (groups * dim, c), "v": (groups * dim, c), "o": (c, heads * dim)}
        for part, shape in attention.items():
            result[f"{layer}.self_attn.{part}_proj.weight"] = shape
            if config.get("attention_bias"):
                result[f"{layer}.self_attn.{part}_proj.bias"] = shape[:1]
        for part, shape in {"gate": (f, c), "up": (f, c), "down": (c, f)}.items():
            result[f"{layer}.mlp.{part}_proj.weight"] = shape
            if config.get("mlp_bias"):
                result[f"{layer}.mlp.{part}_proj.bias"] = shape[:1]
    return result


def tensors(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """All weights of a LlamaForCausalLM with this config.json."""
    return {name: tensor(name, shape) for name, shape in shapes(config).items()}
