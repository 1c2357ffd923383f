"""Data sets of generative modelling as laws whose density is known: samples and truth agree.

Each is an equal mixture of parts, cut to its box; the parts are its modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ive, logsumexp

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.runtime import Array, Integers, InvalidInputError, check_count, check_seed

# Cells an axis for the mass in the box and that of the modes.
QUADRATURE_CELLS = {1: 1 << 14, 2: 384, 3: 96}
# Nodes on a half circle, much closer than the noise about it is wide.
ARC_NODES = 64

Draw = Callable[[np.random.Generator, Integers], Array]


@dataclass(frozen=True, eq=False)
class DataSet:
    """A law of 1 to 3 coordinates that can be drawn from and whose density is known.

    Attributes
    ----------
    name : str
        By which `data_set` finds it.
    box : tuple of (lower, upper)
        Box that the law is cut to, one pair an axis.
    modes : int
        Number of parts of the mixture.
    """

    name: str
    box: tuple[tuple[float, float], ...]
    modes: int
    _parts: Callable[..., Array]  # log densities of the parts, first axis, at coordinates
    _draw: Draw  # points of the parts with given labels

    @property
    def dim(self) -> int:
        """The number of coordinates."""
        return len(self.box)

    def grid(self, n: int) -> Grid:
        """n cells an axis on the box."""
        lower, upper = zip(*self.box, strict=True)
        return Grid((n,) * self.dim, lower, upper)

    def log_density(self, *coordinates: Array) -> Array:
        """log of the density in the box, as `Density.from_log` and `pma_grid.infer` take it."""
        return np.asarray(self._raw(*coordinates) - self._log_mass)

    def density(self, grid: Grid, quadrature: int = 4) -> Density:
        """Cell averages on a grid of the box."""
        return Density.from_log(self.log_density, grid, quadrature=quadrature)

    def sample(self, n: int, seed: int | np.random.Generator) -> Array:
        """n points, (n, d): a part at random, a point of it, again if it lies outside the box."""
        count, generator = check_count(n), check_seed(seed)
        grid, kept, missing = self.grid(1), [np.empty((0, self.dim))], count
        while missing > 0:
            points = self._draw(generator, generator.integers(self.modes, size=missing))
            kept.append(points[grid.contains(points)])
            missing -= len(kept[-1])
        return np.concatenate(kept)

    def mode_of(self, points: ArrayLike) -> Integers:
        """Which part each of the points (m, d) most likely belongs to, (m,)."""
        return np.asarray(np.argmax(self._parts(*np.asarray(points, float).T), axis=0))

    @cached_property
    def mode_masses(self) -> Array:
        """Masses of the regions that `mode_of` tells apart, (modes,), by quadrature."""
        grid = self.grid(QUADRATURE_CELLS[self.dim])
        points = grid.points
        masses = np.exp(self.log_density(*points.T)) * grid.cell_volume
        return np.asarray(np.bincount(self.mode_of(points), masses, self.modes), float)

    def entropy(self, n: int | None = None) -> float:
        """-int mu log mu, nats, by the midpoint rule on n cells an axis."""
        grid = self.grid(QUADRATURE_CELLS[self.dim] if n is None else n)
        logs = self.log_density(*grid.coordinates())
        inside = np.isfinite(logs)
        return -float((np.exp(logs[inside]) * logs[inside]).sum()) * grid.cell_volume

    def _raw(self, *coordinates: Array) -> Array:
        return np.asarray(logsumexp(self._parts(*coordinates), axis=0) - math.log(self.modes))

    @cached_property
    def _log_mass(self) -> float:
        """log of the mass in the box."""
        grid = self.grid(QUADRATURE_CELLS[self.dim])
        return float(logsumexp(self._raw(*grid.coordinates())) + math.log(grid.cell_volume))


def _normal(distances: Array, variance: float, dim: int) -> Array:
    """log of a normal density from squared distances."""
    return np.asarray(-0.5 * distances / variance - 0.5 * dim * math.log(2 * math.pi * variance))


def _gaussians(name: str, centres: Array, spread: float, half: float) -> DataSet:
    """Equal normal laws about centres (k, d)."""
    count, dim = centres.shape

    def parts(*x: Array) -> Array:
        point = np.stack(np.broadcast_arrays(*x))
        shape = (count, dim) + (1,) * (point.ndim - 1)
        return _normal(((point[None] - centres.reshape(shape)) ** 2).sum(axis=1), spread**2, dim)

    def draw(generator: np.random.Generator, labels: Integers) -> Array:
        return np.asarray(centres[labels] + spread * generator.normal(size=(len(labels), dim)))

    return DataSet(name, ((-half, half),) * dim, count, parts, draw)


def eight_gaussians() -> DataSet:
    """Eight normal laws of standard deviation 0.25 on a circle of radius 2.5."""
    angles = np.arange(8) * math.pi / 4
    centres = 2.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _gaussians("eight_gaussians", centres, 0.25, 4.0)


def gaussian_mixture(dim: int = 1) -> DataSet:
    """Three normal laws of standard deviation 0.4 in 1 to 3 dimensions, on [-3, 3]^d."""
    centres = np.array([[-1.5, -1.2, 0.9], [0.2, 1.4, -1.1], [1.6, -0.4, 0.8]])[:, :dim]
    return _gaussians(f"gaussian_mixture_{dim}d", centres, 0.4, 3.0)


def two_moons() -> DataSet:
    """Two interlocking half circles of radius 2, with normal noise of 0.2 about them."""
    noise = 0.2
    centres, signs = np.array([[-1.0, -0.5], [1.0, 0.5]]), np.array([1.0, -1.0])
    nodes, weights = np.polynomial.legendre.leggauss(ARC_NODES)
    angles = 0.5 * math.pi * (nodes + 1)

    def arc(label: int, angle: Array) -> Array:
        unit = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return np.asarray(centres[label] + 2.0 * signs[label] * unit)

    def parts(x: Array, y: Array) -> Array:
        out = np.zeros((2, *np.shape(x)))
        for label in range(2):
            for node, weight in zip(arc(label, angles), weights / 2, strict=True):
                distances = (x - node[0]) ** 2 + (y - node[1]) ** 2
                out[label] += weight * np.exp(_normal(distances, noise**2, 2))
        return np.asarray(np.log(np.maximum(out, 1e-300)))

    def draw(generator: np.random.Generator, labels: Integers) -> Array:
        angle = math.pi * generator.random(len(labels))
        on = np.where((labels == 0)[:, None], arc(0, angle), arc(1, angle))
        return np.asarray(on + noise * generator.normal(size=on.shape))

    return DataSet("two_moons", ((-4.0, 4.0),) * 2, 2, parts, draw)


def checkerboard() -> DataSet:
    """Uniform on eight squares of side 2, those of one colour of a board of four by four."""
    corners = np.array([(i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0])

    def parts(x: Array, y: Array) -> Array:
        column, row = np.floor((x + 4.0) / 2.0), np.floor((y + 4.0) / 2.0)
        inside = [(column == i) & (row == j) for i, j in corners]
        return np.asarray(np.where(inside, -math.log(4.0), -np.inf))

    def draw(generator: np.random.Generator, labels: Integers) -> Array:
        return np.asarray(2.0 * (corners[labels] + generator.random((len(labels), 2))) - 4.0)

    return DataSet("checkerboard", ((-4.0, 4.0),) * 2, 8, parts, draw)


def circles() -> DataSet:
    """Two circles of radius 1.5 and 3 with normal noise of 0.2, as heavy as each other.

    Uniform angles integrate to exp(-(r^2 + R^2) / 2 s^2) I_0(r R / s^2) / (2 pi s^2).
    """
    radii, noise = np.array([1.5, 3.0]), 0.2

    def parts(x: Array, y: Array) -> Array:
        r = np.hypot(x, y)[None]
        around = radii.reshape((2,) + (1,) * (r.ndim - 1))
        bessel = ive(0, r * around / noise**2)  # scaled: without e^{r R / s^2}
        return np.asarray(_normal((r - around) ** 2, noise**2, 2) + np.log(bessel))

    def draw(generator: np.random.Generator, labels: Integers) -> Array:
        angle = 2 * math.pi * generator.random(len(labels))
        on = radii[labels][:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return np.asarray(on + noise * generator.normal(size=on.shape))

    return DataSet("circles", ((-4.0, 4.0),) * 2, 2, parts, draw)


def pinwheel() -> DataSet:
    """Five elongated normal laws, wound up by a rotation that grows with the radius.

    The rotation keeps areas, so that the density is that of the laws before it.
    """
    arms, along, across, scale = 5, 0.3, 0.1, 2.0
    steps = 2 * math.pi * np.arange(arms) / arms

    def winding(r: Array) -> Array:
        return np.asarray(0.25 * np.exp(r))

    def parts(x: Array, y: Array) -> Array:
        x, y = np.asarray(x) / scale, np.asarray(y) / scale
        r, angle = np.hypot(x, y), np.arctan2(y, x)
        back = angle[None] - winding(r)[None] - steps.reshape((arms,) + (1,) * r.ndim)
        a, b = r * np.cos(back) - 1.0, r * np.sin(back)
        exponent = -0.5 * ((a / along) ** 2 + (b / across) ** 2)
        return np.asarray(exponent - math.log(2 * math.pi * along * across * scale**2))

    def draw(generator: np.random.Generator, labels: Integers) -> Array:
        plain = generator.normal(size=(len(labels), 2)) * (along, across) + (1.0, 0.0)
        r = np.hypot(*plain.T)
        angle = np.arctan2(plain[:, 1], plain[:, 0]) + winding(r) + steps[labels]
        return np.asarray(scale * r[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))

    return DataSet("pinwheel", ((-4.0, 4.0),) * 2, arms, parts, draw)


DATA_SETS = {
    make.__name__: make for make in (eight_gaussians, two_moons, checkerboard, circles, pinwheel)
}


def data_set(name: str) -> DataSet:
    """One of the five standard sets in the plane, by name."""
    if name not in DATA_SETS:
        raise InvalidInputError(
            f"data set {name!r} does not exist; the names are {', '.join(DATA_SETS)}"
        )
    return DATA_SETS[name]()
