"""Claims about rates: the spectral gap, its bounds, and Langevin's beside it."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import eigh_tridiagonal

from pma_grid.cases import bimodal, gaussian_pair
from pma_grid.claims.problems import SHARP, bumps, settled, sharp
from pma_grid.claims.result import Curve, Findings
from pma_grid.flow import theory
from pma_grid.flow.evolution import evolve
from pma_grid.flow.schedules import constant
from pma_grid.flow.stepping import TRBDF2, Scheme
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.problem import Problem
from pma_grid.runtime import Array


def spectral_gap(findings: Findings, quick: bool) -> None:
    """Decay of KL, mapped through the stability function, against the spectrum of our Jacobian."""
    runs: list[tuple[str, Problem, Array]] = []
    for dim, n in {1: 128, 2: 32 if quick else 64}.items():
        case = bimodal(dim)
        problem = case.problem((n,) * dim)
        runs.append((f"bimodal {dim}-D", problem, case.initial(problem.source.grid)))
        runs.append((f"bumps {dim}-D", *_asymmetric(bumps(dim, n))))
    if not quick:
        runs.append(("manufactured 3-D", *_asymmetric(bumps(3, 20))))
    curves = []
    for name, problem, start in runs:
        gap = float(theory.spectrum(settled(problem, 1e-10))[0])
        schemes: list[tuple[Scheme, float]] = [(sharp(), 0.05 / gap)]
        if not quick:
            schemes += [(sharp(), 0.5 / gap), (TRBDF2(**SHARP), 0.2 / gap)]
        for scheme, eta in schemes:
            pace = theory.decay_rate(scheme.name, gap, eta)
            flow = evolve(
                problem, schedule=constant(eta), scheme=scheme, time=20 / pace, initial=start,
                record=("kl", "mass_constant"),
            )  # fmt: skip
            # late, since the second mode of the bumps in 2-D decays only 1.18 times as fast
            measured = theory.fitted_rate(flow, "kl", span=(14 / pace, 20 / pace))
            findings.near(
                f"{name}, {scheme.name}, eta lambda = {eta * gap:.2g}: rate of KL", 2 * pace,
                measured, 0.02 * pace,
            )  # fmt: skip
        scaled = flow.times * pace
        curves.append(Curve(name, scaled[1:], np.maximum(flow["kl"][1:], 1e-24)))
    line = curves[0].y[-1] * np.exp(2 * (curves[0].x[-1] - curves[0].x))
    curves.append(Curve("the predicted rate", curves[0].x, line, "predicted"))
    label = "time x lambda, mapped through the stability function"
    findings.panel("decay", label, "KL(rho|mu)", curves, xscale="linear")


def _asymmetric(problem: Problem) -> tuple[Problem, Array]:
    """The problem with a start that no symmetry keeps out of the slowest mode."""
    x = problem.source.grid.coordinates()
    waves = sum((k + 1.0) * np.cos(np.pi * v) for k, v in enumerate(x))
    return problem, 0.5 * (x**2).sum(axis=0) + 0.02 * np.asarray(waves)


def gaussian_rates(findings: Findings, quick: bool) -> None:
    """Modal rates of Gaussians, and the condition number sqrt(kappa) against Langevin's kappa."""
    for dim in (1, 2):
        pair = gaussian_pair(dim)
        slowest = float(pair.rates()[0])
        eta = 0.1 / slowest
        flow = pair.mirror_flow(constant(eta), 240, scheme="implicit")
        predicted = 2 * theory.decay_rate("implicit_euler", slowest, eta)
        measured = theory.fitted_rate(flow, "kl", span=(16 / slowest, 24 / slowest))
        findings.near(f"{dim}-D closed form: rate of KL", predicted, measured, 0.01 * predicted)
    widths = (0.5, 1.0, 2.0)
    n = 192 if quick else 512
    ours, langevin = [], []
    for s in widths:
        problem = Problem(_density(Grid(n, -5 * s, 5 * s), s), _density(Grid(n, -5.0, 5.0), 1.0))
        ours.append(float(theory.spectrum(settled(problem, 1e-10))[0]))
        langevin.append(theory.langevin_gap(problem.source))
        findings.near(f"N(0, {s:g}^2): gap 1/s", 1 / s, ours[-1], 0.01 / s)
        findings.near(f"N(0, {s:g}^2): Langevin's gap 1/s^2", 1 / s**2, langevin[-1], 0.01 / s**2)
    kappa = (widths[-1] / widths[0]) ** 2
    findings.near("condition number, sqrt(kappa)", math.sqrt(kappa), ours[0] / ours[-1], 0.05)
    findings.near("Langevin's condition number, kappa", kappa, langevin[0] / langevin[-1], 0.3)
    x = np.array(widths)
    curves = (
        Curve("PMA", x, np.array(ours)), Curve("1/s", x, 1 / x, "predicted"),
        Curve("Langevin", x, np.array(langevin)), Curve("1/s^2", x, 1 / x**2, "predicted"),
    )  # fmt: skip
    findings.panel("N(0, s^2) to N(0, 1)", "s", "spectral gap", curves)


def _density(grid: Grid, width: float) -> Density:
    return Density.from_function(lambda x: np.exp(-0.5 * (x / width) ** 2), grid, quadrature=3)


def convex_bound(findings: Findings, quick: bool) -> None:
    """lambda_1 >= sqrt(a b) where D2f >= a and D2g >= b."""
    pairs = ((1.0, 1.0), (4.0, 1.0), (2.0, 3.0))
    x = np.array([math.sqrt(a * b) for a, b in pairs])
    curves = []
    for dim, n in ((1, 192), (2, 48)) if quick else ((1, 256), (2, 96)):
        gaps = []
        for a, b in pairs:
            grid = Grid((n,) * dim, -1.5, 1.5)
            problem = Problem(
                Density.from_log(lambda *x, a=a: -_quartic(a, *x), grid),
                Density.from_log(lambda *y, b=b: -_shifted(b, *y), grid),
            )
            gaps.append(float(theory.spectrum(settled(problem, 1e-7))[0]))
            findings.above(f"{dim}-D, a = {a:g}, b = {b:g}: gap", math.sqrt(a * b), gaps[-1])
        curves.append(Curve(f"{dim}-D", x, np.array(gaps)))
    gaussian = Problem(_density(Grid(192, -2.5, 2.5), 0.5), _density(Grid(192, -5.0, 5.0), 1.0))
    gap = float(theory.spectrum(settled(gaussian, 1e-9))[0])
    findings.near("Gaussians attain it: gap / sqrt(a b)", 1.0, gap / 2.0, 0.01)
    curves.append(Curve("sqrt(a b)", x, x, "predicted"))
    findings.panel("log-concave pairs", "sqrt(a b)", "gap", curves, "linear", "linear")


def _quartic(a: float, *x: Array) -> Array:
    """f with D2f >= a: a |x|^2 / 2 + sum x^4 / 4 and a convex mixed term."""
    total = sum(0.5 * a * v * v + 0.25 * v**4 for v in x)
    mixed = 0.02 * (x[0] + x[-1]) ** 4 if len(x) > 1 else 0.0
    return np.asarray(total + mixed)


def _shifted(b: float, *y: Array) -> Array:
    """g with D2g >= b, not even."""
    return np.asarray(sum(0.5 * b * (v - 0.3) ** 2 + 0.1 * v**4 for v in y))


def multimodal(findings: Findings, quick: bool) -> None:
    """Modes that move apart: the gap of PMA against Langevin's, both against 1-D formulas."""
    separations = (1.0, 1.5, 2.0)
    n = 160 if quick else 320
    ours, langevin, quantiles, resistances = [], [], [], []
    for s in separations:
        problem = bimodal(1, separation=s, radius=5.0).problem((n,))
        ours.append(float(theory.spectrum(settled(problem, 1e-9))[0]))
        langevin.append(theory.langevin_gap(problem.source))
        quantiles.append(_gap_by_quantiles(problem))
        resistances.append(_gap_by_resistances(problem.source))
        findings.near(f"s = {s:g}: PMA's gap", quantiles[-1], ours[-1], 0.005 * quantiles[-1])
        findings.near(
            f"s = {s:g}: Langevin's gap", resistances[-1], langevin[-1], 0.01 * resistances[-1]
        )
    gains = [a / b for a, b in zip(ours, langevin, strict=True)]
    findings.above("gain over Langevin: s = 2 over s = 1.5", 2.0, gains[2] / gains[1])
    findings.above("gain over Langevin: s = 1.5 over s = 1", 2.0, gains[1] / gains[0])
    if not quick:
        problem = bimodal(2).problem((64, 64))
        gap = float(theory.spectrum(settled(problem, 1e-9))[0])
        findings.above("2-D, s = 1.5: gain over Langevin", 4.0,
                       gap / theory.langevin_gap(problem.source))  # fmt: skip
    x = np.array(separations)
    findings.panel(
        "two modes at -s and s",
        "s / sigma",
        "spectral gap",
        (
            Curve("PMA", x / 0.6, np.array(ours)),
            Curve("PMA, by quantiles", x / 0.6, np.array(quantiles), "predicted"),
            Curve("Langevin", x / 0.6, np.array(langevin)),
            Curve("Langevin, by resistances", x / 0.6, np.array(resistances), "predicted"),
        ),
        xscale="linear",
    )


def _gap_by_quantiles(problem: Problem) -> float:
    """PMA's gap in 1-D, of -(nu(T) w')' = lambda mu w with T the monotone rearrangement."""
    mu, nu = problem.source, problem.target
    masses, (h,) = mu.values * mu.grid.cell_volume, mu.grid.spacing
    levels = np.concatenate([[0.0], np.cumsum(nu.values * nu.grid.cell_volume)])
    edges = np.interp(np.cumsum(masses)[:-1], levels, nu.grid.faces[0])
    return _gap_of_path(masses, np.interp(edges, nu.grid.axes[0], nu.values) / h)


def _gap_by_resistances(mu: Density) -> float:
    """Langevin's gap in 1-D, of -(mu w')' = lambda mu w with the resistance int dx/mu of edges."""
    (h,), inverse = mu.grid.spacing, 1.0 / mu.values
    return _gap_of_path(mu.values * h, 2.0 / (h * (inverse[1:] + inverse[:-1])))


def _gap_of_path(masses: Array, weights: Array) -> float:
    """Smallest nonzero eigenvalue of a path graph with masses and weights of edges."""
    diagonal = np.concatenate([weights, [0.0]]) + np.concatenate([[0.0], weights])
    roots = np.sqrt(masses)
    values = eigh_tridiagonal(
        diagonal / masses, -weights / (roots[1:] * roots[:-1]), select="i", select_range=(1, 1),
        eigvals_only=True,
    )  # fmt: skip
    return float(values[0])
