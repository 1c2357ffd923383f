"""Flows between Gaussians, mu = N(m, S) to nu = N(n, T), in closed form and in exact mirror steps.

The potential stays quadratic, u = a + q.(x - m) + (x - m)'B(x - m)/2, and du/dt = log(rho_u/mu) is

    B' = S^{-1} - B T^{-1} B,    q' = -B T^{-1} (q - n),
    a' = -(q - n)'T^{-1}(q - n)/2 + log det B + (log det S - log det T)/2.

In the coordinates R with R R' = T and R Lam^2 R' = S^{-1}, Lam diagonal, C = R^{-1} B R^{-T} and
p = R^{-1}(q - n) obey C' = Lam^2 - C^2 and p' = -C p, which the exponential of [[0, I], [Lam^2, 0]]
solves; S and T need not commute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.cases.oracles.entropic import GaussianSinkhorn
from pma_grid.cases.oracles.mirror_steps import SchemeName, checked_step, excess, mirror_flow
from pma_grid.cases.oracles.quadratic import Quadratic, positive_definite, vector
from pma_grid.flow.flow import Flow
from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.runtime import Array, InvalidInputError, LostConvexityError, is_number

# Gauss-Legendre rule of a panel in time, for the constant of the potential: full precision, as
# panels keep their distance from the singularities.
PANEL_NODES, PANEL_WEIGHTS = np.polynomial.legendre.leggauss(24)
# Decay times of the slowest mode after which nothing is left of it in double precision.
DECAY_TIMES_TO_NOTHING = 25.0


class _Reduced(NamedTuple):
    """A quadratic potential in the coordinates in which the pair is diagonal."""

    a: float
    p: Array
    C: Array


@dataclass(frozen=True, init=False, eq=False)
class GaussianPair:
    """The flow from mu = N(m, S) to nu = N(n, T): exact solution and exact mirror steps.

    Parameters
    ----------
    source_mean, target_mean : array_like, shape (d,)
        m and n, length.
    source_cov, target_cov : array_like, shape (d, d)
        S and T, symmetric positive definite, length^2; they need not commute.

    Notes
    -----
    Relative entropies and divergences are sums of squares or of x - log(1 + x): they keep their
    relative precision near equilibrium.  Explicit steps have no stability limit of a grid here.

    Examples
    --------
    >>> pair = GaussianPair([0.0], [[4.0]], [0.0], [[1.0]])
    >>> [round(float(u.B[0, 0]), 6) for u in (pair.at(1.0), pair.stationary())]
    [0.639765, 0.5]
    """

    source_mean: Array
    source_cov: Array
    target_mean: Array
    target_cov: Array

    def __init__(
        self,
        source_mean: ArrayLike,
        source_cov: ArrayLike,
        target_mean: ArrayLike,
        target_cov: ArrayLike,
    ) -> None:
        m, n = vector(source_mean, "source_mean"), vector(target_mean, "target_mean")
        if len(m) != len(n):
            raise InvalidInputError(
                f"source_mean has {len(m)} entries and target_mean {len(n)}; they must agree"
            )
        S = positive_definite(source_cov, "source_cov", len(m))
        T = positive_definite(target_cov, "target_cov", len(m))
        names = ("source_mean", "source_cov", "target_mean", "target_cov")
        for name, value in zip(names, (m, S, n, T), strict=True):
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """The number of axes d."""
        return len(self.source_mean)

    def identity(self) -> Quadratic:
        """u = |x|^2/2, where flows start by default."""
        zero = np.zeros(self.dim)
        return Quadratic(0.0, zero, np.eye(self.dim), zero).about(self.source_mean)

    def at(self, t: float, start: Quadratic | None = None) -> Quadratic:
        """The exact potential at time t >= 0 of the flow from ``start`` (default: the identity).

        Any t may be given, math.inf included.  C = Lam^{1/2} (I - Z)(I + Z)^{-1} Lam^{1/2} with
        Z = E W E, E = e^{-Lam t} and W = 2 Lam^{1/2} (Lam + C0)^{-1} Lam^{1/2} - I holds no growing
        exponential.
        """
        if not (is_number(t) and t >= 0):
            raise InvalidInputError(f"t is {t!r}; it must be a time >= 0, in length^2")
        begin = self._reduced(self.identity() if start is None else start)
        C, p, _ = (part[0] for part in self._solution(np.array([t], float), begin))
        return self._quadratic(begin.a + self._gauge(t, begin), p, C)

    def stationary(self, start: Quadratic | None = None) -> Quadratic:
        """The Brenier potential of mu to nu, the limit of the flow from ``start``."""
        return self.at(math.inf, start)

    def pullback(self, quadratic: Quadratic) -> tuple[Array, Array]:
        """Mean and covariance of rho_u: m + B^{-1}(n - q) and B^{-1} T B^{-1}."""
        u = quadratic.about(self.source_mean)
        half = np.linalg.solve(u.B, np.linalg.cholesky(self.target_cov))
        return u.centre + np.linalg.solve(u.B, self.target_mean - u.q), half @ half.T

    def rates(self) -> Array:
        """Decay rates of q - n, ascending: eigenvalues of Binf T^{-1}; B has their pair sums."""
        return self._modes[0].copy()

    def kl(self, potential: Quadratic) -> float:
        """KL(rho_u | mu)."""
        _, p, C = self._reduced(potential)
        half = np.linalg.solve(C, np.linalg.solve(C, self._bend(C)).T)
        shift = self._modes[0] * np.linalg.solve(C, p)
        return 0.5 * float(excess(np.linalg.eigvalsh(half)).sum() + shift @ shift)

    def reverse_kl(self, potential: Quadratic) -> float:
        """KL(mu | rho_u)."""
        _, p, C = self._reduced(potential)
        ratio = np.linalg.eigvalsh(-self._bend(C) / self._products)
        return 0.5 * float(excess(ratio).sum() + p @ p)

    def symmetrised_kl(self, potential: Quadratic) -> float:
        """S = KL(rho_u | mu) + KL(mu | rho_u)."""
        return self.kl(potential) + self.reverse_kl(potential)

    def dissipation(self, potential: Quadratic) -> float:
        """I = int <grad h, A grad h> drho_u, A = B^{-1}."""
        _, p, C = self._reduced(potential)
        bent = np.linalg.solve(C, self._bend(C))
        slope = self._modes[0] ** 2 * np.linalg.solve(C, p)
        # tr(C^{-1} D C^{-2} D) by columns
        return float(np.trace(bent @ np.linalg.solve(C, bent)) + slope @ np.linalg.solve(C, slope))

    def bregman(self, potential: Quadratic) -> float:
        """D(mu | rho_u) = J(u) - min J, length^2."""
        return self.divergence(self._limit, potential)

    def divergence(self, first: Quadratic, second: Quadratic) -> float:
        """D(rho_first | rho_second), length^2.

        With d = B2 - B1 and g = grad u2 - grad u1 at the mean of rho_first it is
        tr(B1^{-1} d B2^{-1} d B1^{-1} T)/2 + g'B2^{-1}g/2: sums of squares.
        """
        one, two = self._reduced(first), self._reduced(second)
        change = two.C - one.C
        stretch = np.linalg.solve(one.C, change).T
        slope = two.p - one.p - change @ np.linalg.solve(one.C, one.p)
        lower = np.linalg.cholesky(two.C)
        squares = np.linalg.solve(lower, np.column_stack([stretch, slope]))
        return 0.5 * float((squares**2).sum())

    def residual_norm(self, potential: Quadratic) -> float:
        """(int h^2 dmu)^{1/2}; the mean of h is -KL(mu | rho_u)."""
        _, p, C = self._reduced(potential)
        return math.hypot(self._deviation(C @ p, self._bend(C)), self.reverse_kl(potential))

    def step_error(self, old: Quadratic, new: Quadratic, step_size: float) -> float:
        """Deviation under mu of eta (h_new - h_old)/2, the leading local error of either step."""
        (_, p, C), (_, p1, C1) = self._reduced(old), self._reduced(new)
        change = self._deviation(C1 @ p1 - C @ p, C @ C - C1 @ C1)
        return 0.5 * step_size * change

    def explicit_step(self, potential: Quadratic, step_size: float) -> Quadratic:
        """u + eta h(u), or LostConvexityError where D2u + eta D2h is not positive definite."""
        eta = checked_step(step_size)
        a, p, C = self._reduced(potential)
        lower, bend = np.linalg.cholesky(C), self._bend(C)
        inner = np.linalg.solve(lower, bend)
        lowest = float(np.linalg.eigvalsh(np.linalg.solve(lower, inner.T))[0])
        if 1 + eta * lowest <= 0:
            raise LostConvexityError(
                f"an explicit step of size {eta:.3e} left the convex potentials; it must be "
                f"below {-1 / lowest:.3e} here: take a smaller one or an implicit step"
            )
        return self._quadratic(a + eta * self._height(p, C), p - eta * C @ p, C + eta * bend)

    def implicit_step(self, potential: Quadratic, step_size: float) -> Quadratic:
        """The convex v with v - eta h(v) = u, for any step size.

        eta C+^2 + C+ = C + eta Lam^2 =: G has the positive definite root
        ((I + 4 eta G)^{1/2} - I)/(2 eta); then p+ = (I + eta C+)^{-1} p.
        """
        eta = checked_step(step_size)
        a, p, C = self._reduced(potential)
        values, vectors = np.linalg.eigh(C + eta * np.diag(self._modes[0] ** 2))
        roots = 2 * values / (1 + np.sqrt(1 + 4 * eta * values))
        p = vectors @ ((vectors.T @ p) / (1 + eta * roots))
        C = (vectors * roots) @ vectors.T
        return self._quadratic(a + eta * self._height(p, C), p, C)

    def mirror_flow(
        self,
        schedule: Schedule | StateSchedule,
        steps: int,
        scheme: SchemeName = "explicit",
        start: Quadratic | None = None,
    ) -> Flow:
        """The flow of exact mirror steps.

        Parameters
        ----------
        schedule, steps
            As for `pma_grid.evolve`.
        scheme : {"explicit", "implicit"}
            Kind of the steps.
        start : Quadratic, optional
            Potential to start from; default that of the identity.

        Returns
        -------
        Flow
            Without problem and potential; the series are kl, reverse_kl, symmetrised_kl,
            dissipation, bregman, forward_divergence, backward_divergence and residual_norm.

        Raises
        ------
        LostConvexityError
            An explicit step left the convex potentials; its ``result`` is the flow until then.  For
            schedules that look at the state such steps are halved instead.
        InvalidInputError
            A step that is not positive, or an argument out of range.
        """
        begin = self._quadratic(*self._reduced(self.identity() if start is None else start))
        return mirror_flow(self, begin, schedule=schedule, steps=steps, scheme=scheme)

    def entropic(self, eps: float) -> GaussianSinkhorn:
        """Sinkhorn's algorithm between the two Gaussians; its iterates, fixed point and value."""
        return GaussianSinkhorn(self, eps)

    def sinkhorn(self, eps: float, steps: int, start: Quadratic | None = None) -> Flow:
        """The flow of so many of Sinkhorn's iterates, exact; u_k belongs to the time k eps.

        It is that of `at` to first order in eps, with the series of `mirror_flow` for the entropic
        dual in the place of J; ``entropic(eps).iterates()`` gives the potentials.
        """
        return self.entropic(eps).flow(steps, start)

    @cached_property
    def _modes(self) -> tuple[Array, Array]:
        """Diagonal of Lam, ascending, and R."""
        lower = np.linalg.cholesky(self.target_cov)
        inverse = np.linalg.solve(lower, np.eye(self.dim)).T
        half = np.linalg.solve(np.linalg.cholesky(self.source_cov), inverse)
        _, lam, rows = np.linalg.svd(half)
        return lam[::-1].copy(), lower @ rows[::-1].T

    @property
    def _products(self) -> Array:
        """lam_i lam_j: division by it is conjugation by Lam^{-1}."""
        lam = self._modes[0]
        return np.asarray(np.multiply.outer(lam, lam))

    @cached_property
    def _limit(self) -> Quadratic:
        return self._quadratic(0.0, np.zeros(self.dim), np.diag(self._modes[0]))

    def _reduced(self, quadratic: Quadratic) -> _Reduced:
        """a at the mean of the source, p and C of a convex quadratic."""
        if len(quadratic.q) != self.dim:
            raise InvalidInputError(
                f"the potential has {len(quadratic.q)} variables, the pair {self.dim}; they must "
                "agree"
            )
        u, R = quadratic.about(self.source_mean), self._modes[1]
        C = np.linalg.solve(R, np.linalg.solve(R, u.B).T)
        C = 0.5 * (C + C.T)
        if np.linalg.eigvalsh(C)[0] <= 0:
            raise InvalidInputError(
                "the potential is not convex: its B has an eigenvalue <= 0; pass a positive "
                "definite B"
            )
        return _Reduced(u.a, np.asarray(np.linalg.solve(R, u.q - self.target_mean), float), C)

    def _quadratic(self, a: float, p: Array, C: Array) -> Quadratic:
        """The inverse of `_reduced`."""
        R = self._modes[1]
        B = R @ C @ R.T
        return Quadratic(float(a), self.target_mean + R @ p, 0.5 * (B + B.T), self.source_mean)

    def _bend(self, C: Array) -> Array:
        """Lam^2 - C^2, that is D2h."""
        bend: Array = np.diag(self._modes[0] ** 2) - C @ C
        return bend

    def _height(self, p: Array, C: Array) -> float:
        """h at the mean of the source: log det C - log det Lam - |p|^2/2."""
        levels = np.log(np.linalg.eigvalsh(C) / self._modes[0])
        return float(levels.sum() - 0.5 * p @ p)

    def _deviation(self, slope: Array, bend: Array) -> float:
        """Standard deviation under mu of a quadratic with this gradient at m and this Hessian."""
        tilt = slope / self._modes[0]
        return math.sqrt(float(tilt @ tilt + 0.5 * ((bend / self._products) ** 2).sum()))

    def _solution(self, times: Array, begin: _Reduced) -> tuple[Array, Array, Array]:
        """C (k, d, d), p (k, d) and h at the mean of the source (k,) at k times."""
        lam = self._modes[0]
        root = np.sqrt(lam)
        inner = np.linalg.inv(np.diag(lam) + begin.C) * np.multiply.outer(root, root)
        W = inner + inner.T - np.eye(self.dim)
        decay = np.exp(-np.multiply.outer(times, lam))
        Z = decay[:, :, None] * W * decay[:, None, :]
        z, vectors = np.linalg.eigh(Z)
        back = root[:, None] * vectors
        C = (back * ((1 - z) / (1 + z))[:, None, :]) @ np.swapaxes(back, 1, 2)
        arrived = decay * (begin.p / root + W @ (begin.p / root))
        p = np.einsum("kij,kj->ki", back / (1 + z)[:, None, :],
                      np.einsum("kji,kj->ki", vectors, arrived))  # fmt: skip
        return C, p, -2 * np.arctanh(z).sum(axis=1) - 0.5 * (p**2).sum(axis=1)

    def _gauge(self, t: float, begin: _Reduced) -> float:
        """int_0^t h(m) ds by Gauss-Legendre; panels double away from singularities at s < 0."""
        lam, values = self._modes[0], np.linalg.eigvalsh(begin.C)
        end = min(t, DECAY_TIMES_TO_NOTHING / lam[0])
        width = min(1 / values[-1], values[0] / lam[-1] ** 2, 1 / lam[-1])
        total, left = 0.0, 0.0
        while left < end:
            right = min(end, max(width, 2 * left))
            half = 0.5 * (right - left)
            h = self._solution(left + half * (PANEL_NODES + 1), begin)[2]
            total += half * float(PANEL_WEIGHTS @ h)
            left = right
        return total
