"""The limit of small eps in pictures: errors, costs, and two flows at the same times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pma_grid.cases.convergence import Cost, SmallEps
from pma_grid.flow.flow import Flow
from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, FAINT, INK, MARKERS, common_top, plane
from pma_grid.plotting.flows import limit, limit_name, pictures
from pma_grid.plotting.histories import TIME_LABEL
from pma_grid.problem.density import Density
from pma_grid.runtime import Array, InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EPS_LABEL = "ε [length²]"
# Snapshots of two flows are of one time if they differ by no more than this, relative to the last.
SAME_TIME = 1e-6
DIFFERENCE_MAP = "RdBu_r"
# Times that fit on the page.
MOST_TIMES = 5
# The error of the flow compared with is drawn unless it is below this share of the errors, where it
# would only squeeze them.
LEAST_FLOOR_SHARE = 0.02


def small_eps(study: SmallEps, time: float | None = None) -> Figure:
    """Draw how fast the iterates of Sinkhorn's algorithm approach the flow as eps falls.

    Parameters
    ----------
    study : SmallEps
        What `pma_grid.convergence.small_eps` returned.
    time : float, optional
        The time at which errors are drawn against eps, one of those of the study; by default the
        last.

    Returns
    -------
    Figure
        The errors of u, of its gradient and of Richardson's extrapolation against eps: over the
        whole box (filled) and in its interior (hollow), with dashed lines of the slopes that the
        theory expects; the dotted line is the discretisation error of the flow itself.  In the last
        axes the largest error of u, divided by eps, against the time, one line for each eps: lines
        that fall on each other and stay level show that the error is O(eps) uniformly in time.
    """
    chosen = study.times[-1] if time is None else time
    figure = canvas.new_figure(9.0, 6.8)
    axes = figure.subplots(2, 2)
    faces = 1.0 if study.kernel == "reflect" else 0.5
    for ax, name, slopes, label in (
        (axes[0, 0], "u", {"max": 1.0}, "error of u [length²]"),
        (axes[0, 1], "map", {"max": faces, "interior": 1.0}, "error of E[y | x] [length]"),
        (axes[1, 0], "richardson", {"interior": 2.0}, "error of 2 u(ε/2) − u(ε) [length²]"),
    ):
        _errors(ax, study, name, chosen, slopes, label)
    _saturation(axes[1, 1], study)
    shape = canvas.size_text(study.shape, "×")
    figure.suptitle(
        f"Sinkhorn against the flow at t = {chosen:g}, {study.kernel} kernel, {shape} cells",
        fontsize=10.5, color=INK,
    )  # fmt: skip
    return figure


def _errors(
    ax: Axes, study: SmallEps, name: str, time: float, slopes: dict[str, float], label: str
) -> None:
    """Sup and interior errors of one quantity, with the slopes expected of each."""
    eps = np.array(study.eps)
    lowest = math.inf
    for k, (part, where) in enumerate((("max", "whole box"), ("interior", "interior"))):
        errors = study.errors(f"{name}_{part}", time)
        good = np.isfinite(errors)
        if not good.any():
            continue
        slope = study.slope(f"{name}_{part}", time)
        ax.loglog(eps, errors, marker="o", ms=5, lw=1.4, color=COLOURS[k],
                  mfc=COLOURS[k] if part == "max" else "white",
                  label=f"{where}: slope {slope:.2f}")  # fmt: skip
        lowest = min(lowest, float(errors[good].min()))
        if part in slopes:
            factor = 1.5 if part == "max" else 0.65
            _slope_line(ax, eps[good], factor * errors[good][-1], slopes[part], above=k == 0)
    if not math.isfinite(lowest):
        ax.text(0.5, 0.5, "no ε of which half was run", ha="center", transform=ax.transAxes,
                fontsize=9, color=FAINT)  # fmt: skip
        canvas.bare(ax)
        return
    floor = study.map_floor if name == "map" else study.floor
    if floor > LEAST_FLOOR_SHARE * lowest:
        ax.axhline(floor, color=FAINT, lw=1.2, ls=":", label="error of the flow")
    canvas.tick_each(ax, study.eps, canvas.distinct(study.eps))
    _whole_decades(ax)
    canvas.legend(ax)
    canvas.open_corner(ax, EPS_LABEL, label)


def _slope_line(ax: Axes, eps: Array, last: float, slope: float, *, above: bool) -> None:
    """A dashed line of a slope through an error at the smallest eps, with its power of eps."""
    line = last * (eps / eps[-1]) ** slope
    ax.loglog(eps, line, color=FAINT, lw=1.0, ls="--", zorder=0)
    middle = len(eps) // 2
    power = {0.5: "√ε", 1.0: "ε", 1.5: "ε√ε", 2.0: "ε²"}[slope]
    ax.annotate(power, (eps[middle], line[middle]), xytext=(-6, 4) if above else (6, -10),
                textcoords="offset points", ha="center", fontsize=9, color=FAINT)  # fmt: skip


def _saturation(ax: Axes, study: SmallEps) -> None:
    """sup error of u over eps against the time."""
    ratios = study.ratios("u_max")
    shades = canvas.time_colours(0.85, 0.0, len(study.eps))
    for row, shade, text in zip(ratios, shades, canvas.distinct(study.eps), strict=True):
        ax.semilogx(study.times, row, marker="o", ms=4, lw=1.4, color=shade, label=f"ε = {text}")
    ax.set_ylim(0, 1.15 * float(ratios.max()))
    canvas.tick_each(ax, study.times, canvas.distinct(study.times))
    canvas.legend(ax)
    canvas.open_corner(ax, TIME_LABEL, "sup error of u / ε")


def _whole_decades(ax: Axes) -> None:
    """Numbers at 1, 2 and 5 where the axis spans little, else at powers of ten."""
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

    low, high = ax.get_ylim()
    wide = high > 50 * low
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(LogFormatterSciNotation(minor_thresholds=(10, 10)))
    ax.yaxis.set_minor_formatter(NullFormatter())


def cost(study: Cost, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Draw what an error of the map costs with every method, in seconds.

    Parameters
    ----------
    study : Cost
        What `pma_grid.convergence.cost` returned.
    axes : sequence of Axes, optional
        Where to draw, one axes for each grid; a new figure by default.

    Returns
    -------
    list of Axes
        Each shows seconds against the error on one grid, so that lower left is better.  A line is a
        method, a point on it one eps and the larger marker the smallest eps; `solve`, which has no
        eps, is the star.  Runs that did not converge are hollow.
    """
    sizes = study.sizes
    if axes is None:
        figure = canvas.new_figure(4.0 * len(sizes) + 1.9, 4.0)
        axes = figure.subplots(1, len(sizes), squeeze=False, sharex=True, sharey=True)[0]
    for ax, n in zip(axes, sizes, strict=True):
        for k, method in enumerate(study.methods):
            rows = study.of(method, n)
            x, y = [row.map_l2 for row in rows], [row.seconds for row in rows]
            colour = COLOURS[k % len(COLOURS)]
            if rows[0].eps is None:
                ax.loglog(x, y, "*", ms=15, color=INK, label=method, ls="none", zorder=4)
                continue
            ax.loglog(x, y, lw=1.2, color=colour, zorder=2)
            for row in rows:
                large = row is rows[-1]
                ax.loglog([row.map_l2], [row.seconds], MARKERS[k % len(MARKERS)], color=colour,
                          ms=7 if large else 4, mfc=colour if row.converged else "white",
                          label=method if large else None, zorder=3)  # fmt: skip
        canvas.titled(ax, f"{study.case}, {n} cells an axis", 9.5)
        canvas.open_corner(ax, "error of the map, L2(μ) [length]")
    axes[0].set_ylabel("seconds, one thread")
    canvas.legend_beside(axes[-1])
    return list(axes)


def flow_pair(first: Flow, second: Flow, *, names: tuple[str, str] | None = None) -> Figure:
    """Draw the densities of two flows at the same times, and what they differ by.

    Parameters
    ----------
    first, second : Flow
        Flows of one problem and side with snapshots at common times: pass the same ``keep=`` times,
        multiples of eps, to `evolve` and `sinkhorn_flow`.
    names : pair of str, optional
        What to call the flows; by default their schemes, with eps.

    Returns
    -------
    Figure
        In 1-D one axes for each time with both densities and the limit, and the differences below.
        In 2-D and 3-D a row of pictures for each flow on one colour scale, with the limit at the
        end, and a third row of differences.

    Raises
    ------
    InvalidInputError
        Flows of different grids or sides, or without a common time.
    """
    end, other = limit(first), limit(second)
    if first.side != second.side or other.grid != end.grid:
        raise InvalidInputError(
            "first and second live on different grids or sides; draw two flows of one problem"
        )
    times, moments = _common(first, second, end)
    called = names or (_name(first), _name(second))
    titles = [f"t = {text}" for text in canvas.distinct(times)]
    draw = _pair_curves if end.dim == 1 else _pair_pictures
    return draw(moments, end, titles, called, limit_name(first))


def _name(flow: Flow) -> str:
    """The scheme, and the eps of Sinkhorn's."""
    eps = flow.stats.get("eps")
    scheme = flow.scheme.replace("_", " ")
    return f"flow, {scheme}" if eps is None else f"{scheme}, ε = {eps:g}"


def _common(
    first: Flow, second: Flow, end: Density
) -> tuple[list[float], list[tuple[Density, Density]]]:
    """Times at which both flows have a snapshot, at most `MOST_TIMES`, and the densities."""
    close = SAME_TIME * max(flow.snapshots[-1].time for flow in (first, second))
    pairs = [
        (one, other)
        for one in first.snapshots
        for other in second.snapshots
        if abs(one.time - other.time) <= close
    ]
    if not pairs:
        raise InvalidInputError(
            f"first has snapshots at {[s.time for s in first.snapshots]}, second at "
            f"{[s.time for s in second.snapshots]}; they need common times: pass the same keep= "
            "times to both, multiples of eps"
        )
    if len(pairs) > MOST_TIMES:
        pairs = [pairs[round(k)] for k in np.linspace(0, len(pairs) - 1, MOST_TIMES)]
    moments = [tuple(Density(s.density, end.grid) for s in pair) for pair in pairs]
    return [one.time for one, _ in pairs], [(a, b) for a, b in moments]


Moments = list[tuple[Density, Density]]


def _pair_curves(
    moments: Moments, end: Density, titles: list[str], names: tuple[str, str], last: str
) -> Figure:
    """One dimension: curves on each other, differences below."""
    figure = canvas.new_figure(2.6 * len(moments) + 1.0, 4.6)
    rows = figure.subplots(2, len(moments), squeeze=False, sharex=True, sharey="row",
                           height_ratios=(1.7, 1.0))  # fmt: skip
    x = end.grid.axes[0]
    for upper, lower, (one, other), title in zip(*rows, moments, titles, strict=True):
        upper.plot(x, end.values, color=FAINT, lw=1.2, ls=":", label=last)
        upper.plot(x, one.values, color=COLOURS[0], lw=2.2, alpha=0.55, label=names[0])
        upper.plot(x, other.values, color=COLOURS[1], lw=1.3, ls="--", label=names[1])
        lower.axhline(0.0, color=FAINT, lw=0.8)
        lower.plot(x, other.values - one.values, color=COLOURS[1], lw=1.3)
        canvas.titled(upper, title)
        canvas.open_corner(upper)
        canvas.open_corner(lower, "x [length]")
    rows[0, 0].set_ylim(bottom=0)
    rows[0, 0].set_ylabel("density [length⁻¹]")
    rows[1, 0].set_ylabel("difference")
    canvas.legend(rows[0, -1])
    return figure


def _pair_pictures(
    moments: Moments, end: Density, titles: list[str], names: tuple[str, str], last: str
) -> Figure:
    """Two and three dimensions: two rows on one scale, the third row their differences."""
    columns = len(moments) + 1
    figure = canvas.new_figure(1.9 * columns + 0.8, 6.0)
    rows = figure.subplots(3, columns, squeeze=False)
    top = common_top([end, *(moment for pair in moments for moment in pair)])
    gaps: list[Array] = [plane(other) - plane(one) for one, other in moments]
    widest = max(float(np.abs(gap).max()) for gap in gaps) or 1.0
    for row, shown in zip(rows, zip(*moments, strict=True), strict=False):
        pictures(row, [*shown, end], top)
    for ax, gap in zip(rows[2], gaps, strict=False):
        canvas.grid_image(ax, end.grid, gap, cmap=DIFFERENCE_MAP, vmin=-widest, vmax=widest)
    for upper, lower, title in zip(rows[0], rows[2], [*titles, last], strict=True):
        canvas.bare(lower)
        canvas.titled(upper, title, 9.5)
    bar = figure.colorbar(rows[2, 0].images[0], cax=rows[2, -1].inset_axes((-0.1, 0.0, 0.07, 1.0)))
    bar.outline.set_visible(False)
    canvas.quiet_bar(bar)
    for row, text in zip(rows, (*names, "difference"), strict=True):
        row[0].set_ylabel(text, fontsize=9, color=INK)
    return figure
