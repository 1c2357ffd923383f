"""Iteration counts and divergences of fixed flows: what a change must not worsen unnoticed."""

import numpy as np
import pytest

import pma_grid as pma

STEPS = 60
SHAPES = {1: (256,), 2: (64, 64), 3: (16, 16, 16)}
STEP_SIZES = {1: 5e-3, 2: 5e-3, 3: 2e-2}
# dim: (Newton, linear) iterations and set-ups of the default solver, of pyamg's
MEASURED = {
    1: ((62, 143, 1), (61, 150, 1)),
    2: ((75, 251, 3), (74, 236, 3)),
    3: ((87, 350, 1), (79, 240, 2)),
}
# KL(rho|mu) after 1, 10 and all steps
KL = {
    1: (9.8795e-2, 3.4074e-2, 7.3888e-4),
    2: (3.5090e-1, 1.7774e-2, 9.681e-7),
}


def _flow(dim: int, scheme: pma.ImplicitEuler) -> pma.Flow:
    case = pma.cases.gaussian_mixtures() if dim == 2 else pma.cases.manufactured(dim)
    return pma.evolve(
        case.problem(SHAPES[dim]),
        schedule=pma.schedules.constant(STEP_SIZES[dim]),
        scheme=scheme,
        steps=STEPS,
        record=("kl",),
    )


@pytest.mark.parametrize("dim", MEASURED)
@pytest.mark.parametrize("kind", ["default", "amg"])
def test_counts_of_implicit_steps(dim: int, kind: str) -> None:
    scheme = pma.ImplicitEuler() if kind == "default" else pma.ImplicitEuler(pma.AMG())
    newton, linear, setups = MEASURED[dim][kind == "amg"]
    stats = _flow(dim, scheme).stats
    assert stats["newton"] <= 1.1 * newton
    assert stats["linear"] <= 1.2 * linear
    assert stats["setups"] <= setups + 3 < STEPS
    assert stats["newton"] <= 2 * STEPS  # extrapolated starts
    assert stats["linear_solver"] == ("multigrid" if kind == "default" else "amg")


@pytest.mark.parametrize("dim", KL)
def test_divergences_of_implicit_steps(dim: int) -> None:
    series = _flow(dim, pma.ImplicitEuler(rtol=1e-8))["kl"]
    np.testing.assert_allclose(series[[1, 10, -1]], KL[dim], rtol=2e-3)


def test_second_order_steps_share_one_hierarchy() -> None:
    problem = pma.cases.manufactured(2).problem((48, 48))
    schedule = pma.schedules.constant(5e-3)
    flow = pma.evolve(problem, schedule=schedule, scheme=pma.TRBDF2(), steps=30, record=("kl",))
    assert flow.stats["setups"] <= 4
    assert flow.stats["newton"] <= 2 * 2 * 30  # two stages a step
