"""Checks of what is asked about a problem: that it is one, and that eps is no rounding error."""

from __future__ import annotations

from typing import Any

from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime import InvalidInputError, check_positive

# Least eps over the squared side of the box L^2.  Potentials are of the size L^2, so that rounding
# moves exponents, potentials over eps, by some 2e-16 L^2 / eps: 2e-4 here.  It may not be larger:
# eps = h^2/2, the default of small eps, is 5e-11 L^2 on an axis of 1e5 cells.
LEAST_EPS_SQUARED_SIDES = 1e-12


def check_problem(problem: Any) -> None:
    """Refuse what is no pair of densities."""
    if not isinstance(problem, Problem):
        raise InvalidInputError(
            f"problem is of type {type(problem).__name__}; it must be a Problem: pass "
            "pma.Problem(source, target)"
        )


def check_eps(problem: Problem, eps: Any) -> float:
    """An eps > 0, in length^2, that is not lost in the rounding of the cost."""
    value = check_positive(eps, "eps", "it is in length^2, for example 1e-2 times a squared side")
    least = LEAST_EPS_SQUARED_SIDES * float((Reduced.of(problem).lengths ** 2).max())
    if value < least:
        raise InvalidInputError(
            f"eps is {eps!r}; for these boxes it must be at least {least:.1e}, in length^2: the "
            "cost over eps would have no digits left; take a larger eps, or solve for eps = 0"
        )
    return value
