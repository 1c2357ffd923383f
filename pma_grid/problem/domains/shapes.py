"""Polygons, ellipses, and sets given by their support function."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.problem.domains.convex import ConvexDomain, checked_points, described
from pma_grid.runtime import Array, InvalidInputError

# Turns, areas and widths below this share of the largest are zero: collinear vertices, flat sets.
FLAT_SHARE = 1e-12
# Vertices of the outline of a smooth set: lengths are then right to 1e-6, areas exact for ellipses.
OUTLINE_VERTICES = 2048
# Turn of the direction by which a support function is differentiated: rounding and error balance.
DIFFERENCE_RADIANS = 1e-6
# Share of a set's thickness that its outline may miss: what smooth sets lose with all its vertices.
MISSED_THICKNESS = 2e-6
# Directions are halved so often where it misses more: at corners.
MOST_HALVINGS = 10


class Polygon(ConvexDomain):
    """A convex polygon, for `Problem` as the domain that the map is to fill.

    Parameters
    ----------
    vertices : array_like, shape (m, 2), m >= 3
        The vertices in their order along the boundary, either way round.  Repeated vertices and
        those between collinear neighbours are dropped.

    Raises
    ------
    InvalidInputError
        There are fewer than three vertices, or they are not finite, enclose no area, or are not
        those of a convex polygon in order.  They are never replaced by their convex hull silently.

    Examples
    --------
    >>> triangle = Polygon([(0, 0), (1, 0), (0, 1)])
    >>> triangle.support([(1.0, 1.0)]).tolist()
    [1.0]
    >>> triangle.contains([(0.2, 0.2), (0.8, 0.8)]).tolist()
    [True, False]
    """

    dim = 2

    def __init__(self, vertices: ArrayLike) -> None:
        self._vertices = _convex_ring(checked_points(vertices, 2, "vertices"))

    def support(self, directions: ArrayLike) -> Array:
        """h(d) = max over the vertices of <d, vertex>, (m, 2) to (m,)."""
        return np.asarray(
            (checked_points(directions, 2, "directions") @ self._vertices.T).max(axis=1)
        )

    @cached_property
    def outline(self) -> Array:
        """The vertices, counterclockwise."""
        return self._vertices

    def __repr__(self) -> str:
        """Number of vertices and bounds."""
        return f"Polygon({len(self._vertices)} vertices, {described(self)})"


class Ellipse(ConvexDomain):
    """An ellipse {centre + A z: |z| <= 1}, for `Problem` as a domain; an interval in 1-D.

    Parameters
    ----------
    centre : float or array_like, shape (d,), d = 1 or 2
        The centre of the ellipse, or the midpoint of the interval.
    axes : float or array_like, shape (d,), optional
        Half the axes along the coordinates, each > 0; one number makes a disc.
    matrix : array_like, shape (d, d), optional
        The invertible matrix A, instead of ``axes``, for an ellipse in any position.

    Raises
    ------
    InvalidInputError
        Both of ``axes`` and ``matrix`` are given, or neither; or values are not finite, or the
        ellipse has no interior.

    Examples
    --------
    >>> disc = Ellipse((0.5, 0.5), axes=0.25)
    >>> [side.tolist() for side in disc.bounds()]
    [[0.25, 0.25], [0.75, 0.75]]
    """

    def __init__(
        self,
        centre: ArrayLike,
        *,
        axes: ArrayLike | None = None,
        matrix: ArrayLike | None = None,
    ) -> None:
        self.centre = np.atleast_1d(np.asarray(centre, float))
        if self.centre.ndim != 1 or self.centre.size not in (1, 2):
            raise InvalidInputError(
                f"centre has shape {self.centre.shape}; it must be a point of 1 or 2 coordinates: "
                "pass for example (0.5, 0.5)"
            )
        self.dim = self.centre.size
        if (axes is None) == (matrix is None):
            raise InvalidInputError(
                "axes and matrix are both given or both missing; one of them is needed: pass the "
                "half axes, or the matrix that maps the unit disc to the ellipse"
            )
        if matrix is None:
            matrix = np.diag(np.broadcast_to(np.asarray(axes, float), (self.dim,)))
        self.matrix = np.asarray(matrix, float)
        square = self.matrix.shape == (self.dim, self.dim)
        finite = square and bool(np.isfinite(self.matrix).all() and np.isfinite(self.centre).all())
        singular = np.linalg.svd(self.matrix, compute_uv=False) if finite else np.zeros(1)
        if not singular.min() > FLAT_SHARE * singular.max() or (
            axes is not None and np.min(axes) <= 0
        ):
            name, value = ("axes", axes) if axes is not None else ("matrix", matrix)
            raise InvalidInputError(
                f"{name} is {np.asarray(value).tolist()} for the centre {self.centre.tolist()}; "
                "the ellipse must be finite and have an interior: pass positive half axes or an "
                "invertible matrix"
            )

    def support(self, directions: ArrayLike) -> Array:
        """h(d) = <d, centre> + |A^T d|, (m, d) to (m,)."""
        d = checked_points(directions, self.dim, "directions")
        h: Array = d @ self.centre + np.linalg.norm(d @ self.matrix, axis=1)
        return h

    @cached_property
    def outline(self) -> Array:
        """A polygon of the same area, or both ends of the interval."""
        if self.dim == 1:
            return np.asarray(self.centre + np.array([[-1.0], [1.0]]) * abs(self.matrix[0, 0]))
        angle = 2 * np.pi / OUTLINE_VERTICES
        circle = np.arange(OUTLINE_VERTICES) * angle
        radius = math.sqrt(angle / math.sin(angle))
        ring = self.centre + radius * np.stack([np.cos(circle), np.sin(circle)], 1) @ self.matrix.T
        return np.asarray(ring if np.linalg.det(self.matrix) > 0 else ring[::-1])

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON."""
        return {
            "kind": "ellipse", "centre": self.centre.tolist(), "matrix": self.matrix.tolist()
        }  # fmt: skip

    def __repr__(self) -> str:
        """Centre and bounds."""
        return f"Ellipse({self.centre.tolist()}, {described(self)})"


class ConvexSet(ConvexDomain):
    """A convex set in the plane given by its support function, for `Problem` as a domain.

    Parameters
    ----------
    support_function : callable
        ``h(directions)`` takes an (m, 2) array of directions d, of any length, and returns an array
        (m,): for each, the maximum of <d, y> over the points y of the set.

    Raises
    ------
    InvalidInputError
        The values are not finite, not homogeneous (h(2 d) = 2 h(d)), or those of no convex set.

    Notes
    -----
    The set is kept as the polygon of its extreme points in 2048 directions, and in more where the
    polygon would miss a part of it.  These points are found from differences of the support
    function: of a polygon they are its corners; a smooth set loses some 1e-6 of its area.

    Examples
    --------
    >>> import numpy as np
    >>> disc = ConvexSet(lambda d: np.hypot(d[:, 0], d[:, 1]))
    >>> disc.contains([(0.0, 0.999), (0.8, 0.8)]).tolist()
    [True, False]
    """

    dim = 2

    def __init__(self, support_function: Callable[[Array], ArrayLike]) -> None:
        self._function = support_function
        angles = 2 * np.pi * np.arange(OUTLINE_VERTICES) / OUTLINE_VERTICES
        directions = _unit(angles)
        h = self.support(directions)
        scale = float(np.abs(h).max())
        if not np.allclose(self.support(2 * directions), 2 * h, rtol=0, atol=1e-9 * scale):
            raise InvalidInputError(
                "support_function is not homogeneous: h(2 d) differs from 2 h(d); it must be the "
                "maximum of <d, y> over the set: check that it scales with the length of d"
            )
        # each edge of the polygon of tangents has the length (h_k-1 + h_k+1 - 2 cos h_k) / sin
        step = 2 * np.pi / OUTLINE_VERTICES
        length = (np.roll(h, 1) + np.roll(h, -1) - 2 * np.cos(step) * h) / np.sin(step)
        if length.min() < -1e-6 * scale * step or length.sum() <= FLAT_SHARE * scale:
            worst = directions[int(np.argmin(length))]
            raise InvalidInputError(
                f"support_function belongs to no convex set with an interior (at the direction "
                f"{worst.round(4).tolist()}); h(d + e) <= h(d) + h(e) must hold: "
                "use Polygon or Ellipse, or check the formula"
            )
        self._vertices = _convex_ring(self._ring(angles), slack=1e-6)

    def _ring(self, angles: Array) -> Array:
        """Points of the set in these directions, and between them where they miss a part of it."""
        half = len(angles) // 2
        h = self.support(_unit(angles))
        thickness = float((h[:half] + h[half:]).min())
        for _ in range(MOST_HALVINGS):
            directions, along = _unit(angles), _unit(angles + np.pi / 2)
            # the point h n + h' t in the direction n
            h, up, down = (
                self.support(directions + e * along)
                for e in (0.0, DIFFERENCE_RADIANS, -DIFFERENCE_RADIANS)
            )
            ring = (
                h[:, None] * directions + ((up - down) / (2 * DIFFERENCE_RADIANS))[:, None] * along
            )
            between = angles + 0.5 * np.diff(angles, append=angles[0] + 2 * np.pi)
            n = _unit(between)
            reached = np.maximum(
                (n * ring).sum(axis=1), (n * np.roll(ring, -1, axis=0)).sum(axis=1)
            )
            missed = self.support(n) - reached > MISSED_THICKNESS * thickness
            if not missed.any():
                break
            angles = np.sort(np.concatenate([angles, between[missed]]))
        return np.asarray(ring)

    def support(self, directions: ArrayLike) -> Array:
        """The support function as given, (m, 2) to (m,), its values checked."""
        d = checked_points(directions, 2, "directions")
        h = np.asarray(self._function(d), float)
        if h.shape != (len(d),) or not np.isfinite(h).all():
            raise InvalidInputError(
                f"support_function returns shape {h.shape} for {len(d)} directions, or values that "
                "are not finite; one number for each direction is needed: work on d[:, 0], d[:, 1]"
            )
        return h

    @cached_property
    def outline(self) -> Array:
        """The polygon of the tangents."""
        return self._vertices

    def __repr__(self) -> str:
        """Bounds."""
        return f"ConvexSet({described(self)})"


def _unit(angles: Array) -> Array:
    """Unit vectors (m, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _convex_ring(ring: Array, slack: float = FLAT_SHARE) -> Array:
    """Corners counterclockwise, without repeated and collinear ones; checks convexity."""
    width = float(np.max(np.ptp(ring, axis=0))) if len(ring) else 0.0
    x, y = (ring - ring.mean(axis=0)).T if len(ring) else (np.empty(0), np.empty(0))
    area = 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    distinct = len(np.unique(ring, axis=0))
    if distinct < 3 or not abs(area) > FLAT_SHARE * width * width:
        raise InvalidInputError(
            f"vertices has {distinct} different points with an area of {abs(area):g}; a polygon "
            "needs three corners that are not on one line: add vertices"
        )
    ring = ring if area > 0 else ring[::-1]
    ring = ring[np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1) > slack * width]
    while True:
        before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
        turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        sines = turn / (np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1))
        corner = sines > FLAT_SHARE
        if corner.all():
            break
        if (sines < -max(slack, 1e-9)).any():
            raise InvalidInputError(_not_convex(ring[int(np.argmin(sines))]))
        ring = ring[corner]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = np.arctan2(
        before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0], (before * after).sum(axis=1)
    )
    if turns.sum() > 3 * np.pi:
        raise InvalidInputError(_not_convex(ring[0]))
    return np.ascontiguousarray(ring)


def _not_convex(vertex: Array) -> str:
    return (
        f"vertices turn the wrong way or cross near {vertex.tolist()}; they must follow the "
        "boundary of a convex polygon: order them, or take the vertices of scipy.spatial.ConvexHull"
    )


def stored_domain(data: dict[str, Any]) -> ConvexDomain:
    """The set that `ConvexDomain.to_dict` wrote."""
    if data["kind"] == "ellipse":
        return Ellipse(data["centre"], matrix=data["matrix"])
    return Polygon(data["vertices"])
