"""`assess`: dual, cost, push-forward and floors of transports of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ot as pot
import pytest

import pma_grid as pma
from pma_grid.problem.floors import positive

KEYS = {
    "hard_dual", "transport_cost", "dual_gap", "push_forward_error", "mass_constant",
    "floor_effect",
}  # fmt: skip
DIMS = pytest.mark.parametrize("shape", [(40,), (16, 18), (7, 8, 6)])


def _values(shape: tuple[int, ...], seed: int, amplitude: float = 0.4) -> np.ndarray:
    """A smooth positive density on the unit box."""
    rng = np.random.default_rng(seed)
    log = np.zeros(shape)
    for i, n in zip(np.indices(shape), shape, strict=True):
        log += amplitude * rng.normal() * np.cos(np.pi * (i + 0.5) / n)
    return np.exp(log)


def _programme(
    source: np.ndarray, target: np.ndarray, grid: pma.Grid, other: pma.Grid | None = None
) -> float:
    """W2^2 between the atoms at the cell centres."""
    masses, points = [], []
    for values, box in ((source, grid), (target, other or grid)):
        mass = values.ravel() / values.sum()
        masses.append(mass[mass > 0] / mass[mass > 0].sum())
        points.append(box.coordinates().reshape(box.dim, -1).T[mass > 0].copy())
    cost = pot.dist(*points)
    return float((pot.emd(*masses, cost, numItermax=1_000_000) * cost).sum())


@DIMS
def test_figures_are_kept_with_the_transport(shape: tuple[int, ...]) -> None:
    ot = pma.solve(pma.Problem(_values(shape, 1), _values(shape, 2)))
    figures = pma.assess(ot)
    assert figures.keys() == KEYS
    assert ot.stats["assessment"] == figures
    assert figures["mass_constant"] == ot.stats["mass_constant"]
    assert figures["floor_effect"] == 0
    assert figures["dual_gap"] == figures["transport_cost"] - figures["hard_dual"]
    # again, the same
    assert pma.assess(ot) == figures


@DIMS
def test_a_translation_has_no_gap(shape: tuple[int, ...]) -> None:
    values, move = _values(shape, 1), np.array((2.0, -1.0, 0.5))[: len(shape)]
    grid = pma.Grid(shape, tuple(move), tuple(move + 1))
    figures = pma.assess(pma.solve(pma.Problem(values, pma.Density(values, grid))))
    square = float(move @ move)
    assert figures["hard_dual"] == pytest.approx(square, rel=1e-9)
    assert figures["transport_cost"] == pytest.approx(square, rel=1e-9)
    assert abs(figures["dual_gap"]) < 1e-9
    assert figures["push_forward_error"] < 1e-9


@DIMS
def test_the_identity_costs_nothing(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape) + 1e-3
    figures = pma.assess(pma.solve(pma.Problem(values, values)))
    assert figures["hard_dual"] < 1e-12
    assert figures["transport_cost"] < 1e-12
    assert figures["push_forward_error"] < 1e-9


@pytest.mark.parametrize("shape", [(60,), (12, 14), (5, 6, 5)])
@pytest.mark.parametrize("kind", ["solve", "sinkhorn", "dense", "given"])
def test_the_dual_is_below_the_linear_programme(shape: tuple[int, ...], kind: str) -> None:
    problem = pma.Problem(_values(shape, 1, 1.0), _values(shape, 2, 1.0))
    ot: pma.Transport
    if kind == "solve":
        ot = pma.solve(problem)
    elif kind == "sinkhorn":
        ot = pma.sinkhorn(problem, method="multiscale")
    elif kind == "dense":
        ot = pma.sinkhorn(problem, eps=0.02)
    else:
        rng = np.random.default_rng(0)
        half = 0.5 * (problem.source.grid.coordinates() ** 2).sum(axis=0)
        ot = pma.Transport.from_potential(problem, half + 0.01 * rng.normal(size=shape))
    figures = pma.assess(ot)
    exact = _programme(problem.source.values, problem.target.values, problem.source.grid)
    assert figures["hard_dual"] <= exact * (1 + 1e-12)
    if kind in ("solve", "sinkhorn"):
        cell = sum(h**2 for h in problem.source.grid.spacing)
        assert figures["hard_dual"] > exact - 0.3 * cell
        # of the map or the plan: no bound, but close above
        assert exact - 0.3 * cell < figures["transport_cost"] < exact + cell
    if kind == "given":
        assert figures["mass_constant"] is None
        assert figures["push_forward_error"] > 0.1


def test_a_wrong_map_is_seen() -> None:
    """The identity does not push a bump to another; its cost of 0 is below the dual value."""
    problem = pma.Problem(_values((20, 20), 1, 1.0), _values((20, 20), 2, 1.0))
    right = pma.assess(pma.solve(problem))
    half = 0.5 * (problem.source.grid.coordinates() ** 2).sum(axis=0)
    wrong = pma.assess(pma.Transport.from_potential(problem, half))
    assert wrong["push_forward_error"] > 20 * right["push_forward_error"]
    assert wrong["hard_dual"] < right["hard_dual"]


def test_better_potentials_have_smaller_gaps() -> None:
    gaps, errors = [], []
    for n in (8, 16, 32):
        figures = pma.assess(pma.solve(pma.Problem(_values((n, n), 1), _values((n, n), 2))))
        gaps.append(abs(figures["dual_gap"]))
        errors.append(figures["push_forward_error"])
    assert gaps[2] < gaps[1] < gaps[0] and gaps[2] < gaps[0] / 4
    assert errors[2] < errors[1] < errors[0]


@pytest.mark.parametrize("floor", [None, 0.02, 0.3])
@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_floors_change_the_distance_by_less_than_is_said(side: str, floor: float | None) -> None:
    """By linear programmes between the atoms with and without the floor."""
    rng = np.random.default_rng(1)
    values = {name: _values((12, 11), k, 1.0) for k, name in enumerate(("source", "target"))}
    for name in values:
        if side in (name, "both"):
            values[name] = values[name] * (rng.random((12, 11)) < 0.7)
    grid, other = pma.Grid((12, 11)), pma.Grid((12, 11), (0.2, 0.0), (1.2, 2.0))
    problem = pma.Problem(
        pma.Density(values["source"], grid, floor=floor),
        pma.Density(values["target"], other, floor=floor),
    )
    try:
        ot = pma.solve(problem, fallback=False)
    except pma.ConvergenceError as error:
        ot = error.result
    effect = pma.assess(ot)["floor_effect"]
    raised = positive(problem)[:2]
    change = abs(
        _programme(*raised, grid, other)
        - _programme(problem.source.values, problem.target.values, grid, other)
    )
    assert 1e-9 < change <= effect
    added = sum(f["mass_added"] for f in ot.stats["floors"].values())
    assert effect == pytest.approx(added * (1.2**2 + 2.0**2))


def test_plans_are_judged_by_their_own_cost() -> None:
    values = np.ones((16, 16))
    values[6:10] = 0
    ot = pma.solve(pma.Problem(np.ones((16, 16)), values))
    assert ot.status is pma.Status.ENTROPIC
    figures = pma.assess(ot)
    assert figures["hard_dual"] == ot.stats["hard_dual"]
    assert figures["transport_cost"] == ot.stats["transport_cost"]
    assert figures["mass_constant"] is None
    assert figures["floor_effect"] == 0
    exact = _programme(np.ones((16, 16)), values, ot.problem.source.grid)
    assert figures["hard_dual"] <= exact * (1 + 1e-12)
    # to a marginal error of 1e-4 the plan costs as much as any
    assert figures["transport_cost"] > exact * (1 - 1e-3)


def test_the_end_of_a_flow_can_be_assessed() -> None:
    problem = pma.Problem(_values((12, 12), 1), _values((12, 12), 2))
    flow = pma.evolve(problem, schedule=pma.schedules.constant(1.0), steps=20)
    figures, solved = pma.assess(flow.transport), pma.assess(pma.solve(problem))
    assert figures["hard_dual"] == pytest.approx(solved["hard_dual"], rel=1e-4)
    assert figures["push_forward_error"] < 2 * solved["push_forward_error"] + 1e-3


def test_convex_targets_can_be_assessed() -> None:
    disc, grid = pma.Ellipse((0.5, 0.5), axes=0.4), pma.Grid((24, 24))
    target = pma.Density(disc.fractions(grid), grid)
    ot = pma.solve(pma.Problem(np.ones((24, 24)), target, target_domain=disc))
    figures = pma.assess(ot)
    assert 0 < figures["hard_dual"] <= _programme(np.ones((24, 24)), target.values, grid)
    assert figures["push_forward_error"] < 0.2


def test_figures_survive_a_file(tmp_path: Path) -> None:
    ot = pma.solve(pma.Problem(_values((16, 16), 1), _values((16, 16), 2)))
    figures = pma.assess(ot)
    ot.save(tmp_path / "ot.npz")
    back = pma.load(tmp_path / "ot.npz")
    assert isinstance(back, pma.Transport)
    assert back.stats["assessment"] == figures
    again = pma.assess(back)
    assert again == {k: pytest.approx(v, rel=1e-9, abs=1e-13) for k, v in figures.items()}


@pytest.mark.parametrize(
    "thing", [None, 1.0, "ot.npz", np.ones(4), pma.Problem(np.ones(4), np.ones(4)), pma.Transport]
)
def test_what_is_no_transport_is_refused(thing: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match=f"transport .*{type(thing).__name__}"):
        pma.assess(thing)
