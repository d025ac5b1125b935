"""The table from an HF `architectures` entry to a ModelConfig and to tensor names. A new family is a row.

Hugging Face's names live here and in checkpoint.py alone. A config key that is neither read, nor checked, nor known
to be harmless is an error that names it: an unknown key may change the result.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.config import ModelConfig, RopeScaling
from engine.errors import CheckpointError

# Keys that describe the file, its training or another program's habits, and change no logit.
HARMLESS = frozenset({
    "_name_or_path", "_attn_implementation", "_attn_implementation_autoset", "architectures", "attention_dropout",
    "auto_map", "bos_token_id", "dtype", "eos_token_id", "hidden_dropout", "initializer_range", "is_llama_config",
    "max_length", "model_type", "pad_token_id", "problem_type", "return_dict", "torch_dtype", "transformers_version",
    "unk_token_id", "use_cache", "use_return_dict", "output_attentions", "output_hidden_states", "id2label",
    "label2id", "tokenizer_class", "task_specific_params", "finetuning_task", "chunk_size_feed_forward",
    "rope_interleaved", "rope_scaling", "rope_parameters", "rope_theta", "head_dim",
})  # fmt: skip


@dataclass(frozen=True)
class TensorRule:
    """One HF tensor and the rows of ours that it is. `{i}` is the layer; part indexes the rows of a fused matrix."""

    theirs: str
    ours: str
    part: tuple[str, int] | None = None  # ("qkv", 0) is the first part of the rows in ModelConfig.qkv_rows


@dataclass(frozen=True)
class Placement:
    """A concrete tensor: HF's name, ours, and the rows of ours that it fills (None: all of them)."""

    theirs: str
    ours: str
    rows: slice | None


@dataclass(frozen=True)
class Family:
    """How one HF architecture is read and written."""

    architecture: str
    model_type: str
    fields: Mapping[str, str]  # HF key -> ModelConfig field
    required: Mapping[str, tuple[Any, ...]]  # HF key -> the values that the engine computes
    tensors: tuple[TensorRule, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)  # what HF assumes when its config does not say


def _layer(theirs: str, ours: str, part: tuple[str, int] | None = None) -> tuple[TensorRule, TensorRule]:
    """The weight and the bias of one projection of a layer."""
    left, right = f"model.layers.{{i}}.{theirs}", f"blocks.{{i}}.{ours}"
    return TensorRule(f"{left}.weight", f"{right}.weight", part), TensorRule(f"{left}.bias", f"{right}.bias", part)


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
    tensors=(
        TensorRule("model.embed_tokens.weight", "embedding.weight"),
        TensorRule("model.norm.weight", "norm.weight"),
        TensorRule("lm_head.weight", "head.weight"),
        TensorRule("model.layers.{i}.input_layernorm.weight", "blocks.{i}.attention_norm.weight"),
        TensorRule("model.layers.{i}.post_attention_layernorm.weight", "blocks.{i}.mlp_norm.weight"),
        *_layer("self_attn.q_proj", "attention.qkv", ("qkv", 0)),
        *_layer("self_attn.k_proj", "attention.qkv", ("qkv", 1)),
        *_layer("self_attn.v_proj", "attention.qkv", ("qkv", 2)),
        *_layer("self_attn.o_proj", "attention.out"),
        *_layer("mlp.gate_proj", "mlp.gate_up", ("gate_up", 0)),
        *_layer("mlp.up_proj", "mlp.gate_up", ("gate_up", 1)),
        *_layer("mlp.down_proj", "mlp.down"),
    ),
    defaults={
        "rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "tie_word_embeddings": False,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    },
)  # fmt: skip
FAMILIES: dict[str, Family] = {f.architecture: f for f in (LLAMA,)}


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
    known = set(family.fields) | set(family.required) | HARMLESS
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
        theta, scaling = _read_rope(raw, values["max_positions"])
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


def _read_rope(raw: Mapping[str, Any], max_positions: int) -> tuple[float, RopeScaling | None]:
    """(theta, scaling) from either form: rope_theta with rope_scaling, or rope_parameters with both in it."""
    rope = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    theta = float(rope.pop("rope_theta", None) or raw.get("rope_theta") or 10000.0)
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
    """The contents of a config.json that read_config turns back into the same ModelConfig."""
    family = LLAMA
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
        **{theirs: getattr(config, ours) for theirs, ours in family.fields.items()},
        **{theirs: values[0] for theirs, values in family.required.items()},
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if config.rope_scaling is None else rope,
        "bos_token_id": config.bos_id,
        "eos_token_id": list(config.eos_ids),
    }


def placements(family: Family, config: ModelConfig) -> Iterator[Placement]:
    """Every tensor of a checkpoint of this shape."""
    parts = {"qkv": config.qkv_rows, "gate_up": (config.d_ff, config.d_ff)}
    for rule in family.tensors:
        if rule.ours == "head.weight" and config.tie_embeddings:
            continue
        if rule.ours.endswith(".bias") and not _has_bias(rule.ours, config):
            continue
        rows = None
        if rule.part is not None:
            sizes, index = parts[rule.part[0]], rule.part[1]
            rows = slice(sum(sizes[:index]), sum(sizes[: index + 1]))
        for i in range(config.n_layers if "{i}" in rule.ours else 1):
            yield Placement(rule.theirs.format(i=i), rule.ours.format(i=i), rows)


def _has_bias(ours: str, config: ModelConfig) -> bool:
    return config.attention_bias if ".attention." in ours else config.mlp_bias
