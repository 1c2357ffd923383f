"""Pictures of a comparison: the maps side by side, and where they leave the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, FAINT
from pma_grid.plotting.densities import density
from pma_grid.plotting.transports import map as draw_map
from pma_grid.runtime import Array
from pma_grid.transport.comparison import Comparison, Row, compare
from pma_grid.transport.transport import Transport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIFFERENCE_MAP = "magma"
# Differences below this share of the largest one have the darkest colour.
LEAST_SHARE = 1e-4
# Lines of the deformed grids: as many as small pictures bear.
GRID_LINES = 25


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
    return _curves(found) if found.reference.problem.dim == 1 else _pictures(found)


def _distance(transport: Transport, reference: Transport) -> Array:
    """|T - T_ref| at the cell centres, NaN where the source has no mass."""
    difference = np.linalg.norm(transport.gradient - reference.gradient, axis=0)
    return np.where(reference.problem.source.values > 0, difference, np.nan)


def _figures(row: Row) -> str:
    """What is written under a name."""
    return f"W2 = {row.w2:.6g}\npush {canvas.scientific(row.push_l1)}"


def _curves(found: Comparison) -> Figure:
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


def _pictures(found: Comparison) -> Figure:
    columns = len(found.rows)
    figure = canvas.new_figure(max(5.0, 2.5 * columns + 0.6), 6.0)
    axes = figure.subplots(2, columns, squeeze=False)
    problem = found.reference.problem
    collections = []
    for ax, row, transport in zip(axes[0], found.rows, found.transports, strict=True):
        draw_map(transport, ax, lines=GRID_LINES)
        collections.append(ax.collections[0])
        canvas.titled(ax, f"{row.name}\n{_figures(row)}", 8)
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
