"""Checks of arguments: what each takes and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pma_grid.linsolve import AMG
from pma_grid.runtime import checks
from pma_grid.runtime.errors import InvalidInputError

NO_NUMBERS = (True, None, "1", 1j, [1.0], math.nan)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            lambda v: checks.check_positive(v, "v", "say 1"),
            (1, 0.5, np.float32(2)),
            (0, math.inf, 10**400),
        ),
        (
            lambda v: checks.check_positive(v, "v", "say 1", finite=False),
            (1, math.inf),
            (0.0, -1),
        ),
        (lambda v: checks.check_not_negative(v, "v", "say 1"), (0, 1.5), (-1e-300, math.inf)),
        (lambda v: checks.check_inside(v, 0, 2, "v", "say 1"), (1, 1.999), (0, 2)),
        (lambda v: checks.check_whole(v, 1, "v", "say 1"), (1, np.int64(3)), (0, 1.0, np.True_)),
    ],
)
def test_numbers(
    check: Callable[[Any], float], good: tuple[Any, ...], bad: tuple[Any, ...]
) -> None:
    for value in good:
        assert check(value) == value and type(check(value)) in (int, float)
    for value in (*bad, *NO_NUMBERS):
        with pytest.raises(InvalidInputError, match="^v is .*; it must .*: say 1$"):
            check(value)


def test_words_and_objects() -> None:
    checks.check_choice("a", ("a", "b"), "v")
    for word in ("c", None, ["a"]):
        with pytest.raises(InvalidInputError, match="v is .*'a', 'b'"):
            checks.check_choice(word, ("a", "b"), "v")
    checks.check_offers(AMG(), "setup", "v", "say AMG()")
    for thing in (AMG, None, "amg"):
        with pytest.raises(InvalidInputError, match="v is .*setup"):
            checks.check_offers(thing, "setup", "v", "say AMG()")


def test_seeds_are_whole_numbers_or_generators() -> None:
    generator = np.random.default_rng(3)
    assert checks.check_seed(generator) is generator
    assert checks.check_seed(np.int32(3)).random() == np.random.default_rng(3).random()
    for seed in (-1, 0.5, True, "3", None):
        with pytest.raises(InvalidInputError, match="seed is"):
            checks.check_seed(seed)
