"""The curves of a run: as a picture, and as characters in a terminal."""

import json
from pathlib import Path
from typing import Any

from engine.errors import DataError
from weights.figure import draw_figure

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character: 4 rows of 2


def read_metrics(home: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl. Raises DataError when there is none."""
    path = home / "metrics.jsonl"
    try:
        text = path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]  # what a kill cut is no line
    except OSError as e:
        raise DataError(f"There are no metrics at {path}.", "Name the directory of a stage, such as OUT/sft.") from e
    except ValueError as e:
        raise DataError(f"{path} is damaged: {e}.") from e
    if not all(isinstance(r, dict) for r in rows):
        raise DataError(f"{path} is damaged: a line is no JSON object.")
    if not any("loss" in r for r in rows):
        raise DataError(f"{path} holds no step yet.")
    return rows


def plot_losses(home: Path, picture: Path) -> bool:
    """Draw the losses of a run as a PNG; False when matplotlib is not installed."""

    def draw(axes: Any) -> None:
        rows = read_metrics(home)
        trained = [(r["step"], r["loss"]) for r in rows if "loss" in r]
        axes.plot(*zip(*trained, strict=True), linewidth=0.7, label="training loss")
        axes.set(xlabel="step", ylabel="nats per token", title=home.name)
        held_out = sorted({key for r in rows for key in r.get("bits_per_byte", {})})
        if held_out:
            right = axes.twinx()
            right.set_ylabel("bits per byte, held out")
            for name in held_out:
                points = [(r["step"], r["bits_per_byte"][name]) for r in rows if name in r.get("bits_per_byte", {})]
                right.plot(*zip(*points, strict=True), marker=".", linewidth=1, label=name)
            right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.1, 0.5))

    return draw_figure(picture, 1, draw, (9, 4.5))


def terminal_plot(rows: list[dict[str, Any]], width: int, height: int) -> str:
    """The training loss against the step, in braille dots: `height` lines of at most `width` characters, and one below.

    A column shows the lowest and the highest loss of its steps, and all between.
    """
    points = [(r["step"], r["loss"]) for r in rows if "loss" in r]
    first, last = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    columns, lines = max(1, width - 9) * 2, height * 4
    spans: dict[int, tuple[int, int]] = {}
    for x, y in points:
        column = round((x - first) / max(1, last - first) * (columns - 1))
        line = round((high - y) / max(1e-9, high - low) * (lines - 1))
        top, bottom = spans.get(column, (line, line))
        spans[column] = (min(top, line), max(bottom, line))
    board = [[0] * ((columns + 1) // 2) for _ in range(height)]
    for column, (top, bottom) in spans.items():
        for line in range(top, bottom + 1):
            board[line // 4][column // 2] |= DOTS[line % 4][column % 2]
    labels = {0: f"{high:8.3f}", height - 1: f"{low:8.3f}"}
    drawn = [
        f"{labels.get(n, ''):8} " + "".join(chr(0x2800 + dots) for dots in line).rstrip("\u2800")
        for n, line in enumerate(board)
    ]
    below = f"{'step':>8} {first} to {last}; loss now {points[-1][1]:.3f}"
    return "\n".join([*drawn, below if len(below) <= width else f"now {points[-1][1]:.3f}"])
