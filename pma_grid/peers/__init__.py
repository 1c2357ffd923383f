"""Other packages on the same problem: one module each, which alone imports it, when called.

Their plans are those of `pma_grid.sinkhorn`: eps counts with the cost |x - y|^2/2 and the reference
measure mu x nu.  What the packages are given instead:

    POT       reg = 2 eps       on |x - y|^2, with respect to the counting measure
    OTT-JAX   epsilon = 2 eps   on |x - y|^2, with respect to the counting measure
    GeomLoss  blur = sqrt(eps)  with p = 2, that is on |x - y|^2/2

They work on the boxes laid over each other (which changes no plan), so that a shift between source
and target costs them nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.peers.geomloss import solve_geomloss
from pma_grid.peers.ott import solve_ott
from pma_grid.peers.pot import solve_pot

PEERS: dict[str, Callable[..., EntropicTransport]] = {
    "pot": solve_pot, "ott": solve_ott, "geomloss": solve_geomloss,
}  # fmt: skip

__all__ = ["PEERS", "solve_geomloss", "solve_ott", "solve_pot"]
