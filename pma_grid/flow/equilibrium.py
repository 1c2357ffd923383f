"""The discrete stationary potential of the parabolic flow: the reference of its divergences."""

from __future__ import annotations

import numpy as np

from pma_grid.flow.state import State
from pma_grid.flow.stepping import ImplicitEuler, parabolic, start
from pma_grid.runtime import Array, ConvergenceError
from pma_grid.stationary.solving import solve

# `solve`, then one implicit step so long that only h = const is left of its equation.
REFERENCE_TOLERANCE = 1e-9
REFERENCE_STEP = 1e6
REFERENCE_RESIDUAL = 1e-12


def stationary_phi(state: State) -> Array:
    """phi of the discrete stationary solution, where h is constant to 1e-12, or the error of it."""
    operator = parabolic(state)
    grid = operator.problem.source.grid
    failure: ConvergenceError | None = None
    try:
        # the flow takes point values of the target
        phi = solve(operator.problem, tol=REFERENCE_TOLERANCE, averaging=False, fallback=False).phi
    except ConvergenceError as error:
        # close to a solution, perhaps: the implicit step decides
        failure, phi = error, error.result.phi
    scheme = ImplicitEuler(rtol=0.0, atol=REFERENCE_RESIDUAL)
    begin = start(operator, np.array(phi), 0.0, state.time)
    polished = scheme.step(begin, REFERENCE_STEP * max(grid.lengths) ** 2)
    if polished is None and failure is not None:
        raise failure
    return begin.phi if polished is None else polished.phi
