"""Integrals and densities that follow from a potential: the dual value, McCann's interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from pma_grid.conjugate import legendre
from pma_grid.density import Density
from pma_grid.domains import ConvexDomain
from pma_grid.errors import InvalidInputError
from pma_grid.extension import lattice_between
from pma_grid.grid import Grid
from pma_grid.kernels.points import gradient_at, invert
from pma_grid.lattice import Array
from pma_grid.validation import is_number

if TYPE_CHECKING:
    from pma_grid.target import LogSpline

# Step, in cells, below which Newton for the inverse stops.
INVERSE_TOLERANCE = 1e-9
POINT_HALO = 2
# Cells by which a point may be missed that still counts as an image.
NEAR = 0.05


class Potential:
    """u = affine stretch of box to box + phi, as a function of points; phi reflects evenly.

    Parameters
    ----------
    phi : ndarray
        At the centres of ``source``.
    source, target : Grid
        Boxes that the gradient maps onto each other; target's centres start the inverse.
    domain : ConvexDomain, optional
        What the gradient fills instead of the target box; phi is extended accordingly.
    """

    def __init__(
        self, phi: Array, source: Grid, target: Grid, domain: ConvexDomain | None = None
    ) -> None:
        self.source, self.target, self.phi, self.domain = source, target, phi, domain
        self.stretch = np.array(target.lengths) / np.array(source.lengths)
        self.spacing = np.array(source.spacing)
        lattice = lattice_between(source, target, domain, halo=POINT_HALO)
        padded = lattice.zeros()
        lattice.extend(np.ascontiguousarray(phi), padded)
        self.padded = padded.reshape(lattice.padded_shape)
        self._shape = lattice.shape_array
        self._starts: Array | None = None

    def positions(self, x: Array) -> Array:
        """Points in source cells, 0 at the first centre."""
        return np.ascontiguousarray((x - np.array(self.source.lower)) / self.spacing - 0.5)

    def quadratic(self, x: Array) -> Array:
        """The part of u without phi, at points (m, d)."""
        shifted = x - np.array(self.source.lower)
        parts = 0.5 * self.stretch * shifted**2 + np.array(self.target.lower) * x
        total: Array = parts.sum(axis=-1)
        return total

    def gradient(self, x: Array) -> Array:
        """grad u at points (m, d) of the source box, clipped to the target box or domain."""
        values, gradients = np.empty(len(x)), np.empty(x.shape)
        gradient_at(
            self.padded.ravel(), self._shape, POINT_HALO, self.positions(x), values, gradients
        )
        affine = np.array(self.target.lower) + self.stretch * (x - np.array(self.source.lower))
        image: Array = affine + gradients / self.spacing
        if self.domain is not None:
            return self.domain.nearest(image)
        return np.asarray(np.clip(image, self.target.lower, self.target.upper))

    def centred_gradient(self) -> Array:
        """grad u at the source centres by centred differences, (d, *shape)."""
        out = np.empty((self.source.dim, *self.source.shape))
        inner = slice(POINT_HALO, -POINT_HALO)
        for axis, (x, h) in enumerate(zip(self.source.axes, self.spacing, strict=True)):
            window = [inner] * self.source.dim
            window[axis] = slice(POINT_HALO - 1, 1 - POINT_HALO)
            values = self.padded[tuple(window)]
            n = self.source.shape[axis]
            difference = np.take(values, range(2, n + 2), axis) - np.take(values, range(n), axis)
            affine = self.target.lower[axis] + self.stretch[axis] * (x - self.source.lower[axis])
            shape = [-1 if k == axis else 1 for k in range(self.source.dim)]
            out[axis] = affine.reshape(shape) + difference / (2 * h)
        if self.domain is not None:
            image = self.domain.nearest(out.reshape(self.source.dim, -1).T)
            out = np.ascontiguousarray(image.T).reshape(out.shape)
        return out

    def between(self, t: float, box: Grid) -> Potential:
        """(1 - t) |x|^2 / 2 + t u, whose gradient maps into ``box``, between the two boxes."""
        moving = Potential(t * self.phi, self.source, box)
        # not by reflection: its own ghosts, where u fills a domain
        moving.padded = t * self.padded
        return moving

    def starts(self) -> Array:
        """Indices of the source cell that maximises <x, y> - u(x) at each target centre."""
        if self._starts is None:
            centres = np.stack(np.meshgrid(*self.source.axes, indexing="ij"), axis=-1)
            u = self.phi + self.quadratic(centres)
            self._starts = legendre(u, self.source.axes, self.target.axes)[1]
        return self._starts

    def inverse(self, y: Array) -> tuple[Array, Array]:
        """Points x with grad u(x) = y, and phi there, for points (m, d) of the target box."""
        cells = self.target.cell_index(y)
        positions = np.ascontiguousarray(self.starts()[(slice(None), *cells.T)].T, float)
        begun, values = positions.copy(), np.empty(len(y))
        slopes = np.ascontiguousarray((y - np.array(self.target.lower)) * self.spacing)
        failed = invert(
            self.padded.ravel(), self._shape, POINT_HALO, self.stretch * self.spacing**2, slopes,
            INVERSE_TOLERANCE, positions, values,
        )  # fmt: skip
        x = self._points(positions)
        if failed:
            self._keep_best(x, self._points(begun), y, values)
        return x, values

    def _points(self, positions: Array) -> Array:
        """Points of the source box from positions in cells."""
        x = np.array(self.source.lower) + (positions + 0.5) * self.spacing
        return np.asarray(np.clip(x, self.source.lower, self.source.upper))

    def _keep_best(self, x: Array, begun: Array, y: Array, values: Array) -> None:
        """Put back points that Newton's method took further from grad u(x) = y, with phi there.

        The start maximises <x, y> - u over the cell centres, so that it is right to about a cell.
        """
        ends, starts = (np.abs(self.gradient(p) - y).max(axis=1) for p in (x, begun))
        worse = ends > starts
        x[worse] = begun[worse]
        slopes = np.empty((int(worse.sum()), x.shape[1]))
        again = np.empty(len(slopes))
        gradient_at(
            self.padded.ravel(), self._shape, POINT_HALO, self.positions(x[worse]), again, slopes
        )
        values[worse] = again


def cell_integral(function: Array, masses: Array, whole: Array | None = None) -> float:
    """int f dm from centre values of f and cell masses, fourth order for smooth densities.

    A cell contributes m f + (h^2/24) m f'' + (h^2/12) m' f' an axis: the mean of a quadratic, and
    the slope of the density within the cell.  ``whole``: cells that a domain does not cut; other
    cells, whose ``function`` is that at the centroid of their part, and their neighbours
    contribute m f alone, which is second order.
    """
    total = float((masses * function).sum())
    kept = None
    if whole is not None:
        kept = ndimage.minimum_filter(whole.astype(float), size=3, mode="nearest")
    for axis in range(function.ndim):
        if function.shape[axis] < 3:
            continue
        second = np.diff(function, 2, axis=axis)
        ends = [np.take(second, [k], axis) for k in (0, -1)]
        second = np.concatenate([ends[0], second, ends[1]], axis)
        bent = masses * second
        slopes = np.gradient(function, axis=axis) * np.gradient(masses, axis=axis)
        if kept is not None:
            bent, slopes = kept * bent, kept * slopes
        total += float(bent.sum()) / 24 + float(slopes.sum()) / 12
    return total


def dual_value(potential: Potential, source: Density, target: Density) -> float:
    """Kantorovich's dual value of a potential, 2 (int min_x (|x-y|^2/2 + D) dnu - int D dmu).

    D = u - |x|^2/2.  Written with displacements, so that nearly equal densities lose no digits.
    """
    there, whole, met = target.grid.coordinates(), None, np.full(target.shape, True)
    if potential.domain is not None:
        parts, centroids = potential.domain.parts(target.grid)
        there, whole = np.moveaxis(centroids, -1, 0), parts == 1.0
        met = target.values > 0  # elsewhere there is nothing to be found, and no mass
    y = there[:, met].T
    centres = source.grid.coordinates().reshape(source.dim, -1).T
    shift = potential.phi + _shift(potential, centres).reshape(source.shape)
    x, phi = potential.inverse(y)
    lowest = 0.5 * ((x - y) ** 2).sum(axis=1) + phi + _shift(potential, x)
    # where Newton's method finds no minimum, as at a kink of u, the best cell centre is one
    nearest = np.ravel_multi_index(tuple(potential.starts()[:, met]), source.shape)
    at_centres = 0.5 * ((centres[nearest] - y) ** 2).sum(axis=1) + shift.ravel()[nearest]
    values = np.zeros(target.shape)
    values[met] = np.minimum(lowest, at_centres)
    masses = [d.values * d.grid.cell_volume for d in (source, target)]
    value = cell_integral(values, masses[1], whole)
    value -= cell_integral(shift, masses[0])
    # no coupling does better than to move the means, whatever the potential; the means are those of
    # the same quadrature, or a shift of the box would not shift the value
    shifts = [
        cell_integral(image, masses[1], whole) - cell_integral(point, masses[0])
        for image, point in zip(there, source.grid.coordinates(), strict=True)
    ]
    return max(float(np.square(shifts).sum()), 2 * value)


def _shift(potential: Potential, x: Array) -> Array:
    """The quadratic part of u minus |x|^2 / 2, without cancellation where the boxes agree."""
    a, b = np.array(potential.source.lower), np.array(potential.target.lower)
    s = potential.stretch
    # s (x-a)^2/2 + b x - x^2/2 = (s-1) (x-a)^2/2 + (b-a) (x-a) + (a b - a^2/2)
    shifted = x - a
    parts = 0.5 * (s - 1) * shifted**2 + (b - a) * shifted + a * (b - 0.5 * a)
    total: Array = parts.sum(axis=-1)
    return total


def interpolated_grid(source: Grid, target: Grid, t: float) -> Grid:
    """The box (1 - t) source + t target, with the cells of the nearer one; checks t."""
    if not (is_number(t) and 0 <= float(t) <= 1):
        raise InvalidInputError(f"t is {t!r}; it must lie in [0, 1]: 0 is the source, 1 the target")
    corners = [
        tuple((1 - t) * np.array(a) + t * np.array(b))
        for a, b in ((source.lower, target.lower), (source.upper, target.upper))
    ]
    return Grid(source.shape if t < 0.5 else target.shape, *corners)


def mccann(
    potential: Potential,
    hessian: Array,
    log_source: LogSpline,
    log_target: LogSpline,
    t: float,
    grid: Grid | None,
) -> Density:
    """Law of (1 - t) X + t grad u(X); see `Transport.interpolate`."""
    source = potential.source
    between_boxes = interpolated_grid(source, potential.target, t)
    if grid is None:
        grid = between_boxes
    box = Grid(grid.shape, between_boxes.lower, between_boxes.upper)
    moving = potential.between(t, box)
    z = grid.coordinates().reshape(grid.dim, -1).T
    inside = moving.target.contains(z)
    x, _ = moving.inverse(np.clip(z, moving.target.lower, moving.target.upper))
    if potential.domain is not None:
        # no point of the source is moved to z where the nearest one is not moved near it
        missed = np.abs(moving.gradient(x) - z) > NEAR * np.array(grid.spacing)
        inside &= ~missed.any(axis=1)
    ends = (1 - t) * log_source(x) + t * log_target(potential.gradient(x))
    matrices = np.moveaxis(hessian, (0, 1), (-2, -1))
    between = np.linalg.slogdet((1 - t) * np.eye(grid.dim) + t * matrices)[1]
    # log rho_t = log mu - log det((1-t) I + t H), and log mu = log nu(T) + log det H; the part not
    # carried by the two ends vanishes at t = 0 and 1, where the result is as sharp as the data
    correction = t * np.linalg.slogdet(matrices)[1] - between
    smooth = ndimage.map_coordinates(correction, moving.positions(x).T, order=1, mode="nearest")
    values = np.where(inside, np.exp(ends + smooth), 0.0)
    return Density(values.reshape(grid.shape), grid)
