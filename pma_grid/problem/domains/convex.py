"""What the solver asks of a convex set: support function, outline, parts of cells inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pma_grid.grid.averaging import evaluated, gauss_points
from pma_grid.grid.grid import Grid
from pma_grid.runtime import Array, InvalidInputError

# Points this share of the set's width outside count as inside: rounding of the caller.
INSIDE_WIDTHS = 1e-12


class ConvexDomain(ABC):
    """A bounded convex set with an interior, in ``dim`` dimensions; `Problem` takes any of these.

    Made as `Polygon`, `Ellipse` or `ConvexSet`.
    """

    dim: int

    @abstractmethod
    def support(self, directions: ArrayLike) -> Array:
        """h(d) = max over the set of <d, y>.

        Parameters
        ----------
        directions : array_like, shape (m, d)
            Of any length: h is homogeneous of degree 1.

        Returns
        -------
        ndarray, shape (m,)
        """

    @property
    @abstractmethod
    def outline(self) -> Array:
        """Vertices: (m, 2) counterclockwise in two dimensions, both ends (2, 1) in one."""

    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper corner of the smallest box around the set, each of shape (d,)."""
        axes = np.eye(self.dim)
        return -self.support(-axes), self.support(axes)

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which of the points (m, d) lie in the set, up to rounding; shape (m,)."""
        p = checked_points(points, self.dim, "points")
        lower, upper = self.bounds()
        slack = INSIDE_WIDTHS * float(np.max(upper - lower))
        if self.dim == 1:
            return np.asarray(((p >= lower - slack) & (p <= upper + slack)).all(axis=1))
        out = np.empty(len(p), np.bool_)
        _kernels().inside(p, *self._seen, slack, out)
        return out

    def nearest(self, points: ArrayLike) -> Array:
        """The points of the set nearest to ``points`` (m, d)."""
        p = checked_points(points, self.dim, "points")
        if self.dim == 1:
            clipped: Array = np.clip(p, *self.bounds())
            return clipped
        out = np.empty_like(p)
        _kernels().nearest(p, *self._seen, out)
        return out

    def fractions(self, grid: Grid) -> Array:
        """Share of every cell of a grid that lies in the set, in [0, 1].

        The uniform density on the set is ``Density(domain.fractions(grid), grid)``.
        """
        return self.parts(grid)[0]

    def centroids(self, grid: Grid) -> Array:
        """Centroids of the parts of the cells inside, (*shape, d); cell centres where none is."""
        return self.parts(grid)[1]

    def averages(self, function: Callable[..., Any], grid: Grid, *, quadrature: int = 2) -> Array:
        """Cell averages of a density that is ``function`` on the set and zero outside.

        Parameters
        ----------
        function : callable
            ``function(*coordinates)`` with d arrays; evaluated inside the set only.
        grid : Grid
        quadrature : int
            Gauss points along each axis of whole cells; cells that the boundary cuts take the value
            at the centroid of their part inside, which is second order.

        Returns
        -------
        ndarray, shape ``grid.shape``
            For ``Density(values, grid)``.
        """
        fractions, centroids = self.parts(grid)
        flat = self.nearest(centroids.reshape(-1, self.dim))
        values = evaluated(function, [*flat.T]).reshape(grid.shape).copy()
        whole = fractions == 1.0
        mean = np.zeros(int(whole.sum()))
        for weight, offset in gauss_points(quadrature, self.dim):
            moved = centroids[whole] + offset * np.array(grid.spacing)
            mean += weight * evaluated(function, [*moved.T])
        values[whole] = mean
        return np.asarray(values * fractions)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON; `stored_domain` reads them back, support functions as outlines."""
        return {"kind": "polygon", "vertices": self.outline.tolist()}

    @cached_property
    def _seen(self) -> tuple[Array, Array, Array]:
        """Outline, a point inside, and the angles under which its vertices are seen from there."""
        vertices = self.outline
        centre = vertices.mean(axis=0)
        angles = np.arctan2(*(vertices - centre).T[::-1])
        start = int(np.argmin(angles))
        return np.roll(vertices, -start, axis=0), centre, np.roll(angles, -start)

    def parts(self, grid: Grid) -> tuple[Array, Array]:
        """`fractions` and `centroids` at once."""
        if grid.dim != self.dim:
            raise InvalidInputError(
                f"grid has {grid.dim} axes and the domain {self.dim}; they must agree: "
                "choose a grid of the dimension of the domain"
            )
        fractions, centroids = np.zeros(grid.shape), np.moveaxis(grid.coordinates(), 0, -1).copy()
        if self.dim == 1:
            ends, faces = self.bounds(), grid.faces[0]
            low, high = np.maximum(faces[:-1], ends[0]), np.minimum(faces[1:], ends[1])
            part = high > low
            fractions[part] = np.minimum(1.0, (high - low)[part] / grid.spacing[0])
            fractions[(low == faces[:-1]) & (high == faces[1:])] = 1.0
            centroids[part, 0] = 0.5 * (low + high)[part]
        else:
            _kernels().cut_cells(
                np.array(grid.lower), np.array(grid.spacing), self.outline, fractions, centroids
            )
        return fractions, centroids


def _kernels() -> Any:
    """The compiled kernels, loaded on first use: a `Problem` needs no compiler."""
    from pma_grid.kernels.grid import polygons

    return polygons


def checked_points(points: ArrayLike, dim: int, name: str) -> Array:
    """Finite points (m, d) in C order."""
    try:
        array = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != dim or not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name} must be finite numbers of shape (m, {dim}), one row for each point; got "
            f"shape {np.shape(points)}: check the array for NaN and its number of columns"
        )
    return np.ascontiguousarray(array)


def described(domain: ConvexDomain) -> str:
    """Bounds in a few characters."""
    return " x ".join(f"[{low:g}, {high:g}]" for low, high in zip(*domain.bounds(), strict=True))
