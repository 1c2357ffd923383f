"""Problems whose Brenier map is known in closed form, and the benchmark problems of the docs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources

import numpy as np
from scipy import special

from pma_grid.grid.axes import along
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, InvalidInputError, check_inside

Field = Callable[..., Array]


@dataclass(frozen=True)
class Case:
    """A family of problems, one per grid shape, with what is known of the answer.

    Attributes
    ----------
    name : str
        As tables show it.
    dim : int
        Number of axes.
    problem : callable
        ``problem(shape)`` is the `Problem` with cell averages on that shape.
    potential, gradient : callable or None
        u(x, ...) up to a constant, and grad u(x, ...) of shape (d, ...), at coordinate arrays.
    w2_squared : float or None
        Exact or reference value, length^2.
    """

    name: str
    dim: int
    problem: Callable[[tuple[int, ...]], Problem]
    potential: Field | None = None
    gradient: Field | None = None
    w2_squared: float | None = None


def pulled_back(nu: Field, gradient: Field, hessian: Field) -> Field:
    """mu = nu(grad u) det D2u, the source that grad u transports to nu; hessian is (d, d, ...)."""

    def mu(*x: Array) -> Array:
        matrices = np.moveaxis(hessian(*x), (0, 1), (-2, -1))
        values: Array = nu(*gradient(*x)) * np.linalg.det(matrices)
        return values

    return mu


def averaged_pair(mu: Field, nu: Field, source: Grid, target: Grid) -> Problem:
    """Cell averages to sixth order: the study's error is the solver's, not the data's."""
    return Problem(
        Density.from_function(mu, source, quadrature=3),
        Density.from_function(nu, target, quadrature=3),
    )


def _on_unit_box(mu: Field, nu: Field) -> Callable[[tuple[int, ...]], Problem]:
    """Problems of two densities on the unit box, one per grid shape."""
    return lambda shape: averaged_pair(mu, nu, Grid(shape), Grid(shape))


def turned(matrix: Array, i: int, j: int, angle: float) -> Array:
    """R M R', R the rotation in the plane of axes i and j."""
    turn = np.eye(len(matrix))
    turn[i, i] = turn[j, j] = math.cos(angle)
    turn[j, i] = math.sin(angle)
    turn[i, j] = -turn[j, i]
    return np.asarray(turn @ matrix @ turn.T)


def uniform(*x: Array) -> Array:
    """The uniform density."""
    return np.ones(np.broadcast_shapes(*(np.shape(v) for v in x)))


def check_dim(dim: int, allowed: tuple[int, ...] = (1, 2, 3)) -> None:
    """An error that names the dimensions in which a case exists."""
    if dim not in allowed:
        raise InvalidInputError(
            f"dim is {dim!r}; this case exists for dim in {allowed}: choose one of them"
        )


def _mean_square(mu: Field, gradient: Field, dim: int, points: int) -> float:
    """int |grad u - x|^2 mu over the unit box by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    x = np.meshgrid(*[0.5 + 0.5 * nodes] * dim, indexing="ij")
    weight = np.ones_like(x[0])
    for axis in range(dim):
        weight = weight * along(weights / 2, axis, dim)
    density = mu(*x) * weight
    return float((density * ((gradient(*x) - np.stack(x)) ** 2).sum(axis=0)).sum() / density.sum())


def _pulled_back_case(
    name: str, dim: int, nu: Field, potential: Field, gradient: Field, hessian: Field, points: int
) -> Case:
    """The case of a potential and a target on the unit box, W2^2 with Gauss points an axis."""
    mu = pulled_back(nu, gradient, hessian)
    value = _mean_square(mu, gradient, dim, points)
    return Case(name, dim, _on_unit_box(mu, nu), potential, gradient, value)


# Amplitudes of the manufactured potential; the benchmark problems P2 (2-D) and P5 (3-D).
_AMPLITUDES = {1: 2 / 3, 2: 2 / 3, 3: 0.5}
_GAUSS_POINTS = {1: 60, 2: 50, 3: 40}


def cosine_product(x: tuple[Array, ...], sines: tuple[int, ...] = ()) -> Array:
    """prod_i cos(pi x_i), with sin on the axes ``sines``."""
    out = np.ones(np.broadcast_shapes(*(np.shape(v) for v in x)))
    for i, v in enumerate(x):
        out = out * (np.sin(np.pi * v) if i in sines else np.cos(np.pi * v))
    return out


def cosine_hessian(x: tuple[Array, ...]) -> Array:
    """D2 of cosine_product / pi^2, (d, d, ...)."""
    d = len(x)
    value = cosine_product(x)
    return np.stack(
        [
            np.stack([-value if i == j else cosine_product(x, (i, j)) for j in range(d)])
            for i in range(d)
        ]
    )


def cosine_density(*y: Array) -> Array:
    """(1 + .4 cos 2 pi y1)(1 + .3 cos pi y2)(1 - .3 cos pi y3), of mass 1 on the unit box."""
    factors = [1 + 0.4 * np.cos(2 * np.pi * y[0])]
    factors += [1 + s * 0.3 * np.cos(np.pi * v) for s, v in zip((1, -1), y[1:], strict=False)]
    return np.asarray(math.prod(factors))


def manufactured(dim: int = 2) -> Case:
    """u = |x|^2/2 + (a/pi^2) prod_i cos(pi x_i) on the unit box, a = 2/3 (1/2 in 3-D).

    nu is `cosine_density` and mu = nu(grad u) det D2u.
    """
    check_dim(dim)
    a = _AMPLITUDES[dim]

    def potential(*x: Array) -> Array:
        values: Array = 0.5 * sum(v * v for v in x) + a / np.pi**2 * cosine_product(x)
        return values

    def gradient(*x: Array) -> Array:
        return np.stack([v - a / np.pi * cosine_product(x, (i,)) for i, v in enumerate(x)])

    def hessian(*x: Array) -> Array:
        identity = np.eye(dim).reshape(dim, dim, *[1] * np.ndim(x[0]))
        return np.asarray(identity + a * cosine_hessian(x))

    return _pulled_back_case(
        f"manufactured-{dim}d", dim, cosine_density, potential, gradient, hessian,
        _GAUSS_POINTS[dim],
    )  # fmt: skip


def anisotropic(smallest: float = 0.22) -> Case:
    """A 2-D potential of several cosines whose Hessian has the smallest eigenvalue ``smallest``.

    The eigenvectors turn over the box and the condition number of D2u reaches 5 at the default.
    """
    check_inside(smallest, 0, 1, "smallest", "an eigenvalue of D2u, for example 0.22")
    terms = ((2, 1, 0.4), (1, 2, -0.5), (1, 1, 0.3), (2, 0, -0.2))

    def series(x: Array, y: Array, dx: int, dy: int) -> Array:
        total = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)))
        for k, m, c in terms:
            factor = c * (k * np.pi) ** dx * (m * np.pi) ** dy
            # the derivatives of cos are its quarter-period shifts
            part = factor * np.cos(k * np.pi * x + dx * np.pi / 2)
            total = total + part * np.cos(m * np.pi * y + dy * np.pi / 2)
        return total

    def raw(x: Array, y: Array) -> Array:
        xx, xy, yy = series(x, y, 2, 0), series(x, y, 1, 1), series(x, y, 0, 2)
        return np.stack([np.stack([xx, xy]), np.stack([xy, yy])])

    fine = np.meshgrid(*[np.linspace(0, 1, 513)] * 2, indexing="ij")
    lowest = np.linalg.eigvalsh(np.moveaxis(raw(*fine), (0, 1), (-2, -1)))[..., 0].min()
    scale = (1 - smallest) / -lowest

    def potential(x: Array, y: Array) -> Array:
        return np.asarray(0.5 * (x * x + y * y) + scale * series(x, y, 0, 0))

    def gradient(x: Array, y: Array) -> Array:
        return np.stack([x + scale * series(x, y, 1, 0), y + scale * series(x, y, 0, 1)])

    def hessian(x: Array, y: Array) -> Array:
        identity = np.eye(2).reshape(2, 2, *[1] * np.ndim(x))
        return np.asarray(identity + scale * raw(x, y))

    def nu(x: Array, y: Array) -> Array:
        first = 1 + 0.5 * np.cos(2 * np.pi * x) * np.cos(np.pi * y)
        return np.asarray(first + 0.2 * np.cos(3 * np.pi * y))

    return _pulled_back_case("anisotropic", 2, nu, potential, gradient, hessian, 80)


def affine_gaussian(dim: int = 2) -> Case:
    """A Gaussian cut to a box, and its image under a diagonal affine map on the image of the box.

    Exact for the truncated densities: T_i(x) = m_i + s_i x_i maps box to box.  Source and target
    box differ in position and sides.
    """
    check_dim(dim)
    stretch = np.array((1.5, 0.7, 1.2))[:dim]
    offset = np.array((0.3, -0.2, 0.5))[:dim]
    sigma = np.array((0.35, 0.45, 0.4))[:dim]
    lower, upper = -np.ones(dim), np.ones(dim)
    source_box = lower, upper
    target_box = offset + stretch * lower, offset + stretch * upper

    def gaussian(centre: Array, width: Array) -> Field:
        def density(*x: Array) -> Array:
            square = sum(((v - c) / w) ** 2 for v, c, w in zip(x, centre, width, strict=True))
            return np.asarray(np.exp(-0.5 * square))

        return density

    mu = gaussian(np.zeros(dim), sigma)
    nu = gaussian(offset, sigma * stretch)

    def potential(*x: Array) -> Array:
        parts = [0.5 * s * v * v + m * v for s, m, v in zip(stretch, offset, x, strict=True)]
        return np.asarray(sum(parts))

    def gradient(*x: Array) -> Array:
        return np.stack([m + s * v for s, m, v in zip(stretch, offset, x, strict=True)])

    # variance of the standard normal cut to [-z, z]
    z = 1 / sigma
    share = 1 - 2 * z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) / special.erf(z / 2**0.5)
    value = float((offset**2 + (stretch - 1) ** 2 * sigma**2 * share).sum())
    return Case(
        f"affine-gaussian-{dim}d", dim,
        lambda shape: averaged_pair(
            mu, nu, Grid(shape, tuple(source_box[0]), tuple(source_box[1])),
            Grid(shape, tuple(target_box[0]), tuple(target_box[1])),
        ),
        potential, gradient, value,
    )  # fmt: skip


def separable(dim: int = 2) -> Case:
    """Axis i moves by its own 1-D map x + (a_i / pi) sin(pi k_i x): product densities.

    nu is uniform and mu = prod_i (1 + a_i k_i cos(pi k_i x_i)); in 1-D the monotone rearrangement
    (`quantile`).
    """
    check_dim(dim)
    terms = ((0.6, 1), (0.25, 2), (-0.5, 1))[:dim]

    def potential(*x: Array) -> Array:
        parts = [
            0.5 * v * v - a / (np.pi**2 * k) * np.cos(np.pi * k * v)
            for (a, k), v in zip(terms, x, strict=True)
        ]
        return np.asarray(sum(parts))

    def gradient(*x: Array) -> Array:
        return np.stack(
            [v + a / np.pi * np.sin(np.pi * k * v) for (a, k), v in zip(terms, x, strict=True)]
        )

    def mu(*x: Array) -> Array:
        factors = [1 + a * k * np.cos(np.pi * k * v) for (a, k), v in zip(terms, x, strict=True)]
        return np.asarray(math.prod(factors))

    # int (a/pi)^2 sin^2(pi k x) (1 + a k cos(pi k x)) dx = a^2 / (2 pi^2) for whole k
    value = sum(a * a / (2 * np.pi**2) for a, _ in terms)
    return Case(
        f"separable-{dim}d", dim, _on_unit_box(mu, uniform),
        potential, gradient, float(value),
    )  # fmt: skip


def quantile() -> Case:
    """One dimension: mu(x) = 1 + .6 cos(pi x) to the uniform law, T the distribution function."""
    return replace(separable(1), name="quantile")


def radial(amplitude: float = 0.5) -> Case:
    """A radially symmetric map in the unit square: u = |x|^2/2 + bump, the identity near the faces.

    bump = c (1 - r^2/R^2)^6 inside radius R = .45 about the centre: T moves along rays.
    """
    radius, power = 0.45, 6
    scale = amplitude * radius**2 / (2 * power)

    def split(x: Array, y: Array) -> tuple[Array, Array, Array]:
        dx, dy = x - 0.5, y - 0.5
        return dx, dy, np.maximum(0.0, 1 - (dx * dx + dy * dy) / radius**2)

    def potential(x: Array, y: Array) -> Array:
        _, _, q = split(x, y)
        return np.asarray(0.5 * (x * x + y * y) + scale * q**power)

    def gradient(x: Array, y: Array) -> Array:
        dx, dy, q = split(x, y)
        pull = -amplitude * q ** (power - 1)
        return np.stack([x + pull * dx, y + pull * dy])

    def hessian(x: Array, y: Array) -> Array:
        dx, dy, q = split(x, y)
        pull = 1 - amplitude * q ** (power - 1)
        bend = amplitude * (power - 1) * 2 / radius**2 * q ** (power - 2)
        return np.stack(
            [
                np.stack([pull + bend * dx * dx, bend * dx * dy]),
                np.stack([bend * dx * dy, pull + bend * dy * dy]),
            ]
        )

    return _pulled_back_case("radial", 2, uniform, potential, gradient, hessian, 200)


def _mixture(floor: float, parts: tuple[tuple[float, float, float, float], ...]) -> Field:
    """floor + sum of weight exp(-|x - c|^2 / (2 sigma^2)); parts are (weight, cx, cy, sigma)."""

    def density(x: Array, y: Array) -> Array:
        total = np.full(np.broadcast_shapes(np.shape(x), np.shape(y)), floor)
        for w, cx, cy, s in parts:
            total = total + w * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * s * s))
        return total

    return density


def gaussian_mixtures() -> Case:
    """Two Gaussians each on a floor of 0.1: the benchmark problem P1, W2^2 to seven digits."""
    mu = _mixture(0.1, ((1.0, 0.3, 0.35, 0.13), (0.7, 0.7, 0.6, 0.10)))
    nu = _mixture(0.1, ((1.1, 0.65, 0.3, 0.14), (0.8, 0.35, 0.72, 0.12)))
    return Case(
        "gaussian-mixtures", 2, _on_unit_box(mu, nu),
        w2_squared=0.02522156,
    )  # fmt: skip


def concentrated() -> Case:
    """Gaussians of width .05 in opposite corners on a floor of 1e-6: the hard problem P4."""
    one = 1 / (2 * math.pi * 0.05**2)
    mu = _mixture(1e-6, ((one, 0.2, 0.25, 0.05),))
    nu = _mixture(1e-6, ((one, 0.8, 0.75, 0.05),))
    return Case("concentrated", 2, _on_unit_box(mu, nu))


def photograph(name: str, shape: tuple[int, ...], *, floor: float = 0.05) -> Density:
    """A bundled photograph ("camera", "cat") on a grid, plus ``floor`` of its maximum."""
    with resources.as_file(resources.files("pma_grid.cases") / "images" / f"{name}.png") as path:
        density = Density.from_image(path).resampled(Grid(shape))
    return Density(density.values + floor * density.values.max(), density.grid)


def photographs(*, floor: float = 0.05) -> Case:
    """The two bundled photographs, camera to cat, each plus ``floor`` of its maximum."""
    return Case(
        "photographs", 2,
        lambda shape: Problem(
            photograph("camera", shape, floor=floor), photograph("cat", shape, floor=floor)
        ),
    )  # fmt: skip
