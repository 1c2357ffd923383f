"""Degenerate ellipticity: the operator rises with every neighbour and falls with the centre."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pma_grid.grid.lattice import Lattice
from pma_grid.kernels.equation import DIMENSION
from pma_grid.kernels.grid import lattice as kernels
from pma_grid.kernels.records import Balance, Linearisation, Scales, Superbases

FEW = settings(max_examples=40, derandomize=True, deadline=None, database=None)
SHAPES = {1: (7,), 2: (6, 7), 3: (4, 5, 4)}
SEEDS = st.integers(0, 10**6)
DIMS = st.sampled_from([1, 2, 3])


def _log_det(lattice: Lattice, padded: np.ndarray, metric: np.ndarray, bases: np.ndarray) -> tuple[
    np.ndarray, np.ndarray
]:  # fmt: skip
    """log det and the superbases it was found with, starting from ``bases``."""
    dim = lattice.dim
    out, bases = np.empty(lattice.size), bases.copy()
    count = {1: 1, 2: 3, 3: 6}[dim]
    vectors = np.empty((lattice.size, count, dim), np.int8)
    offsets = np.empty((lattice.size, count), np.int32)
    walk = Superbases(bases, vectors, offsets, lattice.halo)
    DIMENSION[dim].expand(walk, lattice.strides)
    weights = np.empty((lattice.size, count))
    DIMENSION[dim].log_det(padded, lattice.layout(), metric, walk, weights, out)
    return out, bases


def _convex(lattice: Lattice, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A padded phi with a random Hessian and a little roughness, and the metric of u."""
    rng = np.random.default_rng(seed)
    dim = lattice.dim
    frame = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    matrix = frame @ np.diag(rng.uniform(1, 3, dim)) @ frame.T
    metric = rng.uniform(0.7, 1.5, dim)
    x = np.indices(lattice.padded_shape).reshape(dim, -1) - lattice.halo
    phi = 0.5 * np.einsum("in,ij,jn->n", x, matrix - np.diag(metric), x)
    return phi + 0.03 * rng.uniform(-1, 1, phi.size), metric


def _start(lattice: Lattice) -> np.ndarray:
    dim = lattice.dim
    return np.broadcast_to(np.eye(dim, dtype=np.int8), (lattice.size, dim, dim)).copy()


def _index(lattice: Lattice) -> np.ndarray:
    return (lattice.row_start[:, None] + np.arange(lattice.n_last)).ravel()


@FEW
@given(DIMS, SEEDS, st.floats(1e-4, 0.5))
def test_raising_a_neighbour_never_lowers_the_determinant(
    dim: int, seed: int, amount: float
) -> None:
    """Cell and neighbour at random; the walk goes on from where it stood, as in a solve."""
    lattice = Lattice(SHAPES[dim])
    padded, metric = _convex(lattice, seed)
    rng = np.random.default_rng(seed + 1)
    before, bases = _log_det(lattice, padded, metric, _start(lattice))
    assert np.isfinite(before).all()
    index = _index(lattice)
    for _ in range(20):
        cell = rng.integers(lattice.size)
        step = rng.integers(-2, 3, dim) if dim > 1 else np.array([rng.choice([-1, 1])])
        if not step.any():
            continue
        raised = padded.copy()
        raised[index[cell] + step @ lattice.strides] += amount
        after, _ = _log_det(lattice, raised, metric, bases)
        assert after[cell] >= before[cell] - 1e-4 * (dim > 1) * amount - 1e-11


@FEW
@given(DIMS, SEEDS, st.floats(1e-4, 0.2))
def test_raising_the_centre_lowers_the_determinant(dim: int, seed: int, amount: float) -> None:
    lattice = Lattice(SHAPES[dim])
    padded, metric = _convex(lattice, seed)
    before, bases = _log_det(lattice, padded, metric, _start(lattice))
    index = _index(lattice)
    for cell in np.random.default_rng(seed + 1).integers(lattice.size, size=10):
        raised = padded.copy()
        raised[index[cell]] += amount
        after = _log_det(lattice, raised, metric, bases)[0][cell]
        # NaN stands for minus infinity: no longer convex
        assert np.isnan(after) or after < before[cell] - 0.1 * amount


@FEW
@given(DIMS, SEEDS)
def test_minimum_over_the_superbases_is_above_that_of_a_lower_function(dim: int, seed: int) -> None:
    """Comparison: v >= u with equality at a cell has the larger determinant there."""
    lattice = Lattice(SHAPES[dim])
    padded, metric = _convex(lattice, seed)
    before, bases = _log_det(lattice, padded, metric, _start(lattice))
    rng = np.random.default_rng(seed + 1)
    index = _index(lattice)
    for cell in rng.integers(lattice.size, size=10):
        above = padded + rng.uniform(0.02, 0.2, padded.size)
        above[index[cell]] = padded[index[cell]]
        after, _ = _log_det(lattice, above, metric, bases)
        assert after[cell] > before[cell]


@FEW
@given(DIMS, SEEDS, st.floats(-1.5, 1.5))
def test_linearisation_of_the_shift_form_is_elliptic(dim: int, seed: int, shift: float) -> None:
    """Weights are non-negative and 0 < eta <= 1, convex or not: rough phi of either sign."""
    lattice = Lattice(SHAPES[dim])
    padded, metric = _convex(lattice, seed)
    padded *= 1 - 2 * (seed % 2)
    n, count = lattice.size, {1: 1, 2: 3, 3: 6}[dim]
    vectors, offsets = np.empty((n, count, dim), np.int8), np.empty((n, count), np.int32)
    weights, eta, residual = np.empty((n, count)), np.empty(n), np.empty(n)
    superbase = _start(lattice)
    module = DIMENSION[dim]
    bases = Superbases(superbase, vectors, offsets, lattice.halo)
    module.expand(bases, lattice.strides)
    drift, ones = np.zeros((n, dim)), np.ones(dim)
    module.shift_form(
        padded, lattice.layout(), Scales(metric, ones, ones, ones),
        Balance(np.zeros(n), np.zeros(n), shift), bases, Linearisation(weights, drift, eta),
        residual,
    )  # fmt: skip
    assert np.isfinite(residual).all()
    assert weights.min() >= 0 and weights.max(axis=1).min() > 0
    assert eta.min() > 0 and eta.max() <= 1 + 1e-6
    assert np.abs(vectors).max() <= lattice.halo
    # the weights carry the tensor whose trace is d: sum w e.M0 e = d (in 1-D: 1 / B)
    if dim > 1:
        e = vectors.astype(float)
        trace = np.einsum("nk,nki,i->n", weights, e**2, metric)
        np.testing.assert_allclose(trace, dim * np.ones(n) * (trace[0] / dim), rtol=1e-5)
    applied = np.empty(n)
    q = np.zeros_like(padded)
    q[_index(lattice)] = np.random.default_rng(seed).uniform(-1, 1, n)
    kernels.APPLY[dim](
        q, lattice.row_start, lattice.n_last, lattice.strides, offsets, weights, drift, applied
    )
    highest = np.argmax(q[_index(lattice)])
    lowest = np.argmin(q[_index(lattice)])
    assert applied[highest] <= 1e-12 and applied[lowest] >= -1e-12
