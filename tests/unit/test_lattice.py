"""Padded layouts and transfers between grids, against NumPy on the same arrays."""

import numpy as np
import pytest

from pma_grid.grid.lattice import Lattice
from pma_grid.grid.transfer import Transfer, lagrange


def _field(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) + 0.5


@pytest.mark.parametrize("halo", [1, 2, 8])
@pytest.mark.parametrize(
    "shape", [(1,), (2,), (7,), (1, 1), (1, 5), (6, 1), (2, 3), (4, 9), (1, 2, 3), (3, 5, 2)]
)
def test_halo_is_even_reflection_for_any_size(shape: tuple[int, ...], halo: int) -> None:
    lattice = Lattice(shape, halo)
    padded = lattice.zeros()
    values = _field(shape)
    lattice.fill(values, padded)
    expected = np.pad(values, halo, mode="symmetric")
    np.testing.assert_array_equal(padded.reshape(lattice.padded_shape), expected)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_strides_and_row_starts_address_the_interior(shape: tuple[int, ...]) -> None:
    lattice = Lattice(shape)
    padded = lattice.zeros()
    values = _field(shape)
    lattice.fill(values, padded)
    rows = padded[lattice.row_start[:, None] + np.arange(lattice.n_last)]
    np.testing.assert_array_equal(rows.reshape(shape), values)
    cell = np.array([n - 1 for n in shape])
    flat = lattice.strides @ (cell + lattice.halo)
    assert padded[flat] == values[tuple(cell)]


def test_fill_in_single_precision_rounds_and_nothing_else() -> None:
    lattice = Lattice((3, 4), 2)
    padded = lattice.zeros(np.float32)
    values = _field((3, 4))
    lattice.fill(values, padded)
    expected = np.pad(values, 2, mode="symmetric").astype(np.float32)
    np.testing.assert_array_equal(padded.reshape(lattice.padded_shape), expected)


PAIRS = [
    ((16,), (8,)),
    ((17,), (9,)),
    ((13,), (7,)),
    ((13,), (13,)),
    ((11,), (3,)),
    ((7, 13), (4, 13)),
    ((13, 1), (7, 1)),
    ((5, 8, 11), (3, 4, 6)),
]


def _overlap(n: int, m: int) -> np.ndarray:
    """Shares of n fine cells lying in m coarse ones, from the lengths of the intersections."""
    fine, coarse = np.arange(n + 1) / n, np.arange(m + 1) / m
    left = np.maximum(fine[:-1, None], coarse[None, :-1])
    right = np.minimum(fine[1:, None], coarse[None, 1:])
    return np.asarray(np.maximum(right - left, 0) * n)


@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
def test_restriction_sums_the_overlaps(fine: tuple[int, ...], coarse: tuple[int, ...]) -> None:
    values = _field(fine)
    expected = values
    for axis, (n, m) in enumerate(zip(fine, coarse, strict=True)):
        expected = np.moveaxis(np.tensordot(expected, _overlap(n, m), (axis, 0)), -1, axis)
    restricted = Transfer(fine, coarse).restrict(values)
    np.testing.assert_allclose(restricted, expected, rtol=1e-13)
    assert restricted.sum() == pytest.approx(values.sum(), rel=1e-14)


@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
def test_averages_keep_mass_and_constants(fine: tuple[int, ...], coarse: tuple[int, ...]) -> None:
    transfer = Transfer(fine, coarse)
    values = _field(fine, 1)
    averages = transfer.average(values)
    assert averages.mean() == pytest.approx(values.mean(), rel=1e-14)
    assert averages.min() >= values.min() and averages.max() <= values.max()
    np.testing.assert_allclose(transfer.average(np.full(fine, 3.5)), 3.5, rtol=1e-14)


def test_transfers_leave_their_argument_alone_and_keep_the_dtype() -> None:
    transfer = Transfer((7, 6), (4, 3))
    fine, coarse = _field((7, 6)).astype(np.float32), _field((4, 3)).astype(np.float32)
    before = fine.copy(), coarse.copy()
    assert transfer.restrict(fine).dtype == np.float32
    assert transfer.interpolate(coarse).dtype == np.float32
    np.testing.assert_array_equal(fine, before[0])
    np.testing.assert_array_equal(coarse, before[1])


@pytest.mark.parametrize("points", [2, 4, 6])
def test_lagrange_weights_reproduce_powers(points: int) -> None:
    s = np.linspace(0, 0.99, 7)
    weights = lagrange(s, points)
    nodes = np.arange(points) - (points // 2 - 1)
    for power in range(points):
        np.testing.assert_allclose(weights @ nodes.astype(float) ** power, s**power, atol=1e-11)


@pytest.mark.parametrize("points", [2, 4, 6])
@pytest.mark.parametrize(("n", "m"), [(32, 16), (31, 16), (37, 17), (29, 15)])
def test_interpolation_is_exact_on_its_polynomials(points: int, n: int, m: int) -> None:
    x, coarse_x = (np.arange(n) + 0.5) / n, (np.arange(m) + 0.5) / m
    inside = (x > (points // 2) / m) & (x < 1 - (points // 2) / m)
    assert inside.sum() > n // 3
    transfer = Transfer((n,), (m,))
    for power in range(points):
        np.testing.assert_allclose(
            transfer.interpolate(coarse_x**power, points)[inside], x[inside] ** power, atol=1e-12
        )
    # and not of one degree more: the number of points is what decides
    beyond = transfer.interpolate(coarse_x**points, points)[inside] - x[inside] ** points
    assert np.abs(beyond).max() > 1e-10


def test_interpolation_is_a_tensor_product() -> None:
    fine, coarse = (9, 7, 11), (5, 4, 6)
    factors = [_field((m,), k) for k, m in enumerate(coarse)]
    lines = [
        Transfer((n,), (m,)).interpolate(f, 4)
        for n, m, f in zip(fine, coarse, factors, strict=True)
    ]
    product = np.einsum("i,j,k->ijk", *factors)
    np.testing.assert_allclose(
        Transfer(fine, coarse).interpolate(product, 4), np.einsum("i,j,k->ijk", *lines), rtol=1e-12
    )


def test_interpolation_reflects_at_the_faces() -> None:
    """cos(pi x) continues evenly: sixth-order nodes see no face."""
    errors = []
    for m in (16, 32):
        x, coarse_x = (np.arange(2 * m) + 0.5) / (2 * m), (np.arange(m) + 0.5) / m
        fine = Transfer((2 * m,), (m,)).interpolate(np.cos(np.pi * coarse_x), 6)
        errors.append(np.abs(fine - np.cos(np.pi * x)).max())
    assert errors[0] < 1e-6
    assert np.log2(errors[0] / errors[1]) > 5.5


@pytest.mark.parametrize(("n", "m"), [(8, 4), (7, 4), (13, 7), (5, 1), (11, 3)])
def test_nearest_takes_the_cell_that_holds_the_centre(n: int, m: int) -> None:
    centres = (np.arange(n) + 0.5) / n
    expected = np.minimum((centres * m + 1e-12).astype(int), m - 1)
    np.testing.assert_array_equal(Transfer((n,), (m,)).nearest(np.arange(m)), expected)


def test_nearest_carries_trailing_axes() -> None:
    labels = np.arange(3 * 4 * 2).reshape(3, 4, 2)
    out = Transfer((6, 4), (3, 4)).nearest(labels)
    np.testing.assert_array_equal(out, np.repeat(labels, 2, axis=0))
