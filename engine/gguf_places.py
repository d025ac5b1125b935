"""Where each tensor of a GGUF file of a model belongs: its parameter here, and the rows of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from engine.config import ModelConfig


@dataclass(frozen=True)
class Architecture:
    """How files of one architecture are read.

    interleaved: rows of queries and keys lie so that neighbours rotate, and not the halves of a head as here.
    """

    interleaved: bool


ARCHITECTURES = {"llama": Architecture(interleaved=True), "qwen2": Architecture(interleaved=False)}
# Theirs -> ours, of a layer; "qkv" and "gate_up" are parts of a fused matrix.
IN_LAYER = {
    "attn_norm": "attention_norm",
    "attn_q": "attention.qkv",
    "attn_k": "attention.qkv",
    "attn_v": "attention.qkv",
    "attn_output": "attention.out",
    "ffn_norm": "mlp_norm",
    "ffn_gate": "mlp.gate_up",
    "ffn_up": "mlp.gate_up",
    "ffn_down": "mlp.down",
}


@dataclass(frozen=True)
class Place:
    """A tensor of the file, the parameter here and the rows of it that it fills (None: all).

    head_dim: of queries and keys whose rows are interleaved, else 0. optional: zero where the file has none.
    """

    theirs: str
    ours: str
    rows: slice | None = None
    head_dim: int = 0
    optional: bool = False


def gguf_places(architecture: str, config: ModelConfig) -> Iterator[Place]:
    """Every tensor of a file of this architecture and shape."""
    yield Place("token_embd.weight", "embedding.weight")
    yield Place("output_norm.weight", "norm.weight")
    if not config.tie_embeddings:
        yield Place("output.weight", "head.weight")
    q, k, v = config.qkv_rows
    rows = {
        "attn_q": slice(0, q), "attn_k": slice(q, q + k), "attn_v": slice(q + k, q + k + v),
        "ffn_gate": slice(0, config.d_ff), "ffn_up": slice(config.d_ff, 2 * config.d_ff),
    }  # fmt: skip
    interleaved = ARCHITECTURES[architecture].interleaved
    for i in range(config.n_layers):
        for theirs, ours in IN_LAYER.items():
            head_dim = config.head_dim if interleaved and theirs in ("attn_q", "attn_k") else 0
            left, right = f"blk.{i}.{theirs}", f"blocks.{i}.{ours}"
            yield Place(f"{left}.weight", f"{right}.weight", rows.get(theirs), head_dim)
            biased = {"attention": config.attention_bias, "mlp": config.mlp_bias}.get(ours.split(".")[0], False)
            if biased:  # Qwen 2 has none on the output of attention
                optional = theirs == "attn_output"
                yield Place(f"{left}.bias", f"{right}.bias", rows.get(theirs), head_dim, optional)


def apart(rows: Tensor, head_dim: int) -> Tensor:
    """Rows of whole heads in which neighbours rotate -> rows in which the halves of a head do."""
    pairs = rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)


def together(rows: Tensor, head_dim: int) -> Tensor:
    """The other way round: rows as files of the architecture llama have them."""
    halves = rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)
