"""McCann's interpolation: the law of (1 - t) X + t T(X), the geodesic of W2."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pma_grid.grid.grid import Grid
from pma_grid.grid.splines import LogSpline
from pma_grid.problem.density import Density
from pma_grid.runtime import Array, InvalidInputError, is_number
from pma_grid.transport.potential import Potential

# Cells by which a point may be missed that still counts as an image.
IMAGE_MISS_CELLS = 0.05


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
    x, _ = moving.inverse(np.clip(z, moving.target.lower, moving.target.upper))
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
