"""Pictures of one density, alone or beside others on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, DENSITY_MAP
from pma_grid.problem.density import Density

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The brightest colour is this quantile of the cells: a spike of a few cells leaves the rest dark.
BRIGHTEST = 0.998


def plane(density: Density) -> np.ndarray:
    """The values, in 3-D integrated over axis 2 (so that boxes of any height compare)."""
    if density.dim < 3:
        return density.values
    return np.asarray(density.values.sum(axis=2) * density.grid.spacing[2])


def common_top(densities: Sequence[Density]) -> float:
    """The value of the brightest colour for pictures that are compared."""
    return max(float(np.quantile(plane(density), BRIGHTEST)) for density in densities)


def density(
    density: Density, ax: Axes | None = None, *, cmap: str = DENSITY_MAP, top: float | None = None
) -> Axes:
    """Draw a density: a filled curve in 1-D, a picture in 2-D, a projection in 3-D.

    Parameters
    ----------
    density : Density
        In 3-D its integral along axis 2 is drawn.
    ax : Axes, optional
        Where to draw; a new figure by default.
    cmap : str
        Colour map of the picture.
    top : float, optional
        Value of the brightest colour (in 1-D of the top of the axes), to compare several densities;
        by default the largest one.

    Returns
    -------
    Axes
        Axis 0 of the grid runs down and axis 1 to the right, as images are stored.
    """
    ax = canvas.given_or_new(ax)
    grid = density.grid
    if density.dim == 1:
        x = grid.axes[0]
        ax.fill_between(x, density.values, color=COLOURS[0], alpha=0.25, lw=0)
        ax.plot(x, density.values, color=COLOURS[0], lw=1.5)
        ax.set_ylim(0, None if top is None else 1.05 * top)
        canvas.open_corner(ax, "x")
        return ax
    canvas.grid_image(ax, grid, plane(density), cmap=cmap, vmin=0, vmax=top)
    canvas.bare(ax)
    return ax
