"""`InferenceReport`: what `infer` says of how a posterior was found."""

from __future__ import annotations

from dataclasses import dataclass

from pma_grid.runtime import Report


@dataclass(eq=False)
class InferenceReport(Report):
    """The ``stats`` of a `Posterior`.

    Nothing here decides what is computed from a posterior.

    Attributes
    ----------
    modes : list of list of float
        Local maxima of the log-density that the search for the box met, one point each.
    side : str
        "source" or "target": the grid that the flow was solved on.
    base : str
        The base law, in words.
    seconds : float
        Wall time, compilation included.
    """

    modes: list[list[float]] | None = None
    side: str | None = None
    base: str | None = None
    seconds: float | None = None
