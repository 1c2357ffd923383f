"""Problem: a validated pair; errors and statuses."""

import pickle

import numpy as np
import pytest

from pma_grid.flow.evolution import evolve
from pma_grid.flow.schedules import constant
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.domains import Ellipse
from pma_grid.problem.problem import Problem
from pma_grid.runtime.errors import ConvergenceError, InvalidDensityError, InvalidInputError, Status


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


def test_a_domain_is_kept_and_shown() -> None:
    disc, grid = Ellipse((0.5, 0.5), axes=0.25), Grid((8, 8))
    problem = Problem(np.ones((8, 8)), Density(disc.fractions(grid), grid), target_domain=disc)
    assert problem.target_domain is disc
    assert repr(problem).endswith("target_domain=Ellipse([0.5, 0.5], [0.25, 0.75] x [0.25, 0.75]))")
    assert problem.swapped().target_domain is None
    assert Problem([1.0], [1.0]).target_domain is None


def test_domains_that_do_not_fit_are_refused() -> None:
    disc, ones = Ellipse((0.5, 0.5), axes=0.25), np.ones((8, 8))
    with pytest.raises(InvalidInputError, match="target_domain is 'disc'.*convex"):
        Problem(ones, ones, target_domain="disc")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="target_domain has 2 axes.*target 1"):
        Problem([1.0], [1.0], target_domain=disc)
    with pytest.raises(InvalidInputError, match="beyond the target's box"):
        Problem(ones, ones, target_domain=Ellipse((0.9, 0.5), axes=0.25))
    with pytest.raises(InvalidInputError, match="target has 62.5 %.*outside"):
        Problem(ones, ones, target_domain=disc)


def test_flows_refuse_a_domain() -> None:
    disc, grid = Ellipse((0.5, 0.5), axes=0.25), Grid((8, 8))
    problem = Problem(np.ones((8, 8)), Density(disc.fractions(grid), grid), target_domain=disc)
    with pytest.raises(InvalidInputError, match="problem has a target_domain"):
        evolve(problem, schedule=constant(0.1), steps=1)
