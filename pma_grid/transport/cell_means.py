"""Means of a map over the source's cells: where images are long, T at the centre says little.

Of a solution in its own direction the mean is the barycentre of the target over the image of the
cell; of one from target to source, the mean of the inverse map over points of the cell.
"""

from __future__ import annotations

import numpy as np

from pma_grid.grid.averaging import gauss_points
from pma_grid.grid.splines import SPLINE_HALO, LogSpline, histospline, log_centre_values
from pma_grid.kernels.equation import BARYCENTRE
from pma_grid.kernels.records import Spline
from pma_grid.runtime import Array
from pma_grid.transport.solution import Solution

# Gauss points an axis in a cell, by dimension, at which an inverse map is averaged.
POINTS_AN_AXIS = {1: 8, 2: 4, 3: 2}


def image_barycentres(solution: Solution) -> Array:
    """Means of grad u over the source's cells, (d, *shape), by `barycentres`.

    Beyond the crop, where next to no mass is and the map is nearly affine, grad u at the centre.
    """
    (source, target), dim = solution.grids, solution.problem.dim
    means = solution.function.centred_gradient()
    inside = (slice(None), *solution.working.crop[0])
    lower, spacing = np.array(target.lower), np.array(target.spacing)
    centres = (means[inside].reshape(dim, -1).T - lower) / spacing - 0.5
    matrices = np.moveaxis(solution.hessian[(slice(None), *inside)], (0, 1), (-2, -1))
    sides = matrices.reshape(-1, dim, dim) * np.array(source.spacing) / spacing[:, None]
    densities = np.pad(histospline(solution.working.pair[1]), SPLINE_HALO, mode="symmetric")
    out = np.empty_like(centres)
    BARYCENTRE[dim](Spline(densities, SPLINE_HALO), centres, np.ascontiguousarray(sides), out)
    means[inside] = (lower + (out + 0.5) * spacing).T.reshape(means[inside].shape)
    return means


def inverse_means(solution: Solution) -> Array:
    """Means of the inverse of grad u over the cells of the solution's target, (d, *shape).

    Gauss points of a cell count by the density there.
    """
    grid, part = solution.problem.target.grid, solution.grids[1]
    log_density = LogSpline(log_centre_values(solution.working.pair[1]), part)
    points, spacing = grid.points, np.array(grid.spacing)
    centre = _within(log_density, points)
    total, weights = np.zeros(points.shape), np.zeros(len(points))
    for weight, offset in gauss_points(POINTS_AN_AXIS[grid.dim], grid.dim):
        x = points + offset * spacing
        # over the centre's, so that nothing overflows; a cell never varies by so much
        share = weight * np.exp(np.clip(_within(log_density, x) - centre, -300.0, 300.0))
        total += share[:, None] * solution.function.inverse(x)[0]
        weights += share
    return np.asarray((total / weights[:, None]).T.reshape(grid.dim, *grid.shape))


def _within(log_density: LogSpline, points: Array) -> Array:
    """log of a density, beyond its box as at the nearest point."""
    box = log_density.grid
    return log_density(np.clip(points, box.lower, box.upper))
