"""The box of a posterior: where log f is within some nats of its maximum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage, optimize

from pma_grid.grid.grid import MAX_DIM, Grid
from pma_grid.inference.counted import LogFunction
from pma_grid.runtime import Array, InvalidInputError

# The box holds all points so many nats below the maximum: second differences of the potential hold
# no more, and of a Gaussian in the plane 3e-7 lies beyond.
BOX_DEPTH_NATS = 15.0
# Cells an axis of a scan by dimension, and the local maxima of it that are climbed from.
SCAN_CELLS = {1: 1024, 2: 64, 3: 24}
MOST_CLIMBS = 8
# Evaluations an axis of one climb, and how sharply it ends: in units of the parameters.
CLIMB_EVALUATIONS, CLIMB_TOLERANCE = 400, 1e-9
# Half the side of the first box around a start, over 1 + the size of its coordinates.
FIRST_REACH = 1e-2
# Cells of the scan that a box leaves around what is high: centres know it to half a cell.
MARGIN_CELLS = 1.5
# Scans at most, enough for boxes from rounding to `LARGEST_SIDE`; a box that would keep more than
# this share of its sides is kept.
MOST_SCANS, KEPT_SIDE_SHARE = 60, 0.9
# Sides grow by this factor where the density has not fallen off at a face, and never beyond so
# many times the size of the modes and the longest side of the box given, or 1 where none is.
GROWTH_FACTOR, LARGEST_SIDE = 2.0, 1e12
# A law that fills less than this share of its box is not resolved by a grid on it.
SMALLEST_FILLED_SHARE = 2e-2


@dataclass(frozen=True)
class Found:
    """A box, and what is known of the density in it.

    Attributes
    ----------
    lower, upper : ndarray, shape (d,)
    top : float
        Largest value of log f met.
    modes : ndarray, shape (k, d)
        Local maxima within `BOX_DEPTH_NATS` of it.
    truncated : tuple of (axis, side)
        Faces of the box given at which the density has not fallen off.
    """

    lower: Array
    upper: Array
    top: float
    modes: Array
    truncated: tuple[tuple[int, str], ...]


def checked_place(
    box: Sequence[tuple[float, float]] | None, start: ArrayLike | None
) -> tuple[Array | None, Array | None]:
    """Where to look for a law: corners (2, d) of a box and a start (d,), either None."""
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


def find_box(f: LogFunction, limits: Array | None, start: Array | None) -> Found:
    """The smallest box around {f >= max f - 15 nats}, by scans from coarse to fine.

    It stays within the corners ``limits``, (2, d): the support, or a generous guess.  With None it
    begins as a small box around where ``start``, (d,), climbs to, and grows as long as it must.  A
    density that is zero wherever it was looked for, does not fall off or is a sliver is refused.
    """
    lower, upper = _first_box(f, start) if limits is None else limits.copy()
    bounds = _everywhere(lower) if limits is None else (limits[0], limits[1])
    unit = 1.0 if limits is None else float((upper - lower).max())
    modes = np.empty((0, lower.size)) if start is None else start[None]
    for _ in range(MOST_SCANS):
        scan = _Scan(f, lower, upper, modes, climb=len(modes) == 0 or start is not None)
        modes, start = scan.modes, None
        low, high = scan.bounding(bounds)
        wide = (high - low) >= KEPT_SIDE_SHARE * (upper - lower)
        grown = (low < lower) | (high > upper)
        if (upper - lower).max() > LARGEST_SIDE * (unit + np.abs(modes).max(initial=0.0)):
            break
        if wide.all() and not grown.any():
            if scan.share < SMALLEST_FILLED_SHARE:
                raise InvalidInputError(
                    f"log_density is within {BOX_DEPTH_NATS:g} nats of its maximum in "
                    f"{100 * scan.share:.2g} % of its box only; a grid on the box does not resolve "
                    "that: rotate or rescale the parameters (for example by the Cholesky factor of "
                    "their covariance), or treat the modes apart"
                )
            return Found(lower, upper, scan.top, modes, _truncated(scan, bounds))
        lower, upper = low, high
    raise InvalidInputError(
        f"log_density has not fallen by {BOX_DEPTH_NATS:g} nats in the box from {lower.tolist()} "
        f"to {upper.tolist()}; a density that can be normalised must fall off: add a prior, or "
        "give the box of its support"
    )


def _first_box(f: LogFunction, start: Array | None) -> tuple[Array, Array]:
    """A small box around the point that Nelder and Mead's simplex climbs to."""
    if start is None:
        raise InvalidInputError(
            "box and start are both None; give box=[(lower, upper), ...] around the density, or "
            "a start to climb from"
        )
    if not np.isfinite(f.at(start[None])).all():
        raise InvalidInputError(
            f"start is {start.tolist()}, where the density is zero; climb from a point where it is "
            "not"
        )
    peak = _climbed(f, start, *_everywhere(start))
    reach = FIRST_REACH * (1 + np.abs(peak))
    return peak - reach, peak + reach


def _everywhere(point: Array) -> tuple[Array, Array]:
    """Corners of all of space."""
    return np.full(point.shape, -np.inf), np.full(point.shape, np.inf)


def _climbed(f: LogFunction, start: Array, lower: Array, upper: Array) -> Array:
    """A local maximum in a box, by Nelder and Mead's simplex: no derivatives are asked for."""

    def height(x: Array) -> float:
        value = float(f.at(np.clip(x, lower, upper)[None])[0])
        return -value if math.isfinite(value) else 1e300

    found = optimize.minimize(
        height,
        start,
        method="Nelder-Mead",
        options={"maxfev": CLIMB_EVALUATIONS * start.size, "xatol": CLIMB_TOLERANCE},
    )
    return np.asarray(np.clip(found.x, lower, upper))


class _Scan:
    """log f at the cell centres of a coarse grid on a box, and at the modes known; what is high."""

    def __init__(
        self, f: LogFunction, lower: Array, upper: Array, modes: Array, *, climb: bool
    ) -> None:
        dim = lower.size
        self.grid = Grid((SCAN_CELLS[dim],) * dim, tuple(lower), tuple(upper))
        self.values = f(*self.grid.coordinates())
        if climb:
            peaks = [_climbed(f, x, lower, upper) for x in self._peaks()]
            modes = np.array([*modes, *peaks]).reshape(-1, dim)
        inside = ((modes >= lower) & (modes <= upper)).all(axis=1)
        heights = f.at(modes) if len(modes) else np.empty(0)
        self.top = max(float(self.values.max()), float(heights.max(initial=-np.inf)))
        if not math.isfinite(self.top):
            raise InvalidInputError(
                f"log_density is -inf wherever it was looked for, from {lower.tolist()} to "
                f"{upper.tolist()}; the density must be positive somewhere: give a box around it, "
                "or a start"
            )
        self.modes = modes[inside & (heights >= self.top - BOX_DEPTH_NATS)]
        self.high = self.values >= self.top - BOX_DEPTH_NATS
        self.share = float(self.high.mean())

    def _peaks(self) -> Array:
        """Cells that no neighbour exceeds, the highest first; also where all but a few are -inf."""
        around = ndimage.maximum_filter(self.values, size=3, mode="nearest")
        cells = np.argwhere((self.values >= around) & np.isfinite(self.values))
        order = np.argsort(-self.values[tuple(cells.T)], kind="stable")[:MOST_CLIMBS]
        axes = self.grid.axes
        return np.array(
            [[axes[i][k] for i, k in enumerate(cell)] for cell in cells[order]]
        ).reshape(-1, self.grid.dim)

    def bounding(self, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        """The box of all that is high, with a cell around it; beyond a face where that is high."""
        low, high = np.array(self.grid.lower), np.array(self.grid.upper)
        new_low, new_high = low.copy(), high.copy()
        for axis, (x, h) in enumerate(zip(self.grid.axes, self.grid.spacing, strict=True)):
            others = tuple(k for k in range(self.grid.dim) if k != axis)
            reached = np.flatnonzero(self.high.any(axis=others))
            places = [*x[reached], *self.modes[:, axis]]
            new_low[axis], new_high[axis] = (
                min(places) - MARGIN_CELLS * h,
                max(places) + MARGIN_CELLS * h,
            )
            side = (high[axis] - low[axis]) * (GROWTH_FACTOR - 1) / 2
            if reached.size and reached[0] == 0:
                new_low[axis] = low[axis] - side
            if reached.size and reached[-1] == x.size - 1:
                new_high[axis] = high[axis] + side
        return np.maximum(new_low, bounds[0]), np.minimum(new_high, bounds[1])


def _truncated(scan: _Scan, bounds: tuple[Array, Array]) -> tuple[tuple[int, str], ...]:
    """Faces of the box given that cut the density off."""
    cut = []
    for axis in range(scan.grid.dim):
        for side, index, bound in (("lower", 0, bounds[0]), ("upper", -1, bounds[1])):
            face = getattr(scan.grid, side)[axis]
            if face == bound[axis] and np.take(scan.high, index, axis).any():
                cut.append((axis, side))
    return tuple(cut)
