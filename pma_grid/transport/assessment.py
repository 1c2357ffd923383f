"""`assess`: how good a transport is, by figures that any potential has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pma_grid.problem.problem import Problem
from pma_grid.runtime import InvalidInputError
from pma_grid.transport.atomic_dual import dual_of_atoms
from pma_grid.transport.pushforward import push_forward_error
from pma_grid.transport.transport import Transport


def assess(transport: Transport) -> dict[str, Any]:
    """Figures of quality, which are kept as ``transport.stats.assessment`` too.

    Parameters
    ----------
    transport : Transport
        Any: solved, entropic, or of a given potential.

    Returns
    -------
    dict
        ``hard_dual``: lower bound of the W2^2 between the atoms at the cell centres, length^2, for
        the densities as given, from the potential's Legendre transforms; rigorous up to rounding
        whatever the potential is.
        ``transport_cost``: int |T(x) - x|^2 dmu of ``gradient`` at the cell centres, length^2, of
        ``map`` at those of finer cells where the equation was solved on such; of a sparse plan, the
        plan's.
        ``dual_gap``: transport_cost - hard_dual, length^2.  Both ends belong to atoms; it falls to
        0 with the error of T, but is no certificate: T need not push mu to nu exactly.
        ``push_forward_error``: sum over bins of |T#mu - nu|, 0 to 2.
        ``mass_constant``: alpha of the equation, None where none was solved.
        ``floor_effect``: what the working floors can have changed W2^2 by at most, length^2.

    Raises
    ------
    InvalidInputError
        ``transport`` is none.

    Notes
    -----
    A floor that moves the mass m changes W2^2 by at most m D^2, D the largest distance between the
    two boxes: the cost is bounded by D^2 and the transport cost 1-Lipschitz in it.  Usually the
    effect is far smaller.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> ot = pma.solve(pma.Problem(np.ones(64), np.linspace(0.5, 1.5, 64)))
    >>> figures = pma.assess(ot)
    >>> figures["push_forward_error"] < 1e-2, figures["floor_effect"]
    (True, 0.0)
    """
    if not isinstance(transport, Transport):
        raise InvalidInputError(
            f"transport is of type {type(transport).__name__}; it must be a Transport: pass what "
            "pma.solve or pma.sinkhorn returned"
        )
    dual = transport.stats.get("hard_dual")
    if dual is None:
        dual = dual_of_atoms(transport.problem, transport.phi)
    cost = transport.stats.get("transport_cost")
    if cost is None:
        cost = _cost(transport)
    floors = transport.stats.get("floors", {}).values()
    figures = {
        "hard_dual": float(dual),
        "transport_cost": float(cost),
        "dual_gap": float(cost) - float(dual),
        "push_forward_error": push_forward_error(transport),
        "mass_constant": transport.stats.get("mass_constant"),
        "floor_effect": math.fsum(f["mass_added"] for f in floors) * _reach(transport.problem) ** 2,
    }
    transport.stats.assessment = figures
    return figures


def _cost(transport: Transport) -> float:
    """int |T(x) - x|^2 dmu by the centres of the cells of the equation, length^2."""
    source = transport.solution.source
    moved = transport.displacement
    if source.grid != transport.problem.source.grid:
        points = source.grid.points
        moved = (transport.map(points) - points).T.reshape(source.dim, *source.shape)
    return float((source.masses * (moved**2).sum(axis=0)).sum())


def _reach(problem: Problem) -> float:
    """Largest distance between points of the two boxes."""
    source, target = problem.source.grid, problem.target.grid
    sides = [
        max(abs(b - c), abs(d - a))
        for a, b, c, d in zip(source.lower, source.upper, target.lower, target.upper, strict=True)
    ]
    return float(np.linalg.norm(sides))
