"""Parts of boxes: cut out of a grid, and what is known on a part continued to the whole.

A solver may leave away the rim of a box where there is next to no mass.  What it finds on the part
is a potential u whose gradient takes the cut source box onto the cut target box, faces to faces.
Beyond the cut it goes on as the convex function of class C1

    u(x) = u(P x) + sum_i int T_i,   T_i affine from face to face,

P x the nearest point of the cut box and T_i running, on each side of each axis, from the face of
the cut target box to that of the whole one while x_i does so in the source's.
"""

from __future__ import annotations

import numpy as np

from pma_grid.grid.axes import outer_sum
from pma_grid.grid.grid import Grid
from pma_grid.runtime import Array

# Cells of a part along each axis; starts and stops are given, steps are not.
Crop = tuple[slice, ...]


def whole(grid: Grid) -> Crop:
    """The crop that leaves nothing away."""
    return tuple(slice(0, n) for n in grid.shape)


def cut(grid: Grid, crop: Crop) -> Grid:
    """The cells of a crop as a grid; the grid itself where nothing is left away."""
    if crop == whole(grid):
        return grid
    ends = [(f[c.start], f[c.stop]) for f, c in zip(grid.faces, crop, strict=True)]
    lower, upper = zip(*ends, strict=True)
    return Grid([c.stop - c.start for c in crop], lower, upper)


def measured(grid: Grid, crop: Crop) -> Grid:
    """The cells of a crop as a grid measured from the box's lower corner; all of a grid as it is.

    What a far box adds to coordinates is left away.
    """
    return grid if crop == whole(grid) else cut(grid.at_origin, crop)


def spread(field: Array, grid: Grid, crop: Crop) -> Array:
    """A field (..., *shape of the crop) on the whole grid, beyond the crop as in the nearest cell.

    Axes before those of the grid are kept.
    """
    rims = [(c.start, n - c.stop) for c, n in zip(crop, grid.shape, strict=True)]
    kept = [(0, 0)] * (field.ndim - grid.dim)
    return np.pad(field, [*kept, *rims], mode="edge")


def reached(source: Grid, target: Grid, crops: tuple[Crop, Crop]) -> Grid:
    """The part of the target's box that a continued gradient fills: all where both boxes are cut.

    Where the source is cut on no side of an axis its face is mapped to that of the cut target.
    """
    parts = []
    for inner, n, outer, m in zip(crops[0], source.shape, crops[1], target.shape, strict=True):
        start = 0 if inner.start > 0 else outer.start
        stop = m if inner.stop < n else outer.stop
        parts.append(slice(start, stop))
    return cut(target, tuple(parts))


def extended(phi: Array, source: Grid, target: Grid, crops: tuple[Crop, Crop]) -> Array:
    """phi of the whole boxes from that of the cut ones.

    Parameters
    ----------
    phi : ndarray, shape of the source's crop
        u without the quadratic part that maps cut box to cut box, length^2, at the cell centres.
    source, target : Grid
        The whole boxes.
    crops : tuple of Crop
        Of source and target.

    Returns
    -------
    ndarray, shape ``source.shape``
        u, continued, without the quadratic part that maps the source's box to the `reached` one.
        Differences of neighbours are those of u itself: nothing changes inside, and the centred
        gradient of the outermost cells inside is the one with ghosts mirrored at the cut.
    """
    source, target = source.at_origin, target.at_origin
    image, inner = reached(source, target, crops), cut(target, crops[1])
    lines = []
    for axis, (faces, crop) in enumerate(zip(source.faces, crops[0], strict=True)):
        ends = [faces[k] for k in (0, crop.start, crop.stop, -1)]
        boxes = image.lower, inner.lower, inner.upper, image.upper
        gradient = np.interp(faces, ends, [box[axis] for box in boxes])
        stretch = image.lengths[axis] / source.lengths[axis]
        # of a quadratic function the differences of neighbours are those by the gradient between
        beyond = gradient - image.lower[axis] - stretch * (faces - source.lower[axis])
        steps = source.spacing[axis] * beyond[1:-1]
        lines.append(np.concatenate([[0.0], np.cumsum(steps)]))
    return np.asarray(spread(phi, source, crops[0]) + outer_sum(lines))


def restricted(phi: Array, source: Grid, target: Grid, crops: tuple[Crop, Crop]) -> Array:
    """phi of the cut boxes, shape of the source's crop, from that of the whole ones, length^2.

    u without the quadratic part that maps cut box to cut box, up to a constant.
    """
    source, target = source.at_origin, target.at_origin
    parts = cut(source, crops[0]), cut(target, crops[1])
    lines = []
    for axis, (x, crop) in enumerate(zip(source.axes, crops[0], strict=True)):
        z = x[crop]
        away = z - parts[0].lower[axis]
        stretches = [t.lengths[axis] / s.lengths[axis] for s, t in ((source, target), parts)]
        lines.append(
            0.5 * (stretches[0] * z * z - stretches[1] * away * away) - parts[1].lower[axis] * away
        )
    return np.asarray(phi[crops[0]] + outer_sum(lines))
