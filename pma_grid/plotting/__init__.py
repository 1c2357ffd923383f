"""Pictures of densities, maps, studies, flows and claims.

Every function takes axes (or makes a figure of its own) and returns what it drew on; nothing is
shown and no global state is touched, so the functions work without a display.
"""

from pma_grid.plotting.transports import (
    convergence,
    density,
    history,
    interpolation,
    map,
    save,
    transport,
)

__all__ = ["convergence", "density", "history", "interpolation", "map", "save", "transport"]
