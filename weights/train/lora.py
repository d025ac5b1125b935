"""Low-rank adaptation (LoRA, Hu 2021) of a decoder: attached for training, taken out again as an adapter.

The base stays as it is, bit for bit; only the thin matrices A and B learn.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import torch

from engine.adapter import AdapterConfig, Target, chosen_targets, save_adapter
from engine.decoder import DecoderLM
from engine.layers.linear import Linear
from engine.layers.low_rank import LowRank, LowRankLinear


def attach(model: DecoderLM, config: AdapterConfig, seed: int) -> None:
    """Put low-rank parts, drawn from the seed, beside the targets of the config; nothing else of the model learns.

    Raises CheckpointError for a target that the model does not have.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = sorted(chosen_targets(model, config.targets), key=lambda target: (target.ours, target.start))
    model.requires_grad_(False)
    for ours, group in groupby(targets, key=lambda target: target.ours):
        above, _, name = ours.rpartition(".")
        base = model.get_submodule(ours)
        assert isinstance(base, Linear)
        wrapped = LowRankLinear(base, [_part(target, config, generator) for target in group])
        setattr(model.get_submodule(above), name, wrapped.train(model.training))


def _part(target: Target, config: AdapterConfig, generator: torch.Generator) -> LowRank:
    return LowRank(
        target.module, target.d_in, target.start, target.stop, rank=config.rank_of(target.module),
        scale=config.scale_of(target.module), dropout=config.dropout, generator=generator,
    )  # fmt: skip


def low_rank_parts(model: DecoderLM) -> Iterator[LowRank]:
    """All attached parts."""
    return (module for module in model.modules() if isinstance(module, LowRank))


def save_attached(directory: Path, model: DecoderLM, config: AdapterConfig, base: str) -> None:
    """Write the attached parts as an adapter directory in PEFT's layout. base: where the base is, as a note."""
    save_adapter(directory, {part.name: (part.a, part.b) for part in low_rank_parts(model)}, config, base)
