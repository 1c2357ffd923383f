"""Densities and problems as files keep them, given back to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.domains import stored_domain
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, check_positive, storage

# Rounding of the mass of what is normalised: what a file holds within it is taken as it is.
NORMALISED_TO = 1e-9


def storable_density(density: Density) -> dict[str, Any]:
    """What a file keeps of a density beside the masses of its cells."""
    return {
        "grid": density.grid.to_dict(), "floor": density.floor, "mass": density.mass,
        "holds": "masses",
    }  # fmt: skip


def stored_density(array: Array, meta: dict[str, Any]) -> Density:
    """The density of a file; one that says no mass has that of its values.

    The array holds the masses of the cells where the file says so; until 0.1.0, the values.
    """
    mass = check_positive(meta.get("mass", 1.0), "mass", "the file is damaged")
    density = Density(array, Grid.from_dict(meta["grid"]), floor=meta["floor"])
    volume = density.grid.cell_volume
    kept = {"masses": np.array(array, np.float64)}
    if meta.get("holds") != "masses":
        kept = {"values": kept["masses"], "masses": kept["masses"] * volume}
    if abs(kept["masses"].sum() - 1.0) <= NORMALISED_TO:
        # normalised once more, they might differ in the last digit
        for name, exact in kept.items():
            exact.setflags(write=False)
            object.__setattr__(density, name, exact)
        object.__setattr__(density, "mass", mass)
    return density


def storable_pair(problem: Problem) -> storage.Stored:
    """Arrays and metadata of a problem, for a file."""
    pair = {"source": problem.source, "target": problem.target}
    arrays = {name: density.masses for name, density in pair.items()}
    meta: dict[str, Any] = {name: storable_density(density) for name, density in pair.items()}
    if problem.target_domain is not None:
        meta["target_domain"] = problem.target_domain.to_dict()
    return arrays, meta


def stored_pair(arrays: dict[str, Array], meta: dict[str, Any]) -> Problem:
    """The problem of a stored result."""
    densities = [stored_density(arrays[name], meta[name]) for name in ("source", "target")]
    domain = meta.get("target_domain")
    return Problem(*densities, target_domain=None if domain is None else stored_domain(domain))
