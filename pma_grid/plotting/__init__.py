"""Pictures of densities, maps, studies, flows and claims.

Every function takes axes (or makes a figure of its own) and returns what it drew on; nothing is
shown and no global state is touched, so the functions work without a display.
"""

from pma_grid.plotting.canvas import save
from pma_grid.plotting.claims import claim
from pma_grid.plotting.clouds import corner, samples
from pma_grid.plotting.comparisons import comparison
from pma_grid.plotting.densities import density
from pma_grid.plotting.entropic import cost, flow_pair, small_eps
from pma_grid.plotting.films import animation
from pma_grid.plotting.flows import flow
from pma_grid.plotting.frontiers import frontier
from pma_grid.plotting.generative import carried_mesh, learned_regret, model
from pma_grid.plotting.histories import history
from pma_grid.plotting.posteriors import evidence, posterior
from pma_grid.plotting.transports import convergence, interpolation, map, transport

__all__ = [
    "animation", "carried_mesh", "claim", "comparison", "convergence", "corner", "cost", "density",
    "evidence", "flow", "flow_pair", "frontier", "history", "interpolation", "learned_regret",
    "map", "model", "posterior", "samples", "save", "small_eps", "transport",
]  # fmt: skip
