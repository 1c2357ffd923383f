"""`EntropicTransport`: the entropic plan's projections and potentials as a `Transport`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import binary_dilation

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.problem.stored import storable_pair, stored_pair
from pma_grid.runtime import Array, InvalidInputError, Mask, Status, storage
from pma_grid.transport.potential import interpolated_grid
from pma_grid.transport.pushforward import Raster
from pma_grid.transport.report import TransportReport
from pma_grid.transport.transport import Transport


@dataclass(frozen=True, eq=False)
class EntropicSolution:
    """What the optimal plan of an entropic problem is to the cells of both sides."""

    eps: float
    value: float  # dual
    f: Array  # potentials of the cost |x - y|^2/2
    g: Array
    forward: Array  # E[y | x] at the source's cell centres, (d, *shape), and E[x | y]
    backward: Array
    kernel: str = "plain"


@dataclass(frozen=True, eq=False)
class SparsePlan:
    """The plan pair by pair, of the multiscale method; see `EntropicTransport`."""

    plan: sparse.csr_array
    tears: Mask | None
    hard_dual: float | None


class EntropicTransport(Transport):
    """A plan of entropic optimal transport, min E|x - y|^2/2 + eps KL(P | mu x nu).

    `sinkhorn` returns it, and `solve` where the map is torn.  It has everything that a `Transport`
    has: ``gradient`` and ``map`` are the barycentric projection E[y | x] of the plan, and
    ``inverse`` is the projection in the other direction, E[x | y], which inverts ``map`` up to
    O(eps).

    Attributes
    ----------
    eps : float
        Strength of the regularisation, length^2.
    kernel : str
        "plain" or "reflect"; see `sinkhorn`.
    potential : ndarray, shape ``source.shape``
        u = |x|^2/2 - f, length^2, up to a constant.
    source_potential, target_potential : ndarray
        f and g of the cost |x - y|^2/2 with dP = exp((f + g - |x - y|^2/2)/eps) dmu dnu, length^2.
    plan : scipy.sparse.csr_array or None
        P_ij as (source.size, target.size), in C order of the cells; multiscale only.
    tears : ndarray of bool, shape ``source.shape``, or None
        Cells where the map jumps against a neighbour's; multiscale only.
    value : float
        Dual value of the entropic problem: min E|x - y|^2/2 + eps KL(P | mu x nu), length^2.
    hard_dual : float or None
        Multiscale: the dual value of the hard potential, a lower bound of the W2^2 between the
        atoms at the cell centres, length^2.
    stats : TransportReport
        How the plan was found, and how well it holds.
    """

    def __init__(
        self,
        problem: Problem,
        potential: Array | None,
        solution: EntropicSolution,
        sparse_plan: SparsePlan | None = None,
        *,
        phi: Array | None = None,
        status: Status,
        stats: TransportReport,
    ) -> None:
        super().__init__(problem, potential, phi=phi, status=status, stats=stats)
        self.eps, self.value = float(solution.eps), float(solution.value)
        self.kernel = solution.kernel
        self.source_potential, self.target_potential = solution.f, solution.g
        self._solution = solution
        self.plan: sparse.csr_array | None = None
        self.tears: Mask | None = None
        self.hard_dual: float | None = None
        if sparse_plan is not None:
            self.plan, self.tears = sparse_plan.plan, sparse_plan.tears
            self.hard_dual = sparse_plan.hard_dual

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.problem.source.shape))
        figures = f"W2 = {self.w2:.6g}, eps = {self.eps:.4g}, {self.status}"
        return f"<EntropicTransport {shape}: {figures}>"

    @property
    def gradient(self) -> Array:
        """E[y | x] at the cell centres, (d, *shape), length; grad u of the debiased u if asked."""
        return self._solution.forward

    @property
    def cell_means(self) -> Array:
        """The same as `gradient`: a barycentric projection is the mean over the cell already."""
        return self.gradient

    @property
    def inverse_gradient(self) -> Array:
        """E[x | y] at the target's cell centres, (d, *shape), length."""
        return self._solution.backward

    @cached_property
    def w2_squared(self) -> float:
        """Kantorovich's dual value of the potential, eps forgotten, length^2.

        Dense: of the interpolated potential, as for every `Transport`: a lower bound of W2^2 up to
        that interpolation.  Multiscale: the exact dual value of the hard potentials for atoms at
        the cell centres, never above the exact W2^2 of those atoms.
        """
        if self.hard_dual is not None:
            return max(0.0, self.hard_dual)
        return self.solution.w2_squared

    @cached_property
    def hessian(self) -> Array:
        """D2u at the cell centres, as for every `Transport`; not of multiscale results.

        Raises
        ------
        InvalidInputError
            The potential is the hard one of the multiscale method, which is piecewise linear.
        """
        if self.plan is not None:
            raise InvalidInputError(
                "hessian is not defined for method='multiscale', whose potential is piecewise "
                "linear; use method='dense' or solve"
            )
        return self.solution.hessian

    def map(self, points: ArrayLike) -> Array:
        """The barycentric projection at points of the source box, (m, d) to (m, d).

        Multilinear between the cell centres; see `Transport.map`.
        """
        return _multilinear(self.gradient, self.problem.source, points, self.problem.target)

    def inverse(self, points: ArrayLike) -> Array:
        """E[x | y] at points of the target box, (m, d) to (m, d), multilinear between centres."""
        return _multilinear(self.inverse_gradient, self.problem.target, points, self.problem.source)

    def interpolate(self, t: float, grid: Grid | None = None) -> Density:
        """The law of (1 - t) X + t T(X), T the barycentric projection; torn mass by the plan.

        Parameters
        ----------
        t : float in [0, 1]
        grid : Grid, optional
            Where to give it; default the interpolated box, with the source's shape for t < 1/2.

        Returns
        -------
        Density
            Of what lies in the grid, normalised.

        Notes
        -----
        Pieces of cells move with T and are counted by overlap: the source itself at t = 0, T's
        push-forward at t = 1.  With a plan (multiscale), cells beside tears, and all of them at
        t = 1, move pair by pair of the plan, each shared linearly among the nearest cells: t = 1
        then is the plan's own marginal.
        """
        source, target = self.problem.source, self.problem.target
        between = interpolated_grid(source.grid, target.grid, t)
        grid = between if grid is None else grid
        masses = source.masses
        torn = self._torn(everything=t == 1)
        total = Raster(_widened(grid)).push(self, t, np.where(torn, 0.0, masses))
        if torn.any():
            total += deposit(*self._pairs(t, torn), grid)
        return Density(total, grid)

    def _torn(self, everything: bool) -> Array:
        """Cells that move by the plan: all, or torn ones and neighbours, whose corners see both."""
        if self.plan is None or self.tears is None:
            return np.zeros(self.problem.source.shape, bool)
        if everything:
            return np.ones(self.problem.source.shape, bool)
        return np.asarray(binary_dilation(self.tears, np.ones((3,) * self.problem.dim)))

    def _pairs(self, t: float, cells: Array) -> tuple[Array, Array]:
        """Where the plan's pairs of some source cells are at a time, (m, d), and their masses."""
        assert self.plan is not None
        ends = self.problem.source.grid.points, self.problem.target.grid.points
        entries = self.plan.tocoo()
        kept = cells.ravel()[entries.row]
        x, y = ends[0][entries.row[kept]], ends[1][entries.col[kept]]
        return (1 - t) * x + t * y, entries.data[kept]

    def storable(self) -> storage.Stored:
        """Arrays and metadata that `from_stored` makes the transport of."""
        arrays, meta = storable_pair(self.problem)
        arrays |= self._as_given() | {
            "forward": self.gradient,
            "backward": self.inverse_gradient,
            "source_potential": self.source_potential,
            "target_potential": self.target_potential,
        }
        if self.plan is not None:
            arrays |= {
                "plan.data": self.plan.data,
                "plan.indices": self.plan.indices,
                "plan.indptr": self.plan.indptr,
            }
        if self.tears is not None:
            arrays["tears"] = self.tears
        meta |= {
            "kind": "entropic", "status": self.status.name, "stats": self.stats.to_dict(),
            "eps": self.eps, "kernel": self.kernel, "value": self.value,
            "hard_dual": self.hard_dual,
        }  # fmt: skip
        return arrays, meta

    @classmethod
    def from_stored(
        cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]
    ) -> EntropicTransport:
        """The transport of what `storable` gave."""
        problem, stats = stored_pair(arrays, meta), TransportReport.from_dict(meta["stats"])
        # until 0.1.0 the values were found in the report alone
        solution = EntropicSolution(
            meta["eps"],
            meta["value"] if "value" in meta else stats["dual"],
            arrays["source_potential"],
            arrays["target_potential"],
            arrays["forward"],
            arrays["backward"],
            meta["kernel"],
        )
        sparse_plan = None
        if "plan.data" in arrays:
            parts = tuple(arrays[f"plan.{name}"] for name in ("data", "indices", "indptr"))
            shape = problem.source.grid.size, problem.target.grid.size
            sparse_plan = SparsePlan(
                sparse.csr_array(parts, shape=shape),
                arrays.get("tears"),
                meta.get("hard_dual", stats.hard_dual),
            )
        status = Status[meta["status"]]
        given = {"potential": arrays.get("potential"), "phi": arrays.get("phi")}
        return cls(
            problem, solution=solution, sparse_plan=sparse_plan, status=status, stats=stats, **given
        )


def _multilinear(field: Array, start: Density, points: ArrayLike, end: Density) -> Array:
    """A map of box to box, interpolated; extrapolated over the last half cells."""
    grid, box = start.grid, end.grid
    places = grid.check_points(points, "points")
    kept = [i for i, n in enumerate(grid.shape) if n > 1]
    if kept:
        single = tuple(i + 1 for i in range(grid.dim) if i not in kept)
        values = np.moveaxis(field.squeeze(single), 0, -1)
        image = RegularGridInterpolator(
            [grid.axes[i] for i in kept], values, bounds_error=False, fill_value=None
        )(places[:, kept])
    else:
        image = np.broadcast_to(field.reshape(1, -1), places.shape)
    return np.asarray(np.clip(image, box.lower, box.upper))


def _widened(grid: Grid) -> list[Array]:
    """Faces of a grid, the outer ones moved out by rounding: points on them count."""
    faces = [np.array(f) for f in grid.faces]
    for f, h, low, high in zip(faces, grid.spacing, grid.lower, grid.upper, strict=True):
        slack = 1e-12 * max(abs(low), abs(high), h)
        f[0], f[-1] = f[0] - slack, f[-1] + slack
    return faces


def deposit(points: Array, masses: Array, grid: Grid) -> Array:
    """Masses of atoms shared linearly among the nearest cell centres; those beyond are lost."""
    position = (points - np.array(grid.lower)) / np.array(grid.spacing) - 0.5
    last = np.array(grid.shape) - 1
    inside = ((position > -0.5 - 1e-9) & (position < last + 0.5 + 1e-9)).all(axis=1)
    position, masses = np.clip(position[inside], 0, last), masses[inside]
    left = np.minimum(position.astype(np.int64), np.maximum(last - 1, 0))
    share = position - left
    total = np.zeros(grid.size)
    for corner in np.ndindex(*(2,) * grid.dim):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1) * masses
        flat = np.ravel_multi_index(tuple(np.minimum(left + corner, last).T), grid.shape)
        total += np.bincount(flat, weight, minlength=grid.size)
    return total.reshape(grid.shape)
