"""Means of a map over the source's cells: where images are long, T at the centre says little.

The discrete equation balances the mass of every cell with that of its image, a parallelepiped.  Of
a solution in its own direction the mean over a cell is the barycentre of the target over its image;
of one from target to source, the barycentre of what arrives in the cell.
"""

from __future__ import annotations

import numpy as np

from pma_grid.grid.lattice import Lattice
from pma_grid.grid.splines import SPLINE_HALO, histospline
from pma_grid.kernels.equation import BARYCENTRE
from pma_grid.kernels.equation.arrivals import arrivals
from pma_grid.kernels.records import Spline
from pma_grid.runtime import Array
from pma_grid.transport.solution import Solution

# Fewest boxes along each side of an image, and most, by dimension.
BOXES_A_SIDE = {1: (8, 4096), 2: (3, 256), 3: (2, 32)}
# Largest slope of a density within a cell, over its value there, that is believed: at 2 it is 0 at
# a face.
STEEPEST_IN_CELL = 1.8
# Share of a cell's mass from which what arrives there tells a mean.
LEAST_ARRIVAL_SHARE = 0.1


def image_barycentres(solution: Solution) -> Array:
    """Means of grad u over the source's cells, (d, *shape).

    Beyond the crop, where next to no mass is and the map is nearly affine, grad u at the centre.
    """
    target, dim = solution.grids[1], solution.problem.dim
    means = solution.function.centred_gradient()
    inside = (slice(None), *solution.working.crop[0])
    densities = np.pad(histospline(solution.working.pair[1]), SPLINE_HALO, mode="symmetric")
    centres, sides = _images(solution)
    out = np.empty_like(centres)
    BARYCENTRE[dim](Spline(densities, SPLINE_HALO), centres, sides, out)
    found = np.array(target.lower) + (out + 0.5) * np.array(target.spacing)
    means[inside] = found.T.reshape(means[inside].shape)
    return means


def arrival_barycentres(solution: Solution) -> Array:
    """Means of the inverse of grad u over the target's cells, (d, *shape).

    Where next to nothing arrives, as beyond the crop, the inverse at the centre.
    """
    (source, target), whole = solution.grids, solution.problem.target.grid
    inside, dim = solution.working.crop[1], whole.dim
    given, wanted = (values / values.size for values in solution.working.pair)  # masses
    lattice = Lattice(target.shape, SPLINE_HALO)
    densities = lattice.zeros()
    lattice.fill(histospline(solution.working.pair[1]), densities)
    masses, moments = np.zeros(target.size), np.zeros((dim, target.size))
    arrivals(
        Spline(densities, SPLINE_HALO), lattice.strides, lattice.shape_array,
        (np.array(source.shape), given.ravel(), _slopes(given)), _images(solution),
        BOXES_A_SIDE[dim], masses, moments,
    )  # fmt: skip
    told = np.zeros(whole.shape, bool)
    told[inside] = (masses > LEAST_ARRIVAL_SHARE * wanted.ravel()).reshape(target.shape)
    means = np.empty((dim, *whole.shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        places = (moments / masses).reshape(dim, *target.shape)
    for axis in range(dim):
        means[axis][inside] = source.lower[axis] + (places[axis] + 0.5) * source.spacing[axis]
    others = whole.points[~told.ravel()]
    if len(others):
        means[:, ~told] = solution.function.inverse(others).T
    return means


def _images(solution: Solution) -> tuple[Array, Array]:
    """g (N, d) and A (N, d, d) of the images g + A [-1/2, 1/2]^d, in target cells."""
    (source, target), dim = solution.grids, solution.problem.dim
    inside = (slice(None), *solution.working.crop[0])
    gradient = solution.function.centred_gradient()[inside].reshape(dim, -1).T
    spacing = np.array(target.spacing)
    centres = (gradient - np.array(target.lower)) / spacing - 0.5
    hessian = solution.hessian[(slice(None), *inside)]
    matrices = np.moveaxis(hessian, (0, 1), (-2, -1)).reshape(-1, dim, dim)
    sides = matrices * np.array(source.spacing) / spacing[:, None]
    return np.ascontiguousarray(centres), np.ascontiguousarray(sides)


def _slopes(values: Array) -> Array:
    """Slopes by cells of a density over its values, (N, d), by its neighbours."""
    padded = np.pad(values, 1, mode="edge")
    slopes = []
    for axis in range(values.ndim):
        window = [slice(1, -1)] * values.ndim
        ends = []
        for part in (slice(2, None), slice(None, -2)):
            window[axis] = part
            ends.append(padded[tuple(window)])
        slopes.append(0.5 * (ends[0] - ends[1]) / values)
    limited = np.clip(np.stack(slopes, axis=-1), -STEEPEST_IN_CELL, STEEPEST_IN_CELL)
    return np.ascontiguousarray(limited.reshape(-1, values.ndim))
