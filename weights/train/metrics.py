"""What a run tells: a progress bar, and metrics as JSON lines (for TensorBoard too, where it is installed)."""

import json
import os
import resource
import sys
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from engine.errors import DataError
from engine.hardware import fastest, matmul_flops


class Metrics:
    """Logs steps to metrics.jsonl (appending; a resumed run cuts what came after its state) and to a progress bar.

    A quiet one, of a process that is not the first, writes and shows nothing.
    """

    def __init__(
        self, home: Path, name: str, n_steps: int, first_step: int, tokens_per_step: int, *,
        flops_per_token: float = 0.0, device: torch.device = torch.device("cpu"),
        quiet: bool = False, tensorboard: bool = False,
    ) -> None:  # fmt: skip
        self.path, self._quiet, self._device = home / "metrics.jsonl", quiet, device
        if not quiet:
            try:
                self._cut(first_step)
            except OSError as e:
                raise DataError(f"{self.path} cannot be written: {e.strerror}.") from e
        self._tokens_per_step, self._flops_per_token = tokens_per_step, flops_per_token
        self._limit = 0.0 if quiet or not flops_per_token else _limit(device)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[told]}"), TimeRemainingColumn(), console=Console(stderr=True), disable=quiet,
        )  # fmt: skip
        self._task = self._progress.add_task(name, total=n_steps, completed=first_step, told="")
        self._bits: float | None = None
        self._board = _board(home, first_step) if tensorboard and not quiet else None
        self._last = time.perf_counter()

    def __enter__(self) -> "Metrics":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def _cut(self, first_step: int) -> None:
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _is_before(line, first_step)]
            half_written = self.path.with_suffix(".tmp")
            half_written.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            os.replace(half_written, self.path)

    def step(self, step: int, loss: float, **values: float) -> None:
        """Log one optimizer step: loss in nats per target; seconds, tokens/s and share of the limit measured here."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        speed = self._tokens_per_step / seconds
        row = {"step": step, "loss": loss, **values, "seconds": round(seconds, 4), "tokens_per_s": round(speed, 1)}
        told = f"loss {loss:.3f}  {speed:,.0f} tokens/s"
        if self._limit:
            row["of_limit"] = round(speed * self._flops_per_token / self._limit, 3)
            told += f"  {row['of_limit']:.0%} of the matrix limit"
        row["peak_mb"] = peak_megabytes(self._device)
        if self._bits is not None:
            told += f"  {self._bits:.3f} bits/byte"
        self.write(row)
        self._progress.update(self._task, completed=step + 1, told=f"{told}  {row['peak_mb']:,.0f} MB")

    def write(self, row: dict[str, Any]) -> None:
        """Append one JSON line. Raises DataError when it cannot be written."""
        if bits := row.get("bits_per_byte"):
            self._bits = sum(bits.values()) / len(bits)
        if self._quiet:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as e:
            raise DataError(f"{self.path} cannot be written: {e.strerror}.") from e
        if self._board is not None:
            for name, value in _numbers(row):
                self._board.add_scalar(name, value, row["step"])


def _is_before(line: str, step: int) -> bool:
    """Whether a line of metrics is of an earlier step; a line that a kill cut in two is of none."""
    try:
        return bool(json.loads(line)["step"] < step)
    except (ValueError, KeyError, TypeError):
        return False


@cache  # measured once in a process
def _limit(device: torch.device) -> float:
    """FLOP/s of a large product on this machine, in the width that the run uses."""
    mixed = device.type != "cpu" or fastest("matmul") == "bfloat16"
    return matmul_flops(torch.bfloat16 if mixed else torch.float32, device)


def peak_megabytes(device: torch.device) -> float:
    """The most memory that was held so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there and KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _board(home: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as e:
        raise DataError("--tensorboard needs the package tensorboard.", "pip install tensorboard") from e
    return SummaryWriter(str(home / "tensorboard"), purge_step=first_step)


def _numbers(row: dict[str, Any]) -> list[tuple[str, float]]:
    """The numbers of a row; those of an inner table as table/name."""
    flat = [(k, v) for k, v in row.items() if k != "step"]
    inner = [(f"{k}/{name}", v) for k, table in flat if isinstance(table, dict) for name, v in table.items()]
    return [(k, v) for k, v in (*flat, *inner) if isinstance(v, (int, float))]
