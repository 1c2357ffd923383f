"""Mirror steps of a flow that is known without a grid equation: one loop for every oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.flow.flow import Flow, FlowReport
from pma_grid.flow.marching import MOST_HALVINGS, checked_size, proposed
from pma_grid.flow.schedules import Schedule, StateSchedule, check_schedule
from pma_grid.runtime import (
    Array,
    ConvergenceError,
    LostConvexityError,
    Status,
    check_choice,
    check_positive,
    check_whole,
)

U = TypeVar("U")
SchemeName = Literal["explicit", "implicit"]

# Names of the schemes as flows on grids have them, and the shares of the old and the new state in
# the regret of a step.
NAMES = {"explicit": "explicit", "implicit": "implicit_euler"}
WEIGHTS = {"explicit": (1.0, 0.0), "implicit": (0.0, 1.0)}


class Oracle(Protocol[U]):
    """What a mirror flow needs to know of its potentials, exactly; grad u maps rho_u to nu."""

    def kl(self, potential: U) -> float:
        """KL(rho_u | mu)."""

    def reverse_kl(self, potential: U) -> float:
        """KL(mu | rho_u)."""

    def dissipation(self, potential: U) -> float:
        """I, the curvature of J along the explicit step at its start."""

    def bregman(self, potential: U) -> float:
        """D(mu | rho_u), length^2."""

    def divergence(self, first: U, second: U) -> float:
        """D(rho_first | rho_second), length^2."""

    def residual_norm(self, potential: U) -> float:
        """(int h^2 dmu)^{1/2}."""

    def step_error(self, old: U, new: U, step_size: float) -> float:
        """Estimated local error of the step from ``old`` to ``new``, length^2."""

    def explicit_step(self, potential: U, step_size: float) -> U:
        """u + eta h(u); raises LostConvexityError where that is not convex."""

    def implicit_step(self, potential: U, step_size: float) -> U:
        """v with v - eta h(v) = u; raises ConvergenceError where it is not found."""


@dataclass(frozen=True)
class MirrorStep(Generic[U]):
    """How a state was reached: the size (0 at the start), from where, error, sizes tried."""

    size: float
    before: U
    error: float = 0.0
    attempts: int = 1


@dataclass(frozen=True)
class MirrorState(Generic[U]):
    """One instant of a mirror flow, with what schedules that look at states ask for.

    ``index`` counts the steps, ``time`` is the sum of their sizes, length^2, and ``potential`` is
    whatever the oracle represents one by.
    """

    index: int
    time: float
    potential: U
    oracle: Oracle[U]
    step: MirrorStep[U]
    order: int = 1

    @cached_property
    def kl(self) -> float:
        """KL(rho|mu)."""
        return self.oracle.kl(self.potential)

    @cached_property
    def reverse_kl(self) -> float:
        """KL(mu|rho)."""
        return self.oracle.reverse_kl(self.potential)

    @property
    def symmetrised_kl(self) -> float:
        """S = KL(rho|mu) + KL(mu|rho)."""
        return self.kl + self.reverse_kl

    @cached_property
    def dissipation(self) -> float:
        """I, the curvature of J along the explicit step."""
        return self.oracle.dissipation(self.potential)

    @cached_property
    def bregman(self) -> float:
        """D(mu|rho), length^2."""
        return self.oracle.bregman(self.potential)

    @cached_property
    def residual_norm(self) -> float:
        """(int h^2 dmu)^{1/2}."""
        return self.oracle.residual_norm(self.potential)

    @cached_property
    def forward_divergence(self) -> float:
        """D(rho_k | rho_{k+1}) of the step that led here; 0 at the start."""
        step = self.step
        return self.oracle.divergence(step.before, self.potential) if step.size else 0.0

    @cached_property
    def backward_divergence(self) -> float:
        """D(rho_{k+1} | rho_k) of the step that led here; 0 at the start."""
        step = self.step
        return self.oracle.divergence(self.potential, step.before) if step.size else 0.0


SERIES = (
    "kl", "reverse_kl", "symmetrised_kl", "dissipation", "bregman", "forward_divergence",
    "backward_divergence", "residual_norm",
)  # fmt: skip


def mirror_flow(
    oracle: Oracle[U],
    start: U,
    *,
    schedule: Schedule | StateSchedule,
    steps: int,
    scheme: SchemeName,
    observables: Mapping[str, Callable[[U], float]] | None = None,
    finish: Callable[[U], Mapping[str, Any]] | None = None,
    eps: float | None = None,
) -> Flow:
    """The flow of ``steps`` mirror steps with the `SERIES`, and ``observables`` of the potential.

    An explicit step that leaves the convex potentials raises LostConvexityError, but is halved, as
    any refused step is, where the schedule looks at states.  ``finish`` gives further fields of the
    Flow from the last potential; ``eps`` is that of Sinkhorn's iterates, which give the flow its
    name.
    """
    check_choice(scheme, NAMES, "scheme")
    check_schedule(schedule)
    steps = check_whole(steps, 0, "steps", "for example 100")
    extra = dict(observables or {})
    visited = [MirrorState(0, 0.0, start, oracle, MirrorStep(0.0, start))]

    def flow(status: Status) -> Flow:
        series = {name: [getattr(state, name) for state in visited] for name in SERIES}
        for name, function in extra.items():
            series[name] = [function(state.potential) for state in visited]
        return Flow(
            scheme=NAMES[scheme] if eps is None else "sinkhorn",
            times=np.array([state.time for state in visited]),
            step_sizes=np.array([state.step.size for state in visited[1:]]),
            series={name: np.array(values, float) for name, values in series.items()},
            status=status,
            weights=WEIGHTS[scheme],
            eps=eps,
            stats=FlowReport(
                schedule=repr(schedule), side="source", weights=list(WEIGHTS[scheme]), eps=eps
            ),
            **({} if finish is None else finish(visited[-1].potential)),
        )

    try:
        for _ in range(steps):
            visited.append(_advance(visited[-1], schedule, scheme))
    except LostConvexityError as error:
        raise LostConvexityError(str(error), result=flow(Status.LOST_CONVEXITY)) from None
    except ConvergenceError:
        return flow(Status.STEP_FAILED)
    return flow(Status.COMPLETED)


def _advance(
    state: MirrorState[U], schedule: Schedule | StateSchedule, scheme: SchemeName
) -> MirrorState[U]:
    """One accepted step: retried smaller where it is refused or the schedule asks for it."""
    oracle, old = state.oracle, state.potential
    take = oracle.explicit_step if scheme == "explicit" else oracle.implicit_step
    watching = schedule if isinstance(schedule, StateSchedule) else None
    size = proposed(schedule, state)
    for attempt in range(1, MOST_HALVINGS + 2):
        try:
            new = take(old, size)
        except ConvergenceError as error:
            if watching is None and isinstance(error, LostConvexityError):
                raise LostConvexityError(f"step {state.index}: {error}") from None
            size *= 0.5
            continue
        made = MirrorStep(size, old, oracle.step_error(old, new, size), attempt)
        trial = MirrorState(state.index + 1, state.time + size, new, oracle, made)
        smaller = watching.review(state, trial) if watching is not None else None
        if smaller is None:
            return trial
        size = checked_size(smaller, state, schedule)
    raise ConvergenceError(
        f"step {state.index} was refused {MOST_HALVINGS + 1} times, last at size {size:.1e}; "
        "use a schedule with smaller steps"
    )


def checked_step(step_size: float) -> float:
    """The step size of a single step."""
    return check_positive(step_size, "step_size", "it is in length^2, for example 0.1")


def excess(x: ArrayLike) -> Array:
    """x - log(1 + x) without cancellation near 0, the terms of relative entropies."""
    x = np.asarray(x, float)
    small = np.abs(x) < 0.05
    near = np.where(small, x, 0.0)
    total = np.zeros_like(x)
    for k in range(14, 1, -1):  # Horner's scheme of sum_{k >= 2} (-x)^k / k
        total = total * -near + 1.0 / k
    far = np.where(small, 0.0, x)
    result: Array = np.where(small, total * near * near, far - np.log1p(far))
    return result
