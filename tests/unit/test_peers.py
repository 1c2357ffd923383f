"""Other packages on our problems: the conversion of eps, empty cells, boxes, refusals."""

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.entropic import peers
from pma_grid.entropic.peers import plans
from pma_grid.runtime.errors import ConvergenceError, InvalidInputError, Status

EPS = 0.02
PACKAGES = {"pot": "ot", "ott": "ott", "geomloss": "geomloss"}
every_peer = pytest.mark.parametrize("name", peers.PEERS)


def _peer(name: str) -> Callable[..., Any]:
    pytest.importorskip(PACKAGES[name])
    return peers.PEERS[name]


def _problem(empty: bool = False, boxes: bool = False) -> pma.Problem:
    rng = np.random.default_rng(3)
    values = rng.random((2, 6, 5)) + 0.2
    if empty:
        values[0, :2] = 0
        values[1, 2:4, 1] = 0
    if not boxes:
        return pma.Problem(values[0], values[1])
    return pma.Problem(
        pma.Density(values[0], pma.Grid((6, 5), (0.0, -1.0), (1.0, 0.5))),
        pma.Density(values[1], pma.Grid((6, 5), (3.0, 2.0), (3.5, 3.0))),
    )


def _sinkhorn(problem: pma.Problem, eps: float, sweeps: int = 4000) -> dict[str, np.ndarray]:
    """Plan, f and g of the cost |x - y|^2/2 by plain sweeps over all pairs of atoms."""
    x, y = (d.grid.coordinates().reshape(d.dim, -1) for d in (problem.source, problem.target))
    a, b = (d.values.ravel() / d.values.sum() for d in (problem.source, problem.target))
    cost = 0.5 * ((x[:, :, None] - y[:, None]) ** 2).sum(axis=0)
    g = np.zeros(b.size)
    low = cost.min(axis=1)
    for _ in range(sweeps):
        f = low - eps * np.log(np.exp((g + low[:, None] - cost) / eps) @ b)
        g = -eps * np.log(np.exp((f[:, None] - cost).T / eps) @ a)
    plan = a[:, None] * np.exp((f[:, None] + g - cost) / eps) * b
    forward = np.exp((g - cost + f[:, None]) / eps) * b
    forward /= forward.sum(axis=1, keepdims=True)
    return {
        "f": f, "g": g, "cost": np.array((plan * cost).sum()),
        "forward": (forward @ y.T).T.reshape(-1, *problem.source.shape),
        "dual": np.array(a @ f + b @ g),
    }  # fmt: skip


def _level(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean())


@every_peer
@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_every_peer_solves_our_entropic_problem(name: str, empty: bool, boxes: bool) -> None:
    problem = _problem(empty, boxes)
    sk = _peer(name)(problem, EPS, 1e-10, 30_000)
    exact = _sinkhorn(problem, EPS)
    x = problem.source.grid.coordinates()
    f = 0.5 * (x**2).sum(axis=0).ravel() - sk.potential.ravel()
    np.testing.assert_allclose(_level(f), _level(exact["f"]), atol=1e-8)
    np.testing.assert_allclose(sk.gradient, exact["forward"], atol=1e-8)
    total = sk.source_potential.ravel()[:, None] + sk.target_potential.ravel()
    np.testing.assert_allclose(total, exact["f"][:, None] + exact["g"], atol=1e-8)
    assert sk.stats["dual"] == pytest.approx(float(exact["dual"]), abs=1e-9)
    assert sk.stats["marginal_error"] <= 1e-10
    assert sk.status is Status.NARROW_KERNEL, "a cell is wider than sqrt(eps)"
    assert sk.stats["peer"] == sk.stats["method"] == name
    assert sk.stats["iterations"] > 0
    assert sk.eps == sk.stats["eps"] == EPS


@every_peer
def test_debiased_maps_are_nearer(name: str) -> None:
    case = pma.cases.manufactured(2)
    problem = case.problem((16, 16))
    assert case.gradient is not None
    exact = case.gradient(*problem.source.grid.coordinates())
    errors = [
        np.abs(_peer(name)(problem, 0.004, 1e-5, debiased=debiased).gradient - exact).max()
        for debiased in (False, True)
    ]
    assert errors[1] < 0.3 * errors[0]


@every_peer
def test_nothing_moves_between_equal_densities_once_debiased(name: str) -> None:
    values = _problem().source.values
    sk = _peer(name)(pma.Problem(values, values), EPS, 1e-9, debiased=True)
    # the two runs are the same one: what is left is rounding
    assert np.abs(sk.displacement).max() < 1e-12
    assert sk.stats["debiased"] is True


@every_peer
def test_too_few_iterations_are_said_so(name: str) -> None:
    sk = _peer(name)(_problem(), 0.01, 1e-12, 20)
    assert sk.status is Status.MAX_ITERATIONS
    assert not sk.converged
    assert sk.stats["marginal_error"] > 1e-12
    assert sk.stats["iterations"] <= 20


def test_wide_kernels_are_plain_entropic() -> None:
    assert _peer("pot")(_problem(), 0.2, 1e-8).status is Status.ENTROPIC


def test_results_are_saved_and_compared(tmp_path: Any) -> None:
    problem = _problem()
    sk = _peer("pot")(problem, 0.05)
    sk.save(tmp_path / "sk.npz")
    again = pma.load(tmp_path / "sk.npz")
    assert isinstance(again, pma.EntropicTransport)
    found = pma.compare(sk, again)
    assert found.names == ("pot eps=0.05", "pot eps=0.05 (2)")
    assert found.rows[1].map_max == 0
    assert found.rows[0].marginal_error == sk.stats["marginal_error"]


def test_one_and_three_axes() -> None:
    rng = np.random.default_rng(5)
    for shapes in (((7,), (9,)), ((3, 4, 2), (2, 3, 5))):
        problem = pma.Problem(rng.random(shapes[0]) + 0.1, rng.random(shapes[1]) + 0.1)
        sk = _peer("pot")(problem, 0.05, 1e-11)
        exact = _sinkhorn(problem, 0.05, 1000)
        np.testing.assert_allclose(sk.gradient, exact["forward"], atol=1e-8)


# --- refusals


@every_peer
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module.split(".")[0])

    problem = _problem()
    monkeypatch.setattr(importlib, "import_module", absent)
    package = {"pot": "POT", "ott": "ott-jax", "geomloss": "geomloss"}[name]
    with pytest.raises(InvalidInputError) as caught:
        peers.PEERS[name](problem, EPS)
    assert str(caught.value) == (
        f"peer {name} needs the package {package}, which is not installed: "
        "pip install 'pma_grid[bench]'"
    )


def test_a_package_that_fails_to_load_tells_its_story(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: str) -> Any:
        raise ImportError("libfoo.so: cannot open shared object file")

    problem = _problem()
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(InvalidInputError, match=r"POT, which fails to load \(libfoo.so"):
        peers.solve_pot(problem, EPS)


@every_peer
@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.0,), "eps is 0.0"),
        ((math.nan,), "eps is nan"),
        (("much",), "eps is 'much'"),
        ((0.1, -1.0), "tol is -1.0"),
        ((0.1, 1e-6, 0), "max_iterations is 0;"),
        ((0.1, 1e-6, 2.5), "max_iterations is 2.5"),
    ],
)
def test_arguments_out_of_range(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        peers.PEERS[name](_problem(), *arguments)


@pytest.mark.parametrize("name", ["pot", "geomloss"])
def test_dense_matrices_that_would_not_fit(name: str) -> None:
    problem = pma.Problem(np.ones((100, 100)), np.ones((100, 100)))
    with pytest.raises(InvalidInputError, match=r"10000 x 10000 .*0\.745 GiB"):
        _peer(name)(problem, 0.01)


def test_ott_needs_equal_shapes() -> None:
    with pytest.raises(InvalidInputError, match=r"one shape, here \(4,\) and \(5,\)"):
        peers.solve_ott(pma.Problem(np.ones(4), np.ones(5)), EPS)


def test_underflow_is_no_answer() -> None:
    problem = _problem()

    def nothing(reduced: Any) -> plans.PeerRun:
        return plans.PeerRun(np.full(reduced.b.shape, -np.inf), 1, 0.0)

    with pytest.raises(ConvergenceError, match="peer ott .*not finite"):
        plans.transport("ott", "numpy", problem, plans.Request(EPS, 1e-6, 10, False), nothing)
