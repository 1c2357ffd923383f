"""Score matching on a grid: the boundary term, denoising, projections, and masses of modes."""

import numpy as np
import pytest

from pma_grid import Grid, Samples
from pma_grid.learning import Logistic, Score, select
from pma_grid.learning.estimators.plug_in import smoothed
from pma_grid.learning.estimators.score import log_score, projected, score_field
from pma_grid.runtime.arrays import Array

SHAPES = [(48,), (1, 40), (20, 13), (8, 1, 9), (7, 6, 5)]


def _centres(n: int) -> Array:
    return (np.arange(n) + 0.5) / n


def _normalised(values: Array) -> Array:
    return np.asarray(values / values.sum())


def _smooth_law(shape: tuple[int, ...]) -> Array:
    x = np.meshgrid(*(_centres(n) for n in shape), indexing="ij")
    return _normalised(np.exp(-3 * np.asarray(sum((c - 0.4) ** 2 for c in x)) + x[-1]))


def _objective(fields: list[Array], masses: Array, strength: float) -> float:
    """E[|s|^2 / 2 + div s] with its boundary term, and the penalty, term by term."""
    total = 0.0
    for axis, s in enumerate(fields):
        m = np.moveaxis(masses, axis, 0)
        f = np.moveaxis(s, axis, 0)
        total += (0.25 * (m[1:] + m[:-1]) * f**2).sum()
        total -= (len(m) * np.diff(m, axis=0) * f).sum()
        for other, n in enumerate(s.shape):
            total += 0.5 * strength / masses.size * ((n * np.diff(s, axis=other)) ** 2).sum()
    return float(total)


@pytest.mark.parametrize("strength", [1e-6, 1e-3, 1e3])
def test_exponential_law_has_one_slope_up_to_the_faces(strength: float) -> None:
    """The objective without its boundary term is least at 0 among constant fields."""
    for n in (32, 64):
        (s,) = score_field(_normalised(np.exp(-3 * _centres(n))), strength)
        assert np.abs(s + 2 * n * np.tanh(1.5 / n)).max() < 1e-5  # -3 + 9 / (4 n^2)


@pytest.mark.parametrize("shape", SHAPES)
def test_field_minimises_the_objective(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(300, _smooth_law(shape).ravel()).reshape(shape) / 300
    strength = 1e-3
    found = score_field(counts, strength)
    assert [f.shape for f in found] == [
        tuple(n - (k == axis) for k, n in enumerate(shape)) for axis in range(len(shape))
    ]
    least = _objective(found, counts, strength)
    for _ in range(4):
        other = [f + 1e-3 * rng.normal(size=f.shape) for f in found]
        back = [2 * f - o for f, o in zip(found, other, strict=True)]
        up, down = (_objective(f, counts, strength) for f in (other, back))
        assert min(up, down) > least
        assert abs(up - down) < 1e-5 * (up + down - 2 * least) + 1e-12


def test_field_without_a_penalty_is_the_logarithmic_derivative() -> None:
    shape = (128, 96)
    law = _smooth_law(shape)
    for field, known in zip(score_field(law, 1e-14), log_score(law), strict=True):
        assert np.abs(field - known).max() < 1e-3  # means of two cells: second order


def test_noise_is_averaged_out_exactly() -> None:
    """The denoising objective, its noise drawn, is that of the smoothed masses (Vincent 2011)."""
    n, noise, draws = 160, 0.06, 400_000
    points = np.random.default_rng(1).choice([0.21, 0.33, 0.72, 0.93], size=draws)
    cells = np.bincount((points * n).astype(int), minlength=n) / draws
    centre = _centres(n)[(points * n).astype(int)]
    noisy = centre + noise * np.random.default_rng(2).normal(size=draws)
    reflected = 1 - np.abs(1 - np.abs(noisy))  # at both faces
    field = score_field(smoothed(cells, noise), 1e-8)[0]
    # E[s(y)^2 / 2 - s(y) d/dy log p(y|x)] is least at the mean of d/dy log p over x given y
    shifts = np.arange(-1, 2)[:, None, None]
    x, y = _centres(n)[:, None], (np.arange(1, n) / n)[None]
    images = np.stack([y - x - 2 * shifts, y + x - 2 * shifts])
    kernel = np.exp(-0.5 * (images / noise) ** 2)
    slope = -(images / noise**2 * kernel).sum(axis=(0, 1))
    density = kernel.sum(axis=(0, 1))
    conditional = (cells @ slope) / (cells @ density)
    seen = smoothed(cells, noise)[1:] > 0.01 / n
    assert np.abs(field - conditional)[seen].max() < 0.05 * np.abs(conditional[seen]).max()
    # the masses are those of points with noise, reflected
    histogram = np.histogram(reflected, bins=n, range=(0, 1))[0] / draws
    assert np.abs(histogram - smoothed(cells, noise)).sum() < 1.5 * np.sqrt(n / draws)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_project_to_their_potentials_whatever_the_weights(shape: tuple[int, ...]) -> None:
    law = _smooth_law(shape)
    logs = np.log(law)
    for weights in (law, np.full(shape, 1.0 / law.size)):
        assert np.abs(projected(log_score(law), weights) - (logs - logs.mean())).max() < 1e-7


def test_rotations_project_to_nothing() -> None:
    """A stream function that vanishes on the faces: no divergence, no flux."""
    n = 24
    stream = np.zeros((n + 1, n + 1))
    stream[1:-1, 1:-1] = np.random.default_rng(0).normal(size=(n - 1, n - 1))
    across, along = np.diff(stream, axis=1)[1:-1], -np.diff(stream, axis=0)[:, 1:-1]
    found = projected([across, along], np.full((n, n), 1.0 / n**2))
    assert np.abs(found).max() < 1e-8


@pytest.mark.parametrize("objective", ["implicit", "denoising"])
def test_control_leaves_no_error_where_the_points_are_spread_as_rho(objective: str) -> None:
    law = _smooth_law((24, 18))
    strength = 1e-3 if objective == "implicit" else 0.1
    estimator = Score(strength, objective=objective, control=True)  # type: ignore[arg-type]
    plain = Score(strength, objective=objective)  # type: ignore[arg-type]
    grid = Grid((24, 18))
    exact = np.log(law / law.max())
    assert np.abs(estimator.learn(law, law, grid) - exact).max() < 1e-6
    assert np.abs(plain.learn(law, law, grid) - exact).max() > 1e-2


@pytest.mark.parametrize("seed", [0, 3])
def test_scores_do_not_fix_masses_of_modes_apart(seed: int) -> None:
    """Eight deviations between two modes: the objective is content with any masses of these.

    Strengths that held-out likelihood chooses do better, a discriminator has them right.
    """
    n, rng = 128, np.random.default_rng(seed)
    centres = np.where(rng.random(10_000) < 0.3, 0.3, 0.7)
    points = np.clip(centres + 0.05 * rng.normal(size=10_000), 0.0, 1.0)
    samples = Samples(points, grid=Grid(n))
    rho, shares = np.full(n, 1 / n), samples.masses()
    train, test = (part.masses() for part in samples.split(0.2, 0))

    def objective(strength: float) -> float:
        return _objective(score_field(train, strength), test, 0.0)

    def error(estimator: Score | Logistic) -> float:
        law = np.exp(estimator.learn(shares, rho, samples.grid))
        return float(abs(_normalised(law)[: n // 2].sum() - shares[: n // 2].sum()))

    by_objective = Score(min(Score().strengths(), key=objective))
    by_likelihood = select(Score(), samples, rho).estimator
    discriminator = select(Logistic(), samples, rho).estimator
    assert error(by_objective) > 0.05
    assert error(by_likelihood) < 0.5 * error(by_objective)  # type: ignore[arg-type]
    assert error(discriminator) < 0.005  # type: ignore[arg-type]
