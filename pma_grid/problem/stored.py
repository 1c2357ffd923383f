"""Densities and problems as files keep them, given back to the bit."""

from __future__ import annotations

from typing import Any

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density, normalised_before
from pma_grid.problem.domains import stored_domain
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array, check_positive, storage


def storable_density(density: Density) -> dict[str, Any]:
    """What a file keeps of a density beside its values."""
    return {"grid": density.grid.to_dict(), "floor": density.floor, "mass": density.mass}


def stored_density(values: Array, meta: dict[str, Any]) -> Density:
    """The density of a file; one that says no mass has that of its values."""
    mass = check_positive(meta.get("mass", 1.0), "mass", "the file is damaged")
    return normalised_before(values, Grid.from_dict(meta["grid"]), meta["floor"], mass)


def storable_pair(problem: Problem) -> storage.Stored:
    """Arrays and metadata of a problem, for a file."""
    pair = {"source": problem.source, "target": problem.target}
    arrays = {name: density.values for name, density in pair.items()}
    meta: dict[str, Any] = {name: storable_density(density) for name, density in pair.items()}
    if problem.target_domain is not None:
        meta["target_domain"] = problem.target_domain.to_dict()
    return arrays, meta


def stored_pair(arrays: dict[str, Array], meta: dict[str, Any]) -> Problem:
    """The problem of a stored result."""
    densities = [stored_density(arrays[name], meta[name]) for name in ("source", "target")]
    domain = meta.get("target_domain")
    return Problem(*densities, target_domain=None if domain is None else stored_domain(domain))
