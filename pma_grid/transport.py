"""`Transport`: a potential and what follows from it: the map, its inverse, W2, interpolation."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from pma_grid import storage
from pma_grid.conjugate import legendre
from pma_grid.density import Density
from pma_grid.errors import InvalidInputError, Status
from pma_grid.grid import Grid
from pma_grid.kernels.points import GRADIENT_AT, INVERT
from pma_grid.lattice import Array, Lattice
from pma_grid.operator import Frame, LogSpline, MongeAmpere, floored, split
from pma_grid.problem import Problem

# Step, in cells, below which Newton for the inverse stops.
INVERSE_TOLERANCE = 1e-9
POINT_HALO = 2


class Transport:
    """The optimal map of a problem as the gradient of a potential, cost |x - y|^2.

    Not built by hand: `solve` returns it, `from_potential` wraps any potential, `load` reads a file.

    Attributes
    ----------
    problem : Problem
    potential : ndarray, shape ``source.shape``
        u at the cell centres, length^2; its additive constant is such that phi has mean zero.
    status : Status
    stats : dict
        See `solve`.
    """

    def __init__(
        self,
        problem: Problem,
        potential: Array,
        *,
        status: Status = Status.NOT_SOLVED,
        stats: dict[str, Any] | None = None,
    ) -> None:
        self.problem = problem
        self.potential = np.array(potential, float)
        self.potential.flags.writeable = False
        self.status = status
        self.stats: dict[str, Any] = stats or {}

    @classmethod
    def from_potential(cls, problem: Problem, potential: Array) -> Transport:
        """Wrap any finite potential on the source grid, convex or not.

        Parameters
        ----------
        problem : Problem
        potential : array_like, shape ``source.shape``
            u at the cell centres, length^2.

        Raises
        ------
        InvalidInputError
            The shape differs from the source grid's, or a value is not finite.
        """
        try:
            values = np.array(potential, dtype=float)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"potential cannot be read as real numbers ({error}); pass an array of floats"
            ) from None
        if values.shape != problem.source.shape:
            raise InvalidInputError(
                f"potential has shape {values.shape}, the source grid {problem.source.shape}; "
                "they must agree: give u at the cell centres of the source"
            )
        if not np.isfinite(values).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise InvalidInputError(
                f"potential has the value {values[where]} at {where}; values must be finite: "
                "extend the potential off the support by its conjugate's conjugate"
            )
        return cls(problem, values)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.problem.source.shape))
        return f"<Transport {shape}: W2 = {self.w2:.6g}, {self.status}>"

    @property
    def converged(self) -> bool:
        """Whether the method that made this met its own tolerance."""
        return self.status.succeeded

    @property
    def message(self) -> str:
        """The status as a sentence."""
        return self.status.value

    @cached_property
    def _frame(self) -> Frame:
        return Frame(self.problem.source.grid, self.problem.target.grid)

    @cached_property
    def phi(self) -> Array:
        """The potential without its quadratic part (which maps box to box), mean zero."""
        return split(self.problem, self.potential)

    @cached_property
    def _padded(self) -> Array:
        lattice = Lattice(self.problem.source.shape, POINT_HALO)
        padded = lattice.zeros()
        lattice.fill(self.phi, padded)
        return padded.reshape(lattice.padded_shape)

    @cached_property
    def gradient(self) -> Array:
        """grad u at the cell centres by centred differences, shape (d, *shape), length."""
        out = self._frame.displacement_free_gradient()
        inner = slice(POINT_HALO, -POINT_HALO)
        for axis, h in enumerate(self.problem.source.grid.spacing):
            index = [inner] * self._padded.ndim
            forward, backward = list(index), list(index)
            forward[axis] = slice(POINT_HALO + 1, 1 - POINT_HALO or None)
            backward[axis] = slice(POINT_HALO - 1, -POINT_HALO - 1)
            out[axis] += (self._padded[tuple(forward)] - self._padded[tuple(backward)]) / (2 * h)
        return out

    @cached_property
    def displacement(self) -> Array:
        """T(x) - x at the cell centres, shape (d, *shape), length."""
        return self.gradient - self.problem.source.grid.coordinates()

    def _positions(self, points: Array) -> Array:
        """Points as positions in source cells."""
        grid = self.problem.source.grid
        return (points - np.array(grid.lower)) / np.array(grid.spacing) - 0.5

    def map(self, points: Array) -> Array:
        """T(x) = grad u(x) at points of the source box.

        Parameters
        ----------
        points : array_like, shape (m, d)

        Returns
        -------
        ndarray, shape (m, d)
            Points of the target box; at cell centres exactly `gradient`.

        Raises
        ------
        InvalidInputError
            A point lies outside the source box (the first one is named).

        Notes
        -----
        Cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711): second order for a
        second-order potential, continuous.
        """
        source, target = self.problem.source.grid, self.problem.target.grid
        points = source.check_points(points, "points")
        positions = self._positions(points)
        values, gradients = np.empty(len(points)), np.empty(points.shape)
        GRADIENT_AT[source.dim](self._padded, POINT_HALO, positions, values, gradients)
        image = self._affine(points) + gradients / np.array(source.spacing)
        return np.clip(image, target.lower, target.upper)

    def _affine(self, points: Array) -> Array:
        """Gradient of the quadratic part."""
        source, target = self.problem.source.grid, self.problem.target.grid
        return np.array(target.lower) + self._frame.stretch * (points - np.array(source.lower))

    @cached_property
    def _starts(self) -> Array:
        """Source cell that maximises <x, y> - u(x) for every target cell centre, (d, *shape)."""
        return legendre(
            self.potential, self.problem.source.grid.axes, self.problem.target.grid.axes
        )[1]

    def inverse(self, points: Array) -> Array:
        """The inverse map grad u*(y) at points of the target box.

        Parameters
        ----------
        points : array_like, shape (m, d)

        Returns
        -------
        ndarray, shape (m, d)
            Points of the source box.

        Raises
        ------
        InvalidInputError
            A point lies outside the target box (the first one is named).

        Notes
        -----
        Discrete Legendre transform for the starting cell (linear time), then damped Newton on the
        interpolated potential: second order.  inverse(map(x)) = x to rounding where u is convex.
        """
        points = self.problem.target.grid.check_points(points, "points")
        return self._invert(points)[0]

    def _invert(self, points: Array) -> tuple[Array, Array]:
        """Inverse map and phi there."""
        source, target = self.problem.source.grid, self.problem.target.grid
        cells = target.cell_index(points)
        positions = self._starts[(slice(None), *cells.T)].T.astype(float)
        values = np.empty(len(points))
        slopes = (points - np.array(target.lower)) * np.array(source.spacing)
        INVERT[source.dim](
            self._padded, POINT_HALO, self._frame.metric, slopes, INVERSE_TOLERANCE, positions,
            values,
        )  # fmt: skip
        inverse = np.array(source.lower) + (positions + 0.5) * np.array(source.spacing)
        return np.clip(inverse, source.lower, source.upper), values
