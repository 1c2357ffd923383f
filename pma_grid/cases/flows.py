"""Flows whose potential is known at every time, and a non-log-concave benchmark.

A `FlowCase` solves du/dt = log nu(grad u) + log det D2u - log mu (+ forcing) exactly, constant
included, for the densities that its problems average over the cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from pma_grid.cases.oracles import GaussianPair
from pma_grid.cases.stationary import (
    Field,
    averaged_pair,
    check_dim,
    cosine_density,
    cosine_hessian,
    cosine_product,
    turned,
    uniform,
)
from pma_grid.flow.parabolic_operator import Forcing
from pma_grid.grid.grid import Grid
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, Mask, check_positive

# Standard deviations from the mean within which Gaussians cut to a box are compared.
TRUSTED_DEVIATIONS = 2.0


@dataclass(frozen=True)
class FlowCase:
    """A family of flows, one per grid shape, with what is known of them.

    Attributes
    ----------
    name : str
        As tables show it.
    dim : int
        Number of axes.
    problem : callable
        ``problem(shape)`` is the `Problem` with cell averages on that shape.
    source, target : callable
        mu(x, ...) and nu(y, ...) at coordinate arrays, up to a factor, 1/length^d.
    potential, gradient : callable or None
        u(x, ..., t), constant included, length^2, and grad u(x, ..., t) of shape (d, ...), length.
    time : float
        A time to end at, length^2.
    forcing : callable or None
        ``forcing(grid)`` is the argument of that name of `pma_grid.evolve`.
    where : callable or None
        ``where(grid)`` is True in the cells where errors mean something; None for all.
    start : callable or None
        u(x, ...) at t = 0 where ``potential`` is None.
    """

    name: str
    dim: int
    problem: Callable[[tuple[int, ...]], Problem]
    source: Field
    target: Field
    potential: Field | None
    gradient: Field | None
    time: float
    forcing: Callable[[Grid], Forcing] | None = None
    where: Callable[[Grid], Mask] | None = None
    start: Field | None = None

    def initial(self, grid: Grid) -> Array:
        """u at t = 0 at the cell centres, the argument of that name of `pma_grid.evolve`."""
        x = grid.coordinates()
        if self.start is not None:
            return np.asarray(self.start(*x))
        assert self.potential is not None
        return np.asarray(self.potential(*x, 0.0))


def poisson_kernel(dim: int = 1, start: float = 0.7) -> FlowCase:
    """Uniform to uniform on [0, pi]^d, from a start far from the identity: a closed form.

    With tau = start + t, in each variable

        D2u = sinh(tau) / (cosh(tau) + cos x),    grad u = 2 atan(tanh(tau/2) tan(x/2)),
        u = x^2/2 - 2 Re Li2(-e^{-tau + i x}) + Li2(e^{-2 tau})/2,

    Li2 the dilogarithm; axis i starts at ``start`` (1 + i/2).  Small ``start`` is strongly
    nonlinear: D2u reaches coth(start/2).

    Notes
    -----
    Products have no mixed derivatives: on a grid they are runs of the 1-D flow.
    `manufactured_flow` has them.
    """
    check_dim(dim)
    check_positive(start, "start", "a time, for example 0.7")
    starts = [start * (1 + 0.5 * axis) for axis in range(dim)]

    def potential(*arguments: Array) -> Array:
        *x, t = arguments
        parts = []
        for v, first in zip(x, starts, strict=True):
            tau = first + t
            # scipy's spence(1 - z) is Li2(z); the sum of (-1)^n e^{-n tau} cos(n x) / n^2
            series = special.spence(1 + np.exp(-tau + 1j * np.asarray(v))).real
            gauge = 0.5 * special.spence(-np.expm1(-2 * tau))
            parts.append(0.5 * v * v - 2 * series + gauge)
        return np.asarray(sum(parts))

    def gradient(*arguments: Array) -> Array:
        *x, t = arguments
        parts = []
        for v, first in zip(x, starts, strict=True):
            # atan2, for x = pi
            rise = np.tanh((first + t) / 2) * np.sin(v / 2)
            parts.append(2 * np.arctan2(rise, np.cos(v / 2)))
        return np.stack(parts)

    def problem(shape: tuple[int, ...]) -> Problem:
        grid = Grid(shape, (0.0,) * dim, (math.pi,) * dim)
        return averaged_pair(uniform, uniform, grid, grid)

    return FlowCase(
        f"poisson-kernel-{dim}d", dim, problem, uniform, uniform, potential, gradient, time=1.0
    )


def manufactured_flow(dim: int = 2) -> FlowCase:
    """u = |x|^2/2 + (a(t)/pi^2) prod_i cos(pi x_i) on the unit box, a = .5 + .15 sin(2 pi t).

    mu is uniform, nu that of `manufactured`, and the forcing what is left of the equation:
    f = du/dt - log nu(grad u) - log det D2u (+ log mu = 0).  Mixed derivatives are as large as the
    pure ones.
    """
    check_dim(dim)

    def amplitude(t: float) -> float:
        return 0.5 + 0.15 * math.sin(2 * math.pi * t)

    def potential(*arguments: Array) -> Array:
        *x, t = arguments
        bump = amplitude(float(t)) / np.pi**2 * cosine_product(tuple(x))
        return np.asarray(0.5 * sum(v * v for v in x) + bump)

    def gradient(*arguments: Array) -> Array:
        *x, t = arguments
        a = amplitude(float(t))
        return np.stack([v - a / np.pi * cosine_product(tuple(x), (i,)) for i, v in enumerate(x)])

    def forcing(grid: Grid) -> Forcing:
        x = tuple(grid.coordinates())
        bump = cosine_product(x) / np.pi**2
        bend = np.moveaxis(cosine_hessian(x), (0, 1), (-2, -1))

        def at(t: float) -> Array:
            rate = 0.3 * math.pi * math.cos(2 * math.pi * t) * bump
            log_nu = np.log(cosine_density(*gradient(*x, np.asarray(t))))
            logdet = np.linalg.slogdet(np.eye(dim) + amplitude(t) * bend)[1]
            return np.asarray(rate - log_nu - logdet)

        return at

    return FlowCase(
        f"manufactured-flow-{dim}d", dim,
        lambda shape: averaged_pair(uniform, cosine_density, Grid(shape), Grid(shape)),
        uniform, cosine_density, potential, gradient, time=0.4, forcing=forcing,
    )  # fmt: skip


def gaussians(dim: int = 1, radius: float = 6.0) -> FlowCase:
    """Gaussian to Gaussian from the identity, on one box for both; non-commuting covariances.

    The exact flow of the whole space (`GaussianPair`), which the box disturbs at its faces: compare
    within 2 standard deviations of the source's mean (``where``).  Half the sides are ``radius``
    times the larger standard deviation of the two laws along each axis, so that they are not
    proportional to those of either: the identity is then not stationary.

    Notes
    -----
    The tails go down to e^{-radius^2} and below; they are data and no floor is applied.  Quadratic
    potentials are exact for the differences inside, so that what remains on coarse grids is the
    representation of the tails: errors fall faster than h^2, down to those of the time steps.
    """
    check_dim(dim)
    check_positive(radius, "radius", "6 is enough")
    pair = gaussian_pair(dim)
    widest = np.maximum(np.diag(pair.source_cov), np.diag(pair.target_cov))
    half = radius * np.sqrt(widest)

    def grid(shape: tuple[int, ...]) -> Grid:
        return Grid(shape, tuple(-half), tuple(half))

    def where(grid: Grid) -> Mask:
        return np.asarray(
            _square(grid.coordinates(), pair.source_mean, pair.source_cov) < TRUSTED_DEVIATIONS**2
        )

    mu = _gaussian(pair.source_mean, pair.source_cov)
    nu = _gaussian(pair.target_mean, pair.target_cov)
    return FlowCase(
        f"gaussians-{dim}d", dim,
        lambda shape: averaged_pair(mu, nu, grid(shape), grid(shape)), mu, nu,
        lambda *x: pair.at(float(x[-1])).potential(*x[:-1]),
        lambda *x: pair.at(float(x[-1])).gradient(*x[:-1]),
        time=0.5, where=where,
    )  # fmt: skip


# Variances along the axes before they are turned.  In three dimensions they are closer, or h would
# span 50 in the corners of a box of six standard deviations.
_VARIANCES = {
    1: ((1.0,), (0.49,)),
    2: ((1.0, 0.6), (0.49, 1.1)),
    3: ((1.0, 0.8, 0.9), (0.8, 1.0, 0.7)),
}


def gaussian_pair(dim: int) -> GaussianPair:
    """The laws of `gaussians`: N(.3, 1) to N(-.2, .49) in one dimension."""
    check_dim(dim)
    source, target = (np.diag(values) for values in _VARIANCES[dim])
    for i, j, angle in ((0, 1, 0.5), (1, 2, 0.7), (0, 2, 0.4)):
        if max(i, j) < dim:
            source, target = turned(source, i, j, angle), turned(target, i, j, -angle)
    mean = np.array((0.3, -0.1, 0.2))[:dim]
    return GaussianPair(mean, source, -mean / 1.5, target)


def _square(x: Array, mean: Array, cov: Array) -> Array:
    """(x - mean)' cov^{-1} (x - mean), x of shape (d, ...)."""
    z = x - mean.reshape(-1, *[1] * (np.ndim(x) - 1))
    return np.asarray(np.einsum("i...,ij,j...->...", z, np.linalg.inv(cov), z))


def _gaussian(mean: Array, cov: Array) -> Field:
    """exp(-(x - mean)' cov^{-1} (x - mean) / 2)."""
    return lambda *x: np.exp(-0.5 * _square(np.stack(np.broadcast_arrays(*x)), mean, cov))


def bimodal(
    dim: int = 1, separation: float = 1.5, sigma: float = 0.6, radius: float = 4.2
) -> FlowCase:
    """mu = (N(-s, sigma^2) + N(s, sigma^2))/2 along the first axis, to N(0, I), on [-R, R]^d.

    The second axis of mu is N(0, .8^2).  The start is not symmetric, and in 2-D not a product: a
    symmetric one lacks the slowest mode.  No potential is known, but the rate of the default is
    lambda_1 = .581 (Langevin dynamics towards mu: .128), independent of R from 4.2 on.
    """
    check_dim(dim, (1, 2))
    for name, value in (("separation", separation), ("sigma", sigma), ("radius", radius)):
        check_positive(value, name, "a length, leave it at its default")

    def mu(*x: Array) -> Array:
        modes = [np.exp(-0.5 * ((x[0] - c) / sigma) ** 2) for c in (-separation, separation)]
        rest = sum((v / 0.8) ** 2 for v in x[1:])
        return np.asarray((modes[0] + modes[1]) * np.exp(-0.5 * np.asarray(rest)))

    def nu(*y: Array) -> Array:
        return np.asarray(np.exp(-0.5 * np.asarray(sum(v * v for v in y))))

    def start(*x: Array) -> Array:
        # even about the faces, odd about the middle of the first axis
        wave = 2 * radius / math.pi
        turned = [np.sin(v / wave) for v in x]
        bump = 0.3 * turned[0] if dim == 1 else 0.3 * turned[0] + 0.2 * turned[0] * turned[1]
        return np.asarray(0.5 * sum(v * v for v in x) + wave**2 * bump)

    def problem(shape: tuple[int, ...]) -> Problem:
        grid = Grid(shape, (-radius,) * dim, (radius,) * dim)
        return averaged_pair(mu, nu, grid, grid)

    return FlowCase(f"bimodal-{dim}d", dim, problem, mu, nu, None, None, time=6.0, start=start)
