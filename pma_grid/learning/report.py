"""`FitReport`: what `fit` says of how a model was learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pma_grid.runtime import Report


@dataclass(eq=False)
class FitReport(Report):
    """The ``stats`` of a `Model`; None is left out, but for ``selection``.

    Nothing here decides what is computed from a model.

    Attributes
    ----------
    method : str
        Name of the estimator: "logistic", "score", "kde", "histogram", or that of one's own.
    estimator : str
        The call that makes the estimator, its strength included.
    strength : float
        How strongly it smooths; in units of its own.
    selection : dict or None
        How held-out samples chose the strength: ``strengths`` tried, ``log_likelihoods`` (nats a
        point) and ``at_edge``, see `Selection`; None where the strength was given.
    samples, duplicates : int
        Samples learned from, and how many of them equal others.
    held_out : float
        Share of the samples that was to choose.
    seed : int
        Seed of the split into samples learned from and samples held out.
    relearn, explicit : bool
        Whether log mu was learned again before every step, and whether steps were explicit.
    transport : str
        What found the transport: "flow", or "solve" where the flow did not settle.
    held_out_log_likelihoods : list of float
        With ``relearn``: the held-out samples' log-likelihood after each step, nats a point.
    stopped_at : int
        With ``relearn``: the step at which it is largest, which ends the flow.
    seconds : float
        Wall time, compilation included.
    """

    method: str | None = None
    estimator: str | None = None
    strength: float | None = None
    selection: dict[str, Any] | None = None
    samples: int | None = None
    duplicates: int | None = None
    held_out: float | None = None
    seed: int | None = None
    relearn: bool | None = None
    explicit: bool | None = None
    transport: str | None = None
    held_out_log_likelihoods: list[float] | None = None
    stopped_at: int | None = None
    seconds: float | None = None

    ALWAYS: ClassVar[frozenset[str]] = frozenset({"selection"})
