"""The training loop, from top to bottom."""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from engine.errors import DataError
from engine.hardware import fastest
from weights.objectives import OBJECTIVES, Objective, compiled
from weights.recipe import Stage
from weights.train.metrics import Metrics
from weights.train.optimizer import build_optimizers, set_lr
from weights.train.parallel import World, check_stage, rows_of, spread, sum_gradients
from weights.train.schedule import lr_at
from weights.train.state import load_state, restore, save_state, states

Evaluate = Callable[[Any], Mapping[str, Any]]
RECENT = 50  # steps whose mean loss tells what a spike is


class Rows(Protocol):
    """Where batches come from: a pure function of the row, so that a resume has nothing to restore."""

    @property
    def n_steps(self) -> int:
        """Optimizer steps in the stage."""

    def batch(self, first_row: int, rows: int) -> Any:
        """Rows for one forward pass: a dataclass of tensors that knows `n_targets`, what its loss is divided by."""


@dataclass(frozen=True)
class Run:
    """Where and how a stage runs; what it computes is the Stage's.

    evaluate: what is measured now and then, as entries for the metrics, such as {"bits_per_byte": ..., "samples": ...}.
    """

    home: Path
    fingerprint: str  # of all that decides the numbers; a state of another is refused
    compiled: bool = False
    stop_after: int | None = None  # leave, saved, after this step: for cutting a run on purpose
    evaluate: Evaluate | None = None
    world: World = field(default_factory=World)
    tensorboard: bool = False
    flops_per_token: float = 0.0  # for the share of the matrix limit; 0 when it is not known


def train(model: nn.Module, stage: Stage, mixture: Rows, run: Run, objective: Objective | None = None) -> bool:
    """Train `model` in place through a stage, resuming when home holds a state; True when the stage is done.

    A model has `blocks`, whose parts can be recomputed and sharded, and `warm(length)`, which makes the tables that
    rows of this length need. objective: instead of the one that the stage names.

    False means that SIGINT, SIGTERM or stop_after ended it early, with its state saved. Raises DataError when the
    loss is no number or leaps; the last good state is named.
    """
    run.home.mkdir(parents=True, exist_ok=True)
    work = prepare(model, stage, mixture, run, objective)
    first = _resume(work)
    speed = partial(Metrics, run.home, stage.name, mixture.n_steps, first, stage.batch * stage.row)
    with (
        deterministic(run.world),
        _recomputed(model, stage.recompute),
        _asked_to_stop() as stopping,
        speed(
            flops_per_token=run.flops_per_token / run.world.size, device=run.world.device,
            quiet=not run.world.is_first, tensorboard=run.tensorboard,
        ) as metrics,
    ):  # fmt: skip
        saved_at = time.monotonic()
        for step in range(first, mixture.n_steps):
            metrics.step(step, **take_step(work, step))
            done = step + 1
            last = done == mixture.n_steps
            if run.evaluate and (done % stage.eval_every == 0 or last):
                metrics.write({"step": step, **run.evaluate(work.trained)})
            leaving = stopping.is_set() or (run.stop_after is not None and done >= run.stop_after)
            leaving = run.world.any(leaving)
            if run.world.any(leaving or last or time.monotonic() - saved_at > 60 * stage.save_minutes):
                _save(work, done, last)
                saved_at = time.monotonic()
            if leaving and not last:
                return False
    if work.average is not None:
        model.load_state_dict(work.trained.state_dict())
    model.eval()
    return True


@dataclass
class Work:
    """What one run of the loop works with."""

    model: nn.Module
    stage: Stage
    mixture: Rows
    run: Run
    objective: Objective
    optimizers: list[torch.optim.Optimizer]
    mixed: bool  # whether products run in bfloat16
    average: AveragedModel | None
    recent: deque[float]

    @property
    def trained(self) -> nn.Module:
        """The weights that count: the moving average where there is one."""
        return self.model if self.average is None else self.average.module


def prepare(model: nn.Module, stage: Stage, mixture: Rows, run: Run, objective: Objective | None = None) -> Work:
    """Model on its device and among its processes, optimizers, objective."""
    world = run.world
    check_stage(stage, world)
    model.to(world.device)
    cast(Any, model).warm(stage.row)  # now: a compiler that saw a table grow would compile twice
    spread(model, world)
    model.train()
    objective = objective or OBJECTIVES[stage.objective]
    return Work(
        model, stage, mixture, run,
        objective=compiled(objective) if run.compiled else objective,
        optimizers=build_optimizers(model, stage),
        mixed=world.device.type != "cpu" or fastest("matmul") == "bfloat16",  # asked once: must not change in a run
        average=_average(model, stage.ema) if stage.ema else None,
        recent=deque(maxlen=RECENT),
    )  # fmt: skip


def _average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights (Polyak 1992)."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]


def _resume(work: Work) -> int:
    """The step to begin with: after the newest state, when there is one."""
    state = load_state(work.run.home, work.run.fingerprint)
    if state is None:
        return 0
    restore(state, work.model, work.optimizers)
    if work.average is not None:
        work.average.load_state_dict(state["average"])
    work.recent.extend(state.get("recent", ()))
    return int(state["step"])


def _save(work: Work, done: int, last: bool) -> None:
    extra: dict[str, Any] = {"recent": list(work.recent)}
    if work.average is not None:
        extra["average"] = work.average.state_dict()
    save_state(
        work.run.home, done, work.model, work.optimizers, work.run.fingerprint, last,
        keep=work.stage.keep_states, extra=extra, world=work.run.world,
    )  # fmt: skip


def take_step(work: Work, step: int) -> dict[str, float]:
    """One optimizer step; its loss, learning rate and gradient norm. Raises DataError before it spoils the weights."""
    lr = lr_at(step, work.mixture.n_steps, work.stage)
    set_lr(work.optimizers, lr)
    loss_sum = accumulate(
        work.model, work.objective, work.stage, work.mixture, step, mixed=work.mixed, world=work.run.world
    )
    norm_of = torch.nn.utils.clip_grad_norm_(_trainable(work.model), work.stage.clip)
    norm = float(norm_of.full_tensor() if hasattr(norm_of, "full_tensor") else norm_of)
    loss = float(loss_sum)
    _refuse_spoiled(work, step, loss, norm)
    for optimizer in work.optimizers:
        optimizer.step()
    for optimizer in work.optimizers:
        optimizer.zero_grad(set_to_none=True)
    if work.average is not None:
        work.average.update_parameters(work.model)
    work.recent.append(loss)
    return {"loss": loss, "lr": lr, "grad_norm": round(norm, 4)}


def accumulate(
    model: nn.Module, objective: Objective, stage: Stage, mixture: Rows, step: int, mixed: bool = False,
    world: World = World(),
) -> torch.Tensor:  # fmt: skip
    """Gradients of one optimizer step; returns the mean loss per target over the whole batch, of all processes.

    Summed over micro-batches and processes and divided once by all targets, so that how rows are dealt changes
    nothing. mixed: whether the products run in bfloat16.
    """
    torch.manual_seed(step * world.size + world.rank)  # dropout is a function of the step: a resume restores nothing
    offset, rows, at_once = rows_of(world, stage.batch, stage.micro_batch)
    first = step * stage.batch + offset
    batches = [mixture.batch(start, at_once) for start in range(first, first + rows, at_once)]
    targets = torch.tensor(sum(b.n_targets for b in batches), device=world.device)
    n_targets = world.total(targets).clamp_min(1)
    total = torch.zeros((), device=world.device)
    for number, batch in enumerate(batches):
        if world.is_sharded:
            model.set_requires_gradient_sync(number == len(batches) - 1)  # type: ignore[operator]
        with torch.autocast(world.device.type, torch.bfloat16, enabled=mixed):
            loss = objective(model, _moved(batch, world.device), stage.dropout) / n_targets
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    sum_gradients(_trainable(model), world)
    return world.total(total)


def _trainable(model: nn.Module) -> Sequence[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _moved(batch: Any, device: torch.device) -> Any:
    if device.type == "cpu":
        return batch
    return replace(batch, **{f.name: getattr(batch, f.name).to(device, non_blocking=True) for f in fields(batch)})


def _refuse_spoiled(work: Work, step: int, loss: float, norm: float) -> None:
    """Stop at a loss that is no number, or that leaps far above what it was of late."""
    mean = sum(work.recent) / max(1, len(work.recent))
    leaps = len(work.recent) == RECENT and loss > mean + work.stage.spike
    if loss == loss and abs(loss) != float("inf") and norm == norm and norm != float("inf") and not leaps:
        return
    good = states(work.run.home)
    what = f"a leap from {mean:.3f}" if leaps else f"its gradient's norm {norm}"
    raise DataError(
        f"The loss of step {step} is {loss}, {what}; the weights were not touched.",
        f"The last good state is {good[-1]}." if good else "There is no earlier state.",
    )


@contextmanager
def deterministic(world: World) -> Iterator[None]:
    """Sums in a fixed order: on several threads a compiled embedding's gradient is else added up as threads arrive.

    On the CPU only, where a resume is to be exact bit for bit; on a GPU it costs speed. New memory is not filled, which
    torch else does to show who reads what was never written, and which costs a fiftieth of a step.
    """
    memory: Any = torch.utils.deterministic
    before, filled = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(world.device.type == "cpu")
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filled


@contextmanager
def _recomputed(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Blocks keep their inputs alone for the backward pass, and run again in it (Chen 2016)."""
    blocks = list(cast(Any, model).blocks) if wanted else []
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets, so that a run ends between two steps; the handlers come back after."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(s, lambda *_: stopping.set()) for s in signals]
    try:
        yield stopping
    finally:
        for s, handler in zip(signals, before, strict=True):
            signal.signal(s, handler)
