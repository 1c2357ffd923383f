"""`Flow`: the series that were recorded along a flow, and where it ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.problem.frame import Frame, split
from pma_grid.problem.problem import Problem
from pma_grid.problem.stored import storable_pair, stored_pair
from pma_grid.runtime import Array, InvalidInputError, Report, Status, storage
from pma_grid.transport.transport import Transport

# Fields that a flow has where it is one on a grid and has taken a step.
_AT_THE_END = ("potential", "average_density", "average_potential")


@dataclass(eq=False)
class FlowReport(Report):
    """Counts, times and circumstances of a flow, in ``flow.stats``; None is left out.

    Nothing here decides what is computed from a flow: that is in the fields of the `Flow`.

    Attributes
    ----------
    newton, linear, setups : int
        Newton iterations, linear iterations and set-ups of preconditioners, those of refused steps
        included; of the parabolic flow.
    sweeps : int
        Sweeps over both marginals; of Sinkhorn's flow.
    rejected : int
        Step sizes that were tried and given up for smaller ones.
    first_step : int
        Index of the first state: not 0 where another flow was continued.
    schedule, scheme : str
        The calls that make the schedule and the scheme.
    side, kernel : str
        As in the `Flow`, and so are the next two.
    weights : list of float
    smoothing, eps : float
    linear_solver : str
        The one that the last step used, or "none".
    narrow_kernel : bool
        Whether sqrt(eps) is below the width of a cell; of Sinkhorn's flow.
    residual_norm, mass_constant : float
        (sum mu hbar^2)^{1/2} and alpha = log sum mu e^h of the last state.
    convexity_limit, stability_limit : list of float
        The limits of explicit steps at the first and the last state, length^2.
    floors : dict
        What working floors changed, by side; see `pma_grid.solve`.
    seconds, compile_seconds : float
        Wall time without compilation, and what compilation took.
    versions : dict of str
        Of Python and the libraries that the result depends on.
    """

    newton: int | None = None
    linear: int | None = None
    setups: int | None = None
    sweeps: int | None = None
    rejected: int | None = None
    first_step: int | None = None
    schedule: str | None = None
    scheme: str | None = None
    side: str | None = None
    weights: list[float] | None = None
    smoothing: float | None = None
    linear_solver: str | None = None
    eps: float | None = None
    kernel: str | None = None
    narrow_kernel: bool | None = None
    residual_norm: float | None = None
    mass_constant: float | None = None
    convexity_limit: list[float] | None = None
    stability_limit: list[float] | None = None
    floors: dict[str, Any] | None = None
    seconds: float | None = None
    compile_seconds: float | None = None
    versions: dict[str, str] | None = None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The density and the potential at one time of a flow; both of ``grid.shape``."""

    time: float
    density: Array
    potential: Array


@dataclass(frozen=True, eq=False)
class Flow:
    """A flow of potentials as `evolve` and `sinkhorn_flow` return it: its series, and its end.

    Indexing gives a series: ``flow["kl"]`` has one entry a state, of which the first is that of the
    start.  `len` is the number of steps.

    Attributes
    ----------
    scheme : str
        Name of the scheme that made the steps: "implicit_euler", "trbdf2", "explicit", "sinkhorn".
    times : ndarray, shape (steps + 1,)
        Times of the states, length^2.
    step_sizes : ndarray, shape (steps,)
        Step sizes that were taken, length^2.
    series : mapping of str to ndarray, shape (steps + 1,)
        What was recorded, by name; see `pma_grid.observables`.
    status : Status
        COMPLETED, CONVERGED (below ``tol``) or why the flow stopped.
    problem : Problem or None
        The problem as it was given; None for flows that live on no grid (closed forms).
    side : {"source", "target"}
        The grid that the equation was solved on.
    first : int
        Steps taken before the first entry: not 0 where another flow was continued.
    weights : tuple of float
        Shares of the old and of the new state in the regret of a step: where h is taken.
    smoothing : float
        Length over which explicit steps smoothed their direction; 0 for all others.
    eps : float or None
        Of Sinkhorn's flow, whose mirror is the entropic cost, length^2; None: the mirror is the
        Wasserstein distance.
    kernel : str or None
        "plain" or "reflect", of Sinkhorn's flow on a grid.
    potential : ndarray or None
        u at the end, with its constant, on the grid of ``side``, length^2.
    average_density, average_potential : ndarray or None
        sum eta rho / sum eta (cell averages, normalised) and sum eta u / sum eta, over the states
        at which the steps evaluate h: the old ones of explicit, the new ones of implicit steps.
    snapshots : tuple of Snapshot
        Densities and potentials that were kept, in the order of their times.
    stats : FlowReport
        Counts, seconds and circumstances, which read as a dict too.
    """

    # `| Any`: None in closed forms only, which no user should have to rule out
    scheme: str
    times: Array
    step_sizes: Array
    series: Mapping[str, Array]
    status: Status = Status.COMPLETED
    problem: Problem | Any = None
    side: str = "source"
    first: int = 0
    weights: tuple[float, float] = (0.5, 0.5)
    smoothing: float = 0.0
    eps: float | None = None
    kernel: str | None = None
    potential: Array | Any = None
    average_density: Array | Any = None
    average_potential: Array | Any = None
    snapshots: tuple[Snapshot, ...] = ()
    stats: FlowReport = field(default_factory=FlowReport)

    def __getitem__(self, name: str) -> Array:
        if name not in self.series:
            raise InvalidInputError(
                f"flow has no series {name!r}; it has {', '.join(self.series) or 'none'}: "
                f"pass record=({name!r},) to evolve"
            )
        return self.series[name]

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.step_sizes)

    def __repr__(self) -> str:
        return f"<Flow {self.scheme}: {len(self)} steps to t = {self.times[-1]:.6g}, {self.status}>"

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

    def storable(self) -> storage.Stored:
        """Arrays and metadata that `from_stored` makes the flow of."""
        arrays = {"times": self.times, "step_sizes": self.step_sizes}
        arrays |= {f"series.{name}": values for name, values in self.series.items()}
        ends = {name: getattr(self, name) for name in _AT_THE_END}
        arrays |= {name: value for name, value in ends.items() if value is not None}
        for k, snapshot in enumerate(self.snapshots):
            arrays[f"snapshot.{k}.density"] = snapshot.density
            arrays[f"snapshot.{k}.potential"] = snapshot.potential
        meta: dict[str, Any] = {
            "kind": "flow", "scheme": self.scheme, "status": self.status.name, "side": self.side,
            "first_step": self.first, "weights": list(self.weights), "smoothing": self.smoothing,
            "eps": self.eps, "kernel": self.kernel, "stats": dict(self.stats),
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
    def from_stored(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Flow:
        """The flow of what `storable` gave."""
        problem = stored_pair(arrays, meta) if "source" in meta else None
        # files of version 0.1.0 say in their stats alone how the steps were taken
        facts = meta["stats"] | meta
        shots = tuple(
            Snapshot(t, arrays[f"snapshot.{k}.density"], arrays[f"snapshot.{k}.potential"])
            for k, t in enumerate(meta["snapshot_times"])
        )
        prefix = "series."
        old, new = facts.get("weights", (0.5, 0.5))
        return cls(
            scheme=meta["scheme"],
            times=arrays["times"],
            step_sizes=arrays["step_sizes"],
            series={k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)},
            status=Status[meta["status"]],
            problem=problem,
            side=facts.get("side", "source"),
            first=int(facts.get("first_step", 0)),
            weights=(float(old), float(new)),
            smoothing=float(facts.get("smoothing", 0.0)),
            eps=facts.get("eps"),
            kernel=facts.get("kernel"),
            snapshots=shots,
            stats=FlowReport.from_dict(meta["stats"]),
            **{name: arrays.get(name) for name in _AT_THE_END},
        )
