"""Smoothing of directions against the matrix that it inverts."""

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.flow import observables
from pma_grid.flow.stepping.explicit import stability_limit
from pma_grid.grid.smoothing import helmholtz

CASES = [((9,), (0.1,)), ((5, 7), (0.3, 0.05)), ((1, 6), (1.0, 0.2)), ((3, 4, 5), (0.2, 0.3, 0.1))]


def _laplacian(n: int, h: float) -> np.ndarray:
    """Second differences with even reflection about the faces."""
    matrix = np.zeros((n, n))
    for i in range(n - 1):
        matrix[i : i + 2, i : i + 2] += np.array([[-1, 1], [1, -1]]) / h**2
    return matrix


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_it_inverts_the_discrete_operator(
    shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    field = np.random.default_rng(7193).normal(size=shape)
    smooth = helmholtz(field, spacing, 0.25)
    back = smooth.copy()
    for axis, (n, h) in enumerate(zip(shape, spacing, strict=True)):
        part = np.tensordot(_laplacian(n, h), smooth, (1, axis))
        back -= 0.25**2 * np.moveaxis(part, 0, axis)
    np.testing.assert_allclose(back, field, atol=1e-12)
    assert smooth.mean() == pytest.approx(field.mean(), abs=1e-14)


def test_it_is_symmetric_and_positive() -> None:
    a, b = np.random.default_rng(811).normal(size=(2, 8, 6))
    spacing = (0.1, 0.2)
    one, two = helmholtz(a, spacing, 0.3), helmholtz(b, spacing, 0.3)
    assert (one * b).sum() == pytest.approx((a * two).sum(), rel=1e-12)
    assert 0 < (one * a).sum() < (a * a).sum()


def test_smoothed_steps_are_stable_far_above_the_plain_limit() -> None:
    problem = pma.cases.quantile().problem((96,))
    state = next(pma.iterate(problem, schedule=pma.schedules.constant(1.0)))
    step = 0.2 * stability_limit(state, 0.1)
    assert step > 10 * stability_limit(state)
    flow = pma.evolve(
        problem,
        schedule=pma.schedules.constant(step),
        scheme=pma.Explicit(smoothing=0.1),
        steps=150,
        record=("kl", observables.smoothed_kl(0.1)),
    )
    assert flow["kl"][-1] < 1e-3 * flow["kl"][0]
    assert (np.diff(flow["smoothed_kl"]) < 0).all()
    with pytest.raises(pma.LostConvexityError):
        schedule = pma.schedules.constant(step)
        pma.evolve(problem, schedule=schedule, scheme=pma.Explicit(), steps=150)


@pytest.mark.parametrize("length", [-0.1, np.nan, np.inf, "0.1"])
def test_lengths_are_checked(length: float) -> None:
    with pytest.raises(pma.InvalidInputError, match="smoothing is"):
        pma.Explicit(smoothing=length)
