"""What every scheme is, and the bookkeeping that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.state import MirrorOperator, State, Step
from pma_grid.linsolve import Handle, Stencil
from pma_grid.runtime import Array, InvalidInputError


class Scheme(Protocol):
    """A one-step method for du/dt = h; immutable configuration.

    Attributes
    ----------
    name : str
        As files and tables show it.
    order : int
        Order of accuracy in the step size.
    weights : tuple of float
        Shares of the old and the new state in the regret of a step: where h is evaluated.
    """

    @property
    def name(self) -> str: ...

    @property
    def order(self) -> int: ...

    @property
    def weights(self) -> tuple[float, float]: ...

    def step(self, state: State, step_size: float) -> State | None:
        """The state one step later, or None where the step cannot be solved."""


def start(
    operator: MirrorOperator, phi: Array, offset: float, time: float = 0.0, index: int = 0
) -> State:
    """The state that a flow starts from; h holds NaN where the potential is not convex."""
    residual = operator.evaluate(phi, time)
    mean = float(residual.mean())
    slope = residual - mean
    made = Step(0.0, phi, slope)
    _lock(phi, residual, slope)
    return State(index, time, phi, offset, residual, slope, mean, operator, made)


@dataclass(frozen=True)
class Reached:
    """The potential phi that a step, or a stage of one, led to, h there, and what it took.

    ``gauge_rate`` is the constant of the equation of the mean-free parts, by which u rises a unit
    of time, and ``handle`` the preconditioner of the last linear solve.
    """

    phi: Array
    residual: Array
    gauge_rate: float
    handle: Handle | None = None
    newton: int = 0
    linear: int = 0

    def after(self, newton: int, linear: int) -> Reached:
        """The same with the iterations of earlier work counted in."""
        return replace(self, newton=self.newton + newton, linear=self.linear + linear)


def advance(
    state: State, step_size: float, reached: Reached, *, offset: float, slope: Array, error: Array,
    order: int,
) -> State:  # fmt: skip
    """The next state; ``error`` is the estimated local error in the potential as a field."""
    _lock(reached.phi, reached.residual, slope)
    made = Step(
        step_size, state.phi, state.slope, half_oscillation(error), reached.newton, reached.linear
    )
    return State(
        index=state.index + 1,
        time=state.time + step_size,
        phi=reached.phi,
        offset=offset,
        residual=reached.residual,
        slope=slope,
        gauge_rate=reached.gauge_rate,
        operator=state.operator,
        step=made,
        order=order,
        older=state.step if state.step.size else None,
        handle=reached.handle,
    )


def advance_explicitly(
    state: State, step_size: float, phi: Array, offset: float, residual: Array
) -> State:
    """The next state of an explicit step of first order: its slope is that of h itself."""
    mean = float(residual.mean())
    slope = residual - mean
    return advance(
        state, step_size, Reached(phi, residual, mean), offset=offset, slope=slope,
        error=0.5 * step_size * (slope - state.slope), order=1,
    )  # fmt: skip


def parabolic(state: State) -> ParabolicOperator:
    """The operator of a state of the parabolic equation: other flows have an h without stencil."""
    operator = state.operator
    if not isinstance(operator, ParabolicOperator):
        raise InvalidInputError(
            f"state has a {type(operator).__name__}; implicit steps and the limits of explicit "
            "ones need one of the parabolic flow: begin it with iterate(problem, initial=state)"
        )
    return operator


def linearised(state: State) -> Stencil:
    """The derivative of h at a state; valid until its operator is evaluated elsewhere."""
    return parabolic(state).linearised(state.phi, state.time)


def _lock(*arrays: Array) -> None:
    """States share their arrays with the steps to come: nobody may write to them."""
    for array in arrays:
        array.flags.writeable = False


def half_oscillation(field: Array) -> float:
    """(max - min) / 2: the sup norm up to a constant, blind to the gauge."""
    return 0.5 * float(np.ptp(field))
