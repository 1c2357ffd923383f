"""Geometric multigrid on lattice stencils: the fast preconditioner for moderate anisotropy.

Coarse operators come from averaged diffusion tensors, decomposed again by Selling's formula, so
that they are monotone stencils too.  Smoothing is lexicographic Gauss-Seidel within slabs
of two colours, forward before the coarse correction and backward after it, in single precision: a
preconditioner needs no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pma_grid.grid.lattice import Lattice, Share
from pma_grid.grid.transfer import Transfer
from pma_grid.kernels.equation import DIMENSION
from pma_grid.kernels.grid.lattice import VECTORS_A_CELL, link
from pma_grid.kernels.linsolve import hierarchy as kernels
from pma_grid.linsolve.handle import Handle
from pma_grid.linsolve.stencil import Stencil
from pma_grid.runtime import Array, Floats, Integers

SINGLE = np.float32
# Grids of at most so many cells are solved by a dense inverse, which costs less than their sweeps.
COARSEST_CELLS = 80
# Axes whose mean diffusion is below this share of the largest are not coarsened: point smoothing
# reduces errors only along strongly coupled axes.
STRONG_DIFFUSION_SHARE = 0.3
# Rows of the finest grid from which its strengths are judged; about as many cells of a coarser one.
SAMPLED_ROWS, SAMPLED_CELLS = 128, 2**15
# The weights of the largest row lie within these powers of two, or are brought to their middle:
# single precision must hold products of three.  Rows so many powers below it would be lost.
SAFE_POWERS, POWERS_OF_RANGE = (0, 40), 60
# Densities this small beside their mean count as so much: coarse cells divide by sums of them.
SMALLEST_DENSITY = 1e-30
# Largest |t_k| of an upwind-limited weight w_k (1 + t_k); 1 would cut one neighbour off.
LARGEST_DRIFT_SHARE = 0.95


class _Level:
    """Arrays of one grid of the hierarchy."""

    def __init__(self, lattice: Lattice) -> None:
        self.lattice = lattice
        count = VECTORS_A_CELL[lattice.dim]
        n = lattice.size
        self.density = np.empty(n, SINGLE)
        self.inverse_density: Floats = np.empty(0, SINGLE)
        self.weights = np.empty((n, 2 * count), SINGLE)
        self.inverse_diagonal = np.empty(n, SINGLE)
        self.rhs = np.empty(n, SINGLE)
        self.padded = lattice.zeros(SINGLE)
        self.vectors: Integers = np.empty((0, count, lattice.dim), np.int8)
        self.offsets: Integers = np.empty((0, count), np.int32)
        # of coarse grids, (N, 1 + d(d+1)/2 + d): density, and tensor and drift times it; the finest
        # level makes its own piece by piece
        self.moments: Floats = np.empty(0, SINGLE)
        self.transfer: Transfer | None = None

    def weigh(
        self, weights: Floats, tensor: Floats, drift: Floats, cells: slice, reaction: float
    ) -> None:
        """Two-sided smoother weights of some cells from their stencil weights, tensor and drift."""
        dim = self.lattice.dim
        pull = np.empty_like(drift)
        DIMENSION[dim].solve_tensor(tensor, drift, pull)
        kernels.TWO_SIDED_WEIGHTS[dim](
            self.vectors[cells], weights, pull, LARGEST_DRIFT_SHARE, reaction, self.weights[cells],
            self.inverse_diagonal[cells],
        )  # fmt: skip

    def defect(self, first: int, last: int, _: int) -> Floats:
        """density (rhs - A q) in a part of the first axis."""
        lat = self.lattice
        row_start, n_last, cells = lat.part(first, last)
        out = np.empty((last - first, *lat.shape[1:]), SINGLE)
        kernels.DEFECT[lat.dim](
            self.rhs[cells], self.padded, row_start, n_last, self.offsets[cells],
            self.weights[cells], self.inverse_diagonal[cells], self.density[cells], out.ravel(),
        )  # fmt: skip
        return out

    def smooth(self, backward: bool) -> None:
        """One Gauss-Seidel sweep, slab by slab in two colours, halo refreshed."""
        lat = self.lattice
        smooth = kernels.SMOOTH[lat.dim]
        lat.sweep(
            lambda slabs: smooth(
                lat.slabs, *slabs, self.rhs, lat.row_start, lat.n_last, self.offsets, self.weights,
                self.inverse_diagonal, backward, self.padded,
            ),
            backward=backward,
        )  # fmt: skip
        lat.reflect(self.padded)


class VCycle:
    """A hierarchy set up for one stencil; a call applies one V-cycle."""

    def __init__(self, levels: list[_Level], coarsest: Array, sweeps: int, unit: float) -> None:
        self.levels = levels
        self._coarsest = coarsest
        self._sweeps = sweeps
        self._unit = unit

    def __call__(self, residual: Array, out: Array) -> None:
        """``out`` receives an approximation of J^{-1} residual."""
        level = self.levels[0]
        lat = level.lattice
        lat.share(
            lambda s: np.negative(residual[s.cells], out=level.rhs[s.cells], casting="same_kind")
        )
        self._cycle(0)
        lat.gather(level.padded, out)
        if self._unit != 1:
            out *= self._unit

    def _cycle(self, depth: int) -> None:
        level = self.levels[depth]
        lat = level.lattice
        if depth == len(self.levels) - 1:
            lat.fill(self._coarsest @ level.rhs, level.padded)
            return
        level.padded[:] = 0
        for _ in range(self._sweeps):
            level.smooth(backward=False)
        coarse = self.levels[depth + 1]
        assert level.transfer is not None
        level.transfer.restrict_made(level.defect, coarse.rhs.reshape(coarse.lattice.shape))
        coarse.rhs *= coarse.inverse_density
        self._cycle(depth + 1)
        correction = np.empty(coarse.lattice.shape, SINGLE)
        coarse.lattice.gather(coarse.padded, correction)
        correction = level.transfer.interpolate(correction)
        lat.add(correction, level.padded)
        lat.reflect(level.padded)
        for _ in range(self._sweeps):
            level.smooth(backward=True)


@dataclass(frozen=True)
class Multigrid:
    """Geometric multigrid: the fast preconditioner where anisotropy is moderate.

    Parameters
    ----------
    sweeps : int
        Number of Gauss-Seidel sweeps of a V-cycle before and after each coarse grid.
    lag : bool
        Whether the hierarchy is kept for later matrices on the same grid, until it becomes slow.

    Notes
    -----
    Grids of any shape are coarsened, odd and prime sizes included; axes with little diffusion are
    left alone.  The set-up costs about half a cycle, and a cycle about ten passes of a nine-point
    stencil.
    """

    sweeps: int = 1
    lag: bool = False

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Build the hierarchy, reusing the arrays of a previous handle of the same lattice.

        Raises `ArithmeticError` where the rows are beyond single precision beside each other.
        """
        cycle = previous.precondition if previous is not None else None
        if isinstance(cycle, VCycle) and cycle.levels[0].lattice is stencil.lattice:
            if self.lag and previous is not None and previous.serves(stencil):
                return Handle("multigrid", stencil, cycle, previous, lagged=True)
            levels = cycle.levels
        else:
            levels = [_Level(stencil.lattice)]
        work, unit = _normalised(stencil)
        fine = levels[0]
        fine.vectors = stencil.vectors
        # a stencil's vectors move on with the next evaluation
        fine.offsets = stencil.offsets.copy() if self.lag else stencil.offsets
        np.multiply(stencil.row_scale, 1 / np.mean(stencil.row_scale), out=fine.density,
                    casting="same_kind")  # fmt: skip
        np.maximum(fine.density, SMALLEST_DENSITY, out=fine.density)
        _build(levels, work)
        coarsest = _pseudo_inverse(levels[-1], work.reaction)
        return Handle("multigrid", stencil, VCycle(levels, coarsest, self.sweeps, unit), previous)


def _normalised(stencil: Stencil) -> tuple[Stencil, float]:
    """The stencil in a unit in which single precision holds it, and that unit, a power of two."""
    weights = stencil.positive_weights
    rows = weights @ np.ones(weights.shape[1])
    low, high = float(rows.min()), float(rows.max())
    if not (low > 0 and high < math.inf and high <= math.ldexp(low, POWERS_OF_RANGE)):
        raise ArithmeticError(
            f"rows of the matrix have weights from {low:g} to {high:g}, too far apart for "
            "multigrid in single precision: use AMG or Direct"
        )
    power = math.frexp(high)[1]
    if SAFE_POWERS[0] <= power <= SAFE_POWERS[1]:
        return stencil, 1.0
    unit = math.ldexp(1.0, sum(SAFE_POWERS) // 2 - power)
    work = replace(
        stencil, weights=weights * unit, clamped=None, drift=stencil.drift * unit,
        reaction=stencil.reaction * unit, padded=stencil._padded,
    )  # fmt: skip
    return work, unit


def _build(levels: list[_Level], stencil: Stencil) -> None:
    """Make the weights of all levels, and the levels below the first as far as they are missing."""
    fine = levels[0]
    shape = _coarser(stencil.lattice.shape, _strengths(stencil))
    _link(levels, 0, shape)
    if shape is None:
        tensor = _tensors(stencil.vectors, stencil.positive_weights)
        fine.weigh(stencil.positive_weights, tensor, stencil.drift, slice(None), stencil.reaction)
    else:
        _average_finest(stencil, levels[0], levels[1])
    depth = 1
    while shape is not None:
        _complete(levels[depth - 1], levels[depth], stencil.reaction)
        moments = levels[depth].moments
        sample = moments[:: max(1, len(moments) // SAMPLED_CELLS), 1:]
        shape = _coarser(shape, _diagonals(sample, len(shape)))
        _link(levels, depth, shape)
        if shape is not None:
            _average(levels[depth], levels[depth + 1])
        depth += 1


def _link(levels: list[_Level], depth: int, shape: tuple[int, ...] | None) -> None:
    """Keep or make a level of ``shape`` below ``depth``; None ends the hierarchy there."""
    if shape is not None and depth + 1 < len(levels) and levels[depth + 1].lattice.shape == shape:
        return
    del levels[depth + 1 :]
    if shape is not None:
        lat = levels[depth].lattice
        levels.append(_Level(Lattice(shape, workers=lat.workers)))
        levels[depth].transfer = Transfer(lat.shape, shape, lat.workers)


def _tensors(vectors: Integers, weights: Floats) -> Floats:
    """Diffusion tensors of stencils, upper triangles by rows."""
    dim = vectors.shape[2]
    tensor = np.empty((len(vectors), dim * (dim + 1) // 2), SINGLE)
    kernels.TENSORS[dim](vectors, weights, tensor)
    return tensor


def _strengths(stencil: Stencil) -> Array:
    """Diagonals of the diffusion tensors of the finest grid, of a sample of its rows."""
    lat = stencil.lattice
    step = max(1, lat.rows // SAMPLED_ROWS)

    def rows(values: NDArray[Any]) -> NDArray[Any]:
        sampled = values.reshape(lat.rows, lat.n_last, *values.shape[1:])[::step]
        return np.ascontiguousarray(sampled).reshape(-1, *values.shape[1:])

    return _diagonals(_tensors(rows(stencil.vectors), rows(stencil.positive_weights)), lat.dim)


def _diagonals(tensor: Floats, dim: int) -> Array:
    """The diagonal entries of packed tensors, in double precision."""
    return np.asarray(tensor[:, [0, dim, 2 * dim - 1][:dim]], float)


def _coarser(shape: tuple[int, ...], diagonals: Array) -> tuple[int, ...] | None:
    """Next coarser shape, halving the strongly coupled axes; None when small enough."""
    if math.prod(shape) <= COARSEST_CELLS:
        return None
    sums = diagonals.sum(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        strength = np.mean(diagonals / sums, axis=0)
    if not np.isfinite(strength).all():  # of tensors that single precision cannot hold
        strength = np.ones(len(shape))
    able = np.array(shape) > 1
    strongest = strength[able].max()
    halve = able & (strength >= STRONG_DIFFUSION_SHARE * strongest)
    return tuple((n + 1) // 2 if h else n for n, h in zip(shape, halve, strict=True))


def _average_finest(stencil: Stencil, fine: _Level, coarse: _Level) -> None:
    """Smoother weights of the finest grid and, while its tensors are at hand, coarse moments."""
    lat = fine.lattice
    weights = stencil.positive_weights

    def make(first: int, last: int, new: int) -> Floats:
        _, _, cells = lat.part(first, last)
        drift = stencil.drift[cells]
        tensor = _tensors(stencil.vectors[cells], weights[cells])
        out = np.empty((last - first, *lat.shape[1:], _entries(lat.dim)), SINGLE)
        kernels.moments(fine.density[cells], tensor, drift, out.reshape(-1, out.shape[-1]))
        _, _, cells = lat.part(new, last)
        own = tensor[cells.start - cells.stop :]
        fine.weigh(weights[cells], own, stencil.drift[cells], cells, stencil.reaction)
        return out

    _restrict_moments(fine, coarse, make)


def _average(fine: _Level, coarse: _Level) -> None:
    """Coarse moments: sums of the finer ones."""
    values = fine.moments.reshape(*fine.lattice.shape, -1)
    _restrict_moments(fine, coarse, lambda first, last, _: values[first:last])


def _restrict_moments(
    fine: _Level, coarse: _Level, make: Callable[[int, int, int], Floats]
) -> None:
    assert fine.transfer is not None
    shape = coarse.lattice.shape
    coarse.moments = np.empty((coarse.lattice.size, _entries(len(shape))), SINGLE)
    fine.transfer.restrict_made(make, coarse.moments.reshape(*shape, -1))


def _entries(dim: int) -> int:
    """Moments of a cell: density, tensor, drift."""
    return 1 + dim * (dim + 1) // 2 + dim


def _complete(fine: _Level, coarse: _Level, reaction: float) -> None:
    """Selling stencils of a coarse grid from its moments."""
    lat = coarse.lattice
    n, dim, count = lat.size, lat.dim, VECTORS_A_CELL[lat.dim]
    ratios = np.array(fine.lattice.shape) / np.array(lat.shape)
    coarse.inverse_density = np.empty(n, SINGLE)
    coarse.vectors = np.empty((n, count, dim), np.int8)
    coarse.offsets = np.empty((n, count), np.int32)

    def task(share: Share) -> None:
        c = share.cells
        size = c.stop - c.start
        tensor, drift = (
            np.empty((size, dim * (dim + 1) // 2), SINGLE),
            np.empty((size, dim), SINGLE),
        )
        kernels.means(coarse.moments[c], ratios, tensor, drift, coarse.density[c],
                      coarse.inverse_density[c])  # fmt: skip
        weights = np.empty((size, count), SINGLE)
        DIMENSION[dim].decompose(tensor, lat.halo, coarse.vectors[c], weights)
        link(coarse.vectors[c], lat.strides, coarse.offsets[c])
        coarse.weigh(weights, tensor, drift, c, reaction)

    lat.share(task)


def _pseudo_inverse(level: _Level, reaction: float) -> Array:
    """Dense inverse on the coarsest grid; constants, left to the multiplier, damped to bound it."""
    lat = level.lattice
    n = lat.size
    matrix = np.zeros((n, n))
    kernels.assemble_two_sided(lat.shape_array, level.vectors, level.weights, matrix)
    largest = max(float(np.abs(matrix).max()), 1e-300)
    matrix[np.diag_indices(n)] += reaction
    matrix += largest / n
    kernels.invert_dominant(matrix)
    return matrix.astype(SINGLE)
