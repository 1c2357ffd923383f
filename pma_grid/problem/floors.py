"""Densities whose logarithms exist: zeros raised to floors, targets continued beyond a domain."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from pma_grid.grid.crops import Crop, whole
from pma_grid.problem.density import Density
from pma_grid.problem.domains import ConvexDomain
from pma_grid.problem.problem import Problem
from pma_grid.problem.raising import FloorReport, raised
from pma_grid.runtime import Array, Mask

# Working floors, relative to the mean density, for data with exact zeros.
WORKING_FLOORS = {"source": 1e-6, "target": 1e-3}
# A cell counts as whole from this share on; below the second, its part says little.
WHOLE_SHARE = 1.0 - 1e-9
LEAST_KNOWN_SHARE = 0.25
# Layers of cells that are continued linearly: those that the edge cuts, and a cell of the spline.
LINEAR_LAYERS = 3
# Largest change of log nu from cell to cell that is continued; beyond that its value is.
STEEPEST_LOG_CHANGE = 0.25
# `FloorReport`s by side, as reports and files hold them.
Floors = dict[str, dict[str, float]]


@dataclass(frozen=True, eq=False)
class Raised:
    """Positive densities of a problem: those given, raised to floors; what an equation is made of.

    Attributes
    ----------
    problem : Problem
    crop : tuple of Crop
        All of the boxes.
    """

    problem: Problem

    @property
    def crop(self) -> tuple[Crop, Crop]:
        return whole(self.problem.source.grid), whole(self.problem.target.grid)

    @cached_property
    def pair(self) -> tuple[Array, Array]:
        """Cell averages of source and target over their means, positive."""
        return self._made[:2]

    @property
    def floors(self) -> Floors:
        """What the floors changed, by side."""
        return self._made[2]

    @cached_property
    def _made(self) -> tuple[Array, Array, Floors]:
        return positive(self.problem)

    def to_dict(self) -> dict[str, Any]:
        """What these densities are made of again, beside the problem: numbers, for JSON."""
        return {"kind": "raised"}


def positive(problem: Problem) -> tuple[Array, Array, Floors]:
    """Working copies of source and target, zeros raised to the working floors, and what changed.

    Cell averages over their mean, dimensionless: see `Density.working`.
    """
    return _raised(problem, lambda density, side: density.working(WORKING_FLOORS[side]))


def floored(problem: Problem) -> tuple[Array, Array, Floors]:
    """Source and target with the floors that were asked for alone: zeros stay, but in a domain.

    Cell averages over their mean, dimensionless.
    """
    return _raised(problem, lambda density, _: raised(density.relative, density.floor or 0.0))


def _raised(
    problem: Problem, raise_: Callable[[Density, str], tuple[Array, FloorReport]]
) -> tuple[Array, Array, Floors]:
    """Source and target made by a function of either; targets in a domain are continued."""
    source, source_report = raise_(problem.source, "source")
    if problem.target_domain is None:
        target, target_report = raise_(problem.target, "target")
    else:
        target, target_report = continued(
            problem.target, problem.target_domain, WORKING_FLOORS["target"]
        )
    return source, target, {"source": asdict(source_report), "target": asdict(target_report)}


def continued(
    target: Density, domain: ConvexDomain, default_floor: float
) -> tuple[Array, FloorReport]:
    """Relative values of a density on its domain, continued beyond from the cells that lie inside.

    Their logarithm goes on linearly for some layers of cells, then by the nearest value: they are
    positive on the whole grid, and their mass in the domain is about that of the density.  Zeros
    inside are raised to a floor relative to the mean over the domain, as the report says.
    """
    parts = domain.fractions(target.grid)
    known: Mask = parts >= WHOLE_SHARE
    values = target.relative
    if not known.any():
        # a domain of the size of a cell: averages over parts are all there is
        known = parts >= min(LEAST_KNOWN_SHARE, float(parts.max()))
        values = np.where(known, values / np.where(known, parts, 1.0), 0.0)
    floor = target.floor
    if floor is None:
        floor = 0.0 if values[known].min() > 0 else default_floor
    threshold = floor * values.size / float(parts.sum())
    low = known & (values < threshold)
    report = FloorReport(0.0, 0, 0.0)
    if low.any():
        added = float((threshold - values[low]).sum()) / values.size
        report = FloorReport(floor, int(low.sum()), added / (1.0 + added))
        values = np.where(low, threshold, values)
    logarithms = np.log(np.where(known, values, 1.0))
    for _ in range(LINEAR_LAYERS):
        logarithms, known = _one_layer(logarithms, known)
    nearest = ndimage.distance_transform_edt(
        ~known, sampling=target.grid.spacing, return_distances=False, return_indices=True
    )
    return np.exp(logarithms[tuple(nearest)]), report


def _one_layer(logarithms: Array, known: Mask) -> tuple[Array, Mask]:
    """Continue along straight lines by one cell: the mean over all lines of two known cells."""
    dim = known.ndim
    rim = ndimage.binary_dilation(known, np.ones((3,) * dim)) & ~known
    cells = np.argwhere(rim)
    total, count = np.zeros(len(cells)), np.zeros(len(cells))
    for step in itertools.product((-1, 0, 1), repeat=dim):
        first, second = cells + step, cells + 2 * np.array(step)
        usable = ((second >= 0) & (second < known.shape)).all(axis=1)
        a, b = tuple(first[usable].T), tuple(second[usable].T)
        change = logarithms[a] - logarithms[b]
        # rough data: a slope of noise leads nowhere
        change[np.abs(change) > STEEPEST_LOG_CHANGE] = 0.0
        both = known[a] & known[b]
        total[usable] += np.where(both, logarithms[a] + change, 0.0)
        count[usable] += both
    found = tuple(cells[count > 0].T)
    logarithms, known = logarithms.copy(), known.copy()
    logarithms[found] = total[count > 0] / count[count > 0]
    known[found] = True
    return logarithms, known
