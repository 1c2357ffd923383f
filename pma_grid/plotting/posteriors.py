"""A posterior on one page: its marginals and samples, and the evidence along the flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pma_grid.inference.posterior import Posterior
from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, INK
from pma_grid.plotting.clouds import PANEL_SIDE, corner
from pma_grid.runtime import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Samples drawn.
SAMPLES = 2000
# Nats that a gap is drawn as which has closed to rounding.
LEAST_GAP = 1e-16
# Width of the linear part of an axis of time where the flow took no step.
LEAST_TIME = 1e-12


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
    side = max(PANEL_SIDE * dim + 0.6, 4.2)
    page = canvas.new_figure(side + 4.2, side)
    left, right = page.subfigures(1, 2, squeeze=False, width_ratios=[side, 4.2])[0]
    corner(
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


def _times(posterior: Posterior) -> Array:
    """The times of the flow, from its start."""
    return np.asarray(posterior.flow.times - posterior.flow.times[0])


def _time_axis(ax: Axes, times: Array) -> None:
    """Logarithmic beyond the first step."""
    ax.set_xscale("symlog", linthresh=max(float(times[1:2].sum()), LEAST_TIME))
