"""`small_eps`: Sinkhorn's iterates at k = t / eps against the parabolic Monge-Ampère flow at t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pma_grid.cases.convergence.references import Reference, reference
from pma_grid.cases.convergence.rows import (
    FITTED_HALVINGS,
    Rows,
    fitted_slope,
    local_slopes,
    ordered,
)
from pma_grid.entropic.solving import Kernel
from pma_grid.flow.entropic_operator import EntropicOperator
from pma_grid.flow.sinkhorn import iterate_sinkhorn
from pma_grid.grid.axes import along
from pma_grid.grid.grid import Grid
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced
from pma_grid.runtime import Array, InvalidInputError, Mask, text_table

# Default eps and times, relative to L^2, L the geometric mean of all sides of both boxes.
EPS = (0.01, 0.005, 0.0025, 0.00125)
TIMES = (0.04, 0.08, 0.16)
# The interior ends so many standard deviations sqrt(eps A) of the plan before the faces.
FACE_DEVIATIONS = 3.0
# A time is a multiple of eps up to this share of a sweep.
SWEEP_ROUNDING = 1e-6


@dataclass(frozen=True)
class LimitRow:
    """Sup errors at one eps and time, over the box and in its interior; NaN where there is none.

    Attributes
    ----------
    eps, time : float
        Where the errors are measured, length^2.
    u_max, u_interior : float
        Errors of u with its constant, length^2: both flows start from the same potential.
    map_max, map_interior : float
        Errors of E[y | x] = grad u of the entropic plan, over components, length.
    difference_max, difference_interior : float
        Errors of grad u by centred differences, length.
    richardson_max, richardson_interior : float
        Errors of 2 u^eps - u^{2 eps}, at the rows whose 2 eps was run too, length^2.
    """

    eps: float
    time: float
    u_max: float
    u_interior: float
    map_max: float
    map_interior: float
    difference_max: float
    difference_interior: float
    richardson_max: float = math.nan
    richardson_interior: float = math.nan


ERRORS = tuple(f.name for f in fields(LimitRow) if f.name not in ("eps", "time"))


@dataclass(frozen=True)
class SmallEps(Rows):
    """What `small_eps` found with a kernel on a grid of ``shape``, by eps, then by time.

    Attributes
    ----------
    spacing : float
        Largest distance of two cell centres, length.
    interior : float
        Distance from the faces beyond which the interior lies: 3 sqrt(eps A), with the largest
        eigenvalue A of (D2u)^{-1} and the largest of the eps that slopes are fitted on.  It is the
        same for all rows: one that grows as eps falls takes in ever worse places.
    floor, floor_interior, map_floor : float
        Estimated sup errors of the flow that is compared with, u over the box and in the interior,
        and grad u; see `Reference`.
    """

    kernel: str
    shape: tuple[int, ...]
    spacing: float
    eps: tuple[float, ...]
    times: tuple[float, ...]
    interior: float
    floor: float
    floor_interior: float
    map_floor: float
    rows: tuple[LimitRow, ...]

    COLUMNS = ERRORS

    @property
    def resolution(self) -> float:
        """h / sqrt(smallest eps): at most 1 for slopes of 1, at most 1/2 for those of 2."""
        return self.spacing / math.sqrt(self.eps[-1])

    def errors(self, name: str, time: float) -> Array:
        """One column at one time, by eps."""
        return self._by_eps(name)[:, self._place(time)]

    def ratios(self, name: str) -> Array:
        """error / eps, (eps, times): what saturates in t."""
        return np.asarray(self._by_eps(name) / np.array(self.eps)[:, None])

    def slope(self, name: str, time: float, halvings: int = FITTED_HALVINGS) -> float:
        """Least-squares slope in eps over the last halvings; NaN with fewer than two errors."""
        return fitted_slope(self.eps, self.errors(name, time), halvings + 1)

    def slopes(self, name: str, time: float) -> Array:
        """Slopes from each eps to the next."""
        return local_slopes(np.array(self.eps), self.errors(name, time))

    def _by_eps(self, name: str) -> Array:
        """A column as an array (eps, times)."""
        return self.column(name).reshape(len(self.eps), len(self.times))

    def _place(self, time: float) -> int:
        near = int(np.abs(np.array(self.times) - time).argmin())
        if not math.isclose(self.times[near], time, rel_tol=1e-9):
            raise InvalidInputError(f"time is {time!r}; the times are {self.times}")
        return near

    def table(self) -> str:
        """Errors by time and eps, with the fitted slopes below each time."""
        columns = [name for name in ERRORS if not name.startswith("difference")]
        lines: list[list[object]] = []
        for time in self.times:
            for row in self.rows:
                if row.time == time:
                    lines.append([f"{time:g}", f"{row.eps:g}", *(getattr(row, c) for c in columns)])
            slopes = [self.slope(name, time) for name in columns]
            lines.append(["", "slope", *("-" if math.isnan(s) else f"{s:.2f}" for s in slopes)])
        heads = ["t", "eps", *(name.replace("_", " ") for name in columns)]
        cells = "x".join(map(str, self.shape))
        empty = math.isnan(self.floor_interior)
        where = ", beyond the middle of the box: take smaller eps" if empty else ""
        inside = "" if empty else f" (inside {self.floor_interior:.1e})"
        facts = (
            f"{self.kernel} kernel, {cells} cells, h / sqrt(eps) down to {self.resolution:.2g}\n"
            f"interior: {self.interior:.2g} from the faces{where}; errors of the flow: u "
            f"{self.floor:.1e}{inside}, grad u {self.map_floor:.1e}"
        )
        return facts + "\n" + text_table(heads, lines)

    def _conclusions(self) -> dict[str, Any]:
        times = self.times
        return {"slopes": {n: [self.slope(n, t) for t in times] for n in ERRORS}}


def small_eps(
    problem: Problem,
    eps: Sequence[float] | None = None,
    times: Sequence[float] | None = None,
    *,
    kernel: Kernel = "reflect",
    against: Reference | None = None,
) -> SmallEps:
    """Compare Sinkhorn's iterates u^eps at k = t / eps with the flow u_t, as eps falls.

    Parameters
    ----------
    problem : Problem
        Positive densities on a grid that resolves them: h <= sqrt(eps) for slopes of 1,
        h <= sqrt(eps)/2 for those of Richardson's extrapolation.
    eps : sequence of float, optional
        Numbers that fall, length^2, each half of the one before it where Richardson's extrapolation
        is wanted.  Default (.01, .005, .0025, .00125) L^2, L the geometric mean of all sides.
    times : sequence of float, optional
        Increasing multiples of every eps, length^2.  Default (.04, .08, .16) L^2.
    kernel : {"reflect", "plain"}
        Of Sinkhorn's iteration.
    against : Reference, optional
        The flow at ``times`` as `reference` gives it: one serves several runs.  Default
        ``reference(problem, times)``.

    Notes
    -----
    The reference is the flow on the grid and on three times the cells, extrapolated: its own error,
    ``floor``, must be well below eps^2 for Richardson's slopes.

    Examples
    --------
    >>> import pma_grid as pma
    >>> problem = pma.cases.manufactured(1).problem((128,))
    >>> found = pma.convergence.small_eps(problem)
    >>> bool(abs(found.slope("u_max", 0.16) - 1) < 0.1)
    True
    """
    length = float(np.prod(Reduced.of(problem).lengths)) ** (1 / problem.dim)
    chosen = ordered([length**2 * e for e in EPS] if eps is None else eps, "eps", "fall")
    ends = ordered([length**2 * t for t in TIMES] if times is None else times, "times", "rise")
    _check_multiples(chosen, ends)
    known = reference(problem, ends) if against is None else _checked(problem, ends, against)
    fitted = chosen[-FITTED_HALVINGS - 1 :]
    margin = FACE_DEVIATIONS * math.sqrt(fitted[0] * known.spread)
    inside = face_distance(problem.source.grid) > margin
    rows: list[LimitRow] = []
    before: dict[float, list[Array]] = {}
    for value in chosen:
        reached = _reached(problem, value, ends, kernel)
        before[value] = [u for u, _, _ in reached]
        larger = next((e for e in before if math.isclose(e, 2 * value, rel_tol=1e-9)), None)
        for k, fields_at in enumerate(reached):
            row = _row(value, known, k, inside, fields_at)
            if larger is not None:
                error = extrapolated(before[value][k], before[larger][k]) - known.potentials[k]
                row |= _sups("richardson", error, inside)
            rows.append(LimitRow(**row))
    floors = _sups("floor", np.stack(known.defects), inside)
    return SmallEps(
        kernel, problem.source.shape, max(problem.source.grid.spacing), chosen, ends, margin,
        floors["floor_max"], floors["floor_interior"], known.map_floor, tuple(rows),
    )  # fmt: skip


def extrapolated(half: Array, whole: Array) -> Array:
    """2 u^{eps/2} - u^eps: free of the error of first order in eps."""
    return np.asarray(2.0 * half - whole)


def face_distance(grid: Grid) -> Array:
    """Distance of the cell centres from the nearest face, length; axes of one cell have none."""
    total = np.full(grid.shape, math.inf)
    for i, (axis, n) in enumerate(zip(grid.axes, grid.shape, strict=True)):
        if n > 1:
            near = np.minimum(axis - grid.lower[i], grid.upper[i] - axis)
            total = np.minimum(total, along(near, i, grid.dim))
    return total


def _checked(problem: Problem, times: tuple[float, ...], known: Reference) -> Reference:
    """The reference given, if it is one of these times on this grid."""
    if known.times != times or known.potentials[0].shape != problem.source.shape:
        raise InvalidInputError(
            f"against is the flow at {known.times} on {known.potentials[0].shape} cells; it must "
            f"be that at {times} on {problem.source.shape}: make it with reference(problem, times)"
        )
    return known


def _check_multiples(eps: tuple[float, ...], times: tuple[float, ...]) -> None:
    for value in eps:
        for time in times:
            sweeps = time / value
            if round(sweeps) < 1 or abs(sweeps - round(sweeps)) > SWEEP_ROUNDING:
                raise InvalidInputError(
                    f"time {time:g} is {sweeps:g} sweeps of eps = {value:g}; times must be "
                    "multiples of every eps: for example halves of one eps, and multiples of it"
                )


def _reached(
    problem: Problem, eps: float, times: tuple[float, ...], kernel: Kernel
) -> list[tuple[Array, Array, Array]]:
    """u, E[y | x] and centred differences of Sinkhorn's iterates at the times."""
    wanted = {round(time / eps) for time in times}
    found = []
    for state in iterate_sinkhorn(problem, eps, steps=max(wanted), kernel=kernel):
        if state.index in wanted:
            assert isinstance(state.operator, EntropicOperator)
            image = state.operator.conditional_mean(state.step.phi)
            found.append((state.potential, image, state.gradient))
    return found


def _row(
    eps: float, known: Reference, place: int, inside: Mask, found: tuple[Array, Array, Array]
) -> dict[str, float]:
    """The errors of one eps at one time."""
    u, image, differences = found
    gradient = known.gradients[place]
    return (
        {"eps": eps, "time": known.times[place]}
        | _sups("u", u - known.potentials[place], inside)
        | _sups("map", image - gradient, inside)
        | _sups("difference", differences - gradient, inside)
    )


def _sups(name: str, error: Array, inside: Mask) -> dict[str, float]:
    """Sup over all cells, and over the interior (the last axes are those of the grid)."""
    size = np.abs(error)
    within = size[..., inside]
    return {
        f"{name}_max": float(size.max()),
        f"{name}_interior": float(within.max()) if within.size else math.nan,
    }
