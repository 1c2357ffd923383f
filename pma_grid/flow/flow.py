"""`State`, one instant of a flow, and `Flow`, the series that were recorded along it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pma_grid.flow.parabolic import ParabolicOperator
from pma_grid.problem.frame import Frame, split
from pma_grid.problem.problem import Problem
from pma_grid.runtime import storage
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.errors import InvalidInputError, Status
from pma_grid.transport.transport import Transport, storable_pair, stored_pair


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The density and the potential at one time of a flow; both of ``grid.shape``."""

    time: float
    density: Array
    potential: Array


@dataclass(frozen=True, eq=False)
class Flow:
    """What was recorded along a flow, and where it ended.

    Indexing gives a series: ``flow["kl"]`` has one entry a state, entry 0 the start.

    Attributes
    ----------
    problem : Problem or None
        As given; None for flows that live on no grid (closed forms).
    scheme : str
        "implicit_euler", "trbdf2", "explicit", "sinkhorn", ...
    times : ndarray, shape (steps + 1,)
    step_sizes : ndarray, shape (steps,)
    series : mapping of str to ndarray, shape (steps + 1,)
    status : Status
        COMPLETED, CONVERGED (below ``tol``) or why it stopped.
    stats : dict
        Counts, seconds, side, versions.
    potential : ndarray or None
        u at the end, gauge included, on the grid of ``side``.
    average_density, average_potential : ndarray or None
        sum eta rho / sum eta (cell averages, normalised) and sum eta u / sum eta, over the states
        at which the steps evaluate h: the old ones of explicit, the new ones of implicit steps.
    snapshots : tuple of Snapshot
    """

    # `| Any`: None in closed forms only, which no user should have to rule out
    scheme: str
    times: Array
    step_sizes: Array
    series: Mapping[str, Array]
    status: Status = Status.COMPLETED
    problem: Problem | Any = None
    stats: dict[str, Any] = field(default_factory=dict)
    potential: Array | Any = None
    average_density: Array | Any = None
    average_potential: Array | Any = None
    snapshots: tuple[Snapshot, ...] = ()

    def __getitem__(self, name: str) -> Array:
        if name not in self.series:
            raise InvalidInputError(
                f"flow has no series {name!r}; it has {', '.join(self.series) or 'none'}: "
                f"pass record=({name!r},) to evolve"
            )
        return self.series[name]

    @property
    def first(self) -> int:
        """Steps taken before the first entry: not 0 where another flow was continued."""
        return int(self.stats.get("first_step", 0))

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.step_sizes)

    def __repr__(self) -> str:
        return f"<Flow {self.scheme}: {len(self)} steps to t = {self.times[-1]:.6g}, {self.status}>"

    @property
    def side(self) -> str:
        """ "source" or "target": the grid that the equation was solved on."""
        return str(self.stats.get("side", "source"))

    @property
    def oriented(self) -> Problem:
        """The problem as solved: swapped if the target's side was."""
        if self.problem is None:
            raise InvalidInputError("this flow lives on no grid; use one that evolve returned")
        return self.problem if self.side == "source" else self.problem.swapped()

    @cached_property
    def transport(self) -> Transport:
        """The last state as a `Transport` of ``problem``."""
        problem = self.oriented
        if self.potential is None:
            raise InvalidInputError("this flow carries no potential; use one that evolve returned")
        potential = self.potential
        if self.side == "target":
            assert self.problem is not None
            phi, offset = ParabolicOperator(problem).conjugate(*split(problem, potential))
            problem = self.problem
            potential = Frame(problem.source.grid, problem.target.grid).quadratic() + phi + offset
        constant = self.series.get("mass_constant")
        stats = dict(self.stats)
        if constant is not None:
            stats["mass_constant"] = float(constant[-1])
        alpha = stats.get("mass_constant", 0.0)
        return Transport(problem, potential, status=self.status, stats=stats, mass_constant=alpha)

    def storable(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and metadata that `from_stored` makes the flow of."""
        arrays = {"times": self.times, "step_sizes": self.step_sizes}
        arrays |= {f"series.{name}": values for name, values in self.series.items()}
        for name in ("potential", "average_density", "average_potential"):
            value = getattr(self, name)
            if value is not None:
                arrays[name] = value
        for k, snapshot in enumerate(self.snapshots):
            arrays[f"snapshot.{k}.density"] = snapshot.density
            arrays[f"snapshot.{k}.potential"] = snapshot.potential
        meta: dict[str, Any] = {
            "kind": "flow", "scheme": self.scheme, "status": self.status.name, "stats": self.stats,
            "snapshot_times": [s.time for s in self.snapshots],
        }  # fmt: skip
        if self.problem is not None:
            pair = storable_pair(self.problem)
            arrays |= pair[0]
            meta |= pair[1]
        return arrays, meta

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one .npz file that `load` reads back."""
        storage.save(path, *self.storable())

    @classmethod
    def from_stored(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> Flow:
        """The flow of what `storable` gave."""
        problem = stored_pair(arrays, meta) if "source" in meta else None
        shots = tuple(
            Snapshot(t, arrays[f"snapshot.{k}.density"], arrays[f"snapshot.{k}.potential"])
            for k, t in enumerate(meta["snapshot_times"])
        )
        return cls(
            scheme=meta["scheme"],
            times=arrays["times"],
            step_sizes=arrays["step_sizes"],
            series={
                name.removeprefix("series."): values
                for name, values in arrays.items()
                if name.startswith("series.")
            },
            status=Status[meta["status"]],
            problem=problem,
            stats=meta["stats"],
            potential=arrays.get("potential"),
            average_density=arrays.get("average_density"),
            average_potential=arrays.get("average_potential"),
            snapshots=shots,
        )
