"""Orders of convergence on manufactured maps: potential and gradient second, W2^2 fourth order."""

import numpy as np
import pytest

import pma_grid as pma

AMPLITUDE = {1: 0.6, 2: 2 / 3, 3: 0.5}


def _waves(x: tuple[np.ndarray, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [np.cos(np.pi * c) for c in x], [np.sin(np.pi * c) for c in x]


def _phi(x: tuple[np.ndarray, ...]) -> np.ndarray:
    """(a / pi^2) times the product of cos(pi x_i)."""
    return np.asarray(AMPLITUDE[len(x)] / np.pi**2 * np.prod(_waves(x)[0], axis=0))


def _gradient(x: tuple[np.ndarray, ...]) -> np.ndarray:
    cosines, sines = _waves(x)
    out = []
    for i in range(len(x)):
        factors = [sines[k] if k == i else cosines[k] for k in range(len(x))]
        out.append(x[i] - AMPLITUDE[len(x)] / np.pi * np.prod(factors, axis=0))
    return np.array(out)


def _det(x: tuple[np.ndarray, ...]) -> np.ndarray:
    cosines, sines = _waves(x)
    dim, a = len(x), AMPLITUDE[len(x)]
    hessian = np.empty((*x[0].shape, dim, dim))
    for i in range(dim):
        for j in range(dim):
            if i == j:
                hessian[..., i, i] = 1 - a * np.prod(cosines, axis=0)
            else:
                parts = [sines[k] if k in (i, j) else cosines[k] for k in range(dim)]
                hessian[..., i, j] = a * np.prod(parts, axis=0)
    return np.asarray(np.linalg.det(hessian))


def _target(*y: np.ndarray) -> np.ndarray:
    factors = [1 + 0.4 * np.cos(2 * np.pi * y[0])]
    factors += [1 + s * np.cos(np.pi * c) for s, c in zip((0.3, -0.3), y[1:], strict=False)]
    return np.asarray(np.prod(factors, axis=0))


def _source(*x: np.ndarray) -> np.ndarray:
    return np.asarray(_target(*_gradient(x)) * _det(x))


def _distance(dim: int) -> float:
    """W2^2 by Gauss-Legendre quadrature of |grad u - x|^2 mu."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x = tuple(np.meshgrid(*[0.5 * (nodes + 1)] * dim, indexing="ij"))
    w = np.ones(())
    for _ in range(dim):
        w = np.multiply.outer(w, 0.5 * weights)
    assert (w * _source(*x)).sum() == pytest.approx(1, abs=1e-12)
    return float((w * _source(*x) * ((_gradient(x) - np.array(x)) ** 2).sum(axis=0)).sum())


def _errors(
    shape: tuple[int, ...], exact: float, *, averaging: bool = True
) -> tuple[float, float, float]:
    """Largest errors of potential and gradient at the centres, and the error of W2^2."""
    grid = pma.Grid(shape)
    problem = pma.Problem(
        pma.Density.from_function(_source, grid), pma.Density.from_function(_target, grid)
    )
    transport = pma.solve(problem, tol=1e-10, averaging=averaging)
    x = tuple(grid.coordinates())
    difference = transport.phi - _phi(x)
    difference -= difference.mean()
    return (
        float(np.abs(difference).max()),
        float(np.abs(transport.gradient - _gradient(x)).max()),
        abs(transport.w2_squared - exact),
    )


def test_reference_values_of_the_distance() -> None:
    assert _distance(2) == pytest.approx(0.0225158186, abs=1e-10)
    assert _distance(3) == pytest.approx(0.0103445605, abs=1e-10)


def _slope(sizes: tuple[int, ...], errors: np.ndarray) -> np.ndarray:
    """Orders by least squares over all sizes, one for each column."""
    return np.asarray(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])


@pytest.mark.parametrize(
    ("dim", "sizes", "largest"),
    [
        (1, (64, 128, 256, 512), (2e-6, 1e-5)),
        (2, (32, 64, 128), (2e-5, 1e-4)),
        (3, (16, 24, 32), (1e-4, 1e-4)),
    ],
)
def test_potential_and_gradient_are_second_order(
    dim: int, sizes: tuple[int, ...], largest: tuple[float, float]
) -> None:
    exact = _distance(dim)
    # on the coarsest grids of three dimensions means over images have smaller errors than those of
    # point values, which they become on finer ones: a sequence of one scheme shows its order
    averaging = dim < 3
    errors = np.array([_errors((n,) * dim, exact, averaging=averaging)[:2] for n in sizes])
    assert _slope(sizes, errors).min() >= 1.85
    assert errors[-1, 0] < largest[0] and errors[-1, 1] < largest[1]


@pytest.mark.parametrize(("dim", "n"), [(1, 32), (1, 64), (2, 32), (2, 64), (3, 32)])
def test_means_over_images_cost_smooth_data_nothing(dim: int, n: int) -> None:
    exact = _distance(dim)
    means, points = (_errors((n,) * dim, exact, averaging=flag) for flag in (True, False))
    assert means[0] < 1.02 * points[0] and means[1] < 1.02 * points[1]
    assert means[2] < 1.1 * points[2]


@pytest.mark.parametrize(
    ("dim", "sizes"), [(1, (16, 32, 64, 128)), (2, (16, 32, 64)), (3, (8, 16, 32))]
)
def test_squared_distance_is_fourth_order(dim: int, sizes: tuple[int, ...]) -> None:
    exact = _distance(dim)
    errors = np.array([[_errors((n,) * dim, exact)[2]] for n in sizes])
    assert _slope(sizes, errors)[0] >= 3.5
    assert errors[-1, 0] < 1e-5 * exact


def test_sizes_that_do_not_halve_converge_as_well() -> None:
    exact = _distance(2)
    errors = np.array([_errors(shape, exact) for shape in ((23, 29), (47, 59), (97, 113))])
    order = _slope((26, 53, 105), errors)
    assert order[0] >= 1.85 and order[1] >= 1.85 and order[2] >= 3.5
