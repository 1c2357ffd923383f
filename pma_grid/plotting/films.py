"""The film of a flow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pma_grid.flow.flow import Flow
from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, INK
from pma_grid.plotting.densities import common_top, density, plane
from pma_grid.plotting.flows import check_snapshots, colour_bar, density_axes, limit, limit_name
from pma_grid.problem.density import Density
from pma_grid.runtime import InvalidInputError, is_number

if TYPE_CHECKING:
    from matplotlib.animation import AbstractMovieWriter
    from matplotlib.figure import Figure

# Frames a second: the shortest time that viewers of .gif respect is 1/50 s.
MAX_FPS = 50
# Inches of the longer side of a picture, and the width that a title and a scale need.
PICTURE_SIDE = 2.6
LEAST_WIDTH = 3.6

# A figure, and the function that makes it show moment k under a title.
Film = tuple["Figure", Callable[[int, str], None]]


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
    check_snapshots(flow)
    end = limit(flow)
    moments = [Density(snapshot.density, end.grid) for snapshot in flow.snapshots]
    titles = _titles(flow)
    figure, show = (_curve if end.dim == 1 else _pictures)(moments, end, limit_name(flow))
    show(0, max(titles, key=len))
    # one layout for all frames
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    with writer.saving(figure, str(path), figure.dpi):
        for k, title in enumerate(titles):
            show(k, title)
            writer.grab_frame()
    return path


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


def _curve(moments: list[Density], end: Density, name: str) -> Film:
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


def _pictures(moments: list[Density], end: Density, name: str) -> Film:
    """rho and mu side by side on one colour scale."""
    tall = end.grid.lengths[0] / end.grid.lengths[1]
    width = PICTURE_SIDE / max(1.0, tall)
    figure = canvas.new_figure(max(2 * width + 1.2, LEAST_WIDTH), max(width * tall, 0.5) + 0.4)
    row = figure.subplots(1, 2)
    top = common_top([*moments, end])
    for ax, moment in zip(row, (moments[0], end), strict=True):
        density(moment, ax, top=top)
    canvas.titled(row[1], name)
    colour_bar(row, end)

    def show(k: int, title: str) -> None:
        row[0].images[0].set_data(plane(moments[k]))
        canvas.titled(row[0], title)

    return figure, show
