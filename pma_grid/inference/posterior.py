"""`Posterior`: a law known up to a constant, as a density, a sampler and its evidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.flow.flow import Flow
from pma_grid.flow.settling import Settled
from pma_grid.grid.grid import Grid
from pma_grid.inference.counted import LogFunction
from pma_grid.inference.evidence import Evidence
from pma_grid.problem.density import Density
from pma_grid.problem.log_density import LogDensity
from pma_grid.problem.quantiles import quantiles
from pma_grid.problem.stored import storable_density, stored_density
from pma_grid.runtime import Array, InvalidInputError, Report, check_inside, check_whole, storage
from pma_grid.sampling.sampler import Sampler
from pma_grid.transport.duality import cell_integral
from pma_grid.transport.transport import Transport

# Samples are those of the posterior only where the mass constant and the gap of the flow are below
# these: the gap is the KL divergence of their law and its reverse.
MOST_MASS_CONSTANT_NATS, MOST_GAP_NATS = 0.3, 1e-2
# Differences of the map are taken over so many cells: its pieces are cubics, so that their error is
# the square of this, and rounding a thousandth of that.
DIFFERENCE_CELLS = 1e-5
# Draws whose image misses their base point by more than this were not inverted: those that were
# miss by rounding.
IMAGE_MISS_CELLS = 1e-3


@dataclass(frozen=True)
class Importance:
    """log Z from draws through the map and the user's function alone: a check, without the grid.

    Attributes
    ----------
    log_evidence, standard_error : float
        log of the mean weight, an estimate of log Z, and its standard error, nats.
    elbo, elbo_standard_error : float
        Mean of the log-weights, a lower bound of log Z in the mean, and its standard error; -inf
        where draws fall on zeros.
    effective_sample_size : float
        (sum w)^2 / sum w^2: how many independent draws of the posterior the weighted ones are
        worth.
    """

    log_evidence: float
    standard_error: float
    elbo: float
    elbo_standard_error: float
    effective_sample_size: float


@dataclass(eq=False)
class InferenceReport(Report):
    """The ``stats`` of a `Posterior`; nothing here decides what is computed from one.

    Attributes
    ----------
    modes : list of list of float
        Local maxima of the log-density that the search for the box met, one point each.
    side : str
        "source" or "target": the grid that the flow was solved on.
    base : str
        The base law, in words.
    seconds : float
        Wall time, compilation included.
    """

    modes: list[list[float]] | None = None
    side: str | None = None
    base: str | None = None
    seconds: float | None = None


class Posterior:
    """A law known up to a constant, normalised, with draws from it: what `infer` returns.

    Attributes
    ----------
    flow : Flow
        The flow from the base law, with the series "evidence_lower" and "evidence_upper".
    transport : Transport
        The map that the flow ends at; its source is the posterior, its target the base law.
    density : Density
        The posterior as cell averages, normalised.
    evidence : Evidence
        log Z and what its error is made of.
    names : tuple of str
        Names of the coordinates.
    evaluations : int
        Number of points at which the log-density was evaluated.
    stats : InferenceReport
        How the posterior was found, in fields that read as a dict too: ``stats["modes"]``.
    """

    def __init__(
        self, flow: Flow, transport: Transport, density: Density, evidence: Evidence, *,
        names: tuple[str, ...], evaluations: int, stats: Mapping[str, Any] | None = None,
        function: LogFunction | None = None,
    ) -> None:  # fmt: skip
        self.flow, self.transport, self.density = flow, transport, density
        self.evidence, self.names, self.evaluations = evidence, names, evaluations
        self.stats = InferenceReport.from_dict(stats or {})
        self._function = function

    @property
    def grid(self) -> Grid:
        """The box that was found and its cells."""
        return self.density.grid

    @property
    def log_evidence(self) -> float:
        """log Z, nats; see ``evidence`` for its error."""
        return self.evidence.log_evidence

    @property
    def converged(self) -> bool:
        """Whether the transport stands for the posterior: solved, resolved, bounds closed."""
        found = self.evidence
        resolved = abs(found.mass_constant) <= MOST_MASS_CONSTANT_NATS
        return self.transport.status.succeeded and resolved and found.gap <= MOST_GAP_NATS

    @cached_property
    def sampler(self) -> Sampler:
        """Draws through the map, and what is known of them."""
        return Sampler(self.transport)

    def sample(self, n: int, *, seed: int | np.random.Generator) -> Array:
        """n independent draws, (n, d)."""
        return self.sampler.sample(n, seed=seed)

    @cached_property
    def _log_density(self) -> LogDensity:
        return LogDensity.with_empty_cells(self.density)

    def log_density(self, points: ArrayLike) -> Array:
        """log of the normalised posterior at points (m, d), by cubic interpolation on the grid."""
        return self._log_density(points)

    @cached_property
    def mean(self) -> Array:
        """Posterior mean, (d,); fourth order in the spacing, as the covariance."""
        return np.array([self._expected(x) for x in self.grid.coordinates()])

    @cached_property
    def covariance(self) -> Array:
        """Posterior covariance, (d, d).

        The slope of the density within cells is taken into account: the plain sum over cells, with
        h^2/12 for the width of a cell, would be too large by h^2/6 (Sheppard, 1898).
        """
        dim = self.grid.dim
        x = self.grid.coordinates() - self.mean.reshape((-1,) + (1,) * dim)
        upper = {(i, j): self._expected(x[i] * x[j]) for i in range(dim) for j in range(i, dim)}
        return np.array([[upper[min(i, j), max(i, j)] for j in range(dim)] for i in range(dim)])

    def _expected(self, function: Array) -> float:
        """The integral of a function of the cell centres against the posterior."""
        return cell_integral(function, self.density.masses)

    @property
    def std(self) -> Array:
        """Posterior standard deviations, (d,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def marginal(self, *axes: int) -> Density:
        """The law of one or more coordinates, in the order of the axes.

        Raises
        ------
        InvalidInputError
            An axis does not exist, or occurs twice.
        """
        dim = self.grid.dim
        if not axes or len(set(axes)) != len(axes) or any(a not in range(dim) for a in axes):
            raise InvalidInputError(
                f"axes are {axes!r}; they must be different axes among 0 to {dim - 1}: for example "
                "marginal(0)"
            )
        kept = sorted(axes)
        others = tuple(k for k in range(dim) if k not in axes)
        masses = self.density.masses.sum(axis=others).transpose([kept.index(a) for a in axes])
        sides = (self.grid.shape, self.grid.lower, self.grid.upper)
        shape, lower, upper = (tuple(side[a] for a in axes) for side in sides)
        return Density(masses, Grid(tuple(map(int, shape)), lower, upper))

    def quantile(self, p: ArrayLike, axis: int) -> Array:
        """Quantiles of one coordinate, by a monotone cubic distribution function of its marginal.

        Parameters
        ----------
        p : float or array_like
            Probabilities in [0, 1].
        axis : int
            The coordinate, from 0.

        Returns
        -------
        ndarray
            One quantile for each probability.
        """
        levels = np.atleast_1d(np.asarray(p, float))
        if not ((levels >= 0) & (levels <= 1)).all():
            raise InvalidInputError(f"p is {p!r}; probabilities lie in [0, 1]: for example 0.5")
        law = self.marginal(axis)
        return quantiles(law.masses, law.grid.faces[0], levels)

    def interval(self, axis: int, level: float = 0.95) -> tuple[float, float]:
        """The central credible interval of one coordinate."""
        check_inside(level, 0, 1, "level", "for example 0.95")
        low, high = self.quantile([0.5 - level / 2, 0.5 + level / 2], axis)
        return float(low), float(high)

    def importance(self, n: int, *, seed: int | np.random.Generator) -> Importance:
        """Estimate log Z from draws through the map, weighted by exp(f) over their density.

        Parameters
        ----------
        n : int
            Number of draws, at least 2.
        seed : int or numpy Generator
            Seed of the draws.

        Notes
        -----
        The density of the draws is that of the interpolated map itself, so that the mean weight is
        the integral of exp(f) over the box up to its Monte-Carlo error, whatever the grid.  Draws
        of entropic plans, and single ones whose image misses their base point, count with the
        density of the cells instead, which is off by O(h^2).

        Raises
        ------
        InvalidInputError
            The posterior was loaded from a file, which does not hold the function.
        """
        if self._function is None:
            raise InvalidInputError(
                "this posterior has no log_density: files do not hold functions; call infer again"
            )
        check_whole(n, 2, "n", "fewer draws tell no error, pass for example 1000")
        y, x = self.sampler.pairs(n, seed=seed)
        proposal = self.sampler.log_density(x)
        if not isinstance(self.transport, EntropicTransport):
            exact, found = log_push_forward(self.transport, y, x)
            proposal[found] = exact[found]
        logs = self._function.at(x) - proposal
        weights = np.exp(logs - logs.max())
        mean, error = float(weights.mean()), float(weights.std(ddof=1)) / np.sqrt(n)
        lost = np.isneginf(logs).any()
        return Importance(
            log_evidence=float(logs.max() + np.log(mean)),
            standard_error=error / mean,
            elbo=-np.inf if lost else float(logs.mean()),
            elbo_standard_error=np.inf if lost else float(logs.std(ddof=1) / np.sqrt(n)),
            effective_sample_size=float(np.exp(2 * logsumexp(logs) - logsumexp(2 * logs))),
        )

    def summary(self) -> dict[str, Any]:
        """Moments, intervals and evidence, for a table or JSON."""
        rows = {
            name: {
                "mean": float(self.mean[axis]), "std": float(self.std[axis]),
                "median": float(self.quantile(0.5, axis)[0]), "interval": self.interval(axis),
            }
            for axis, name in enumerate(self.names)
        }  # fmt: skip
        return {
            "parameters": rows, "evidence": self.evidence.to_dict(),
            "evaluations": self.evaluations, "status": self.transport.status.name,
            "flow": self.flow.status.name, "grid": self.grid.to_dict(), **self.stats,
        }  # fmt: skip

    def __repr__(self) -> str:
        rows = ", ".join(
            f"{name} = {m:.4g} +- {s:.2g}"
            for name, m, s in zip(self.names, self.mean, self.std, strict=True)
        )
        return f"<Posterior {rows}; log Z = {self.log_evidence:.6g} +- {self.evidence.error:.1g}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the function to one .npz file that `load` reads back."""
        arrays, meta = Settled(self.flow, self.transport).storable()
        meta |= {
            "kind": "posterior", "names": list(self.names), "evaluations": self.evaluations,
            "evidence": self.evidence.to_dict(), "grid": self.grid.to_dict(),
            "density": storable_density(self.density),
            "stats": self.stats.to_dict(),
        }  # fmt: skip
        storage.save(path, arrays | {"density": self.density.masses}, meta)

    @classmethod
    def from_stored(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Posterior:
        """The posterior that `save` wrote, from the contents of its file."""
        end = Settled.from_stored(arrays, meta)
        kept = meta.get("density", {"grid": meta["grid"], "floor": None})
        return cls(
            end.flow, end.transport, stored_density(arrays["density"], kept),
            Evidence.from_dict(meta["evidence"]),
            names=tuple(meta["names"]), evaluations=meta["evaluations"], stats=meta["stats"],
        )  # fmt: skip


def log_push_forward(transport: Transport, y: Array, x: Array) -> tuple[Array, Array]:
    """log nu(y) + log |det D grad u(x)| for y drawn from the base law nu, and x = grad u*(y).

    Of the interpolated map itself: this is the very density of the draws, 1/length^d, without an
    error of the grid.  And where grad u(x) is y, as it must be.
    """
    base, grid = transport.problem.target, transport.problem.source.grid
    nu = base.values[tuple(base.grid.cell_index(y).T)]
    slopes = np.empty((len(x), grid.dim, grid.dim))
    for axis, h in enumerate(grid.spacing):
        ends = []
        for sign in (-1, 1):
            moved = x.copy()
            moved[:, axis] += sign * DIFFERENCE_CELLS * h
            np.clip(moved[:, axis], grid.lower[axis], grid.upper[axis], out=moved[:, axis])
            ends.append(moved)
        width = (ends[1] - ends[0])[:, axis]
        slopes[:, :, axis] = (transport.map(ends[1]) - transport.map(ends[0])) / width[:, None]
    with np.errstate(divide="ignore"):
        logs = np.log(nu) + np.linalg.slogdet(slopes)[1]
    missed = np.abs(transport.map(x) - y) > IMAGE_MISS_CELLS * np.array(base.grid.spacing)
    return logs, ~missed.any(axis=1) & np.isfinite(logs)
