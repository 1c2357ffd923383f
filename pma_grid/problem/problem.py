"""The validated pair of densities between which mass is transported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.problem.density import Density, as_density
from pma_grid.problem.domains import ConvexDomain
from pma_grid.runtime import InvalidInputError

# Share of the target's mass that may lie outside its domain: rounding, no data.
LARGEST_MASS_OUTSIDE = 1e-9
# Shares of a side by which outlines of smooth sets may reach beyond the box: their precision.
BEYOND_BOX_SIDES = 1e-6


@dataclass(frozen=True, init=False, eq=False)
class Problem:
    """The problem of moving the mass of ``source`` to ``target`` at the cost |x - y|^2.

    Parameters
    ----------
    source, target : Density or array_like
        The density that mass is moved from, and the one that it is moved to.  Plain arrays live on
        the unit box.  The grids may differ in shape and in box; the number of axes must agree.
    target_domain : Polygon, Ellipse or ConvexSet, optional
        A convex set in the target's box that holds all of the target's mass, and that the map is to
        fill.  The default is the whole box.  For one and two dimensions.

    Attributes
    ----------
    source, target : Density
    target_domain : ConvexDomain or None

    Raises
    ------
    InvalidDensityError
        An array is not a density; the message says which of the two.
    InvalidInputError
        The numbers of axes differ; or ``target_domain`` is no domain or reaches beyond the box; or
        mass of the target lies in cells that do not meet it.

    Notes
    -----
    With a domain, the equation uses the target's values in the cells that lie inside it, and
    continues them into the cells that its boundary cuts, so that zeros outside are no jump of the
    density.  W2 is computed with the values as given: let those of cut cells be averages over the
    whole cell, as `Polygon.averages` makes them.

    Examples
    --------
    >>> problem = Problem([1.0, 2.0, 1.0], [1.0, 1.0])
    >>> problem
    Problem(source=3 on [0, 1], target=2 on [0, 1])
    >>> problem.swapped().source.shape
    (2,)
    """

    source: Density
    target: Density
    target_domain: ConvexDomain | None

    def __init__(
        self,
        source: Density | ArrayLike,
        target: Density | ArrayLike,
        *,
        target_domain: ConvexDomain | None = None,
    ) -> None:
        pair = as_density(source, "source"), as_density(target, "target")
        if pair[0].dim != pair[1].dim:
            raise InvalidInputError(
                f"source has {pair[0].dim} axes and target {pair[1].dim}; they must agree: give "
                "the smaller one an axis of one cell, for example values[:, None]"
            )
        if target_domain is not None:
            _check_domain(target_domain, pair[1])
        object.__setattr__(self, "source", pair[0])
        object.__setattr__(self, "target", pair[1])
        object.__setattr__(self, "target_domain", target_domain)

    @property
    def dim(self) -> int:
        """Number of axes, 1 to 3."""
        return self.source.dim

    def swapped(self) -> Problem:
        """The problem with the roles exchanged; its map is the inverse of this one's.

        A target domain is dropped: the image of the inverse is the whole box of the source.
        """
        return Problem(self.target, self.source)

    def __repr__(self) -> str:
        """Shapes and boxes."""
        domain = "" if self.target_domain is None else f", target_domain={self.target_domain!r}"
        return f"Problem(source={self.source.describe()}, target={self.target.describe()}{domain})"


def check_problem(problem: Any) -> None:
    """Refuse what is no pair of densities."""
    if not isinstance(problem, Problem):
        raise InvalidInputError(
            f"problem is of type {type(problem).__name__}; it must be a Problem: pass "
            "pma.Problem(source, target)"
        )


def _check_domain(domain: ConvexDomain, target: Density) -> None:
    """A domain of the right dimension in the box, with all of the mass."""
    if not isinstance(domain, ConvexDomain):
        raise InvalidInputError(
            f"target_domain is {domain!r}; it must be a convex set: pass pma_grid.Polygon, Ellipse "
            "or ConvexSet"
        )
    if domain.dim != target.dim:
        raise InvalidInputError(
            f"target_domain has {domain.dim} axes and the target {target.dim}; they must agree: "
            "domains are for one and two axes"
        )
    lower, upper = domain.bounds()
    box = np.array(target.grid.lower), np.array(target.grid.upper)
    slack = BEYOND_BOX_SIDES * (box[1] - box[0])
    if (lower < box[0] - slack).any() or (upper > box[1] + slack).any():
        raise InvalidInputError(
            f"target_domain has the bounds {lower.tolist()} to {upper.tolist()}, beyond the "
            f"target's box {list(target.grid.lower)} to {list(target.grid.upper)}; it must lie in "
            "it: give the target a grid on a box around the domain"
        )
    outside = target.masses[domain.fractions(target.grid) == 0].sum()
    if outside > LARGEST_MASS_OUTSIDE:
        raise InvalidInputError(
            f"target has {100 * outside:.3g} % of its mass in cells outside target_domain; all of "
            "it must lie inside: multiply the values by target_domain.fractions(grid)"
        )
