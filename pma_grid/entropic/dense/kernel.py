"""The Gibbs kernel exp(-|x - y|^2 / (2 eps)), axis by axis: never a matrix over pairs of cells.

Two ways to the same sums, chosen for every product by what floating point allows:

- *products*: dense matrices of one axis, by BLAS, after the largest exponent is taken out.  A
  product is thrown away where its smallest sum comes near the smallest number there is, so that
  what underflowed could matter.  In single precision, if asked for, while that range holds.
- *tilted* sums (`pma_grid.kernels.entropic.softmax`): windows that follow the mass, in logarithms;
  no eps is too small for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pma_grid.grid.axes import power_of_two_near
from pma_grid.kernels.entropic import softmax
from pma_grid.kernels.records import Tilt
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime import Array, Workers

# Tilted sums leave out terms exp(-40) of the largest, below rounding, and keep exponents within a
# block below 300: exp(-2 * 300 - 40) does not underflow.
NEGLIGIBLE_EXPONENT, LARGEST_EXPONENT = 40.0, 300.0
# A product is trusted where its smallest sum exceeds the smallest number by this factor: what
# underflowed (at most that number, N times) is then below rounding.
MARGIN_OVER_TINY = {np.dtype(np.float64): 1e22, np.dtype(np.float32): 1e13}
# Images of the reflecting kernel reach this many standard deviations: exp(-9^2 / 2) is 3e-18.
REACH_DEVIATIONS = 9.0
# Reflecting kernels wider than this share of a side are summed over so many waves: the next one is
# exp(-(9 pi / 2)^2 / 2), nothing.
WIDE_SIDES, WAVES = 0.5, 8
# Largest half block of outputs that share their exponentials.
HALF_BLOCK_CELLS = 24
# Fewer lines are not worth handing to another thread.
LEAST_LINES_A_THREAD = 64
# Measured nanoseconds: of tilted sums a line's cell (hull, exponential, logarithm), and a term of
# its window; a term of a BLAS product.
TILTED_CELL_NS, TILTED_TERM_NS, PRODUCT_TERM_NS = 38.0, 0.4, 0.045


class Axis:
    """One factor of the kernel, from abscissae x to y, both equally spaced in one box."""

    def __init__(self, x: Array, y: Array, length: float, eps: float, reflect: bool) -> None:
        self.x, self.y, self.length, self.eps = x, y, length, eps
        self.reflect = reflect
        self._matrices: dict[np.dtype[Any], NDArray[Any]] = {}

    @cached_property
    def images(self) -> list[tuple[int, float]]:
        """Sign and shift of every image of x that counts: x' = sign x + shift."""
        if not self.reflect:
            return [(1, 0.0)]
        periods = math.ceil((REACH_DEVIATIONS * math.sqrt(self.eps) / self.length + 1) / 2)
        span = range(-periods, periods + 1)
        # about 0: even images shift by 2kL, odd ones mirror at a face, -x + (2k + 1) L
        return [(1, 2 * k * self.length) for k in span] + [
            (-1, (2 * k + 1) * self.length) for k in range(-periods - 1, periods + 1)
        ]

    @cached_property
    def origin(self) -> float:
        """A point left of everything that counts: abscissae measured from it are positive."""
        reach = max(abs(shift) for _, shift in self.images) + self.length
        return -reach

    def matrix(self, power: int = 0) -> Array:
        """sum over images of k(x', y) (x' - origin)^power, as (x, y)."""
        total = np.zeros((self.x.size, self.y.size))
        for sign, shift in self.images:
            image = sign * self.x + shift
            with np.errstate(under="ignore"):
                gibbs = np.exp(-((image[:, None] - self.y) ** 2) / (2 * self.eps))
            total += gibbs * (image[:, None] - self.origin) ** power
        return total

    def gibbs(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The kernel itself, (x, y), in a precision."""
        if dtype not in self._matrices:
            self._matrices[dtype] = self.matrix().astype(dtype)
        return self._matrices[dtype]

    @cached_property
    def padding(self) -> int:
        """Cells by which lines are continued evenly on each side."""
        if not self.reflect:
            return 0
        reach = max(REACH_DEVIATIONS * math.sqrt(self.eps), self.length)
        return self.x.size * math.ceil(reach / self.length)

    @cached_property
    def padded(self) -> Array:
        """Abscissae of the continued lines."""
        n, pad = self.x.size, self.padding
        step = self.length / n
        return np.asarray((np.arange(-pad, n + pad) + 0.5 - 0.5 * n) * step)

    @cached_property
    def table(self) -> NDArray[Any]:
        """The factors of the tilt."""
        scale = (self.length / self.x.size) * (self.length / self.y.size) / self.eps
        inputs = self.padded.size // 2 + 1
        outputs = min(HALF_BLOCK_CELLS, max(1, self.y.size // 2))
        out = np.empty((2 * outputs + 1, 2 * inputs + 1))
        softmax.tilt_table(scale, outputs, inputs, LARGEST_EXPONENT, out)
        return out

    def prepare(self) -> None:
        """Make what threads share."""
        _ = self.table

    def tilted(self, lines: Array, power: int = 0) -> Array:
        """Log sums along the last axis of (lines, x), to (lines, y); thread-safe."""
        weight = np.zeros(self.padded.size)
        if power:
            weight = power * np.log(self.padded - self.origin)
        out = np.empty((lines.shape[0], self.y.size))
        tilt = Tilt(1.0 / self.eps, self.table, LARGEST_EXPONENT, NEGLIGIBLE_EXPONENT)
        softmax.softmax_lines(lines, self.padded, self.padding, weight, self.y, tilt, out)
        return out


class WideAxis(Axis):
    """A reflecting factor whose images would be many: the same sum, as a cosine series."""

    def __init__(self, x: Array, y: Array, length: float, eps: float) -> None:
        super().__init__(x, y, length, eps, reflect=True)

    @cached_property
    def origin(self) -> float:
        """A point left of the mean image of x given y, which is less than 2 L from y."""
        return -3 * self.length

    def matrix(self, power: int = 0) -> Array:
        """As `Axis.matrix`; moments by derivatives, sum k (x' - y) = eps d/dy sum k."""
        # Poisson's summation, X = x + L/2, Y = y + L/2, q = exp(-eps pi^2 / (2 L^2)): sum k(x', y)
        #     = sqrt(2 pi eps) / L (1 + 2 sum_m q^{m^2} cos(pi m X / L) cos(pi m Y / L)),
        # to rounding where sqrt(eps) >= L/2.  It varies little: no sum over cells can underflow.
        wave = np.pi * np.arange(1, WAVES + 1) / self.length
        share = (
            2
            * np.exp(-0.5 * self.eps * wave**2)
            * np.cos(np.outer(self.x + 0.5 * self.length, wave))
        )
        phase = np.outer(wave, self.y + 0.5 * self.length)
        moment = 1.0 + share @ np.cos(phase)
        if power:
            away = self.y - self.origin
            plain, moment = moment, away * moment - self.eps * (share * wave) @ np.sin(phase)
        if power == 2:  # E z^2 = E (x' - y)^2 + 2 away E z - away^2, z = x' - origin
            curved = plain - self.eps * (share * wave**2) @ np.cos(phase)
            moment = self.eps * curved + away * (2 * moment - away * plain)
        return np.asarray(math.sqrt(2 * math.pi * self.eps) / self.length * moment)

    def prepare(self) -> None:
        """Nothing is shared."""

    def tilted(self, lines: Array, power: int = 0) -> Array:
        """Log sums along the last axis of (lines, x), to (lines, y)."""
        top = lines.max(axis=1, keepdims=True)
        top[top == -np.inf] = 0.0
        with np.errstate(divide="ignore"):  # empty lines
            return np.asarray(np.log(np.exp(lines - top) @ self.matrix(power)) + top)


def _axis(x: Array, y: Array, length: float, eps: float, reflect: bool) -> Axis:
    """One factor of the kernel, in the form that suits its width."""
    if reflect and math.sqrt(eps) >= WIDE_SIDES * length:
        return WideAxis(x, y, length, eps)
    return Axis(x, y, length, eps, reflect)


class SeparableKernel:
    """log sum exp(logs - |x - y|^2 / (2 eps)) over a side's cells, for every cell of the other."""

    def __init__(
        self,
        reduced: Reduced,
        eps: float,
        *,
        reflect: bool = False,  # sum over the images of the box: the torus kernel of its double
        single: bool = False,  # products to about 1e-6
        threads: int = 1,  # of the tilted sums: BLAS has settings of its own
    ) -> None:
        self.reduced, self.eps, self.reflect = reduced, float(eps), reflect
        self.threads = threads
        # axes are measured in this unit: logarithms of their abscissae do not depend on the user's
        self._unit = unit = power_of_two_near(reduced.lengths)
        self._axes = [
            tuple(
                _axis(x / unit, y / unit, float(length / unit), self.eps / unit**2, reflect)
                for x, y, length in zip(*sides, reduced.lengths, strict=True)
            )
            for sides in ((reduced.x, reduced.y), (reduced.y, reduced.x))
        ]
        # what products are tried in, by side; none left means tilted sums
        precisions = [np.dtype(np.float32)] * single + [np.dtype(np.float64)]
        self._precisions = [
            [] if self._prefers_tilt(axes) else list(precisions) for axes in self._axes
        ]

    @property
    def by_products(self) -> bool:
        """Whether matrix products have held up to now, both ways."""
        return all(self._precisions)

    def _prefers_tilt(self, axes: Sequence[Axis]) -> bool:
        """Whether windows beat full lines."""
        work = sum(axis.x.size for axis in axes)
        width = [
            2 * REACH_DEVIATIONS * math.sqrt(axis.eps) * axis.x.size / axis.length for axis in axes
        ]
        window = sum(min(w, axis.x.size) for w, axis in zip(width, axes, strict=True))
        return TILTED_CELL_NS * len(axes) + TILTED_TERM_NS * window < PRODUCT_TERM_NS * work

    def to_target(self, logs: Array) -> Array:
        """Sums over the source's cells: (source.shape) to (target.shape)."""
        return self._sum(0, logs, (0,) * logs.ndim)

    def to_source(self, logs: Array) -> Array:
        """Sums over the target's cells: (target.shape) to (source.shape)."""
        return self._sum(1, logs, (0,) * logs.ndim)

    def mean_on_source(self, logs: Array) -> Array:
        """E[y | x] for weights exp(logs) on the target's cells, reduced, (d, *source.shape)."""
        return self._means(1, logs)

    def mean_on_target(self, logs: Array) -> Array:
        """E[x | y] for weights exp(logs) on the source's cells, reduced, (d, *target.shape)."""
        return self._means(0, logs)

    def covariance_on_source(self, logs: Array) -> Array:
        """Cov[y | x] for weights exp(logs) on the target's cells, (d, d, *source.shape)."""
        d = logs.ndim
        total = self._sum(1, logs, (0,) * d)
        means = self._relative_means(1, logs, total)
        out = np.empty((d, d, *total.shape))
        for i in range(d):
            for k in range(i + 1):
                powers = tuple(int(axis == i) + int(axis == k) for axis in range(d))
                moment = np.exp(self._sum(1, logs, powers) - total)
                out[i, k] = out[k, i] = moment - means[i] * means[k]
        return self._unit**2 * out

    def _relative_means(self, side: int, logs: Array, total: Array) -> Array:
        """Means measured from the axes' origins, in the unit of the axes."""
        d = logs.ndim
        unit = [tuple(int(axis == i) for axis in range(d)) for i in range(d)]
        return np.stack([np.exp(self._sum(side, logs, powers) - total) for powers in unit])

    def _means(self, side: int, logs: Array) -> Array:
        """Means of the coordinates of the side summed over, given the other."""
        relative = self._relative_means(side, logs, self._sum(side, logs, (0,) * logs.ndim))
        origins = np.array([axis.origin for axis in self._axes[side]])
        return np.asarray(self._unit * (relative + origins.reshape((-1,) + (1,) * logs.ndim)))

    def product(
        self, side: int, values: Array, powers: tuple[int, ...] | None = None
    ) -> Array | None:
        """Kernel sums of values >= 0; None where underflow could matter: not tried so again."""
        precisions = self._precisions[side]
        while precisions:
            dtype = precisions[0]
            top = float(values.max())
            sums: NDArray[Any] = (values / top).astype(dtype) if dtype == np.float32 else values
            for i, axis in enumerate(self._axes[side]):
                power = powers[i] if powers else 0
                matrix = axis.matrix(power).astype(dtype) if power else axis.gibbs(dtype)
                sums = _apply(matrix, sums, i)
            scale = 1.0 if dtype == np.float32 else top
            if float(sums.min()) > MARGIN_OVER_TINY[dtype] * np.finfo(dtype).tiny * scale:
                return sums.astype(np.float64) * top if dtype == np.float32 else sums
            precisions.pop(0)
        return None

    def _sum(self, side: int, logs: Array, powers: tuple[int, ...]) -> Array:
        """Logarithms of sums over one side, weighted by powers of the coordinates."""
        top = float(logs.max())
        if self._precisions[side] and top > -np.inf:
            sums = self.product(side, np.exp(logs - top), powers)
            if sums is not None:
                return np.asarray(np.log(sums) + top)
        return self._tilted(side, logs, powers)

    def _tilted(self, side: int, logs: Array, powers: tuple[int, ...]) -> Array:
        """By tilted sums along the axes, one after the other."""
        for i, (axis, power) in enumerate(zip(self._axes[side], powers, strict=True)):
            moved = np.ascontiguousarray(np.moveaxis(logs, i, -1))
            lines = moved.reshape(-1, moved.shape[-1])
            sums = self._in_threads(axis, lines, power)
            logs = np.moveaxis(sums.reshape(*moved.shape[:-1], -1), -1, i)
        return np.ascontiguousarray(logs)

    def _in_threads(self, axis: Axis, lines: Array, power: int) -> Array:
        """Lines are independent: shares of them to threads."""
        shares = min(self.threads, lines.shape[0] // LEAST_LINES_A_THREAD)
        if shares < 2:
            return axis.tilted(lines, power)
        parts = np.array_split(lines, shares)
        axis.prepare()
        with Workers(shares) as team:
            return np.concatenate(team.each(lambda part: axis.tilted(part, power), parts))


def _apply(matrix: NDArray[Any], values: NDArray[Any], axis: int) -> NDArray[Any]:
    """sum_i matrix[i, j] values[..., i, ...] along an axis, without moving axes about."""
    shape = values.shape
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    if inner == 1:
        out = values.reshape(outer, -1) @ matrix
    else:
        out = np.matmul(matrix.T, values.reshape(outer, -1, inner))
    return np.asarray(out.reshape(*shape[:axis], matrix.shape[1], *shape[axis + 1 :]))
