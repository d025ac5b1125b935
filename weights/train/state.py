"""The saved state of a run: all that an exact resume needs, written so that a crash leaves the last good one."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from engine.errors import DataError

KEEP = 2


def save_state(
    home: Path, step: int, model: nn.Module, optimizers: list[Optimizer], fingerprint: str, done: bool
) -> Path:
    """Write step-N.ckpt under home (first beside it, then renamed over), and drop all but the newest KEEP."""
    path = home / f"step-{step:07d}.ckpt"
    half_written = path.with_suffix(".tmp")
    state = {
        "step": step,
        "done": done,
        "fingerprint": fingerprint,
        "model": model.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "random": torch.get_rng_state(),
    }
    try:
        with half_written.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half_written, path)
    except (OSError, RuntimeError) as e:  # torch tells of a full disk with the second
        half_written.unlink(missing_ok=True)
        why = getattr(e, "strerror", None) or str(e).splitlines()[0]
        raise DataError(f"The state of step {step} could not be saved under {home}: {why}.") from e
    for stale in home.glob("step-*.tmp"):  # of a run that was killed while it saved
        stale.unlink()
    for old in states(home)[:-KEEP]:
        old.unlink()
    return path


def states(home: Path) -> list[Path]:
    """Saved states, oldest first."""
    return sorted(home.glob("step-*.ckpt"))


def load_state(home: Path, fingerprint: str | None = None) -> dict[str, Any] | None:
    """The newest state that can be read; None when there is none.

    Raises DataError when a fingerprint is given and the state is that of another recipe, corpus or tokenizer.
    """
    for path in reversed(states(home)):
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True, mmap=False)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
            continue  # a file cut short; the one before it is whole
        if fingerprint is not None and state.get("fingerprint") != fingerprint:
            raise DataError(
                f"{home} holds the state of another recipe, corpus or tokenizer.", "Choose another --out, or remove it."
            )
        return state
    return None
