"""`Potential`: u between cell centres, its gradient and the inverse; McCann's interpolation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from pma_grid.equation.ghosts import lattice_between
from pma_grid.grid.axes import along
from pma_grid.grid.grid import Grid
from pma_grid.grid.legendre import legendre
from pma_grid.grid.splines import LogSpline
from pma_grid.kernels.grid.points import gradient_at, invert
from pma_grid.problem.density import Density
from pma_grid.problem.domains import ConvexDomain
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, Integers, InvalidInputError, is_number

# Step, in cells, below which Newton for the inverse stops.
INVERSE_TOLERANCE_CELLS = 1e-9
POINT_HALO = 2
# Cells by which a point may be missed that still counts as an image.
IMAGE_MISS_CELLS = 0.05


class Potential:
    """u = affine stretch of box to box + phi, as a function of points; phi reflects evenly.

    ``phi``, length^2, is given at the centres of ``source``; the gradient maps the two boxes onto
    each other, and the centres of ``target`` start the inverse.  A ``domain`` is what the gradient
    fills instead of the target box; phi is extended accordingly.  Inside, phi is in the unit of
    potentials of the frame, and points are measured from the lower corners of their boxes.
    """

    def __init__(
        self, phi: Array, source: Grid, target: Grid, domain: ConvexDomain | None = None
    ) -> None:
        self.source, self.target, self.phi, self.domain = source, target, phi, domain
        self.frame = Frame(source, target)
        self.spacing = np.array(source.spacing)
        # in units as in the frame, but with all the digits of the sides
        self._spacing = self.spacing / self.frame.source_length
        self._metric = (self.frame.stretch / self.frame.hessian_unit) * self._spacing**2
        lattice = lattice_between(source, target, domain, halo=POINT_HALO)
        padded = lattice.zeros()
        lattice.extend(np.ascontiguousarray(phi) / self.frame.unit, padded)
        self.padded = padded.reshape(lattice.padded_shape)
        self._shape = lattice.shape_array
        self._starts: Integers | None = None

    def positions(self, x: Array) -> Array:
        """Points in source cells, 0 at the first centre."""
        return np.ascontiguousarray((x - np.array(self.source.lower)) / self.spacing - 0.5)

    def bend(self, z: Array) -> Array:
        """u without its linear part <target.lower, z>, length^2, up to a constant.

        At points (m, d) measured from the lower corner of the source's box.
        """
        phi = self._interpolated(z / self.spacing - 0.5)[0]
        return np.asarray(self.frame.bend(z) + self.frame.unit * phi)

    def gradient(self, x: Array) -> Array:
        """grad u at points (m, d) of the source box, clipped to the target box or domain."""
        z = x - np.array(self.source.lower)
        bend = self._interpolated(self.positions(x))[1] / self._spacing
        return self._clipped(self.frame.stretch * z + self.frame.target_length * bend)

    def _clipped(self, w: Array) -> Array:
        """Points of the target box or domain from what is measured from its lower corner."""
        image: Array = np.array(self.target.lower) + w
        if self.domain is not None:
            return self.domain.nearest(image)
        return np.asarray(np.clip(image, self.target.lower, self.target.upper))

    def _interpolated(self, positions: Array) -> tuple[Array, Array]:
        """phi, (m,), and its gradient per cell, (m, d), at positions in cells."""
        values, slopes = np.empty(len(positions)), np.empty(positions.shape)
        gradient_at(self.padded.ravel(), self._shape, POINT_HALO, positions, values, slopes)
        return values, slopes

    def centred_gradient(self) -> Array:
        """grad u at the source centres by centred differences, (d, *shape)."""
        dim, length = self.source.dim, self.frame.target_length
        out = np.empty((dim, *self.source.shape))
        inner = slice(POINT_HALO, -POINT_HALO)
        for axis, h in enumerate(self._spacing):
            window = [inner] * dim
            window[axis] = slice(POINT_HALO - 1, 1 - POINT_HALO)
            values = self.padded[tuple(window)]
            n = self.source.shape[axis]
            difference = np.take(values, range(2, n + 2), axis) - np.take(values, range(n), axis)
            affine = along(self.frame.image_along(axis), axis, dim)
            out[axis] = affine + length * (difference / (2 * h))
        if self.domain is not None:
            image = self.domain.nearest(out.reshape(dim, -1).T)
            out = np.ascontiguousarray(image.T).reshape(out.shape)
        return out

    def between(self, t: float, box: Grid) -> Potential:
        """(1 - t) |x|^2 / 2 + t u, whose gradient maps into ``box``, between the two boxes."""
        moving = Potential(t * self.phi, self.source, box)
        # not by reflection: its own ghosts, where u fills a domain
        moving.padded = t * (self.frame.unit / moving.frame.unit) * self.padded
        return moving

    def starts(self) -> Integers:
        """Indices of the source cell that maximises <x, y> - u(x) at each target centre."""
        if self._starts is None:
            u = self.phi + self.frame.bends
            axes = self.source.at_origin.axes, self.target.at_origin.axes
            self._starts = legendre(u, *axes)[1]
        return self._starts

    def start_cells(self, w: Array) -> Integers:
        """Indices (m, d) of the source cells that `starts` has for the cells of points.

        Points are measured from the target's lower corner; beyond the box the nearest cell counts.
        """
        cells = np.floor(w / np.array(self.target.spacing)).astype(int)
        cells = np.clip(cells, 0, np.array(self.target.shape) - 1)
        return np.ascontiguousarray(self.starts()[(slice(None), *cells.T)].T)

    def inverse(self, y: Array) -> Array:
        """Points x that maximise <x, y> - u(x), for points y (m, d).

        They are those with grad u(x) = y; of points beyond the target box, with the nearest point
        of the box in place of y.
        """
        return self._points(self.inverse_from(y - np.array(self.target.lower))[0])

    def inverse_from(self, w: Array) -> tuple[Array, Array]:
        """`inverse` of points measured from the target's lower corner.

        Returns points of the source box, measured likewise, and phi there, length^2.
        """
        frame = self.frame
        w = np.clip(w, 0.0, self.target.lengths)
        positions = self.start_cells(w).astype(float)
        begun, values = positions.copy(), np.empty(len(w))
        slopes = np.ascontiguousarray(w / frame.target_length * self._spacing)
        failed = invert(
            self.padded.ravel(), self._shape, POINT_HALO, self._metric, slopes,
            INVERSE_TOLERANCE_CELLS, positions, values,
        )  # fmt: skip
        if failed:
            # put back points that Newton's method took further from grad u(x) = y, with phi there;
            # a start maximises <x, y> - u over the cell centres: it is right to about a cell
            ends, starts = (self._miss(p, w) for p in (positions, begun))
            worse = ends > starts
            positions[worse] = begun[worse]
            values[worse] = self._interpolated(positions[worse])[0]
        z = np.clip((positions + 0.5) * self.spacing, 0.0, self.source.lengths)
        return z, frame.unit * values

    def _miss(self, positions: Array, w: Array) -> Array:
        """Largest distance along an axis of the images of positions from where they should be."""
        z = self._points((positions + 0.5) * self.spacing)
        return np.asarray(np.abs(self.gradient(z) - (np.array(self.target.lower) + w)).max(axis=1))

    def _points(self, z: Array) -> Array:
        """Points of the source box from what is measured from its lower corner."""
        x = np.array(self.source.lower) + z
        return np.asarray(np.clip(x, self.source.lower, self.source.upper))


def checked_potential(problem: Problem, values: ArrayLike, name: str) -> Array:
    """u at the cell centres of the source, finite real numbers."""
    try:
        if np.iscomplexobj(values):
            raise TypeError("it is complex")
        if np.ma.is_masked(values):
            raise ValueError("some of its values are masked")
        array = np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{name} cannot be read as an array of real numbers ({error}); pass floats, u "
            "everywhere on the source's grid"
        ) from None
    if array.shape != problem.source.shape:
        raise InvalidInputError(
            f"{name} has shape {array.shape}, the source grid {problem.source.shape}; they must "
            "agree: give u at the cell centres of the source"
        )
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInputError(
            f"{name} has the value {array[where]} at {where}; values must be finite: extend the "
            "potential off the support by its conjugate's conjugate"
        )
    return array


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
    z = grid.points
    inside = moving.target.contains(z)
    x = moving.inverse(z)
    inside &= log_source.grid.contains(x)  # of the source's box, or of the part that was solved
    if potential.domain is not None:
        # no point of the source is moved to z where the nearest one is not moved near it
        missed = np.abs(moving.gradient(x) - z) > IMAGE_MISS_CELLS * np.array(grid.spacing)
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
