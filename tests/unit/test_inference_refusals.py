"""What `infer` refuses, and what it says: the first bad point, and why it is one."""

import math
from typing import Any

import numpy as np
import pytest

import pma_grid as pma
from pma_grid.inference.counted import POINTS_AT_A_TIME, LogFunction


def test_values_come_in_pieces_and_are_counted() -> None:
    sizes = []

    def f(x: Any, y: Any) -> Any:
        sizes.append(x.shape)
        return x + 10 * y

    log = LogFunction(f)
    x, y = np.meshgrid(np.arange(300.0), np.arange(100.0), indexing="ij")
    assert np.array_equal(log(x, y), x + 10 * y)
    assert sizes == [(POINTS_AT_A_TIME,), (30_000 - POINTS_AT_A_TIME,)]
    assert log.evaluations == 30_000


def picky(x: Any, y: Any) -> Any:
    """Raises where x is above 1/2, as tables of limited range do."""
    if (x > 0.5).any():
        raise LookupError("off the table")
    return -x * x - y * y


def single(x: Any, y: Any) -> Any:
    """Written for numbers."""
    return -x * x if x > 0 else -y * y


@pytest.mark.parametrize(
    "function, message",
    [
        (picky, r"LookupError: off the table at \[0\.515625, -0\.984375\]"),
        (single, "for arrays of more than one point"),
        (lambda x, y: np.log(x), r"nan at \[-0\.984375, -0\.984375\]"),
        (lambda x, y: x + 1j, r"complex128 at \[-0\.984375"),
    ],
)
def test_the_first_bad_point_is_named(function: Any, message: str) -> None:
    with pytest.raises(pma.InvalidInputError, match=message):
        pma.infer(function, box=[(-1, 1)] * 2, shape=16)


@pytest.mark.parametrize(
    "function, start",
    [
        (lambda x: -0.5 * np.log1p(x * x), (0.3,)),
        (lambda x, y: -np.log1p(x * x + y * y), (0.0, 0.0)),
        (lambda x, y: -0.5 * x * x + 0 * y, (0.0, 0.0)),
    ],
)
def test_densities_without_a_finite_mass_are_refused(function: Any, start: Any) -> None:
    with pytest.raises(pma.InvalidInputError, match="fall off"):
        pma.infer(function, start=start, shape=2048 if len(start) == 1 else 128)


def test_tails_of_a_power_are_summed_to_their_end() -> None:
    # (1 + x^2)^-1.2 falls by 2^-1.4 from shell to shell
    posterior = pma.infer(lambda x: -1.2 * np.log1p(x * x), start=(0.3,), shape=8192)
    exact = 0.5 * math.log(math.pi) + math.lgamma(0.7) - math.lgamma(1.2)
    assert posterior.evidence.tail > 1e-5
    assert abs(posterior.log_evidence - exact) <= posterior.evidence.error < 1e-2


def test_unresolved_laws_are_refused_with_a_remedy() -> None:
    def narrow(x: Any, y: Any) -> Any:
        return -0.5 * (x * x - 2 * 0.999 * x * y + y * y) / (1 - 0.999**2)

    with pytest.raises(pma.InvalidInputError, match="not resolved"):
        pma.infer(narrow, box=[(-20, 20)] * 2, shape=64)


def test_large_constants_lose_no_digit_of_the_gap() -> None:
    posterior = pma.infer(lambda x, y: 1e6 - 0.5 * (x * x + y * y), start=(3.0, 3.0), shape=48)
    assert 0 <= posterior.evidence.gap < 1e-10
    assert abs(posterior.log_evidence - 1e6 - np.log(2 * np.pi)) < 1e-6
