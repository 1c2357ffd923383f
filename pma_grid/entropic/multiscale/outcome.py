"""What a multiscale plan amounts to: projections, potentials, values, in the user's coordinates."""

from __future__ import annotations

import numpy as np
from scipy import sparse as matrices

from pma_grid.entropic.multiscale.candidates import TEAR_CELLS, transposed
from pma_grid.entropic.multiscale.pyramid import Atoms
from pma_grid.entropic.multiscale.refinement import LevelPlan
from pma_grid.entropic.transport import EntropicSolution, EntropicTransport, SparsePlan
from pma_grid.kernels.entropic import plans, sparse
from pma_grid.kernels.records import Entries
from pma_grid.problem.frame import mean_free
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Axes, Reduced, Reduction
from pma_grid.runtime import Array, Integers, Mask, Status
from pma_grid.transport.atomic_dual import hard_pairs, transform
from pma_grid.transport.report import TransportReport


def outcome(problem: Problem, reduced: Reduced, plan: LevelPlan, tol: float) -> EntropicTransport:
    """The transport of a plan on the finest level."""
    back = Reduction(problem)
    source, target = plan.level.source, plan.level.target
    # entropic potentials, moved so that f has mean zero under the source
    shift = float(source.mass @ plan.f)
    f = _spread(source, plan.f - shift, 0.0)
    g = _spread(target, plan.g + shift, 0.0)
    # P = sqrt(a b) exp((F + G - c)/eps): F + G - c nearly vanishes where P joins like to like, so
    # that F, G are nearly feasible; f, g exceed c by eps log(1/b) there.  Halves the loss on noise.
    better, worse = hard_pairs(
        reduced,
        f + 0.5 * plan.eps * _spread(source, source.log_mass, 0.0),
        g + 0.5 * plan.eps * _spread(target, target.log_mass, 0.0),
    )
    images, preimages = plan.images(), plan.preimages()
    forward = _filled(source, images, better.nearest[0], reduced.y)
    backward = _filled(target, preimages, better.nearest[1], reduced.x)
    matrix = _matrix(problem, plan)
    report = _report(problem, back, plan, matrix, (f, g))
    report.hard_dual, report.hard_dual_other = (
        max(0.0, back.squared_distance(pair.value)) for pair in (better, worse)
    )
    solution = EntropicSolution(
        plan.eps,
        report["dual"],
        back.kantorovich(_off_support(reduced, f, g, plan.eps)),
        back.kantorovich(_off_support(reduced.swapped(), g, f, plan.eps), "target"),
        back.image(forward),
        back.preimage(backward),
    )
    return EntropicTransport(
        problem,
        None,
        solution,
        SparsePlan(matrix, _tears(plan, images), report.hard_dual),
        phi=mean_free(-better.f),
        status=Status.ENTROPIC if plan.error < tol else Status.MAX_ITERATIONS,
        stats=report,
    )


def _spread(atoms: Atoms, values: Array | Mask, fill: float) -> Array:
    """Values of the atoms on their grid."""
    grid = np.full(atoms.shape, fill)
    grid.ravel()[atoms.flat] = values
    return grid


def _filled(atoms: Atoms, means: Array, nearest: Integers, others: Axes) -> Array:
    """Conditional means on the support, the cells where the hard pair is tight off it."""
    field = np.stack([axis[index] for axis, index in zip(others, nearest, strict=True)])
    for k in range(field.shape[0]):
        field[k].ravel()[atoms.flat] = means[:, k]
    return field


def _off_support(reduced: Reduced, f: Array, g: Array, eps: float) -> Array:
    """f where there is no mass: the largest term of its soft transform, an error of O(eps)."""
    empty = reduced.a == 0
    if not empty.any():
        return f
    support = reduced.b > 0
    weighted = g + eps * np.log(np.where(support, reduced.b, 1.0))
    return np.where(empty, transform(weighted, support, reduced.y, reduced.x)[0], f)


def _matrix(problem: Problem, plan: LevelPlan) -> matrices.csr_array:
    """The plan between all cells in C order, columns ascending in each row."""
    entries = Entries(plan.pairs.pointers, plan.pairs.indices, plan.values())
    shape = problem.source.grid.size, problem.target.grid.size
    # transposed twice: sorts rows and columns in linear time
    for atoms, size in ((plan.level.target, shape[1]), (plan.level.source, shape[0])):
        renamed = atoms.flat.astype(np.int32)[entries.indices]
        entries = transposed(Entries(entries.pointers, renamed, entries.values), size)
    pointers = entries.pointers
    if plan.pairs.size < 2**31:
        pointers = pointers.astype(np.int32)
    matrix = matrices.csr_array((entries.values, entries.indices, pointers), shape=shape)
    matrix.has_sorted_indices = True
    return matrix


def _report(
    problem: Problem,
    back: Reduction,
    plan: LevelPlan,
    matrix: matrices.csr_array,
    potentials: tuple[Array, Array],
) -> TransportReport:
    """Values of the entropic problem, and how well the marginals are met."""
    source, target = plan.level.source, plan.level.target
    # from the lower corner of the source's box: distant boxes lose no digits
    grids = [d.grid.at_origin for d in (problem.source, problem.target)]
    points = [np.ascontiguousarray(grid.points) for grid in grids]
    points[1] += back.frames[0].shift
    masses = Entries(matrix.indptr, matrix.indices, matrix.data)
    cost = sparse.squared_cost(masses, *points)
    kept = Entries(plan.pairs.pointers, plan.pairs.indices, plan.values())
    reduced_cost = 0.5 * sparse.squared_cost(kept, source.position, target.position)
    f, g = (p.ravel() for p in potentials)
    a, b = (_spread(s, s.mass, 0.0).ravel() for s in (source, target))
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    # eps KL(P | a x b) = sum P (f + g - c)
    entropy = float(rows @ f + columns @ g) - reduced_cost
    errors = {"source": float(np.abs(rows - a).sum()), "target": float(np.abs(columns - b).sum())}
    dual = a @ back.kantorovich(potentials[0]).ravel()
    dual += b @ back.kantorovich(potentials[1], "target").ravel()
    return TransportReport(
        method="multiscale",
        map="barycentric",
        eps=plan.eps,
        primal=0.5 * cost + entropy,
        dual=float(dual),
        transport_cost=cost,
        marginal_error=errors["source"] + errors["target"],
        marginal_errors=errors,
        entries=plan.pairs.size,
    )


def _tears(plan: LevelPlan, images: Array) -> Mask:
    """Cells whose image lies more than some cells from that of a neighbour."""
    source = plan.level.source
    out = np.zeros(source.size, np.bool_)
    plans.torn(images, source.cell, source.number, TEAR_CELLS * plan.level.widest, out)
    return _spread(source, out, False).astype(bool)
