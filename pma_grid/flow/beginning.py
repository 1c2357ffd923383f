"""Where a flow starts: the affine map, a convex potential, a solution, a saved flow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.flow.entropic_operator import EntropicOperator
from pma_grid.flow.flow import Flow
from pma_grid.flow.parabolic_operator import Forcing, ParabolicOperator
from pma_grid.flow.state import State
from pma_grid.flow.stepping import start
from pma_grid.grid.grid import Grid
from pma_grid.grid.transfer import Transfer
from pma_grid.problem.density import Density
from pma_grid.problem.frame import split
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError, check_choice
from pma_grid.transport.potential import checked_potential
from pma_grid.transport.transport import Transport

# What a flow may start from.
Initial = Transport | Flow | State | ArrayLike

# Nodes an axis for starts from another grid: the sharper interpolant first, if it is convex.
INTERPOLATION_NODES = (6, 2)
# L1 distance up to which two densities count as one: rounding on one grid, the error of resampling
# smooth densities between two.
SAME_DENSITY_L1, RESAMPLED_DENSITY_L1 = 1e-9, 2e-2


def begin(problem: Problem, initial: object, side: str, forcing: Forcing | None) -> State:
    """The first state of a flow on one side of ``problem``, or the error of what it was given."""
    check_choice(side, ("source", "target"), "side")
    if forcing is not None and not (callable(forcing) and side == "source"):
        raise InvalidInputError(
            f"forcing is {forcing!r} on the {side}'s side; it must be a function of t, and the "
            "conjugate flow has none: pass a callable and side='source'"
        )
    oriented = problem if side == "source" else problem.swapped()
    if isinstance(initial, State) and isinstance(initial.operator, ParabolicOperator):
        theirs = initial.operator
        if _is(theirs.problem, oriented) and theirs.forcing is forcing:
            return initial  # of this very flow: all that its next step may reuse goes on
    operator = ParabolicOperator(oriented, forcing)
    if isinstance(initial, Flow) and initial.side == side and _fits(initial, oriented):
        candidates = [split(oriented, initial.potential)]
    elif side == "source" or initial is None or isinstance(initial, State):
        candidates = _candidates(oriented, initial)
    else:
        other = ParabolicOperator(problem)
        candidates = [other.conjugate(*given) for given in _candidates(problem, initial)]
    time, index = 0.0, 0
    if isinstance(initial, State):
        time, index = initial.time, initial.index
    elif isinstance(initial, Flow) and _of(initial.problem, problem):
        time, index = float(initial.times[-1]), initial.first + len(initial)
    for phi, offset in candidates:
        state = start(operator, phi, offset, time, index)
        if np.isfinite(state.residual).all():
            return state
    raise _not_convex(state)


def begin_entropic(problem: Problem, eps: float, kernel: str, initial: object) -> State:
    """The first state of Sinkhorn's flow; its time is always index times eps."""
    operator = EntropicOperator(problem, eps, kernel=kernel)
    index = 0
    phi, offset = _candidates(problem, initial)[0]
    if isinstance(initial, State):
        theirs = initial.operator
        if (theirs.eps, theirs.kernel) == (eps, kernel):
            if _is(theirs.problem, problem):
                return initial
            index = initial.index if _of(theirs.problem, problem) else 0
    elif isinstance(initial, Flow) and (initial.eps, initial.kernel) == (eps, kernel):
        index = initial.first + len(initial) if _of(initial.problem, problem) else 0
    state = start(operator, phi, offset, index * eps, index)
    if not np.isfinite(state.residual).all():
        raise InvalidInputError(
            f"initial has values up to {np.abs(phi).max():.1e}, which over eps = {eps:g} are no "
            "numbers: give a potential of the size of the box squared"
        )
    return state


def _is(theirs: Problem, mine: Problem) -> bool:
    """Whether two problems share their densities."""
    return theirs.source is mine.source and theirs.target is mine.target


def _of(theirs: Problem | None, mine: Problem) -> bool:
    """Whether a flow was one of this problem: if not, it is but a potential to start from."""
    if theirs is None or theirs.dim != mine.dim:
        return False
    pairs = ((theirs.source, mine.source), (theirs.target, mine.target))
    return all(_alike(a, b) for a, b in pairs)


def _alike(a: Density, b: Density) -> bool:
    """Whether two densities are one, up to rounding, or up to their grids."""
    slack = SAME_DENSITY_L1 if a.grid == b.grid else RESAMPLED_DENSITY_L1
    coarse = Grid(tuple(map(min, a.shape, b.shape)), a.grid.lower, a.grid.upper)
    try:
        gap = np.abs(a.resampled(coarse).masses - b.resampled(coarse).masses)
    except InvalidInputError:  # another box
        return False
    return bool(gap.sum() <= slack)


def _fits(flow: Flow, problem: Problem) -> bool:
    """Whether the potential of a flow lives on the grids of the oriented ``problem``."""
    theirs = flow.oriented
    return theirs.source.grid == problem.source.grid and theirs.target.grid == problem.target.grid


def _candidates(problem: Problem, initial: Any) -> list[tuple[Array, float]]:
    """phi and mean on the source's grid, of what may live on any grid of its box."""
    if initial is None:
        return [(np.zeros(problem.source.shape), 0.0)]
    if isinstance(initial, State):
        if initial.phi.shape != problem.source.shape:
            raise InvalidInputError(
                f"initial has shape {initial.phi.shape}, the grid of the flow "
                f"{problem.source.shape}; they must agree: pass a state or flow of the same "
                "problem and side"
            )
        return [(initial.phi, initial.offset)]
    if isinstance(initial, Flow):
        initial = initial.transport
    if not isinstance(initial, Transport):
        initial = Transport(problem, checked_potential(problem, initial, "initial"))
    grid, mine = initial.problem.source.grid, problem.source.grid
    grid.check_same_box(mine)
    initial.problem.target.grid.check_same_box(problem.target.grid)
    phi, mean = split(initial.problem, initial.potential)
    if grid.shape == mine.shape:
        return [(phi, mean)]
    finer = [Transfer(mine.shape, grid.shape).interpolate(phi, n) for n in INTERPOLATION_NODES]
    return [(values - values.mean(), mean + float(values.mean())) for values in finer]


def _not_convex(state: State) -> InvalidInputError:
    """The error that names the first cell where the second differences are not positive."""
    bad = np.argwhere(~np.isfinite(state.residual))
    where = tuple(int(i) for i in bad[0])
    return InvalidInputError(
        f"initial is not convex at {where} and {len(bad) - 1} more cells; the flow needs a convex "
        "potential: start from None, or from its biconjugate"
    )
