"""Lists of the superbases of Z^d within a reach, for scans that compare them all."""

from __future__ import annotations

import itertools
import math

import numpy as np

from pma_grid.runtime.arrays import Array


def all_superbases(dim: int, reach: int) -> Array:
    """All bases of Z^d (up to signs and order) whose lattice vectors stay within ``reach``.

    In 2-D all pairs of vectors, so that each superbase and each of its faces is met; in 3-D all
    superbases reached by flips from the canonical one.  Shape (n, d, d).
    """
    if dim == 1:
        return np.ones((1, 1, 1), np.int64)
    if dim == 2:
        span = range(-reach, reach + 1)
        half = [v for v in itertools.product(span, span) if v > (0, 0) and math.gcd(*v) == 1]
        pairs = [
            (e, tuple(sign * c for c in f))
            for e, f in itertools.combinations(half, 2)
            for sign in (1, -1)
            if abs(e[0] * f[1] - e[1] * f[0]) == 1
        ]
        kept = [p for p in pairs if max(abs(a + b) for a, b in zip(*p, strict=True)) <= reach]
        return np.array(kept, np.int64)
    return _superbases_3d(reach)


def _superbases_3d(reach: int) -> Array:
    """Superbases of Z^3 by breadth-first flips, stored as their last three vectors."""
    start: tuple[tuple[int, ...], ...] = ((-1, -1, -1), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    seen = {_canonical(start): start}
    queue = [start]
    while queue:
        base = queue.pop()
        for i, j in itertools.permutations(range(4), 2):
            rest = [k for k in range(4) if k not in (i, j)]
            flipped = [tuple(-c for c in base[i]), base[j]]
            flipped += [tuple(a + b for a, b in zip(base[k], base[i], strict=True)) for k in rest]
            base2 = tuple(flipped)
            crosses = np.cross(np.array(base2)[:, None], np.array(base2)[None])
            key = _canonical(base2)
            if np.abs(crosses).max() <= reach and key not in seen:
                seen[key] = base2
                queue.append(base2)
    return np.array([b[1:] for b in seen.values()], np.int64)


def _canonical(base: tuple[tuple[int, ...], ...]) -> frozenset[tuple[int, ...]]:
    """The set of lattice vectors of a superbase, up to sign."""
    vectors = [np.cross(a, b) for a, b in itertools.combinations(np.array(base), 2)]
    return frozenset(max(tuple(map(int, v)), tuple(map(int, -v))) for v in vectors)
