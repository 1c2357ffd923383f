"""How a potential goes on beyond the source box when its gradient is to fill a convex set."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy import sparse

from pma_grid.grid.axes import along
from pma_grid.grid.grid import Grid
from pma_grid.grid.lattice import HALO, Lattice
from pma_grid.grid.transfer import Transfer, lagrange
from pma_grid.kernels.equation import ghosts as kernels
from pma_grid.kernels.records import Chain, Face
from pma_grid.problem.domains import ConvexDomain
from pma_grid.problem.frame import Frame
from pma_grid.runtime import SERIAL, Array, Floats, Integers, Workers

# Cells that a ghost depends on: those around a point of a row in two dimensions, one cell in one.
CELLS_OF_A_GHOST = {1: 1, 2: 4}
# Ghosts that prolongation by six points an axis reads.
PROLONGATION_HALO = 3


class ExtendedLattice(Lattice):
    """A lattice whose ghosts are mirrored minima over a convex set (one and two dimensions).

    `extend` fills the ghosts of a potential; `fill` and `reflect` those of a direction, by the
    derivative of the last `extend`.

    Parameters
    ----------
    shape : tuple of int
    metric : ndarray, shape (d,)
        Of the quadratic part of u, index units.
    vertices : ndarray, shape (m, d)
        Outline of the set, counterclockwise, as spacing * (y - lower corner of the target box);
        both ends in one dimension.
    halo, workers
        As for `Lattice`.
    bent : bool
        Interpolate by parabolas along rows; chords are strictly monotone and first order.

    Attributes
    ----------
    positions : ndarray, shape (g,)
        Flat padded indices of the ghosts.
    nodes, weights : ndarray, shape (g, CELLS_OF_A_GHOST[d])
        Flat padded indices of the cells that each ghost depends on, and the derivatives.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        metric: Array,
        vertices: Array,
        *,
        halo: int | None = None,
        workers: Workers = SERIAL,
        bent: bool = True,
    ) -> None:
        super().__init__(shape, halo or max(HALO[len(shape)], PROLONGATION_HALO), workers)
        self.bent = bent
        index = np.indices(self.padded_shape).reshape(self.dim, -1) - self.halo
        inside = ((index >= 0) & (index < self.shape_array[:, None])).all(axis=0)
        self.positions = np.flatnonzero(~inside)
        self.nodes = np.zeros((self.positions.size, CELLS_OF_A_GHOST[self.dim]), np.int32)
        self.weights = np.zeros(self.nodes.shape)
        self._constants: Array = np.empty(0)
        self._faces: list[Face] = []
        if self.dim == 1:
            self._mirror(float(metric[0]), vertices[:, 0])
            return
        slots = np.full(inside.size, -1, np.int64)
        slots[self.positions] = np.arange(self.positions.size)
        slots = slots.reshape(self.padded_shape)
        self._faces = [
            _face(self, metric, vertices, slots, axis, upper)
            for axis in (0, 1)
            for upper in (False, True)
        ]

    def extend(self, values: Floats, padded: Floats) -> None:
        """Write a potential into the padded field, minima in the halo."""
        self.scatter(values, padded)
        if self.dim == 1:
            padded[self.positions] = padded[self.nodes[:, 0]] + self._constants
        for face in self._faces:
            kernels.extend_face_2d(padded, face, self.bent, self.nodes, self.weights)

    def reflect(self, padded: Floats) -> None:
        """Fill the halo of a flat padded direction."""
        kernels.spread(padded, self.positions, self.nodes, self.weights)

    def ghost_matrix(self) -> sparse.csr_matrix:
        """The padded direction as a linear map of the direction, shape (padded size, N)."""
        cells, index = self._numbering
        count = self.nodes.shape[1]
        rows = np.concatenate([cells, np.repeat(self.positions, count)])
        columns = np.concatenate([np.arange(self.size), index[self.nodes].ravel()])
        data = np.concatenate([np.ones(self.size), self.weights.ravel()])
        return sparse.coo_matrix((data, (rows, columns)), shape=(index.size, self.size)).tocsr()

    @cached_property
    def _numbering(self) -> tuple[Integers, Integers]:
        """Padded indices of the cells, and the cell at each padded index."""
        cells = (self.row_start[:, None] + np.arange(self.n_last)).ravel()
        index = np.full(int(np.prod(self.padded_shape)), -1, np.int64)
        index[cells] = np.arange(self.size)
        return cells, index

    def _mirror(self, metric: float, ends: Array) -> None:
        """One dimension: the minimum is over the mirror image alone."""
        n = self.shape[0]
        outward = np.where(self.positions < self.halo, -1.0, 1.0)
        k = np.where(outward < 0, self.halo - self.positions, self.positions - self.halo - n + 1)
        depth = np.minimum(k, n)
        self.nodes[:, 0] = self.halo + np.where(outward < 0, depth - 1, n - depth)
        self.weights[:] = 1.0
        # what the quadratic part differs by between ghost and mirror image, per cell of distance
        shift = 0.5 * metric * (k - depth + np.where(outward < 0, 0, 2 * n))
        reach = np.where(outward < 0, -ends.min(), ends.max())
        self._constants = (k + depth - 1) * (reach - shift)


Interpolation = Callable[[Array, int], Array]


def prolongations(lattice: Lattice, transfer: Transfer) -> tuple[Interpolation, Interpolation]:
    """Interpolation of potentials and of directions to a finer grid, with the lattice's ghosts.

    Reflected, a potential that is not even about the faces would have a kink there.
    """
    if not isinstance(lattice, ExtendedLattice):
        return transfer.interpolate, transfer.interpolate
    buffer = lattice.zeros()

    def potential(values: Array, points: int) -> Array:
        lattice.extend(np.ascontiguousarray(values), buffer)
        return _interpolated(buffer.reshape(lattice.padded_shape), lattice, transfer.fine, points)

    def direction(values: Array, points: int) -> Array:
        lattice.fill(np.ascontiguousarray(values), buffer)
        return _interpolated(buffer.reshape(lattice.padded_shape), lattice, transfer.fine, points)

    return potential, direction


def _interpolated(padded: Array, lattice: Lattice, fine: tuple[int, ...], points: int) -> Array:
    """Lagrange interpolation of a padded field at the centres of a finer grid of the same box."""
    for axis, (n, m) in enumerate(zip(fine, lattice.shape, strict=True)):
        s = (np.arange(n) + 0.5) * m / n - 0.5
        left = np.floor(s).astype(np.int64)
        total = np.zeros(())
        for k, weight in enumerate(lagrange(s - left, points).T):
            index = left + k - (points // 2 - 1) + lattice.halo
            total = total + along(weight, axis, lattice.dim) * np.take(padded, index, axis)
        padded = np.asarray(total)
    return padded


def lattice_between(
    source: Grid,
    target: Grid,
    domain: ConvexDomain | None,
    *,
    halo: int | None = None,
    workers: Workers = SERIAL,
    bent: bool = True,
) -> Lattice:
    """The lattice of ``source`` for potentials whose gradient fills ``domain`` (None: the box).

    Potentials are in the unit of the `Frame` of the two grids.
    """
    if domain is None:
        return Lattice(source.shape, halo, workers)
    frame = Frame(source, target)
    vertices = frame.spacing * ((domain.outline - np.array(target.lower)) / frame.target_length)
    return ExtendedLattice(
        source.shape, frame.metric, vertices, halo=halo, workers=workers, bent=bent
    )


def _face(
    lattice: Lattice, metric: Array, vertices: Array, slots: Integers, axis: int, upper: bool
) -> Face:
    """Strides, chain and tables of one face."""
    halo, other = lattice.halo, 1 - axis
    cells = lattice.shape_array[[axis, other]]
    strides = [int(s) for s in lattice.strides]
    corner = halo * sum(strides)
    start = corner + (int(cells[0]) - 1) * strides[axis] if upper else corner
    sign = 1 if upper else -1
    support = chain(sign * vertices[:, axis], vertices[:, other])
    k = np.arange(1, halo + 1)
    depth = np.minimum(k, cells[0])
    # what the quadratic part differs by between ghost and mirror image, per cell of distance
    shifts = 0.5 * metric[axis] * (k - depth + (2 * cells[0] if upper else 0))
    distance = (k + depth - 1.0)[:, None]
    offsets = np.arange(1.0 - cells[1] - halo, cells[1] + halo)
    m = np.searchsorted(support.breaks, offsets / distance)
    tables = distance * (support.normal[m] - shifts[:, None]) + offsets * support.tangent[m]
    outward = int(cells[0]) + halo + np.arange(halo) if upper else np.arange(halo)[::-1]
    ghosts = np.take(slots, outward, axis)
    ghosts = np.ascontiguousarray(ghosts if axis == 0 else ghosts.T)
    if axis == 1:
        ghosts[:, :halo] = -1 - ghosts[:, :halo]
        ghosts[:, halo + int(cells[1]) :] = -1 - ghosts[:, halo + int(cells[1]) :]
    inward = -sign * strides[axis]
    return Face(
        start, inward, strides[other], cells, float(metric[other]), support, shifts, tables, ghosts
    )


def chain(normal: Array, tangent: Array) -> Chain:
    """Vertices that support the directions towards one side, and the ratios where they change.

    Of the convex ring (tangent, normal), either way round, the upper part: by increasing tangent,
    vertex m maximises normal + ratio * tangent between breaks[m - 1] and breaks[m].
    """
    # of several leftmost or rightmost vertices the highest
    first, last = np.lexsort((-normal, tangent))[0], np.lexsort((normal, tangent))[-1]
    steps = (last - first) % normal.size
    ring = (first + np.arange(normal.size)) % normal.size
    there, back = ring[: steps + 1], np.append(ring[0], ring[steps:][::-1])
    slope = (normal[last] - normal[first]) / (tangent[last] - tangent[first])
    height = normal - slope * tangent
    hull = there if height[there].mean() >= height[back].mean() else back
    v, w = normal[hull], tangent[hull]
    return Chain(v, w, np.maximum.accumulate(-np.diff(v) / np.diff(w)))
