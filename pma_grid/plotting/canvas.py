"""What all pictures share: figures and axes without pyplot, colours, ticks, numbers as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pma_grid.grid.grid import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DENSITY_MAP = "magma"
DISPLACEMENT_MAP = "viridis"
TIME_MAP = "viridis"
# Okabe & Ito's colours: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#777777")
INK = "#333333"
FAINT = "#888888"


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches that arranges itself and belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def given_or_new(ax: Axes | None, width: float = 4.2, height: float = 4.0) -> Axes:
    """The axes given, or those of a new figure."""
    return new_figure(width, height).subplots() if ax is None else ax


def save(figure: Any, path: str | Path) -> None:
    """Write a figure to a file; the ending chooses the format."""
    figure.savefig(path)


def one_scale(axes: Sequence[Axes], grids: Sequence[Grid]) -> None:
    """Windows of one size, each centred on its box: lengths compare and titles are level."""
    halves = [0.5 * max(g.upper[k] - g.lower[k] for g in grids) for k in (0, 1)]
    for ax, grid in zip(axes, grids, strict=True):
        row, column = (0.5 * (grid.lower[k] + grid.upper[k]) for k in (0, 1))
        ax.set_xlim(column - halves[1], column + halves[1])
        ax.set_ylim(row + halves[0], row - halves[0])


def bare(ax: Axes) -> None:
    """Pictures need no ticks."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def open_corner(ax: Axes) -> None:
    """Axes without the upper and right line, with quiet ticks and labels."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(which="both", labelsize=8, colors=INK)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(fontsize=9, color=INK)


def scientific(value: float) -> str:
    """A number with two digits as mathematical text: 1.2e-05 becomes $1.2\\times10^{-5}$."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return rf"${mantissa}\times10^{{{int(exponent)}}}$"


def distinct(values: Sequence[float]) -> list[str]:
    """Numbers as text with as few digits, at least three, as tell all of them apart."""
    for digits in range(3, 12):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts
