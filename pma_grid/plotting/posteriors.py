"""A posterior on one page: its marginals and samples, and the evidence along the flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pma_grid.inference.posterior import Posterior
from pma_grid.plotting.canvas import COLOURS, INK, given_or_new, new_figure, open_corner, scientific
from pma_grid.plotting.clouds import PANEL, corner

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Samples drawn, and what a gap that has closed to rounding is drawn as.
COUNT = 2000
CLOSED = 1e-16


def posterior(posterior: Posterior, *, seed: int = 0, level: float = 0.95) -> Figure:
    """A posterior on one page.

    Parameters
    ----------
    posterior : Posterior
    seed : int
        Of the samples drawn.
    level : float in (0, 1)
        Of the central credible intervals shaded.

    Returns
    -------
    Figure
        Left: every coordinate's marginal and every pair with contours around 50, 80 and 95 % of
        the mass and samples through the map.  Right: the bounds of log Z along the flow, and the
        gap between them.
    """
    dim = posterior.grid.dim
    side = max(PANEL * dim + 0.6, 4.2)
    page = new_figure(side + 4.2, side)
    left, right = page.subfigures(1, 2, squeeze=False, width_ratios=[side, 4.2])[0]
    corner(
        posterior.sample(COUNT, seed=seed), posterior.density, names=posterior.names, level=level,
        figure=left,
    )  # fmt: skip
    above, below = right.subplots(2, 1, sharex=True)
    evidence(posterior, above)
    times = posterior.flow.times - posterior.flow.times[0]
    gap = posterior.flow["evidence_upper"] - posterior.flow["evidence_lower"]
    below.semilogy(times, np.maximum(gap, CLOSED), "o-", ms=3, lw=1.3, color=COLOURS[0])
    below.set_ylabel("upper - lower [nats]")
    below.set_xlabel("time of the flow [length²]")
    below.set_xscale("symlog", linthresh=max(float(times[1:2].sum()), 1e-12))
    open_corner(below)
    return page


def evidence(posterior: Posterior, ax: Axes | None = None) -> Axes:
    """Both bounds of log Z against the time of the flow, and log Z with its error."""
    ax = given_or_new(ax, 5.6, 4.0)
    flow, found = posterior.flow, posterior.evidence
    times = flow.times - flow.times[0]
    for name, label, colour in (
        ("evidence_upper", "upper bound", COLOURS[1]),
        ("evidence_lower", "lower bound (ELBO)", COLOURS[0]),
    ):
        ax.plot(times, flow[name], "o-", ms=3, lw=1.3, color=colour, label=label)
    ax.axhline(found.log_evidence, color=INK, lw=0.9, ls="--", label="log Z")
    value = f"{found.log_evidence:.8g}".replace("-", "−") + f" ± {scientific(found.error)}"
    ax.set_title(f"log Z = {value}", fontsize=10, color=INK)
    ax.set_xscale("symlog", linthresh=max(float(times[1:2].sum()), 1e-12))
    ax.set_ylabel("bounds of log Z [nats]")
    ax.legend(frameon=False, fontsize=8, labelcolor=INK)
    open_corner(ax)
    return ax
