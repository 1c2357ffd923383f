"""An exact semi-discrete flow in one dimension: atoms on the x-side, a density on the y-side.

The source has masses mu_i at points x_i of spacing h, the target a piecewise-constant density nu.
For u = (u_i) convex, with edges y_{i+1/2} = (u_{i+1} - u_i)/h,

    u*(y) = max_i (x_i y - u_i),    rho_i = nu([y_{i-1/2}, y_{i+1/2}]),    J(u) = mu.u + int u* dnu,

the first and last Laguerre cell reaching to the ends of the target.  grad J = mu - rho holds
exactly, so that every identity of the flow with h_i = log(rho_i / mu_i) holds to rounding at any
resolution, and with a wrong sign or factor does not.  Bregman's divergence has the two forms

    D(a|b) = J_{rho_a}(b) - J_{rho_a}(a) = h sum_edges int_{y_a}^{y_b} (F(y) - F(y_a)) dy,

F the distribution function of nu: the integral of <b - a, rho_a - rho(a + s (b - a))> over s.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from scipy.linalg import solveh_banded

from pma_grid.cases.oracles.mirror_steps import SchemeName, checked_step, excess, mirror_flow
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.linsolve.line_search import backtrack
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, ConvergenceError, InvalidInputError, LostConvexityError

# Newton steps of an implicit step, and the smallest fraction of one that is tried.
MOST_NEWTON_STEPS = 100
SMALLEST_FRACTION = 0.5**39
# Newton stops where its residual no longer falls; so much of it, relative to the largest value of
# the potential, may be rounding.
POTENTIAL_ROUNDING = 1e-15


class LaguerreScheme:
    """Exact mirror steps for atoms at the cell centres of a 1-D source and the target's density.

    Potentials are arrays of ``source.shape``.

    Parameters
    ----------
    problem : Problem
        One axis; the source strictly positive, the target piecewise constant on its own grid.

    Notes
    -----
    A discretisation of the parabolic Monge-Ampère flow of order 2 in the spacing, for a target of
    much finer cells, but made as an oracle: the finite differences of `pma_grid.evolve` fulfil the
    same identities to O(h^2) only.

    References
    ----------
    Aurenhammer, Hoffmann & Aronov (1998), Minkowski-type theorems and least-squares clustering,
    Algorithmica 20, 61-76. doi:10.1007/PL00009187

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> scheme = LaguerreScheme(pma.Problem(1 + np.linspace(0, 1, 16), np.ones(16)))
    >>> flow = scheme.run(pma.schedules.constant(0.05), 20, scheme="implicit")
    >>> gap = np.diff(flow["bregman"]) + 0.05 * flow["symmetrised_kl"][1:]
    >>> bool(np.abs(gap + flow["backward_divergence"][1:]).max() < 1e-15)
    True
    """

    def __init__(self, problem: Problem) -> None:
        source, target = problem.source, problem.target
        if source.dim != 1:
            raise InvalidInputError(
                f"problem has {source.dim} axes; Laguerre cells are exact on one: use 1-D densities"
            )
        self.problem = problem
        self.spacing = source.grid.spacing[0]
        masses = source.values * self.spacing
        self.masses: Array = masses / masses.sum()
        if self.masses.min() <= 0:
            raise InvalidInputError(
                f"source is 0 at cell {int(np.argmin(self.masses))}; atoms need mass for "
                "log(rho/mu): raise the density by a floor"
            )
        self._points = source.grid.axes[0]
        self._faces = target.grid.faces[0]
        cells = target.values * np.diff(self._faces)
        self._density: Array = target.values / cells.sum()
        # F and int F dy at the faces
        self._cumulated = np.concatenate([[0.0], np.cumsum(cells / cells.sum())])
        means = 0.5 * (self._cumulated[1:] + self._cumulated[:-1])
        self._integrated = np.concatenate([[0.0], np.cumsum(means * np.diff(self._faces))])

    def affine(self) -> Array:
        """The potential of the affine map of box to box, where flows start by default."""
        grid = self.problem.source.grid
        stretch = (self._faces[-1] - self._faces[0]) / grid.lengths[0]
        z = self._points - grid.lower[0]
        potential: Array = 0.5 * stretch * z * z + self._faces[0] * self._points
        return potential

    @cached_property
    def stationary(self) -> Array:
        """The exact minimiser of J, mean zero: its edges are the quantiles of nu at sums of mu."""
        levels = np.cumsum(self.masses)[:-1]
        j = np.searchsorted(self._cumulated[1:-1], levels, side="right")
        inside = (levels - self._cumulated[j]) / self._density[j]
        edges = np.minimum(self._faces[j] + inside, self._faces[j + 1])
        potential = np.concatenate([[0.0], np.cumsum(edges * self.spacing)])
        centred: Array = potential - potential.mean()
        return centred

    def pullback(self, potential: Array) -> Array:
        """rho_i, the masses of the Laguerre cells, which sum to 1; none may be empty."""
        edges = self._edges(potential)
        bounds = np.concatenate([self._faces[:1], edges, self._faces[-1:]])
        masses = self._mass(bounds[:-1], bounds[1:])
        empty = np.flatnonzero(~(masses > 0))
        if empty.size:
            raise LostConvexityError(
                f"the Laguerre cell of atom {int(empty[0])} and of {empty.size - 1} more is empty, "
                "where log(rho/mu) is -inf: take a smaller step or an implicit one"
            )
        return masses

    def log_ratio(self, potential: Array) -> Array:
        """h_i = log(rho_i / mu_i)."""
        values: Array = np.log(self.pullback(potential) / self.masses)
        return values

    def explicit_step(self, potential: Array, step_size: float) -> Array:
        """u + eta h(u); raises LostConvexityError where that empties a Laguerre cell."""
        new: Array = potential + checked_step(step_size) * self.log_ratio(potential)
        self.pullback(new)
        return new

    def implicit_step(self, potential: Array, step_size: float) -> Array:
        """The v with v - eta h(v) = u, by Newton's method with backtracking to rounding.

        The equation is that of the minimiser of the strictly convex
        sum eta mu e^{(v - u)/eta} + int v* dnu; its Newton matrix diag(rho) + eta A, A the weights
        nu(edge)/h of neighbours, is tridiagonal, symmetric and positive definite.
        ConvergenceError where the residual stalls above rounding.
        """
        eta = checked_step(step_size)
        # far from u the kinks of h can stall Newton's method; the limit eta -> inf is then nearer
        for start in (potential, self.stationary + potential.mean()):
            v, residual = self._solve(potential, start, eta)
            # a unit in the last place of v moves h by so much
            steepest = 4 * self._weights(v).max() / self.pullback(v).min()
            if residual <= POTENTIAL_ROUNDING * float(np.abs(v).max()) * (1 + eta * steepest):
                return v
        raise ConvergenceError(
            f"an implicit step of size {eta:.3e} stalled at a residual of {residual:.1e}; take a "
            "smaller one"
        )

    def run(
        self,
        schedule: Schedule | StateSchedule,
        steps: int,
        scheme: SchemeName = "explicit",
        start: Array | None = None,
    ) -> Flow:
        """The flow of exact mirror steps, from `affine` where no ``start`` is given.

        Parameters, errors and series are those of `GaussianPair.mirror_flow`, and the series
        semidual (J) and conjugate_integral (int u* dnu) beside them.
        """
        begin = self.affine() if start is None else self._checked(start)
        return mirror_flow(
            self, begin, schedule=schedule, steps=steps, scheme=scheme,
            observables={"semidual": self.semidual, "conjugate_integral": self.conjugate_integral},
            finish=lambda potential: {"problem": self.problem, "potential": potential},
        )  # fmt: skip

    def conjugate_integral(self, potential: Array) -> float:
        """int u* dnu = sum_i (x_i int_{cell i} y dnu - u_i rho_i), length^2."""
        edges = self._edges(potential)
        bounds = np.concatenate([self._faces[:1], edges, self._faces[-1:]])
        first = np.diff(bounds * self._distribution(bounds) - self._primitive(bounds))
        rho = self._mass(bounds[:-1], bounds[1:])
        return float(self._points @ first - potential @ rho)

    def semidual(self, potential: Array) -> float:
        """J(u) = mu.u + int u* dnu, length^2; blind to constants."""
        return float(self.masses @ potential) + self.conjugate_integral(potential)

    def divergence(self, first: Array, second: Array) -> float:
        """D(rho_first | rho_second) by the segment integral: h sum of areas under F, all >= 0."""
        a, b = self._edges(first), self._edges(second)
        return self.spacing * float(self._area(a, b).sum())

    def bregman(self, potential: Array) -> float:
        """D(mu | rho_u) = J(u) - min J, by the segment integral, length^2."""
        return self.divergence(self.stationary, potential)

    def kl(self, potential: Array) -> float:
        """KL(rho | mu) = sum rho (mu/rho - 1 - log(mu/rho))."""
        rho = self.pullback(potential)
        return float(rho @ excess((self.masses - rho) / rho))

    def reverse_kl(self, potential: Array) -> float:
        """KL(mu | rho) = sum mu (rho/mu - 1 - log(rho/mu))."""
        rho = self.pullback(potential)
        return float(self.masses @ excess((rho - self.masses) / self.masses))

    def dissipation(self, potential: Array) -> float:
        """I = <h, J''(u) h> = sum_edges nu(edge) (difference of h)^2 / h."""
        jumps = np.diff(self.log_ratio(potential))
        return float(self._weights(potential) @ jumps**2)

    def residual_norm(self, potential: Array) -> float:
        """(sum mu h^2)^{1/2}."""
        return math.sqrt(float(self.masses @ self.log_ratio(potential) ** 2))

    def step_error(self, old: Array, new: Array, step_size: float) -> float:
        """Half the oscillation of eta (h_new - h_old)/2."""
        return 0.25 * step_size * float(np.ptp(self.log_ratio(new) - self.log_ratio(old)))

    def _checked(self, start: Array) -> Array:
        """A start of the right shape without empty cells."""
        potential = np.array(start, float)
        if potential.shape != self.masses.shape or not np.isfinite(potential).all():
            raise InvalidInputError(
                f"start has shape {potential.shape} or values that are not finite; it must be a "
                f"finite array of the source's shape {self.masses.shape}"
            )
        try:
            self.pullback(potential)
        except LostConvexityError as error:
            raise InvalidInputError(
                f"start is not usable: {error.args[0].split(':')[0]}; pass a convex potential "
                "whose gradients lie in the target"
            ) from None
        return potential

    def _edges(self, potential: Array) -> Array:
        """y_{i+1/2} cut to the target's interval."""
        slopes = np.diff(potential) / self.spacing
        return np.clip(slopes, self._faces[0], self._faces[-1])

    def _cell(self, y: Array) -> Array:
        """Index of the target's cell that holds y."""
        return np.asarray(np.searchsorted(self._faces[1:-1], y, side="right"))

    def _distribution(self, y: Array) -> Array:
        """F(y)."""
        j = self._cell(y)
        return np.asarray(self._cumulated[j] + self._density[j] * (y - self._faces[j]))

    def _primitive(self, y: Array) -> Array:
        """int_{lower}^y F."""
        j = self._cell(y)
        z = y - self._faces[j]
        return np.asarray(
            self._integrated[j] + z * (self._cumulated[j] + 0.5 * self._density[j] * z)
        )

    def _mass(self, a: Array, b: Array) -> Array:
        """nu([a, b]) without cancellation inside a cell; negative where b < a."""
        i, j = self._cell(a), self._cell(b)
        across = self._distribution(b) - self._distribution(a)
        return np.asarray(np.where(i == j, self._density[i] * (b - a), across))

    def _area(self, a: Array, b: Array) -> Array:
        """int_a^b (F(y) - F(a)) dy >= 0, without cancellation inside a cell."""
        i, j = self._cell(a), self._cell(b)
        across = self._primitive(b) - self._primitive(a) - self._distribution(a) * (b - a)
        return np.asarray(np.where(i == j, 0.5 * self._density[i] * (b - a) ** 2, across))

    def _weights(self, potential: Array) -> Array:
        """-d rho_i / d u_{i+1}: nu(edge)/h, 0 at edges outside the target."""
        slopes = np.diff(potential) / self.spacing
        inside = (slopes > self._faces[0]) & (slopes < self._faces[-1])
        return np.where(inside, self._density[self._cell(slopes)], 0.0) / self.spacing

    def _solve(self, u: Array, start: Array, eta: float) -> tuple[Array, float]:
        """v and the largest residual |u + eta h(v) - v| where it stops to fall."""
        v, h = start, self.log_ratio(start)
        residual = u + eta * h - v
        best = float(np.abs(residual).max())
        for _ in range(MOST_NEWTON_STEPS):
            found = self._search(u, v, self._newton(v, h, residual, eta), eta, best)
            if found is None:
                break
            v, h, residual, best = found
        return v, best

    def _newton(self, v: Array, h: Array, residual: Array, eta: float) -> Array:
        """The solution of (diag(rho) + eta A) d = rho residual."""
        rho = self.masses * np.exp(h)
        weights = eta * self._weights(v)
        bands = np.zeros((2, len(v)))
        bands[1] = rho
        bands[1, :-1] += weights
        bands[1, 1:] += weights
        bands[0, 1:] = -weights
        return np.asarray(solveh_banded(bands, rho * residual))

    def _search(
        self, u: Array, v: Array, direction: Array, eta: float, best: float
    ) -> tuple[Array, Array, Array, float] | None:
        """The first shortened step whose residual u + eta h - v is smaller, or None."""

        def trial(fraction: float) -> tuple[Array, Array, Array, float]:
            new = v + fraction * direction
            try:
                h = self.log_ratio(new)
            except LostConvexityError:
                return new, new, new, math.inf
            residual = u - new + eta * h
            return new, h, residual, float(np.abs(residual).max())

        smaller = math.nextafter(best, -math.inf)
        found = backtrack(trial, lambda at: at[3], lambda _: smaller, smallest=SMALLEST_FRACTION)
        return None if found is None else found[1]
