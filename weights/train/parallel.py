"""Many processes on one model: plain data parallel, and parameters sharded with FSDP2. Started by torchrun.

Every process runs the same loop on its own rows. Losses are divided by the targets of all processes, so gradients are
summed over them, never averaged: N processes compute what one process with the whole batch computes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from engine.errors import DataError, TfmError, UsageError
from weights.recipe import Stage

Strategy = Literal["replicate", "shard"]
LONGEST_WAIT = timedelta(hours=6)  # for another process: the first one makes tokenizer and shards alone


@dataclass(frozen=True)
class World:
    """The processes that train together, and this one among them. One process alone needs no torchrun."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  (a device is immutable)
    strategy: Strategy = "replicate"

    @property
    def is_first(self) -> bool:
        """Whether this process tells progress and writes what all have in common."""
        return self.rank == 0

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds only its part of the parameters."""
        return self.size > 1 and self.strategy == "shard"

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            with _together():
                distributed.all_reduce(value)
        return value

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            with _together():
                distributed.barrier()

    def any(self, flag: bool) -> bool:
        """Whether any process says yes: all of them must leave together."""
        if self.size == 1:
            return flag
        return bool(self.total(torch.tensor(int(flag), device=self.device)).item())


@contextmanager
def _together() -> Iterator[None]:
    """What all processes do at once: where one is gone, an error that says so."""
    try:
        yield
    except RuntimeError as e:
        raise DataError("Another process of this run has ended, so this one cannot go on.") from e


@contextmanager
def world(strategy: Strategy, device: torch.device) -> Iterator[World]:
    """The world that torchrun's environment tells of, joined until the end of the block.

    NCCL on GPUs, gloo on the CPU. An error is told by the process that meets it first; the others leave silently, with
    its exit code. Raises UsageError for sharding without torchrun.
    """
    if "RANK" not in os.environ:
        if strategy == "shard":
            raise UsageError(
                "--shard needs several processes.", "Start it with torchrun --nproc-per-node N -m weights."
            )
        yield World(device=device)
        return
    try:
        store, rank, size = next(rendezvous("env://"))
    except (ValueError, distributed.DistError) as e:
        raise UsageError(f"The processes could not find each other: {str(e).splitlines()[0]}") from e
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT)
    try:
        yield World(rank, size, device, strategy)
    except TfmError as e:
        if not _is_told(store):
            raise
        raise SystemExit(e.exit_code) from e
    finally:
        distributed.destroy_process_group()


def _is_told(store: Store) -> bool:
    """Whether another process tells what went wrong. A store that is gone went with the first process, which did."""
    try:
        return int(store.add("told", 1)) > 1
    except RuntimeError:
        return True


def check_stage(stage: Stage, world: World) -> None:
    """Raise DataError for a stage that these processes cannot run."""
    rows_of(world, stage.batch, stage.micro_batch)
    if world.is_sharded and (stage.ema or stage.optimizer == "muon"):
        raise DataError(f"Stage {stage.name!r}: sharded training has AdamW only, and no moving average.")


def spread(model: nn.Module, world: World) -> None:
    """Shard the model's parameters in place, block by block (FSDP2, Zhao 2023); nothing to do for other worlds."""
    if not world.is_sharded:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in cast(Any, model).blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "hidden")  # the loss asks for hidden states, not for forward
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def sum_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """Add up the gradients of all processes; FSDP2 has done so in the backward pass."""
    if world.size == 1 or world.is_sharded:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])  # one message is faster than many small ones
    world.total(flat)
    parts = torch.split(flat, [g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def rows_of(world: World, batch: int, micro_batch: int) -> tuple[int, int, int]:
    """(first row, rows, rows at once) of this process in a batch. Raises DataError when they cannot be dealt evenly."""
    if batch % world.size:
        raise DataError(f"A batch of {batch} rows cannot be dealt to {world.size} processes.")
    rows = batch // world.size
    at_once = min(micro_batch, rows)
    if rows % at_once:
        raise DataError(f"{rows} rows for each of {world.size} processes are no multiple of {at_once} at once.")
    return world.rank * rows, rows, at_once
