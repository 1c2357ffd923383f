"""What pictures share: axes without pyplot, colours, ticks, numbers as text; a density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.runtime import Array, Status

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.legend import Legend

DENSITY_MAP = "magma"
# Okabe & Ito's colours: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#777777")
# Told apart where colours are not.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# The brightest colour is this quantile of the cells: a spike of a few cells leaves the rest dark.
BRIGHTEST = 0.998
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
    """Write a figure, or the figure of axes, to a file.

    Parameters
    ----------
    figure : Figure or Axes
        What a function of `pma_grid.plotting` returned.
    path : str or path
        The ending chooses the format: .png, .pdf, .svg or whatever else matplotlib writes.
    """
    figure.figure.savefig(path)


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


def grid_image(ax: Axes, grid: Grid, values: Array, **style: Any) -> Any:
    """Values of the cells as colours: axis 0 runs down and axis 1 to the right, as in images."""
    extent = (grid.lower[1], grid.upper[1], grid.upper[0], grid.lower[0])
    return ax.imshow(values, extent=extent, **style)


def plane(density: Density) -> np.ndarray:
    """The values, in 3-D integrated over axis 2 (so that boxes of any height compare)."""
    if density.dim < 3:
        return density.values
    return np.asarray(density.values.sum(axis=2) * density.grid.spacing[2])


def common_top(densities: Sequence[Density]) -> float:
    """The value of the brightest colour for pictures that are compared."""
    return max(float(np.quantile(plane(density), BRIGHTEST)) for density in densities)


def density(
    density: Density, ax: Axes | None = None, *, cmap: str = DENSITY_MAP, top: float | None = None
) -> Axes:
    """Draw a density: a filled curve in 1-D, a picture in 2-D, a projection in 3-D.

    Parameters
    ----------
    density : Density
        In 3-D its integral along axis 2 is drawn.
    ax : Axes, optional
        Where to draw; a new figure by default.
    cmap : str
        Colour map of the picture.
    top : float, optional
        Value of the brightest colour (in 1-D of the top of the axes), to compare several densities;
        by default the largest one.

    Returns
    -------
    Axes
        Axis 0 of the grid runs down and axis 1 to the right, as images are stored.
    """
    ax = given_or_new(ax)
    grid = density.grid
    if density.dim == 1:
        x = grid.axes[0]
        ax.fill_between(x, density.values, color=COLOURS[0], alpha=0.25, lw=0)
        ax.plot(x, density.values, color=COLOURS[0], lw=1.5)
        ax.set_ylim(0, None if top is None else 1.05 * top)
        open_corner(ax, "x")
        return ax
    grid_image(ax, grid, plane(density), cmap=cmap, vmin=0, vmax=top)
    bare(ax)
    return ax


def open_corner(
    ax: Axes, xlabel: str | None = None, ylabel: str | None = None, title: str | None = None
) -> None:
    """Axes without the upper and right line, with quiet ticks and labels, those given if any."""
    for text, put in ((xlabel, ax.set_xlabel), (ylabel, ax.set_ylabel)):
        if text is not None:
            put(text)
    if title is not None:
        titled(ax, title)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(which="both", labelsize=8, colors=INK)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(fontsize=9, color=INK)


def titled(ax: Axes, text: str, size: float = 10) -> None:
    """A title of so many points."""
    ax.set_title(text, fontsize=size, color=INK)


def legend(ax: Axes, **options: Any) -> Legend:
    """A legend without a frame."""
    return ax.legend(frameon=False, fontsize=8, labelcolor=INK, **options)


def legend_beside(ax: Axes) -> None:
    """A legend to the right of the axes, where no curve is."""
    legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))


def time_colours(first: float, last: float, count: int) -> list[Any]:
    """Colours of times between two shares of the colour map, whose palest end is lost on white."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(first, last, count)))


def tick_each(ax: Axes, values: ArrayLike, texts: Sequence[str]) -> None:
    """One tick of the horizontal axis a value: usual ones crowd over a short range."""
    ax.set_xticks(np.asarray(values), texts)
    ax.set_xticks([], minor=True)


def quiet_bar(bar: Colorbar, label: str = "", size: float = 8) -> None:
    """A label and ticks of a colour bar, of so many points."""
    bar.set_label(label, fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=size, colors=INK)


def two_rows(page: Figure, heights: tuple[float, float]) -> tuple[SubFigure, SubFigure]:
    """The upper and the lower part of a page, of heights in this ratio."""
    upper, lower = page.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    return upper, lower


def caption(page: Figure, parts: Sequence[str]) -> None:
    """One line of figures below a page."""
    page.supxlabel("      ".join(parts), fontsize=9, color=INK)


def size_text(shape: Sequence[int], times: str = " × ") -> str:
    """Numbers of cells as they are written below pictures."""
    return times.join(map(str, shape))


def status_text(status: Status) -> str:
    """The name of a status in words."""
    return status.name.lower().replace("_", " ")


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
