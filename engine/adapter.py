"""Low-rank adapters (LoRA, Hu 2021) in the directory layout of PEFT: read, merged into the weights, written.

An adapter holds, for a projection W of the base, two thin matrices A (r, d_in) and B (d_out, r); the adapted
projection is W + scale · B · A. The engine keeps queries, keys and values in one matrix and gate and up in another,
so each of PEFT's targets is a range of rows of ours (`Target`). `apply_adapter` adds the product to the weights, once,
at load: an adapted model runs as fast as its base. The form that is trained is in engine/layers/low_rank.py.
An adapter directory is not trusted: safetensors alone are read, and a key of its config that is neither understood
nor known to be harmless is an error that names it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint import (
    complete_directory,
    family_of_model,
    load_config,
    load_model,
    open_tensors,
    read_json,
    save_like,
    stored_dtypes,
    write_json,
)
from engine.decoder import DecoderLM
from engine.errors import CheckpointError
from engine.families import placements
from engine.layers.linear import Linear

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
ALL_LINEAR = "all-linear"
# Keys that are read, that say nothing of the result, or that matter only while an adapter is trained or begun.
READ = frozenset({"r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern", "lora_dropout"})
HARMLESS = frozenset({
    "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "eva_config", "inference_mode", "megatron_core",
    "peft_version", "qalora_group_size", "revision", "runtime_config",
})  # fmt: skip
REQUIRED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "task_type": ("CAUSAL_LM", None),
    "bias": ("none",),
    # Others, such as pissa, change the base's weights too, which are not in the adapter.
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
}
NAME = re.compile(r"[A-Za-z0-9_.]+")


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter_config.json says. targets: names of projections, or their ends; None: all of the blocks.

    Raises CheckpointError for a value that is impossible.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] | None = None
    rslora: bool = False  # divide alpha by √r, not by r (Kalajdzievski 2023)
    dropout: float = 0.0
    ranks: Mapping[str, int] = field(default_factory=dict)  # for some targets, by the end of their names
    alphas: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, rank in {"r": self.rank, **{f"rank_pattern {k}": r for k, r in self.ranks.items()}}.items():
            if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
                raise CheckpointError(f"{CONFIG}: {key} must be a whole number of at least 1, not {rank!r}.")
        for key, alpha in {
            "lora_alpha": self.alpha,
            **{f"alpha_pattern {k}": a for k, a in self.alphas.items()},
        }.items():
            if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not math.isfinite(alpha):
                raise CheckpointError(f"{CONFIG}: {key} must be a number, not {alpha!r}.")
        for pattern in (*self.ranks, *self.alphas):
            if not NAME.fullmatch(pattern):
                raise CheckpointError(f"{CONFIG}: the pattern {pattern!r} is no name of a module; only names are read.")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise CheckpointError(f"{CONFIG}: lora_dropout must be at least 0 and below 1, not {self.dropout!r}.")

    def rank_of(self, module: str) -> int:
        """The rank r of the target of this name."""
        return next((r for end, r in self.ranks.items() if ends_with(module, end)), self.rank)

    def scale_of(self, module: str) -> float:
        """What B · A is multiplied with."""
        alpha = next((a for end, a in self.alphas.items() if ends_with(module, end)), self.alpha)
        rank = self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


@dataclass(frozen=True)
class Target:
    """A projection by the name that PEFT gives it, and where it is: rows `start` to `stop` of our matrix `ours`."""

    module: str  # "model.layers.0.self_attn.q_proj"
    ours: str  # "blocks.0.attention.qkv"
    start: int
    stop: int
    d_in: int


def ends_with(module: str, end: str) -> bool:
    """Whether a module is the one of this name, or its name ends with it, at a dot."""
    return module == end or module.endswith(f".{end}")


def linear_targets(model: DecoderLM) -> Iterator[Target]:
    """All projections of the blocks, but for experts: what "all-linear" means."""
    for place in placements(family_of_model(model), model.config):
        ours, _, kind = place.ours.rpartition(".")
        if place.interleaved:
            raise CheckpointError(f"An adapter of {place.theirs} is not supported: its rows are in another order.")
        if isinstance(place.rows, tuple) or ours.endswith(".router"):
            continue  # experts, and who chooses them: PEFT's all-linear means neither
        if kind == "weight" and ours.startswith("blocks.") and isinstance(base := model.get_submodule(ours), Linear):
            d_out, d_in = base.weight.shape
            start, stop, _ = (place.rows or slice(None)).indices(d_out)
            yield Target(place.theirs.removesuffix(".weight"), ours, start, stop, d_in)


def chosen_targets(model: DecoderLM, names: Sequence[str] | None) -> list[Target]:
    """The projections that `names` mean (None: all). Raises CheckpointError for a name that means none."""
    every = list(linear_targets(model))
    if names is None:
        return every
    for name in names:
        if not any(ends_with(target.module, name) for target in every):
            known = dict.fromkeys(target.module.rpartition(".")[2] for target in every)
            raise CheckpointError(
                f"The target module {name!r} is no projection in the blocks of this model.",
                f"There are {', '.join(known)}.",
            )
    return [target for target in every if any(ends_with(target.module, name) for name in names)]


def read_adapter_config(directory: Path) -> AdapterConfig:
    """The adapter_config.json of a directory. Raises CheckpointError, by name, for what would change the result."""
    if not directory.is_dir():
        raise CheckpointError(f"There is no adapter directory {directory}.")
    if not (directory / CONFIG).is_file():
        raise CheckpointError(f"There is no {CONFIG} in {directory}.", "An adapter is a directory as PEFT saves it.")
    raw = read_json(directory / CONFIG)
    for key, value in raw.items():
        if key in REQUIRED and not any(value is known or value == known for known in REQUIRED[key]):
            raise CheckpointError(f"{CONFIG}: {key} = {value!r} is not supported; {REQUIRED[key][0]!r} is.")
        off = value is None or value is False or value in ("", [], {})
        if key not in READ | HARMLESS | set(REQUIRED) and not off:
            raise CheckpointError(f"{CONFIG}: {key} = {value!r} is not supported and may change the result.")
    missing = [key for key in ("peft_type", "r", "lora_alpha", "target_modules") if raw.get(key) is None]
    if missing:
        raise CheckpointError(f"{CONFIG}: {missing[0]} is missing.")
    targets = raw["target_modules"]
    if targets != ALL_LINEAR and not (
        isinstance(targets, list) and targets and all(isinstance(t, str) for t in targets)
    ):
        raise CheckpointError(f"{CONFIG}: target_modules must be a list of names or {ALL_LINEAR!r}, not {targets!r}.")
    patterns = [raw.get(key) or {} for key in ("rank_pattern", "alpha_pattern")]
    if not all(isinstance(pattern, dict) for pattern in patterns):
        raise CheckpointError(f"{CONFIG}: rank_pattern and alpha_pattern must be objects.")
    if not isinstance(raw.get("use_rslora") or False, bool):
        raise CheckpointError(f"{CONFIG}: use_rslora must be true or false, not {raw['use_rslora']!r}.")
    return AdapterConfig(
        rank=raw["r"], alpha=raw["lora_alpha"], targets=None if targets == ALL_LINEAR else tuple(sorted(targets)),
        rslora=bool(raw.get("use_rslora")), dropout=raw.get("lora_dropout") or 0.0,
        ranks=patterns[0], alphas=patterns[1],
    )  # fmt: skip


@torch.no_grad()
def apply_adapter(model: DecoderLM, directory: Path) -> AdapterConfig:
    """Merge an adapter directory into the weights of its base: W + scale · B · A in float32, then W's dtype again.

    Raises CheckpointError, by name, for a tensor that is missing, left over, or of a shape that does not belong to
    this base and rank; everything is checked before a weight changes. The name of the base is not compared: it
    is a note of whoever trained.
    """
    config = read_adapter_config(directory)
    targets = chosen_targets(model, config.targets)
    path = directory / WEIGHTS
    if not path.is_file():
        pickled = (directory / "adapter_model.bin").is_file()
        hint = "adapter_model.bin is a pickle, which can run code; save it as safetensors." if pickled else ""
        raise CheckpointError(f"There is no {WEIGHTS} in {directory}.", hint)
    parameters = dict(model.named_parameters())
    with open_tensors(path) as file:
        _check_tensors(path, file, targets, config)
        for target in targets:
            a, b = (file.get_tensor(name).float() for name in _names(target.module))
            rows = parameters[f"{target.ours}.weight"][target.start : target.stop]
            rows.copy_(rows.float() + config.scale_of(target.module) * (b @ a).to(rows.device))
    return config


def merge_into(base: Path, adapter: Path, target: Path) -> None:
    """Write `target`: the checkpoint directory `base` with an adapter merged in, else alike, dtypes too."""
    config = load_config(base)
    read_adapter_config(adapter)  # a mistake in its name is told before the weights are read
    kinds = set(stored_dtypes(base).values())
    kind = kinds.pop() if len(kinds) == 1 else torch.float32
    model = load_model(base, config, kind, torch.device("cpu"))
    apply_adapter(model, adapter)
    save_like(target, model, base)


def _names(module: str) -> tuple[str, str]:
    """PEFT's names of A and B of a target."""
    return f"{PREFIX}{module}.lora_A.weight", f"{PREFIX}{module}.lora_B.weight"


def _check_tensors(path: Path, file: Any, targets: list[Target], config: AdapterConfig) -> None:
    present = set(file.keys())
    shapes: dict[str, list[int]] = {}
    for target in targets:
        rank = config.rank_of(target.module)
        shapes |= zip(_names(target.module), ([rank, target.d_in], [target.stop - target.start, rank]), strict=True)
    for name, wanted in shapes.items():
        if name not in present:
            raise CheckpointError(f"{path}: the tensor {name} is missing, which target_modules asks for.")
        piece = file.get_slice(name)
        if piece.get_shape() != wanted:
            raise CheckpointError(
                f"{path}: {name} has the shape {piece.get_shape()}; this base and rank ask for {wanted}.",
                "The adapter was trained on another base, or its rank is not the config's.",
            )
        if piece.get_dtype() not in ("F32", "F16", "BF16"):
            raise CheckpointError(f"{path}: {name} is stored as {piece.get_dtype()}, which is not supported.")
    if spare := sorted(present - set(shapes)):
        raise CheckpointError(f"{path}: the tensor {spare[0]} has no place in this model.")


def save_adapter(
    directory: Path, tensors: Mapping[str, tuple[Tensor, Tensor]], config: AdapterConfig, base: str
) -> None:
    """Write a directory that PEFT and `apply_adapter` read alike; complete, or not at all.

    tensors: target module -> (A, B). base: where the base model is, as a note.
    """
    stored: dict[str, Tensor] = {}
    for module, pair in tensors.items():
        stored |= zip(_names(module), (t.detach().to("cpu").contiguous() for t in pair), strict=True)
    ends = sorted({module.rpartition(".")[2] for module in tensors})
    told = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": config.rank,
        "lora_alpha": config.alpha, "lora_dropout": config.dropout, "use_rslora": config.rslora,
        "rank_pattern": dict(config.ranks), "alpha_pattern": dict(config.alphas), "bias": "none",
        "target_modules": list(config.targets or ends), "fan_in_fan_out": False, "init_lora_weights": True,
        "modules_to_save": None, "inference_mode": True,
    }  # fmt: skip
    with complete_directory(directory) as half_written:
        write_json(half_written / CONFIG, told)
        save_file(stored, half_written / WEIGHTS, {"format": "pt"})
