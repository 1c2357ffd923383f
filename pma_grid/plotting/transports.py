"""Pictures of transports: maps as deformed grids, interpolation, comparisons, convergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pma_grid.cases.convergence import Study
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.grid.grid import Grid
from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, DENSITY_MAP, FAINT, common_top, density
from pma_grid.runtime import Array
from pma_grid.transport.comparison import Comparison, compare
from pma_grid.transport.transport import Transport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The map jumps between torn neighbours whose images are so many target cells apart.
JUMP_CELLS = 3.0
DIFFERENCE_MAP = "magma"
# Differences below this share of the largest one have the darkest colour.
LEAST_SHARE = 1e-4
# Lines of the deformed grids of a comparison: as many as small pictures bear.
GRID_LINES = 25


def map(transport: Transport, ax: Axes | None = None, *, lines: int = 33) -> Axes:
    """Draw a transport map: the curve T(x) in 1-D, else the image of a regular grid.

    Parameters
    ----------
    transport : Transport
        In 3-D the slice through the middle of axis 2 is drawn.
    ax : Axes, optional
        Where to draw; a new figure by default.
    lines : int
        Lines of the grid in each direction.

    Returns
    -------
    Axes
        The lines are coloured by displacement, |T(x) - x|, and cut where the map is torn.
    """
    ax = canvas.given_or_new(ax)
    grid = transport.problem.source.grid
    if grid.dim == 1:
        ax.plot(grid.axes[0], grid.axes[0], color="#bbbbbb", lw=1)
        image = transport.gradient[0]
        cut = np.flatnonzero(_jumps(transport)) + 1
        x, y = (np.insert(values, cut, np.nan) for values in (grid.axes[0], image))
        ax.plot(x, y, color=COLOURS[1], lw=1.8)
        canvas.open_corner(ax, "x", "T(x)")
        return ax
    from matplotlib.collections import LineCollection

    jumps, curves, moved = _jumps(transport), [], []
    for along in (0, 1):
        across = 1 - along
        for level in np.linspace(grid.lower[across], grid.upper[across], lines):
            points = np.empty((4 * lines, grid.dim))
            points[:, along] = np.linspace(grid.lower[along], grid.upper[along], 4 * lines)
            points[:, across] = level
            if grid.dim == 3:
                points[:, 2] = 0.5 * (grid.lower[2] + grid.upper[2])
            image = transport.map(points)[:, :2]
            shift = np.linalg.norm(image - points[:, :2], axis=1)
            whole = _whole(jumps, points, grid)
            curves.append(np.stack([image[:-1], image[1:]], axis=1)[whole])
            moved.append(0.5 * (shift[1:] + shift[:-1])[whole])
    # rows are axis 0: plotted downwards, as the densities are
    segments = np.concatenate(curves)[:, :, ::-1]
    collection = LineCollection(list(segments), cmap="viridis", lw=0.8)
    collection.set_array(np.concatenate(moved))
    ax.add_collection(collection)
    target = transport.problem.target.grid
    ax.set_xlim(target.lower[1], target.upper[1])
    ax.set_ylim(target.upper[0], target.lower[0])
    ax.set_aspect("equal")
    canvas.bare(ax)
    return ax


def _jumps(transport: Transport) -> np.ndarray:
    """Which boxes between neighbouring cell centres, n - 1 an axis, the map tears apart."""
    problem = transport.problem
    spacing = problem.target.grid.spacing
    tears = getattr(transport, "tears", None)
    torn = np.zeros(problem.source.shape, bool) if tears is None else tears
    low = high = transport.gradient
    for axis, n in enumerate(problem.source.shape):
        if n > 1:
            before = (slice(None),) * axis
            first, last = (*before, slice(-1)), (*before, slice(1, n))
            torn = torn[first] | torn[last]
            low = np.minimum(low[:, *first], low[:, *last])
            high = np.maximum(high[:, *first], high[:, *last])
    wide = high - low > JUMP_CELLS * np.reshape(spacing, (-1, *[1] * problem.dim))
    return np.asarray(torn & wide.any(axis=0))


def _whole(jumps: np.ndarray, points: np.ndarray, grid: Grid) -> np.ndarray:
    """Which of the steps between successive points (m, d) touch no box that is torn apart."""
    position = (points - np.array(grid.lower)) / np.array(grid.spacing) - 0.5
    index = np.clip(np.floor(position).astype(int), 0, np.array(jumps.shape) - 1)
    torn = jumps[tuple(index.T)]
    return np.asarray(~(torn[1:] | torn[:-1]))


def _mark_tears(transport: Transport, ax: Axes) -> bool:
    """Colour the torn cells of the source, in 3-D the columns that hold one; whether there are."""
    tears = getattr(transport, "tears", None)
    if tears is None or not tears.any():
        return False
    from matplotlib.colors import to_rgba

    grid = transport.problem.source.grid
    if grid.dim == 1:
        ax.plot(grid.axes[0][tears], np.zeros(tears.sum()), "|", ms=9, mew=1.5, color=COLOURS[1],
                clip_on=False)  # fmt: skip
        return True
    flat = tears if grid.dim == 2 else tears.any(axis=2)
    picture = np.zeros((*flat.shape, 4))
    picture[flat] = to_rgba(COLOURS[1])
    canvas.grid_image(ax, grid, picture, interpolation="nearest")
    return True


def interpolation(
    transport: Transport,
    times: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0),
    axes: Sequence[Axes] | None = None,
    *,
    cmap: str = DENSITY_MAP,
) -> list[Axes]:
    """Draw McCann's interpolation, the densities on the way from source to target.

    Parameters
    ----------
    transport : Transport
    times : tuple of float
        Times in [0, 1]: 0 is the source and 1 the target.
    axes : sequence of Axes, optional
        Where to draw, one axes for each time; a new figure by default.
    cmap : str
        Colour map of the pictures.

    Returns
    -------
    list of Axes
        All on one colour scale, in 1-D with one scale of the density.
    """
    if axes is None:
        axes = canvas.new_figure(2.2 * len(times), 2.5).subplots(1, len(times), squeeze=False)[0]
    moments = [transport.interpolate(t) for t in times]
    top = common_top(moments)
    for ax, moment, t in zip(axes, moments, times, strict=True):
        density(moment, ax, cmap=cmap, top=top)
        canvas.titled(ax, f"t = {t:g}", 9)
    if transport.problem.dim == 1:
        for ax in axes[1:]:
            ax.tick_params(labelleft=False)
    else:
        canvas.one_scale(axes, [moment.grid for moment in moments])
    return list(axes)


def convergence(study: Study, ax: Axes | None = None) -> Axes:
    """Draw the errors of a study over the spacing of its grids.

    Parameters
    ----------
    study : Study
        What `pma_grid.convergence.study` returned.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Both axes are logarithmic; the legend gives the observed orders, and the dotted lines have
        slopes 2 and 4.
    """
    ax = canvas.given_or_new(ax, 5.2, 4.2)
    names = {
        "potential_max": "u, max", "map_max": "grad u, max", "w2_squared": "W2² (relative)",
        "mass_constant": "mass constant",
    }  # fmt: skip
    h = np.array([row.h for row in study.rows])
    for (name, label), colour in zip(names.items(), COLOURS[: len(names)], strict=True):
        errors = study.errors(name)
        if np.isfinite(errors).all() and (errors > 0).all():
            text = f"{label}: order {study.order(name):.2f}"
            ax.loglog(h, errors, "o-", ms=4, lw=1.4, color=colour, label=text)
    for slope, name in ((2, "map_max"), (4, "w2_squared")):
        errors = study.errors(name)
        if np.isfinite(errors).all() and errors[0] > 0:
            line = 1.8 * errors[0] * (h / h[0]) ** slope
            ax.loglog(h, line, color="#999999", lw=0.9, ls=":", zorder=0)
            ax.annotate(f"$h^{slope}$", (h[-1], line[-1]), xytext=(4, 8), ha="left",
                        textcoords="offset points", color="#777777", fontsize=9)  # fmt: skip
    canvas.tick_each(ax, h, [f"1/{row.n}" for row in study.rows])
    canvas.legend(ax)
    canvas.open_corner(ax, "spacing h", "error", study.case)
    return ax


def transport(transport: Transport, *, cmap: str = "gray") -> Figure:
    """Draw a transport on one page: source, map and target, and the way between.

    Parameters
    ----------
    transport : Transport
    cmap : str
        Colour map of the densities.

    Returns
    -------
    Figure
        Above, the source, with the cells coloured at which the map is torn; the map (see `map`);
        and the target.  Below, McCann's interpolation at six times (see `interpolation`).
    """
    figure = canvas.new_figure(10.0, 6.4)
    upper, lower = canvas.two_rows(figure, (1.75, 1.0))
    left, middle, right = upper.subplots(1, 3)
    problem = transport.problem
    line = problem.dim == 1
    top = max(side.values.max() for side in (problem.source, problem.target)) if line else None
    for ax, side, title in ((left, problem.source, "source"), (right, problem.target, "target")):
        density(side, ax, cmap=cmap, top=top)
        canvas.titled(ax, title, 11)
        if not line:  # white on white paper needs a frame
            ax.spines[:].set(visible=True, color=FAINT, lw=0.4)
    if _mark_tears(transport, left):
        canvas.titled(left, "source, torn where coloured", 11)
    map(transport, middle)
    name = "u'" if line else "∇u"
    if isinstance(transport, EntropicTransport):  # whose map may be a mean, no gradient
        mean = transport.stats.get("map", "barycentric") == "barycentric"
        name = "E[y | x]" if mean else name
    if line:
        canvas.titled(middle, f"T = {name}, and the identity in grey", 11)
    else:
        canvas.titled(middle, f"T = {name}, a regular grid pushed forward", 11)
        target = problem.target.grid
        canvas.one_scale((left, middle, right), (problem.source.grid, target, target))
    row = lower.subplots(1, 6)
    interpolation(transport, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), row, cmap=cmap)
    canvas.caption(figure, _figures(transport))
    return figure


def comparison(
    compared: Comparison | Sequence[Transport], names: Sequence[str] | None = None
) -> Figure:
    """Draw the maps of several methods side by side, and how far each is from the first.

    Parameters
    ----------
    compared : Comparison or sequence of Transport
        What `pma_grid.compare` returned, or the transports to compare.  The first one is the
        reference.
    names : sequence of str, optional
        Names of the transports, if transports are given.

    Returns
    -------
    Figure
        Above, every map as the image of a regular grid, coloured by displacement; in 1-D the curves
        T(x).  Below, the target of the reference and the distances |T - T_ref| of the other maps
        where the source has mass, on one logarithmic scale.  In 3-D all are drawn on the slice
        through the middle of axis 2.
    """
    found = compared if isinstance(compared, Comparison) else compare(*compared, names=names)
    draw = _compared_curves if found.reference.problem.dim == 1 else _compared_pictures
    return draw(found)


def _figures(transport: Transport) -> list[str]:
    """What the caption says."""
    parts = [f"W2 = {transport.w2:.6f}", str(transport.status)]
    stats = transport.stats
    shape = canvas.size_text(transport.problem.source.shape)
    if isinstance(transport, EntropicTransport):
        parts += [f"grid {shape}", f"ε = {canvas.scientific(transport.eps)}"]
        if "marginal_error" in stats:
            parts.append(f"marginal error {stats['marginal_error']:.1e}")
        if "iterations" in stats:
            parts.append(f"{stats['iterations']} iterations")
        if "seconds" in stats:
            parts.append(f"{stats['seconds']:.2f} s")
    elif "residual" in stats:
        parts += [
            f"grid {shape}",
            f"residual {stats['residual']:.1e}",
            f"mass constant {stats['mass_constant']:.1e}",
            f"{stats['iterations']} Newton steps over {len(stats['levels'])} grids",
            f"{stats['seconds']:.2f} s",
        ]
    return parts


def _distance(transport: Transport, reference: Transport) -> Array:
    """|T - T_ref| at the cell centres, NaN where the source has no mass."""
    difference = np.linalg.norm(transport.gradient - reference.gradient, axis=0)
    return np.where(reference.problem.source.values > 0, difference, np.nan)


def _compared_curves(found: Comparison) -> Figure:
    figure = canvas.new_figure(6.4, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1.0))
    x = found.reference.problem.source.grid.axes[0]
    upper.plot(x, x, color=FAINT, lw=0.9, ls=":", label="identity")
    top = 0.0
    for k, (row, transport) in enumerate(zip(found.rows, found.transports, strict=True)):
        colour = COLOURS[k % len(COLOURS)]
        style = {"color": colour, "lw": 2.4 if k == 0 else 1.3, "alpha": 0.45 if k == 0 else 1.0}
        upper.plot(x, transport.gradient[0], label=row.name, **style)
        if k:
            distance = _distance(transport, found.reference)
            lower.plot(x, np.where(distance > 0, distance, np.nan), color=colour, lw=1.3)
            top = max(top, float(np.nanmax(distance)))
    if top > 0:
        lower.set_yscale("log")
        lower.set_ylim(LEAST_SHARE * top, 2 * top)
    canvas.legend(upper)
    canvas.open_corner(upper, ylabel="T(x)")
    canvas.open_corner(lower, "x", f"|T - T({found.names[0]})|")
    return figure


def _compared_pictures(found: Comparison) -> Figure:
    columns = len(found.rows)
    figure = canvas.new_figure(max(5.0, 2.5 * columns + 0.6), 6.0)
    axes = figure.subplots(2, columns, squeeze=False)
    problem = found.reference.problem
    collections = []
    for ax, row, transport in zip(axes[0], found.rows, found.transports, strict=True):
        map(transport, ax, lines=GRID_LINES)
        collections.append(ax.collections[0])
        push = canvas.scientific(row.push_l1)
        canvas.titled(ax, f"{row.name}\nW2 = {row.w2:.6g}\npush {push}", 8)
    top = max(float(lines.get_array().max()) for lines in collections)
    for lines in collections:
        lines.set_clim(0.0, top or 1.0)
    canvas.one_scale(axes[0], [problem.target.grid] * columns)
    bar = figure.colorbar(collections[0], ax=axes[0], fraction=0.04, pad=0.02)
    canvas.quiet_bar(bar, "displacement", 7)
    density(problem.target, axes[1, 0], cmap="gray_r")
    canvas.titled(axes[1, 0], "target", 8)
    canvas.one_scale(list(axes[1, :1]), [problem.target.grid])
    _differences(found, list(axes[1, 1:]), figure)
    return figure


def _differences(found: Comparison, axes: Sequence[Axes], figure: Figure) -> None:
    """Pictures of |T - T_ref| with one colour bar."""
    from matplotlib.colors import LogNorm, Normalize

    if len(found.rows) < 2:
        return
    grid = found.reference.problem.source.grid
    fields = [_distance(t, found.reference) for t in found.transports[1:]]
    if grid.dim == 3:
        fields = [values[:, :, grid.shape[2] // 2] for values in fields]
    top = max((float(v[np.isfinite(v)].max(initial=0.0)) for v in fields), default=0.0)
    # without any difference a logarithmic scale has no ends
    norm = LogNorm(LEAST_SHARE * top, top) if top > 0 else Normalize(0.0, 1.0)
    for ax, row, values in zip(axes, found.rows[1:], fields, strict=True):
        shown = np.maximum(values, LEAST_SHARE * top)
        image = canvas.grid_image(ax, grid, shown, cmap=DIFFERENCE_MAP, norm=norm)
        canvas.bare(ax)
        canvas.titled(
            ax, f"L2 {canvas.scientific(row.map_l2)}, max {canvas.scientific(row.map_max)}", 8
        )
    canvas.one_scale(axes, [grid] * len(axes))
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    canvas.quiet_bar(bar, f"|T - T({found.names[0]})|", 7)
