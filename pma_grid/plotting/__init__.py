"""Pictures of densities, maps, flows, samples, studies and claims, drawn with matplotlib.

A function that draws one picture takes the axes to draw on (``ax=``, a new figure by default) and
returns them; one that draws a whole page returns the figure.  `save` writes either to a file.
Nothing is shown and pyplot is not used, so that the functions work without a display and change no
global state.
"""

from pma_grid.plotting.canvas import density, save
from pma_grid.plotting.claims import claim
from pma_grid.plotting.clouds import corner, samples
from pma_grid.plotting.entropic import cost, flow_pair, small_eps
from pma_grid.plotting.flows import animation, flow
from pma_grid.plotting.frontiers import frontier
from pma_grid.plotting.generative import carried_mesh, evidence, learned_regret, model, posterior
from pma_grid.plotting.histories import history
from pma_grid.plotting.transports import comparison, convergence, interpolation, map, transport

__all__ = [
    "animation", "carried_mesh", "claim", "comparison", "convergence", "corner", "cost", "density",
    "evidence", "flow", "flow_pair", "frontier", "history", "interpolation", "learned_regret",
    "map", "model", "posterior", "samples", "save", "small_eps", "transport",
]  # fmt: skip
