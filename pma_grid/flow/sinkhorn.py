"""`sinkhorn_flow`: Sinkhorn's iterates as a `Flow` (that name for the module would hide it)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pma_grid.entropic.solving import Kernel
from pma_grid.flow.beginning import Initial, begin_entropic
from pma_grid.flow.entropic_operator import EntropicOperator
from pma_grid.flow.flow import Flow
from pma_grid.flow.marching import END_SLACK_STEPS, Ends, gather, longest_step, march, too_late
from pma_grid.flow.observables import CHEAP, Observable, resolve
from pma_grid.flow.recording import Keep, Recorder
from pma_grid.flow.schedules import constant
from pma_grid.flow.state import State
from pma_grid.flow.stepping.scheme import advance_explicitly
from pma_grid.problem.problem import Problem, check_problem
from pma_grid.problem.reduction import check_eps
from pma_grid.runtime import Array, InvalidInputError, Status, check_choice


@dataclass(frozen=True)
class Sinkhorn:
    """One sweep of Sinkhorn's algorithm: the explicit mirror step of size eps, exactly.

    Of states whose operator is an `EntropicOperator` of the same eps; no other step size exists.
    """

    eps: float
    kernel: Kernel = "plain"

    name = "sinkhorn"
    order = 1
    weights = (1.0, 0.0)

    def step(self, state: State, step_size: float) -> State:
        """The state one sweep later."""
        operator = state.operator
        if not isinstance(operator, EntropicOperator) or step_size != operator.eps:
            raise InvalidInputError(
                f"step_size is {step_size!r} with a {type(operator).__name__}; a sweep is a step "
                "of size eps from a state of Sinkhorn's flow: use iterate_sinkhorn"
            )
        phi, mean = operator.step(state.phi)
        time = (state.index + 1) * operator.eps
        residual = operator.evaluate(phi, time)
        made = advance_explicitly(state, step_size, phi, state.offset + mean, residual)
        # k eps, without the rounding of a running sum
        return replace(made, time=time)


def iterate_sinkhorn(
    problem: Problem,
    eps: float,
    time: float | None = None,
    *,
    steps: int | None = None,
    tol: float | None = None,
    initial: Initial | None = None,
    kernel: Kernel = "plain",
) -> Iterator[State]:
    """Run Sinkhorn's iteration sweep by sweep: an iterator over its states, the start first.

    Parameters
    ----------
    problem, eps, time, steps, tol, initial, kernel
        As for `sinkhorn_flow`; without ``time``, ``steps`` and ``tol`` the iterator has no end.

    Yields
    ------
    State
        The start, and then the state after every sweep.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> problem = pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32))
    >>> for state in pma.iterate_sinkhorn(problem, 0.1, steps=2):
    ...     print(state.index, state.time, f"{pma.observables.kl(state):.1e}")
    0 0.0 1.2e-02
    1 0.1 3.9e-04
    2 0.2 4.5e-05
    """
    check_problem(problem)
    ends = Ends(steps, time, tol).check()
    check_choice(kernel, ("plain", "reflect"), "kernel")
    check_eps(problem, eps)
    longest = longest_step(problem)
    if eps > longest:
        raise InvalidInputError(
            f"eps is {eps!r}; it is the step size, at most {longest:.0e} here, in length^2: cells "
            "squared are a good unit"
        )
    return _states(problem, Sinkhorn(float(eps), kernel), initial, ends)


def _states(
    problem: Problem, sweep: Sinkhorn, initial: Initial | None, ends: Ends
) -> Iterator[State]:
    """The flow itself, a generator that begins when it is asked for its first state."""
    eps, steps = sweep.eps, ends.steps
    state = begin_entropic(problem, eps, sweep.kernel, initial)
    if ends.time is not None:
        # the last whole step before the end; 10 steps of .1 are 1
        whole = math.floor(ends.time / eps * (1 + END_SLACK_STEPS)) - state.index
        if whole < 0:
            raise too_late(ends.time, state)
        steps = whole if steps is None else min(steps, whole)
    yield from march(state, sweep, constant(eps), Ends(steps, None, ends.tol))


def sinkhorn_flow(
    problem: Problem,
    eps: float,
    time: float | None = None,
    *,
    steps: int | None = None,
    tol: float | None = None,
    initial: Initial | None = None,
    kernel: Kernel = "plain",
    record: Sequence[str | Observable] = CHEAP,
    keep: Keep = (),
    progress: bool = False,
) -> Flow:
    """Run Sinkhorn's algorithm as a flow of potentials, a sweep a step, and record what happens.

    One sweep takes u_k to u_{k+1} through the soft conjugate v_k:

        v_k(y) = eps log sum_x mu(x) exp((<x, y> - u_k(x)) / eps),
        u_{k+1}(x) = eps log sum_y nu(y) exp((<x, y> - v_k(y)) / eps).

    Hence u_{k+1} = u_k + eps log(rho_k / mu), where rho_k is the source's marginal of the plan of
    (u_k, v_k): a sweep is the explicit mirror step of size eps whose mirror is the entropic cost to
    nu.  As eps goes to 0, u_k at k = t / eps goes to the parabolic Monge-Ampère flow u_t of
    `evolve`, to first order.  Use `sinkhorn` for the plan alone, which it finds faster.

    Parameters
    ----------
    problem : Problem
        The source mu and the target nu; zeros are allowed and stay.
    eps : float
        Strength of the entropic regularisation of the cost |x - y|^2/2, with mu x nu as reference
        measure, length^2; it is the step size too.  Below the square of a cell the kernel is
        narrower than a cell: the iterates are exact for the atoms at the cell centres, but follow
        the grid and not the densities, and ``stats["narrow_kernel"]`` is True.
    time : float, optional
        Time to end at, length^2: the flow ends at floor(time / eps) eps.
    steps : int, optional
        Number of sweeps to take.  Of ``time``, ``steps`` and ``tol`` the first one reached ends the
        flow; at least one must be given.
    tol : float, optional
        The flow ends once (sum mu h^2)^{1/2} is below it, h = log(rho / mu), which to first order
        bounds the L1 error of the plan's marginal; the status is then ENTROPIC (NARROW_KERNEL below
        a cell).
    initial : Transport, Flow, State or array_like of shape ``source.shape``, optional
        Potential u_0, finite; it need not be convex, as its soft conjugate makes it so.  Default:
        that of the affine map of box to box (|x|^2/2 + const for equal boxes).  A Transport may
        live on a coarser grid of the same box.  A State or Flow of Sinkhorn's iteration for the
        same problem, eps and kernel is continued: time and step count go on.
    kernel : {"plain", "reflect"}
        What happens at the faces of the box: "reflect" sums over the images of the target in them.
        The plain kernel's map is wrong to O(sqrt(eps)) within sqrt(eps) of the faces, the
        reflecting one's to O(eps).
    record, keep, progress
        As for `evolve`; "bregman" finds the entropic optimum first.  All divergences, "semidual"
        and "dissipation" are those of the entropic mirror, without quadrature; Hessians are those
        of the potential one sweep later.

    Returns
    -------
    Flow
        Its ``scheme`` is "sinkhorn", its ``times`` are k eps, its ``status`` is COMPLETED, as
        ``tol`` says, or STALLED, with what there is until then.  The series "mass_constant" is 0 to
        rounding.

    Raises
    ------
    InvalidInputError
        eps is not a positive number, or so small beside the box that the rounding of u / eps would
        be seen in h; a potential that is not finite, and other arguments out of range.
    ConvergenceError
        "bregman" is recorded and the entropic optimum is not found.
    EvolutionInterrupted
        Ctrl-C (a KeyboardInterrupt); its ``result`` is the flow until then.

    Notes
    -----
    A sweep costs two applications of the separable kernel, O(N n) for N cells and n cells an axis.
    Exact zeros of the densities stay: no floor.  The identities of mirror steps (`theory`) hold to
    rounding.  Each half of a sweep sends a pair of laws (rho_k, mu) to (nu, sigma_k) through one
    Markov kernel, so that every f-divergence to mu falls: KL both ways, total variation, chi^2; max
    h falls and min h rises, and the sup distance of two runs does not grow.

    References
    ----------
    Deb, Kim, Pal & Schiebinger (2023), Wasserstein mirror gradient flow as the limit of the
    Sinkhorn algorithm, arXiv:2307.16421.
    Berman (2020), The Sinkhorn algorithm, parabolic optimal transport and geometric Monge-Ampère
    equations, Numer. Math. 145, 771-836. doi:10.1007/s00211-020-01127-x

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> problem = pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32))
    >>> flow = pma.sinkhorn_flow(problem, 0.01, time=1.0)
    >>> len(flow), bool(flow["kl"][-1] < 1e-8), flow.status.name
    (100, True, 'COMPLETED')
    """
    ends = Ends(steps, time, tol)
    ends.check_one_is_given()
    functions = resolve(record)
    states = iterate_sinkhorn(
        problem, eps, time, steps=steps, tol=tol, initial=initial, kernel=kernel
    )
    recorder = Recorder(
        problem, Sinkhorn(float(eps), kernel), constant(float(eps)), record=functions, keep=keep,
        stationary=_optimum,
    )  # fmt: skip
    return gather(states, recorder, ends, met=_met, progress=progress)


def _met(last: State) -> Status:
    """How a flow ended that reached its tolerance."""
    return Status.NARROW_KERNEL if last.operator.narrow_kernel else Status.ENTROPIC


def _optimum(state: State) -> Array:
    """phi of the entropic optimum."""
    assert isinstance(state.operator, EntropicOperator)
    return state.operator.fixed_point(state.phi)
