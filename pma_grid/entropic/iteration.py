"""`Iteration`: what callbacks of `sinkhorn` receive, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Iteration:
    """What is known after a sweep of the dense or a cycle of the multiscale method.

    Attributes
    ----------
    level : tuple of int
        Shape of the source grid: multiscale reports coarser ones too.
    step : int
        Iterations so far on this grid.
    residual : float
        L1 error of the marginals.
    eps : float
        length^2.
    """

    level: tuple[int, ...]
    step: int
    residual: float
    eps: float
