"""Models fitted to samples: every method, dimension and ending; what is recorded and stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.learning import Histogram, Kernel, Logistic, Score, learned_regret
from pma_grid.problem.tables import read_table


@pytest.mark.parametrize("dim, size, count", [(1, 128, 2000), (2, 32, 2000), (3, 12, 2000)])
def test_fit_learns_in_every_dimension(dim: int, size: int, count: int) -> None:
    data = pma.cases.gaussian_mixture(dim)
    model = pma.fit(pma.Samples(data.sample(count, 0), grid=data.grid(size)))
    assert model.converged
    test = data.sample(2000, 1)
    uniform = -dim * np.log(6.0)
    gained = model.log_density(test).mean() - uniform
    # two thirds of what there is to gain on so coarse grids
    assert gained > 0.66 * (-data.entropy() - uniform)
    new = model.sample(1000, seed=2)
    assert np.array_equal(new, model.sample(1000, seed=2))
    threshold = pma.quality.energy_threshold(new, test[:1000], seed=0)
    assert pma.quality.energy_distance(new, test[:1000]) < 2 * threshold


@pytest.mark.parametrize(
    "method",
    [
        "logistic", "score", "kde", "histogram", Logistic(penalty="h1"),
        Score(objective="denoising"), Score(1e-4, control=True), Kernel(0.05), Histogram(0.1),
    ],
)  # fmt: skip
def test_every_method_gives_a_flow_and_a_transport(method: Any) -> None:
    data = pma.cases.gaussian_mixture(2)
    model = pma.fit(pma.Samples(data.sample(1500, 0), grid=data.grid(32)), method)
    assert model.transport.status.succeeded
    assert len(model.flow) >= 1 and model.flow.status.succeeded
    assert model.flow["kl"][-1] < 1e-6  # at rest at what was learned
    assert np.isfinite(model.log_density(data.sample(100, 1))).all()
    given = getattr(method, "strength", None)
    assert (model.stats["selection"] is None) == (given is not None)


def test_truth_adds_what_regret_needs() -> None:
    data = pma.cases.gaussian_mixture(2)
    grid = data.grid(32)
    model = pma.fit(
        pma.Samples(data.sample(1500, 0), grid=grid), Logistic(1e-6), truth=data.density(grid),
        schedule=pma.schedules.constant(0.5), steps=5,
    )  # fmt: skip
    regret = learned_regret(model.flow)
    assert len(regret.average) == 5
    assert (regret.average <= regret.guarantee).all()
    with pytest.raises(pma.InvalidInputError, match="no series"):
        learned_regret(pma.fit(data.sample(100, 0), Kernel(0.1), shape=16).flow)


def test_relearning_stops_on_held_out_samples() -> None:
    data = pma.cases.gaussian_mixture(2)
    model = pma.fit(
        pma.Samples(data.sample(1000, 0), grid=data.grid(24)), Logistic(1e-6), relearn=True
    )
    scores, stopped = model.stats["held_out_log_likelihoods"], model.stats["stopped_at"]
    assert stopped == 1 + int(np.argmax(scores[1:])) == len(model.flow)
    assert model.stats["strength"] == pytest.approx(1e-5)


def test_explicit_steps_are_for_comparison() -> None:
    data = pma.cases.gaussian_mixture(1)
    samples = pma.Samples(data.sample(1000, 0), grid=data.grid(64))
    model = pma.fit(samples, Logistic(1e-6), explicit=True, steps=10)
    assert model.flow.scheme == "learned_explicit"
    assert np.isfinite(model.flow.potential).all()
    implicit = pma.fit(samples, Logistic(1e-6))
    assert model.flow["kl"][-1] > 100 * implicit.flow["kl"][-1]


def test_bases_follow_the_faces() -> None:
    generator = np.random.default_rng(0)
    full = pma.fit(generator.random((500, 1)), Kernel(0.1), shape=32, box=[(0, 1)])
    loose = pma.fit(generator.normal(size=(500, 1)), Kernel(0.1), shape=32)
    assert np.ptp(full.transport.problem.target.values) < 1e-12
    assert np.ptp(loose.transport.problem.target.values) > 0.3
    own = pma.Density([1.0, 2.0, 1.0, 2.0])
    model = pma.fit(generator.normal(size=(500, 1)), Kernel(0.1), shape=32, base=own)
    assert model.transport.problem.target is own


@pytest.mark.parametrize("scale, same", [((1e3, 1e3), 1e-6), ((1e3, 1e-3), 2e-3)])
def test_units_do_not_matter(scale: tuple[float, float], same: float) -> None:
    """Up to the path of the flow where both axes have units of their own: its time mixes them."""
    points = np.random.default_rng(0).normal(size=(400, 2))
    moved = points * scale + [5.0, 7.0]
    model, other = pma.fit(points, shape=24), pma.fit(moved, shape=24)
    gap = model.log_density(points) - other.log_density(moved) - np.log(np.prod(scale))
    assert np.abs(gap).max() < same


@pytest.mark.parametrize("shape", [(1, 32), (31, 7)])
def test_odd_shapes(shape: tuple[int, int]) -> None:
    points = np.random.default_rng(0).normal(size=(400, 2))
    model = pma.fit(points, shape=shape)
    assert model.density.shape == shape
    assert np.isfinite(model.log_density(points)).all()


def test_no_draw_goes_astray() -> None:
    """Where Newton's method for the inverse fails its start, right to a cell, is kept."""
    points, names = read_table(Path(__file__).parents[2] / "data" / "geyser.csv")
    model = pma.fit(points, Logistic(2.4e-6), names=names)
    y, x = model.sampler.pairs(20_000, seed=0)
    assert np.abs(model.sampler.encode(x) - y).max() < 0.2


def test_models_are_saved_and_loaded(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(200, 1))
    model = pma.fit(points, Kernel(), shape=32, names=("length",), seed=5)
    model.save(tmp_path / "m.npz")
    again = pma.load(tmp_path / "m.npz")
    assert isinstance(again, pma.Model)
    assert again.names == ("length",) and again.stats["seed"] == 5
    assert np.array_equal(again.sample(9, seed=1), model.sample(9, seed=1))
    assert np.array_equal(again.flow["kl"], model.flow["kl"])
    assert np.array_equal(again.masses, model.masses)
    assert again.transport.mass_constant == model.flow.stats.mass_constant
    assert again.stats == model.stats and repr(again) == repr(model)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"method": "gan"}, "method is"),
        ({"base": "cauchy"}, "base is"),
        ({"base": pma.Density([1.0, 1.0])}, "axes"),
        ({"held_out": 0}, "held_out"),
        ({"seed": -1}, "seed"),
        ({"steps": -1}, "steps"),
        ({"names": ("a",)}, "names"),
        ({"truth": pma.Density(np.ones((3, 3)))}, "truth is"),
        ({"record": ("nothing",)}, "nothing"),
        ({"shape": (8, 8, 8)}, "one number of cells"),
        ({"box": [(0, 0.1), (0, 0.1)]}, "outside the box"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    points = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.raises(pma.InvalidInputError, match=message):
        pma.fit(points, **{"shape": 8, "method": "kde", **options})
