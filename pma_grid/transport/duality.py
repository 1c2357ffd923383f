"""W2^2 as Kantorovich's dual value of a potential, and the integral of a function over cells."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pma_grid.problem.density import Density
from pma_grid.runtime import Array
from pma_grid.transport.potential import Potential


def cell_integral(
    function: Array, masses: Array, whole: Array | None = None, bends: Array | None = None
) -> float:
    """int f dm from centre values of f and cell masses, fourth order for smooth densities.

    A cell contributes m f + (h^2/24) m f'' + (h^2/12) m' f' an axis: the mean of a quadratic, and
    the slope of the density within the cell.  ``whole``: cells that a domain does not cut; other
    cells, whose ``function`` is that at the centroid of their part, and their neighbours
    contribute m f alone, which is second order.  ``bends``: h^2 f'' along every axis, taken on
    axes of one cell, where no differences tell it.
    """
    total = float((masses * function).sum())
    kept = None
    if whole is not None:
        kept = ndimage.minimum_filter(whole.astype(float), size=3, mode="nearest")
    for axis in range(function.ndim):
        if function.shape[axis] == 1 and bends is not None and whole is None:
            total += float(bends[axis] * masses.sum()) / 24
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
    # D = u - |x|^2/2, written with displacements, so that nearly equal densities lose no digits,
    # and everything measured from the lower corners of the boxes, so that distant ones do not
    there, whole, met = target.grid.at_origin.coordinates(), None, np.full(target.shape, True)
    if potential.domain is not None:
        parts, centroids = potential.domain.parts(target.grid)
        there = np.moveaxis(centroids - np.array(target.grid.lower), -1, 0)
        whole = parts == 1.0
        met = target.masses > 0  # elsewhere there is nothing to be found, and no mass
    # the gradient may fill a part of the target's box alone, from whose corner it is measured
    offset = np.array(target.grid.lower) - np.array(potential.target.lower)
    there = there + offset.reshape((-1,) + (1,) * target.dim)
    centres, shift = source.grid.at_origin.points, potential.frame.shift
    beyond = potential.phi + _quadratic_beyond(potential, centres).reshape(source.shape)
    w = there[:, met].T
    z, phi = potential.inverse_from(w)
    lowest = 0.5 * ((z - (w + shift)) ** 2).sum(axis=1) + phi + _quadratic_beyond(potential, z)
    # where Newton's method finds no minimum, as at a kink of u, the best cell centre is one
    nearest = np.ravel_multi_index(tuple(potential.start_cells(w).T), source.shape)
    at_centres = 0.5 * ((centres[nearest] - (w + shift)) ** 2).sum(axis=1)
    values = np.zeros(target.shape)
    values[met] = np.minimum(lowest, at_centres + beyond.ravel()[nearest])
    # along an axis of one cell on both sides u bends by the stretch, u* by its inverse
    stretch = potential.frame.stretch
    bends = (stretch - 1) * np.square(source.grid.spacing)
    bends_there = (1 - 1 / stretch) * np.square(target.grid.spacing)
    value = cell_integral(values, target.masses, whole, bends_there)
    value -= cell_integral(beyond, source.masses, bends=bends)
    # no coupling does better than to move the means, whatever the potential; the means are those of
    # the same quadrature, or a shift of the box would not shift the value
    points = source.grid.at_origin.coordinates()
    shifts = [
        step + cell_integral(image, target.masses, whole) - cell_integral(point, source.masses)
        for step, image, point in zip(shift, there, points, strict=True)
    ]
    return max(float(np.square(shifts).sum()), 2 * value)


def _quadratic_beyond(potential: Potential, z: Array) -> Array:
    """The quadratic part of u minus |x|^2 / 2, without cancellation where the boxes agree.

    At points measured from the lower corner a of the source's box, and without a constant:
    (s - 1) z^2 / 2 + (b - a) z.
    """
    frame = potential.frame
    return np.asarray((0.5 * (frame.stretch - 1) * z**2 + frame.shift * z).sum(axis=-1))
