"""`infer`: a posterior from its unnormalised log-density, by the flow from a base law."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from pma_grid.flow.schedules import Schedule, StateSchedule
from pma_grid.grid.grid import MAX_DIM, Grid
from pma_grid.inference.box import Found, find_box
from pma_grid.inference.counted import LogFunction
from pma_grid.inference.evidence import Evidence
from pma_grid.inference.integrals import Tail, log_cell_masses, tail
from pma_grid.inference.posterior import Posterior
from pma_grid.inference.running import run
from pma_grid.problem.density import Density
from pma_grid.problem.samples import cell_counts, checked_names, default_names
from pma_grid.runtime.arrays import Array
from pma_grid.runtime.checks import (
    check_choice,
    check_not_negative,
    check_positive,
    is_whole,
)
from pma_grid.runtime.errors import InvalidInputError
from pma_grid.sampling.base_laws import base_law

CELLS = {1: 512, 2: 128, 3: 40}
# The flow ends where the bounds of log Z are so close: the root of it is the residual.
GAP = 1e-10
# The rule is doubled to see its error, or halved where doubling took more evaluations than this.
MOST_EVALUATIONS = 3_000_000
# The change is taken so many times: beside kinks and powers at a face the order is lower.
SAFETY = 2.0
# Changes from twice the spacing are divided by this: sixteen for smooth densities.
SMOOTH = 4.0
# Neighbours of a density that the grid resolves differ by less, but for the thinnest tails.
JUMP = 2.0
# Cells more an axis of other grids to compare with.
OTHERS = (1, 3)
# More than this says that the grid misses what there is.
UNRESOLVED = 0.1


def infer(
    log_density: Callable[..., Any],
    box: Sequence[tuple[float, float]] | None = None,
    *,
    start: ArrayLike | None = None,
    shape: int | Sequence[int] | None = None,
    base: str | Density | None = None,
    side: str = "source",
    tail_bound: float | None = None,
    schedule: Schedule | StateSchedule | None = None,
    steps: int | None = None,
    gap: float = GAP,
    quadrature: int = 2,
    names: Sequence[str] = (),
    progress: bool = False,
) -> Posterior:
    """Posterior samples, moments and the evidence log Z of a density known up to a constant.

    The flow du/dt = log(rho_u / mu) needs mu = exp(f) / Z up to Z alone; it brackets log Z on the
    way, and its map takes a base law to the posterior.

    Parameters
    ----------
    log_density : callable
        ``f(*coordinates)`` with 1 to 3 arrays of one shape, by elements; -inf is density zero.
    box : sequence of (lower, upper), optional
        One pair an axis: the support, or any box that holds the law.  Within it the box
        {f >= max f - 15 nats} is found and taken.
    start : array_like, shape (d,), optional
        Where to climb from if no box is given; the box then grows as long as the density has not
        fallen off.
    shape : int or sequence of int, optional
        Cells an axis; default 512, 128 x 128, 40 x 40 x 40.
    base : {"gaussian", "uniform"} or Density, optional
        The law that is drawn from; default Gaussian, or uniform where ``box`` cuts the density off.
    side : {"source", "target"}
        The grid that the flow is solved on: the posterior's, or the base law's.
    tail_bound : float, optional
        Bound of the mass beyond the box over that within; default: shells of boxes twice as large
        each are integrated, as far as ``box`` goes.
    schedule, steps
        See `evolve`; by default growing steps until the bounds are within ``gap``.
    gap : float
        > 0, nats.
    quadrature : int
        Gauss points an axis in each cell: 2 makes log Z fourth order.
    names : sequence of str, optional
        Of the coordinates.
    progress : bool
        Show progress on standard error.

    Returns
    -------
    Posterior
        With ``evidence`` split into quadrature, tails, floors and the gap of the flow.

    Raises
    ------
    InvalidInputError
        The function gives NaN, +inf or a wrong shape, is -inf wherever it was looked for, does not
        fall off, or fills a sliver of its box alone; or an argument is out of range.

    Notes
    -----
    The limit of the bounds, the log of a sum over cells, is there before the flow: what the flow
    adds is the law of the samples.  The bounds hold for the sum over cells; see `Evidence` for what
    separates it from log Z.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> posterior = pma.infer(lambda x, y: -(x**2 + x * y + y**2), start=(1.0, 0.0), shape=64)
    >>> error = posterior.log_evidence - np.log(2 * np.pi / np.sqrt(3))
    >>> bool(abs(error) < posterior.evidence.error)
    True
    >>> posterior.sample(1000, seed=0).shape
    (1000, 2)
    """
    began = time.perf_counter()
    f = LogFunction(log_density)
    limits, origin = _checked_place(box, start)
    _check_numbers(tail_bound, gap, side)
    if not is_whole(quadrature, 1) or quadrature > 8:
        raise InvalidInputError(
            f"quadrature is {quadrature!r}; it must be a whole number of points from 1 to 8: 2"
        )
    found = find_box(f, limits, origin)
    grid = _grid(found, shape)
    logs = log_cell_masses(f, grid, quadrature)
    log_mass = float(logsumexp(logs))
    beyond = tail(f, grid, log_mass, limits) if tail_bound is None else Tail(0.0, tail_bound)
    resolution = _quadrature_error(f, logs, grid, quadrature)
    if resolution > UNRESOLVED:
        raise InvalidInputError(
            f"log_density is not resolved by {'x'.join(map(str, grid.shape))} cells: log Z changes "
            f"by {resolution / SAFETY:.2g} nats with the spacing; it must vary little over a cell: "
            "give a larger shape, or rotate or rescale the parameters"
        )
    nu = base_law(base or ("uniform" if found.truncated else "gaussian"), grid.shape)
    ended = run(
        logs, grid, nu, side=side, schedule=schedule, steps=steps, tol=math.sqrt(gap),
        progress=progress,
    )  # fmt: skip
    flow, limit = ended.flow, ended.limit
    lower, upper = float(flow["evidence_lower"][-1]), float(flow["evidence_upper"][-1])
    evidence = Evidence(
        log_evidence=log_mass + math.log1p(beyond.share),
        limit=limit,
        lower=lower,
        upper=upper,
        quadrature=resolution,
        tail=math.log1p(beyond.share),
        tail_error=math.log1p(beyond.error),
        floor=max(0.0, limit - log_mass),
        # upper - lower as one sum: the bounds themselves are rounded to the digits of log Z
        gap=float(flow["symmetrised_kl"][-1]),
        mass_constant=float(flow["mass_constant"][-1]),
        truncated=found.truncated,
    )
    return Posterior(
        flow, ended.transport, Density(np.exp(logs - log_mass), grid), evidence,
        names=checked_names(names, grid.dim) or default_names(grid.dim),
        evaluations=f.evaluations, function=f,
        stats={
            "modes": found.modes.tolist(), "side": side, "base": nu.describe(),
            "seconds": time.perf_counter() - began,
        },
    )  # fmt: skip


def _quadrature_error(f: LogFunction, logs: Array, grid: Grid, quadrature: int) -> float:
    """Changes of the cells' masses with the spacing, over the mass: signs do not cancel.

    Against half the spacing, unless that takes too many evaluations, and against twice it, where a
    smooth density changes sixteen times as much: kinks and jumps that one of them misses by chance
    the other sees, or grids of a few cells more, whose faces lie elsewhere.
    """
    finer = tuple(2 * n for n in grid.shape)
    coarser = tuple(n // 2 if n % 2 == 0 else n for n in grid.shape)
    changes = []
    if math.prod(finer) * quadrature**grid.dim <= MOST_EVALUATIONS:
        fine = log_cell_masses(f, Grid(finer, grid.lower, grid.upper), quadrature)
        changes.append(SAFETY * _change(fine, logs))
    if coarser != grid.shape:
        coarse = log_cell_masses(f, Grid(coarser, grid.lower, grid.upper), quadrature)
        changes.append(_change(logs, coarse) / SMOOTH)
    whole = logsumexp(logs)
    for more in OTHERS:
        other = Grid(tuple(n + more for n in grid.shape), grid.lower, grid.upper)
        changes.append(SAFETY * abs(logsumexp(log_cell_masses(f, other, quadrature)) - whole))
    return float(max(changes)) + _jumps(logs)


def _jumps(logs: Array) -> float:
    """Half the mass by which neighbours differ that are `JUMP` nats apart, over the mass.

    Where a density ends or jumps within a cell, rules of all spacings may agree by chance.
    """
    masses, total = np.exp(logs - logs.max()), 0.0
    with np.errstate(invalid="ignore"):  # neighbours that are both -inf are no jump
        for axis in range(logs.ndim):
            far = np.abs(np.diff(logs, axis=axis)) > JUMP
            total += float(np.abs(np.diff(masses, axis=axis))[far].sum())
    return 0.5 * total / float(masses.sum())


def _change(fine: Array, coarse: Array) -> float:
    """sum |fine, added up - coarse| / sum coarse, of log cell masses."""
    top = float(max(fine.max(), coarse.max()))
    masses = np.exp(fine - top)
    for axis, n in enumerate(coarse.shape):
        masses = np.add.reduceat(masses, np.arange(n) * (fine.shape[axis] // n), axis=axis)
    whole = np.exp(coarse - top)
    return float(np.abs(masses - whole).sum() / whole.sum())


def _grid(found: Found, shape: int | Sequence[int] | None) -> Grid:
    """Cells on the box found."""
    counts = cell_counts(shape, found.lower.size, CELLS)
    return Grid(counts, tuple(found.lower), tuple(found.upper))


def _checked_place(
    box: Sequence[tuple[float, float]] | None, start: ArrayLike | None
) -> tuple[Array | None, Array | None]:
    """Corners (2, d) and start (d,), either None."""
    limits = origin = None
    if box is not None:
        try:
            limits = np.array(box, float).T
        except (TypeError, ValueError):
            limits = np.empty(0)
        valid = limits.ndim == 2 and limits.shape[0] == 2 and 1 <= limits.shape[1] <= MAX_DIM
        if not (valid and np.isfinite(limits).all() and (limits[0] < limits[1]).all()):
            raise InvalidInputError(
                f"box is {box!r}; it must be a pair (lower, upper) of finite numbers for each of 1 "
                f"to {MAX_DIM} coordinates: for example [(-5, 5), (0, 10)]"
            )
    if start is not None:
        origin = np.atleast_1d(np.asarray(start, float))
        wrong = origin.ndim != 1 or not 1 <= origin.size <= MAX_DIM
        if wrong or not np.isfinite(origin).all():
            raise InvalidInputError(
                f"start is {start!r}; it must be a point of 1 to {MAX_DIM} finite coordinates"
            )
        if limits is not None and origin.size != limits.shape[1]:
            raise InvalidInputError(
                f"start has {origin.size} coordinates and box {limits.shape[1]}; they must agree"
            )
    return limits, origin


def _check_numbers(tail_bound: object, gap: object, side: object) -> None:
    """Ranges of the remaining arguments."""
    check_choice(side, ("source", "target"), "side")
    check_positive(gap, "gap", "it is in nats, say 1e-8")
    if tail_bound is not None:
        remedy = "a share of the mass in the box, 0 if the density ends there"
        check_not_negative(tail_bound, "tail_bound", remedy)
