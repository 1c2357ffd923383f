"""Estimators of log-densities from points: contracts, kernels, cuts, and choices by likelihood."""

import numpy as np
import pytest
from scipy import special

from pma_grid import Grid, InvalidInputError, Samples
from pma_grid.cases import data_set, gaussian_mixture
from pma_grid.learning import (
    Estimator,
    Histogram,
    Kernel,
    Logistic,
    Score,
    held_out_log_likelihood,
    select,
)
from pma_grid.learning.estimators import limited
from pma_grid.learning.estimators.estimator import LEARNED_DEPTH_NATS
from pma_grid.learning.estimators.plug_in import padded, smoothed
from pma_grid.learning.selection import MOST_FALLS
from pma_grid.runtime.arrays import Array

ALL: list[Estimator] = [
    Logistic(1e-5), Logistic(1e-3, penalty="h1"), Score(1e-3), Score(0.05, objective="denoising"),
    Score(1e-3, control=True), Kernel(0.05), Histogram(0.5),
]  # fmt: skip
NAMES = ["h2", "h1", "implicit", "denoising", "control", "kde", "histogram"]
SHAPES = [(50,), (1, 30), (16, 11), (6, 5, 7)]
every_estimator = pytest.mark.parametrize("estimator", ALL, ids=NAMES)


def _uniform(shape: tuple[int, ...]) -> Array:
    return np.full(shape, 1.0 / np.prod(shape))


def _points(count: int, dim: int, seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng(seed).beta(3, 5, size=(count, dim)))


# smoothing


@pytest.mark.parametrize("bandwidth", [0.02, 0.1, 0.4])
def test_kernels_are_reflected_gaussians_averaged_over_cells(bandwidth: float) -> None:
    """One cell of many, against the images of its points; n is large, so that it is nearly one."""
    n, k = 400, 30
    spread = smoothed(np.eye(n)[k], bandwidth)
    faces, centre = np.arange(n + 1) / n, (k + 0.5) / n
    cumulative = sum(
        special.ndtr((faces - image - 2 * shift) / bandwidth)
        for shift in range(-3, 4)
        for image in (centre, -centre)
    )
    expected = np.diff(np.asarray(cumulative))
    assert np.abs(spread - expected).max() < 2e-3 * expected.max()


def test_kernels_keep_mass_compose_and_separate() -> None:
    drawn = np.random.default_rng(0).multinomial(50, _uniform((12, 15)).ravel())
    masses = drawn.reshape(12, 15) / 50
    once = smoothed(masses, 0.1)
    assert abs(once.sum() - 1) < 1e-14 and once.min() > 0
    assert np.allclose(smoothed(smoothed(masses, 0.06), 0.08), once, atol=1e-15)
    assert np.allclose(smoothed(masses, 0.0), masses, atol=1e-15)
    assert np.allclose(smoothed(masses, 5.0), 1 / 180)
    line = np.eye(12)[3]
    product = np.outer(smoothed(line, 0.1), smoothed(np.eye(15)[7], 0.1))
    assert np.allclose(smoothed(np.outer(line, np.eye(15)[7]), 0.1), product, atol=1e-15)


def test_pseudo_counts() -> None:
    masses = np.array([0.75, 0.25, 0.0, 0.0])
    assert np.allclose(padded(masses, 1.0), [0.5, 0.25, 0.125, 0.125])


# estimators


@every_estimator
@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_finite_and_cut(shape: tuple[int, ...], estimator: Estimator) -> None:
    grid = Grid(shape)
    masses = Samples(_points(60, len(shape)), grid=grid).masses()
    learned = estimator.learn(masses, _uniform(shape), grid)
    assert learned.shape == shape
    assert np.isfinite(learned).all()
    assert learned.max() == 0 and learned.min() >= -LEARNED_DEPTH_NATS


@every_estimator
def test_units_of_the_data_do_not_matter(estimator: Estimator) -> None:
    shape = (20, 14)
    unit = Samples(_points(300, 2), grid=Grid(shape))
    stretched = Grid(shape, (-3.0, 10.0), (5.0, 10.5))
    moved = Samples(unit.points * [8.0, 0.5] + [-3.0, 10.0], grid=stretched)
    learned = [estimator.learn(s.masses(), _uniform(shape), s.grid) for s in (unit, moved)]
    assert np.array_equal(learned[0], learned[1])


@pytest.mark.parametrize(
    "estimator",
    [Logistic(1e-6), Logistic(1e-4, penalty="h1"), Score(1e-4), Score(0.02, objective="denoising"),
     Kernel(0.02), Histogram(0.1)],
    ids=["h2", "h1", "implicit", "denoising", "kde", "histogram"],
)  # fmt: skip
def test_many_points_teach_the_law(estimator: Estimator) -> None:
    """KL from the law to what is learned of 4 million points, against KL from it to uniform."""
    shape = (64,)
    x = (np.arange(64) + 0.5) / 64
    law = np.exp(np.sin(7 * x))
    law /= law.sum()
    masses = np.random.default_rng(0).multinomial(4_000_000, law) / 4_000_000
    learned = np.exp(estimator.learn(masses, _uniform(shape), Grid(shape)))
    entropy = float((law * np.log(64 * law)).sum())
    divergence = float((law * np.log(law / (learned / learned.sum()))).sum())
    assert divergence < 0.05 * entropy


def test_logits_begin_from_an_earlier_law_whatever_its_factor() -> None:
    grid = Grid((24, 24))
    masses = Samples(_points(400, 2), grid=grid).masses()
    rho = _uniform(grid.shape)
    plain = Logistic(1e-6).learn(masses, rho, grid)
    start = Logistic(1e-5).learn(masses, rho, grid)
    for factor in (0.0, -40.0, 25.0):
        found = Logistic(1e-6).learn(masses, rho, grid, start=start + factor)
        assert np.abs(found - plain)[plain > -8].max() < 1e-3


def test_cut() -> None:
    logs = np.array([3.0, 2.0, -30.0, -40.0])
    lowest = -LEARNED_DEPTH_NATS
    assert np.allclose(limited(logs), [0.0, -1.0, lowest, lowest])


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, "1", True])
def test_strengths_are_positive_numbers(value: object) -> None:
    with pytest.raises(InvalidInputError, match="strength is"):
        Logistic(value)  # type: ignore[arg-type]


def test_words_and_missing_strengths_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="penalty is 'h3'"):
        Logistic(penalty="h3")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="objective is 'sliced'"):
        Score(objective="sliced")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"strength is None.*select"):
        Kernel().learn(_uniform((8,)), _uniform((8,)), Grid(8))


# choices


@pytest.mark.parametrize(
    "estimator", [Logistic(), Score(), Kernel(), Histogram()], ids=lambda e: e.name
)
def test_choice_is_the_best_of_what_was_tried(estimator: Estimator) -> None:
    samples = Samples(_points(500, 1), grid=Grid(64))
    found = select(estimator, samples, _uniform((64,)))
    assert (np.diff(found.strengths) > 0).all()
    best = int(np.argmax(found.log_likelihoods))
    assert found.estimator.strength == found.strengths[best]
    assert not found.at_edge
    # refined about the best: closer there than the candidates are
    first, second = estimator.strengths()[:2]
    near = found.strengths[best - 1 : best + 2]
    assert (near[1:] / near[:-1] < (second / first) ** 0.3).all()
    train, test = samples.split(0.2, 0)
    learned = found.estimator.learn(train.masses(), _uniform((64,)), samples.grid)
    again = held_out_log_likelihood(learned, samples.grid, test.points)
    assert abs(again - found.log_likelihoods[best]) < 1e-5


def test_choice_does_not_try_what_is_hopelessly_rough() -> None:
    samples = Samples(_points(500, 1), grid=Grid(64))
    found = select(Logistic(), samples, _uniform((64,)))
    assert found.estimator.strength is not None
    worse = found.strengths < found.estimator.strength
    candidates = np.isin(found.strengths, Logistic().strengths())
    assert (worse & candidates).sum() <= MOST_FALLS
    assert found.strengths.min() > Logistic().strengths().min()


def test_choice_at_the_end_of_the_range_is_told() -> None:
    """Points spread evenly: no smoothing is too strong."""
    grid = Grid(64)
    even = (np.arange(640) + 0.5) / 640
    found = select(Logistic(), Samples(even, grid=grid), _uniform((64,)))
    assert found.at_edge
    assert found.told()["at_edge"] is True


def test_more_points_are_smoothed_less() -> None:
    """Bandwidths go down as n^{-1/5}, by .4 here, up to the noise of the choice."""
    law, grid = gaussian_mixture(1), gaussian_mixture(1).grid(128)
    for estimator in (Logistic(), Kernel()):
        chosen = [
            select(estimator, Samples(law.sample(n, 0), grid=grid), _uniform((128,))).estimator
            for n in (200, 20_000)
        ]
        assert chosen[1].strength < 0.7 * chosen[0].strength  # type: ignore[operator]


def test_choices_repeat_and_depend_on_the_seed() -> None:
    samples = Samples(_points(300, 1), grid=Grid(48))
    runs = [select(Kernel(), samples, _uniform((48,)), seed=s) for s in (0, 0, 1)]
    assert np.array_equal(runs[0].log_likelihoods, runs[1].log_likelihoods)
    assert not np.array_equal(runs[0].log_likelihoods, runs[2].log_likelihoods)


def test_several_divisions_are_averaged() -> None:
    samples = Samples(_points(300, 1), grid=Grid(48))
    alone = [select(Kernel(), samples, _uniform((48,)), seed=s) for s in range(3)]
    found = select(Kernel(), samples, _uniform((48,)), divisions=3)
    tried = set(Kernel().strengths()).intersection(found.strengths, *(a.strengths for a in alone))
    assert len(tried) > 5
    for strength in tried:
        means = [a.log_likelihoods[a.strengths == strength][0] for a in alone]
        value = found.log_likelihoods[found.strengths == strength][0]
        assert abs(value - np.mean(means)) < 1e-12
    for wrong in (0, 1.5, True):
        with pytest.raises(InvalidInputError, match="divisions is"):
            select(Kernel(), samples, _uniform((48,)), divisions=wrong)  # type: ignore[arg-type]


def test_likelihood_is_that_of_the_normalised_law() -> None:
    grid = Grid(200, -1.0, 3.0)
    slope = 0.7 * grid.axes[0]
    points = np.array([[-0.5], [1.0], [2.5]])
    norm = (np.exp(2.1) - np.exp(-0.7)) / 0.7
    expected = float((0.7 * points).mean() - np.log(norm))
    assert abs(held_out_log_likelihood(slope + 5.0, grid, points) - expected) < 1e-3


def test_discriminators_beat_kernels_on_winding_arms() -> None:
    law, grid = data_set("pinwheel"), data_set("pinwheel").grid(48)
    samples, test = Samples(law.sample(1000, 0), grid=grid), law.sample(3000, 1)
    rho = _uniform(grid.shape)
    scores = []
    for estimator in (Logistic(), Kernel(), Histogram()):
        chosen = select(estimator, samples, rho).estimator
        learned = chosen.learn(samples.masses(), rho, grid)
        scores.append(held_out_log_likelihood(learned, grid, test))
    assert scores[0] > scores[1] + 0.01 and scores[1] > scores[2] + 0.05


@pytest.mark.slow
def test_divergence_falls_at_the_rate_of_two_derivatives() -> None:
    """KL(mu | learned) as n^{-4/(4 + d)}, -.67 in the plane.

    One divergence scatters by a fifth of itself: three seeds leave the slope an error of .03.
    """
    dim, size, seeds = 2, 32, 3
    law, grid = gaussian_mixture(dim), gaussian_mixture(dim).grid(size)
    truth = law.density(grid).values * grid.cell_volume
    counts, rho = np.array([1000, 100_000]), _uniform(grid.shape)
    divergences = np.zeros(2)
    for seed in range(seeds):
        for k, n in enumerate(counts):
            samples = Samples(law.sample(int(n), seed), grid=grid)
            chosen = select(Logistic(), samples, rho, seed=seed).estimator
            learned = np.exp(chosen.learn(samples.masses(), rho, grid))
            divergences[k] += (truth * np.log(truth / (learned / learned.sum()))).sum() / seeds
    slope = float(np.diff(np.log(divergences))[0] / np.diff(np.log(counts))[0])
    assert abs(slope + 4 / (4 + dim)) < 0.15, (slope, divergences)
