"""`State`, one instant of a flow, and `Flow`, the series that were recorded along it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pma_grid import storage
from pma_grid.errors import InvalidInputError, Status
from pma_grid.lattice import Array
from pma_grid.linsolve import Handle
from pma_grid.mirrors import MirrorOperator, normalised
from pma_grid.operator import Frame, split
from pma_grid.parabolic import ParabolicOperator
from pma_grid.problem import Problem
from pma_grid.quadrature import Potential
from pma_grid.transport import Transport, storable_pair, stored_pair


@dataclass(frozen=True, eq=False)
class Step:
    """How the step that led to a state was made.

    Attributes
    ----------
    size : float
        Step size eta taken, length^2; 0 at the start.
    phi, slope : ndarray
        Of the state before it.
    error : float
        Estimated local error in the potential, half its oscillation, length^2.
    newton, linear : int
        Newton and linear iterations.
    attempts : int
        Sizes tried: 1 where the first was accepted.
    """

    size: float
    phi: Array
    slope: Array
    error: float = 0.0
    newton: int = 0
    linear: int = 0
    attempts: int = 1


@dataclass(frozen=True, eq=False)
class State:
    """One instant of a flow; immutable, and with all that the next step may reuse.

    Attributes
    ----------
    index : int
        Steps taken up to here.
    time : float
        t, length^2.
    phi : ndarray, shape ``source.shape``
        u without the affine stretch of box to box, mean zero; do not modify.
    offset : float
        The mean taken out of it (the gauge), length^2.
    residual : ndarray, shape ``source.shape``
        h = log(rho_u / mu), before normalisation.
    slope : ndarray, shape ``source.shape``
        h - mean h as the equation of the step has it, (v - base) / beta: without the algebraic
        error of h, which sits in the highest frequencies, where differences amplify it.
    gauge_rate : float
        The constant beside it: h = slope + gauge_rate up to that error.
    operator : MirrorOperator
        Of the flow: h, and the geometry that observables need.
    step : Step
        How the flow came here.
    order : int
        Of the scheme: the error estimate goes like step_size^{order + 1}.
    older : Step or None
        The step before that one, for extrapolated starts.
    handle : Handle or None
        Preconditioner of the last implicit step.
    """

    index: int
    time: float
    phi: Array
    offset: float
    residual: Array
    slope: Array
    gauge_rate: float
    operator: MirrorOperator
    step: Step
    order: int = 1
    older: Step | None = None
    handle: Handle | None = None

    @property
    def potential(self) -> Array:
        """u at the cell centres, length^2, gauge included."""
        return self.operator.potential(self.phi, self.offset)

    @cached_property
    def _normalised(self) -> tuple[Array, Array, float]:
        return normalised(self.operator.masses, self.residual)

    @property
    def masses(self) -> Array:
        """rho = mu e^{h - alpha}, the cell masses of the pullback; they sum to 1."""
        return self._normalised[0]

    @property
    def log_ratio(self) -> Array:
        """hbar = h - alpha = log(rho / mu)."""
        return self._normalised[1]

    @cached_property
    def excess(self) -> Array:
        """rho / mu - 1 = e^hbar - 1, to full relative accuracy near equilibrium; 0 where mu is."""
        full = self.operator.masses > 0
        return np.asarray(np.expm1(self.log_ratio if full.all() else self.log_ratio * full))

    @property
    def mass_constant(self) -> float:
        """alpha = log sum mu e^h; it goes to 0 with the spacing."""
        return self._normalised[2]

    @property
    def gradient(self) -> Array:
        """grad u at the cell centres by centred differences, (d, *shape), length."""
        grids = self.operator.problem.source.grid, self.operator.problem.target.grid
        return Potential(self.phi, *grids).centred_gradient()

    @cached_property
    def symmetrised_kl(self) -> float:
        """S = KL(rho|mu) + KL(mu|rho) = sum mu (e^hbar - 1) hbar."""
        return float((self.operator.masses * self.excess * self.log_ratio).sum())

    @cached_property
    def dissipation(self) -> float:
        """I = int <grad h, A grad h> drho, A = (D2u)^{-1}: how fast S falls, d2J along h."""
        return self.operator.dissipation(self.phi, self.time, self.log_ratio, self.masses)

    @cached_property
    def forward_divergence(self) -> float:
        """D(rho_k | rho_{k+1}) of the step that led here; 0 at the start."""
        before = self.time - self.step.size
        return self.operator.divergence(self.step.phi, self.phi, before) if self.step.size else 0.0

    @cached_property
    def backward_divergence(self) -> float:
        """D(rho_{k+1} | rho_k) of the step that led here; 0 at the start."""
        return (
            self.operator.divergence(self.phi, self.step.phi, self.time) if self.step.size else 0.0
        )

    @cached_property
    def residual_norm(self) -> float:
        """(sum mu hbar^2)^{1/2}, the norm that schedules receive."""
        return float(np.sqrt((self.operator.masses * self.log_ratio**2).sum()))


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

    scheme: str
    times: Array
    step_sizes: Array
    series: Mapping[str, Array]
    status: Status = Status.COMPLETED
    problem: Problem | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    potential: Array | None = None
    average_density: Array | None = None
    average_potential: Array | None = None
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
        return Transport(problem, potential, status=self.status, stats=stats)

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
