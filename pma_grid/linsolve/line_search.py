"""`backtrack`: the line search of every Newton iteration in the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Point = TypeVar("Point")


def backtrack(
    trial: Callable[[float], Point],
    merit: Callable[[Point], float],
    enough: Callable[[float], float],
    *,
    smallest: float,
) -> tuple[float, Point] | None:
    """Halve a step, from the full one on, until its merit is as low as its size asks for.

    Parameters
    ----------
    trial : callable
        The point that a fraction in (0, 1] of the step leads to.
    merit : callable
        What the search lowers; NaN is never low enough.
    enough : callable
        The merit that a step of this fraction must reach.
    smallest : float
        Fraction below which no step is tried.

    Returns
    -------
    tuple of float and point, or None
        The fraction taken and where it led; None if no fraction was good enough.

    References
    ----------
    Armijo (1966), Minimization of functions having Lipschitz continuous first partial derivatives,
    Pacific J. Math. 16, 1-3. doi:10.2140/pjm.1966.16.1
    """
    size = 1.0
    while size >= smallest:
        point = trial(size)
        if merit(point) <= enough(size):
            return size, point
        size *= 0.5
    return None


def armijo(first: float, slope: float) -> Callable[[float], float]:
    """What a step s must reach where the full Newton step would bring the merit to zero.

    (1 - slope s) first: a share ``slope`` of the fall that the linearisation promises.
    """
    return lambda size: (1 - slope * size) * first
