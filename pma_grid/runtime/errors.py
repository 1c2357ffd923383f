"""Exceptions and the statuses of a solve: every failure is a sentence that says what to try."""

from __future__ import annotations

from enum import Enum
from typing import Any


class PMAError(Exception):
    """Base class of every error that this package raises on purpose."""


class InvalidInputError(PMAError, ValueError):
    """An argument or a file cannot be used.

    The message names the argument, the value, the rule and the remedy, in one line.
    """


class InvalidDensityError(InvalidInputError):
    """Values are not a density: NaN, negative, without mass, complex, or of the wrong shape."""


class ConvergenceError(PMAError):
    """A solver stopped without a result that it can stand by; what it has comes with the error.

    Parameters
    ----------
    message : str
        What happened and what to try.
    result : Transport, optional
        The partial result.

    Attributes
    ----------
    result : Transport or None
        The best iterate, so that a long run is not lost; its ``status`` says why it stopped.

    Examples
    --------
    >>> try:
    ...     raise ConvergenceError("stopped early", result="the last iterate")
    ... except PMAError as error:
    ...     print(error, "-", error.result)
    stopped early - the last iterate
    """

    def __init__(self, message: str, *, result: Any = None) -> None:
        # Any and not Transport: errors is the lowest module and knows no other.
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep ``result`` when the error crosses a process boundary."""
        return _rebuild, (type(self), str(self), self.result)


class LostConvexityError(ConvergenceError):
    """An explicit step made a potential that is not convex; ``result`` is the flow before it."""


class EvolutionInterrupted(KeyboardInterrupt):
    """Ctrl-C was pressed during a flow; ``result`` is the flow up to its last finished step."""

    def __init__(self, result: Any) -> None:
        super().__init__("interrupted")
        self.result = result


def _rebuild(kind: type[ConvergenceError], message: str, result: Any) -> ConvergenceError:
    """Inverse of `ConvergenceError.__reduce__`: pickle itself passes positional arguments only."""
    return kind(message, result=result)


class Status(Enum):
    """How a computation ended; the value is a sentence that says what it means and what to try.

    Examples
    --------
    >>> print(Status.CONVERGED, Status.CONVERGED.succeeded)
    converged True
    >>> print(Status.MAX_ITERATIONS, Status.MAX_ITERATIONS.succeeded)
    max_iterations False
    """

    CONVERGED = "The equation holds to the tolerance asked for."
    REGULARISED = (
        "The equation holds to the tolerance asked for, for densities raised to the working floor "
        "that stats['floors'] reports; pass floor= to Density to choose another one."
    )
    ENTROPIC = (
        "The entropic problem holds to the marginal error asked for; it differs from the "
        "unregularised one by the eps that stats['eps'] reports."
    )
    NARROW_KERNEL = (
        "The entropic problem holds to the marginal error asked for, but its kernel is narrower "
        "than a cell, so that the result follows the grid and not the densities: take a larger "
        "eps, a finer grid, or method='multiscale'."
    )
    MAX_ITERATIONS = (
        "The iterations allowed ran out before the tolerance was met; raise max_iterations, "
        "loosen tol, or start from a nearby solution with initial=."
    )
    LINE_SEARCH_STALLED = (
        "No step length reduced the residual any more; the densities may vary too fast for this "
        "grid: use a finer grid, a larger floor=, or a looser tol."
    )
    LINEAR_SOLVER_STALLED = (
        "The linear solver could not reduce its residual; try linear_solver=pma.AMG() or "
        "pma.Direct(), a larger floor=, or a finer grid."
    )
    UNRESOLVED = (
        "The discrete equation holds, but its mass constant, the mean of its image, or W2 beside "
        "its bounds, says that the grid does not resolve the densities: use a finer grid, or a "
        "larger floor=."
    )
    COMPLETED = "All the steps asked for were taken; the result is the flow's at its last time."
    STEP_FAILED = (
        "A time step could not be solved, however small; the densities may vary too fast for this "
        "grid: use a finer grid, a larger floor=, or linear_solver=pma.AMG() in the scheme."
    )
    STALLED = (
        "The flow no longer moves: its steps are lost in the rounding of the time, or its residual "
        "in that of the potential; ask for longer steps or a larger tol."
    )
    LOST_CONVEXITY = (
        "An explicit step left the convex potentials; take smaller steps, cap them with "
        "Explicit(cap='stability'), or use an implicit scheme."
    )
    INTERRUPTED = (
        "The flow was interrupted; the result ends with the last finished step: go on from it with "
        "initial=flow."
    )
    NOT_SOLVED = (
        "No equation was solved: the potential was given; call solve(problem, initial=...) to "
        "improve it."
    )

    @property
    def succeeded(self) -> bool:
        """Whether the method met its goal, for the densities given or for the raised ones."""
        return self in (
            Status.CONVERGED, Status.REGULARISED, Status.COMPLETED, Status.ENTROPIC,
            Status.NARROW_KERNEL,
        )  # fmt: skip

    def __str__(self) -> str:
        """The name in lower case, as printed and stored."""
        return self.name.lower()
