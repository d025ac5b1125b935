"""Keys of a config.json that say several fields together: windows and layers, experts, the feed-forward part.

Torch-free. How positions rotate is in engine/rope_keys.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from engine.config import ExpertsConfig, ModelConfig
from engine.errors import CheckpointError
from engine.family import KeyGroup, Told

SLIDING, FULL = "sliding_attention", "full_attention"
MOST_LAYERS = 10_000  # of a list that is made for them: a config may ask for a thousand million


def _count(values: Mapping[str, Any]) -> int:
    n = values["n_layers"]
    if not isinstance(n, int) or not 0 < n <= MOST_LAYERS:
        raise CheckpointError(f"config.json: n_layers must be a whole number from 1 to {MOST_LAYERS}, not {n!r}.")
    return n


def _of_layers(told: Told, key: str, n: int) -> list[Any]:
    """The first n entries of a list that has one for each layer."""
    given = told[key]
    if not isinstance(given, list) or len(given) < n:
        raise CheckpointError(f"config.json: {key} must have an entry for each of the {n} layers, not {given!r}.")
    return given[:n]


# Windows.

WINDOW_EVERYWHERE = KeyGroup(
    frozenset({"sliding_window"}),
    lambda told, values: {"window": told.get("sliding_window")},
    lambda config: {"sliding_window": config.window},
)


def _window_if_used(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"window": told.get("sliding_window") if told.get("use_sliding_window") else None}


WINDOW_IF_USED = KeyGroup(
    frozenset({"sliding_window", "use_sliding_window"}),
    _window_if_used,
    lambda config: {"sliding_window": config.window, "use_sliding_window": config.window is not None},
)


def windows_by_layer(
    slides: Callable[[Told, int], bool], *keys: str, write: Callable[[ModelConfig], dict[str, Any]] | None = None
) -> KeyGroup:
    """sliding_window and layer_types, which says which layers have it; where it does not, `slides` does.

    keys: what `slides` reads. With use_sliding_window among them there is a window only where that is true. write:
    what is written of them.
    """

    def read(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
        n = _count(values)
        types = [SLIDING if slides(told, i) else FULL for i in range(n)]
        if told.get("layer_types") is not None:
            types = _of_layers(told, "layer_types", n)
        for other in (t for t in types if t not in (SLIDING, FULL)):
            raise CheckpointError(f"config.json: layer_types: {other!r} is not supported.")
        if SLIDING not in types:
            return {"window": None}
        if not told.get("sliding_window") or told.get("use_sliding_window") is False:
            raise CheckpointError("config.json: layer_types asks for a sliding_window, which there is not.")
        return {"window": told["sliding_window"], "full_layers": tuple(i for i, t in enumerate(types) if t == FULL)}

    def write_all(config: ModelConfig) -> dict[str, Any]:
        types = [FULL if config.layer(i).window is None else SLIDING for i in range(config.n_layers)]
        return {"sliding_window": config.window, "layer_types": types} | (write(config) if write else {})

    return KeyGroup(frozenset({"sliding_window", "layer_types", *keys}), read, write_all)


def _write_qwen_window(config: ModelConfig) -> dict[str, Any]:
    first = next((i for i in range(config.n_layers) if config.layer(i).window is not None), config.n_layers)
    return {"use_sliding_window": config.window is not None, "max_window_layers": first}


QWEN_KEYS = ("use_sliding_window", "max_window_layers")
QWEN_WINDOWS = windows_by_layer(
    lambda told, i: bool(told["use_sliding_window"] and told["sliding_window"]) and i >= told["max_window_layers"],
    *QWEN_KEYS, write=_write_qwen_window,
)  # fmt: skip
QWEN2_MOE_WINDOWS = windows_by_layer(
    lambda told, i: bool(told["use_sliding_window"]) and i % 2 == 0 and i < told["max_window_layers"],
    *QWEN_KEYS, write=_write_qwen_window,
)  # fmt: skip
GEMMA2_WINDOWS = windows_by_layer(lambda told, i: i % 2 == 0)
GEMMA3_WINDOWS = windows_by_layer(
    lambda told, i: bool((i + 1) % told["sliding_window_pattern"]), "sliding_window_pattern"
)


# Layers that do not rotate.


def _rotates(told: Told, i: int) -> bool:
    """SmolLM3: no_rope_layers has a 1 for each layer that does rotate."""
    if told.get("no_rope_layers") is not None:
        return bool(_of_layers(told, "no_rope_layers", i + 1)[i])
    return bool((i + 1) % told["no_rope_layer_interval"])


NO_ROPE_LAYERS = KeyGroup(
    frozenset({"no_rope_layers", "no_rope_layer_interval"}),
    lambda told, values: {"no_rope_layers": tuple(i for i in range(_count(values)) if not _rotates(told, i))},
    lambda config: {"no_rope_layers": [int(i not in config.no_rope_layers) for i in range(config.n_layers)]},
)
SMOLLM3_WINDOWS = windows_by_layer(
    lambda told, i: bool(told["use_sliding_window"] and told.get("sliding_window")) and not _rotates(told, i),
    "use_sliding_window", write=lambda config: {"use_sliding_window": config.window is not None},
)  # fmt: skip


# The feed-forward part.


def _read_inner(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"d_ff": 4 * values["d_model"] if told.get("n_inner") is None else told["n_inner"]}


INNER = KeyGroup(frozenset({"n_inner"}), _read_inner, lambda config: {"n_inner": config.d_ff})
FOUR_TIMES = KeyGroup(frozenset(), lambda told, values: {"d_ff": 4 * values["d_model"]}, lambda config: {})
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip


def activation(key: str) -> KeyGroup:
    """An activation without a gate."""

    def read(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
        name = told[key]
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise CheckpointError(f"config.json: {key} = {name!r} is not supported; {', '.join(ACTIVATIONS)} are.")
        return {"activation": ACTIVATIONS[name]}

    def write(config: ModelConfig) -> dict[str, Any]:
        return {key: next((theirs for theirs, ours in ACTIVATIONS.items() if ours == config.activation), None)}

    return KeyGroup(frozenset({key}), read, write)


def experts(
    told_as: Mapping[str, str], width: str | None = None, *, renormalise: bool | None = None, sparse_step: bool = False
) -> KeyGroup:
    """Experts: HF key -> ExpertsConfig field.

    width: the key of an expert's inner width; None: it is d_ff. renormalise: whether they always do, or do not; None:
    a key says. sparse_step: there are keys for layers without experts.
    """
    steps = ("decoder_sparse_step", "mlp_only_layers") if sparse_step else ()

    def read(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {ours: told.get(theirs) for theirs, ours in told_as.items()}
        fields["d_expert"] = values["d_ff"] if width is None else told.get(width)
        if renormalise is not None:
            fields["renormalise"] = renormalise
        if fields.get("d_shared"):
            fields["shared_gate"] = True
        if sparse_step:
            step, without = told["decoder_sparse_step"], told.get("mlp_only_layers") or ()
            fields["dense_layers"] = tuple(i for i in range(_count(values)) if i in without or (i + 1) % step)
        return {"experts": ExpertsConfig(**fields)}

    def write(config: ModelConfig) -> dict[str, Any]:
        e = config.experts
        if e is None:
            raise CheckpointError("A model without experts cannot be written as one with them.")
        raw = {theirs: getattr(e, ours) for theirs, ours in told_as.items()}
        if width is not None:
            raw[width] = e.d_expert
        return raw | ({"decoder_sparse_step": 1, "mlp_only_layers": list(e.dense_layers)} if sparse_step else {})

    return KeyGroup(frozenset({*told_as, *steps, *([width] if width else [])}), read, write)


def _read_own(told: Told, values: Mapping[str, Any]) -> dict[str, Any]:
    given = told.get("experts")
    if given is None:
        raise CheckpointError("config.json: experts is missing.")
    return {"experts": ExpertsConfig(**given) if isinstance(given, dict) else given}


OWN_EXPERTS = KeyGroup(
    frozenset({"experts"}),
    _read_own,
    lambda config: {"experts": None if config.experts is None else asdict(config.experts)},
)
