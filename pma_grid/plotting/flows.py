"""A flow on one page, its densities with the recorded series below, and as a film."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pma_grid.flow.flow import Flow, Snapshot
from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, INK, common_top, density, plane
from pma_grid.plotting.histories import TIME_LABEL, history
from pma_grid.problem.density import Density
from pma_grid.runtime import InvalidInputError, is_number

if TYPE_CHECKING:
    from matplotlib.animation import AbstractMovieWriter
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Densities that fit on the page.
MOST_CURVES = 6
MOST_PICTURES = 5
# Inches of the page: its width, the row of series, the row of curves, limits of a row of pictures.
WIDTH = 10.0
SERIES_HEIGHT = 2.9
CURVES_HEIGHT = 2.5
PICTURES_HEIGHT = (1.3, 4.0)
# Steps up to which each is marked.
MOST_MARKED_STEPS = 60
# Frames a second: the shortest time that viewers of .gif respect is 1/50 s.
MAX_FPS = 50
# Inches of the longer side of a picture of a film, and the width that a title and a scale need.
PICTURE_SIDE = 2.6
LEAST_WIDTH = 3.6

# A figure, and the function that makes it show moment k under a title.
Film = tuple["Figure", Callable[[int, str], None]]


def flow(flow: Flow) -> Figure:
    """Draw a flow on one page: its densities, and how it came to rest.

    Parameters
    ----------
    flow : Flow
        A flow with one snapshot at least: pass ``keep=`` to `evolve`.

    Returns
    -------
    Figure
        Above, the densities rho_t and the density mu that they go to.  In 1-D they are curves in
        one axes, coloured by time, with mu dashed; in 2-D pictures on one colour scale, mu the
        last; in 3-D their projections along axis 2.  Of more snapshots than fit the first and the
        last are drawn, and those between that divide the way of the density evenly.  Below, the
        relative entropies, the range of h = log(rho_t / mu) and the step sizes.

    Raises
    ------
    InvalidInputError
        A flow without snapshots, without a grid, or without one of the series kl, reverse_kl,
        max_h, min_h.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> problem = pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32))
    >>> constant = pma.schedules.constant(0.1)
    >>> result = pma.evolve(problem, schedule=constant, steps=5, keep=1)
    >>> len(pma.plotting.flow(result).axes)
    4
    """
    end = limit(flow)
    shots = _spread(flow.snapshots, MOST_CURVES if end.dim == 1 else MOST_PICTURES)
    height = CURVES_HEIGHT if end.dim == 1 else _pictures_height(end, len(shots) + 1)
    page = canvas.new_figure(WIDTH, height + SERIES_HEIGHT)
    upper, lower = canvas.two_rows(page, (height, SERIES_HEIGHT))
    draw = _curves if end.dim == 1 else _pictures
    draw(upper, [Density(shot.density, end.grid) for shot in shots], end,
         [*(f"t = {time}" for time in canvas.distinct([shot.time for shot in shots])),
          limit_name(flow)])  # fmt: skip
    entropies, sides, sizes = lower.subplots(1, 3)
    history(flow, ("kl", "reverse_kl"), entropies)
    canvas.titled(entropies, "relative entropies")
    _range(flow, sides)
    _steps(flow, sizes)
    canvas.caption(page, _figures(flow))
    return page


def animation(flow: Flow, path: str | Path, *, fps: float = 12) -> Path:
    """Write a film of the density of a flow, beside the density that it goes to.

    Parameters
    ----------
    flow : Flow
        A flow with snapshots, each of which becomes a frame: pass ``keep=`` to `evolve`.
    path : str or path
        File to write: ``.gif``, or ``.mp4`` where ffmpeg is installed.
    fps : float
        Frames a second, 0 < fps <= 50; a .gif rounds 1/fps to hundredths of a second.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    InvalidInputError
        Another ending, ``.mp4`` without ffmpeg, a folder that does not exist, fps out of range, a
        flow without snapshots or without a grid.

    Examples
    --------
    >>> import tempfile, numpy as np, pma_grid as pma
    >>> problem = pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32))
    >>> constant = pma.schedules.constant(0.1)
    >>> result = pma.evolve(problem, schedule=constant, steps=2, keep=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pma.plotting.animation(result, folder + "/flow.gif").name
    'flow.gif'
    """
    path = Path(path)
    writer = _writer(path, fps)
    end = limit(flow)
    moments = [Density(snapshot.density, end.grid) for snapshot in flow.snapshots]
    titles = _titles(flow)
    figure, show = (_curve_film if end.dim == 1 else _pictures_film)(moments, end, limit_name(flow))
    show(0, max(titles, key=len))
    # one layout for all frames
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    with writer.saving(figure, str(path), figure.dpi):
        for k, title in enumerate(titles):
            show(k, title)
            writer.grab_frame()
    return path


def limit(flow: Flow) -> Density:
    """The density that a flow goes to; refuses one that has no densities to draw."""
    if not flow.snapshots:
        raise InvalidInputError(
            "flow has no snapshots, so there is no density to draw; pass keep= to evolve, for "
            "example keep=10 for every tenth step"
        )
    return flow.oriented.source


def limit_name(flow: Flow) -> str:
    """What the problem calls the density that the flow goes to."""
    return "source μ" if flow.side == "source" else "target ν"


def density_axes(ax: Axes, end: Density) -> None:
    """Labels and limits of axes that show densities in one dimension, and a legend beside them."""
    ax.set_xlim(end.grid.lower[0], end.grid.upper[0])
    canvas.legend_beside(ax)
    canvas.open_corner(ax, "x [length]", "density [length⁻¹]")


def pictures(row: Sequence[Axes], shown: Sequence[Density], top: float) -> None:
    """Densities in two and three dimensions on one scale, its bar beside the last and as high."""
    for ax, moment in zip(row, shown, strict=True):
        density(moment, ax, top=top)
    last = row[-1]
    bar = last.figure.colorbar(last.images[0], cax=last.inset_axes((1.05, 0.0, 0.07, 1.0)))
    bar.outline.set_visible(False)
    what = "density" if shown[-1].dim == 2 else "projection"
    canvas.quiet_bar(bar, f"{what} [length⁻²]")


def _spread(snapshots: Sequence[Snapshot], count: int) -> list[Snapshot]:
    """Up to ``count`` snapshots: the ends, and those between that divide the way evenly."""
    total = len(snapshots)
    if total <= count:
        return list(snapshots)
    moved = np.array(
        [np.abs(new.density - old.density).sum() for old, new in itertools.pairwise(snapshots)]
    )
    # flows slow down exponentially; the root halves the rate, so that late times are seen too
    path = np.concatenate([[0.0], np.cumsum(np.sqrt(moved))])
    chosen = [0]
    for place in range(1, count):
        level = path[-1] * place / (count - 1)
        nearest = int(np.abs(path - level).argmin())
        chosen.append(min(max(nearest, chosen[-1] + 1), total - count + place))
    chosen[-1] = total - 1
    return [snapshots[k] for k in chosen]


def _curves(figure: SubFigure, moments: list[Density], end: Density, names: list[str]) -> None:
    """Densities in one dimension: one axes, coloured by time."""
    ax = figure.subplots()
    x = end.grid.axes[0]
    colours = canvas.time_colours(0.0, 0.88, len(moments))
    for colour, moment, name in zip(colours, moments, names[:-1], strict=True):
        ax.plot(x, moment.values, color=colour, lw=1.5, label=name)
    ax.plot(x, end.values, color=INK, lw=1.5, ls="--", label=names[-1])
    density_axes(ax, end)
    ax.set_ylim(bottom=0)
    canvas.titled(ax, "density ρ")


def _pictures(figure: SubFigure, moments: list[Density], end: Density, names: list[str]) -> None:
    """Densities in two and three dimensions: one picture each."""
    row = figure.subplots(1, len(names), squeeze=False)[0]
    pictures(row, [*moments, end], common_top([*moments, end]))
    for ax, name in zip(row, names, strict=True):
        canvas.titled(ax, name)


def _pictures_height(end: Density, count: int) -> float:
    """Inches of a row of so many pictures with their titles."""
    height, width = (end.grid.lengths[k] for k in (0, 1))
    wanted = (WIDTH - 0.9) / count * height / width + 0.5
    return min(max(wanted, PICTURES_HEIGHT[0]), PICTURES_HEIGHT[1])


def _range(flow: Flow, ax: Axes) -> None:
    """max h and min h with the band between them."""
    low, high = flow["min_h"], flow["max_h"]
    ax.fill_between(flow.times, low, high, color=COLOURS[2], alpha=0.18, lw=0)
    ax.plot(flow.times, high, color=COLOURS[2], lw=1.4)
    ax.plot(flow.times, low, color=COLOURS[2], lw=1.4)
    ax.axhline(0.0, color=INK, lw=0.6)
    ratio = "log(ρ/μ)" if flow.side == "source" else "log(ρ/ν)"
    canvas.open_corner(ax, TIME_LABEL, "min h to max h", f"range of h = {ratio}")


def _steps(flow: Flow, ax: Axes) -> None:
    """Step sizes over the number of the step."""
    from matplotlib.ticker import MaxNLocator

    numbers = flow.first + 1 + np.arange(len(flow))
    style = "o-" if len(flow) <= MOST_MARKED_STEPS else "-"
    ax.plot(numbers, flow.step_sizes, style, ms=3, lw=1.2, color=COLOURS[1])
    if len(flow):
        ax.set_yscale("log")
        low, high = flow.step_sizes.min(), flow.step_sizes.max()
        if high < 10 * low:  # never less than two decades: equal steps look equal
            middle = math.sqrt(low * high)
            ax.set_ylim(middle / 10, middle * 10)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True))
    canvas.open_corner(ax, "step", "step size η [length²]", "step sizes")


def _figures(flow: Flow) -> list[str]:
    """What the caption says."""
    shape = canvas.size_text(limit(flow).shape)
    parts = [
        flow.scheme.replace("_", " "),
        f"{len(flow)} steps to t = {flow.times[-1]:.3g}",
        canvas.status_text(flow.status),
        f"grid {shape}" + (" on the target's side" if flow.side == "target" else ""),
    ]
    if "seconds" in flow.stats:
        parts.append(f"{flow.stats['seconds']:.2f} s")
    return parts


def _writer(path: Path, fps: float) -> AbstractMovieWriter:
    """The writer for the ending of a path."""
    from matplotlib.animation import FFMpegWriter, PillowWriter

    ending = path.suffix.lower()
    if ending not in (".gif", ".mp4"):
        raise InvalidInputError(
            f"path is {str(path)!r}; films are written as .gif or .mp4: change its ending"
        )
    if ending == ".mp4" and not FFMpegWriter.isAvailable():
        raise InvalidInputError(
            f"path is {str(path)!r}, but .mp4 needs ffmpeg, which is not installed: use .gif"
        )
    if not path.parent.is_dir():
        raise InvalidInputError(
            f"path is {str(path)!r}, but there is no folder {str(path.parent)!r}: make it first"
        )
    if not (is_number(fps) and 0 < fps <= MAX_FPS):
        raise InvalidInputError(
            f"fps is {fps!r}; it must be a number in (0, {MAX_FPS}]: for example 12"
        )
    # the stubs want whole numbers; both writers take any
    rate: Any = fps
    return PillowWriter(fps=rate) if ending == ".gif" else FFMpegWriter(fps=rate)


def _titles(flow: Flow) -> list[str]:
    """The times with as many decimals each, so that the title stands still."""
    times = [snapshot.time for snapshot in flow.snapshots]
    texts = canvas.distinct(times)
    if not any("e" in text for text in texts):
        decimals = max(len(text.partition(".")[2]) for text in texts)
        texts = [f"{time:.{decimals}f}" for time in times]
    return [f"t = {text}" for text in texts]


def _curve_film(moments: list[Density], end: Density, name: str) -> Film:
    """One curve beside mu."""
    figure = canvas.new_figure(5.0, 3.4)
    ax = figure.subplots()
    x = end.grid.axes[0]
    (line,) = ax.plot(x, moments[0].values, color=COLOURS[0], lw=2.0, label="ρ")
    ax.plot(x, end.values, color=INK, lw=1.2, ls="--", label=name)
    ax.set_ylim(0, 1.05 * max(float(moment.values.max()) for moment in [*moments, end]))
    density_axes(ax, end)

    def show(k: int, title: str) -> None:
        line.set_ydata(moments[k].values)
        canvas.titled(ax, title)

    return figure, show


def _pictures_film(moments: list[Density], end: Density, name: str) -> Film:
    """rho and mu side by side on one colour scale."""
    tall = end.grid.lengths[0] / end.grid.lengths[1]
    width = PICTURE_SIDE / max(1.0, tall)
    figure = canvas.new_figure(max(2 * width + 1.2, LEAST_WIDTH), max(width * tall, 0.5) + 0.4)
    row = figure.subplots(1, 2)
    pictures(row, (moments[0], end), common_top([*moments, end]))
    canvas.titled(row[1], name)

    def show(k: int, title: str) -> None:
        row[0].images[0].set_data(plane(moments[k]))
        canvas.titled(row[0], title)

    return figure, show
