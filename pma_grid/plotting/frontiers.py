"""Time against error of several methods: where each stands, and what none of its runs beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, FAINT, INK, MARKERS
from pma_grid.runtime import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Errors: the clock that each is drawn over, and its name.
MEASURES = {
    "map_l2": ("seconds", "map error, L2(µ)"),
    "w2_rel": ("w2_seconds", "W2² error, relative"),
}
# Errors below this are drawn on it: logarithms know no zero.
LEAST_ERROR = 1e-12
# Inches of a panel, of what surrounds them all, and of an entry of the legend.
PANEL_SIDE = 2.6
MARGIN_WIDTH, MARGIN_HEIGHT = 0.6, 0.9
ENTRY_WIDTH = 2.3


def undominated(seconds: ArrayLike, errors: ArrayLike) -> NDArray[np.int_]:
    """Runs that no other of at most their time matches in error, in order of time; no NaN, inf."""
    times, values = np.asarray(seconds, float), np.asarray(errors, float)
    if times.shape != values.shape or times.ndim != 1:
        raise InvalidInputError(
            f"seconds and errors have shapes {times.shape} and {values.shape}; they must be two "
            "sequences of one length: give one error a run"
        )
    order = np.lexsort((values, times))
    order = order[np.isfinite(times[order]) & np.isfinite(values[order])]
    before = np.minimum.accumulate(np.concatenate([[np.inf], values[order]]))[:-1]
    kept: NDArray[np.int_] = order[values[order] < before]
    return kept


def frontier(results: Mapping[str, Any]) -> Figure:
    """Draw the error that several methods reach against the time that they take for it.

    Parameters
    ----------
    results : mapping
        A mapping with three entries.  "rows" is a sequence of runs, each a mapping with "problem",
        "method", the errors "map_l2" and "w2_rel" (None where there is none) and the "seconds" and
        "w2_seconds" that these took.  "problems" and "methods" map names to titles, in the order of
        columns and of colours.  `tests/bench/peers.py --json` writes such a file.

    Returns
    -------
    Figure
        One column for each problem, the error of the map above and the relative error of W2^2,
        without its sign, below.  Faint marks are runs; a line joins the runs of a method that no
        other of its runs beats in both time and error (`undominated`).

    Raises
    ------
    InvalidInputError
        No rows, or rows of unknown problems or methods.
    """
    rows = list(results.get("rows", ()))
    problems, methods = results.get("problems", {}), results.get("methods", {})
    _check(rows, problems, methods)
    columns = [name for name in problems if any(row["problem"] == name for row in rows)]
    raced = [name for name in methods if any(row["method"] == name for row in rows)]
    figure = canvas.new_figure(
        PANEL_SIDE * max(len(columns), 2) + MARGIN_WIDTH,
        PANEL_SIDE * len(MEASURES) + MARGIN_HEIGHT,
    )
    axes = figure.subplots(len(MEASURES), len(columns), squeeze=False, sharex="col")
    for measure, row_of_axes in zip(MEASURES, axes, strict=True):
        for name, ax in zip(columns, row_of_axes, strict=True):
            _panel(ax, [row for row in rows if row["problem"] == name], measure, list(methods))
    for ax, name in zip(axes[0], columns, strict=True):
        canvas.titled(ax, problems[name], 9.5)
    for ax, (_, title) in zip(axes[:, 0], MEASURES.values(), strict=True):
        ax.set_ylabel(title, fontsize=9, color=INK)
    for ax in axes[-1]:
        ax.set_xlabel("seconds, one core")
        ax.xaxis.label.set(fontsize=9, color=INK)
    _legend(figure, raced, methods)
    return figure


def _check(
    rows: Sequence[Mapping[str, Any]], problems: Mapping[str, str], methods: Mapping[str, str]
) -> None:
    if not rows:
        raise InvalidInputError(
            "results has no rows; there is nothing to draw: run tests/bench/peers.py --json FILE"
        )
    for key, known in (("problem", problems), ("method", methods)):
        for row in rows:
            if row[key] not in known:
                raise InvalidInputError(
                    f"results has a row of the {key} {row[key]!r}, of which {key}s does not give "
                    f"the title; it knows {', '.join(known) or 'none'}: add it"
                )


def _style(method: str, methods: list[str]) -> dict[str, Any]:
    """Colour and mark of a method: by its place among all, raced or not."""
    place = methods.index(method)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def _panel(ax: Axes, rows: Sequence[Mapping[str, Any]], measure: str, methods: list[str]) -> None:
    """Runs and frontiers of one problem and one error."""
    drawn = False
    # the first of the methods on top
    for method in reversed(methods):
        own = [row for row in rows if row["method"] == method and row[measure] is not None]
        if not own:
            continue
        drawn = True
        seconds = np.array([row[MEASURES[measure][0]] for row in own], float)
        errors = np.maximum(np.abs([float(row[measure]) for row in own]), LEAST_ERROR)
        best = undominated(seconds, errors)
        style = _style(method, methods)
        ax.plot(seconds, errors, ls="", ms=3.0, mew=0, alpha=0.3, **style)
        ax.plot(seconds[best], errors[best], ls="-", lw=1.4, ms=4.5, mew=0, **style)
    canvas.open_corner(ax)
    if drawn:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.grid(True, which="major", color=FAINT, alpha=0.25, lw=0.6)
    else:
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.tick_params(which="both", bottom=False, labelbottom=False)
        ax.text(0.5, 0.5, "no exact map", transform=ax.transAxes, ha="center", va="center",
                fontsize=9, color=FAINT)  # fmt: skip


def _legend(figure: Figure, raced: list[str], methods: Mapping[str, str]) -> None:
    """One for all panels, below them."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], lw=1.4, ms=5, mew=0, label=methods[name], **_style(name, list(methods)))
        for name in raced
    ]
    figure.legend(
        handles=handles, loc="outside lower center", frameon=False, fontsize=9, labelcolor=INK,
        ncols=min(int(figure.get_figwidth() // ENTRY_WIDTH), len(handles)),
    )  # fmt: skip
