"""Sinkhorn's algorithm between Gaussians, mu = N(m, S) to nu = N(n, T), in closed form.

A sweep takes u to v(y) = eps log int e^{(<x,y> - u)/eps} dmu and back, and potentials stay
quadratic.  With u = a + q.(x - m) + (x - m)'B(x - m)/2 and v likewise about n,

    C = (B + eps S^{-1})^{-1},    B+ = (C + eps T^{-1})^{-1},
    grad v(n) = m + C (n - q),    q+ = n + B+ C (q - n),

and (u+ - u)/eps = log(rho_u/mu) exactly, rho_u being the first marginal of the plan of (u, v): the
sweep is an explicit mirror step of size eps for the entropic dual J(u) = int u dmu + int v dnu.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pma_grid.cases.oracles.mirror_steps import checked_step, excess, mirror_flow
from pma_grid.cases.oracles.quadratic import Quadratic
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import constant
from pma_grid.runtime import Array, InvalidInputError, LostConvexityError, check_positive

if TYPE_CHECKING:
    from pma_grid.cases.oracles.gaussian import GaussianPair


class _Conditional(NamedTuple):
    """The law of x given y under the plan of (u, v): N(m + C (y - q), eps C)."""

    q: Array
    C: Array

    def mean_at(self, y: Array) -> Array:
        """E[x | y] - m."""
        return np.asarray(self.C @ (y - self.q))


@dataclass(frozen=True, eq=False)
class GaussianSinkhorn:
    """Sinkhorn's iterates between two Gaussians, exactly; see `GaussianPair.sinkhorn`.

    Parameters
    ----------
    pair : GaussianPair
    eps : float
        > 0, length^2: cost |x - y|^2/2, reference measure mu x nu.

    References
    ----------
    Janati, Muzellec, Peyré & Cuturi (2020), Entropic optimal transport between unbalanced Gaussian
    measures has a closed form, arXiv:2006.02572 (the fixed point).

    Examples
    --------
    >>> from pma_grid.oracles import GaussianPair
    >>> pair = GaussianPair([0.0], [[4.0]], [0.0], [[1.0]])
    >>> [round(float(pair.entropic(eps).stationary().B[0, 0]), 6) for eps in (1.0, 1e-3)]
    [0.390388, 0.499875]
    """

    pair: GaussianPair
    eps: float

    def __post_init__(self) -> None:
        check_positive(self.eps, "eps", "it is in length^2, for example 0.01")

    def conjugate(self, potential: Quadratic) -> Quadratic:
        """v(y) = eps log int e^{(<x,y> - u(x))/eps} dmu(x), about the mean of the target."""
        u = self._checked(potential)
        return _soft(u, self.pair.source_cov, self._inverses[0], self.pair.target_mean, self.eps)

    def step(self, potential: Quadratic) -> Quadratic:
        """The next iterate, eps log int e^{(<x,y> - v(y))/eps} dnu(y), about the source's mean."""
        v = self.conjugate(potential)
        return _soft(v, self.pair.target_cov, self._inverses[1], self.pair.source_mean, self.eps)

    def iterates(self, start: Quadratic | None = None) -> Iterator[Quadratic]:
        """u_0, u_1, ... without end, from ``start`` (default: the identity)."""
        u = (self.pair.identity() if start is None else start).about(self.pair.source_mean)
        while True:
            yield u
            u = self.step(u)

    def flow(self, steps: int, start: Quadratic | None = None) -> Flow:
        """The Flow of so many iterates: see `GaussianPair.sinkhorn`."""
        begin = self._checked(self.pair.identity() if start is None else start)
        return mirror_flow(
            self, begin, schedule=constant(self.eps), steps=steps, scheme="explicit", eps=self.eps
        )

    def stationary(self) -> Quadratic:
        """The fixed point, 0 at the mean of the source; its gradient is E[y | x].

        B = S^{-1/2} ((S^{1/2} T S^{1/2} + eps^2/4)^{1/2} - eps/2) S^{-1/2}; in 1-D with standard
        deviations s and t, -eps/(2 s^2) + (t^2/s^2 + eps^2/(4 s^4))^{1/2}.
        """
        values, vectors = np.linalg.eigh(self.pair.source_cov)
        root = (vectors * np.sqrt(values)) @ vectors.T
        inverse = (vectors / np.sqrt(values)) @ vectors.T
        values, vectors = np.linalg.eigh(root @ self.pair.target_cov @ root)
        # sqrt(l + e^2/4) - e/2 without cancellation
        bent = inverse @ vectors
        scale = values / (np.sqrt(values + 0.25 * self.eps**2) + 0.5 * self.eps)
        B = (bent * scale) @ bent.T
        return Quadratic(0.0, self.pair.target_mean, 0.5 * (B + B.T), self.pair.source_mean)

    def dual(self, potential: Quadratic) -> float:
        """J(u) = int u dmu + int v dnu, length^2; smallest at the fixed point."""
        u = potential.about(self.pair.source_mean)
        v = self.conjugate(u)
        spread = np.trace(u.B @ self.pair.source_cov) + np.trace(v.B @ self.pair.target_cov)
        return float(u.a + v.a + 0.5 * spread)

    @property
    def value(self) -> float:
        """min E|x - y|^2/2 + eps KL(P | mu x nu), length^2."""
        pair = self.pair
        squares = sum(
            float(mean @ mean + np.trace(cov))
            for mean, cov in (
                (pair.source_mean, pair.source_cov), (pair.target_mean, pair.target_cov)
            )
        )  # fmt: skip
        return 0.5 * squares - self.dual(self.stationary())

    def pullback(self, potential: Quadratic) -> tuple[Array, Array]:
        """Mean and covariance of rho_u: m + C (n - q) and eps C + C T C."""
        given = self._given(potential)
        cov = self.eps * given.C + given.C @ self.pair.target_cov @ given.C
        return self.pair.source_mean + given.mean_at(self.pair.target_mean), cov

    def kl(self, potential: Quadratic) -> float:
        """KL(rho_u | mu)."""
        mean, cov = self.pullback(potential)
        return _kl(mean - self.pair.source_mean, cov, self.pair.source_cov)

    def reverse_kl(self, potential: Quadratic) -> float:
        """KL(mu | rho_u)."""
        mean, cov = self.pullback(potential)
        return _kl(mean - self.pair.source_mean, self.pair.source_cov, cov)

    def dissipation(self, potential: Quadratic) -> float:
        """The curvature of J along h = log(rho_u/mu): (1/eps) int Var(h | y) dnu(y)."""
        given, h = self._given(potential), self._rate(potential)
        bent = h.B @ given.C
        slopes = self._slopes(given, h)
        spread = self.eps * float(np.trace(slopes @ given.C))
        return (spread + 0.5 * self.eps**2 * float(np.trace(bent @ bent))) / self.eps

    def bregman(self, potential: Quadratic) -> float:
        """D(mu | rho_u) = J(u) - min J, length^2."""
        return self.divergence(self.stationary(), potential)

    def divergence(self, first: Quadratic, second: Quadratic) -> float:
        """D(rho_1 | rho_2) = int (u_2 - u_1) drho_1 + int (v_2 - v_1) dnu >= 0, length^2.

        With w = (u_1 - u_2)/eps it is eps int (log E[e^w | y] - E[w | y]) dnu(y) under the plan of
        the first: sums of squares and of x - log(1 + x).
        """
        one, two = (self._checked(u) for u in (first, second))
        given, other = self._given(one), self._given(two)
        change = Quadratic(0.0, two.q - one.q, two.B - one.B, self.pair.source_mean)
        slopes = self._slopes(given, change)
        lower = np.linalg.cholesky(given.C)
        bend = np.linalg.eigvalsh(lower.T @ change.B @ lower)
        return 0.5 * float(np.trace(slopes @ other.C) + self.eps * excess(bend).sum())

    def residual_norm(self, potential: Quadratic) -> float:
        """(int h^2 dmu)^{1/2}; the mean of h is -KL(mu | rho_u)."""
        return math.hypot(self._deviation(self._rate(potential)), self.reverse_kl(potential))

    def step_error(self, old: Quadratic, new: Quadratic, step_size: float) -> float:
        """Deviation under mu of eta (h_new - h_old)/2, the leading local error of a step."""
        before, after = self._rate(old), self._rate(new)
        change = Quadratic(0.0, after.q - before.q, after.B - before.B, after.centre)
        return 0.5 * step_size * self._deviation(change)

    def explicit_step(self, potential: Quadratic, step_size: float) -> Quadratic:
        """u + eta h(u): Sinkhorn's iterate for eta = eps, an over-relaxed one beyond.

        LostConvexityError where e^{-u/eps} is no longer integrable against mu.
        """
        eta = checked_step(step_size)
        u, new = self._checked(potential), self.step(potential)
        if eta == self.eps:
            return new
        share = eta / self.eps
        taken = Quadratic(
            u.a + share * (new.a - u.a), u.q + share * (new.q - u.q),
            u.B + share * (new.B - u.B), u.centre,
        )  # fmt: skip
        if np.linalg.eigvalsh(taken.B + self.eps * self._inverses[0])[0] <= 0:
            raise LostConvexityError(
                f"a step of size {eta:.3e} from an iterate of eps = {self.eps:.3e} has no soft "
                "conjugate; take a smaller one: eps is always allowed"
            )
        return taken

    def implicit_step(self, potential: Quadratic, step_size: float) -> Quadratic:
        """Not known in closed form; Sinkhorn's steps are explicit."""
        raise InvalidInputError("Sinkhorn's iterates are explicit; use scheme='explicit'")

    @cached_property
    def _inverses(self) -> tuple[Array, Array]:
        """S^{-1} and T^{-1}."""
        S, T = self.pair.source_cov, self.pair.target_cov
        return np.asarray(np.linalg.inv(S), float), np.asarray(np.linalg.inv(T), float)

    def _checked(self, potential: Quadratic) -> Quadratic:
        """The potential about m; e^{-u/eps} must be integrable against mu."""
        if len(potential.q) != self.pair.dim:
            raise InvalidInputError(
                f"the potential has {len(potential.q)} variables, the pair {self.pair.dim}; they "
                "must agree"
            )
        u = potential.about(self.pair.source_mean)
        if np.linalg.eigvalsh(u.B + self.eps * self._inverses[0])[0] <= 0:
            raise InvalidInputError(
                "the potential has no soft conjugate: B + eps S^{-1} is not positive definite; "
                "pass a convex potential"
            )
        return u

    def _given(self, potential: Quadratic) -> _Conditional:
        u = self._checked(potential)
        return _Conditional(u.q, _inverse(u.B + self.eps * self._inverses[0]))

    def _rate(self, potential: Quadratic) -> Quadratic:
        """h = (u+ - u)/eps about m."""
        u, new = self._checked(potential), self.step(potential)
        return Quadratic(
            (new.a - u.a) / self.eps, (new.q - u.q) / self.eps, (new.B - u.B) / self.eps, u.centre
        )

    def _slopes(self, given: _Conditional, function: Quadratic) -> Array:
        """E over y of g g', g the gradient of a quadratic about m at E[x | y]."""
        mean = function.q + function.B @ given.mean_at(self.pair.target_mean)
        tilt = function.B @ given.C
        return np.asarray(np.outer(mean, mean) + tilt @ self.pair.target_cov @ tilt.T)

    def _deviation(self, function: Quadratic) -> float:
        """Standard deviation under mu of a quadratic about m."""
        S = self.pair.source_cov
        bent = function.B @ S
        return math.sqrt(float(function.q @ S @ function.q + 0.5 * np.trace(bent @ bent)))


def _soft(u: Quadratic, cov: Array, precision: Array, centre: Array, eps: float) -> Quadratic:
    """eps log int e^{(<x,y> - u(x))/eps} dN(u.centre, cov), as a quadratic about ``centre``."""
    C = _inverse(u.B + eps * precision)
    shift = centre - u.q
    lower = np.linalg.cholesky(cov)
    # log det(I + S^{1/2} B S^{1/2}/eps): to full relative precision where eps is large
    bend = np.linalg.eigvalsh(lower.T @ u.B @ lower) / eps
    a = u.centre @ centre - u.a + 0.5 * shift @ C @ shift - 0.5 * eps * np.log1p(bend).sum()
    return Quadratic(float(a), u.centre + C @ shift, C, centre)


def _inverse(matrix: Array) -> Array:
    """The inverse of a symmetric matrix, symmetric to the last digit."""
    inverse = np.linalg.inv(matrix)
    return np.asarray(0.5 * (inverse + inverse.T))


def _kl(shift: Array, first: Array, second: Array) -> float:
    """KL(N(m1, first) | N(m2, second)), shift = m1 - m2."""
    lower = np.linalg.cholesky(second)
    inner = np.linalg.solve(lower, np.linalg.solve(lower, first - second).T)
    moved = np.linalg.solve(lower, shift)
    return 0.5 * float(excess(np.linalg.eigvalsh(inner)).sum() + moved @ moved)
