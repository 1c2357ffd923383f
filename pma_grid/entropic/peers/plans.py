"""From what a peer returns, scalings on the target's cells, to an `EntropicTransport`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.entropic.transport import EntropicSolution, EntropicTransport
from pma_grid.grid.axes import coordinates
from pma_grid.problem.frame import mean_free
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced, Reduction
from pma_grid.runtime import (
    Array,
    ConvergenceError,
    InvalidInputError,
    Status,
    check_positive,
    check_whole,
)
from pma_grid.transport.report import TransportReport

# Entries of a dense matrix over pairs of cells; methods keep about four of them, 8 bytes each.
MOST_PAIRS = 1 << 25


@dataclass(frozen=True)
class PeerRun:
    """What one run of a peer returns."""

    logs: Array  # log b + g / eps on the target grid, with -inf where b = 0
    iterations: int
    seconds: float  # of the run, without what happens once only (compiling)
    once: float = 0.0


@dataclass(frozen=True)
class Request:
    """What is asked of every peer; see `solve_pot`."""

    eps: float
    tol: float
    max_iterations: int
    debiased: bool

    def __post_init__(self) -> None:
        for name in ("eps", "tol"):
            check_positive(getattr(self, name), name, "for example 1e-3")
        check_whole(self.max_iterations, 1, "max_iterations", "for example 10000")


def imported(peer: str, module: str, package: str) -> Any:
    """A module of a peer's package, or an error that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # a package that is there and fails to load has its own story to tell
        missing = getattr(error, "name", None)
        why = "is not installed" if missing == module.split(".")[0] else f"fails to load ({error})"
        raise InvalidInputError(
            f"peer {peer} needs the package {package}, which {why}: pip install 'pma_grid[bench]'"
        ) from None


def check_pairs(peer: str, reduced: Reduced) -> None:
    """Refuse problems whose dense matrix would not fit."""
    atoms = [int(np.count_nonzero(m)) for m in (reduced.a, reduced.b)]
    pairs = atoms[0] * atoms[1]
    if pairs > MOST_PAIRS:
        raise InvalidInputError(
            f"peer {peer} keeps dense matrices, here of {atoms[0]} x {atoms[1]} entries "
            f"({8 * pairs / 2**30:.3g} GiB each); at most {MOST_PAIRS} entries are allowed: use a "
            "coarser grid, or the peer ott"
        )


def atoms(masses: Array, axes: tuple[Array, ...]) -> tuple[Array, Array]:
    """Positive masses (n,) and their places (n, d), in C order of the cells."""
    kept = masses > 0
    return masses[kept], np.ascontiguousarray(coordinates(axes)[:, kept].T)


def on_cells(values: Array, masses: Array) -> Array:
    """Values at the atoms as an array over the cells, -inf elsewhere."""
    out = np.full(masses.shape, -np.inf)
    out[masses > 0] = values
    return out


def transport(
    peer: str, package: str, problem: Problem, request: Request, run: Callable[[Reduced], PeerRun]
) -> EntropicTransport:
    """Run a peer and read its plan off the scaling on the target's side."""
    # one more half sweep gives f in every cell, empty ones included, and the plan the source's
    # marginal: the error of the target's is what is reported
    reduced = Reduced.of(problem)
    found = run(reduced)
    plan = _PeerPlan(peer, reduced, found.logs, request.eps)
    error = plan.marginal_error
    runs, f, forward = [found], plan.f, plan.forward
    if request.debiased:
        itself = run(reduced.symmetric())
        own = _PeerPlan(peer, reduced.symmetric(), itself.logs, request.eps)
        runs.append(itself)
        error = max(error, own.marginal_error)
        f, forward = f - own.f, forward - own.forward + coordinates(reduced.x)
    back = Reduction(problem)
    stats = TransportReport(
        method=peer,
        peer=peer,
        eps=float(request.eps),
        tol=float(request.tol),
        debiased=request.debiased,
        marginal_error=error,
        dual=plan.dual(back),
        iterations=sum(r.iterations for r in runs),
        seconds=sum(r.seconds for r in runs),
        compile_seconds=sum(r.once for r in runs),
        versions={package: metadata.version(package)},
    )
    solution = EntropicSolution(
        request.eps,
        stats["dual"],
        back.kantorovich(plan.f),
        back.kantorovich(plan.g, "target"),
        back.image(forward),
        back.preimage(plan.backward),
    )
    status = Status.NARROW_KERNEL if request.eps < reduced.cell else Status.ENTROPIC
    if error > request.tol:
        status = Status.MAX_ITERATIONS
    return EntropicTransport(problem, None, solution, phi=mean_free(-f), status=status, stats=stats)


class _PeerPlan:
    """The plan a_i b_j exp((f_i + g_j - |x_i - y_j|^2/2)/eps) with the source's marginal right."""

    def __init__(self, peer: str, reduced: Reduced, logs: Array, eps: float) -> None:
        full = reduced.b > 0
        if np.isnan(logs).any() or not np.isfinite(logs[full]).all():
            raise ConvergenceError(
                f"peer {peer} returned potentials that are not finite: its kernel underflows at "
                f"eps = {eps:g}; take a larger eps"
            )
        kernel = SeparableKernel(reduced, eps)
        F, sums = _half_sweeps(kernel, reduced, logs)
        self.reduced = reduced
        self.marginal_error = float(np.abs(np.exp(logs + sums) - reduced.b).sum())
        self.f = eps * F
        # where there is no target the potential is what one more half sweep says
        self.g = eps * np.where(full, logs - np.log(np.where(full, reduced.b, 1.0)), -sums)
        self.forward = kernel.mean_on_source(logs)
        self.backward = kernel.mean_on_target(reduced.log_masses[0] + F)

    def dual(self, back: Reduction) -> float:
        """int f dmu + int g dnu of the cost |x - y|^2/2; the plan's mass is 1."""
        pair = back.kantorovich(self.f), back.kantorovich(self.g, "target")
        return float((self.reduced.a * pair[0]).sum() + (self.reduced.b * pair[1]).sum())


def marginal_error(reduced: Reduced, logs: Array, eps: float) -> float:
    """The target's L1 marginal error of a scaling, after a half sweep on the source's side."""
    sums = _half_sweeps(SeparableKernel(reduced, eps), reduced, logs)[1]
    return float(np.abs(np.exp(logs + sums) - reduced.b).sum())


def _half_sweeps(kernel: SeparableKernel, reduced: Reduced, logs: Array) -> tuple[Array, Array]:
    """F = f/eps, and log sum_i a_i exp(F_i - |x_i - y_j|^2/(2 eps))."""
    F = -kernel.to_source(logs)
    return F, kernel.to_target(reduced.log_masses[0] + F)
