"""The line search of every Newton iteration: Armijo (1966), doi:10.2140/pjm.1966.16.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Point = TypeVar("Point")


def backtrack(
    trial: Callable[[float], Point],  # the point that a fraction in (0, 1] of the step leads to
    merit: Callable[[Point], float],  # NaN is never low enough
    enough: Callable[[float], float],  # the merit that a step of this fraction must reach
    *,
    smallest: float,
) -> tuple[float, Point] | None:
    """Halve a step, from the full one on, until its merit is as low as its size asks for."""
    size = 1.0
    while size >= smallest:
        point = trial(size)
        if merit(point) <= enough(size):
            return size, point
        size *= 0.5
    return None


def armijo(first: float, slope: float) -> Callable[[float], float]:
    """What a step s must reach where the full Newton step would bring the merit to zero."""
    # a share ``slope`` of the fall that the linearisation promises
    return lambda size: (1 - slope * size) * first
