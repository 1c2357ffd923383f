"""`TransportReport`: what `solve`, `sinkhorn` and peers say of how they found a transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pma_grid.runtime import Report


@dataclass(eq=False)
class TransportReport(Report):
    """The ``stats`` of a `Transport`: what it took to find it, and how well it holds.

    Fields that do not apply to a method are None, and not in the mapping.  Lists and dicts hold
    plain numbers and words, for JSON.

    Attributes
    ----------
    method : str
        Of entropic plans: "dense", "multiscale", or the name of a peer.
    tol : float
        What was asked for: the rms residual, of entropic plans the L1 error of the marginals.
    iterations : int
        Newton steps on all grids; of entropic plans, iterations on the finest grid.
    levels : list of dict
        Of every grid (and eps) on the way, coarsest first: ``shape``, iterations, error, seconds.
    history : list
        A `Record` of each Newton step as a dict; of entropic plans the marginal error after each
        iteration.
    seconds, compile_seconds : float
        Wall time without compiling or loading kernels, and that.
    threads : int
    versions : dict
        Of Python and of the packages that the numbers depend on.
    floors : dict
        For "source" and "target": ``relative`` floor, ``cells`` raised to it, ``mass_added``.
    candidates : list of dict
        What `solve` tried: ``name``, ``status``, ``dual`` (lower bound of W2^2 of the atoms, or
        None where nothing was compared).
    assessment : dict
        What `assess` found, once it was asked.
    residual : float
        rms residual of the equation at the end, dimensionless.
    mass_constant : float
        alpha, dimensionless.
    averaged : bool
        Whether the target was averaged over the image of any cell.
    linear_iterations : int
        On all grids.
    linear_solver : list of str
        Those used on the finest grid.
    newton : dict
        Where `solve` returns a plan: ``iterations``, ``linear_iterations``, ``levels`` and
        ``history`` of Newton's method.
    eps : float
        length^2; see `sinkhorn`.
    cell, eps_over_h2 : float
        Squared spacing h^2, length^2, and eps in units of it.
    map : str
        "barycentric" or "debiased".
    primal, dual : float
        Values of the entropic problem, length^2, for the cost |x - y|^2/2 (reflecting: -eps log of
        the kernel's sum over images).
    transport_cost : float
        E|x - y|^2 under the plan, length^2.
    marginal_error : float
        L1 error of the marginals, their sum.
    marginal_errors : dict
        Of "source" and "target".
    omega : float
        Dense: relaxation factor at the end.
    divergence : float
        Debiased: the Sinkhorn divergence, dual - (self_costs[0] + self_costs[1])/2, length^2.
    self_costs : list of float
        Debiased: dual values of source and target to themselves, length^2.
    self_errors : dict
        Debiased: marginal errors of these.
    entries : int
        Multiscale: of the plan.
    hard_dual : float
        Lower bound of the W2^2 between the atoms at the cell centres, length^2.
    hard_dual_other : float
        Multiscale: the bound from the other side, for control.
    peer : str
        The package that made the plan.
    debiased : bool
        Peers: whether self-transports were taken out of the potential.
    """

    method: str | None = None
    tol: float | None = None
    iterations: int | None = None
    levels: list[dict[str, Any]] | None = None
    history: list[Any] | None = None
    seconds: float | None = None
    compile_seconds: float | None = None
    threads: int | None = None
    versions: dict[str, str] | None = None
    floors: dict[str, dict[str, float]] | None = None
    candidates: list[dict[str, Any]] | None = None
    assessment: dict[str, Any] | None = None
    residual: float | None = None
    mass_constant: float | None = None
    averaged: bool | None = None
    linear_iterations: int | None = None
    linear_solver: list[str] | None = None
    newton: dict[str, Any] | None = None
    eps: float | None = None
    cell: float | None = None
    eps_over_h2: float | None = None
    map: str | None = None
    primal: float | None = None
    dual: float | None = None
    transport_cost: float | None = None
    marginal_error: float | None = None
    marginal_errors: dict[str, float] | None = None
    omega: float | None = None
    divergence: float | None = None
    self_costs: list[float] | None = None
    self_errors: dict[str, float] | None = None
    entries: int | None = None
    hard_dual: float | None = None
    hard_dual_other: float | None = None
    peer: str | None = None
    debiased: bool | None = None
