"""An entropic plan between finer cells, given between the cells of the data."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pma_grid.entropic.transport import EntropicSolution, EntropicTransport, SparsePlan
from pma_grid.problem.density import Density
from pma_grid.problem.frame import mean_free
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduction
from pma_grid.runtime import Array, Mask
from pma_grid.transport.atomic_dual import dual_of_atoms

# Share of the largest mass with which empty cells count in means.
LEAST_MASS_SHARE = 1e-100


def coarsened(transport: EntropicTransport, problem: Problem) -> EntropicTransport:
    """The plan summed over the finer cells of each cell, projections and potentials averaged.

    Parameters
    ----------
    transport : EntropicTransport
        Of ``problem`` with every cell divided into equal pieces.
    problem : Problem

    Returns
    -------
    EntropicTransport
        ``eps`` and the values stay those of the finer plan: they are its figures.  The bounds of
        ``stats`` are those of the atoms at the centres of the larger cells.
    """
    source, target = (
        Pieces(fine, coarse)
        for fine, coarse in (
            (transport.problem.source, problem.source),
            (transport.problem.target, problem.target),
        )
    )
    f = source.means(Reduction(transport.problem).kantorovich(-transport.phi))
    g = target.means(transport.target_potential)
    phi = mean_free(-Reduction(problem).reduced(f))
    swapped = problem.swapped()
    bounds = (
        dual_of_atoms(problem, phi),
        dual_of_atoms(swapped, -Reduction(swapped).reduced(g)),
    )
    transport.stats.hard_dual, transport.stats.hard_dual_other = max(bounds), min(bounds)
    solution = EntropicSolution(
        transport.eps,
        transport.value,
        source.means(transport.source_potential),
        g,
        np.stack([source.means(part) for part in transport.gradient]),
        np.stack([target.means(part) for part in transport.inverse_gradient]),
        transport.kernel,
    )
    kept = None
    if transport.plan is not None:
        plan = sparse.csr_array(source.sums @ transport.plan @ target.sums.T)
        tears = None if transport.tears is None else source.any(transport.tears)
        kept = SparsePlan(plan, tears, transport.hard_dual)
    return EntropicTransport(
        problem,
        None,
        solution,
        kept,
        phi=phi,
        status=transport.status,
        stats=transport.stats,
    )


class Pieces:
    """The pieces into which the cells of a density were divided.

    Attributes
    ----------
    sums : csr_array, shape (cells, pieces)
        What sums over the pieces of every cell.
    """

    def __init__(self, fine: Density, coarse: Density) -> None:
        self.shape = coarse.shape
        counts = np.array(fine.shape) // np.array(coarse.shape)
        index = np.indices(fine.shape).reshape(fine.dim, -1) // counts[:, None]
        rows, columns = np.ravel_multi_index(tuple(index), coarse.shape), np.arange(fine.grid.size)
        entries = np.ones(columns.size), (rows, columns)
        shape = coarse.grid.size, fine.grid.size
        self.sums = sparse.csr_array(entries, shape=shape)
        self._masses = np.maximum(fine.masses, LEAST_MASS_SHARE * fine.masses.max()).ravel()

    def means(self, field: Array) -> Array:
        """Means over the pieces of every cell, by mass."""
        total = self.sums @ (self._masses * field.ravel())
        return np.asarray(total / (self.sums @ self._masses)).reshape(self.shape)

    def any(self, marks: Mask) -> Mask:
        """Cells of which any piece is marked."""
        return np.asarray(self.sums @ marks.ravel().astype(float) > 0).reshape(self.shape)
