"""Minima over faces of the cone in three dimensions: optimality, iteration counts, derivatives."""

import math

import numpy as np
import pytest

from pma_grid.grid.lattice import Lattice
from pma_grid.kernels.equation import DIMENSION, faces_3d
from pma_grid.kernels.records import Balance, Linearisation, Scales, Superbases

# e_01, ..., e_23 in the basis dual to v_1, v_2, v_3.
VECTORS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, -1, 0], [1, 0, -1], [0, 1, -1]], float)
# Newton steps of a minimisation from equal shares, whatever the cell.
MOST_NEWTON_STEPS = 20


def stretched(count: int, decades: float, seed: int) -> np.ndarray:
    """Second differences of matrices of any condition up to ``decades``, each a little off."""
    rng = np.random.default_rng(seed)
    frames = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    values = 10.0 ** rng.uniform(0, decades, (count, 3))
    matrices = np.einsum("nij,nj,nkj->nik", frames, values, frames)
    a = np.einsum("mi,nij,mj->nm", VECTORS, matrices, VECTORS)
    return np.asarray(a * np.exp(0.01 * rng.normal(size=a.shape)))


def wild(count: int, decades: float, seed: int) -> np.ndarray:
    """Second differences that belong to no matrix at all."""
    rng = np.random.default_rng(seed)
    return np.asarray(10.0 ** rng.uniform(-decades, 0, (count, 6)))


def defect(a: np.ndarray, w: np.ndarray) -> float:
    """By how much w >= 0 misses the conditions for a minimum, each relative to a."""
    inverse = np.linalg.inv(np.einsum("m,mi,mj->ij", w, VECTORS, VECTORS))
    slope = 1 - np.einsum("mi,ij,mj->m", VECTORS, inverse, VECTORS) / a
    return float(max(-slope.min(), np.abs(slope[w > 0]).max()))


CELLS = pytest.mark.parametrize(
    "cells", [stretched(400, 4.0, 0), stretched(400, 6.0, 1), wild(400, 2.0, 2), wild(400, 6.0, 3)]
)


@CELLS
def test_minima_meet_the_conditions_of_optimality(cells: np.ndarray) -> None:
    space, on_face = faces_3d.room(), 0
    for a in cells:
        w = faces_3d.EQUAL_SHARE / a
        value = faces_3d.minimise(a, w, space)
        on_face += w.min() == 0
        assert w.min() >= 0 and defect(a, w) < 1e-8
        assert w @ a == pytest.approx(3, abs=1e-8)
        assert value == pytest.approx(-math.log(faces_3d.det(w)), abs=1e-8)
    assert on_face > 100


@CELLS
def test_minima_take_few_steps(cells: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """From afar at most a score, and from where the last one ended one."""
    counts, differentiate = [0], faces_3d.differentiate

    def counted(*arguments: np.ndarray) -> None:
        counts[-1] += 1
        differentiate(*arguments)

    monkeypatch.setattr(faces_3d, "differentiate", counted)
    space = faces_3d.room()
    for a in cells:
        w = faces_3d.EQUAL_SHARE / a
        faces_3d.minimise.py_func(a, w, space)
        counts.append(0)
        faces_3d.minimise.py_func(a, w, space)
        assert counts[-1] == 1
        counts.append(0)
    assert max(counts) <= MOST_NEWTON_STEPS


@CELLS
def test_shift_of_a_face_solves_its_equation(cells: np.ndarray) -> None:
    """det D = 1 / B at the minimum for a + c a0, from a good start and from a bad one."""
    metric = np.array([0.7, 1.3, 2.1])
    a0 = VECTORS**2 @ metric
    det0, space = float(metric.prod()), faces_3d.room()
    for a in cells[:100]:
        log_b = math.log(np.prod(a[:3])) + 0.5
        radius = math.exp((log_b - math.log(det0)) / 3)
        for start in (0.3 / a, np.zeros(6)):
            w = start.copy()
            c = faces_3d.face(a, a0, radius, det0, w, 0.0, space)
            assert math.log(faces_3d.det(w)) == pytest.approx(-log_b, abs=1e-6)
            assert defect(a + c * a0, w) < 1e-6


def _narrow(seed: int) -> tuple[Lattice, np.ndarray, np.ndarray]:
    """A lattice with a quadratic that vectors of one cell cannot follow, and some roughness."""
    lattice, metric = Lattice((4, 3, 4), 1), np.ones(3)
    direction = np.array([2.0, 1.0, -1.0]) / math.sqrt(6.0)
    matrix = 1e-2 * np.eye(3) + np.outer(direction, direction)
    x = np.indices(lattice.padded_shape).reshape(3, -1)
    padded = 0.5 * np.einsum("in,ij,jn->n", x, matrix - np.diag(metric), x)
    rng = np.random.default_rng(seed)
    return lattice, padded + 0.002 * rng.uniform(-1, 1, padded.size), metric


def _shift_form(
    lattice: Lattice, padded: np.ndarray, metric: np.ndarray, log_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Residual, eta, weights, vectors and the number of faces, walked to from the axes."""
    n = lattice.size
    superbase = np.broadcast_to(np.eye(3, dtype=np.int8), (n, 3, 3)).copy()
    bases = Superbases(superbase, np.empty((n, 6, 3), np.int8), np.empty((n, 6), np.int32), 1)
    DIMENSION[3].expand(bases, lattice.strides)
    linear = Linearisation(np.empty((n, 6)), np.zeros((n, 3)), np.empty(n))
    residual, ones = np.empty(n), np.ones(3)
    faces = DIMENSION[3].shift_form(
        padded, lattice.layout(), Scales(metric, ones, ones, ones),
        Balance(log_b, np.zeros(n), 0.0), bases, linear, residual,
    )  # fmt: skip
    return residual, linear.eta, linear.weights, bases.vectors, int(faces)


@pytest.mark.parametrize("seed", range(3))
def test_shift_form_on_faces_has_the_derivative_that_it_says(seed: int) -> None:
    """dr = (eta - r / 3) dlog B - sum_k w_k da_k, b = (B / det M0)^{1/3}, mostly on faces."""
    lattice, padded, metric = _narrow(seed)
    rng = np.random.default_rng(seed + 10)
    log_b = rng.normal(size=lattice.size) - 10
    direction, change = rng.uniform(-1, 1, padded.size), rng.normal(size=lattice.size)
    residual, eta, weights, vectors, faces = _shift_form(lattice, padded, metric, log_b)
    assert faces > 0.7 * lattice.size
    p = (lattice.row_start[:, None] + np.arange(lattice.n_last)).reshape(-1, 1)
    o = vectors.astype(int) @ lattice.strides
    slope = (eta - residual / 3) * change
    slope -= (weights * (direction[p + o] + direction[p - o] - 2 * direction[p])).sum(axis=1)
    s = 1e-6
    ahead = _shift_form(lattice, padded + s * direction, metric, log_b + s * change)
    behind = _shift_form(lattice, padded - s * direction, metric, log_b - s * change)
    same = (ahead[3] == vectors).all(axis=(1, 2)) & (behind[3] == vectors).all(axis=(1, 2))
    assert same.mean() > 0.9
    finite = (ahead[0] - behind[0]) / (2 * s)
    np.testing.assert_allclose(finite[same], slope[same], atol=1e-5 * np.abs(slope).max())
