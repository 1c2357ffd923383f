"""What a solution says of the problem as given: as it stands, or through the inverse map.

If v solves the equation from target to source, the map asked for is the inverse of grad v, and

    u(x) = <x, y> - v(y),   D2u(x) = D2v(y)^-1,   h_u(x) = -h_v(y),   at the y with grad v(y) = x,

h being log(rho / mu).  W2 is the same for both directions.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
from scipy import ndimage

from pma_grid.equation.rearrangement import Quantiles, masses_up_to, means_on_line
from pma_grid.grid.averaging import averaged
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.frame import Frame, mean_free
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array
from pma_grid.transport.cell_means import arrival_barycentres, image_barycentres
from pma_grid.transport.potential import interpolated_grid
from pma_grid.transport.solution import Solution

# Share of the largest density with which empty cells count in means over larger cells: where all
# are empty, the plain mean.
LEAST_DENSITY_SHARE = 1e-100


class Reading(Protocol):
    """The answer to a problem; fields are given at the centres of its source's cells."""

    @property
    def phi(self) -> Array:
        """u without the quadratic part that maps box to box, length^2, mean zero."""

    @property
    def centred_gradient(self) -> Array:
        """grad u, (d, *shape), length."""

    @property
    def residual(self) -> Array:
        """log(rho_u / mu), dimensionless."""

    @property
    def hessian(self) -> Array:
        """D2u, (d, d, *shape), dimensionless."""

    @property
    def source_density(self) -> Array:
        """mu of the equation that was solved, cell averages over their mean."""

    @property
    def cell_means(self) -> Array:
        """Means of grad u over the cells under mu, (d, *shape), length."""

    def gradient(self, x: Array) -> Array:
        """grad u at points (m, d) of the source box."""

    def inverse(self, y: Array) -> Array:
        """The x with grad u(x) = y, of points (m, d) of the target box."""

    def interpolate(self, t: float, grid: Grid | None) -> Density:
        """Law of (1 - t) X + t T(X)."""


def reading(problem: Problem, solution: Solution) -> Reading:
    """What a solution says of a problem, its own or the one that it was made for."""
    if solution.rearranged and not solution.turned:
        return Rearranged(problem, solution)
    return (Turned if solution.turned else Direct)(problem, solution)


class Direct:
    """A solution of the problem itself, perhaps on finer grids."""

    def __init__(self, problem: Problem, solution: Solution) -> None:
        self.problem, self.solution = problem, solution
        self.function = solution.function
        # the fields are there already
        self._own = problem.source.grid == solution.problem.source.grid

    @cached_property
    def phi(self) -> Array:
        grid, function = self.problem.source.grid, self.function
        frame, z = Frame(grid, self.problem.target.grid), grid.at_origin.points
        if self._own and function.target == self.problem.target.grid:
            return mean_free(function.phi)
        # the gradient may fill a part of the target's box alone
        shift = np.array(function.target.lower) - np.array(self.problem.target.grid.lower)
        return mean_free((function.bend(z) - frame.bend(z) + z @ shift).reshape(grid.shape))

    @cached_property
    def centred_gradient(self) -> Array:
        if self._own:
            return self.function.centred_gradient()
        grid = self.problem.source.grid
        return _field(self.gradient(grid.points), grid)

    @cached_property
    def residual(self) -> Array:
        return self._at_centres(self.solution.residual)

    @cached_property
    def hessian(self) -> Array:
        return self._at_centres(self.solution.hessian)

    def _at_centres(self, field: Array) -> Array:
        if self._own:
            return field
        grid = self.problem.source.grid
        return linear(field, self.solution.problem.source.grid, grid.points, grid.shape)

    @property
    def source_density(self) -> Array:
        return averaged(self.solution.density(0), self.problem.source.shape)

    @property
    def cell_means(self) -> Array:
        return _means(image_barycentres(self.solution), self.solution.density(0), self.problem)

    def gradient(self, x: Array) -> Array:
        return self.function.gradient(x)

    def inverse(self, y: Array) -> Array:
        return self.function.inverse(y)

    def interpolate(self, t: float, grid: Grid | None) -> Density:
        between = _between(self.problem, t)
        return self.solution.interpolate(t, between if grid is None else grid)


class Rearranged(Direct):
    """The monotone rearrangement on one axis: quantile functions, without an error of their own."""

    @cached_property
    def _laws(self) -> tuple[Quantiles, Quantiles]:
        solved = self.solution.problem
        laws = (Quantiles.of(d.masses, exact=True) for d in (solved.source, solved.target))
        return next(laws), next(laws)

    @cached_property
    def centred_gradient(self) -> Array:
        grid = self.problem.source.grid
        return _field(self.gradient(grid.points), grid)

    @cached_property
    def residual(self) -> Array:
        return np.zeros(self.problem.source.shape)

    @cached_property
    def hessian(self) -> Array:
        """T' = mu(x) / nu(T(x))."""
        here, there = (d.grid for d in (self.solution.problem.source, self.solution.problem.target))
        x, y = self.problem.source.grid.points[:, 0], self.centred_gradient[0]
        densities = (
            law.density((z - grid.lower[0]) / grid.spacing[0]) / grid.spacing[0]
            for law, grid, z in zip(self._laws, (here, there), (x, y), strict=True)
        )
        return np.asarray(next(densities) / next(densities))[None, None]

    def interpolate(self, t: float, grid: Grid | None) -> Density:
        onto, solved = _between(self.problem, t) if grid is None else grid, self.solution.problem
        grids = solved.source.grid, solved.target.grid
        return Density(np.diff(masses_up_to(self._laws, grids, t, onto.faces[0])), onto)

    @property
    def cell_means(self) -> Array:
        solved, there = self.solution.problem, self.solution.problem.target.grid
        means = there.lower[0] + there.spacing[0] * means_on_line(*self._laws)
        empty = ~np.isfinite(means)
        means[empty] = self.gradient(solved.source.grid.points[empty])[:, 0]
        return _means(means[None], solved.source.masses, self.problem)

    def gradient(self, x: Array) -> Array:
        source, target = self._laws
        solved = self.solution.problem
        return _along(x, source, solved.source.grid, target, solved.target.grid)

    def inverse(self, y: Array) -> Array:
        source, target = self._laws
        solved = self.solution.problem
        return _along(y, target, solved.target.grid, source, solved.source.grid)


def _along(points: Array, law: Quantiles, grid: Grid, image: Quantiles, there: Grid) -> Array:
    """The points of another law, (m, 1), with as much mass to their left."""
    masses = law.mass((points[:, 0] - grid.lower[0]) / grid.spacing[0])
    moved = there.lower[0] + there.spacing[0] * image.position(masses)
    return np.asarray(np.clip(moved, there.lower[0], there.upper[0])[:, None])


class Turned:
    """A solution of the problem with its sides exchanged."""

    def __init__(self, problem: Problem, solution: Solution) -> None:
        self.problem, self.solution = problem, solution
        self.function = solution.function

    @cached_property
    def _images(self) -> Array:
        """y of the source's cell centres, (N, d)."""
        return self.gradient(self.problem.source.grid.points)

    @cached_property
    def phi(self) -> Array:
        grid, function = self.problem.source.grid, self.function
        # from the corners of the boxes, of which grad v may fill a part alone
        z, shift = grid.at_origin.points, np.array(grid.lower) - np.array(function.target.lower)
        w = function.inverse_from(z + shift)[0]
        frame = Frame(grid, self.problem.target.grid)
        values = (w * (z + shift)).sum(axis=1) - function.bend(w) - frame.bend(z)
        return mean_free(values.reshape(grid.shape))

    @cached_property
    def centred_gradient(self) -> Array:
        return _field(self._images, self.problem.source.grid)

    @cached_property
    def residual(self) -> Array:
        return -self._at_images(self.solution.residual)

    @cached_property
    def hessian(self) -> Array:
        matrices = np.moveaxis(self._at_images(self.solution.hessian), (0, 1), (-2, -1))
        return np.ascontiguousarray(np.moveaxis(np.linalg.inv(matrices), (-2, -1), (0, 1)))

    def _at_images(self, field: Array) -> Array:
        shape = self.problem.source.shape
        return linear(field, self.solution.problem.source.grid, self._images, shape)

    @property
    def source_density(self) -> Array:
        return averaged(self.solution.density(1), self.problem.source.shape)

    @property
    def cell_means(self) -> Array:
        return _means(arrival_barycentres(self.solution), self.solution.density(1), self.problem)

    def gradient(self, x: Array) -> Array:
        return self.function.inverse(x)

    def inverse(self, y: Array) -> Array:
        return self.function.gradient(y)

    def interpolate(self, t: float, grid: Grid | None) -> Density:
        between = _between(self.problem, t)
        return self.solution.interpolate(1.0 - t, between if grid is None else grid)


def linear(field: Array, grid: Grid, points: Array, shape: tuple[int, ...]) -> Array:
    """A field (..., *shape of the grid) at points (m, d), by lines between the cell centres.

    Beyond the outermost centres it stays as it is there.  ``shape``: how the points are arranged.
    """
    places = ((points - np.array(grid.lower)) / np.array(grid.spacing) - 0.5).T
    before = field.shape[: field.ndim - grid.dim]
    parts = field.reshape(-1, *grid.shape)
    values = [ndimage.map_coordinates(p, places, order=1, mode="nearest") for p in parts]
    return np.stack(values).reshape(*before, *shape)


def _means(means: Array, density: Array, problem: Problem) -> Array:
    """Means (d, *shape) over cells, and by mass over larger ones of fewer."""
    shape = problem.source.shape
    if means.shape[1:] == shape:
        return means
    masses = np.maximum(density, LEAST_DENSITY_SHARE * density.max())
    whole = averaged(masses, shape)
    return np.stack([averaged(masses * part, shape) / whole for part in means])


def _field(points: Array, grid: Grid) -> Array:
    """Points (N, d), one a cell, as a field (d, *shape)."""
    return np.ascontiguousarray(points.T).reshape(grid.dim, *grid.shape)


def _between(problem: Problem, t: float) -> Grid:
    """Where `Transport.interpolate` gives a law by default."""
    return interpolated_grid(problem.source.grid, problem.target.grid, t)
