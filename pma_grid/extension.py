"""How a potential goes on beyond the source box when its gradient is to fill a convex set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pma_grid.kernels import extension as kernels
from pma_grid.kernels import lattice as lattice_kernels
from pma_grid.lattice import Array, Lattice


class Tangent:
    """The derivative of the ghosts: what `Lattice` does for directions, `fill` and `reflect`."""

    def __init__(self, lattice: Lattice, positions: Array, count: int) -> None:
        self.lattice = lattice
        self.positions = positions
        self.nodes = np.zeros((positions.size, count), np.int32)
        self.weights = np.zeros((positions.size, count))

    def reflect(self, padded: Array) -> None:
        """Fill the halo of a flat padded direction."""
        kernels.spread(padded, self.positions, self.nodes, self.weights)

    def fill(self, values: Array, padded: Array) -> None:
        """Write a direction into the padded field, halo included."""
        lat = self.lattice
        lattice_kernels.scatter_rows(
            values.reshape(lat.rows, lat.n_last), lat.row_start, lat.n_last, padded
        )
        self.reflect(padded)

    def matrix(self) -> sparse.csr_matrix:
        """The padded direction as a linear map of the direction, shape (padded size, N)."""
        lat = self.lattice
        cells = (lat.row_start[:, None] + np.arange(lat.n_last)).ravel()
        index = np.full(int(np.prod(lat.padded_shape)), -1, np.int64)
        index[cells] = np.arange(lat.size)
        count = self.nodes.shape[1]
        rows = np.concatenate([cells, np.repeat(self.positions, count)])
        columns = np.concatenate([np.arange(lat.size), index[self.nodes].ravel()])
        data = np.concatenate([np.ones(lat.size), self.weights.ravel()])
        return sparse.coo_matrix((data, (rows, columns)), shape=(index.size, lat.size)).tocsr()


@dataclass(frozen=True)
class _Face:
    """One face of a two-dimensional box: strides, the chain of the polygon, tables of h."""

    start: int
    inward: int
    along: int
    cells: Array
    metric: float
    normal: Array
    tangent: Array
    breaks: Array
    shifts: Array
    tables: Array
    slots: Array


class ConvexExtension:
    """Ghosts of phi in two dimensions by mirrored minima over a convex polygon.

    Parameters
    ----------
    lattice : Lattice
    metric : ndarray, shape (2,)
        Of the quadratic part of u, index units.
    vertices : ndarray, shape (m, 2)
        Of the polygon, counterclockwise, as spacing * (y - lower corner of the target box).
    bent : bool
        Interpolate by parabolas along rows; chords are strictly monotone and less accurate.

    Attributes
    ----------
    tangent : Tangent
        The derivative of the ghosts at the last `fill`.
    """

    def __init__(
        self, lattice: Lattice, metric: Array, vertices: Array, *, bent: bool = True
    ) -> None:
        self.lattice, self.bent = lattice, bent
        index = np.indices(lattice.padded_shape).reshape(2, -1) - lattice.halo
        inside = ((index >= 0) & (index < lattice.shape_array[:, None])).all(axis=0)
        positions = np.flatnonzero(~inside)
        self.tangent = Tangent(lattice, positions, 4)
        slots = np.full(inside.size, -1, np.int64)
        slots[positions] = np.arange(positions.size)
        slots = slots.reshape(lattice.padded_shape)
        self._faces = [
            _face(lattice, metric, vertices, slots, axis, upper)
            for axis in (0, 1)
            for upper in (False, True)
        ]

    def fill(self, values: Array, padded: Array) -> None:
        """Write a potential into the padded field, minima in the halo."""
        lat, tangent = self.lattice, self.tangent
        lattice_kernels.scatter_rows(
            values.reshape(lat.rows, lat.n_last), lat.row_start, lat.n_last, padded
        )
        for f in self._faces:
            kernels.extend_face_2d(
                padded, f.start, f.inward, f.along, f.cells, lat.halo, f.metric, f.normal,
                f.tangent, f.breaks, f.shifts, f.tables, self.bent, f.slots, tangent.nodes,
                tangent.weights,
            )  # fmt: skip


def _face(
    lattice: Lattice, metric: Array, vertices: Array, slots: Array, axis: int, upper: bool
) -> _Face:
    """Strides, chain and tables of one face."""
    halo, other = lattice.halo, 1 - axis
    cells = lattice.shape_array[[axis, other]]
    strides = [int(s) for s in lattice.strides]
    corner = halo * sum(strides)
    start = corner + (int(cells[0]) - 1) * strides[axis] if upper else corner
    sign = 1 if upper else -1
    normal, tangent, breaks = chain(sign * vertices[:, axis], vertices[:, other])
    k = np.arange(1, halo + 1)
    depth = np.minimum(k, cells[0])
    # what the quadratic part differs by between ghost and mirror image, per cell of distance
    shifts = 0.5 * metric[axis] * (k - depth + (2 * cells[0] if upper else 0))
    distance = (k + depth - 1.0)[:, None]
    offsets = np.arange(1.0 - cells[1] - halo, cells[1] + halo)
    m = np.searchsorted(breaks, offsets / distance)
    tables = distance * (normal[m] - shifts[:, None]) + offsets * tangent[m]
    outward = int(cells[0]) + halo + np.arange(halo) if upper else np.arange(halo)[::-1]
    ghosts = np.take(slots, outward, axis)
    ghosts = np.ascontiguousarray(ghosts if axis == 0 else ghosts.T)
    if axis == 1:
        ghosts[:, :halo] = -1 - ghosts[:, :halo]
        ghosts[:, halo + int(cells[1]) :] = -1 - ghosts[:, halo + int(cells[1]) :]
    inward = -sign * strides[axis]
    return _Face(
        start, inward, strides[other], cells, float(metric[other]), normal, tangent, breaks,
        shifts, tables, ghosts,
    )  # fmt: skip


def chain(normal: Array, tangent: Array) -> tuple[Array, Array, Array]:
    """Vertices that support the directions towards one side, and the ratios where they change.

    The upper hull of the points (tangent, normal): by increasing tangent, the slopes of its edges
    fall, and vertex m maximises normal + ratio * tangent between breaks[m - 1] and breaks[m].
    """
    order = np.lexsort((normal, tangent))
    hull: list[int] = []
    for p in order:
        while hull and tangent[hull[-1]] == tangent[p]:
            hull.pop()
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            left = (normal[b] - normal[a]) * (tangent[p] - tangent[b])
            if left > (normal[p] - normal[b]) * (tangent[b] - tangent[a]):
                break
            hull.pop()
        hull.append(int(p))
    v, w = normal[hull], tangent[hull]
    return v, w, -np.diff(v) / np.diff(w)
