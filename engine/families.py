"""The table from an HF `architectures` entry to a ModelConfig and to tensor names. A new family is a row.

Hugging Face's names live here and in checkpoint.py alone. A config key that is neither read, nor checked, nor known
to be harmless is an error that names it: an unknown key may change the result.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from engine.config import ExpertsConfig, ModelConfig, RopeScaling
from engine.errors import CheckpointError

# Keys that describe the file, its training or another program's habits, and change no logit.
HARMLESS = frozenset({
    "_name_or_path", "_attn_implementation", "_attn_implementation_autoset", "architectures", "attention_dropout",
    "auto_map", "bos_token_id", "dtype", "eos_token_id", "hidden_dropout", "initializer_range", "is_llama_config",
    "max_length", "model_type", "pad_token_id", "problem_type", "return_dict", "torch_dtype", "transformers_version",
    "unk_token_id", "use_cache", "use_return_dict", "output_attentions", "output_hidden_states", "id2label",
    "label2id", "tokenizer_class", "task_specific_params", "finetuning_task", "chunk_size_feed_forward",
    "rope_interleaved", "rope_scaling", "rope_parameters", "rope_theta", "head_dim", "output_router_logits",
    "router_jitter_noise",
})  # fmt: skip

TOLD_APART = ("head_dim", "rope_theta", "rope_scaling", "experts", "bos_id", "eos_ids")  # fields that no one key is


@dataclass(frozen=True)
class TensorRule:
    """One HF tensor and the rows of ours that it is; part indexes the rows of a fused matrix.

    `{i}` is the layer, `{e}` the expert, whose matrix is one of those that ours holds.
    """

    theirs: str
    ours: str
    part: tuple[str, int] | None = None  # ("qkv", 0) is the first part of the rows in ModelConfig.qkv_rows
    of: Literal["any", "dense", "experts", "shared", "shared_gate"] = "any"  # feed-forward parts that have it


@dataclass(frozen=True)
class Placement:
    """A concrete tensor: HF's name, ours, and the rows of ours that it fills (None: all of them).

    skip: rows of HF's that are left out, from the first.
    """

    theirs: str
    ours: str
    rows: slice | tuple[int, slice] | None  # with the number of an expert before them
    skip: int = 0


@dataclass(frozen=True)
class Family:
    """How one HF architecture is read and written."""

    architecture: str
    model_type: str
    fields: Mapping[str, str]  # HF key -> ModelConfig field
    required: Mapping[str, tuple[Any, ...]]  # HF key -> the values that the engine computes
    tensors: tuple[TensorRule, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)  # what HF assumes when its config does not say
    experts: Mapping[str, str] = field(default_factory=dict)  # HF key -> ExpertsConfig field, where keys tell of them


def _layer(theirs: str, ours: str, part: tuple[str, int] | None = None, of: Any = "any") -> tuple[TensorRule, ...]:
    """The weight and the bias of one projection of a layer."""
    left, right = f"model.layers.{{i}}.{theirs}", f"blocks.{{i}}.{ours}"
    return tuple(TensorRule(f"{left}.{kind}", f"{right}.{kind}", part, of) for kind in ("weight", "bias"))


def _in_mlp(theirs: str, ours: str, of: Any) -> TensorRule:
    return TensorRule(f"model.layers.{{i}}.mlp.{theirs}.weight", f"blocks.{{i}}.mlp.{ours}.weight", None, of)


BESIDE_MLP = (
    TensorRule("model.embed_tokens.weight", "embedding.weight"),
    TensorRule("model.norm.weight", "norm.weight"),
    TensorRule("lm_head.weight", "head.weight"),
    TensorRule("model.layers.{i}.input_layernorm.weight", "blocks.{i}.attention_norm.weight"),
    TensorRule("model.layers.{i}.post_attention_layernorm.weight", "blocks.{i}.mlp_norm.weight"),
    *_layer("self_attn.q_proj", "attention.qkv", ("qkv", 0)),
    *_layer("self_attn.k_proj", "attention.qkv", ("qkv", 1)),
    *_layer("self_attn.v_proj", "attention.qkv", ("qkv", 2)),
    *_layer("self_attn.o_proj", "attention.out"),
)
DENSE_MLP = (
    *_layer("mlp.gate_proj", "mlp.gate_up", ("gate_up", 0), "dense"),
    *_layer("mlp.up_proj", "mlp.gate_up", ("gate_up", 1), "dense"),
    *_layer("mlp.down_proj", "mlp.down", None, "dense"),
)


LLAMA = Family(
    architecture="LlamaForCausalLM",
    model_type="llama",
    fields={
        "vocab_size": "vocab_size",
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "intermediate_size": "d_ff",
        "max_position_embeddings": "max_positions",
        "rms_norm_eps": "norm_eps",
        "tie_word_embeddings": "tie_embeddings",
        "attention_bias": "attention_bias",
        "mlp_bias": "mlp_bias",
    },
    required={"hidden_act": ("silu", "swish"), "pretraining_tp": (1, None)},
    tensors=(*BESIDE_MLP, *DENSE_MLP),
    defaults={
        "rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "tie_word_embeddings": False,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    },
)  # fmt: skip
EXPERT = "model.layers.{i}.block_sparse_moe.experts.{e}"
MIXTRAL = Family(
    architecture="MixtralForCausalLM",
    model_type="mixtral",
    fields={k: v for k, v in LLAMA.fields.items() if k not in ("attention_bias", "mlp_bias")},
    required={"hidden_act": ("silu", "swish"), "sliding_window": (None,)},
    tensors=(
        *BESIDE_MLP,
        TensorRule("model.layers.{i}.block_sparse_moe.gate.weight", "blocks.{i}.mlp.router.weight"),
        TensorRule(f"{EXPERT}.w1.weight", "blocks.{i}.mlp.up.weight", ("expert", 0)),
        TensorRule(f"{EXPERT}.w3.weight", "blocks.{i}.mlp.up.weight", ("expert", 1)),
        TensorRule(f"{EXPERT}.w2.weight", "blocks.{i}.mlp.down.weight"),
    ),
    defaults={
        **LLAMA.defaults,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 131072, "num_key_value_heads": 8, "rope_theta": 1e6,
        "num_local_experts": 8, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.001,
    },
    experts={
        "num_local_experts": "n_experts", "num_experts_per_tok": "n_chosen", "intermediate_size": "d_expert",
        "router_aux_loss_coef": "balance",
    },
)  # fmt: skip
# What Mixtral has no words for: its key "experts" is an ExpertsConfig, and experts lie in one tensor as they do here.
TFM_EXPERTS = Family(
    architecture="TfmExpertsForCausalLM",
    model_type="tfm_experts",
    fields={**LLAMA.fields, "experts": "experts"},
    required=LLAMA.required,
    tensors=(
        *BESIDE_MLP,
        *DENSE_MLP,
        _in_mlp("router", "router", "experts"),
        _in_mlp("experts.gate_up", "up", "experts"),
        _in_mlp("experts.down", "down", "experts"),
        _in_mlp("shared.gate_up", "shared.gate_up", "shared"),
        _in_mlp("shared.down", "shared.down", "shared"),
        _in_mlp("shared_gate", "shared_gate", "shared_gate"),
    ),
    defaults=LLAMA.defaults,
)
FAMILIES: dict[str, Family] = {f.architecture: f for f in (LLAMA, MIXTRAL, TFM_EXPERTS)}


def _family_for(config: ModelConfig) -> Family:
    """The family that a model is written as."""
    experts = config.experts
    if experts is None:
        return LLAMA
    is_mixtral = experts.renormalise and not (experts.d_shared or experts.dense_layers or config.attention_bias)
    return MIXTRAL if is_mixtral else TFM_EXPERTS


def family_of(config: Mapping[str, Any]) -> Family:
    """The family that a config.json names. Raises CheckpointError for one that the engine does not run."""
    names = config.get("architectures") or []
    names = [str(name) for name in (names if isinstance(names, list) else [names])]
    for name in names:
        if name in FAMILIES:
            return FAMILIES[name]
    raise CheckpointError(
        f"config.json: the architecture {', '.join(names) or 'is not named and'} cannot be run.",
        f"The engine runs {', '.join(FAMILIES)}.",
    )


def read_config(raw: Mapping[str, Any]) -> ModelConfig:
    """A ModelConfig from the contents of a config.json.

    Raises CheckpointError for a missing or impossible value, and for a key that would change the result.
    """
    family = family_of(raw)
    known = set(family.fields) | set(family.required) | set(family.experts) | HARMLESS
    for key, value in raw.items():
        if key not in known and value is not None:
            raise CheckpointError(f"config.json: {key} = {value!r} is not supported and may change the result.")
        if key in family.required and value not in family.required[key]:
            raise CheckpointError(f"config.json: {key} = {value!r} is not supported; {family.required[key][0]!r} is.")
    values: dict[str, Any] = {}
    for theirs, ours in family.fields.items():
        value = raw.get(theirs)
        if value is None:
            value = family.defaults.get(theirs)
        if value is None and theirs == "num_key_value_heads":
            value = raw.get("num_attention_heads")  # HF: as many as query heads
        if value is None:
            raise CheckpointError(f"config.json: {theirs} is missing.")
        values[ours] = value
    for theirs in ("hidden_size", "num_attention_heads"):  # divided below, before ModelConfig looks at them
        if not isinstance(raw[theirs], int) or raw[theirs] < 1:
            raise CheckpointError(f"config.json: {theirs} must be a whole number of at least 1, not {raw[theirs]!r}.")
    try:
        heads = values["n_heads"]
        values["head_dim"] = raw.get("head_dim") or values["d_model"] // heads
        if not raw.get("head_dim") and values["d_model"] % heads:
            raise CheckpointError(f"config.json: {heads} heads do not divide hidden_size {values['d_model']}.")
        theta, scaling = _read_rope(raw, values["max_positions"], family.defaults.get("rope_theta", 10000.0))
        if family.experts:
            told = {ours: raw.get(theirs, family.defaults.get(theirs)) for theirs, ours in family.experts.items()}
            values["experts"] = ExpertsConfig(**told, renormalise=True)
        elif isinstance(values.get("experts"), dict):
            values["experts"] = ExpertsConfig(**values["experts"])
        eos = raw.get("eos_token_id", family.defaults["eos_token_id"])
        bos = raw.get("bos_token_id", family.defaults["bos_token_id"])
        return ModelConfig(
            **values, rope_theta=theta, rope_scaling=scaling, bos_id=bos,
            eos_ids=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
        )  # fmt: skip
    except (TypeError, ZeroDivisionError, ValueError) as e:
        raise CheckpointError(f"config.json: a value has the wrong type: {e}.") from e


ROPE_KEYS: dict[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "dynamic": frozenset({"factor", "original_max_position_embeddings"}),
    "yarn": frozenset({
        "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale",
        "mscale_all_dim", "truncate",
    }),
    "llama3": frozenset({"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"}),
}  # fmt: skip


def _read_rope(raw: Mapping[str, Any], max_positions: int, usual_theta: float) -> tuple[float, RopeScaling | None]:
    """(theta, scaling) from either form: rope_theta with rope_scaling, or rope_parameters with both in it."""
    rope = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    theta = float(rope.pop("rope_theta", None) or raw.get("rope_theta") or usual_theta)
    kind = str(rope.pop("rope_type", None) or rope.pop("type", None) or "default")
    rope.pop("type", None)
    if kind not in ROPE_KEYS:
        raise CheckpointError(f"config.json: the rope scaling {kind!r} is not supported.")
    for key, value in rope.items():
        if key not in ROPE_KEYS[kind] and value is not None:
            raise CheckpointError(f"config.json: rope scaling {kind}: {key} = {value!r} is not supported.")
    if kind == "default":
        return theta, None
    original = rope.get("original_max_position_embeddings") or max_positions
    factor = rope.get("factor")
    if factor is None and kind == "yarn":
        factor = max_positions / original
    if factor is None:
        raise CheckpointError(f"config.json: rope scaling {kind}: factor is missing.")
    extra = {
        k: float(rope[k]) for k in ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow") if rope.get(k)
    }
    if kind == "yarn":
        extra["attention_factor"] = _yarn_attention_factor(float(factor), rope)
    return theta, RopeScaling(
        kind=kind,  # type: ignore[arg-type]
        factor=float(factor), original_max_positions=int(original), truncate=bool(rope.get("truncate", True)), **extra,
    )  # fmt: skip


def _yarn_attention_factor(factor: float, rope: Mapping[str, Any]) -> float:
    """What yarn multiplies cosines and sines with: given, or 0.1 ln(factor) + 1 (YaRN, eq. 22), or a ratio of two."""

    def scale(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return scale(float(rope["mscale"])) / scale(float(rope["mscale_all_dim"]))
    return scale(1.0)


def write_config(config: ModelConfig) -> dict[str, Any]:
    """The contents of a config.json that read_config turns back into the same ModelConfig.

    Raises CheckpointError that names the field when no family here has such a model.
    """
    family = _family_for(config)
    for f in fields(ModelConfig):
        told = f.name in (*family.fields.values(), *TOLD_APART)
        if not told and getattr(config, f.name) != f.default:
            raise CheckpointError(
                f"A model with {f.name} {getattr(config, f.name)!r} cannot be written as a {family.architecture}, "
                f"which has {f.default!r}."
            )
    rope: dict[str, Any] = {"rope_type": "default"}
    if scaling := config.rope_scaling:
        rope = {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind != "linear":
            rope["original_max_position_embeddings"] = scaling.original_max_positions
        if scaling.kind == "llama3":
            rope |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
        if scaling.kind == "yarn":
            rope |= {
                "attention_factor": scaling.attention_factor, "beta_fast": scaling.beta_fast,
                "beta_slow": scaling.beta_slow, "truncate": scaling.truncate,
            }  # fmt: skip
    return {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **{theirs: getattr(config, ours) for theirs, ours in family.fields.items() if ours != "experts"},
        **({} if config.experts is None else _write_experts(family, config.experts)),
        **{theirs: values[0] for theirs, values in family.required.items()},
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if config.rope_scaling is None else rope,
        "bos_token_id": config.bos_id,
        "eos_token_id": list(config.eos_ids),
    }


def _write_experts(family: Family, experts: ExpertsConfig) -> dict[str, Any]:
    if "experts" in family.fields:
        return {"experts": asdict(experts)}
    return {theirs: getattr(experts, ours) for theirs, ours in family.experts.items()}


def placements(family: Family, config: ModelConfig) -> Iterator[Placement]:
    """Every tensor of a checkpoint of this shape."""
    d_expert = 0 if config.experts is None else config.experts.d_expert
    parts = {"qkv": config.qkv_rows, "gate_up": (config.d_ff, config.d_ff), "expert": (d_expert, d_expert)}
    for rule in family.tensors:
        if rule.ours == "head.weight" and config.tie_embeddings:
            continue
        if rule.ours.endswith(".bias") and not _has_bias(rule.ours, config):
            continue
        rows: slice | None = None
        if rule.part is not None:
            sizes, index = parts[rule.part[0]], rule.part[1]
            rows = slice(sum(sizes[:index]), sum(sizes[: index + 1]))
        for i in range(config.n_layers if "{i}" in rule.ours else 1):
            if not _has(config.layer(i), rule):
                continue
            if config.experts is None or "{e}" not in rule.theirs:
                yield Placement(rule.theirs.format(i=i), rule.ours.format(i=i), rows)
                continue
            for e in range(config.experts.n_experts):
                yield Placement(rule.theirs.format(i=i, e=e), rule.ours.format(i=i), (e, rows or slice(None)))


def _has(layer: ModelConfig, rule: TensorRule) -> bool:
    """Whether a layer's feed-forward part is of the kind that has this tensor."""
    if rule.of == "any" or layer.experts is None:
        return rule.of in ("any", "dense")
    e = layer.experts
    return {"dense": False, "experts": True, "shared": e.d_shared > 0, "shared_gate": e.shared_gate}[rule.of]


def _has_bias(ours: str, config: ModelConfig) -> bool:
    return config.attention_bias if ".attention." in ours else config.mlp_bias
