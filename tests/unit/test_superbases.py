"""In 2-D the shift form is a function of the potential alone, mirrored for mirrored data."""

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.monge_ampere import MongeAmpere
from pma_grid.grid.lattice import Lattice
from pma_grid.kernels.equation import DIMENSION
from pma_grid.kernels.records import Balance, Linearisation, Scales, Superbases

SHAPE = (16, 13)
# Superbases, by their first vectors, far from the axes.
FAR = ([[3, 1], [2, 1]], [[1, -4], [0, 1]], [[-5, 2], [2, -1]])
# Roughness of phi beside a Hessian of order one: smooth, rough, and beyond convexity.
ROUGHNESS = pytest.mark.parametrize("rough", [0.0, 0.05, 0.5])


def potential(rough: float, seed: int) -> np.ndarray:
    """phi with an anisotropic Hessian near one corner, and noise."""
    rng = np.random.default_rng(seed)
    shape = SHAPE
    x = [(i + 0.5) / n for i, n in zip(np.indices(shape), shape, strict=True)]
    values = np.prod([np.cos(np.pi * c) for c in x], axis=0) + np.cos(np.pi * (x[0] - x[1]))
    ridge = np.exp(-8 * sum((c - 0.1) ** 2 for c in x)) * np.cos(3 * np.pi * sum(x))
    return np.asarray(2 * values + 3 * ridge + rough * rng.normal(size=shape))


def residuals(
    phi: np.ndarray, log_b: np.ndarray, base: list[list[int]] | None = None, reach: int = 3
) -> np.ndarray:
    """Of the shift form, where a superbase, or the axes, stood everywhere before."""
    lattice, metric = Lattice(phi.shape), np.array([0.8, 1.3])
    n, ones = lattice.size, np.ones(2)
    first = np.eye(2) if base is None else np.array(base)
    bases = Superbases(
        np.tile(first.astype(np.int8), (n, 1, 1)), np.empty((n, 3, 2), np.int8),
        np.empty((n, 3), np.int32), reach,
    )  # fmt: skip
    padded, module = lattice.zeros(), DIMENSION[2]
    lattice.fill(phi, padded)
    residual = np.empty(n)
    module.expand(bases, lattice.strides)
    linear = Linearisation(np.empty((n, 3)), np.zeros((n, 2)), np.empty(n))
    module.shift_form(
        padded, lattice.layout(), Scales(metric, ones, ones, ones),
        Balance(log_b.ravel(), np.zeros(n), 0.0), bases, linear, residual,
    )  # fmt: skip
    return residual.reshape(phi.shape)


@ROUGHNESS
@pytest.mark.parametrize("reach", [1, 3])
def test_residuals_do_not_depend_on_where_superbases_stood(rough: float, reach: int) -> None:
    """Bit for bit, vectors cut off by the halo included."""
    phi = potential(rough, 0)
    log_b = np.random.default_rng(1).normal(size=phi.shape)
    expected = residuals(phi, log_b, reach=reach)
    for base in FAR:
        np.testing.assert_array_equal(residuals(phi, log_b, base, reach), expected)


@ROUGHNESS
def test_mirrored_potentials_have_mirrored_residuals(rough: float) -> None:
    phi = potential(rough, 2)
    log_b = np.random.default_rng(1).normal(size=phi.shape)
    expected = residuals(phi, log_b)
    for axis in range(2):
        mirrored = residuals(np.flip(phi, axis).copy(), np.flip(log_b, axis).copy())
        np.testing.assert_allclose(np.flip(mirrored, axis), expected, rtol=1e-9, atol=1e-10)


def test_evaluations_repeat_bit_for_bit_whatever_came_between() -> None:
    """A run that is taken up again has the residuals of one that was not interrupted."""
    shape, rng = SHAPE, np.random.default_rng(3)
    grid = pma.Grid(shape)
    densities = tuple(pma.Density(np.exp(0.5 * rng.normal(size=shape)), grid).values for _ in "ab")
    equation = MongeAmpere.between((densities[0], densities[1]), (grid, grid))
    phi, wild = (size * rng.normal(size=shape) for size in (1e-4, 1e-2))
    kept, fresh = Evaluation(equation), Evaluation(equation)
    kept.evaluate(wild, 0.0)
    assert kept.evaluate(phi, 0.1) == fresh.evaluate(phi, 0.1)
    np.testing.assert_array_equal(kept.residual, fresh.residual)
    np.testing.assert_array_equal(kept.superbase, fresh.superbase)
    np.testing.assert_array_equal(kept.stencil.vectors, fresh.stencil.vectors)
