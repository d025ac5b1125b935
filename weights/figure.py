"""A figure of one or more panels as a PNG, where matplotlib is installed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.errors import DataError


def draw_figure(path: Path, panels: int, draw: Callable[..., None], size: tuple[float, float] | None = None) -> bool:
    """Save what `draw` draws on its panels (matplotlib's axes, one argument each); False without matplotlib.

    size: of the whole, in inches. Raises DataError when the file cannot be written.
    """
    size = size or ((7, 4.5) if panels == 1 else (5 * panels, 4))
    return _saved(path, (1, panels), size, lambda axes: draw(*axes))


def draw_grid(path: Path, down: int, across: int, size: float, draw: Callable[[Any, int], None]) -> bool:
    """Save down x across square panels of `size` inches; `draw` is given each one's axes and number. False as above."""

    def fill(axes: Sequence[Any]) -> None:
        for index, panel in enumerate(axes):
            draw(panel, index)

    return _saved(path, (down, across), (size * across, size * down), fill)


def _saved(
    path: Path, panels: tuple[int, int], size: tuple[float, float], fill: Callable[[Sequence[Any]], None]
) -> bool:
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(*panels, figsize=size, squeeze=False)
    try:
        fill(list(axes.flat))
        figure.tight_layout()
        _save(figure, path)
    finally:
        pyplot.close(figure)
    return True


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as e:  # matplotlib tells of an ending that it does not know with the second
        raise DataError(f"{path} cannot be drawn: {getattr(e, 'strerror', None) or e}.") from e


def mark_powers(axes: Any, values: Sequence[int], label: str) -> None:
    """A logarithmic axis of x that marks these values and no others."""
    axes.set(xscale="log", xlabel=label)
    axes.set_xticks(values, [str(v) for v in values])
    axes.minorticks_off()
    axes.legend(fontsize=8)
