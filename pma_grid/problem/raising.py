"""Raising a density to a floor, and what that changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pma_grid.grid.grid import Grid
from pma_grid.runtime import Array


@dataclass(frozen=True)
class FloorReport:
    """What raising a density to its working floor changed.

    Attributes
    ----------
    relative : float
        The floor over the mean density; 0 if nothing was raised.
    cells : int
        How many cells were raised.
    mass_added : float
        Fraction of the mass moved: half the L1 distance between the density and its copy.
    """

    relative: float
    cells: int
    mass_added: float


def raised(values: Array, floor: float, grid: Grid) -> tuple[Array, FloorReport]:
    """A copy of mass one with no value below ``floor`` times the mean density."""
    threshold = floor / grid.volume
    cells = int(np.count_nonzero(values < threshold))
    if cells == 0:
        return values.copy(), FloorReport(0.0, 0, 0.0)
    copy = np.maximum(values, threshold)
    copy /= copy.sum() * grid.cell_volume
    moved = 0.5 * float(np.abs(copy - values).sum()) * grid.cell_volume
    return copy, FloorReport(floor, cells, moved)
