"""The validated pair of densities between which mass is transported."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from pma_grid.density import Density, as_density
from pma_grid.errors import InvalidInputError


@dataclass(frozen=True, init=False, eq=False)
class Problem:
    """Transport of ``source`` to ``target`` at the cost |x - y|^2.

    Parameters
    ----------
    source, target : Density or array_like
        The densities on the x side and on the y side.  Plain arrays live on the unit box.  The
        grids may differ in shape and in box; the number of axes must agree.

    Attributes
    ----------
    source, target : Density

    Raises
    ------
    InvalidDensityError
        If an array is not a density; the message says which of the two.
    InvalidInputError
        If the numbers of axes differ.

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

    def __init__(self, source: Density | ArrayLike, target: Density | ArrayLike) -> None:
        pair = as_density(source, "source"), as_density(target, "target")
        if pair[0].dim != pair[1].dim:
            raise InvalidInputError(
                f"source has {pair[0].dim} axes and target {pair[1].dim}; they must agree: give "
                "the smaller one an axis of one cell, for example values[:, None]"
            )
        object.__setattr__(self, "source", pair[0])
        object.__setattr__(self, "target", pair[1])

    @property
    def dim(self) -> int:
        """Number of axes, 1 to 3."""
        return self.source.dim

    def swapped(self) -> Problem:
        """The problem with the roles exchanged; its map is the inverse of this one's."""
        return Problem(self.target, self.source)

    def __repr__(self) -> str:
        """Shapes and boxes."""
        return f"Problem(source={self.source.describe()}, target={self.target.describe()})"
