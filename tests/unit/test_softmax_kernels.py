"""Sums of Gaussian kernels on grids against all pairs of cells: widths, images, moments, ranges."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from pma_grid.entropic.dense.kernel import Axis, SeparableKernel, WideAxis
from pma_grid.kernels.entropic import softmax
from pma_grid.problem.reduction import Reduced

EPS = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8]
SHAPES = [
    ((1,), (1,)), ((1,), (9,)), ((40,), (40,)), ((33,), (58,)), ((64,), (5,)), ((7, 12), (12, 7)),
    ((9, 1), (1, 6)), ((5, 4, 6), (4, 7, 3)),
]  # fmt: skip
IMAGES = range(-14, 15)


def _reduced(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> Reduced:
    """Masses do not matter to kernels."""
    lengths = np.array([1.0, 1.3, 0.8])[: len(shapes[0])]
    return Reduced.over(np.ones(shapes[0]), np.ones(shapes[1]), lengths)


def _logs(shape: tuple[int, ...], kind: str, seed: int = 0) -> np.ndarray:
    """Logarithms of weights: of order one, of every order of magnitude, or mostly without mass."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(size=shape)
    if kind == "rough":
        return logs * 10.0 ** rng.uniform(0, 4, size=shape)
    if kind == "empty":
        logs[rng.random(shape) < 0.7] = -np.inf
        logs.ravel()[rng.integers(logs.size)] = 0.3
    return logs


def _points(axes: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def _pairs(
    x: tuple[np.ndarray, ...], y: tuple[np.ndarray, ...], lengths: np.ndarray, reflect: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every image of the points x: where they are (n, d), and their half squared distances (n, m).

    Reflecting, the box is [-L/2, L/2] on each axis: images lie at 2kL + x and (2k + 1)L - x.
    """
    own, other = _points(x), _points(y)
    copies = [own]
    for axis, length in enumerate(lengths if reflect else ()):
        moved = []
        for points in copies:
            for k in IMAGES:
                for sign, shift in ((1, 2 * k * length), (-1, (2 * k + 1) * length)):
                    image = points.copy()
                    image[:, axis] = sign * points[:, axis] + shift
                    moved.append(image)
        copies = moved
    return [(p, 0.5 * ((p[:, None] - other) ** 2).sum(-1)) for p in copies]


def _brute(
    reduced: Reduced, eps: float, logs: np.ndarray, to_target: bool, reflect: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log sums, means (d, ...) and covariances (d, d, ...) over all pairs."""
    x, y = (reduced.x, reduced.y) if to_target else (reduced.y, reduced.x)
    pairs = _pairs(x, y, reduced.lengths, reflect)
    shape = tuple(len(axis) for axis in y)
    exponents = np.concatenate([logs.reshape(-1, 1) - c / eps for _, c in pairs])
    places = np.concatenate([p for p, _ in pairs])
    total = logsumexp(exponents, axis=0)
    weights = np.exp(exponents - total)
    mean = np.einsum("id,ij->dj", places, weights)
    away = places.T[:, :, None] - mean[:, None]
    covariance = np.einsum("aij,bij,ij->abj", away, away, weights)
    d = len(shape)
    return total.reshape(shape), mean.reshape(d, *shape), covariance.reshape(d, d, *shape)


def _tilted(reduced: Reduced, eps: float, **options: object) -> SeparableKernel:
    """A kernel that sums in windows only."""
    kernel = SeparableKernel(reduced, eps, **options)  # type: ignore[arg-type]
    kernel._precisions = [[], []]
    return kernel


def _rounding(eps: float, logs: np.ndarray) -> float:
    """Exponents up to |x - y|^2 / (2 eps) and the logarithms themselves carry their rounding."""
    largest = max(2.0 / eps, float(np.abs(logs[np.isfinite(logs)]).max()))
    return 1e-12 + 1e-15 * largest


# --- log sums


@pytest.mark.parametrize("eps", EPS)
@pytest.mark.parametrize("kind", ["smooth", "rough", "empty"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_windows_equal_all_pairs(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], kind: str, eps: float
) -> None:
    reduced = _reduced(shapes)
    kernel = _tilted(reduced, eps)
    for to_target, shape in ((True, shapes[0]), (False, shapes[1])):
        logs = _logs(shape, kind)
        sums = (kernel.to_target if to_target else kernel.to_source)(logs)
        expected = _brute(reduced, eps, logs, to_target)[0]
        np.testing.assert_allclose(sums, expected, rtol=0, atol=_rounding(eps, logs))


@pytest.mark.parametrize("eps", EPS)
@pytest.mark.parametrize("kind", ["smooth", "rough", "empty"])
def test_whichever_way_is_chosen_the_sums_are_the_same(kind: str, eps: float) -> None:
    """Products that underflow are noticed: with rough logarithms and every width."""
    reduced = _reduced(((24, 10), (15, 22)))
    logs = _logs((24, 10), kind, seed=1)
    kernel = SeparableKernel(reduced, eps)
    expected = _brute(reduced, eps, logs, True)[0]
    np.testing.assert_allclose(kernel.to_target(logs), expected, rtol=0, atol=_rounding(eps, logs))


def test_both_ways_are_taken() -> None:
    """A wide kernel goes by products; one between cells of unlike grids cannot."""
    reduced = _reduced(((24, 10), (15, 22)))
    assert SeparableKernel(reduced, 1e-2).by_products
    narrow = SeparableKernel(reduced, 1e-6)
    narrow.to_target(np.zeros((24, 10)))
    assert not narrow.by_products
    assert narrow.product(0, np.ones((24, 10))) is None


@pytest.mark.parametrize("eps", [5e-4, 6.5e-4, 6.8e-4])
def test_products_give_up_before_what_counts_underflows(eps: float) -> None:
    """Mass far from a cell that hears of nothing else: e^-960 is no double, e^-739 has 2 digits."""
    reduced = _reduced(((50,), (50,)))
    logs = np.full(50, -np.inf)
    logs[0] = 0.0
    kernel = SeparableKernel(reduced, eps)
    assert kernel.by_products
    sums = kernel.to_target(logs)
    expected = _brute(reduced, eps, logs, True)[0]
    assert expected.min() < -700
    np.testing.assert_allclose(sums, expected, atol=1e-11)


def test_without_any_mass_sums_are_minus_infinity() -> None:
    reduced = _reduced(((6, 5), (4, 7)))
    nothing = np.full((6, 5), -np.inf)
    for kernel in (SeparableKernel(reduced, 0.1), _tilted(reduced, 0.1)):
        assert (kernel.to_target(nothing) == -np.inf).all()


@pytest.mark.parametrize("constant", [-1e5, 1e5])
def test_constants_go_through(constant: float) -> None:
    reduced = _reduced(((30,), (20,)))
    logs = _logs((30,), "smooth")
    for kernel in (SeparableKernel(reduced, 1e-2), _tilted(reduced, 1e-2)):
        moved = kernel.to_target(logs + constant) - constant
        np.testing.assert_allclose(moved, kernel.to_target(logs), atol=1e-10)


def test_arguments_are_left_alone() -> None:
    reduced = _reduced(((9, 8), (7, 6)))
    logs = _logs((9, 8), "empty")
    before = logs.copy()
    for kernel in (SeparableKernel(reduced, 1e-2), _tilted(reduced, 1e-2)):
        kernel.to_target(logs)
        kernel.mean_on_target(logs)
    np.testing.assert_array_equal(logs, before)


@pytest.mark.parametrize("eps", [1e-1, 1e-3, 1e-6])
def test_threads_give_the_same(eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pma_grid.entropic.dense.kernel.LEAST_LINES_A_THREAD", 4)
    reduced = _reduced(((20, 15), (18, 21)))
    logs = _logs((20, 15), "rough")
    one, three = (_tilted(reduced, eps, threads=k).to_target(logs) for k in (1, 3))
    np.testing.assert_array_equal(one, three)


# --- images


@pytest.mark.parametrize("eps", [1.0, 1e-1, 1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("shapes", [((12,), (12,)), ((9,), (14,)), ((1,), (3,)), ((4, 3), (3, 5))],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("tilted", [False, True])
def test_reflection_sums_over_images(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], eps: float, tilted: bool
) -> None:
    reduced = _reduced(shapes)
    logs = _logs(shapes[0], "smooth")
    make = _tilted if tilted else SeparableKernel
    kernel = make(reduced, eps, reflect=True)
    total, mean, _ = _brute(reduced, eps, logs, True, reflect=True)
    np.testing.assert_allclose(kernel.to_target(logs), total, rtol=0, atol=_rounding(eps, logs))
    np.testing.assert_allclose(kernel.mean_on_target(logs), mean, atol=1e-9)


@pytest.mark.parametrize("share", [0.25, 1.0, 30.0])
@pytest.mark.parametrize("power", [0, 1, 2])
def test_waves_equal_images(share: float, power: int) -> None:
    length = 1.7
    x, y = (((np.arange(n) + 0.5) / n - 0.5) * length for n in (9, 13))
    waves = WideAxis(x, y, length, share * length**2)
    images = Axis(x, y, length, share * length**2, reflect=True)
    total = np.zeros((9, 13))
    for sign, shift in images.images:
        image = (sign * x + shift)[:, None]
        gibbs = np.exp(-((image - y) ** 2) / (2 * images.eps))
        total += gibbs * (image - waves.origin) ** power
    assert total.min() > 0  # logarithms of moments exist
    np.testing.assert_allclose(waves.matrix(power), total, rtol=1e-13)
    lines = np.stack([_logs((9,), kind) for kind in ("smooth", "rough", "empty")])
    largest = lines.max(axis=1, keepdims=True)
    expected = np.log(np.exp(lines - largest) @ total) + largest
    np.testing.assert_allclose(waves.tilted(lines, power), expected, rtol=1e-13, atol=1e-13)
    assert (waves.tilted(np.full((1, 9), -np.inf), power) == -np.inf).all()


def test_flat_boxes_need_no_more_than_others() -> None:
    """A side of 1e-6 at eps = .01 has a million images within reach."""
    lengths = np.array([1.0, 1e-6])
    reduced = Reduced.over(np.ones((16, 4)), np.ones((16, 4)), lengths)
    kernel = SeparableKernel(reduced, 0.01, reflect=True)
    mean = kernel.mean_on_source(_logs((16, 4), "smooth"))
    np.testing.assert_allclose(mean[1], np.broadcast_to(reduced.x[1], (16, 4)), atol=1e-19)


def test_reflection_keeps_constants() -> None:
    """On the continuum its integral over x is (2 pi eps)^(1/2) for every y; so are fine sums."""
    n, eps = 200, 1e-3
    reduced = Reduced.over(np.ones(n), np.ones(n), np.array([1.0]))
    sums = SeparableKernel(reduced, eps, reflect=True).to_target(np.full(n, -np.log(n)))
    np.testing.assert_allclose(sums, 0.5 * math.log(2 * math.pi * eps), atol=1e-12)
    plain = SeparableKernel(reduced, eps).to_target(np.full(n, -np.log(n)))
    assert plain[0] < sums[0] - 0.6, "the plain kernel loses nearly half of it at a face"


# --- moments


@pytest.mark.parametrize("eps", [1.0, 1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("kind", ["smooth", "rough", "empty"])
@pytest.mark.parametrize("tilted", [False, True])
def test_means_and_covariances(kind: str, eps: float, tilted: bool) -> None:
    shapes = (11, 9), (8, 13)
    reduced = _reduced(shapes)
    make = _tilted if tilted else SeparableKernel
    kernel = make(reduced, eps)
    # exponentials of differences of logarithms: their rounding, relative
    atol = 10 * max(1e-12, _rounding(eps, _logs(shapes[0], kind)))
    logs = _logs(shapes[0], kind)
    np.testing.assert_allclose(
        kernel.mean_on_target(logs), _brute(reduced, eps, logs, True)[1], atol=atol
    )
    logs = _logs(shapes[1], kind, seed=2)
    _, mean, covariance = _brute(reduced, eps, logs, False)
    np.testing.assert_allclose(kernel.mean_on_source(logs), mean, atol=atol)
    np.testing.assert_allclose(kernel.covariance_on_source(logs), covariance, atol=atol)


def test_covariances_in_three_dimensions() -> None:
    shapes = (4, 5, 3), (5, 3, 4)
    reduced = _reduced(shapes)
    logs = _logs(shapes[1], "smooth")
    found = SeparableKernel(reduced, 0.05).covariance_on_source(logs)
    np.testing.assert_allclose(found, _brute(reduced, 0.05, logs, False)[2], atol=1e-12)
    np.testing.assert_array_equal(found, found.transpose(1, 0, 2, 3, 4))


# --- single precision


@pytest.mark.parametrize("eps", [1e-1, 1e-2, 1e-3])
def test_single_precision(eps: float) -> None:
    reduced = _reduced(((40, 30), (35, 28)))
    logs = _logs((40, 30), "smooth")
    single, double = (SeparableKernel(reduced, eps, single=k) for k in (True, False))
    error = np.abs(single.to_target(logs) - double.to_target(logs)).max()
    assert 1e-9 < error < 2e-6, "sums are in single precision, and as exact as that is"


@pytest.mark.parametrize("eps", [1.2e-3, 5e-3])
def test_single_precision_gives_way_to_double(eps: float) -> None:
    """exp(-400) is no single but a double; exp(-96) has few digits."""
    reduced = _reduced(((50,), (50,)))
    logs = np.full(50, -np.inf)
    logs[0] = 0.0
    kernel = SeparableKernel(reduced, eps, single=True)
    expected = _brute(reduced, eps, logs, True)[0]
    assert -500 < expected.min() < -90
    np.testing.assert_allclose(kernel.to_target(logs), expected, atol=1e-11)
    assert kernel.by_products


# --- the compiled functions themselves


def test_table_of_the_tilt() -> None:
    table = np.empty((5, 7))
    softmax.tilt_table(0.25, 2, 3, 1.0, table)
    j, i = np.mgrid[-2:3, -3:4]
    np.testing.assert_allclose(table, np.exp(np.clip(0.25 * i * j, -1, 1)), rtol=1e-15)


def test_balance() -> None:
    rng = np.random.default_rng(0)
    scaling, sums, masses = rng.random((3, 30)) + 0.1
    out = np.empty(30)
    error, least, largest = softmax.balance(scaling, sums, masses, out)
    np.testing.assert_allclose(out, masses / sums, rtol=1e-15)
    assert error == pytest.approx(np.abs(scaling * sums - masses).sum(), rel=1e-13)
    assert (least, largest) == (out.min(), out.max())
