"""Claims about what never turns back: divergences, extremes of h, distances, Hessian bounds."""

from __future__ import annotations

import math

import numpy as np

from pma_grid.cases import gaussian_pair, gaussians
from pma_grid.claims.problems import SHARP, bumps, sharp
from pma_grid.claims.result import Curve, Findings
from pma_grid.flow import observables, theory
from pma_grid.flow.evolution import Side, evolve, iterate
from pma_grid.flow.flow import Flow
from pma_grid.flow.observables import CHEAP
from pma_grid.flow.schedules import adaptive, constant
from pma_grid.flow.state import State
from pma_grid.flow.stepping import TRBDF2, ImplicitEuler, linearised
from pma_grid.linsolve import AMG, LinearSolver
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Status

# Series that fall have the sign 1.
SIGNS = {"kl": 1.0, "reverse_kl": 1.0, "tv": 1.0, "chi2": 1.0, "max_h": 1.0, "min_h": -1.0}
# Rises smaller than this, relative to the size of the series at the start, are rounding.
RISE_ROUNDING = 1e-10
# In 3-D the superbases that a walk finds are local optima: h may depend on the way within this
# share of the mass constant, the size of its discretisation error.
WALK_SHARE = 1e-3
# Width of the bump between two flows, in sides of the box.
BUMP_WIDTH = 0.06
# Slack of the Hessian bounds, which Gaussians attain.
EIGENVALUE_SLACK = 0.01


def _worst_turn(flow: Flow) -> float:
    """The largest step in the wrong direction, over the series' first value (h: over its range)."""
    if flow.status is Status.STEP_FAILED:  # steps of any size can be made
        return math.inf
    span = float(flow["max_h"][0] - flow["min_h"][0])
    worst = 0.0
    for name, sign in SIGNS.items():
        size = span if name.endswith("_h") else float(flow[name][0])
        worst = max(worst, float((sign * np.diff(flow[name])).max()) / size)
    return worst


def variation(problem: Problem) -> float:
    """Half the largest change of log nu across the image of a cell, at the solution.

    Up to 1 the rows of the scheme with centred gradients have the signs of a monotone one, and the
    maximum principle is exact.
    """
    *_, state = iterate(problem, schedule=constant(1e3), steps=3)
    stencil = linearised(state)
    widths = np.diagonal(np.linalg.inv(stencil.tensor()), axis1=1, axis2=2)
    return float((0.5 * np.abs(stencil.drift) * widths).max())


def implicit_steps(findings: Findings, quick: bool) -> None:
    """Implicit Euler steps of any size, with both preconditioners, in every dimension."""
    sizes = {1: 128, 2: 32, 3: 10} if quick else {1: 256, 2: 64, 3: 20}
    etas = (1e-3, 1.0, 1e3) if quick else (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
    solvers: dict[str, LinearSolver | None] = {"multigrid": None, "AMG": AMG()}
    curves = []
    for dim, n in sizes.items():
        problem = bumps(dim, n)
        for name, solver in solvers.items():
            worst, allowed = [], RISE_ROUNDING
            for eta in etas:
                flow = evolve(problem, schedule=constant(eta), steps=6, scheme=sharp(solver),
                              record=CHEAP)  # fmt: skip
                worst.append(_worst_turn(flow))
            if dim == 3:
                allowed = WALK_SHARE * abs(float(flow["mass_constant"][-1]))
            findings.below(
                f"{dim}-D, {name}: rise of KL, TV, chi2, max h, fall of min h", allowed, max(worst)
            )
            if dim == 2:
                curves.append(Curve(name, np.array(etas), np.maximum(worst, 1e-17)))
        findings.below(f"{dim}-D: half the change of log nu over a cell", 1.0, variation(problem))
    floor = np.full(len(etas), RISE_ROUNDING)
    curves.append(Curve("counted as rounding", np.array(etas), floor, "floor"))
    findings.panel("implicit Euler, 2-D", "step size", "largest step backwards", curves)
    _wild(findings, 24 if quick else 48)


def _wild(findings: Findings, n: int) -> None:
    """Step sizes drawn between 1e-3 and 1e3, and the series that they give."""
    rng = np.random.default_rng(50231)
    steps = 10.0 ** rng.uniform(-3, 0, 12)
    flow = evolve(
        bumps(2, n), schedule=lambda k, t, r: float(steps[k]), steps=len(steps), scheme=sharp(),
        record=(*CHEAP, "bregman"),
    )  # fmt: skip
    findings.below("2-D, random step sizes: the same", RISE_ROUNDING, _worst_turn(flow))
    index = np.arange(len(flow.times), dtype=float)
    names = {"kl": "KL(rho|mu)", "reverse_kl": "KL(mu|rho)", "chi2": "chi2", "tv": "TV"}
    curves = [Curve(text, index, np.maximum(flow[name], 1e-24)) for name, text in names.items()]
    bound = theory.last_iterate_bound(flow)
    curves.append(Curve("bound of KL(rho|mu), D0 / W", index[1:], bound, "predicted"))
    findings.panel("random step sizes, 2-D", "step", "divergence", curves, xscale="linear")


def second_order_steps(findings: Findings, quick: bool) -> None:
    """TR-BDF2 with steps chosen for time accuracy."""
    sizes = {1: 96, 2: 32} if quick else {1: 256, 2: 64, 3: 16}
    curves = []
    for dim, n in sizes.items():
        flow = evolve(
            bumps(dim, n), schedule=adaptive(1e-2 if quick else 1e-3), time=0.3,
            scheme=TRBDF2(**SHARP), record=(*CHEAP, "bregman"),
        )  # fmt: skip
        findings.below(
            f"{dim}-D, adaptive TR-BDF2: rise of KL, TV, chi2, max h, fall of min h", 1e-8,
            _worst_turn(flow),
        )  # fmt: skip
        curves += [
            Curve(f"{dim}-D", flow.times[1:], flow["kl"][1:]),
            Curve(f"{dim}-D: D0 / t", flow.times[1:], theory.last_iterate_bound(flow), "predicted"),
        ]
    findings.panel("adaptive TR-BDF2", "time", "KL(rho|mu)", curves, xscale="linear")


def nonexpansive(findings: Findings, quick: bool) -> None:
    """Two flows of one problem: sup |u - v| does not rise, and their order is kept.

    They differ by a narrow bump, which a scheme that lets high frequencies ring does not bear.
    """
    curves = []
    for dim, n in ({1: 128, 2: 32} if quick else {1: 256, 2: 64, 3: 16}).items():
        problem = bumps(dim, n)
        x = problem.source.grid.coordinates()
        lower = 0.5 * (x**2).sum(axis=0)
        upper = lower + 0.5 * BUMP_WIDTH**2 * np.exp(
            -0.5 * ((x - 0.4) ** 2).sum(axis=0) / BUMP_WIDTH**2
        )
        runs = [[state.potential for state in _states(problem, start)] for start in (lower, upper)]
        gaps = np.array([np.abs(v - u).max() for u, v in zip(*runs, strict=True)])
        lowest = min(float((v - u).min()) for u, v in zip(*runs, strict=True))
        findings.below(f"{dim}-D: rise of sup |u - v|", 1e-12, float(np.diff(gaps).max()))
        findings.above(f"{dim}-D: smallest v - u where v_0 >= u_0", -1e-12, lowest)
        index = np.arange(len(gaps), dtype=float)
        curves += [
            Curve(f"{dim}-D", index, gaps),
            Curve(f"{dim}-D: bound", index, np.full_like(gaps, gaps[0]), "predicted"),
        ]
    findings.panel("two initial potentials", "step", "sup |u - v|", curves, xscale="linear")


def _states(problem: Problem, start: np.ndarray) -> list[State]:
    return list(iterate(problem, schedule=constant(0.02), steps=12, scheme=sharp(), initial=start))


def hessian(findings: Findings, quick: bool) -> None:
    """sqrt(alpha_f / L_g) <= eigenvalues of D2u_t <= sqrt(L_f / alpha_g), the start included.

    Within two standard deviations: the faces of a box are no part of the theorem.  In 1-D the flow
    of either side attains a bound.
    """
    sizes = {1: 128, 2: 32} if quick else {1: 256, 2: 64, 3: 24}
    runs: list[tuple[int, Side]] = [(1, "target"), *((dim, "source") for dim in sizes)]
    for dim, side in runs:
        pair = gaussian_pair(dim)
        curvatures = [_curvature(cov) for cov in (pair.source_cov, pair.target_cov)]
        ours, theirs = curvatures if side == "source" else curvatures[::-1]
        lower, upper = theory.hessian_bounds(
            (1.0, 1.0), source_curvature=ours, target_curvature=theirs
        )
        times, low, high = _extremes(dim, sizes[dim], side)
        name = f"{dim}-D Gaussians, {'D2u' if side == 'source' else 'D2u*'}"
        findings.above(f"{name}: smallest eigenvalue", lower, low.min(), slack=EIGENVALUE_SLACK)
        findings.below(f"{name}: largest eigenvalue", upper, high.max(), slack=EIGENVALUE_SLACK)
        if dim == 1:
            limit, last = (lower, low[-1]) if side == "source" else (upper, high[-1])
            findings.near(f"{name}: the bound is attained, ratio", 1.0, last / limit, 0.02)
        curves = []
        for values, bound, which in ((low, lower, "smallest"), (high, upper, "largest")):
            curves.append(Curve(which, times, values))
            bounds = np.full_like(values, bound)
            curves.append(Curve(f"bound of the {which}", times, bounds, "predicted"))
        findings.panel(name, "time", "eigenvalues", curves, xscale="linear")


def _extremes(dim: int, n: int, side: Side) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, smallest and largest eigenvalue of D2u or D2u* within two standard deviations."""
    case = gaussians(dim, radius=4.5)
    problem = case.problem((n,) * dim)
    assert case.where is not None
    inside = case.where(problem.source.grid).ravel()
    extremes = []
    for state in iterate(
        problem, schedule=constant(0.1), steps=20, scheme=ImplicitEuler(), side=side
    ):
        values = np.linalg.eigvalsh(observables.inverse_hessian(state)[inside])
        extremes.append((state.time, 1 / values.max(), 1 / values.min()))
    times, low, high = np.array(extremes).T
    return times, low, high


def _curvature(covariance: np.ndarray) -> tuple[float, float]:
    """Eigenvalues of the precision matrix, smallest and largest."""
    values = np.linalg.eigvalsh(np.linalg.inv(covariance))
    return float(values[0]), float(values[-1])
