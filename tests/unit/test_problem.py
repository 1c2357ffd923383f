"""Problem: a validated pair; errors and statuses."""

import pickle

import numpy as np
import pytest

from pma_grid.density import Density
from pma_grid.errors import ConvergenceError, InvalidDensityError, InvalidInputError, Status
from pma_grid.grid import Grid
from pma_grid.problem import Problem


def test_arrays_live_on_unit_boxes() -> None:
    problem = Problem(np.ones((3, 4)), [[1.0, 2.0]])
    assert problem.dim == 2
    assert problem.source.grid == Grid((3, 4))
    assert problem.target.grid == Grid((1, 2))


def test_densities_are_kept_and_swapped() -> None:
    source, target = Density([1.0, 2.0]), Density([1.0, 1.0, 1.0], Grid(3, 5.0, 6.0))
    problem = Problem(source, target)
    assert problem.source is source
    assert problem.swapped().source is target and problem.swapped().target is source
    assert repr(problem) == "Problem(source=2 on [0, 1], target=3 on [5, 6])"
    with pytest.raises(AttributeError):
        problem.source = target  # type: ignore[misc]


def test_errors_say_which_density() -> None:
    with pytest.raises(InvalidDensityError, match="source has a negative value"):
        Problem([-1.0, 2.0], [1.0])
    with pytest.raises(InvalidDensityError, match="target has mass 0"):
        Problem([1.0], [0.0])
    with pytest.raises(InvalidInputError, match="source has 1 axes and target 2"):
        Problem([1.0], [[1.0]])


def test_statuses_are_sentences() -> None:
    for status in Status:
        assert str(status.value)[0].isupper() and status.value.endswith(".")
        assert str(status) == status.name.lower()
    succeeded = {"converged", "regularised", "completed", "entropic", "narrow_kernel"}
    assert {str(s) for s in Status if s.succeeded} == succeeded


def test_convergence_error_keeps_the_result() -> None:
    error = pickle.loads(pickle.dumps(ConvergenceError("stopped", result=[1, 2])))
    assert str(error) == "stopped" and error.result == [1, 2]
    assert ConvergenceError("stopped").result is None
