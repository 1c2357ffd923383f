"""Claims about the numbers themselves: orders, duality, agreement with `solve`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pma_grid.cases import FlowCase, gaussians, manufactured_flow, poisson_kernel
from pma_grid.claims.problems import SHARP, bumps, order, settled, sharp, spacings
from pma_grid.claims.result import Curve, Findings, slope_line
from pma_grid.flow.evolution import evolve, iterate
from pma_grid.flow.observables import Observable
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.schedules import (
    Schedule,
    StateSchedule,
    adaptive,
    constant,
    polyak,
    residual_balanced,
)
from pma_grid.flow.state import State
from pma_grid.flow.stepping import TRBDF2, Explicit, Scheme
from pma_grid.problem.frame import split
from pma_grid.runtime import Array

# Distance of two potentials that counts as none, length^2.  In 3-D the superbases that a walk finds
# are local optima: solutions reached on different ways differ by a part of their grid's error.
SAME_POTENTIAL = {1: 1e-9, 2: 1e-9, 3: 1e-6}


def _last(case: FlowCase, n: int, scheme: Scheme, steps: int) -> State:
    """The flow of a case on n cells an axis at its end time."""
    problem = case.problem((n,) * case.dim)
    grid = problem.source.grid
    *_, last = iterate(
        problem, schedule=constant(case.time / steps), time=case.time, scheme=scheme,
        initial=case.initial(grid), forcing=case.forcing(grid) if case.forcing else None,
    )  # fmt: skip
    return last


def _errors(case: FlowCase, state: State) -> tuple[float, float]:
    """Half oscillation of u's error, and the largest error of grad u, where they mean something."""
    grid = state.operator.problem.source.grid
    x = grid.coordinates()
    where = case.where(grid) if case.where else np.ones(grid.shape, bool)
    assert case.potential is not None and case.gradient is not None
    potential = (state.potential - case.potential(*x, state.time))[where]
    gradient = np.abs(state.gradient - case.gradient(*x, state.time))[:, where]
    return 0.5 * float(np.ptp(potential)), float(gradient.max())


def order_in_time(findings: Findings, quick: bool) -> None:
    """Errors against the same grid's flow with tiny steps: the grid's own error cancels."""
    cases = [(poisson_kernel(1), 48), (manufactured_flow(2), 20), (manufactured_flow(3), 8)]
    counts = (8, 16, 32)
    for case, n in cases:
        curves = []
        fine = _last(case, n, TRBDF2(**SHARP), 128 if quick else 512)
        for scheme, expected, slack in (
            (sharp(), 1.0, 0.15), (TRBDF2(**SHARP), 2.0, 0.2),
        ):  # fmt: skip
            steps = [case.time / count for count in counts]
            errors = [
                0.5 * float(np.ptp(_last(case, n, scheme, count).phi - fine.phi))
                for count in counts
            ]
            findings.near(
                f"{case.name}, {scheme.name}: order in time", expected, order(steps, errors), slack
            )
            label = f"{scheme.name}: {order(steps, errors):.2f}"
            curve = Curve(label, np.array(steps), np.array(errors))
            curves += [curve, slope_line(curve, expected)]
        findings.panel(case.name, "step size", "error of u at the end", curves)


def order_in_space(findings: Findings, quick: bool) -> None:
    """Errors against the exact solutions with TR-BDF2 and steps proportional to the spacing."""
    cases = [
        (poisson_kernel(1), (32, 64, 128)),
        (manufactured_flow(2), (16, 32) if quick else (16, 32, 64)),
        (manufactured_flow(3), (8, 16) if quick else (12, 20, 32)),
    ]
    if not quick:
        cases += [(poisson_kernel(2), (16, 32, 64)), (poisson_kernel(3), (8, 16, 32))]
    curves = []
    for case, sizes in cases:
        errors = [_errors(case, _last(case, n, TRBDF2(), n // 2)) for n in sizes]
        h = spacings(sizes)
        # 8 cells an axis are too few for the order of the map
        for k, name in enumerate(("u", "grad u") if sizes[0] > 8 else ("u",)):
            slope = order(h, [e[k] for e in errors])
            findings.near(f"{case.name}: order in space of {name}", 2.0, slope, 0.25)
        curves.append(Curve(case.name, h, np.array([e[1] for e in errors])))
    curves.append(slope_line(curves[0], 2.0))
    findings.panel("exact solutions", "spacing", "largest error of grad u", curves)


def gaussian_flow(findings: Findings, quick: bool) -> None:
    """Gaussians with covariances that do not commute, within two standard deviations."""
    sizes = {1: (64, 128, 256), 2: (32, 64) if quick else (32, 64, 128), 3: (8, 16, 32)}
    # the differences are exact on quadratics: what is left is the time step and the tails
    bounds = {1: 3e-5, 2: 2e-2 if quick else 3e-4, 3: 1e-2}
    curves = []
    for dim in (1, 2) if quick else (1, 2, 3):
        case = gaussians(dim)
        errors = [_errors(case, _last(case, n, TRBDF2(), n // 2))[1] for n in sizes[dim]]
        h = spacings(sizes[dim])
        findings.above(f"{case.name}: order of grad u, at least", 1.5, order(h, errors))
        findings.below(f"{case.name}: error of grad u on the finest grid", bounds[dim], errors[-1])
        curves.append(Curve(case.name, h, np.array(errors)))
    curves.append(slope_line(curves[0], 2.0))
    findings.panel("Gaussian to Gaussian", "spacing", "error of grad u within 2 sigma", curves)


def self_duality(findings: Findings, quick: bool) -> None:
    """(u_t)* against psi_t, which solves the equation with the roles exchanged."""
    cases = [(1, (64, 128, 256)), (2, (32, 64) if quick else (32, 64, 128))]
    curves = []
    for dim, sizes in cases:
        gaps = []
        for n in sizes:
            problem = bumps(dim, n)
            options: dict[str, Any] = {
                "schedule": constant(1.6 / n), "time": 0.1, "scheme": TRBDF2(), "record": ()
            }  # fmt: skip
            primal = evolve(problem, **options)
            dual = evolve(problem, side="target", **options)
            operator = ParabolicOperator(problem)
            psi, _ = operator.conjugate(*split(problem, primal.potential))
            other, _ = split(problem.swapped(), dual.potential)
            gaps.append(0.5 * float(np.ptp(psi - other)))
        h = spacings(sizes)
        findings.near(f"{dim}-D: order of (u_t)* - psi_t", 2.0, order(h, gaps), 0.35)
        curves.append(Curve(f"{dim}-D", h, np.array(gaps)))
    curves.append(slope_line(curves[0], 2.0))
    findings.panel("conjugate flow", "spacing", "half oscillation of (u_t)* - psi_t", curves)


def agreement(findings: Findings, quick: bool) -> None:
    """Flows of every kind end at the potential that `solve` finds."""
    runs: dict[str, tuple[Schedule | StateSchedule, Scheme]] = {
        "implicit Euler, eta = 0.1": (constant(0.1), sharp()),
        "residual-balanced steps": (residual_balanced(0.01, 1e4), sharp()),
        "Polyak steps": (polyak(), sharp()),
        "adaptive TR-BDF2": (adaptive(1e-3), TRBDF2(**SHARP)),
    }
    sizes = {1: 64, 2: 32} if quick else {1: 64, 2: 64, 3: 16}
    curves = []
    for dim, n in sizes.items():
        problem = bumps(dim, n)
        distance = _distance(settled(problem, 1e-11).phi)
        for name, (schedule, scheme) in runs.items():
            flow = evolve(
                problem, schedule=schedule, scheme=scheme, steps=500, tol=1e-11, record=(distance,)
            )
            gaps = flow["distance"]
            findings.below(f"{dim}-D, {name}: distance to solve", SAME_POTENTIAL[dim], gaps[-1])
            if dim == 2:
                curves.append(Curve(name, flow.times[1:], np.maximum(gaps[1:], 1e-18)))
                longest = np.array([curves[0].x[0], max(c.x[-1] for c in curves)])
    if not quick:
        problem = bumps(1, 32)
        flow = evolve(
            problem, schedule=constant(1.0), scheme=Explicit(cap="stability"), steps=20_000,
            tol=1e-9, record=(),
        )  # fmt: skip
        gap = 0.5 * float(np.ptp(flow.transport.phi - settled(problem, 1e-11).phi))
        findings.below("1-D, explicit steps: distance to solve", 1e-8, gap)
    curves.append(Curve("counted as none", longest, np.full(2, SAME_POTENTIAL[2]), "floor"))
    findings.panel("2-D", "time", "distance to solve", curves)


def _distance(exact: Array) -> Observable:
    """Half the oscillation of phi - exact."""

    def distance(state: State) -> float:
        """The sup norm up to a constant, length^2."""
        return 0.5 * float(np.ptp(state.phi - exact))

    return distance
