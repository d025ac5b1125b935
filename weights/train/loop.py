"""The training loop, from top to bottom."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.decoder import DecoderLM
from engine.errors import DataError
from engine.hardware import fastest
from weights.data.mixture import Mixture
from weights.objectives import OBJECTIVES, Objective
from weights.recipe import Stage
from weights.train.metrics import Metrics
from weights.train.optimizer import build_optimizers, set_lr
from weights.train.schedule import lr_at
from weights.train.state import load_state, save_state, states

Evaluate = Callable[[DecoderLM], Mapping[str, float]]


@dataclass(frozen=True)
class Run:
    """Where and how a stage runs; what it computes is the Stage's."""

    home: Path
    fingerprint: str  # of all that decides the numbers; a state of another is refused
    compiled: bool = False
    stop_after: int | None = None  # leave, saved, after this step: for cutting a run on purpose
    evaluate: Evaluate | None = None


def train(model: DecoderLM, stage: Stage, mixture: Mixture, run: Run) -> bool:
    """Train `model` in place through a stage, resuming when home holds a state; True when the stage is done.

    False means that SIGINT, SIGTERM or stop_after ended it early, with its state saved. Raises DataError when the
    loss is no number; the last good state is named.
    """
    run.home.mkdir(parents=True, exist_ok=True)
    optimizers = build_optimizers(model, stage)
    first = 0
    if state := load_state(run.home, run.fingerprint):
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        first = state["step"]
    objective = OBJECTIVES[stage.objective]
    if run.compiled:
        objective = torch.compile(objective)
    mixed = fastest("matmul") == "bfloat16"  # asked once: the answer lies in a file, and must not change in a run
    model.train()
    saved_at = time.monotonic()
    with (
        _deterministic(),
        _asked_to_stop() as stopping,
        Metrics(run.home, stage.name, mixture.n_steps, first, stage.batch * stage.row) as metrics,
    ):
        for step in range(first, mixture.n_steps):
            lr = lr_at(step, mixture.n_steps, stage)
            set_lr(optimizers, lr)
            loss = accumulate(model, objective, stage, mixture, step, mixed)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                raise _spoiled(step, loss.item(), norm.item(), run.home)
            for optimizer in optimizers:
                optimizer.step()
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            metrics.step(step, loss.item(), lr=lr, grad_norm=round(norm.item(), 4))
            done = step + 1
            last = done == mixture.n_steps
            if run.evaluate and (done % stage.eval_every == 0 or last):
                metrics.write({"step": step, "bits_per_byte": dict(run.evaluate(model))})
            leaving = stopping.is_set() or (run.stop_after is not None and done >= run.stop_after)
            if leaving or last or time.monotonic() - saved_at > 60 * stage.save_minutes:
                save_state(run.home, done, model, optimizers, run.fingerprint, last)
                saved_at = time.monotonic()
            if leaving and not last:
                return False
    model.eval()
    return True


def accumulate(
    model: DecoderLM, objective: Objective, stage: Stage, mixture: Mixture, step: int, mixed: bool = False
) -> torch.Tensor:
    """Gradients of one optimizer step; returns the mean loss per target over the whole batch.

    Summed over micro-batches and divided once by all targets, so that the split into micro-batches changes nothing.
    mixed: whether the products run in bfloat16.
    """
    starts = range(step * stage.batch, (step + 1) * stage.batch, stage.micro_batch)
    batches = [mixture.batch(start, stage.micro_batch) for start in starts]
    n_targets = max(1, sum(int((b.targets >= 0).sum()) for b in batches))
    total = torch.zeros(())
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = objective(model, batch) / n_targets
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def _spoiled(step: int, loss: float, norm: float, home: Path) -> DataError:
    good = states(home)
    where = f"The last good state is {good[-1]}." if good else "There is no earlier state."
    return DataError(
        f"The loss of step {step} is {loss}, its gradient's norm {norm}; the weights were not touched.",
        where,
    )


@contextmanager
def _deterministic() -> Iterator[None]:
    """Sums in a fixed order: on several threads a compiled embedding's gradient is else added up as threads arrive."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


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
