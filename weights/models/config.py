"""The shapes of the models beside the decoder: frozen dataclasses that validate themselves. Torch-free."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from engine.config import Activation, ExpertsConfig, ModelConfig, NormKind, NormPlace, check_choices
from engine.errors import CheckpointError

PositionKind = Literal["sinusoidal", "sinusoidal_halves", "rope", "learned", "relative"]
EmbeddingScale = Literal["all", "tokens", "none"]
EncoderPositions = Literal["rope", "learned"]
AttentionKind = Literal["none", "additive", "dot"]
T = TypeVar("T")


@dataclass(frozen=True)
class Seq2SeqConfig:
    """An encoder-decoder transformer. Raises CheckpointError that names the field when the shape is impossible."""

    vocab_size: int
    d_model: int
    n_encoder_layers: int
    n_decoder_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    max_positions: int = 256  # of the source, and of the target
    positions: PositionKind = "rope"  # the decoder's begin at 0, whatever the source's length
    norm: NormKind = "rms"
    norm_place: NormPlace = "before"
    activation: Activation = "swiglu"
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    n_buckets: int = 32  # relative
    max_distance: int = 128  # relative
    tie_embeddings: bool = True  # head and embedding; source and target always share one
    attention_bias: bool = False
    mlp_bias: bool = False
    score: Literal["scaled_dot", "dot"] = "scaled_dot"  # T5 has no 1 / √D
    embedding_scale: EmbeddingScale = "all"  # what √C multiplies: tokens and learned positions, or tokens alone
    embedding_norm: bool = False  # a norm before the first block of each side (BART)
    head_scale: bool = False  # 1 / √C before the head (T5, where it is tied)
    head_bias: bool = False  # a number that is added to each logit (BART, Marian)
    experts: ExpertsConfig | None = None  # in place of the feed-forward parts of both sides
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = 3

    def __post_init__(self) -> None:
        check_choices(self)
        check_controls(self)
        for name in ("embedding_norm", "head_scale", "head_bias"):
            if not isinstance(getattr(self, name), bool):
                raise CheckpointError(f"config: {name} must be true or false, not {getattr(self, name)!r}.")
        for side in (self.n_encoder_layers, self.n_decoder_layers):
            self.layers(side)
        for name, least in (("n_buckets", 4), ("max_distance", 2)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise CheckpointError(f"config: {name} must be at least {least}, not {getattr(self, name)!r}.")
        if self.max_distance <= self.n_buckets // 2:
            raise CheckpointError("config: max_distance must be more than half of n_buckets.")

    def layers(self, n_layers: int) -> ModelConfig:
        """What one side's layers and its cache are made from."""
        experts = self.experts
        if experts is not None:
            experts = replace(experts, dense_layers=tuple(i for i in experts.dense_layers if i < n_layers))
        return ModelConfig(
            vocab_size=self.vocab_size, d_model=self.d_model, n_layers=n_layers, n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads, head_dim=self.head_dim, d_ff=self.d_ff, max_positions=self.max_positions,
            norm=self.norm, norm_place=self.norm_place, activation=self.activation, norm_eps=self.norm_eps,
            rope_theta=self.rope_theta, tie_embeddings=self.tie_embeddings, attention_bias=self.attention_bias,
            mlp_bias=self.mlp_bias, score=self.score, experts=experts,
            bos_id=self.bos_id, eos_ids=(self.eos_id, self.pad_id),
        )  # fmt: skip


@dataclass(frozen=True)
class LSTMConfig:
    """An encoder-decoder of LSTMs. Raises CheckpointError that names the field when the shape is impossible."""

    vocab_size: int
    d_model: int  # of the embedding and of the hidden state
    n_layers: int  # of each side
    attention: AttentionKind = "dot"
    max_positions: int = 256
    tie_embeddings: bool = True
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = 3

    def __post_init__(self) -> None:
        check_choices(self)
        check_controls(self)
        for name in ("vocab_size", "d_model", "n_layers", "max_positions"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CheckpointError(f"config: {name} must be a whole number of at least 1, not {value!r}.")
        if self.d_model % 2:
            raise CheckpointError(f"config: d_model must be even, half for each direction, not {self.d_model}.")


TranslatorConfig = Seq2SeqConfig | LSTMConfig
ARCHITECTURES: dict[str, type[Seq2SeqConfig] | type[LSTMConfig]] = {
    "TfmSeq2Seq": Seq2SeqConfig, "TfmLSTM": LSTMConfig,
}  # fmt: skip


@dataclass(frozen=True)
class EncoderConfig:
    """An encoder with a masked-LM head. Raises CheckpointError that names the field when the shape is impossible.

    The defaults are those of the model that ships. BERT's are norms after and of layers, gelu, biases, learned
    positions, two token types, a norm of the embedding, and a bias of the head.
    """

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    max_positions: int = 256
    positions: EncoderPositions = "rope"
    norm: NormKind = "rms"
    norm_place: NormPlace = "before"
    activation: Activation = "swiglu"
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    bias: bool = False  # on every projection of the blocks
    n_types: int = 0  # token types (BERT's segments); 0 is none
    embedding_norm: bool = False
    head_transform: bool = True  # a matrix, an activation and a norm between the blocks and the vocabulary
    head_bias: bool = False  # on the transform's matrix and on the logits
    tie_embeddings: bool = True
    experts: ExpertsConfig | None = None  # in place of the feed-forward part
    cls_id: int = 1  # begins a text
    sep_id: int = 2  # ends a text
    pad_id: int = 3
    mask_id: int = 4

    def __post_init__(self) -> None:
        check_choices(self)
        check_controls(self)
        self.layers()
        for name in ("bias", "embedding_norm", "head_transform", "head_bias", "tie_embeddings"):
            if not isinstance(getattr(self, name), bool):
                raise CheckpointError(f"config: {name} must be true or false, not {getattr(self, name)!r}.")
        if not isinstance(self.n_types, int) or self.n_types < 0:
            raise CheckpointError(f"config: n_types must be a whole number of at least 0, not {self.n_types!r}.")

    def layers(self) -> ModelConfig:
        """What the layers are made from."""
        return ModelConfig(
            vocab_size=self.vocab_size, d_model=self.d_model, n_layers=self.n_layers, n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads, head_dim=self.head_dim, d_ff=self.d_ff, max_positions=self.max_positions,
            norm=self.norm, norm_place=self.norm_place, activation=self.activation, norm_eps=self.norm_eps,
            rope_theta=self.rope_theta, tie_embeddings=self.tie_embeddings, attention_bias=self.bias,
            mlp_bias=self.bias, experts=self.experts, bos_id=None, eos_ids=(),
        )  # fmt: skip


def check_controls(config: Any) -> None:
    """Raise CheckpointError for control ids that are no ids."""
    for f in fields(config):
        value = getattr(config, f.name)
        if f.name.endswith("_id") and not (isinstance(value, int) and 0 <= value < config.vocab_size):
            raise CheckpointError(f"config: {f.name} {value!r} is no token of a vocabulary of {config.vocab_size}.")


def config_from(kind: type[T], raw: dict[str, Any]) -> T:
    """A config from the keys of a config.json. Raises CheckpointError that names an unknown or missing key."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if strange := sorted(set(raw) - known):
        raise CheckpointError(f"config.json: the key {strange[0]!r} is not known.")
    if isinstance(raw.get("experts"), dict):
        raw = raw | {"experts": config_from(ExpertsConfig, raw["experts"])}
    try:
        return kind(**raw)
    except TypeError as e:
        raise CheckpointError(f"config.json: {str(e).split('() ')[-1]}.") from e
