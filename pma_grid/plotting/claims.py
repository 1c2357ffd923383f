"""The figure of a claim: what was predicted beside what was measured."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, FAINT, INK, MARKERS
from pma_grid.runtime import Array, InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES: tuple[Any, ...] = ("--", (0, (6, 2, 1, 2)), (0, (2, 1.5)))
# Markers along a long curve, and the number of abscissae up to which each has a tick of its own.
MOST_MARKERS = 11
MOST_TICKS = 6
# Inches of a panel (one alone is wider) and of a line of text; characters an inch at 10 and at 8
# points.
PANEL_WIDTH, PANEL_HEIGHT = 4.1, 3.2
LONE_PANEL_WIDTH = 5.2
LINE_HEIGHT = 0.18
TITLE_DENSITY = 11.5
LABEL_DENSITY = 14.5


# Of `pma_grid.claims`, which stands in the same row of the house: plotting reads what they hold.
ClaimResult: TypeAlias = Any
Panel: TypeAlias = Any
Curve: TypeAlias = Any


def claim(result: ClaimResult) -> Figure:
    """Draw what a claim of the theory predicts beside what was measured.

    Parameters
    ----------
    result : ClaimResult
        What `pma_grid.claims.check` returned, with at least one panel.

    Returns
    -------
    Figure
        The statement of the claim, and below it one axes for each panel, up to three in a row.
        Measured curves have markers.  Predicted ones are dashed, in a darker shade of the colour of
        the measured curve that they belong to: the one of the same label, or else, if there are as
        many predicted as measured curves, the one of the same place; a prediction for several
        curves is grey.  Floors, below which the discretisation keeps no curve, are dotted.

    Raises
    ------
    InvalidInputError
        A result without panels.

    Notes
    -----
    On a logarithmic axis values that are not positive are gaps.

    Examples
    --------
    >>> import numpy as np
    >>> from pma_grid.claims import ClaimResult, Curve, Panel
    >>> from pma_grid.plotting import claim
    >>> n = np.array([16.0, 32.0, 64.0])
    >>> panel = Panel("one case", "spacing", "error", (Curve("measured", 1 / n, 2 / n**2),))
    >>> len(claim(ClaimResult("order", "The scheme has order 2.", (), (panel,))).axes)
    1
    """
    count = len(result.panels)
    if not count:
        raise InvalidInputError(
            f"result of the claim {result.name!r} has no panels; there is nothing to draw: print "
            "its checks"
        )
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    width = PANEL_WIDTH * columns if columns > 1 else LONE_PANEL_WIDTH
    figure = canvas.new_figure(width, PANEL_HEIGHT)
    cells = figure.add_gridspec(math.ceil(count / columns), columns)
    for k, panel in enumerate(result.panels):
        _panel(figure.add_subplot(cells[divmod(k, columns)]), panel)
    statement = _balanced(result.statement, int(width * TITLE_DENSITY))
    figure.suptitle(statement, fontsize=10.5, color=INK)
    _make_room(figure, [figure.axes[k : k + columns] for k in range(0, count, columns)])
    return figure


def _make_room(figure: Figure, rows: list[list[Axes]]) -> None:
    """As much height as panels of one size, titles and lowered legends need."""
    width = figure.get_figwidth()
    lines = figure.get_suptitle().count("\n") + 1
    lines += sum(max(ax.get_title().count("\n") for ax in row) for row in rows)
    height = PANEL_HEIGHT * len(rows) + LINE_HEIGHT * lines
    figure.set_size_inches(width, height)
    figure.draw_without_rendering()
    figure.set_size_inches(width, height + sum(_lower_legends(row) for row in rows))


def _panel(ax: Axes, panel: Panel) -> None:
    """One axes with its curves, scales, labels and legend."""
    measured = {curve.label for curve in panel.curves if curve.role == "measured"}
    for curve, colour, style in _styles(panel.curves):
        namesake = curve.role == "predicted" and curve.label in measured
        _curve(ax, curve, curve.label + ", predicted" * namesake, colour, style)
    for axis in ("x", "y"):
        if getattr(panel, f"{axis}scale") == "log" and _values(panel.curves, axis).size:
            getattr(ax, f"set_{axis}scale")("log", nonpositive="mask")
    if ax.get_xscale() == "log":
        _tick(ax, panel)
    characters = int(PANEL_WIDTH * TITLE_DENSITY)
    canvas.titled(ax, _balanced(panel.title, characters), 9.5)
    if panel.curves:
        canvas.legend(ax, handlelength=2.6)
    canvas.open_corner(
        ax,
        _balanced(panel.xlabel, characters),
        _balanced(panel.ylabel, int(PANEL_HEIGHT * LABEL_DENSITY * 0.65)),
    )


def _styles(curves: Sequence[Curve]) -> list[tuple[Curve, str, int]]:
    """Every curve with its colour and the number of its marker or dash."""
    measured = [curve for curve in curves if curve.role == "measured"]
    predicted = [curve for curve in curves if curve.role == "predicted"]
    styles, dashes = [], dict.fromkeys([*COLOURS, INK], 0)
    for curve in curves:
        if curve.role == "floor":
            styles.append((curve, FAINT, 0))
        elif curve.role == "measured":
            place = _place(measured, curve)
            styles.append((curve, COLOURS[place % len(COLOURS)], place % len(MARKERS)))
        else:
            colour = _family(curve, measured, predicted)
            styles.append((curve, colour, dashes[colour] % len(DASHES)))
            dashes[colour] += 1
    return styles


def _family(curve: Curve, measured: list[Curve], predicted: list[Curve]) -> str:
    """The colour of the measured curve that a prediction is for; ink if it is for several."""
    labels = [other.label for other in measured]
    if curve.label in labels:
        return COLOURS[labels.index(curve.label) % len(COLOURS)]
    if len(measured) == 1:
        return COLOURS[0]
    if len(predicted) == len(measured):
        return COLOURS[_place(predicted, curve) % len(COLOURS)]
    return INK


def _place(curves: list[Curve], wanted: Curve) -> int:
    """The place of a curve, by identity: curves hold arrays, which have no single equality."""
    return next(k for k, curve in enumerate(curves) if curve is wanted)


def _curve(ax: Axes, curve: Curve, label: str, colour: str, style: int) -> None:
    """A line in the manner of its role."""
    from matplotlib.colors import to_rgb

    x, y = np.atleast_1d(curve.x), np.atleast_1d(curve.y)
    label = _balanced(label, int(PANEL_WIDTH * LABEL_DENSITY * 0.7))
    if curve.role == "floor":
        label = label or "discretisation floor"
        if y.size == 1:
            ax.axhline(float(y[0]), color=FAINT, lw=1.3, ls=":", label=label, zorder=1)
        else:
            ax.plot(x, y, color=FAINT, lw=1.3, ls=":", label=label, zorder=1)
    elif curve.role == "predicted":
        # with a third of black: told apart from the measured curve where they coincide
        dark = [0.66 * part for part in to_rgb(colour)]
        ax.plot(x, y, color=dark, lw=1.4, ls=DASHES[style], label=label, zorder=3)
    else:
        # a fraction of the diagonal: evenly spaced to the eye on any scale
        every = 1.0 / MOST_MARKERS if y.size > MOST_MARKERS else None
        ax.plot(x, y, color=colour, lw=1.1, alpha=0.9, marker=MARKERS[style], ms=4.2, mew=0,
                markevery=every, label=label, zorder=2)  # fmt: skip


def _values(curves: Sequence[Curve], axis: str) -> Array:
    """All positive finite values of one axis, sorted."""
    parts = [np.ravel(getattr(curve, axis)).astype(float) for curve in curves]
    values = np.unique(np.concatenate(parts)) if parts else np.zeros(0)
    return np.asarray(values[np.isfinite(values) & (values > 0)])


def _tick(ax: Axes, panel: Panel) -> None:
    """One tick for each abscissa where there are few: usual ones crowd or miss a short range."""
    measured = [curve for curve in panel.curves if curve.role == "measured"]
    values = _values(measured or panel.curves, "x")
    if not 1 < values.size <= MOST_TICKS:
        return
    gap, total = np.diff(np.log(values)).min(), math.log(values[-1] / values[0])
    decades = all(f"{value:.6e}".startswith("1.000000") for value in values)
    # labels of ticks closer than a tenth of the axis run into each other
    if decades or gap < 0.1 * total:
        return
    canvas.tick_each(ax, values, [_tick_label(value) for value in values])


def _tick_label(value: float) -> str:
    """1/64 for the spacing of a usual grid, else the number."""
    cells = round(1 / value)
    odd = cells // (cells & -cells) if cells else 0
    if cells >= 8 and odd in (1, 3) and abs(value * cells - 1) < 1e-9:
        return f"1/{cells}"
    return f"{value:.3g}"


def _lower_legends(row: list[Axes]) -> float:
    """Put the legends of a row below its axes if one covers a curve; the inches they need."""
    from matplotlib.transforms import ScaledTranslation

    if not any(_covers(ax) for ax in row):
        return 0.0
    dpi = row[0].figure.dpi
    # below the label of the lowest axis of abscissae
    down = max(ax.get_window_extent().y0 - ax.xaxis.label.get_window_extent().y0 for ax in row)
    highest = 0.0
    for ax in row:
        box = ax.get_legend()
        if box is not None:
            shift = ScaledTranslation(0.0, -down / dpi - 0.03, ax.figure.dpi_scale_trans)
            box.set_loc("upper center")
            box.set_bbox_to_anchor((0.5, 0.0), transform=ax.transAxes + shift)
            highest = max(highest, box.get_window_extent().height / dpi)
    return highest


def _covers(ax: Axes) -> bool:
    """Whether the legend lies on a curve or sticks out of the axes."""
    shown = ax.get_legend()
    if shown is None:
        return False
    box, room = shown.get_window_extent(), ax.get_window_extent()
    inside = room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1
    return not inside or any(
        line.get_transform().transform_path(line.get_path()).intersects_bbox(box, filled=False)
        for line in ax.lines
    )


def _balanced(text: str, width: int) -> str:
    """Text in as few lines of at most so many characters as it takes, of about equal length."""
    lines = textwrap.wrap(text, width, break_long_words=False)
    while width > 10:
        width -= 1
        narrower = textwrap.wrap(text, width, break_long_words=False)
        if len(narrower) > len(lines):
            break
        lines = narrower
    return "\n".join(lines)
