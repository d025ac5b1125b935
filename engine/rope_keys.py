"""Keys of a config.json that tell how positions rotate: the old form (rope_theta, rope_scaling) and that of
transformers 5 (rope_parameters). Torch-free."""

import math
from collections.abc import Mapping
from typing import Any

from engine.config import ModelConfig, RopeScaling
from engine.errors import CheckpointError
from engine.family import KeyGroup, Told

OF_KIND: dict[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "dynamic": frozenset({"factor", "original_max_position_embeddings"}),
    "yarn": frozenset({
        "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale",
        "mscale_all_dim", "truncate",
    }),
    "llama3": frozenset({"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"}),
    "longrope": frozenset({
        "factor", "original_max_position_embeddings", "attention_factor", "short_factor", "long_factor",
    }),
}  # fmt: skip
PARTIAL = "partial_rotary_factor"
ORIGINAL = "original_max_position_embeddings"


def rotation(theta: str = "rope_theta", partial: str | None = None, *, longrope: bool = False) -> KeyGroup:
    """The keys of most families. theta: the key of the base. partial: that of the share of a head that rotates.

    longrope: whether the family has that kind: of others, transformers does not read a text anew that grows too long.
    """

    def read(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
        rope = _settings(told)
        fields: dict[str, Any] = {"rope_theta": float(rope.pop("rope_theta", None) or told.get(theta) or 10000.0)}
        if partial is not None:
            share = rope.pop(PARTIAL, None)
            share = told.get(partial) if share is None else share
            turned = int(values["head_dim"] * (1.0 if share is None else share))
            fields["rotary_dim"] = None if turned == values["head_dim"] else turned
        return fields | {"rope_scaling": _scaling(rope, values["max_positions"], longrope)}

    def write(config: ModelConfig) -> dict[str, Any]:
        share = {} if partial is None else {partial: config.turned / config.head_dim}
        return {theta: config.rope_theta, "rope_scaling": _written(config.rope_scaling)} | share

    keys = {theta, "rope_scaling", "rope_parameters"} | ({partial} if partial else set())
    return KeyGroup(frozenset(keys), read, write)


def _read_phi3(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
    """The length before the stretching stands outside of rope_scaling, whose kind has older names."""
    rope = _settings(told)
    kind = rope.pop("rope_type", None) or "default"
    if kind not in ("default", "su", "yarn", "longrope"):
        raise CheckpointError(f"config.json: the rope scaling {kind!r} is not supported for this architecture.")
    if kind != "default":
        rope |= {"rope_type": "longrope", ORIGINAL: told[ORIGINAL]}
    old = {k: v for k, v in told.items() if k not in ("rope_parameters", "rope_scaling")}
    return ROTATION_IN_PART.read(old | {"rope_scaling": rope}, values)


def _write_phi3(config: ModelConfig) -> dict[str, Any]:
    scaling = config.rope_scaling
    original = config.max_positions if scaling is None else scaling.original_max_positions
    return ROTATION_IN_PART.write(config) | {ORIGINAL: original}


def _read_by_window(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
    """Gemma 3: layers with a window have a base of their own, and no scaling."""
    nested = dict(told.get("rope_parameters") or {})
    full = dict(nested.pop("full_attention", None) or {}) | dict(told.get("rope_scaling") or {})
    local = dict(nested.pop("sliding_attention", None) or {})
    for key, value in nested.items():
        raise CheckpointError(f"config.json: rope_parameters: {key} = {value!r} is not supported.")
    theta = float(full.pop("rope_theta", None) or told["rope_theta"])
    local_theta = float(local.pop("rope_theta", None) or told["rope_local_base_freq"])
    scaling = _scaling(_named(full), values["max_positions"])
    if _scaling(_named(local), values["max_positions"]) is not None:
        raise CheckpointError("config.json: a rope scaling of sliding_attention is not supported.")
    is_same = values["window"] is None or (local_theta == theta and scaling is None)
    return {"rope_theta": theta, "rope_scaling": scaling, "window_rope_theta": None if is_same else local_theta}


def _write_by_window(config: ModelConfig) -> dict[str, Any]:
    return {
        "rope_theta": config.rope_theta, "rope_scaling": _written(config.rope_scaling),
        "rope_local_base_freq": config.window_rope_theta or config.rope_theta,
    }  # fmt: skip


ROTATION = rotation()
ROTATION_IN_PART = rotation(partial=PARTIAL, longrope=True)
ROTATION_OF_PHI3 = KeyGroup(ROTATION_IN_PART.keys | {ORIGINAL}, _read_phi3, _write_phi3)
ROTATION_BY_WINDOW = KeyGroup(ROTATION.keys | {"rope_local_base_freq"}, _read_by_window, _write_by_window)


def _settings(told: Told) -> dict[str, Any]:
    return _named(dict(told.get("rope_parameters") or told.get("rope_scaling") or {}))


def _named(rope: dict[str, Any]) -> dict[str, Any]:
    """The settings with their kind under its newer name alone."""
    kind = rope.pop("type", None)
    return rope | {"rope_type": str(rope.get("rope_type") or kind or "default")}


def _scaling(rope: dict[str, Any], max_positions: int, longrope: bool = False) -> RopeScaling | None:
    """What settings without a base say. Raises CheckpointError for a kind or a key that is not known."""
    kind = rope.pop("rope_type")
    if kind not in OF_KIND or (kind == "longrope" and not longrope):
        raise CheckpointError(f"config.json: the rope scaling {kind!r} is not supported.")
    for key, value in rope.items():
        if key not in OF_KIND[kind] and value is not None:
            raise CheckpointError(f"config.json: rope scaling {kind}: {key} = {value!r} is not supported.")
    if kind == "default":
        return None
    original = rope.get(ORIGINAL) or max_positions
    factor: Any = rope.get("factor")
    if factor is None and kind in ("yarn", "longrope"):
        factor = max_positions / original
    for key in ("factor",) if kind != "longrope" else ("short_factor", "long_factor"):
        if (factor if key == "factor" else rope.get(key)) is None:
            raise CheckpointError(f"config.json: rope scaling {kind}: {key} is missing.")
    extra: dict[str, Any] = {
        k: float(rope[k]) for k in ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow") if rope.get(k)
    }
    if kind == "yarn":
        extra["attention_factor"] = _yarn_attention_factor(float(factor), rope)
    if kind == "longrope":
        extra |= {f"{k}s": tuple(float(f) for f in rope[k]) for k in ("short_factor", "long_factor")}
        extra["attention_factor"] = _longrope_attention_factor(float(factor), int(original), rope)
    return RopeScaling(
        kind=kind, factor=float(factor), original_max_positions=int(original),
        truncate=bool(rope.get("truncate", True)), **extra,
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


def _longrope_attention_factor(factor: float, original: int, rope: Mapping[str, Any]) -> float:
    """The same of longrope: given, or √(1 + ln(factor) / ln(original length)) (LongRoPE, as Phi-3 has it)."""
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))


def _written(scaling: RopeScaling | None) -> dict[str, Any] | None:
    """The settings in the old form, without a base."""
    if scaling is None:
        return None
    rope: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind != "linear":
        rope[ORIGINAL] = scaling.original_max_positions
    if scaling.kind == "llama3":
        rope |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
    if scaling.kind == "yarn":
        rope |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow, "truncate": scaling.truncate}
    if scaling.kind == "longrope":
        rope |= {"short_factor": list(scaling.short_factors), "long_factor": list(scaling.long_factors)}
    if scaling.kind in ("yarn", "longrope"):
        rope["attention_factor"] = scaling.attention_factor
    return rope
