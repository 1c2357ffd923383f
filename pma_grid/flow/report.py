"""`FlowReport`: what a flow says of how it was computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pma_grid.runtime import Report


@dataclass(eq=False)
class FlowReport(Report):
    """Counts, times and circumstances of a flow, in ``flow.stats``; None is left out.

    Nothing here decides what is computed from a flow: that is in the fields of the `Flow`.

    Attributes
    ----------
    newton, linear, setups : int
        Newton iterations, linear iterations and set-ups of preconditioners, those of refused steps
        included; of the parabolic flow.
    sweeps : int
        Sweeps over both marginals; of Sinkhorn's flow.
    rejected : int
        Step sizes that were tried and given up for smaller ones.
    first_step : int
        Index of the first state: not 0 where another flow was continued.
    schedule, scheme : str
        The calls that make the schedule and the scheme.
    side, kernel : str
        As in the `Flow`, and so are the next two.
    weights : list of float
    smoothing, eps : float
    linear_solver : str
        The one that the last step used, or "none".
    narrow_kernel : bool
        Whether sqrt(eps) is below the width of a cell; of Sinkhorn's flow.
    residual_norm, mass_constant : float
        (sum mu hbar^2)^{1/2} and alpha = log sum mu e^h of the last state.
    convexity_limit, stability_limit : list of float
        The limits of explicit steps at the first and the last state, length^2.
    floors : dict
        What working floors changed, by side; see `pma_grid.solve`.
    seconds, compile_seconds : float
        Wall time without compilation, and what compilation took.
    versions : dict of str
        Of Python and the libraries that the result depends on.
    """

    newton: int | None = None
    linear: int | None = None
    setups: int | None = None
    sweeps: int | None = None
    rejected: int | None = None
    first_step: int | None = None
    schedule: str | None = None
    scheme: str | None = None
    side: str | None = None
    weights: list[float] | None = None
    smoothing: float | None = None
    linear_solver: str | None = None
    eps: float | None = None
    kernel: str | None = None
    narrow_kernel: bool | None = None
    residual_norm: float | None = None
    mass_constant: float | None = None
    convexity_limit: list[float] | None = None
    stability_limit: list[float] | None = None
    floors: dict[str, Any] | None = None
    seconds: float | None = None
    compile_seconds: float | None = None
    versions: dict[str, str] | None = None
