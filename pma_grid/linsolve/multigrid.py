"""Geometric multigrid on lattice stencils: the fast preconditioner for moderate anisotropy.

Coarse operators come from averaged diffusion tensors, decomposed again by Selling's formula, so
that they are monotone stencils too.  Smoothing is lexicographic Gauss-Seidel within slabs
of two colours, forward before the coarse correction and backward after it, in single precision: a
preconditioner needs no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pma_grid.kernels import DIMENSION
from pma_grid.kernels import lattice as kernels
from pma_grid.lattice import Array, Lattice, Transfer
from pma_grid.linsolve.krylov import Handle
from pma_grid.linsolve.stencil import Stencil

SINGLE = np.float32
COARSEST_CELLS = 80
# Axes whose mean diffusion is below this share of the largest are not coarsened: point smoothing
# reduces errors only along strongly coupled axes.
SEMI_COARSENING = 0.3
# Largest |t_k| of an upwind-limited weight w_k (1 + t_k); 1 would cut one neighbour off.
DRIFT_CLIP = 0.95


class _Level:
    """Arrays of one grid of the hierarchy."""

    def __init__(self, shape: tuple[int, ...], halo: int | None = None) -> None:
        self.lattice = lat = Lattice(shape, halo)
        count = {1: 1, 2: 3, 3: 6}[lat.dim]
        n = lat.size
        self.tensor = np.empty((n, lat.dim * (lat.dim + 1) // 2), SINGLE)
        self.drift = np.empty((n, lat.dim), SINGLE)
        self.density = np.empty(n, SINGLE)
        self.inverse_density: Array = np.empty(0, SINGLE)
        self.weights = np.empty((n, 2 * count), SINGLE)
        self.inverse_diagonal = np.empty(n, SINGLE)
        self.rhs = np.empty(n, SINGLE)
        self.defect = np.empty(n, SINGLE)
        self.padded = lat.zeros(SINGLE)
        self.vectors = np.empty((n, count, lat.dim), np.int8)
        self.offsets = np.empty((n, count), np.int32)
        self.transfer: Transfer | None = None

    def weigh(self, weights: Array, reaction: float) -> None:
        """Two-sided smoother weights from the stencil weights, the tensor and the drift."""
        pull = np.empty_like(self.drift)
        DIMENSION[self.lattice.dim].solve_tensor(self.tensor, self.drift, pull)
        kernels.two_sided_weights(
            self.vectors, weights, pull, DRIFT_CLIP, reaction, self.weights, self.inverse_diagonal
        )

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

    def __init__(self, levels: list[_Level], coarsest: Array, sweeps: int) -> None:
        self.levels = levels
        self._coarsest = coarsest
        self._sweeps = sweeps

    def __call__(self, residual: Array, out: Array) -> None:
        """``out`` receives an approximation of J^{-1} residual."""
        level = self.levels[0]
        np.negative(residual, out=level.rhs, casting="same_kind")
        self._cycle(0)
        lat = level.lattice
        kernels.gather_rows(
            level.padded, lat.row_start, lat.n_last, 1.0, out.reshape(lat.rows, lat.n_last)
        )

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
        kernels.DEFECT[lat.dim](
            level.rhs, level.padded, lat.row_start, lat.n_last, level.offsets, level.weights,
            level.inverse_diagonal, level.density, level.defect,
        )  # fmt: skip
        restricted = level.transfer.restrict(level.defect.reshape(lat.shape))
        np.multiply(restricted.ravel(), coarse.inverse_density, out=coarse.rhs)
        self._cycle(depth + 1)
        inner = coarse.lattice
        correction = np.empty((inner.rows, inner.n_last), SINGLE)
        kernels.gather_rows(coarse.padded, inner.row_start, inner.n_last, SINGLE(1), correction)
        correction = level.transfer.interpolate(correction.reshape(inner.shape))
        kernels.add_rows(
            correction.reshape(lat.rows, lat.n_last), lat.row_start, lat.n_last, level.padded
        )
        lat.reflect(level.padded)
        for _ in range(self._sweeps):
            level.smooth(backward=True)


@dataclass(frozen=True)
class Multigrid:
    """Geometric multigrid, V-cycle with ``sweeps`` Gauss-Seidel sweeps before and after.

    Any shape is coarsened (odd and prime sizes included); weakly coupled axes are left alone.
    Set-up costs about half a cycle; a cycle about ten passes of a nine-point stencil.  ``lag``
    keeps the hierarchy over successive set-ups on one grid until it is stale.
    """

    sweeps: int = 1
    lag: bool = False

    def setup(self, stencil: Stencil, previous: Handle | None = None) -> Handle:
        """Build the hierarchy, reusing the arrays of a previous handle of the same lattice."""
        cycle = previous.precondition if previous is not None else None
        if isinstance(cycle, VCycle) and cycle.levels[0].lattice is stencil.lattice:
            if self.lag and previous is not None and previous.serves(stencil):
                return Handle("multigrid", stencil, cycle, previous, lagged=True)
            levels = cycle.levels
        else:
            levels = [_finest(stencil)]
        fine = levels[0]
        # the stencil's vectors move on with the next evaluation
        fine.vectors[:], fine.offsets[:] = stencil.vectors, stencil.offsets
        kernels.tensors(stencil.vectors, stencil.positive_weights, fine.tensor)
        fine.drift[:] = stencil.drift
        fine.density[:] = stencil.row_scale / np.mean(stencil.row_scale)
        fine.weigh(stencil.positive_weights, stencil.reaction)
        depth = 0
        while True:
            shape = _coarser(levels[depth])
            if shape is None:
                break
            if depth + 1 == len(levels) or levels[depth + 1].lattice.shape != shape:
                del levels[depth + 1 :]
                levels.append(_Level(shape))
                levels[depth].transfer = Transfer(levels[depth].lattice.shape, shape)
            _coarsen(levels[depth], levels[depth + 1], stencil.reaction)
            depth += 1
        del levels[depth + 1 :]
        cycle = VCycle(levels, _pseudo_inverse(levels[-1], stencil.reaction), self.sweeps)
        return Handle("multigrid", stencil, cycle, previous)


def _finest(stencil: Stencil) -> _Level:
    level = _Level(stencil.lattice.shape)
    level.lattice = stencil.lattice
    return level


def _coarser(level: _Level) -> tuple[int, ...] | None:
    """Next coarser shape, halving the strongly coupled axes; None when small enough."""
    lat = level.lattice
    if lat.size <= COARSEST_CELLS:
        return None
    dim = lat.dim
    diagonal = [0, dim, 2 * dim - 1][:dim]
    entries = level.tensor[:, diagonal].astype(float)
    strength = np.mean(entries / entries.sum(axis=1, keepdims=True), axis=0)
    able = np.array(lat.shape) > 1
    strongest = strength[able].max()
    halve = able & (strength >= SEMI_COARSENING * strongest)
    return tuple((n + 1) // 2 if h else n for n, h in zip(lat.shape, halve, strict=True))


def _coarsen(fine: _Level, coarse: _Level, reaction: float) -> None:
    """Coarse tensor, drift and density by density-weighted averages; Selling stencils from them."""
    assert fine.transfer is not None
    shape, lat = fine.lattice.shape, coarse.lattice
    ratios = np.array(shape) / np.array(lat.shape)
    coarse.density[:] = fine.transfer.restrict(fine.density.reshape(shape)).ravel()
    coarse.inverse_density = 1 / coarse.density
    pairs = [(i, j) for i in range(lat.dim) for j in range(i, lat.dim)]
    for t, (i, j) in enumerate(pairs):
        total = fine.transfer.restrict((fine.density * fine.tensor[:, t]).reshape(shape))
        coarse.tensor[:, t] = total.ravel() * coarse.inverse_density / (ratios[i] * ratios[j])
    for i in range(lat.dim):
        total = fine.transfer.restrict((fine.density * fine.drift[:, i]).reshape(shape))
        coarse.drift[:, i] = total.ravel() * coarse.inverse_density / ratios[i]
    weights = np.empty(coarse.offsets.shape, SINGLE)
    DIMENSION[lat.dim].decompose(coarse.tensor, lat.halo, coarse.vectors, weights)
    kernels.link(coarse.vectors, lat.strides, coarse.offsets)
    coarse.weigh(weights, reaction)


def _pseudo_inverse(level: _Level, reaction: float) -> Array:
    """Dense inverse on the coarsest grid; constants, left to the multiplier, damped to bound it."""
    lat = level.lattice
    n = lat.size
    matrix = np.zeros((n, n))
    kernels.assemble_two_sided(lat.shape_array, level.vectors, level.weights, matrix)
    largest = max(float(np.abs(matrix).max()), 1e-300)
    matrix[np.diag_indices(n)] += reaction
    return np.linalg.inv(matrix + largest / n).astype(SINGLE)
