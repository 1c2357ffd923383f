"""The list of claims: name, statement, and the function that checks it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pma_grid.claims import (
    entropic,
    generative,
    identities,
    limits,
    monotone,
    regrets,
    small_eps,
    smoothed,
    solutions,
    spectra,
)
from pma_grid.claims.result import ClaimResult, Findings
from pma_grid.runtime.errors import InvalidInputError


@dataclass(frozen=True)
class Claim:
    """A statement and ``run(findings, quick)``, which adds checks and panels."""

    name: str
    statement: str
    run: Callable[[Findings, bool], None]


_CLAIMS = (
    Claim(
        "order-in-time",
        "Implicit Euler is of order 1 in time and TR-BDF2 of order 2.",
        solutions.order_in_time,
    ),
    Claim(
        "order-in-space",
        "The flow is of order 2 in space against exact solutions with true mixed derivatives.",
        solutions.order_in_space,
    ),
    Claim(
        "gaussians",
        "Gaussians whose covariances do not commute follow the matrix Riccati flow.",
        solutions.gaussian_flow,
    ),
    Claim(
        "self-duality",
        "The conjugate of the flow solves the same equation with source and target exchanged.",
        solutions.self_duality,
    ),
    Claim(
        "agreement",
        "Flows of every scheme and schedule end at the Brenier potential that solve finds.",
        solutions.agreement,
    ),
    Claim(
        "evi",
        "Mirror steps satisfy the discrete evolution variational identity, to order 2 on grids.",
        identities.evi,
    ),
    Claim(
        "dissipation",
        "KL(rho|mu) falls at the rate I, the squared gradient of h in the metric of the Hessian.",
        identities.dissipation,
    ),
    Claim(
        "semidual-split",
        "int u* dnu falls at the rate KL(rho|mu): the half of the semidual that is not algebra.",
        identities.semidual_split,
    ),
    Claim(
        "laguerre",
        "With exact Laguerre cells the identities hold to rounding; our pullback is of order 2.",
        identities.laguerre,
    ),
    Claim(
        "monotone",
        "Implicit Euler steps of any size lower KL both ways, TV, chi2, max h, and raise min h.",
        monotone.implicit_steps,
    ),
    Claim(
        "monotone-second-order",
        "TR-BDF2 does so too with steps chosen for time accuracy.",
        monotone.second_order_steps,
    ),
    Claim(
        "nonexpansive",
        "Two flows do not move apart in the sup norm, and keep their order.",
        monotone.nonexpansive,
    ),
    Claim(
        "hessian",
        "The Hessian stays between sqrt(alpha_f/L_g) and sqrt(L_f/alpha_g), the start included.",
        monotone.hessian,
    ),
    Claim(
        "schedules",
        "Explicit mirror steps on Gaussians meet the regret bound of every schedule.",
        regrets.gaussian_schedules,
    ),
    Claim(
        "regret",
        "Implicit steps under every schedule: sum eta S = D_0 - D_K - sum D, avg S <= D_0/W.",
        regrets.regret_on_grids,
    ),
    Claim(
        "phases",
        "The regret bound is at work while D_K > 0.1 D_0; afterwards avg S falls like 1/W.",
        regrets.phases,
    ),
    Claim(
        "last-iterate",
        "The last implicit iterate satisfies KL(rho_K|mu) <= D_0/W_K for steps of any size.",
        regrets.last_iterate,
    ),
    Claim(
        "spectral-gap",
        "KL decays at twice the spectral gap, mapped through the scheme's stability function.",
        spectra.spectral_gap,
    ),
    Claim(
        "conditioning",
        "The rate to N(0, I) is 1/s where Langevin's is 1/s^2: sqrt(kappa) against kappa.",
        spectra.gaussian_rates,
    ),
    Claim(
        "convex-bound",
        "The gap is at least sqrt(a b) where D2f >= a and D2g >= b.",
        spectra.convex_bound,
    ),
    Claim(
        "multimodal",
        "For modes that move apart the gap closes much more slowly than Langevin's.",
        spectra.multimodal,
    ),
    Claim(
        "explicit-stability",
        "Explicit steps are stable below 2/lambda_max(-L), and unstable above.",
        limits.stability,
    ),
    Claim(
        "explicit-convexity",
        "An explicit step keeps u convex below eta_max and loses convexity above, reported.",
        limits.convexity,
    ),
    Claim(
        "smoothed-direction",
        "Along a smoothed direction explicit steps have a stability limit that no grid lowers.",
        smoothed.smoothed_steps,
    ),
    Claim(
        "sinkhorn-limit",
        "Sinkhorn's iterates at k = t/eps are within O(eps) of the flow at t, up to the faces.",
        small_eps.limit,
    ),
    Claim(
        "sinkhorn-map",
        "The map is within O(eps), up to the faces with reflection; else within sqrt(eps) there.",
        small_eps.map_error,
    ),
    Claim(
        "sinkhorn-richardson",
        "Away from the faces 2 u^(eps/2) - u^eps follows the flow to second order in eps.",
        small_eps.richardson,
    ),
    Claim(
        "sinkhorn-saturation",
        "The distance to the flow stays O(eps) for all times: no growth in t, no log(1/eps).",
        small_eps.saturation,
    ),
    Claim(
        "sinkhorn-gaussians",
        "Sinkhorn on a grid follows the Gaussian iterates of variances increased by h^2/12.",
        entropic.gaussian_iterates,
    ),
    Claim(
        "sinkhorn-bias",
        "Sinkhorn's fixed point is the Brenier potential less (eps/2) f, up to O(eps^2).",
        entropic.bias,
    ),
    Claim(
        "sinkhorn-mirror",
        "A sweep is an explicit mirror step: EVI and regret identity to rounding, and KL falls.",
        entropic.mirror,
    ),
    Claim(
        "generative-evidence",
        "KL bounds bracket log Z all along the flow; the stated error of log Z holds the true one.",
        generative.evidence,
    ),
    Claim(
        "generative-bias",
        "Learned steps come to rest at a floor: S = <e, mu - rho>, at most osc(e) TV.",
        generative.bias,
    ),
    Claim(
        "generative-regret",
        "Learned directions have no regret, towards the truth and the points, on any schedule.",
        generative.regret,
    ),
    Claim(
        "generative-sampler",
        "The Brenier map takes the base law to the data: draws cannot be told from the law's own.",
        generative.sampler,
    ),
)
_BY_NAME = {claim.name: claim for claim in _CLAIMS}
NAMES = tuple(_BY_NAME)


def _find(name: str) -> Claim:
    if name not in _BY_NAME:
        raise InvalidInputError(f"claim {name!r} does not exist; the claims are {', '.join(NAMES)}")
    return _BY_NAME[name]


def statement(name: str) -> str:
    """The claim in one sentence.

    Raises
    ------
    InvalidInputError
        The name does not exist.
    """
    return _find(name).statement


def check(name: str, *, quick: bool = False) -> ClaimResult:
    """Measure what a claim predicts; ``quick`` takes small grids.

    Raises
    ------
    InvalidInputError
        The name does not exist.
    """
    claim = _find(name)
    began = time.perf_counter()
    findings = Findings()
    claim.run(findings, quick)
    return ClaimResult(
        claim.name, claim.statement, tuple(findings.checks), tuple(findings.panels),
        time.perf_counter() - began,
    )  # fmt: skip
