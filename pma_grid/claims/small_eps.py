"""Claims about the limit of small eps: Sinkhorn's iterates at k = t / eps against the flow at t."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pma_grid.cases import gaussian_mixtures, manufactured
from pma_grid.cases.convergence import SmallEps, reference, small_eps
from pma_grid.cases.convergence.references import FINER
from pma_grid.claims.problems import bumps, gentle, halved
from pma_grid.claims.result import Curve, Findings, slope_line
from pma_grid.entropic.solving import Kernel
from pma_grid.problem.problem import Problem

KERNELS: tuple[Kernel, ...] = ("plain", "reflect")
# While the flow still moves: KL(rho|mu) is down to 5 %, 3 % and 1 % of its start.
MOVING_TIMES = (0.02, 0.04, 0.08)
# The flow's own error may be this share of the smallest error that is measured against it.
FLOOR_SHARE = {"limit": 0.1, "richardson": 0.25}
# From the first of these times on nothing may grow; the flow has ended long before the last.
LONG_TIMES = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56)
MIDDLE_TIME = 0.16


def _pair(name: str, n: int) -> tuple[Problem, Problem]:
    """A problem on n cells an axis, and on three times as many for the flow."""
    makers = {
        "bumps": lambda size: bumps(1, size),
        "mixtures": lambda size: gaussian_mixtures().problem((size, size)),
        "gentle": lambda size: gentle(1, size),
        "gentle 2-D": lambda size: gentle(2, size),
        "cosines": lambda size: manufactured(1).problem((size,)),
    }
    return makers[name](n), makers[name](FINER * n)


def _studies(
    name: str, n: int, eps: Sequence[float], times: Sequence[float], steps: int,
    kernels: tuple[Kernel, ...] = KERNELS,
) -> dict[Kernel, SmallEps]:  # fmt: skip
    """The study of a problem with each kernel, against one run of the flow."""
    problem, finer = _pair(name, n)
    against = reference(problem, times, finer=finer, steps=steps)
    return {k: small_eps(problem, eps, times, kernel=k, against=against) for k in kernels}


def _slope_line(study: SmallEps, name: str, slope: float, time: float) -> Curve:
    """A line of that slope, a little above the last error."""
    errors = _curve("errors", study, name, time)
    return slope_line(errors.x, errors.y, slope)


def _curve(label: str, study: SmallEps, name: str, time: float) -> Curve:
    errors = study.errors(name, time)
    good = np.isfinite(errors)
    return Curve(label, np.array(study.eps)[good], errors[good])


def limit(findings: Findings, quick: bool) -> None:
    """Sup error of u, its constant included, on bumps (1-D) and Gaussian mixtures (2-D)."""
    runs = [
        ("bumps", 256, halved(0.005, 4), 32),
        ("mixtures", 48, halved(0.01, 4), 6) if quick else ("mixtures", 80, halved(0.005, 4), 12),
    ]
    for name, n, eps, steps in runs:
        studies = _studies(name, n, eps, MOVING_TIMES, steps)
        curves = []
        for kernel, study in studies.items():
            for time in MOVING_TIMES:
                findings.near(
                    f"{name}, {kernel} kernel, t = {time:g}: slope of sup |u^eps - u_t|", 1.0,
                    study.slope("u_max", time), 0.1,
                )  # fmt: skip
            curves.append(_curve(f"{kernel} kernel", study, "u_max", MOVING_TIMES[1]))
        study = studies["reflect"]
        findings.below(f"{name}: h / sqrt(smallest eps)", 1.0, study.resolution)
        least = min(float(study.errors("u_max", t)[-1]) for t in MOVING_TIMES)
        findings.below(
            f"{name}: the flow's own error over the smallest measured", FLOOR_SHARE["limit"],
            study.floor / least,
        )  # fmt: skip
        curves.append(_slope_line(study, "u_max", 1.0, MOVING_TIMES[1]))
        findings.panel(f"{name}, t = {MOVING_TIMES[1]:g}", "eps", "sup error of u", curves)


def map_error(findings: Findings, quick: bool) -> None:
    """Sup error of E[y | x] against grad u_t: at the faces the plain kernel sees half a plan.

    The cell next to a face lies h/2 from it, so that the plain kernel's slope needs h << sqrt(eps).
    """
    runs = [("bumps", 384 if quick else 512, halved(0.00125, 4), halved(0.00125, 4), 16)]
    if not quick:
        runs.append(("mixtures", 96, halved(0.005, 4), halved(0.02, 4), 10))
    times = (0.04, 0.08)
    for name, n, small, large, steps in runs:
        problem, finer = _pair(name, n)
        against = reference(problem, times, finer=finer, steps=steps)
        studies = {
            kernel: small_eps(problem, small, times, kernel=kernel, against=against)
            for kernel in KERNELS
        }
        wide = studies["plain"]
        if large != small:
            wide = small_eps(problem, large, times, kernel="plain", against=against)
        for time in times:
            where = f"{name}, t = {time:g}"
            for kernel, study in studies.items():
                findings.near(f"{where}, {kernel} kernel: slope of the map's error inside", 1.0,
                              study.slope("map_interior", time), 0.1)  # fmt: skip
            findings.near(f"{where}, reflecting kernel: slope up to the faces", 1.0,
                          studies["reflect"].slope("map_max", time), 0.1)  # fmt: skip
            findings.near(f"{where}, plain kernel: slope at the faces", 0.5,
                          wide.slope("map_max", time), 0.1)  # fmt: skip
        curves = [
            _curve("plain, up to the faces", wide, "map_max", times[0]),
            _slope_line(wide, "map_max", 0.5, times[0]),
            _curve("reflecting, up to the faces", studies["reflect"], "map_max", times[0]),
            _curve("plain, inside", studies["plain"], "map_interior", times[0]),
            _slope_line(studies["reflect"], "map_max", 1.0, times[0]),
        ]
        findings.panel(f"{name}, t = {times[0]:g}", "eps", "sup error of the map", curves)


def richardson(findings: Findings, quick: bool) -> None:
    """2 u^{eps/2} - u^eps with the reflecting kernel: order 2 inside, 3/2 at faces with slopes.

    Log densities without slope at the faces continue evenly across them: there order 2 is kept.
    """
    inside, faces = "richardson_interior", "richardson_max"
    fine, wide, steps_wide = (256, 64, 8) if quick else (384, 96, 12)
    runs = [
        ("gentle", 256, halved(0.01, 5), 32, 2.0, inside, "inside"),
        ("gentle 2-D", wide, halved(0.02, 5), steps_wide, 2.0, inside, "inside"),
        ("cosines", fine, halved(0.01, 5), 32, 2.0, faces, "up to faces without slope"),
        ("gentle", 256, halved(0.01, 5), 32, 1.5, faces, "up to faces with slopes"),
    ]
    times = (0.04, 0.08) if quick else (0.04, 0.08, 0.16)
    for name, n, eps, steps, predicted, column, where in runs:
        study = _studies(name, n, eps, times, steps, ("reflect",))["reflect"]
        for time in times:
            findings.near(f"{name}, {where}, t = {time:g}: slope of 2 u^(eps/2) - u^eps", predicted,
                          study.slope(column, time), 0.2)  # fmt: skip
        findings.below(f"{name}, {where}: h / sqrt(smallest eps)", 0.5, study.resolution)
        least = min(float(study.errors(column, t)[-1]) for t in times)
        floor = study.floor_interior if column == inside else study.floor
        findings.below(f"{name}, {where}: the flow's own error over the smallest measured",
                       FLOOR_SHARE["richardson"], floor / least)  # fmt: skip
        curves = (
            _curve("Sinkhorn", study, column.replace("richardson", "u"), times[0]),
            _curve("extrapolated", study, column, times[0]),
            _slope_line(study, column, predicted, times[0]),
        )
        findings.panel(f"{name}, {where}", "eps", "error of u", curves)


def saturation(findings: Findings, quick: bool) -> None:
    """sup |u^eps - u_t| / eps up to t = 2.56: neither growth in t nor a factor log(1/eps).

    With C t eps it would grow 16-fold from the middle to the end, with eps log(1/eps) by 1.12 from
    the last eps but one to the last.
    """
    runs = [("bumps", 256, halved(0.005, 3), 16)]
    if not quick:
        runs.append(("mixtures", 64, halved(0.005, 3), 10))
    for name, n, eps, steps in runs:
        curves = []
        for kernel, study in _studies(name, n, eps, LONG_TIMES, steps).items():
            ratios = study.ratios("u_max")
            middle, growth = ratios[-1, LONG_TIMES.index(MIDDLE_TIME)], np.max(ratios, axis=1)
            findings.below(
                f"{name}, {kernel} kernel: error/eps at t = {LONG_TIMES[-1]:g} over "
                f"t = {MIDDLE_TIME:g}", 1.0, ratios[-1, -1] / middle, slack=0.05,
            )  # fmt: skip
            findings.near(f"{name}, {kernel} kernel: largest error/eps, last over previous eps",
                          1.0, growth[-1] / growth[-2], 0.05)  # fmt: skip
            curves += [
                Curve(f"{kernel}, eps = {value:.3g}", np.array(LONG_TIMES), ratios[k])
                for k, value in enumerate(eps) if k in (0, len(eps) - 1)
            ]  # fmt: skip
            late = np.array(LONG_TIMES[LONG_TIMES.index(MIDDLE_TIME) :])
            curves.append(Curve(f"{kernel}: no growth", late, np.full(late.size, middle),
                                "predicted"))  # fmt: skip
        findings.panel(name, "t", "sup |u^eps - u_t| / eps", curves, yscale="linear")
