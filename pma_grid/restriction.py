"""What a convex domain makes of the target of a problem: a density without a jump at its edge."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pma_grid.density import Density, FloorReport
from pma_grid.domains import ConvexDomain
from pma_grid.lattice import Array

# A cell counts as whole from this share on; below the second, its part says little.
WHOLE = 1.0 - 1e-9
LEAST_PART = 0.25


def continued(
    target: Density, domain: ConvexDomain, default_floor: float
) -> tuple[Array, FloorReport]:
    """Values of a density on its domain, continued beyond by those of the nearest whole cell.

    Parameters
    ----------
    target : Density
    domain : ConvexDomain
    default_floor : float
        Relative to the mean over the domain, for zeros in cells inside.

    Returns
    -------
    values : ndarray
        Positive on the whole grid; their integral over the domain is about one.
    report : FloorReport
        What the floor changed inside.
    """
    parts = domain.fractions(target.grid)
    known = parts >= WHOLE
    values = target.values
    if not known.any():
        # a domain of the size of a cell: averages over parts are all there is
        known = parts >= min(LEAST_PART, float(parts.max()))
        values = np.where(known, target.values / np.where(known, parts, 1.0), 0.0)
    floor = target.floor
    if floor is None:
        floor = 0.0 if values[known].min() > 0 else default_floor
    threshold = floor / (float(parts.sum()) * target.grid.cell_volume)
    low = known & (values < threshold)
    report = FloorReport(0.0, 0, 0.0)
    if low.any():
        added = float((threshold - values[low]).sum()) * target.grid.cell_volume
        report = FloorReport(floor, int(low.sum()), added / (1.0 + added))
        values = np.where(low, threshold, values)
    nearest = ndimage.distance_transform_edt(
        ~known, sampling=target.grid.spacing, return_distances=False, return_indices=True
    )
    return np.ascontiguousarray(values[tuple(nearest)]), report
