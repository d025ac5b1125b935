"""What a model will take of memory, said before it is loaded, and a refusal where that is not there. Torch-free.

An estimate of what the model itself asks for, from its config alone: the interpreter and torch come on top, and are the
same for any model.
"""

from dataclasses import dataclass
from typing import Literal

from engine.config import GATED, ModelConfig
from engine.errors import ModelError
from engine.free_memory import free_memory

MAPPED = 16 << 20  # bytes of a weight file that stay mapped while a model loads (engine/checkpoint.py)
CHUNK = 512  # positions that one pass of a prefill reads (engine/generate.py)
PIECE = 1024  # bytes that a tokenizer keeps for one of its pieces, as measured on two of them
SPARE = 256 + CHUNK  # positions that a layer with a window keeps beside it at the most (engine/kv_buffers.py)
BYTES = {"float32": 4, "bfloat16": 2}
KVKind = Literal["auto", "bf16", "int8"]  # the form in which keys and values are kept (engine/kv_buffers.py)
QuantKind = Literal["none", "q8_0", "q4_0"]  # how float weights are quantised as they are read (engine/quantising.py)
KV_KINDS: tuple[KVKind, ...] = ("auto", "bf16", "int8")
QUANTS: tuple[QuantKind, ...] = ("none", "q8_0", "q4_0")
# Bytes of a number that layers/quantised.py keeps in 4 bits: with a share of a scale and an offset in bfloat16 for
# each 32. One of 8 bits takes two.
QUANTISED = 0.5 + 2 * 2 / 32
TILE = 64  # rows of a matrix are filled up to a multiple of this, at the most


@dataclass(frozen=True)
class Memory:
    """Bytes: the weights, the cache of keys and values at a full context, and what is needed beside them at the most.

    work: a pass, or a piece of a weight file; and the tokenizer.
    """

    weights: int
    cache: int
    work: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.work


def memory_of(config: ModelConfig, context: int, dtype: str, kv: KVKind = "auto", weights: int | None = None) -> Memory:
    """What a decoder takes at `context` positions when it computes in `dtype` (a key of BYTES) and caches in `kv`.

    weights: bytes that they take; in `dtype` if not given.
    """
    size, chunk = BYTES[dtype], min(CHUNK, context)
    width = 4 * config.d_model + sum(config.qkv_rows) + 3 * config.d_ff  # numbers that a layer holds for a position
    logits = 3 * 4 * config.vocab_size  # float32: the model's, the sampler's, their probabilities
    # The mask, as truth values and as numbers; scores of their own, where torch's fused kernel does not compute them.
    plane = 5 if config.score == "scaled_dot" and config.score_cap is None else 5 + 8 * config.n_heads
    if config.positions == "alibi":
        plane += 4 * config.n_heads
    layer = context * config.kv_bytes_per_token(size) // config.n_layers  # as it is read, or while its buffers grow
    work = max(MAPPED, chunk * width * size + chunk * context * plane + logits + layer) + PIECE * config.vocab_size
    weights = config.n_parameters * size if weights is None else weights
    return Memory(weights, cache_bytes(config, context, dtype, kv), work)


def cache_bytes(config: ModelConfig, context: int, dtype: str, kv: KVKind = "auto") -> int:
    """What the cache takes at `context` positions of one text, of which layers with a window keep the last ones."""
    windows = (config.layer(index).window for index in range(config.n_layers))
    rows = sum(context if window is None else min(context, window - 1 + SPARE) for window in windows)
    numbers = config.head_dim + config.value_dim
    size = BYTES[dtype]
    head = {"auto": numbers * size, "bf16": numbers * 2, "int8": numbers + 2 * size}[kv]  # int8: with two scales
    return rows * config.n_kv_heads * head


def quantised_bytes(config: ModelConfig, quant: QuantKind) -> int:
    """What the weights take when their matrices are quantised as they are read, and the rest is in bfloat16.

    The matrix that is the head keeps 8 bits with q4_0, too, as it does in files of llama.cpp.
    """
    widened = 2 if config.activation in GATED else 1
    e = config.experts
    n_sparse = 0 if e is None else config.n_layers - len(set(e.dense_layers))
    # Widths of feed-forward parts, and in how many layers.
    inner = [(config.d_ff, config.n_layers - n_sparse), (e.d_shared if e else 0, n_sparse)]
    shapes = [(sum(config.qkv_rows), config.d_model), (config.d_model, config.n_heads * config.value_dim)]
    saved = config.n_layers * sum(_saved(rows, width, quant) for rows, width in shapes)
    for d, count in inner:
        saved += count * (_saved(widened * d, config.d_model, quant) + _saved(config.d_model, d, quant))
    saved += _saved(config.vocab_size, config.d_model, "q8_0")
    if not config.tie_embeddings:
        saved += _saved(config.vocab_size, config.d_model, quant)
    return 2 * config.n_parameters - saved


def _saved(rows: int, width: int, quant: QuantKind) -> int:
    """Bytes that a matrix takes less than in bfloat16; one whose rows are not made of whole groups stays."""
    if width % 32:
        return 0
    tiles = -(-rows // TILE) * TILE
    return 2 * rows * width - int(tiles * width * QUANTISED * (1 if quant == "q4_0" else 2))


def refuse_too_large(needed: Memory, context: int, hint: str) -> None:
    """Raise ModelError with the numbers when this machine has not as much memory to give as a model needs."""
    free = free_memory()
    if free is None or needed.total <= free:
        return
    sizes = (needed.weights, needed.cache, needed.work, needed.total, free)
    weights, cache, work, total, there = (
        f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" for size in sizes
    )
    raise ModelError(
        f"The model needs {total} of memory ({weights} weights, {cache} cache at {context:,} positions, {work} work), "
        f"and {there} can be had.", hint,
    )  # fmt: skip
