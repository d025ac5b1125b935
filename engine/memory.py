"""What a model will take of memory, said before it is loaded. Torch-free.

An estimate of what the model itself asks for: the interpreter and torch come on top, and are the same for any model.
"""

from dataclasses import dataclass

from engine.config import ModelConfig

MAPPED = 16 << 20  # bytes of a weight file that stay mapped while a model loads (engine/checkpoint.py)
CHUNK = 512  # positions that one pass of a prefill reads (engine/generate.py)
PIECE = 1024  # bytes that a tokenizer keeps for one of its pieces, as measured on two of them
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes: the weights, the cache of keys and values at a full context, and what is needed beside them at the most.

    work: a pass, or half of the old cache while the new one is filled; and the tokenizer.
    """

    weights: int
    cache: int
    work: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.work


def memory_of(config: ModelConfig, context: int, dtype: str) -> Memory:
    """What a decoder takes with its weights and its cache in `dtype` (a key of BYTES), at `context` positions."""
    size = BYTES[dtype]
    width = 4 * config.d_model + sum(config.qkv_rows) + 3 * config.d_ff  # numbers that a layer holds for a position
    logits = 3 * 4 * config.vocab_size  # float32: the model's, the sampler's, their probabilities
    cache = context * config.kv_bytes_per_token(size)
    chunk = min(CHUNK, context)
    board = chunk * context * config.n_heads * 4  # the scores of one layer
    work = max(MAPPED, chunk * width * size + board + logits, cache // 4) + PIECE * config.vocab_size
    return Memory(config.n_parameters * size, cache, work)
