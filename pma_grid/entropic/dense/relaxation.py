"""Over-relaxed Sinkhorn sweeps on one grid at one eps, with the factor found as they go.

In logarithms F = f/eps, G = g/eps, one iteration is

    G <- (1 - w) G + w G',    G' = -log sum_x a e^F k,
    F <- (1 - w) F + w F',    F' = -log sum_y b e^G k.

Plain sweeps (w = 1) contract by the factor lambda < 1 of the slowest mode.  Near the solution the
iteration is successive over-relaxation of a two-cyclic matrix with that eigenvalue, for which

    (rho + w - 1)^2 = rho w^2 lambda,    best at  w = 2 / (1 + sqrt(1 - lambda)),  rho = w - 1,

(Young 1954), so that an observed contraction rho at any smaller w tells lambda (Hageman & Young
1981, section 9).  Far from the solution too large a factor diverges (Thibault et al. 2021,
doi:10.3390/a14050143; Lehmann et al. 2022, doi:10.1007/s11590-021-01830-0): errors that grow send
it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pma_grid.entropic.dense.forms import Logarithms, Scalings
from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.runtime import Array

# Sweeps between a change of the factor and the next observation, and over which contraction is
# observed: at least so many, and this multiple of the 1 / (2 - w) that a transient lasts.
LEAST_SWEEPS_OBSERVED, TRANSIENTS_OBSERVED = 6, 1.0
# The finished plan is looked at after so many sweeps in any case.
SWEEPS_BETWEEN_FINISHES = 200
# Largest factor: at 2 the iteration diverges.
LARGEST_FACTOR = 1.99
# A change this many times the least so far, after the transient, lowers the factor.
CHANGE_GROWTH_ALLOWED = 30.0


@dataclass
class Potentials:
    """Logarithmic potentials f/eps and g/eps of one grid, and where their iteration stands."""

    F: Array
    G: Array
    omega: float = 1.0
    errors: dict[str, float] = field(default_factory=dict)  # of the plan's marginals, L1
    iterations: int = 0
    history: list[float] = field(default_factory=list)  # the sum of both, an iteration
    converged: bool = False

    @property
    def error(self) -> float:
        """Sum of both marginal errors."""
        return sum(self.errors.values())


class Factor:
    """The relaxation factor, from the errors that it leads to."""

    def __init__(self, start: float, fixed: float | None) -> None:
        self.omega = start if fixed is None else fixed
        self._fixed = fixed is not None
        self._ceiling = LARGEST_FACTOR
        self._since: list[float] = []
        self._least = math.inf

    def observe(self, distance: float) -> bool:
        """Take note of what a sweep changes; False where the factor led astray and is lowered."""
        # not the error of the marginals, which far from the solution is exponential in the change
        self._since.append(distance)
        self._least = min(self._least, distance)
        window = max(LEAST_SWEEPS_OBSERVED, round(TRANSIENTS_OBSERVED / (2 - self.omega)))
        if self._fixed or len(self._since) <= 2 * window:
            return True
        stable = bool(distance <= CHANGE_GROWTH_ALLOWED * self._least)
        if stable:
            rate = (self._since[-1] / self._since[-1 - window]) ** (1 / window)
            self._ceiling = 0.5 * (self._ceiling + LARGEST_FACTOR)
            self.omega = max(self.omega, self._better(rate))
        else:
            self.omega = self._ceiling = 0.5 * (1 + self.omega)
        self._since = []
        return stable

    def _better(self, rate: float) -> float:
        """The best factor, if the rate is that of the slowest mode under the present one."""
        w = self.omega
        if not w - 1 < rate < 1:
            return w
        eigenvalue = min((rate + w - 1) ** 2 / (rate * w * w), 1 - 1e-6)
        return min(2 / (1 + math.sqrt(1 - eigenvalue)), self._ceiling)


def sweeps(
    kernel: SeparableKernel,
    at: Potentials,
    *,
    tol: float,
    max_iterations: int,
    omega: float | None = None,
    report: Callable[[int, float], None] | None = None,
) -> Potentials:
    """Iterate ``at``, in place, until its error is at most ``tol``; the rows end exact."""
    form: Scalings | Logarithms
    if kernel.by_products:
        form = Scalings(kernel, at.F, at.G, track=omega is None)
    else:
        form = Logarithms(kernel, at.F, at.G)
    factor = Factor(at.omega, omega)
    least, best = np.inf, form
    for sweep in range(max_iterations):
        # the first G only starts the others: the one that was handed over need not fit F
        omegas = factor.omega if sweep else 1.0, factor.omega
        found = form.sweep(omegas)
        if found is None:
            form = form.logarithms()
            found = form.sweep(omegas)
        error, moved = found
        at.iterations += 1
        at.history.append(error)
        if report is not None:
            report(at.iterations, error)
        # relaxed potentials carry amplified rounding that a plain sweep at the end takes out
        if error <= tol or (sweep + 1) % SWEEPS_BETWEEN_FINISHES == 0:
            at.converged = _finish(form, at) <= tol
            if at.converged:
                break
        if moved < 0.5 * least:
            least, best = moved, form.copy()
        if not factor.observe(moved):
            form = best.copy()
    else:
        at.converged = _finish(form, at) <= tol
    at.omega = factor.omega
    return at


def _finish(form: Scalings | Logarithms, at: Potentials) -> float:
    """Potentials of a form, F made from G so that the rows are exact, and the columns' error."""
    logarithms = form.logarithms()
    at.F, at.G, error = logarithms.finish()
    at.errors = {"source": 0.0, "target": error}
    return error
