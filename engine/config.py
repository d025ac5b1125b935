"""`ModelConfig`: one frozen dataclass that describes every decoder here. Torch-free.

Names are the project's; Hugging Face's names live in family_rows.py and beside it.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin

from engine.errors import CheckpointError

RopeKind = Literal["linear", "dynamic", "yarn", "llama3", "longrope"]
NormKind = Literal["rms", "layer"]
DecoderNorm = Literal["rms", "layer", "rms_plus_one"]  # the last: its weights are stored less 1 (Gemma)
NormPlace = Literal["before", "after"]  # of a residual branch
BranchNorms = Literal["before", "after", "output", "both"]  # output: of what the branch adds; both: before and output
QKNorm = Literal["none", "head", "width"]  # of each head, or of all heads of a position at once
ScoreKind = Literal["scaled_dot", "dot", "bilinear", "additive", "cosine", "scaled_cosine"]  # layers/scores.py
PositionKind = Literal["rope", "sinusoidal", "learned", "alibi", "none"]
Activation = Literal["swiglu", "geglu_tanh", "relu", "gelu", "gelu_tanh", "silu"]  # of the feed-forward part
GATED = ("swiglu", "geglu_tanh")  # activations with a second matrix, whose product they multiply


@dataclass(frozen=True)
class RopeScaling:
    """How the rotary angles are stretched beyond the trained length.

    linear: every angle divided by factor (Chen 2023). dynamic: the base grows with the length of the sequence
    once it passes max_positions (NTK-aware). yarn: interpolation by wavelength, and attention_factor on the
    cosines and sines (Peng 2023). llama3: interpolation of long wavelengths only (Llama 3.1 report). longrope: each
    angle is divided by a factor of its own, another one once the text is longer than the original length (Ding 2024).
    """

    kind: RopeKind
    factor: float
    original_max_positions: int
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0  # llama3
    beta_fast: float = 32.0  # yarn
    beta_slow: float = 1.0  # yarn
    attention_factor: float = 1.0  # yarn, longrope
    truncate: bool = True  # yarn: round the correction range to whole dimensions
    short_factors: tuple[float, ...] = ()  # longrope: for texts within the original length
    long_factors: tuple[float, ...] = ()  # longrope: for longer ones

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise CheckpointError(f"rope scaling: factor must be positive, not {self.factor}.")
        if self.original_max_positions < 1:
            raise CheckpointError(
                f"rope scaling: the original length must be at least 1, not {self.original_max_positions}."
            )
        if self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise CheckpointError("rope scaling llama3: high_freq_factor must be more than low_freq_factor.")
        if self.kind == "longrope" and not all(f > 0 for f in (*self.short_factors, *self.long_factors)):
            raise CheckpointError("rope scaling longrope: every factor must be positive.")

    def is_long(self, length: int) -> bool:
        """Whether a text of `length` positions has the long factors, if there are two kinds."""
        return self.kind == "longrope" and length > self.original_max_positions


@dataclass(frozen=True)
class ExpertsConfig:
    """A feed-forward part of several experts, of which each token takes a few. See engine/layers/experts.py.

    Raises CheckpointError that names the field when the shape is impossible.
    """

    n_experts: int
    d_expert: int  # inner width of each
    n_chosen: int = 1  # experts that a token takes
    renormalise: bool = False  # make the weights of the chosen sum to 1; of one alone, its router then learns nothing
    d_shared: int = 0  # inner width of what every token takes beside: several shared experts are one as wide as all
    shared_gate: bool = False  # whether the shared part is weighted by a sigmoid of the token
    dense_layers: tuple[int, ...] = ()  # layers that have no experts, but one feed-forward part of d_ff
    capacity: float | None = None  # in training: tokens that an expert takes at most, in even shares; None: all
    balance: float = 0.01  # what the load-balancing loss is multiplied with (Fedus 2021)
    router_z: float = 0.001  # what the router's z-loss is multiplied with (Zoph 2022)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dense_layers", tuple(self.dense_layers))  # JSON and TOML know lists only
        for name, least in (("n_experts", 1), ("d_expert", 1), ("n_chosen", 1), ("d_shared", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise CheckpointError(f"experts: {name} must be a whole number of at least {least}, not {value!r}.")
        if self.n_chosen > self.n_experts:
            raise CheckpointError(f"experts: {self.n_chosen} cannot be chosen of {self.n_experts}.")
        for name in ("renormalise", "shared_gate"):
            if not isinstance(getattr(self, name), bool):
                raise CheckpointError(f"experts: {name} must be true or false, not {getattr(self, name)!r}.")
        if self.shared_gate and not self.d_shared:
            raise CheckpointError("experts: shared_gate needs a shared part; d_shared is 0.")
        for layer in self.dense_layers:
            if not isinstance(layer, int) or isinstance(layer, bool) or layer < 0:
                raise CheckpointError(f"experts: dense_layers must be numbers of layers, not {layer!r}.")
        if self.capacity is not None and not (isinstance(self.capacity, int | float) and self.capacity > 0):
            raise CheckpointError(f"experts: capacity must be more than 0, not {self.capacity!r}.")
        for name in ("balance", "router_z"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise CheckpointError(f"experts: {name} must be at least 0, not {value!r}.")


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
    qkv_bias: bool = False  # on the query, key and value projections alone
    mlp_bias: bool = False
    norm: DecoderNorm = "rms"
    norm_place: BranchNorms = "before"
    qk_norm: QKNorm = "none"  # of queries and keys, before they are rotated
    parallel: bool = False  # attention and feed-forward read the same input, and both are added to it
    activation: Activation = "swiglu"
    score: ScoreKind = "scaled_dot"
    score_dim: float | None = None  # scaled_dot divides by the root of this; None: of head_dim
    score_cap: float | None = None  # scores s become cap · tanh(s / cap), before the mask
    logit_cap: float | None = None  # the same of logits
    positions: PositionKind = "rope"
    rotary_dim: int | None = None  # so many numbers of a head rotate, its first; None: all
    no_rope_layers: tuple[int, ...] = ()  # layers in which nothing rotates
    window: int | None = None  # a position sees itself and window - 1 before it; None: all before it
    full_layers: tuple[int, ...] = ()  # layers that see everything although there is a window
    window_rope_theta: float | None = None  # of layers with a window, which then have no rope_scaling
    scale_embedding: bool = False  # times the root of d_model, rounded to the dtype
    embedding_norm: bool = False  # a norm before the first block
    value_rank: int | None = None  # numbers in a head's value where they are not head_dim
    experts: ExpertsConfig | None = None  # in place of the feed-forward part
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
        if self.head_dim % 2 and self.positions == "rope":
            raise CheckpointError(f"config: head_dim must be even for rotary positions, not {self.head_dim}.")
        if self.rope_scaling is not None and self.positions != "rope":
            raise CheckpointError(f"config: rope_scaling is for rotary positions, not for {self.positions!r}.")
        for name in ("value_rank", "window", "rotary_dim"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise CheckpointError(f"config: {name} must be a whole number of at least 1, not {value!r}.")
        for name in ("norm_eps", "rope_theta", "score_dim", "score_cap", "logit_cap", "window_rope_theta"):
            value = getattr(self, name)
            is_off = value is None and name not in ("norm_eps", "rope_theta")
            if not is_off and (not isinstance(value, int | float) or not value > 0):
                raise CheckpointError(f"config: {name} must be a positive number, not {value!r}.")
        check_choices(self)
        for name in (
            "tie_embeddings", "attention_bias", "qkv_bias", "mlp_bias", "parallel", "scale_embedding", "embedding_norm",
        ):  # fmt: skip
            if not isinstance(getattr(self, name), bool):
                raise CheckpointError(f"config: {name} must be true or false, not {getattr(self, name)!r}.")
        self._check_attention()
        if self.experts is not None and not isinstance(self.experts, ExpertsConfig):
            raise CheckpointError(f"config: experts must be a table of their own, not {self.experts!r}.")
        if self.experts is not None and self.mlp_bias:
            raise CheckpointError("config: experts have no biases; mlp_bias must be false.")
        if self.experts is not None and max(self.experts.dense_layers, default=0) >= self.n_layers:
            raise CheckpointError(f"experts: dense_layers name a layer beyond the {self.n_layers} that there are.")
        for name, token in (("bos_id", self.bos_id), *(("eos_ids", e) for e in self.eos_ids)):
            if token is not None and not isinstance(token, int):
                raise CheckpointError(f"config: {name} must be whole numbers, not {token!r}.")
            if token is not None and not 0 <= token < self.vocab_size:
                raise CheckpointError(f"config: {name} {token} is outside the vocabulary of {self.vocab_size} tokens.")

    def _check_attention(self) -> None:
        """What positions, windows and scores ask of each other."""
        for name in ("no_rope_layers", "full_layers"):
            layers = tuple(getattr(self, name))  # JSON and TOML know lists only
            object.__setattr__(self, name, layers)
            if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < self.n_layers for i in layers):
                raise CheckpointError(f"config: {name} must be numbers of layers below {self.n_layers}, not {layers}.")
        rotates = self.positions == "rope"
        if not rotates and (self.no_rope_layers or self.rotary_dim or self.window_rope_theta):
            raise CheckpointError(
                f"config: no_rope_layers, rotary_dim and window_rope_theta are for rotary positions, "
                f"not for {self.positions!r}."
            )
        if rotates and (self.turned % 2 or self.turned > self.head_dim):
            raise CheckpointError(f"config: rotary_dim must be even and at most {self.head_dim}, not {self.turned}.")
        scaling = self.rope_scaling
        if scaling is not None and scaling.kind == "longrope":
            counts = len(scaling.short_factors), len(scaling.long_factors)
            if counts != (self.turned // 2, self.turned // 2):
                raise CheckpointError(
                    f"rope scaling longrope: {self.turned // 2} angles need as many short and long factors, "
                    f"not {counts[0]} and {counts[1]}."
                )
        if self.window is None and (self.full_layers or self.window_rope_theta):
            raise CheckpointError("config: full_layers and window_rope_theta mean nothing without a window.")
        if self.score != "scaled_dot" and (self.score_dim or self.score_cap):
            raise CheckpointError(f"config: score_dim and score_cap are for scaled_dot, not for {self.score!r}.")
        if self.parallel and self.norm_place != "before":
            raise CheckpointError(f"config: parallel branches have a norm before, not {self.norm_place!r}.")
        if self.attention_bias and self.qkv_bias:
            raise CheckpointError("config: attention_bias has qkv_bias in it; one of them must be false.")

    @property
    def turned(self) -> int:
        """Numbers of each head that rotate."""
        return self.rotary_dim or self.head_dim

    @property
    def value_dim(self) -> int:
        """Numbers in one head's value.

        A head's map of values is down to this many and up again to d_model by its columns of the output projection:
        one d_model x d_model matrix of this rank for each head.
        """
        return self.value_rank or self.head_dim

    @property
    def qkv_rows(self) -> tuple[int, int, int]:
        """Rows of the fused projection that belong to queries, keys and values."""
        return self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim, self.n_kv_heads * self.value_dim

    def layer(self, index: int) -> "ModelConfig":
        """What one layer is made from: without experts, a window or rotation where it has none.

        Of the result, the fields that tell layers apart (full_layers, no_rope_layers, window_rope_theta) say nothing.
        """
        changes: dict[str, Any] = {}
        if self.experts is not None and index in self.experts.dense_layers:
            changes["experts"] = None
        if self.window is not None:
            has_window = index not in self.full_layers
            changes |= {"window": self.window if has_window else None, "full_layers": (), "window_rope_theta": None}
            if has_window and self.window_rope_theta is not None:
                changes |= {"rope_theta": self.window_rope_theta, "rope_scaling": None}
        if self.no_rope_layers:
            changes["no_rope_layers"] = ()
            if index in self.no_rope_layers:
                changes |= {"positions": "none", "rope_scaling": None, "rotary_dim": None}
        return replace(self, **changes) if changes else self

    @property
    def n_parameters(self) -> int:
        """Trainable numbers; a tied head is counted once."""
        return self._count(0 if self.experts is None else self.experts.n_experts)

    @property
    def n_active_parameters(self) -> int:
        """Those that one token passes through: all but the experts that it does not take."""
        return self._count(0 if self.experts is None else self.experts.n_chosen)

    def _count(self, n_experts: int) -> int:
        """Trainable numbers with so many experts of each layer counted."""
        attention = (sum(self.qkv_rows) + self.n_heads * self.value_dim) * self.d_model
        per_score = {"bilinear": self.head_dim**2, "additive": self.head_dim * (2 * self.head_dim + 1)}
        attention += self.n_heads * per_score.get(self.score, int(self.score == "scaled_cosine"))
        attention += sum(self.qkv_rows) * (self.attention_bias or self.qkv_bias) + self.d_model * self.attention_bias
        per_number = 2 if self.norm == "layer" else 1  # a weight, and perhaps a bias
        normed = {"none": 0, "head": 2 * self.head_dim, "width": sum(self.qkv_rows[:2])}
        attention += per_number * normed[self.qk_norm]
        widened = 2 if self.activation in GATED else 1  # matrices that go up to d_ff
        mlp = (widened + 1) * self.d_model * self.d_ff + (widened * self.d_ff + self.d_model) * self.mlp_bias
        norms = (4 if self.norm_place == "both" else 2) * self.n_layers
        norms += (self.norm_place != "after") + self.embedding_norm
        embeddings = self.vocab_size * self.d_model * (1 if self.tie_embeddings else 2)
        embeddings += self.max_positions * self.d_model * (self.positions == "learned")
        if self.experts is not None:
            e, n_sparse = self.experts, self.n_layers - len(set(self.experts.dense_layers))
            widths = n_experts * e.d_expert + e.d_shared
            sparse = ((widened + 1) * widths + e.n_experts + e.shared_gate) * self.d_model  # with the router
            embeddings += n_sparse * (sparse - mlp)
        return self.n_layers * (attention + mlp) + norms * per_number * self.d_model + embeddings

    def kv_bytes_per_token(self, bytes_per_number: int) -> int:
        """Bytes that one position takes in the KV cache."""
        return self.n_layers * self.n_kv_heads * (self.head_dim + self.value_dim) * bytes_per_number


def check_choices(config: Any) -> None:
    """Raise CheckpointError for a field of a config dataclass with few values that has another."""
    for f in fields(config):
        value = getattr(config, f.name)
        if get_origin(f.type) is Literal and value not in get_args(f.type):
            raise CheckpointError(f"config: {f.name} must be one of {', '.join(get_args(f.type))}, not {value!r}.")
