"""The discriminator on a grid: optimality, closed forms, and counts of Newton's steps."""

import functools
from typing import Literal

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit

from pma_grid.learning.estimators.logistic import DECREMENT_NATS, discriminate
from pma_grid.linsolve.elliptic import laplacian
from pma_grid.runtime.arrays import Array

Penalty = Literal["h2", "h1"]
SHAPES = [(40,), (1, 32), (14, 11), (24, 6), (6, 5, 7)]
PENALTIES: list[Penalty] = ["h2", "h1"]


def _bump(shape: tuple[int, ...]) -> Array:
    x = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")
    values = np.exp(-8 * np.asarray(sum((c - 0.4) ** 2 for c in x)))
    return np.asarray(values / values.sum())


def _counts(law: Array, points: int = 500, seed: int = 0) -> Array:
    drawn = np.random.default_rng(seed).multinomial(points, law.ravel())
    return np.asarray(drawn.reshape(law.shape) / points)


def _uniform(shape: tuple[int, ...]) -> Array:
    return np.full(shape, 1.0 / np.prod(shape))


_laplacian = functools.cache(laplacian)


def _objective(h: Array, rho: Array, m: Array, strength: float, penalty: Penalty) -> float:
    """F as its definition says."""
    bent = _laplacian(rho.shape) @ h.ravel()
    h, rho, m = h.ravel(), rho.ravel(), m.ravel()
    roughness = (bent**2).sum() if penalty == "h2" else (h * bent).sum()
    fit = (rho * np.log1p(np.exp(-h)) + m * np.log1p(np.exp(h))).sum()
    return float(fit + 0.5 * strength / h.size * roughness)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_differences_of_the_objective_vanish_at_the_answer(
    shape: tuple[int, ...], penalty: Penalty
) -> None:
    rho, m, strength = _uniform(shape), _counts(_bump(shape)), 1e-4
    found = discriminate(rho, m, strength, penalty=penalty)
    assert found.converged
    rng = np.random.default_rng(1)
    size = 1e-4
    for direction in [np.ones(shape), *rng.normal(size=(4, *shape))]:
        values = [
            _objective(found.logit + s * direction, rho, m, strength, penalty)
            for s in (-size, 0.0, size)
        ]
        slope, bend = (values[2] - values[0]) / (2 * size), values[0] - 2 * values[1] + values[2]
        assert abs(slope) < 1e-6 * max(1.0, np.sqrt(bend) / size)
        assert bend > 0


def test_answer_is_that_of_a_general_minimiser() -> None:
    shape = (6, 5)
    rho, m = _uniform(shape), _counts(_bump(shape))
    for penalty in PENALTIES:
        found = discriminate(rho, m, 1e-4, penalty=penalty)
        other = optimize.minimize(
            _objective, np.zeros(rho.size), args=(rho, m, 1e-4, penalty), method="BFGS",
            options={"maxiter": 2000},
        )  # fmt: skip
        value = _objective(found.logit, rho, m, 1e-4, penalty)
        assert value <= other.fun + 1e-12
        assert value >= other.fun - 1e-6


@pytest.mark.parametrize("penalty", PENALTIES)
def test_constants_are_not_penalised_so_that_errors_of_both_kinds_balance(penalty: Penalty) -> None:
    """dF in the direction of constants: sum rho s(-h) = sum m s(h)."""
    rho, m = _bump((20, 20))[::-1], _counts(_bump((20, 20)))
    h = discriminate(rho, m, 1e-5, penalty=penalty).logit
    assert abs((rho * expit(-h)).sum() - (m * expit(h)).sum()) < 1e-6


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_penalty_the_logit_is_the_log_ratio(
    shape: tuple[int, ...], penalty: Penalty
) -> None:
    """In the norm of the second derivative, whose square is the decrement that steps end at."""
    rho, m = _uniform(shape), _bump(shape)
    h, exact = discriminate(rho, m, 1e-14, penalty=penalty).logit, np.log(rho / m)
    weights = (rho + m) * expit(exact) * expit(-exact)
    assert (weights * (h - exact) ** 2).sum() < 2 * DECREMENT_NATS


@pytest.mark.parametrize("penalty", PENALTIES)
def test_equal_laws_are_not_told_apart(penalty: Penalty) -> None:
    m = _counts(_bump((16, 16)))
    found = discriminate(m + 0.0, m, 1e-3, penalty=penalty)
    assert np.abs(found.logit).max() < 1e-9
    assert found.newton == 0


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_strong_penalty_leaves_what_it_does_not_see(penalty: Penalty) -> None:
    """Both penalties vanish on constants alone: faces reflect."""
    h = discriminate(_uniform((16, 16)), _bump((16, 16)), 1e6, penalty=penalty).logit
    assert np.abs(h).max() < 1e-3


@pytest.mark.parametrize("penalty", PENALTIES)
def test_newton_steps_do_not_grow_with_the_grid(penalty: Penalty) -> None:
    strength = 1e-6 if penalty == "h2" else 1e-4
    newton, linear = [], []
    for n in (24, 48, 96):
        found = discriminate(
            _uniform((n, n)), _counts(_bump((n, n)), 4000), strength, penalty=penalty
        )
        assert found.converged
        newton.append(found.newton)
        linear.append(found.linear / (found.newton + 1))
    assert max(newton) <= 8 and max(newton) - min(newton) <= 1, newton
    assert max(linear) <= 14, linear


def test_steps_converge_quadratically_from_the_answer_of_another_strength() -> None:
    rho, m = _uniform((32, 32)), _counts(_bump((32, 32)), 2000)
    first = discriminate(rho, m, 3e-6)
    cold, warm = discriminate(rho, m, 1e-6), discriminate(rho, m, 1e-6, start=first.logit)
    assert warm.newton < cold.newton
    assert np.abs(warm.logit - cold.logit).max() < 1e-4
    assert discriminate(rho, m, 1e-6, start=cold.logit).newton <= 1


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_masses_over_twelve_orders_and_empty_cells(
    shape: tuple[int, ...], penalty: Penalty
) -> None:
    rng = np.random.default_rng(0)
    rho = np.exp(rng.uniform(np.log(1e-12), 0.0, size=shape))
    rho /= rho.sum()
    m = _counts(_uniform(shape), 20)
    found = discriminate(rho, m, 1e-6, penalty=penalty)
    assert found.converged and np.isfinite(found.logit).all()
    assert (m == 0).any()
    again = discriminate(rho, m, 1e-6, penalty=penalty, start=3 * rng.normal(size=shape))
    value = _objective(found.logit, rho, m, 1e-6, penalty)
    assert abs(_objective(again.logit, rho, m, 1e-6, penalty) - value) < 1e-10


def test_axes_of_one_cell_change_nothing() -> None:
    m = _counts(_bump((32,)))
    flat = discriminate(_uniform((32,)), m, 1e-5).logit
    for shape in ((1, 32), (32, 1), (1, 32, 1)):
        h = discriminate(_uniform(shape), m.reshape(shape), 1e-5).logit
        assert np.abs(h.ravel() - flat).max() < 1e-6


def test_turning_the_grid_turns_the_logit() -> None:
    m = _counts(_bump((24, 10)), 1000)
    h = discriminate(_uniform((24, 10)), m, 1e-5).logit
    turned = discriminate(_uniform((10, 24)), m.T.copy(), 1e-5).logit
    assert np.abs(turned.T - h).max() < 1e-5
