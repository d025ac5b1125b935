"""From an HF `architectures` entry to a ModelConfig and to tensor names, and back. Torch-free.

A config key that is neither read, nor checked, nor known to be harmless is an error that names it: an unknown key may
change the result. The families are the rows of engine/family_rows.py and its siblings.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from engine import family_rows, family_rows_experts, family_rows_gpt
from engine.config import ExpertsConfig, ModelConfig
from engine.errors import CheckpointError
from engine.family import Family, Placement, TensorRule, Told

# In the order in which a model without a family of its own is offered to them when it is written.
FAMILIES: dict[str, Family] = {
    row.architecture: row for row in (*family_rows.ROWS, *family_rows_experts.ROWS, *family_rows_gpt.ROWS)
}
OPTIONAL = frozenset(f.name for f in fields(ModelConfig) if f.default is None)  # None is a value of these


def family_of(config: Told) -> Family:
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


def read_config(raw: Told) -> ModelConfig:
    """A ModelConfig from the contents of a config.json.

    Raises CheckpointError for a missing or impossible value, and for a key that would change the result.
    """
    family = family_of(raw)
    told = _renamed(family, raw)
    _check_keys(family, told)
    told = {**family.defaults, **told}
    try:
        values = _read_fields(family, told)
        for group in family.groups:
            values |= group.read(told, values)
        bos, eos = told.get("bos_token_id"), told.get("eos_token_id")
        return ModelConfig(
            **values, bos_id=bos, eos_ids=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,)
        )
    except (TypeError, ZeroDivisionError, ValueError, AttributeError) as e:
        raise CheckpointError(f"config.json: a value has the wrong type: {e}.") from e


def _renamed(family: Family, raw: Told) -> dict[str, Any]:
    """The config with one name for each key. Raises CheckpointError where two names disagree."""
    told: dict[str, Any] = {}
    for name, value in raw.items():
        key = family.aliases.get(name, name)
        if told.get(key) is not None and value is not None and told[key] != value:
            raise CheckpointError(f"config.json: {name} = {value!r}, and another name of it says {told[key]!r}.")
        if told.get(key) is None:
            told[key] = value
    return told


def _check_keys(family: Family, told: Told) -> None:
    for key, value in told.items():
        if key in family.required:
            if value not in family.required[key]:
                usual = family.required[key][0]
                raise CheckpointError(f"config.json: {key} = {value!r} is not supported; {usual!r} is.")
        elif value is not None and key not in family.known:
            raise CheckpointError(f"config.json: {key} = {value!r} is not supported and may change the result.")


def _read_fields(family: Family, told: Told) -> dict[str, Any]:
    """The fields that one key says each, and what follows from them."""
    values = dict(family.constants)
    computed = ("n_kv_heads", "head_dim")  # from others, where nothing is said
    for theirs, ours in family.fields.items():
        value = told.get(theirs)
        if value is None and ours not in (*OPTIONAL, *computed):
            value = family.defaults.get(theirs)
        if value is None and ours not in (*OPTIONAL, *computed):
            raise CheckpointError(f"config.json: {theirs} is missing.")
        if ours in ("d_model", "n_heads") and (not isinstance(value, int) or value < 1):  # divided below
            raise CheckpointError(f"config.json: {theirs} must be a whole number of at least 1, not {value!r}.")
        values[ours] = value
    heads, d_model = values["n_heads"], values["d_model"]
    if values.get("n_kv_heads") is None:
        values["n_kv_heads"] = heads
    if not values.get("head_dim"):
        values["head_dim"] = d_model // heads
        if d_model % heads:
            raise CheckpointError(f"config.json: {heads} heads do not divide a hidden_size {d_model}.")
    return values


def write_config(config: ModelConfig, architecture: str | None = None) -> dict[str, Any]:
    """The contents of a config.json that read_config turns back into the same ModelConfig.

    architecture: the family that is asked first; then all are. Raises CheckpointError that names the field when no
    family has such a model.
    """
    names = list(FAMILIES) if architecture is None else [architecture, *FAMILIES]
    for family in map(FAMILIES.__getitem__, names):
        try:
            told = _written(family, config)
            if _what_counts(read_config(told)) == _what_counts(config):
                return told
        except CheckpointError:
            continue  # it has no word for something
    usual = FAMILIES["LlamaForCausalLM" if config.experts is None else "TfmExpertsForCausalLM"]
    found = _what_counts(read_config(_written(usual, config)))
    for f in fields(ModelConfig):
        value, known = getattr(_what_counts(config), f.name), getattr(found, f.name)
        if value != known:
            raise CheckpointError(
                f"A model with {f.name} {value!r} cannot be written as a {usual.architecture}, which has {known!r}."
            )
    raise AssertionError("what a family has no word for is a field that differs")


def _what_counts(config: ModelConfig) -> ModelConfig:
    """The config without what only training knows of, and without a width that no layer has."""
    e = config.experts
    if e is None:
        return config
    usual = ExpertsConfig(1, 1)
    same = replace(e, capacity=usual.capacity, router_z=usual.router_z)
    return replace(config, experts=same, d_ff=config.d_ff if e.dense_layers else e.d_expert)


def _written(family: Family, config: ModelConfig) -> dict[str, Any]:
    grouped: dict[str, Any] = {}
    for group in family.groups:
        grouped |= group.write(config)
    return {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **{theirs: getattr(config, ours) for theirs, ours in family.fields.items()},
        **{theirs: values[0] for theirs, values in family.required.items()},
        **grouped,
        "bos_token_id": config.bos_id,
        "eos_token_id": list(config.eos_ids),
        "pad_token_id": None,  # what some families assume is beyond a small vocabulary
    }


def placements(family: Family, config: ModelConfig) -> Iterator[Placement]:
    """Every tensor of a checkpoint of this shape."""
    e = config.experts
    d_expert, d_shared = (0, 0) if e is None else (e.d_expert, e.d_shared)
    parts = {
        "qkv": config.qkv_rows, "gate_up": (config.d_ff, config.d_ff), "expert": (d_expert, d_expert),
        "shared": (d_shared, d_shared),
    }  # fmt: skip
    for rule in family.tensors:
        if not _has_parameter(rule.ours, config):
            continue
        rows: slice | None = None
        if rule.part is not None:
            sizes, index = parts[rule.part[0]], rule.part[1]
            rows = slice(sum(sizes[:index]), sum(sizes[: index + 1]))
        made = Placement(
            rule.theirs, rule.ours, rows, transposed=rule.form == "transposed",
            interleaved=config.n_heads if rule.form == "interleaved" else 0,
        )  # fmt: skip
        for i in range(config.n_layers if "{i}" in rule.ours else 1):
            if not _has(rule, None if e is None or i in e.dense_layers else e):
                continue
            ours = rule.ours.format(i=i)
            if e is None or "{e}" not in rule.theirs:
                yield replace(made, theirs=rule.theirs.format(i=i), ours=ours)
                continue
            for n in range(e.n_experts):
                yield replace(made, theirs=rule.theirs.format(i=i, e=n), ours=ours, rows=(n, rows or slice(None)))


def _has(rule: TensorRule, experts: ExpertsConfig | None) -> bool:
    """Whether a layer with these experts, or with none, has this tensor in its feed-forward part."""
    if rule.of == "any" or experts is None:
        return rule.of in ("any", "dense")
    return {
        "dense": False, "experts": True, "shared": experts.d_shared > 0, "shared_gate": experts.shared_gate,
    }[rule.of]  # fmt: skip


def _has_parameter(ours: str, config: ModelConfig) -> bool:
    """Whether a model of this shape has the parameter in some layer: heads may be tied, and biases left out."""
    if ours == "head.weight":
        return not config.tie_embeddings
    if not ours.endswith(".bias") or "norm" in ours:
        return True
    if ".attention." in ours:
        return config.attention_bias or (config.qkv_bias and ours.endswith("qkv.bias"))
    return config.mlp_bias
