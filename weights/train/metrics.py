"""What a run tells: a progress bar, metrics as JSON lines, and the curve of its losses as a picture."""

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Metrics:
    """Logs steps to metrics.jsonl (appending; a resumed run cuts what came after its state) and to a progress bar."""

    def __init__(self, home: Path, name: str, n_steps: int, first_step: int, tokens_per_step: int) -> None:
        self.path = home / "metrics.jsonl"
        self._cut(first_step)
        self._tokens_per_step = tokens_per_step
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[told]}"), TimeRemainingColumn(), console=Console(stderr=True),
        )  # fmt: skip
        self._task = self._progress.add_task(name, total=n_steps, completed=first_step, told="")
        self._last = time.perf_counter()

    def __enter__(self) -> "Metrics":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _cut(self, first_step: int) -> None:
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _is_before(line, first_step)]
            half_written = self.path.with_suffix(".tmp")
            half_written.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            os.replace(half_written, self.path)

    def step(self, step: int, loss: float, **values: float) -> None:
        """Log one optimizer step: loss in nats per target, seconds and tokens/s measured here."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        speed = self._tokens_per_step / seconds
        self.write(
            {"step": step, "loss": loss, **values, "seconds": round(seconds, 4), "tokens_per_s": round(speed, 1)}
        )
        self._progress.update(self._task, completed=step + 1, told=f"loss {loss:.3f}  {speed:,.0f} tokens/s")

    def write(self, row: dict[str, Any]) -> None:
        """Append one JSON line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _is_before(line: str, step: int) -> bool:
    """Whether a line of metrics is of an earlier step; a line that a kill cut in two is of none."""
    try:
        return bool(json.loads(line)["step"] < step)
    except (ValueError, KeyError, TypeError):
        return False


def plot_losses(metrics: Path, picture: Path) -> bool:
    """Draw the losses of a metrics.jsonl as a PNG; False when matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    trained = [(r["step"], r["loss"]) for r in rows if "loss" in r]
    axes.plot(*zip(*trained, strict=True), linewidth=0.7, label="training loss")
    axes.set(xlabel="step", ylabel="nats per token", title=metrics.parent.name)
    held_out = sorted({key for r in rows for key in r.get("bits_per_byte", {})})
    if held_out:
        right = axes.twinx()
        right.set_ylabel("bits per byte, held out")
        for name in held_out:
            points = [(r["step"], r["bits_per_byte"][name]) for r in rows if name in r.get("bits_per_byte", {})]
            right.plot(*zip(*points, strict=True), marker=".", linewidth=1, label=name)
        right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.1, 0.5))
    figure.tight_layout()
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
    return True
