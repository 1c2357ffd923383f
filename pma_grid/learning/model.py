"""`Model`: a law learned from samples, as the push-forward of a base law, and its `FitReport`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pma_grid.flow.flow import Flow
from pma_grid.flow.settling import Settled
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.samples import default_names
from pma_grid.runtime import Array, Report, storage
from pma_grid.sampling.sampler import Sampler
from pma_grid.transport.transport import Transport


@dataclass(eq=False)
class FitReport(Report):
    """The ``stats`` of a `Model`; nothing here decides what is computed from one.

    None is left out, but for ``selection``.

    Attributes
    ----------
    method : str
        Name of the estimator: "logistic", "score", "kde", "histogram", or that of one's own.
    estimator : str
        The call that makes the estimator, its strength included.
    strength : float
        How strongly it smooths; in units of its own.
    selection : dict or None
        How held-out samples chose the strength: ``strengths`` tried, ``log_likelihoods`` (nats a
        point) and ``at_edge``, see `Selection`; None where the strength was given.
    samples, duplicates : int
        Samples learned from, and how many of them equal others.
    held_out : float
        Share of the samples that was to choose.
    seed : int
        Seed of the split into samples learned from and samples held out.
    relearn, explicit : bool
        Whether log mu was learned again before every step, and whether steps were explicit.
    transport : str
        What found the transport: "flow", or "solve" where the flow did not settle.
    held_out_log_likelihoods : list of float
        With ``relearn``: the held-out samples' log-likelihood after each step, nats a point.
    stopped_at : int
        With ``relearn``: the step at which it is largest, which ends the flow.
    seconds : float
        Wall time, compilation included.
    """

    method: str | None = None
    estimator: str | None = None
    strength: float | None = None
    selection: dict[str, Any] | None = None
    samples: int | None = None
    duplicates: int | None = None
    held_out: float | None = None
    seed: int | None = None
    relearn: bool | None = None
    explicit: bool | None = None
    transport: str | None = None
    held_out_log_likelihoods: list[float] | None = None
    stopped_at: int | None = None
    seconds: float | None = None

    ALWAYS: ClassVar[frozenset[str]] = frozenset({"selection"})


class Model:
    """A law learned from samples, with a map that draws from it: what `fit` returns.

    Attributes
    ----------
    flow : Flow
        The learned flow: mirror steps from the affine map to the learned law.
    transport : Transport
        The map that the flow ends at; its source is the learned law, its target the base law.
    masses : ndarray, shape ``grid.shape``
        Shares of the samples in the cells.
    names : tuple of str
        Names of the coordinates.
    stats : FitReport
        How the model was learned, in fields that read as a dict too: ``stats["strength"]``.
    """

    def __init__(
        self, flow: Flow, transport: Transport, masses: Array, *, names: tuple[str, ...] = (),
        stats: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.flow, self.transport, self.masses = flow, transport, masses
        self.names = names or default_names(transport.problem.dim)
        self.stats = FitReport.from_dict(stats or {})

    @property
    def grid(self) -> Grid:
        """The box of the data and its cells."""
        return self.transport.problem.source.grid

    @property
    def converged(self) -> bool:
        """Whether the transport stands for the learned law; the flow has a status of its own."""
        return self.transport.converged

    @cached_property
    def sampler(self) -> Sampler:
        """Draws, likelihoods and conditional laws; see `Sampler`."""
        return Sampler(self.transport)

    @property
    def density(self) -> Density:
        """The law of the model as cell averages on the grid of the data."""
        return self.sampler.density

    def sample(self, n: int, *, seed: int | np.random.Generator) -> Array:
        """New points, (n, d): draws from the base law, moved by the inverse map."""
        return self.sampler.sample(n, seed=seed)

    def log_density(self, points: ArrayLike) -> Array:
        """log-likelihood of points (m, d), nats; -inf outside the box; see `LogDensity`."""
        return self.sampler.log_density(points)

    def __repr__(self) -> str:
        count, method = self.stats.get("samples", "?"), self.stats.get("method", "?")
        shape = "x".join(map(str, self.grid.shape))
        return f"<Model {shape}: {method} of {count} samples, {self.flow.status}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the samples themselves to one .npz file that `load` reads back."""
        arrays, meta = Settled(self.flow, self.transport).storable()
        meta |= {"kind": "model", "names": list(self.names), "stats": self.stats.to_dict()}
        storage.save(path, arrays | {"masses": self.masses}, meta)

    @classmethod
    def from_stored(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Model:
        """The model that `save` wrote, from the contents of its file."""
        end = Settled.from_stored(arrays, meta)
        names, stats = tuple(meta["names"]), meta["stats"]
        return cls(end.flow, end.transport, arrays["masses"], names=names, stats=stats)
