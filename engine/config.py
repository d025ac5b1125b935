"""`ModelConfig`: one frozen dataclass that describes every decoder here. Torch-free.

Names are the project's; Hugging Face's names live in families.py alone.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin

from engine.errors import CheckpointError

RopeKind = Literal["linear", "dynamic", "yarn", "llama3"]
NormKind = Literal["rms", "layer"]
NormPlace = Literal["before", "after"]  # of a residual branch
Activation = Literal["swiglu", "relu", "gelu", "gelu_tanh"]  # of the feed-forward part; swiglu is gated


@dataclass(frozen=True)
class RopeScaling:
    """How the rotary angles are stretched beyond the trained length.

    linear: every angle divided by factor (Chen 2023). dynamic: the base grows with the length of the sequence
    once it passes max_positions (NTK-aware). yarn: interpolation by wavelength, and attention_factor on the
    cosines and sines (Peng 2023). llama3: interpolation of long wavelengths only (Llama 3.1 report).
    """

    kind: RopeKind
    factor: float
    original_max_positions: int
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0  # llama3
    beta_fast: float = 32.0  # yarn
    beta_slow: float = 1.0  # yarn
    attention_factor: float = 1.0  # yarn
    truncate: bool = True  # yarn: round the correction range to whole dimensions

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise CheckpointError(f"rope scaling: factor must be positive, not {self.factor}.")
        if self.original_max_positions < 1:
            raise CheckpointError(
                f"rope scaling: the original length must be at least 1, not {self.original_max_positions}."
            )
        if self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise CheckpointError("rope scaling llama3: high_freq_factor must be more than low_freq_factor.")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder. Raises CheckpointError that names the field when the shape is impossible."""

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    max_positions: int
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    tie_embeddings: bool = True
    attention_bias: bool = False  # on the query, key, value and output projections
    mlp_bias: bool = False
    norm: NormKind = "rms"
    norm_place: NormPlace = "before"
    activation: Activation = "swiglu"
    bos_id: int | None = 1
    eos_ids: tuple[int, ...] = (2,)

    def __post_init__(self) -> None:
        for name in (
            "vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "max_positions",
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CheckpointError(f"config: {name} must be a whole number of at least 1, not {value!r}.")
        if self.n_heads % self.n_kv_heads:
            raise CheckpointError(
                f"config: {self.n_heads} heads cannot share {self.n_kv_heads} key/value heads evenly."
            )
        if self.head_dim % 2:
            raise CheckpointError(f"config: head_dim must be even for rotary positions, not {self.head_dim}.")
        for name in ("norm_eps", "rope_theta"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise CheckpointError(f"config: {name} must be a positive number, not {value!r}.")
        check_choices(self)
        for name in ("tie_embeddings", "attention_bias", "mlp_bias"):
            if not isinstance(getattr(self, name), bool):
                raise CheckpointError(f"config: {name} must be true or false, not {getattr(self, name)!r}.")
        for name, token in (("bos_id", self.bos_id), *(("eos_ids", e) for e in self.eos_ids)):
            if token is not None and not isinstance(token, int):
                raise CheckpointError(f"config: {name} must be whole numbers, not {token!r}.")
            if token is not None and not 0 <= token < self.vocab_size:
                raise CheckpointError(f"config: {name} {token} is outside the vocabulary of {self.vocab_size} tokens.")

    @property
    def qkv_rows(self) -> tuple[int, int, int]:
        """Rows of the fused projection that belong to queries, keys and values."""
        return self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim, self.n_kv_heads * self.head_dim

    @property
    def n_parameters(self) -> int:
        """Trainable numbers; a tied head is counted once."""
        attention = (sum(self.qkv_rows) + self.n_heads * self.head_dim) * self.d_model
        attention += (sum(self.qkv_rows) + self.d_model) * self.attention_bias
        widened = 2 if self.activation == "swiglu" else 1  # matrices that go up to d_ff
        mlp = (widened + 1) * self.d_model * self.d_ff + (widened * self.d_ff + self.d_model) * self.mlp_bias
        norms = 2 * self.n_layers + (self.norm_place == "before")
        per_norm = self.d_model * (2 if self.norm == "layer" else 1)
        embeddings = self.vocab_size * self.d_model * (1 if self.tie_embeddings else 2)
        return self.n_layers * (attention + mlp) + norms * per_norm + embeddings

    def kv_bytes_per_token(self, bytes_per_number: int) -> int:
        """Bytes that one position takes in the KV cache."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim * bytes_per_number


def check_choices(config: Any) -> None:
    """Raise CheckpointError for a field of a config dataclass with few values that has another."""
    for f in fields(config):
        value = getattr(config, f.name)
        if get_origin(f.type) is Literal and value not in get_args(f.type):
            raise CheckpointError(f"config: {f.name} must be one of {', '.join(get_args(f.type))}, not {value!r}.")
