"""Base laws: what samplers draw from before the Brenier map takes it to the data."""

from __future__ import annotations

import numpy as np

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.runtime import Array, InvalidInputError

# The Gaussian is cut at so many standard deviations, where 6e-7 of its mass an axis is left out.
GAUSSIAN_CUT_SIGMAS = 5.0
BASE_LAWS = ("uniform", "gaussian")


def base_law(base: str | Density, shape: tuple[int, ...]) -> Density:
    """The law to draw from: a density with the axes of ``shape``, or one of this shape by name.

    Uniform on the unit box, or standard normal on [-5, 5]^d; others must be positive on their box.

    Examples
    --------
    >>> base_law("uniform", (4, 4)).values.max()
    np.float64(1.0)
    >>> round(float(base_law("gaussian", (200,)).values.max()), 3)
    0.399
    """
    if isinstance(base, Density):
        if base.dim != len(shape):
            raise InvalidInputError(
                f"base has {base.dim} axes and the data {len(shape)}; they must agree: give a "
                f"density on a grid of {len(shape)} axes"
            )
        empty = int(np.count_nonzero(base.values == 0))
        if empty:
            raise InvalidInputError(
                f"base has {empty} cells without mass; a base law must be positive on its box: "
                "give it a floor, or a smaller box"
            )
        return base
    if base == "uniform":
        return Density(np.ones(shape))
    if base == "gaussian":
        grid = Grid(shape, -GAUSSIAN_CUT_SIGMAS, GAUSSIAN_CUT_SIGMAS)
        return Density.from_log(_standard_normal, grid)
    raise InvalidInputError(
        f"base is {base!r}; it must be one of {', '.join(BASE_LAWS)}, or a Density to draw from"
    )


def _standard_normal(*x: Array) -> Array:
    """log of the standard normal density up to its constant."""
    return -0.5 * sum((np.square(c) for c in x), start=np.zeros(()))
