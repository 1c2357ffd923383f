"""Pictures of points: histograms, scatter plots, every pair of coordinates.

Axis 0 runs to the right and axis 1 upwards, as coordinates do; the pictures of `density` lie as
images are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.grid.grid import MAX_DIM, Grid
from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, DENSITY_MAP, FAINT, INK
from pma_grid.problem.density import Density
from pma_grid.problem.quantiles import quantiles
from pma_grid.problem.samples import Samples, default_names
from pma_grid.runtime import Array, InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Contours enclose these shares of the mass: the smallest regions that do.
SHARES = (0.95, 0.8, 0.5)
# More points than this are counted on a raster: dots would hide one another.
MOST_DOTS = 20_000
# Bars of histograms, cells an axis of rasters, at most.
MOST_BARS, MOST_CELLS = 60, 128
# Share of the mass that the window of a corner holds: boxes reach far into the tails.
WINDOW_SHARE = 0.9995
# Inches of a panel among others.
PANEL_SIDE = 2.1


def samples(
    points: ArrayLike | Samples,
    density: Density | None = None,
    ax: Axes | None = None,
    *,
    grid: Grid | None = None,
    coordinates: Sequence[int] | None = None,
    names: Sequence[str] = (),
    colour: str = COLOURS[0],
) -> Axes:
    """Draw points: one coordinate as a histogram, or two as dots; over them a density.

    Parameters
    ----------
    points : array_like, shape (n, d) or (n,), or Samples
        More than 20000 points are drawn as counts on a raster.
    density : Density, optional
        A density to draw over the points, integrated over the coordinates that are not drawn: a
        curve over one coordinate, or contours around the smallest regions that hold 50, 80 and 95 %
        of the mass over two.
    ax : Axes, optional
        Where to draw; a new figure by default.
    grid : Grid, optional
        The window is the box of this grid; by default the box of the density, or the range of the
        points.
    coordinates : sequence of one or two int, optional
        Which coordinates to draw; by default the only one, or the first two.  `corner` draws all
        pairs.
    names : sequence of str, optional
        Names of all coordinates, which become the labels of the axes.
    colour : colour, optional
        Colour of the points.

    Returns
    -------
    Axes
        Coordinate 0 runs to the right and coordinate 1 upwards.

    Raises
    ------
    InvalidInputError
        Points of more than 3 coordinates or not finite, a density or a grid of other dimensions,
        coordinates that do not exist.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(100, 2))
    >>> samples(points, names=("a", "b")).get_ylabel()
    'b'
    """
    array = as_points(points)
    grid = grid or (density.grid if density is not None else None)
    _check_dim(array.shape[1], density, grid)
    axes = list(range(min(array.shape[1], 2))) if coordinates is None else [*map(int, coordinates)]
    if len(axes) not in (1, 2) or any(not 0 <= k < array.shape[1] for k in axes):
        raise InvalidInputError(
            f"coordinates is {coordinates!r}; it must name one or two of the coordinates 0 to "
            f"{array.shape[1] - 1}"
        )
    ax = canvas.given_or_new(ax)
    labels = names or default_names(array.shape[1])
    _panel(ax, array, density, axes, _window(array, grid), labels, colour)
    return ax


def corner(
    points: ArrayLike | Samples | None = None,
    density: Density | None = None,
    *,
    names: Sequence[str] = (),
    level: float = 0.95,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw every coordinate of points or of a density by itself, and every pair of them.

    Parameters
    ----------
    points : array_like, shape (n, d) or (n,), or Samples, optional
        Points, drawn as histograms and dots, which are faint where a density is given too.  Points
        or a density must be given.
    density : Density, optional
        A density, drawn by its marginals: of one coordinate a curve, with the central interval that
        holds ``level`` of the mass shaded; of two contours around 50, 80 and 95 % of the mass.  The
        windows hold 99.95 % of the mass of each coordinate.
    names : sequence of str, optional
        Names of the coordinates.
    level : float in (0, 1)
        Mass of the shaded intervals.
    figure : Figure or SubFigure, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Figure or SubFigure
        The coordinates stand on the diagonal, the pairs below it.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(100, 3))
    >>> len(corner(points).axes)
    6
    """
    if points is None and density is None:
        raise InvalidInputError("points and density are both missing; give one of them to draw")
    array = None if points is None else as_points(points)
    dim = array.shape[1] if array is not None else density.dim  # type: ignore[union-attr]
    _check_dim(dim, density)
    window = _window(array, None) if density is None else _held(density)
    labels = names or default_names(dim)
    side = PANEL_SIDE * dim + 0.6 if dim > 1 else 4.0
    page = canvas.new_figure(side, side) if figure is None else figure
    panels = page.subplots(dim, dim, squeeze=False)
    for row, column in np.ndindex(dim, dim):
        ax: Any = panels[row, column]
        if column > row:
            ax.remove()
            continue
        axes = [row] if row == column else [column, row]
        _panel(ax, array, density, axes, window, labels, alpha=1.0 if density is None else 0.6)
        if row == column:
            ax.set_yticks([])
            ax.set_ylabel("")
            ax.spines["left"].set_visible(False)
            if density is not None:
                low, high = interval(density, row, level)
                ax.axvspan(low, high, color=FAINT, alpha=0.15, lw=0)
                text = f"{100 * level:g} %: {low:.4g} to {high:.4g}"
                canvas.titled(ax, text.replace("-", "−"), 8)
        ax.label_outer()
    return page


def as_points(points: ArrayLike | Samples) -> Array:
    """Finite points (n, d) of 1 to 3 coordinates."""
    array = points.points if isinstance(points, Samples) else np.asarray(points, float)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not 1 <= array.shape[1] <= MAX_DIM or not np.isfinite(array).all():
        raise InvalidInputError(
            f"points has shape {array.shape} and {np.count_nonzero(~np.isfinite(array))} entries "
            f"that are not finite; it must hold finite points of 1 to {MAX_DIM} coordinates, one "
            "row each: choose columns, drop rows"
        )
    return array


def box(grid: Grid) -> list[tuple[float, float]]:
    """Lower and upper end of each axis."""
    return list(zip(grid.lower, grid.upper, strict=True))


def marginal(density: Density, axes: Sequence[int]) -> Array:
    """The density of some coordinates, integrated over the others; one or two axes, in order."""
    others = tuple(k for k in range(density.dim) if k not in axes)
    width = float(np.prod([density.grid.spacing[k] for k in others]))
    return np.asarray(density.values.sum(axis=others) * width)


def interval(density: Density, axis: int, level: float) -> tuple[float, float]:
    """The central interval that holds a share of the mass of one coordinate, as of a Posterior."""
    tails = np.array([0.5 * (1 - level), 0.5 * (1 + level)])
    ends = quantiles(marginal(density, (axis,)), density.grid.faces[axis], tails)
    return float(ends[0]), float(ends[1])


def histogram(ax: Axes, x: Array, window: tuple[float, float], colour: str) -> None:
    """Bars of area 1."""
    bars = int(np.clip(round(2 * len(x) ** (1 / 3)), 8, MOST_BARS))
    ax.hist(x, bars, range=window, density=True, color=colour, alpha=0.35, lw=0)
    ax.set_ylabel(f"density, {len(x)} points")


def curve(ax: Axes, density: Density, axis: int) -> None:
    """The density of one coordinate."""
    ax.plot(density.grid.axes[axis], marginal(density, (axis,)), color=INK, lw=1.4)


def scatter(
    ax: Axes, xy: Array, window: Sequence[tuple[float, float]], colour: str, alpha: float = 1.0
) -> None:
    """Dots, smaller and paler the more there are; counts on a raster of very many."""
    if len(xy) > MOST_DOTS:
        cells = int(min(MOST_CELLS, np.sqrt(len(xy)) / 3))
        counts, _, _ = np.histogram2d(xy[:, 0], xy[:, 1], cells, list(window))
        image(ax, counts, window, "Greys")
        return
    size = float(np.clip(2500 / max(1, len(xy)), 1.0, 9.0))
    opacity = alpha * float(np.clip(30 / np.sqrt(max(1, len(xy))), 0.25, 0.8))
    ax.scatter(xy[:, 0], xy[:, 1], s=size, color=colour, alpha=opacity, lw=0, rasterized=True)


def contours(ax: Axes, density: Density, axes: Sequence[int], colour: str = INK) -> None:
    """Around the smallest regions that hold `SHARES` of the mass of two coordinates."""
    values = marginal(density, axes)
    if np.ptp(values) == 0:  # a flat law has no levels
        return
    # values v with the mass of {density >= v} as close above each of the shares as cells allow
    ordered = np.sort(values, axis=None)[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    places = [min(int(np.searchsorted(held, share)), held.size - 1) for share in SHARES]
    heights = sorted({float(ordered[place]) for place in places})
    x, y = (density.grid.axes[k] for k in axes)
    ax.contour(x, y, values.T, heights, colors=colour, linewidths=(0.6, 0.8, 1.0)[: len(heights)])


def image(
    ax: Axes, values: Array, window: Sequence[tuple[float, float]], cmap: str = DENSITY_MAP
) -> Any:
    """Values of two coordinates as colours."""
    (left, right), (low, high) = window
    return ax.imshow(values.T, extent=(left, right, low, high), origin="lower", cmap=cmap, vmin=0,
                     aspect="auto")  # fmt: skip


def frame(ax: Axes, window: Sequence[tuple[float, float]], labels: Sequence[str]) -> None:
    """Window, labels and quiet ticks."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlim(window[0])
    ax.set_xlabel(labels[0])
    ax.xaxis.set_major_locator(MaxNLocator(4))
    if len(window) == 2:
        ax.set_ylim(window[1])
        ax.set_ylabel(labels[1])
        ax.yaxis.set_major_locator(MaxNLocator(4))
    else:
        ax.set_ylim(bottom=0)
    canvas.open_corner(ax)


def _panel(
    ax: Axes, points: Array | None, density: Density | None, axes: list[int],
    window: Sequence[tuple[float, float]], labels: Sequence[str], colour: str = COLOURS[0],
    alpha: float = 1.0,
) -> None:  # fmt: skip
    """One coordinate or two: points, over them a density, and a frame."""
    inside = [window[k] for k in axes]
    if points is not None:
        if len(axes) == 1:
            histogram(ax, points[:, axes[0]], inside[0], colour)
        else:
            scatter(ax, points[:, axes], inside, colour, alpha)
    if density is not None:
        if len(axes) == 1:
            curve(ax, density, axes[0])
        else:
            contours(ax, density, axes)
    frame(ax, inside, [labels[k] for k in axes])


def _check_dim(dim: int, density: Density | None, grid: Grid | None = None) -> None:
    """Refuse a density or a grid that points of so many coordinates do not belong to."""
    for name, owner in (("density", density), ("grid", grid)):
        if owner is not None and owner.dim != dim:
            raise InvalidInputError(
                f"{name} has {owner.dim} axes and points {dim} coordinates; they must agree: draw "
                "points of the law of the density"
            )


def _held(density: Density) -> list[tuple[float, float]]:
    """The part of the box that holds nearly all the mass of each coordinate, with a margin."""
    windows = []
    for axis, (lower, upper) in enumerate(box(density.grid)):
        low, high = interval(density, axis, WINDOW_SHARE)
        margin = 0.1 * (high - low)
        windows.append((max(lower, low - margin), min(upper, high + margin)))
    return windows


def _window(points: Array | None, grid: Grid | None) -> list[tuple[float, float]]:
    """The box of a grid, or of points with a margin."""
    if grid is not None:
        return box(grid)
    assert points is not None
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.05 * (high - low), 0.5)
    return [(float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True)]
