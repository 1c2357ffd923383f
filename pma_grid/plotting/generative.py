"""A fitted model and a posterior on one page each; the map as a mesh, regret, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.inference.posterior import Posterior
from pma_grid.learning.model import Model
from pma_grid.learning.regret import LearnedRegret
from pma_grid.plotting import canvas, clouds
from pma_grid.plotting.canvas import COLOURS, FAINT, INK
from pma_grid.plotting.histories import history
from pma_grid.problem.density import Density
from pma_grid.problem.samples import Samples
from pma_grid.runtime import Array, InvalidInputError
from pma_grid.sampling.sampler import Sampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Points drawn where no data say how many.
DEFAULT_POINTS = 2000
# Lines of the carried mesh, a direction, and points of each.
MESH_LINES, POINTS_A_LINE = 21, 161
# Inches of a row of panels with their titles, of the row of curves, and of a panel's width.
ROW_HEIGHT, CURVES_HEIGHT, PANEL_WIDTH = 2.85, 2.7, 2.75
# A flow so many times as long as its first step has a logarithmic axis of time.
LONG_FLOW_STEPS = 100.0
# Samples of a posterior.
SAMPLES = 2000
# Nats that a gap is drawn as which has closed to rounding.
LEAST_GAP = 1e-16
# Width of the linear part of an axis of time where the flow took no step.
LEAST_TIME = 1e-12
# Coordinates that are drawn together.
PAIRS = {1: [(0, 0)], 2: [(0, 1)], 3: [(0, 1), (0, 2), (1, 2)]}


def model(model: Model, points: ArrayLike | Samples | None = None, *, seed: int = 0) -> Figure:
    """Draw a fitted model on one page: what it learned, what it generates, and how it was found.

    Parameters
    ----------
    model : Model
        What `pma_grid.fit` returned.
    points : array_like, shape (n, d), or Samples, optional
        The data, or points that were held out: they are drawn beside as many generated ones.
    seed : int
        Seed of the generated points.

    Returns
    -------
    Figure
        Above, the learned density with contours around 50, 80 and 95 % of its mass; the data, if
        given; generated points; and grid lines of the base law, with equal masses between them,
        carried to the data by the map.  In 1-D these are histograms and the map itself; in 3-D
        every pair of coordinates has a row, with the lines in the middle of the third coordinate.
        Below, the likelihood of held-out points for every strength that was tried, the relative
        entropies along the flow, and of a model that was learned again at every step the likelihood
        of held-out points after each.

    Raises
    ------
    InvalidInputError
        Points of another dimension than the model.

    Examples
    --------
    >>> import pma_grid as pma
    >>> data = np.random.default_rng(0).normal(size=(200, 1))
    >>> len(model(pma.fit(data, "kde", shape=32), data).axes)
    5
    """
    dim = model.grid.dim
    data = None if points is None else clouds.as_points(points)
    if data is not None and data.shape[1] != dim:
        raise InvalidInputError(
            f"points has {data.shape[1]} coordinates and the model {dim}; they must agree: give "
            "data that the model was, or could have been, learned from"
        )
    drawn = model.sample(DEFAULT_POINTS if data is None else len(data), seed=seed)
    pairs = PAIRS[dim]
    columns = 3 if data is None or dim == 1 else 4
    height = ROW_HEIGHT * len(pairs)
    page = canvas.new_figure(PANEL_WIDTH * columns + 0.4, height + CURVES_HEIGHT)
    upper, lower = canvas.two_rows(page, (height, CURVES_HEIGHT))
    panels = upper.subplots(len(pairs), columns, squeeze=False)
    for row, axes in zip(panels, pairs, strict=True):
        if dim == 1:
            _line(row, model, data, drawn)
        else:
            _plane(row, model, data, drawn, axes)
    _below(lower, model)
    canvas.caption(page, _figures(model))
    return page


def carried_mesh(
    sampler: Sampler, ax: Axes, axes: Sequence[int] = (0, 1), *, lines: int = MESH_LINES
) -> None:
    """Draw grid lines of the base law as the map of a sampler carries them to the data.

    The lines stand at equal steps of the mass of the base law's marginals, so that all cells hold
    about the same mass: they are wide where the map spreads it thinly.

    Parameters
    ----------
    sampler : Sampler
        The sampler of a model or a posterior.
    ax : Axes
        Where to draw.
    axes : pair of int
        The two coordinates drawn; a third one has the value of the middle of the base law's box.
    lines : int
        Lines in each direction.
    """
    from matplotlib.collections import LineCollection

    base = sampler.base
    middle = 0.5 * (np.array(base.grid.lower) + np.array(base.grid.upper))
    for along, across in (axes, axes[::-1]):
        places = _quantiles(base, across, lines)
        nodes = _quantiles(base, along, POINTS_A_LINE)
        points = np.tile(middle, (lines, POINTS_A_LINE, 1))
        points[:, :, along] = nodes
        points[:, :, across] = places[:, None]
        images = sampler.decode(points.reshape(-1, base.dim)).reshape(lines, POINTS_A_LINE, -1)
        colour = COLOURS[0] if along == axes[0] else COLOURS[1]
        ax.add_collection(LineCollection(list(images[:, :, list(axes)]), colors=colour, lw=0.6))


def learned_regret(learned_regret: LearnedRegret, ax: Axes | None = None) -> Axes:
    """Draw the average regret of learned steps with its bound, and the floor that errors set.

    Parameters
    ----------
    learned_regret : LearnedRegret
        What `pma_grid.learning.learned_regret` returned.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Both axes are logarithmic, and what is negative is not drawn.  The average regret lies below
        the dashed line, which is the bound of exact steps plus the bound of the bias; it need not
        fall below the floor, the average of osc(e) TV for the error e of a step's direction.
    """
    ax = canvas.given_or_new(ax, 5.6, 4.0)
    found = learned_regret
    curves = (
        ("average", "regret S", COLOURS[0], "-", 1.8),
        ("guarantee", "its bound: exact steps' + floor", COLOURS[0], "--", 1.2),
        ("bound", "bound of exact steps", FAINT, "--", 1.2),
        ("bias_bound", "floor: osc(e) TV", COLOURS[1], ":", 1.6),
        ("bias", "|bias|", COLOURS[1], "-", 1.2),
        ("empirical", "regret towards the points", COLOURS[2], "-", 1.4),
        ("empirical_bound", "its bound", COLOURS[2], "--", 1.2),
    )
    marker = "o" if len(found.elapsed) == 1 else ""  # a single step is no line
    for name, label, colour, style, width in curves:
        values = np.asarray(getattr(found, name))
        values = np.abs(values) if name == "bias" else values
        if (values > 0).any():
            ax.plot(found.elapsed, np.where(values > 0, values, np.nan), style, color=colour,
                    lw=width, marker=marker, label=label)  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    canvas.legend_beside(ax)
    canvas.open_corner(ax, "sum of the step sizes [length²]", "average over the steps [nats]")
    return ax


def posterior(posterior: Posterior, *, seed: int = 0, level: float = 0.95) -> Figure:
    """Draw a posterior on one page: its marginals with samples, and the bounds of its evidence.

    Parameters
    ----------
    posterior : Posterior
        What `pma_grid.infer` returned.
    seed : int
        Seed of the samples drawn.
    level : float in (0, 1)
        Mass of the central credible intervals that are shaded.

    Returns
    -------
    Figure
        Left, the marginal of every coordinate, and every pair of coordinates with contours around
        50, 80 and 95 % of the mass and samples that the map makes.  Right, the bounds of log Z
        along the flow, and the gap between them.
    """
    dim = posterior.grid.dim
    side = max(clouds.PANEL_SIDE * dim + 0.6, 4.2)
    page = canvas.new_figure(side + 4.2, side)
    left, right = page.subfigures(1, 2, squeeze=False, width_ratios=[side, 4.2])[0]
    clouds.corner(
        posterior.sample(SAMPLES, seed=seed), posterior.density, names=posterior.names, level=level,
        figure=left,
    )  # fmt: skip
    above, below = right.subplots(2, 1, sharex=True)
    evidence(posterior, above)
    times = _times(posterior)
    gap = posterior.flow["evidence_upper"] - posterior.flow["evidence_lower"]
    below.semilogy(times, np.maximum(gap, LEAST_GAP), "o-", ms=3, lw=1.3, color=COLOURS[0])
    _time_axis(below, times)
    canvas.open_corner(below, "time of the flow [length²]", "upper - lower [nats]")
    return page


def evidence(posterior: Posterior, ax: Axes | None = None) -> Axes:
    """Draw both bounds of the log-evidence log Z along the flow, and log Z with its error.

    Parameters
    ----------
    posterior : Posterior
        What `pma_grid.infer` returned.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
    """
    ax = canvas.given_or_new(ax, 5.6, 4.0)
    flow, found = posterior.flow, posterior.evidence
    times = _times(posterior)
    for name, label, colour in (
        ("evidence_upper", "upper bound", COLOURS[1]),
        ("evidence_lower", "lower bound (ELBO)", COLOURS[0]),
    ):
        ax.plot(times, flow[name], "o-", ms=3, lw=1.3, color=colour, label=label)
    ax.axhline(found.log_evidence, color=INK, lw=0.9, ls="--", label="log Z")
    value = f"{found.log_evidence:.8g}".replace("-", "−") + f" ± {canvas.scientific(found.error)}"
    _time_axis(ax, times)
    canvas.legend(ax)
    canvas.open_corner(ax, ylabel="bounds of log Z [nats]", title=f"log Z = {value}")
    return ax


def _line(row: Sequence[Axes], model: Model, data: Array | None, drawn: Array) -> None:
    """The panels of one coordinate: data, generated points, the map."""
    density, window = model.density, clouds.box(model.grid)
    left, middle, right = row
    if data is not None:
        clouds.histogram(left, data[:, 0], window[0], FAINT)
    clouds.curve(left, density, 0)
    left.set_title("learned density" + (" and data" if data is not None else ""))
    clouds.histogram(middle, drawn[:, 0], window[0], COLOURS[0])
    clouds.curve(middle, density, 0)
    middle.set_title("generated")
    top = max(left.get_ylim()[1], middle.get_ylim()[1])
    for ax in (left, middle):
        clouds.frame(ax, window, model.names)
        ax.set_ylim(0, top)
    base = model.sampler.base
    y = _quantiles(base, 0, 1001)
    right.plot(y, model.sampler.decode(y[:, None])[:, 0], color=COLOURS[1], lw=1.6)
    box = (base.grid.lower[0], base.grid.upper[0])
    clouds.frame(right, [box, window[0]], ("base law y", model.names[0]))
    right.set_title("sampler ∇u*")
    for ax in row:
        ax.title.set(fontsize=10, color=INK)


def _plane(
    row: Sequence[Axes], model: Model, data: Array | None, drawn: Array, axes: tuple[int, int]
) -> None:
    """The panels of two coordinates: density, data, generated points, the carried mesh."""
    window = [clouds.box(model.grid)[k] for k in axes]
    panels = list(row)
    density = model.density
    clouds.image(panels[0], clouds.marginal(density, axes), window)
    clouds.contours(panels[0], density, axes, "white")
    titles = ["learned density"]
    for points, title, colour in ((data, "data", INK), (drawn, "generated", COLOURS[0])):
        if points is not None:
            clouds.scatter(panels[len(titles)], points[:, list(axes)], window, colour)
            titles.append(f"{title}, {len(points)} points")
    carried_mesh(model.sampler, panels[-1], axes)
    titles.append("base grid carried by ∇u*")
    for ax, title in zip(panels, titles, strict=True):
        clouds.frame(ax, window, [model.names[k] for k in axes])
        canvas.titled(ax, title if axes == (0, 1) else "")
        ax.set_box_aspect(1)
    for ax in panels[1:]:
        ax.set_ylabel("")
        ax.tick_params(labelleft=False)


def _below(figure: SubFigure, model: Model) -> None:
    """Curves: the strengths tried, the flow, and with boosting its steps."""
    from matplotlib.ticker import MaxNLocator

    chosen = model.stats.get("selection")
    boosts = model.stats.get("held_out_log_likelihoods")
    count = 1 + (chosen is not None) + (boosts is not None)
    panels = iter(figure.subplots(1, count, squeeze=False)[0])
    if chosen is not None:
        ax, tried = next(panels), chosen["strengths"]
        ax.set_xscale("log")
        best = int(np.argmax(chosen["log_likelihoods"]))
        _likelihoods(
            ax, tried, chosen["log_likelihoods"], best, "strength of the regularisation",
            f"held-out points choose {canvas.scientific(tried[best])}",
        )  # fmt: skip
    ax, flow = next(panels), model.flow
    names = [name for name in ("kl", "reverse_kl") if name in flow.series]
    history(flow, names or list(flow.series)[:1], ax)
    if len(flow) and flow.times[-1] > LONG_FLOW_STEPS * flow.step_sizes[0]:
        unit = float(flow.step_sizes[0])
        ax.set_xscale("symlog", linthresh=unit)
        ax.set_xlim(-0.2 * unit, 1.5 * float(flow.times[-1]))
        if box := ax.get_legend():  # curves fall to the right
            box.set_loc("lower left")
    canvas.titled(ax, "flow from the base law")
    if boosts is not None:
        ax, stopped = next(panels), int(model.stats["stopped_at"])
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        title = f"held-out points stop at step {stopped}"
        _likelihoods(ax, range(len(boosts)), boosts, stopped, "step", title)


def _likelihoods(
    ax: Axes, x: ArrayLike, scores: ArrayLike, best: int, xlabel: str, title: str
) -> None:
    """Likelihood of held-out points over what was tried, with what was chosen."""
    x, scores = np.asarray(x), np.asarray(scores)
    ax.plot(x, scores, "o-", ms=3, lw=1.3, color=COLOURS[0])
    ax.plot(x[best], scores[best], "o", ms=6, color=COLOURS[1])
    canvas.open_corner(ax, xlabel, "log-likelihood [nats a point]", title)


def _quantiles(law: Density, axis: int, count: int) -> Array:
    """Places on an axis, ends included, with equal masses of the marginal between them."""
    masses = clouds.marginal(law, (axis,))
    # cells without mass keep a little: their faces are places too
    held = np.concatenate([[0.0], np.cumsum(masses + 1e-9 * masses.max())])
    levels = np.linspace(0.0, held[-1], count)
    return np.asarray(np.interp(levels, held, law.grid.faces[axis]))


def _figures(model: Model) -> list[str]:
    """What the caption says."""
    stats = model.stats
    parts = [
        f"{stats.get('method', 'law')} of {stats.get('samples', '?')} samples",
        f"grid {canvas.size_text(model.grid.shape)}",
    ]
    if stats.get("strength") is not None:
        parts.append(f"strength {canvas.scientific(stats['strength'])}")
    parts.append(canvas.status_text(model.flow.status))
    if "seconds" in stats:
        parts.append(f"{stats['seconds']:.1f} s")
    return parts


def _times(posterior: Posterior) -> Array:
    """The times of the flow, from its start."""
    return np.asarray(posterior.flow.times - posterior.flow.times[0])


def _time_axis(ax: Axes, times: Array) -> None:
    """Logarithmic beyond the first step."""
    ax.set_xscale("symlog", linthresh=max(float(times[1:2].sum()), LEAST_TIME))
