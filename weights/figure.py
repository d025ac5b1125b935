"""A figure of one or more panels as a PNG, where matplotlib is installed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.errors import DataError


def draw_figure(path: Path, panels: int, draw: Callable[..., None]) -> bool:
    """Save what `draw` draws on its panels (matplotlib's axes, one argument each); False without matplotlib.

    Raises DataError when the file cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=(7 if panels == 1 else 5 * panels, 4.5 if panels == 1 else 4))
    draw(*(axes if panels > 1 else [axes]))
    _save(figure, path)
    return True


def draw_grid(path: Path, down: int, across: int, size: float, draw: Callable[[Any, int], None]) -> bool:
    """Save down x across square panels of `size` inches; `draw` is given each one's axes and number. False as above."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(down, across, figsize=(size * across, size * down), squeeze=False)
    for index, panel in enumerate(axes.flat):
        draw(panel, index)
    _save(figure, path)
    return True


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as e:  # matplotlib tells of an ending that it does not know with the second
        raise DataError(f"{path} cannot be drawn: {getattr(e, 'strerror', None) or e}.") from e
    finally:
        pyplot.close(figure)


def mark_powers(axes: Any, values: Sequence[int], label: str) -> None:
    """A logarithmic axis of x that marks these values and no others."""
    axes.set(xscale="log", xlabel=label)
    axes.set_xticks(values, [str(v) for v in values])
    axes.minorticks_off()
    axes.legend(fontsize=8)
