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

from pma_grid.entropic.peers.geomloss import check_geomloss, solve_geomloss
from pma_grid.entropic.peers.ott import check_ott, solve_ott
from pma_grid.entropic.peers.pot import check_pot, solve_pot
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.problem.problem import Problem
from pma_grid.runtime import InvalidInputError

PEERS: dict[str, Callable[..., EntropicTransport]] = {
    "pot": solve_pot, "ott": solve_ott, "geomloss": solve_geomloss,
}  # fmt: skip

_CHECKS = {"pot": check_pot, "ott": check_ott, "geomloss": check_geomloss}


def check(name: str, problem: Problem) -> None:
    """Raise InvalidInputError if a peer is not installed or cannot solve the problem."""
    if name not in PEERS:
        raise InvalidInputError(f"peer {name!r} is not known; the peers are {', '.join(PEERS)}")
    _CHECKS[name](problem)


__all__ = ["PEERS", "check", "solve_geomloss", "solve_ott", "solve_pot"]
