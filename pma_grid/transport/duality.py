"""W2^2 as Kantorovich's dual value of a potential, and the integral of a function over cells."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pma_grid.problem.density import Density
from pma_grid.runtime import Array
from pma_grid.transport.potential import Potential


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
    """Kantorovich's dual value of a potential, 2 (int min_x (|x-y|^2/2 + D) dnu - int D dmu)."""
    # D = u - |x|^2/2, written with displacements, so that nearly equal densities lose no digits
    there, whole, met = target.grid.coordinates(), None, np.full(target.shape, True)
    if potential.domain is not None:
        parts, centroids = potential.domain.parts(target.grid)
        there, whole = np.moveaxis(centroids, -1, 0), parts == 1.0
        met = target.values > 0  # elsewhere there is nothing to be found, and no mass
    y = there[:, met].T
    centres = source.grid.points
    shift = potential.phi + _shift(potential, centres).reshape(source.shape)
    x, phi = potential.inverse(y)
    lowest = 0.5 * ((x - y) ** 2).sum(axis=1) + phi + _shift(potential, x)
    # where Newton's method finds no minimum, as at a kink of u, the best cell centre is one
    starts = potential.start_cells(np.clip(y, potential.target.lower, potential.target.upper))
    nearest = np.ravel_multi_index(tuple(starts.T), source.shape)
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
    s = potential.frame.stretch
    # s (x-a)^2/2 + b x - x^2/2 = (s-1) (x-a)^2/2 + (b-a) (x-a) + (a b - a^2/2)
    shifted = x - a
    parts = 0.5 * (s - 1) * shifted**2 + (b - a) * shifted + a * (b - 0.5 * a)
    total: Array = parts.sum(axis=-1)
    return total
