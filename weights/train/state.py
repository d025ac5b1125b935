"""The saved state of a run: all that an exact resume needs, written so that a crash leaves the last good one.

A state is one file; with sharded parameters it is a directory that every process writes its part of
(torch.distributed.checkpoint), which any number of processes can read.
"""

import os
import pickle
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.optim import Optimizer

from engine.errors import DataError
from weights.train.parallel import World

KEEP = 2
FACTS = "facts.pt"  # in the directory of a sharded state: what all processes have in common


def save_state(
    home: Path, step: int, model: nn.Module, optimizers: Sequence[Optimizer], fingerprint: str, done: bool,
    keep: int = KEEP, extra: dict[str, Any] | None = None, world: World = World(),
) -> Path:  # fmt: skip
    """Write step-N.ckpt under home (first beside it, then renamed over), and drop all but the newest `keep`.

    extra: what else belongs to the run. Raises DataError when it cannot be written; the states before stay.
    """
    path = home / f"step-{step:07d}.ckpt"
    facts = {"step": step, "done": done, "fingerprint": fingerprint, **(extra or {})}
    try:
        if world.is_sharded and not done:
            _write_shards(path, facts, model, optimizers, world)
        elif world.is_sharded:
            whole = _whole_model(model)  # every process must take part
            if world.is_first:
                _write_file(path, facts | {"model": whole, "optimizers": []})
        elif world.is_first:
            _write_file(path, facts | {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]})
    except (OSError, RuntimeError, CheckpointException) as e:  # torch tells of a full disk with the second or third
        _remove(path.with_suffix(".tmp"))
        raise DataError(f"The state of step {step} could not be saved under {home}: {_reason(e)}.") from e
    if world.is_first:
        for stale in (*home.glob("step-*.tmp"), *states(home)[:-keep]):  # a .tmp is of a run killed while it saved
            _remove(stale)
    world.wait()
    return path


def _write_file(path: Path, state: dict[str, Any]) -> None:
    half_written = path.with_suffix(".tmp")
    with half_written.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half_written, path)


def _write_shards(
    path: Path, facts: dict[str, Any], model: nn.Module, optimizers: Sequence[Optimizer], world: World
) -> None:
    from torch.distributed.checkpoint import state_dict_saver

    half_written = path.with_suffix(".tmp")
    if world.is_first:
        _remove(half_written)
    world.wait()
    state_dict_saver.save(_sharded(model, optimizers), checkpoint_id=half_written)
    if world.is_first:
        _write_file(half_written / FACTS, facts)
        _remove(path)
        os.replace(half_written, path)


def _reason(error: BaseException) -> str:
    """Why a state could not be written or read, in a few words; of many processes, what the first of them says."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)


def _sharded(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    of_model, of_optimizers = get_state_dict(model, list(optimizers))
    return {"model": of_model, "optimizers": of_optimizers}


def _whole_model(model: nn.Module) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def states(home: Path) -> list[Path]:
    """Saved states, oldest first."""
    return sorted(home.glob("step-*.ckpt"))


def load_state(home: Path, fingerprint: str | None = None) -> dict[str, Any] | None:
    """The newest state that can be read; None when there is none. Of a sharded one, its facts and its `path`.

    Raises DataError when a fingerprint is given and the state is that of another recipe, corpus or tokenizer; and
    when states are there but none can be read: to begin anew would overwrite what may still be rescued.
    """
    found = states(home)
    for path in reversed(found):
        try:
            file = path / FACTS if path.is_dir() else path
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=False)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
            continue  # a file cut short; the one before it is whole
        if fingerprint is not None and state.get("fingerprint") != fingerprint:
            raise DataError(
                f"{home} holds the state of another recipe, corpus or tokenizer.", "Choose another --out, or remove it."
            )
        return state | ({"path": str(path)} if path.is_dir() else {})
    if found:
        raise DataError(f"No state under {home} can be read: {found[-1].name} is damaged.", "Remove it to begin anew.")
    return None


def restore(state: dict[str, Any], model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Put a loaded state's parameters, and optimizer states in place; a sharded one is read here.

    However many processes wrote it, and however many read it. Raises DataError when a sharded one is damaged.
    """
    if "path" in state:
        _read_shards(state["path"], model, optimizers)
        return
    model.load_state_dict(_laid_out(state["model"], dict(model.named_parameters())))
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        values = {i: _laid_out(v, dict.fromkeys(v, parameters[i])) for i, v in saved["state"].items()}
        optimizer.load_state_dict({**saved, "state": values})


def _read_shards(path: str, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    from torch.distributed.checkpoint import state_dict_loader
    from torch.distributed.checkpoint.state_dict import set_state_dict

    parts = _sharded(model, optimizers)
    try:
        with warnings.catch_warnings():  # one process alone is meant
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
            state_dict_loader.load(parts, checkpoint_id=path)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, CheckpointException) as e:
        raise DataError(f"The state {path} is damaged: {_reason(e)}.", "Remove it to go on from the one before.") from e
    set_state_dict(model, list(optimizers), model_state_dict=parts["model"], optim_state_dict=parts["optimizers"])


def _laid_out(values: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Tensors split over the processes as their parameters are; whole ones, and single numbers, stay as they are."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    def lay(tensor: Tensor, parameter: Any) -> Tensor:
        if not isinstance(parameter, DTensor) or tensor.shape != parameter.shape:
            return tensor
        return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)

    return {name: lay(value, like.get(name)) for name, value in values.items()}


def trained_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """The weights that a finished stage leaves: the moving average where one was kept."""
    average = state.get("average")
    if average is None:
        weights: dict[str, Tensor] = state["model"]
        return weights
    return {n.removeprefix("module."): t for n, t in average.items() if n.startswith("module.")}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
