"""`Model`: a law learned from samples, as the push-forward of a base law by a Brenier map."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.flow.flow import Flow
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.samples import default_names
from pma_grid.runtime import storage
from pma_grid.runtime.arrays import Array
from pma_grid.sampling.sampler import Sampler
from pma_grid.transport.transport import Transport


class Model:
    """What `fit` returns.

    Attributes
    ----------
    flow : Flow
        The learned flow: mirror steps from the affine map to the learned law.
    transport : Transport
        Its end; the source is the learned law, the target the base law.
    masses : ndarray, shape ``grid.shape``
        Shares of the samples in the cells.
    names : tuple of str
        Of the coordinates.
    stats : dict
        method, estimator, strength, selection, seed, samples, held_out, seconds, ...
    """

    def __init__(
        self, flow: Flow, transport: Transport, masses: Array, *, names: tuple[str, ...] = (),
        stats: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.flow, self.transport, self.masses = flow, transport, masses
        self.names = names or default_names(transport.problem.dim)
        self.stats: dict[str, Any] = dict(stats or {})

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
        parts = {"flow": self.flow.storable(), "transport": self.transport.storable()}
        arrays, meta = storage.packed(parts)
        meta |= {"kind": "model", "names": list(self.names), "stats": self.stats}
        storage.save(path, arrays | {"masses": self.masses}, meta)

    @classmethod
    def from_stored(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Model:
        """The model that `save` wrote, from the contents of its file."""
        kind = EntropicTransport if meta["transport"]["kind"] == "entropic" else Transport
        return cls(
            Flow.from_stored(*storage.unpacked("flow", arrays, meta)),
            kind.from_stored(*storage.unpacked("transport", arrays, meta)),
            arrays["masses"],
            names=tuple(meta["names"]),
            stats=meta["stats"],
        )
