"""Step-size schedules: small callables ``(k, t, residual_norm) -> step size``.

Any function of the step's index k, the time t and the norm of the residual is a schedule. Those of
the theory and of practice are here; a new one is a function that returns a `Formula`. With S_k the
symmetrised KL, D_0 = D(mu|rho_0) the Bregman divergence of the start, G a bound of the dissipation
I, W_K = sum_{k<K} eta_k, and weights eta_k / W_K in averages:

=============================  =====================================================================
schedule                       what the master bound gives for explicit mirror steps
=============================  =====================================================================
`constant`                     avg S <= D_0 / (K eta) + eta G / 2
`horizon`                      avg S <= sqrt(2 D_0 G / K)
`inverse_sqrt` (any K)         avg S <= (D_0 + c^2 G (1 + log K) / 2) / (2 c (sqrt(K + 1) - 1))
`inverse`                      sum eta = inf, sum eta^2 < inf: avg S -> 0, liminf S_k = 0
`geometric`                    sum eta < inf: S stays above a positive value
`self_bounding`                J falls at every step, avg S <= D_0 / ((1 - theta) W_K)
`polyak`                       the minimiser of the quadratic model of J along the step
`residual_balanced`            eta grows as the residual falls: implicit steps turn into Newton's
`adaptive`                     none: the local error per unit step is kept at a tolerance
=============================  =====================================================================

For implicit steps avg S <= D_0 / W_K whatever the schedule.  The bounds are the identity

    sum eta_k S_k = D_0 - D_K + sum D(rho_k | rho_{k+1})

(explicit) with D(rho_k | rho_{k+1}) <= eta_k^2 G / 2, G bounding the dissipation of the step's
direction on the whole segment from u_k to u_{k+1} (at its start alone it may be smaller);
see Deb & Liang (2025), arXiv:2504.09279.

A schedule may also look at the whole state: `StateSchedule` proposes a step for a state and may ask
for a smaller one after seeing where it leads.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pma_grid.runtime import InvalidInputError, check_inside, check_positive, check_whole

Schedule = Callable[[int, float, float], float]

# Smallest and largest factor between two adaptive steps, and the share of the predicted step that
# is taken: the usual values of embedded methods.
SMALLEST_CHANGE, LARGEST_CHANGE, SHARE_OF_PREDICTED = 0.2, 4.0, 0.9
# Shorter adaptive steps that are tried before one is taken as it is.
MOST_RETRIES = 6


@runtime_checkable
class StateSchedule(Protocol):
    """A schedule that sees the state, and the trial state before it is accepted."""

    def propose(self, state: Any) -> float:
        """Step size from this state."""

    def review(self, state: Any, trial: Any) -> float | None:
        """None to accept the trial, or a smaller step size to retry with."""


def check_schedule(schedule: object) -> None:
    """Something that can be asked for step sizes, no class."""
    if isinstance(schedule, type) or not callable(getattr(schedule, "propose", schedule)):
        raise InvalidInputError(
            f"schedule is {schedule!r}; it must be a callable (k, t, residual_norm) -> step size: "
            "for example pma.schedules.constant(0.1)"
        )


@dataclass(frozen=True)
class Formula:
    """A schedule given by a formula, with the call that makes it as representation."""

    text: str
    rule: Schedule

    def __call__(self, k: int, t: float, residual_norm: float) -> float:
        """The step size eta_k."""
        return self.rule(k, t, residual_norm)

    def __repr__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the call that makes it: rules are closures."""
        return _made, (self.text,)


def _made(text: str) -> Schedule:
    """The schedule of a representation."""
    name, _, arguments = text.partition("(")
    schedule: Schedule = globals()[name](*ast.literal_eval(f"({arguments[:-1]},)"))
    return schedule


def constant(step_size: float) -> Schedule:
    """Steps of one size, eta_k = eta.

    Examples
    --------
    >>> constant(0.1)(7, 0.7, 1.0)
    0.1
    """
    eta = _positive(step_size, "step_size")
    return Formula(f"constant({_text(eta)})", lambda k, t, r: eta)


def inverse_sqrt(scale: float) -> Schedule:
    """Steps that fall like a square root, eta_k = c / sqrt(k + 1): no horizon need be known."""
    c = _positive(scale, "scale")
    return Formula(f"inverse_sqrt({_text(c)})", lambda k, t, r: c / math.sqrt(k + 1))


def inverse(scale: float) -> Schedule:
    """Steps that fall like the index, eta_k = c / (k + 1): squares that sum, sizes that do not."""
    c = _positive(scale, "scale")
    return Formula(f"inverse({_text(c)})", lambda k, t, r: c / (k + 1))


def geometric(first: float, ratio: float, largest: float = math.inf) -> Schedule:
    """Steps eta_k = min(first ratio^k, largest): with a ratio above 1 at rest after a few."""
    eta, q = _positive(first, "first"), _positive(ratio, "ratio")
    top = _positive(largest, "largest", finite=False)
    log_top = math.log(top / eta) if math.isfinite(top) else 600.0

    def rule(k: int, t: float, r: float) -> float:
        # the exponent is bounded: q^k overflows for long runs
        return eta * math.exp(max(-600.0, min(k * math.log(q), log_top)))

    return Formula(f"geometric({_text(eta, q, top)})", rule)


def horizon(divergence: float, dissipation: float, steps: int) -> Schedule:
    """The constant step sqrt(2 D_0 / (G K)) that is best for K explicit steps with I <= G."""
    d, g = _positive(divergence, "divergence"), _positive(dissipation, "dissipation")
    check_whole(steps, 1, "steps", "the horizon, say 100")
    eta = math.sqrt(2 * d / (g * steps))
    return Formula(f"horizon({_text(d, g, steps)})", lambda k, t, r: eta)


def residual_balanced(scale: float, largest: float = math.inf) -> Schedule:
    """Steps that grow as the residual falls, eta_k = c / (sum mu hbar^2)^{1/2}, up to ``largest``.

    They are known as switched evolution relaxation: implicit steps turn into Newton's.

    Mulder & van Leer (1985), J. Comput. Phys. 59, 232-246. doi:10.1016/0021-9991(85)90144-5
    """
    c = _positive(scale, "scale")
    top = _positive(largest, "largest", finite=False)
    # the residual of a stationary start vanishes
    bound = min(top, 1e12)
    text = f"residual_balanced({_text(c, top)})"
    return Formula(text, lambda k, t, r: min(c / max(r, 1e-300), bound))


@dataclass(frozen=True)
class Polyak:
    """See `polyak`."""

    factor: float
    largest: float

    def propose(self, state: Any) -> float:
        """factor S / I."""
        return min(self.largest, self.factor * _ratio(state, self.largest))

    def review(self, state: Any, trial: Any) -> None:
        """Every trial is accepted."""


def polyak(factor: float = 1.0, largest: float = 1.0) -> Polyak:
    """Steps eta_k = factor S_k / I_k, which minimise the quadratic model of J along the step.

    J(u_k + eta h_k) has the slope -S_k and the curvature I_k at eta = 0.  ``largest`` bounds the
    step at equilibrium, where S and I vanish together.
    """
    return Polyak(_positive(factor, "factor"), _positive(largest, "largest"))


@dataclass(frozen=True)
class SelfBounding:
    """See `self_bounding`."""

    theta: float
    largest: float

    def propose(self, state: Any) -> float:
        """2 theta S / I: equality in the test to second order."""
        return min(self.largest, 2 * self.theta * _ratio(state, self.largest))

    def review(self, state: Any, trial: Any) -> float | None:
        """Halve until D(rho_k | rho_{k+1}) <= theta eta S_k, up to rounding."""
        eta = trial.step.size
        bound = self.theta * eta * state.symmetrised_kl
        return None if trial.forward_divergence <= bound + 1e-18 else 0.5 * eta


def self_bounding(theta: float = 0.5, largest: float = 1.0) -> SelfBounding:
    """The largest step, up to halving, with D(rho_k | rho_{k+1}) <= theta eta_k S_k (Armijo).

    With 0 < theta < 1 the average regret obeys avg S <= D_0 / ((1 - theta) W_K).
    """
    check_inside(theta, 0, 1, "theta", "for example 0.5")
    return SelfBounding(float(theta), _positive(largest, "largest"))


@dataclass(frozen=True)
class Adaptive:
    """See `adaptive`."""

    tol: float
    first: float
    largest: float

    def propose(self, state: Any) -> float:
        """The step whose predicted error per unit step is the tolerance."""
        if state.step.size == 0:
            return min(self.largest, self.first)
        return min(self.largest, float(state.step.size) * self._factor(state))

    def review(self, state: Any, trial: Any) -> float | None:
        """Retry where the estimated error exceeds tol eta, a few times."""
        # what is left then is no error in time: on rough data the operator itself is uncertain
        enough = trial.step.attempts > MOST_RETRIES
        if enough or trial.step.error <= self.tol * trial.step.size:
            return None
        return float(trial.step.size) * min(0.5, self._factor(trial))

    def _factor(self, state: Any) -> float:
        """Change of the step: the error per unit step goes like eta^order."""
        error = state.step.error / (self.tol * state.step.size)
        if error <= 0:
            return LARGEST_CHANGE
        return float(
            min(
                LARGEST_CHANGE,
                max(SMALLEST_CHANGE, SHARE_OF_PREDICTED * error ** (-1.0 / state.order)),
            )
        )


def adaptive(tol: float, first: float = 1e-4, largest: float = 1e3) -> Adaptive:
    """Steps whose estimated local error is ``tol`` a unit of time, for flows accurate in time.

    Use it with `TRBDF2`.  ``tol`` is the error of the potential in length^2 a unit of time, that
    is dimensionless, as h is; steps begin with ``first`` and never exceed ``largest``.
    """
    return Adaptive(_positive(tol, "tol"), _positive(first, "first"), _positive(largest, "largest"))


def _ratio(state: Any, otherwise: float) -> float:
    """S / I, the time scale of the flow."""
    dissipation = state.dissipation
    return float(state.symmetrised_kl / dissipation) if dissipation > 0 else otherwise


def _text(*values: float) -> str:
    """Numbers as arguments of a call, short where no digit is lost; a last infinity is left out."""
    given = values[:-1] if len(values) > 1 and math.isinf(values[-1]) else values
    short = [(f"{value:g}", float(value)) for value in given]
    return ", ".join(text if float(text) == value else repr(value) for text, value in short)


def _positive(value: float, name: str, *, finite: bool = True) -> float:
    """A positive number or an error that names it."""
    return check_positive(value, name, "step sizes are times, in length^2", finite=finite)
