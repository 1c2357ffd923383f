"""Raising a density to a floor, and what that changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


def raised(values: Array, floor: float) -> tuple[Array, FloorReport]:
    """A copy of mean one with no value below ``floor``, of cell averages over their mean."""
    cells = int(np.count_nonzero(values < floor))
    if cells == 0:
        return values.copy(), FloorReport(0.0, 0, 0.0)
    copy = np.maximum(values, floor)
    copy /= copy.sum() / copy.size
    moved = 0.5 * float(np.abs(copy - values).sum()) / copy.size
    return copy, FloorReport(floor, cells, moved)
