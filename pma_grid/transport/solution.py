"""`Solution`: the equation that was solved and the potential that solves it.

What a `Transport` says is read off its solution, in the direction and on the grids of the problem
as given; the solution may belong to another one.  Its sides may be exchanged, because one of the
two directions is the easier one; its grids may be finer; and its densities are *working* ones:
positive, where the given ones need not be, and cut to the parts of the boxes that hold mass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.monge_ampere import MongeAmpere, TargetRule
from pma_grid.equation.rearrangement import squared_distance_on_line
from pma_grid.grid.crops import Crop, cut, extended, measured, reached, spread
from pma_grid.grid.grid import Grid
from pma_grid.grid.splines import LogSpline
from pma_grid.problem.density import Density
from pma_grid.problem.floors import Floors, Raised
from pma_grid.problem.problem import Problem
from pma_grid.problem.stored import storable_pair, stored_pair
from pma_grid.problem.working import Softened
from pma_grid.runtime import Array, InvalidInputError, storage
from pma_grid.transport.duality import dual_value
from pma_grid.transport.potential import Potential, mccann


class Working(Protocol):
    """Positive densities that stand for those of a problem in its equation."""

    @property
    def pair(self) -> tuple[Array, Array]:
        """Cell averages of source and target on their crops over their means, positive."""

    @property
    def crop(self) -> tuple[Crop, Crop]:
        """The cells of source and target that the equation is solved on."""

    @property
    def floors(self) -> Floors:
        """What was changed in the data, by side."""

    def to_dict(self) -> dict[str, Any]:
        """``kind``, a key of `KINDS`, and the numbers that it makes these densities of again."""


# Working densities by the kind that files name, of a problem and of what `to_dict` gave.
KINDS: dict[str, Callable[[Problem, dict[str, Any]], Working]] = {
    "raised": lambda problem, meta: Raised(problem),
    "softened": lambda problem, meta: Softened.of(problem, meta["slope"], meta["floor"]),
}


@dataclass(frozen=True, eq=False)
class Solution:
    """A potential, and the discrete equation that it belongs to.

    Attributes
    ----------
    problem : Problem
        The densities, as given, on the grids of the equation, its sides exchanged if ``turned``.
    phi : ndarray, shape of the source's crop
        u without the quadratic part that maps the cut source box to the cut target box, length^2,
        of mean zero; the equation takes it in the unit of its `Frame`.
    working : Working
        The densities of the equation.
    turned : bool
        Whether the map that was asked for is the inverse of grad u.
    mass_constant : float
        alpha of the equation, dimensionless.
    averaged : bool
        Whether the equation takes the target's means over the images of cells.
    rearranged : bool
        On one axis: whether phi is the rearrangement of the densities as given.
    """

    problem: Problem
    phi: Array
    working: Working
    turned: bool = False
    mass_constant: float = 0.0
    averaged: bool = False
    rearranged: bool = False

    @classmethod
    def of(
        cls, problem: Problem, phi: Array, mass_constant: float = 0.0, averaged: bool = False
    ) -> Solution:
        """Any potential, as one of the equation of the problem with its zeros raised to floors."""
        return cls(problem, phi, Raised(problem), False, mass_constant, averaged)

    def check(self, problem: Problem) -> None:
        """Refuse problems of other boxes, and domains that the other direction would forget."""
        source, target = self.problem.source.grid, self.problem.target.grid
        if self.turned:
            source, target = target, source
            if problem.target_domain is not None:
                raise InvalidInputError(
                    "solution is turned, and problem has a target_domain; from target to source a "
                    "map starts on the whole box: solve from source to target"
                )
        problem.source.grid.check_same_box(source)
        problem.target.grid.check_same_box(target)

    @property
    def source(self) -> Density:
        """The source of the map that was asked for, as given, on the cells of the equation."""
        return self.problem.target if self.turned else self.problem.source

    @cached_property
    def grids(self) -> tuple[Grid, Grid]:
        """The grids of the equation: the crops of source and target."""
        source, target = self.problem.source.grid, self.problem.target.grid
        return cut(source, self.working.crop[0]), cut(target, self.working.crop[1])

    @cached_property
    def function(self) -> Potential:
        """u on the whole source box, continued beyond the crop; see `pma_grid.grid.crops`."""
        source, target = self.problem.source.grid, self.problem.target.grid
        if self.grids == (source, target):
            return Potential(self.phi, source, target, self.problem.target_domain)
        crops = self.working.crop
        phi = extended(self.phi, source, target, crops)
        return Potential(phi, source, reached(source, target, crops))

    @cached_property
    def equation(self) -> MongeAmpere:
        """The discrete equation that was solved."""
        rule = TargetRule.MEAN if self.averaged else TargetRule.POINT
        sides, domain = (self.problem.source, self.problem.target), self.problem.target_domain
        source, target = (
            measured(side.grid, crop) for side, crop in zip(sides, self.working.crop, strict=True)
        )
        return MongeAmpere.between(self.working.pair, (source, target), rule, domain=domain)

    @property
    def _scaled(self) -> Array:
        """phi in the unit of the equation."""
        return np.asarray(self.phi / self.equation.frame.unit)

    @cached_property
    def residual(self) -> Array:
        """log(rho_u / mu) on the source's grid; beyond the crop that of the nearest cell in it."""
        return self._spread(Evaluation(self.equation).evaluate_log(self._scaled))

    @cached_property
    def hessian(self) -> Array:
        """D2u on the source's grid, (d, d, *shape); beyond the crop that of the nearest cell."""
        evaluation, phi = Evaluation(self.equation), self._scaled
        for _ in range(1 if evaluation.images is None else 2):  # images by the superbases of u
            evaluation.evaluate(phi, self.mass_constant)
        return self._spread(evaluation.hessian())

    @cached_property
    def w2_squared(self) -> float:
        """Dual value of the potential for the densities as given, length^2.

        It is stationary in u, so that what the working densities differ by enters to second order.
        Of a rearrangement the integral of the squared distance, which needs no potential.
        """
        if self.rearranged:
            sides = self.problem.source, self.problem.target
            (a, b), (x, y) = [d.masses for d in sides], [d.grid for d in sides]
            return squared_distance_on_line(a, x, b, y)
        return dual_value(self.function, self.problem.source, self.problem.target)

    def interpolate(self, t: float, grid: Grid | None) -> Density:
        """Law of (1 - t) X + t grad u(X), X from the working source; nothing beyond the crops."""
        source, target = (
            LogSpline(np.log(values), part)
            for values, part in zip(self.working.pair, self.grids, strict=True)
        )
        return mccann(self.function, self.hessian, source, target, t, grid)

    def density(self, side: int) -> Array:
        """Of source, 0, or target, 1: the working values, beyond the crop those given.

        Cell averages over the mean of the whole box.
        """
        values, pair = (self.problem.source, self.problem.target)[side].relative, self.working.pair
        values[self.working.crop[side]] = pair[side] * (values.size / pair[side].size)
        return values

    @property
    def floors(self) -> Floors:
        """What the working densities changed, by the sides of the map that was asked for."""
        floors = self.working.floors
        if self.turned:
            return {"source": floors["target"], "target": floors["source"]}
        return floors

    def to_dict(self) -> dict[str, Any]:
        """Which equation was solved, for JSON: direction, cells of its source and target, data."""
        shapes = [list(grid.shape) for grid in self.grids]
        return {"turned": self.turned, "shapes": shapes, "working": self.working.to_dict()}

    def _spread(self, field: Array) -> Array:
        return np.asarray(spread(field, self.problem.source.grid, self.working.crop[0]), float)

    def storable(self, problem: Problem) -> storage.Stored:
        """What a file keeps beside the problem as given, for `from_stored`."""
        arrays: dict[str, NDArray[Any]] = {"phi": self.phi}
        meta = {
            "turned": self.turned, "working": self.working.to_dict(),
            "mass_constant": self.mass_constant, "averaged": self.averaged,
            "rearranged": self.rearranged,
        }  # fmt: skip
        if not _same(self.problem, _turned(problem, self.turned)):
            finer, meta["finer"] = storable_pair(self.problem)
            arrays |= {f"finer.{name}": values for name, values in finer.items()}
        return arrays, meta

    @classmethod
    def from_stored(
        cls, problem: Problem, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]
    ) -> Solution:
        """The solution of what `storable` gave of it and ``problem``."""
        solved = _turned(problem, meta["turned"])
        if "finer" in meta:
            names = ("source", "target")
            solved = stored_pair({n: arrays[f"finer.{n}"] for n in names}, meta["finer"])
        kept = meta["working"]
        working = KINDS[kept["kind"]](solved, kept)
        figures = meta["mass_constant"], meta["averaged"], meta["rearranged"]
        return cls(solved, arrays["phi"], working, meta["turned"], *figures)


def _turned(problem: Problem, turned: bool) -> Problem:
    return problem.swapped() if turned else problem


def _same(one: Problem, other: Problem) -> bool:
    """Whether the densities are the very same objects."""
    return one.source is other.source and one.target is other.target
