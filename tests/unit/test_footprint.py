"""Means of the target over images of cells: exact derivatives, exact means, rough problems."""

from __future__ import annotations

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.equation import images as cell_images
from pma_grid.equation.evaluation import Evaluation
from pma_grid.equation.images import Renewal
from pma_grid.equation.monge_ampere import MongeAmpere, TargetRule
from pma_grid.equation.rearrangement import rearranged
from pma_grid.grid.lattice import Lattice
from pma_grid.grid.splines import SPLINE_HALO, cell_means, histospline

DIMS = pytest.mark.parametrize("dim", [1, 2, 3])
SHAPES = {1: (200,), 2: (30, 34), 3: (12, 13, 14)}
# source shape and box, target shape and box: equal ones, and anisotropic ones of other sizes
GRIDS = [
    (pma.Grid((30,)), pma.Grid((30,))),
    (pma.Grid((30,), 0.0, 3.0), pma.Grid((47,), -1.0, 1.0)),
    (pma.Grid((12, 14)), pma.Grid((12, 14))),
    (pma.Grid((12, 14), (0.0, 1.0), (1.0, 3.0)), pma.Grid((17, 11), (0.0, -1.0), (1.0, 2.0))),
    (pma.Grid((7, 8, 9)), pma.Grid((7, 8, 9))),
    (pma.Grid((7, 8, 9), 0.0, (1.0, 2.0, 1.0)), pma.Grid((9, 5, 11), 0.0, (2.0, 1.0, 1.0))),
]
PAIRS = pytest.mark.parametrize(("source", "target"), GRIDS)


def _rough(shape: tuple[int, ...], seed: int, size: float = 1.0) -> np.ndarray:
    """White noise in the logarithm."""
    return np.exp(size * np.random.default_rng(seed).normal(size=shape))


def _equation(source: pma.Grid, target: pma.Grid) -> Evaluation:
    densities = _rough(source.shape, 1, 0.3), _rough(target.shape, 2)
    return Evaluation(MongeAmpere.between(densities, (source, target), TargetRule.MEAN))


def _convex(equation: Evaluation, bend: float, noise: float, seed: int = 3) -> np.ndarray:
    """phi of a convex u whose Hessian has sizeable mixed entries, with some noise; in its unit."""
    frame, rng = equation.frame, np.random.default_rng(seed)
    x = [(np.arange(n) + 0.5) / n for n in equation.lattice.shape]
    waves = np.ones(())
    for c in x:
        waves = np.multiply.outer(waves, np.cos(np.pi * c))
    phi = bend / np.pi**2 * np.prod(frame.sides, axis=0).min() * waves
    return np.asarray(phi + noise * frame.metric.min() * rng.normal(size=phi.shape))


@PAIRS
def test_derivative_of_frozen_means_is_exact(
    source: pma.Grid, target: pma.Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """h = log mean + log det D2u - log mu against its stencil, by central differences."""
    monkeypatch.setattr(cell_images, "BLEND_FROM", 0.05)  # so that nearly all images are averaged
    monkeypatch.setattr(cell_images, "BLEND_TO", 0.25)
    equation = _equation(source, target)
    phi = _convex(equation, 0.45, 0.03)
    assert np.isfinite(equation.evaluate_log(phi)).all()
    assert equation.images is not None and equation.averaging
    assert equation.images.blend.mean() > 0.9 or source.dim == 1
    if source.dim > 1:
        moved = (equation.superbase != np.eye(source.dim)).any(axis=(1, 2))
        assert moved.any(), "some images must be made of vectors off the axes"
    direction = np.random.default_rng(5).normal(size=source.shape)
    equation.evaluate_log(phi, Renewal.NOTHING)
    expected = np.empty(phi.size)
    equation.stencil.apply(direction.ravel(), expected)
    step = 1e-6 * equation.frame.metric.min()
    values, bases = [], [equation.superbase.copy()]
    for sign in (1, -1):
        values.append(equation.evaluate_log(phi + sign * step * direction, Renewal.NOTHING).ravel())
        bases.append(equation.superbase.copy())
    # superbases are tied in the corners, where those of images jump
    same = (bases[0] == bases[1]) & (bases[1] == bases[2])
    same = same.all(axis=(1, 2))
    assert same.sum() >= phi.size - 2**source.dim
    found = (values[0] - values[1]) / (2 * step)
    error = 1e-7 * np.abs(expected).max()
    np.testing.assert_allclose(found[same], expected[same], atol=error)


@DIMS
def test_change_of_weights_is_felt(dim: int) -> None:
    """Without the derivative with respect to D2u the test above would fail."""
    source, target = GRIDS[2 * dim - 1]
    equation = _equation(source, target)
    equation.evaluate_log(_convex(equation, 0.45, 0.03))
    with_change = equation.stencil.weights.copy()
    equation._log_det(np.empty(equation.lattice.size))
    weights = equation.stencil.weights
    assert (np.abs(with_change - weights) > 0.05 * weights.max()).any()


@DIMS
def test_sums_that_are_kept_are_those_made_afresh(dim: int) -> None:
    """A potential that was tried, then taken with its images renewed, against another evaluation's.

    Between them images of one superbase and numbers of samples of another potential are in use.
    """
    source, target = GRIDS[2 * dim - 1]
    kept, fresh = (_equation(source, target) for _ in range(2))
    kept.evaluate(_convex(kept, 0.2, 0.05), 0.0)  # trials take images as they are
    for step, seed in enumerate((3, 4, 3)):
        phi = _convex(kept, 0.3 + 0.1 * step, 0.05, seed)
        alpha = 0.01 * step
        kept.evaluate(phi, alpha, Renewal.NOTHING)
        kept.evaluate(phi, alpha, Renewal.SAMPLES)
        kept.evaluate(phi, alpha)
        for _ in range(2):  # as often by the superbases of this potential
            kept.evaluate(phi, alpha)
        fresh.restart(kept.superbase)
        for _ in range(2):
            fresh.evaluate(phi.copy(), alpha)
        for name in ("residual", "log_target"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(fresh, name))
        for name in ("weights", "drift"):
            a, b = (getattr(one.linearise(), name) for one in (kept, fresh))
            np.testing.assert_array_equal(a, b)


def _quadratic_target(equation: Evaluation) -> np.ndarray:
    """Give the equation the target q(y) = 3 + y0 + sum_i (i + 1) y_i^2 / 50, y in target cells.

    A quadratic B-spline with coefficients q - sum_i (second difference of q)_i / 8 is q itself.
    """
    images = equation.images
    assert images is not None
    shape = equation.frame.target.shape
    curvature = 0.02 * (1 + np.arange(len(shape)))
    padded = Lattice(shape, SPLINE_HALO).padded_shape
    y = np.indices(padded).astype(float) - SPLINE_HALO
    coefficients = 3.0 + y[0] + np.tensordot(curvature, y**2, axes=1) - curvature.sum() / 4
    images.footprint.__dict__["densities"] = coefficients
    return curvature


@PAIRS
def test_means_of_quadratics_are_exact(
    source: pma.Grid, target: pma.Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """q(g) + sum_ik c_i A_ik^2 / 12 at cells off the faces, which Gauss points give exactly."""
    monkeypatch.setattr(cell_images, "BLEND_FROM", 1e-12)
    monkeypatch.setattr(cell_images, "BLEND_TO", 2e-12)
    equation = _equation(source, target)
    curvature = _quadratic_target(equation)
    frame, lattice, images = equation.frame, equation.lattice, equation.images
    assert images is not None
    # u quadratic, with a Hessian that no pair of axes diagonalises
    x = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in source.shape], indexing="ij"))
    mixed = np.diag(-0.2 * frame.metric)
    for i in range(source.dim):
        for k in range(i):
            mixed[i, k] = mixed[k, i] = (
                (-1) ** (i + k) * 0.45 * np.sqrt(frame.metric[i] * frame.metric[k])
            )
    if source.dim == 3:
        mixed *= 0.6
    phi = 0.5 * np.einsum("i...,ik,k...->...", x, mixed, x)
    for _ in range(3):
        equation.evaluate(phi, 0.0)
    assert (images.blend == 1).all() or source.dim == 1
    a = (np.diag(frame.metric) + mixed) * frame.per_cell[:, None]
    cell = np.stack(np.meshgrid(*[np.arange(n) for n in source.shape], indexing="ij"))
    shift = np.einsum("ik,k...->i...", mixed * frame.per_cell[:, None], x)
    g = (frame.affine * (np.moveaxis(cell, 0, -1) + 0.5) - 0.5) + np.moveaxis(shift, 0, -1)
    expected = 3.0 + g[..., 0] + g**2 @ curvature
    expected += (curvature @ a**2).sum() / 12
    half = 0.5 * np.abs(a).sum(axis=1)
    size = np.array(target.shape)
    inside = ((g - half > -0.5) & (g + half < size - 0.5)).all(axis=-1)
    halo = min(2, lattice.halo)
    inner = np.zeros(source.shape, bool)
    inner[(slice(halo, -halo),) * source.dim] = True
    superbases = equation.superbase.reshape(*source.shape, source.dim, source.dim)
    assert np.abs(superbases[inner]).max() <= halo
    chosen = inside & inner
    assert chosen.sum() > 10
    found = np.exp(equation.log_target + images.shift).reshape(source.shape)
    np.testing.assert_allclose(found[chosen], expected[chosen], rtol=1e-12)


def test_one_axis_conserves_mass_for_any_convex_potential() -> None:
    source, target = GRIDS[1]
    equation = _equation(source, target)
    phi = 0.2 * equation.frame.metric[0] * np.random.default_rng(0).normal(size=source.shape)
    equation.evaluate(phi, 0.0)
    images = equation.images
    assert images is not None
    lengths = _second_differences(equation, phi)
    assert lengths.min() > 0
    mass = (np.exp(equation.log_target + images.shift) * lengths).sum()
    density = images.footprint.densities[SPLINE_HALO:-SPLINE_HALO]
    assert mass == pytest.approx(cell_means(density).sum(), rel=1e-13)


def _second_differences(equation: Evaluation, phi: np.ndarray) -> np.ndarray:
    """Lengths of the images of one axis in target cells."""
    padded = np.pad(phi, 1, mode="symmetric")
    second = equation.frame.metric[0] + padded[2:] + padded[:-2] - 2 * phi
    return np.asarray(second * equation.frame.per_cell[0])


def test_one_axis_has_weights_of_one_sign() -> None:
    """Of d log(M mean) / dM, for any potential: the operator is monotone without a clamp."""
    equation = _equation(*GRIDS[1])
    for size in (0.2, 3.0, 30.0):
        phi = size * equation.frame.metric[0] * np.random.default_rng(1).normal(size=30)
        equation.evaluate(phi, 0.0)
        assert equation.linearise().weights.min() >= 0


@DIMS
@pytest.mark.parametrize("size", [0.3, 2.0])
def test_equal_densities_stay_where_they_are_however_rough(dim: int, size: float) -> None:
    a = _rough(SHAPES[dim], dim, size)
    ot = pma.solve(pma.Problem(a, a))
    assert ot.status is pma.Status.CONVERGED
    assert np.abs(ot.displacement).max() < 1e-6 and ot.w2 < 1e-6


@DIMS
def test_histosplines_are_positive_and_have_the_means(dim: int) -> None:
    smooth = np.ones(())
    for n in SHAPES[dim]:
        smooth = np.multiply.outer(smooth, 1 + 0.3 * np.cos(np.pi * (np.arange(n) + 0.5) / n))
    np.testing.assert_allclose(cell_means(histospline(smooth)), smooth, rtol=1e-12)
    rough = _rough(SHAPES[dim], 4, 2.0)
    coefficients = histospline(rough)
    assert coefficients.min() > 0
    assert coefficients.sum() == pytest.approx(rough.sum(), rel=1e-12)


def _exact_distance(a: np.ndarray, b: np.ndarray) -> float:
    """W2 of piecewise constant densities on the unit interval: |x - y|^2 is quadratic in mass."""
    ends = [np.concatenate([[0.0], np.cumsum(v / v.sum())]) for v in (a, b)]
    mass = np.unique(np.concatenate(ends))
    x, y = (np.interp(mass, end, np.linspace(0, 1, end.size)) for end in ends)
    d = x - y
    return float(np.sqrt((np.diff(mass) * (d[:-1] ** 2 + d[:-1] * d[1:] + d[1:] ** 2)).sum() / 3))


def _peak(n: int, centre: float = 0.5) -> np.ndarray:
    """A Gaussian of width .05 on a floor of a millionth of its mean."""
    x = (np.arange(n) + 0.5) / n
    values = np.exp(-((x - centre) ** 2) / (2 * 0.05**2))
    return np.asarray(values / values.mean() + 1e-6)


N = 256
ONE_AXIS = {
    "white noise": (_rough((N,), 0), _rough((N,), 1), 5e-3),
    "even noise": (np.random.default_rng(0).random(N), np.random.default_rng(1).random(N), 5e-3),
    "to a peak": (np.ones(N), _peak(N), 2e-4),
    "from a peak": (_peak(N), np.ones(N), 2e-4),
    "from peak to peak": (_peak(N, 0.3), _peak(N, 0.7), 1e-6),
}


@pytest.mark.parametrize("name", ONE_AXIS)
def test_one_axis_is_solved_in_closed_form(name: str) -> None:
    a, b, error = ONE_AXIS[name]
    ot = pma.solve(pma.Problem(a, b))
    assert ot.status is pma.Status.CONVERGED
    assert ot.stats["iterations"] == 0
    assert ot.stats["residual"] < 1e-8 and ot.stats["mass_constant"] == 0.0
    assert ot.w2 == pytest.approx(_exact_distance(a, b), rel=error)


def test_rearrangement_of_products_is_the_map() -> None:
    """To a density of which both marginals have primitives t^2 and (t + t^2) / 2 in closed form."""
    n = 128
    grid = pma.Grid((n, n), (0.0, 0.0), (2.0, 1.0))
    target = pma.Grid((n, 64), (1.0, 0.0), (2.0, 3.0))
    y0, y1 = (np.arange(m) + 0.5 for m in target.shape)
    nu = np.multiply.outer(y0 / n, 0.5 + y1 / 64)
    phi = rearranged(np.ones((n, n)), grid, nu, target)
    h = np.array(grid.spacing)
    frame = MongeAmpere.between((np.ones((n, n)), nu), (grid, target)).frame
    u = frame.quadratic() + frame.unit * phi
    faces = np.arange(1, n) / n
    found0 = np.diff(u, axis=0)[:, 0] / h[0]
    found1 = np.diff(u, axis=1)[0] / h[1]
    np.testing.assert_allclose(found0, 1 + np.sqrt(faces), atol=2e-4)
    np.testing.assert_allclose(found1, 3 * (np.sqrt(0.25 + 2 * faces) - 0.5), atol=2e-4)


def test_rough_densities_in_three_dimensions_are_solved() -> None:
    n = 24
    ot = pma.solve(pma.Problem(_rough((n,) * 3, 1), _rough((n,) * 3, 2)), fallback=False)
    # the equation is solved, the noise is beyond the grid
    assert ot.status is pma.Status.UNRESOLVED
    assert ot.stats["residual"] <= ot.stats["tol"] and ot.stats["averaged"]
    with pytest.raises(pma.ConvergenceError):
        pma.solve(
            pma.Problem(_rough((n,) * 3, 1), _rough((n,) * 3, 2)), fallback=False, averaging=False
        )


def test_peak_in_three_dimensions_is_reached() -> None:
    n = 32
    peak = _peak(n)
    cube = peak[:, None, None] * peak[:, None] * peak
    ot = pma.solve(pma.Problem(np.ones((n,) * 3), cube), fallback=False)
    assert ot.status is pma.Status.CONVERGED
    exact = np.sqrt(3) * _exact_distance(np.ones(n), peak)
    assert ot.w2 == pytest.approx(exact, rel=8e-3)


@DIMS
def test_monotone_gradients_take_point_values(dim: int) -> None:
    a, b = _rough(SHAPES[dim], 1, 0.1), _rough(SHAPES[dim], 2, 0.1)
    assert pma.solve(pma.Problem(a, b)).stats["averaged"]
    assert not pma.solve(pma.Problem(a, b), monotone_gradient=True).stats["averaged"]
    assert not pma.solve(pma.Problem(a, b), averaging=False).stats["averaged"]
