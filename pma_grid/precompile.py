"""`warmup`: compile every kernel ahead of use (a module named warmup would hide the function)."""

from __future__ import annotations

import time

import numpy as np

from pma_grid.entropic.solving import sinkhorn
from pma_grid.flow.evolution import evolve
from pma_grid.flow.schedules import constant
from pma_grid.flow.sinkhorn import sinkhorn_flow
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.domains import Ellipse
from pma_grid.problem.problem import Problem
from pma_grid.stationary.solving import solve
from pma_grid.transport.cell_means import arrival_barycentres


def warmup(dims: tuple[int, ...] = (1, 2, 3)) -> float:
    """Compile the kernels ahead of use, so that the first call of a solver does not wait for it.

    Compiled code is kept on disk: after the first time it is loaded, which takes seconds.

    Parameters
    ----------
    dims : tuple of int
        Dimensions whose kernels are needed, of 1, 2 and 3.

    Returns
    -------
    float
        The seconds that compiling or loading took.

    Examples
    --------
    >>> import pma_grid as pma
    >>> pma.warmup((1,)) >= 0
    True
    """
    started = time.perf_counter()
    for dim in dims:
        shape = (9,) * dim
        bump = 1 + 0.2 * np.indices(shape).sum(axis=0) / 9
        transport = solve(Problem(bump, np.ones(shape)))
        transport.interpolate(0.5)
        transport.map(transport.problem.source.grid.points[:1])
        assert transport.w2 >= 0 and np.isfinite(transport.residual).all()
        assert np.isfinite(transport.cell_means).all()
        assert np.isfinite(arrival_barycentres(transport.solution)).all()
        flow = evolve(
            transport.problem, schedule=constant(0.1), steps=1, record=("kl", "dissipation")
        )
        assert np.isfinite(flow["dissipation"]).all()
        _entropic(transport.problem)
    if 2 in dims:
        _onto_a_disc()
    _multiscale()
    return time.perf_counter() - started


def _entropic(problem: Problem) -> None:
    """Sinkhorn by kernel products and, where those underflow, by sums in windows."""
    sweep = sinkhorn_flow(problem, 0.1, steps=1, record=("kl", "dissipation"))
    assert np.isfinite(sweep["dissipation"]).all()
    # cells of other centres, far apart for so narrow a kernel
    other = Problem(problem.source, np.ones(tuple(n - 1 for n in problem.source.shape)))
    for pair, eps in ((problem, 0.1), (other, 1e-6)):
        sk = sinkhorn(pair, eps, tol=1e-2, max_iterations=5)
        assert np.isfinite(sk.gradient).all()


def _onto_a_disc() -> None:
    """Ghosts and cut cells of convex domains."""
    disc, grid = Ellipse((0.5, 0.5), axes=0.4), Grid((16, 16))
    target = Density(disc.fractions(grid), grid)
    transport = solve(Problem(np.ones((16, 16)), target, target_domain=disc))
    assert transport.w2 >= 0 and disc.contains(transport.map(np.array([[0.5, 0.5]]))).all()


def _multiscale() -> None:
    """The sparse solver, whose kernels know no dimension: levels, tears, parts that must join."""
    ends, thirds = np.zeros(600), np.zeros(600)
    ends[:200] = ends[400:] = 1
    thirds[:120] = thirds[240:360] = thirds[480:] = 1
    i = np.arange(60)  # masses out of step: at so small an eps the pairs fall into parts
    uneven = Problem(1.0 + (i * i) % 7, (i**3) % 11)
    for pair, eps in ((Problem(ends, thirds), None), (uneven, 0.03 / 60**2)):
        assert np.isfinite(sinkhorn(pair, eps, method="multiscale").gradient).all()
