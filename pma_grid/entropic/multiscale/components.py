"""Parts of a plan that hardly exchange anything, and the offsets that make them.

At small eps the pairs kept fall into components, or into parts joined by pairs that carry next to
nothing.  Within one, potentials of the rows may rise and those of the columns fall by the same
offset without any effect, so that scaling hardly moves the surplus A_c - B_c of a part's rows over
its columns: its factors creep for ever.  The pairs between parts can, once the offsets make them
large enough: with W_cd the mass that they carry now,

    sum_d W_cd exp(o_c - o_d) - sum_d W_dc exp(o_d - o_c) = A_c - B_c,

the optimality of a convex problem, whose coordinates solve quadratic equations.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse as matrices
from scipy.sparse import csgraph

from pma_grid.entropic.multiscale.candidates import Candidates, Pairs, transposed
from pma_grid.entropic.multiscale.pyramid import Level
from pma_grid.entropic.multiscale.scaling import MatrixScaling
from pma_grid.kernels.entropic import sparse
from pma_grid.kernels.records import Entries
from pma_grid.runtime import Array, Mask

# Pairs that carry less than this share of the smaller mass join nothing, the weakest tried first.
JOINING_SHARES = (0.0, 1e-4, 1e-3, 1e-2, 0.1)
# Share of the error that components must explain.
LEAST_ERROR_SHARE = 0.5
# Passes over the components, there and back.
PASSES = 10


class Components:
    """The connected components of a plan: ``kept`` are the pairs that join."""

    def __init__(self, pairs: Pairs, kept: Mask, level: Level) -> None:
        n, m = level.source.size, level.target.size
        rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(pairs.pointers))[kept]
        graph = matrices.coo_array(
            (np.ones(rows.size, np.int8), (rows, pairs.indices[kept] + np.int32(n))),
            shape=(n + m, n + m),
        )
        self.count, label = csgraph.connected_components(graph, directed=False)
        self.rows, self.columns = label[:n], label[n:]
        self.surplus = np.bincount(self.rows, level.source.mass, self.count) - np.bincount(
            self.columns, level.target.mass, self.count
        )

    @classmethod
    def behind(
        cls, scaling: MatrixScaling, level: Level, u: Array, v: Array, error: float
    ) -> Components | None:
        """The components whose net imbalance makes up most of the plan's error, if any do."""
        pairs, plan = scaling.pairs, scaling.plan(u, v)
        rows = np.repeat(level.source.mass, np.diff(pairs.pointers))
        share = plan / np.minimum(rows, level.target.mass[pairs.indices])
        excess = v * scaling.sums - level.target.mass
        kept = [share > threshold for threshold in JOINING_SHARES]
        # a light atom may send all it has to two parts that it does not join for all that
        for joined in kept + [plan > threshold * error for threshold in JOINING_SHARES[1:]]:
            components = cls(pairs, joined, level)
            imbalance = np.bincount(components.columns, excess, components.count)
            if np.abs(imbalance).sum() > LEAST_ERROR_SHARE * error:
                return components
        return None

    def offsets(self, candidates: Candidates, f: Array, g: Array, eps: float) -> Array:
        """o_c for every row: o_c eps belongs into its potential."""
        labels = self.rows, self.columns
        links = candidates.links(f, g, eps, labels, self.count)
        order = np.argsort(self.rows, kind="stable")
        first = np.concatenate([[0], np.cumsum(np.bincount(self.rows, minlength=self.count))])
        pointers = np.empty(self.count + 1, np.int64)
        there = Entries(pointers, np.empty_like(links.indices), np.empty_like(links.values))
        mark = np.full(self.count, -1, np.int64)
        size = sparse.merge_links(order, first, links, mark, there)
        there = Entries(pointers, there.indices[:size], there.values[:size])
        out = np.zeros(self.count)
        sparse.join(there, transposed(there, self.count), self.surplus, PASSES, out)
        return np.asarray(out[self.rows])
