"""Every claim holds, and none holds any more once the physics has a wrong sign or factor."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pma_grid import claims
from pma_grid.cases.convergence import bias, limit
from pma_grid.cases.oracles import GaussianPair, LaguerreScheme
from pma_grid.claims import Panel, limits
from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.equation.evaluation import Evaluation
from pma_grid.flow import observables, schedules, theory
from pma_grid.flow.entropic_operator import EntropicOperator
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.state import State
from pma_grid.flow.stepping import TRBDF2, ImplicitEuler, implicit
from pma_grid.flow.stepping.implicit import ImplicitScheme, ImplicitStage
from pma_grid.inference import integrals
from pma_grid.learning import steps
from pma_grid.linsolve import Stencil
from pma_grid.problem.problem import Problem
from pma_grid.sampling.sampler import Sampler

Plant = Callable[[pytest.MonkeyPatch], None]


# what is planted ---------------------------------------------------------------------------------


def scaled(owner: Any, name: str, factor: float) -> Plant:
    """A function or method of which everybody gets so many times the value."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = getattr(owner, name)
        patch.setattr(owner, name, lambda *args, **options: factor * right(*args, **options))

    return plant


def scaled_property(owner: type, name: str, factor: float) -> Plant:
    """The same for a cached property."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = vars(owner)[name].func
        patch.setattr(owner, name, property(lambda self: factor * right(self)))

    return plant


def equation(*, log_nu: float = 1.0, log_det: float = 1.0) -> Plant:
    """h = log_nu log nu(grad u) + log_det log det D2u - log mu, with its derivative."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = Evaluation.evaluate_log

        def wrong(self: Evaluation, phi: np.ndarray) -> np.ndarray:
            h = right(self, phi)
            nu, mu = (f.reshape(h.shape) for f in (self.log_target, self.equation.log_source))
            self.stencil.weights *= log_det
            self.stencil.drift *= log_nu
            return np.asarray(log_det * (h - nu + mu) + log_nu * nu - mu)

        patch.setattr(Evaluation, "evaluate_log", wrong)

    return plant


def stage_length(factor: float) -> Plant:
    """Implicit stages of a wrong length: v - factor beta h(v) = base."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = ImplicitScheme._solve

        def wrong(self: ImplicitScheme, stage: ImplicitStage, **options: Any) -> Any:
            return right(self, dataclasses.replace(stage, beta=factor * stage.beta), **options)

        patch.setattr(ImplicitScheme, "_solve", wrong)

    return plant


def trapezoidal_stages(patch: pytest.MonkeyPatch) -> None:
    """Crank-Nicolson for implicit Euler, the scheme whose stages start from a state."""
    right = ImplicitScheme._solve

    def wrong(self: ImplicitScheme, stage: ImplicitStage, *, convex: Any, **rest: Any) -> Any:
        if convex is stage.base:
            h = stage.operator.evaluate(stage.base, stage.time - stage.beta)
            half = 0.5 * stage.beta
            base = stage.base + half * (h - h.mean())
            stage = dataclasses.replace(stage, base=base, beta=half)
        return right(self, stage, convex=convex, **rest)

    patch.setattr(ImplicitScheme, "_solve", wrong)


def trapezoidal_steps(patch: pytest.MonkeyPatch) -> None:
    """Crank-Nicolson for TR-BDF2, whose steps then never look too long."""
    euler = ImplicitEuler.step

    def wrong(self: Any, state: State, step_size: float) -> State | None:
        half = 0.5 * step_size
        begun = dataclasses.replace(
            state, phi=state.phi + half * state.slope, time=state.time + half
        )
        new = euler(self, begun, half)
        if new is None:
            return None
        step = dataclasses.replace(
            new.step, size=step_size, phi=state.phi, slope=state.slope, error=0.0
        )
        return dataclasses.replace(new, step=step)

    patch.setattr(TRBDF2, "step", wrong)


def other_gamma(patch: pytest.MonkeyPatch) -> None:
    """TR-BDF2 with a gamma for which the BDF stage has another coefficient."""
    patch.setattr(implicit, "GAMMA", 0.5)


def kl_reversed(patch: pytest.MonkeyPatch) -> None:
    """KL(mu|rho) for KL(rho|mu)."""
    patch.setitem(observables.NAMED, "kl", observables.reverse_kl)
    patch.setattr(observables, "kl", observables.reverse_kl)


def gauge_reversed(patch: pytest.MonkeyPatch) -> None:
    """The constant of u runs the other way."""
    right = implicit.advance

    def wrong(state: State, size: float, *args: Any, offset: float, **options: Any) -> State:
        return right(state, size, *args, offset=2 * state.offset - offset, **options)

    patch.setattr(implicit, "advance", wrong)


def roles_kept(patch: pytest.MonkeyPatch) -> None:
    """The conjugate flow without its exchange of source and target."""
    patch.setattr(Problem, "swapped", lambda self: self)


def armijo_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The self-bounding schedule proposes long steps and accepts all."""
    right = schedules.SelfBounding.propose
    patch.setattr(schedules.SelfBounding, "propose", lambda self, state: 4 * right(self, state))
    patch.setattr(schedules.SelfBounding, "review", lambda self, state, trial: None)


def no_square_roots(patch: pytest.MonkeyPatch) -> None:
    """alpha_f / L_g and L_f / alpha_g as bounds of the Hessian."""

    def wrong(start: Any, *, source_curvature: Any, target_curvature: Any) -> tuple[float, float]:
        low, high = (
            source_curvature[0] / target_curvature[1],
            source_curvature[1] / target_curvature[0],
        )
        return min(start[0], low), max(start[1], high)

    patch.setattr(theory, "hessian_bounds", wrong)


def unmapped_rate(patch: pytest.MonkeyPatch) -> None:
    """The rate of the equation for that of the scheme."""
    patch.setattr(theory, "decay_rate", lambda scheme, rate, step_size: rate)


def kernel_width(factor: float) -> Plant:
    """Gibbs kernels of another eps than that of the iteration."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = SeparableKernel.__init__

        def wrong(self: Any, reduced: Any, eps: float, **options: Any) -> None:
            right(self, reduced, factor * eps, **options)

        patch.setattr(SeparableKernel, "__init__", wrong)

    return plant


def images_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The plain kernel in place of the reflecting one."""
    right = SeparableKernel.__init__

    def wrong(self: Any, reduced: Any, eps: float, *, reflect: bool = False, **rest: Any) -> None:
        right(self, reduced, eps, **rest)

    patch.setattr(SeparableKernel, "__init__", wrong)


def soft_gauge_halved(patch: pytest.MonkeyPatch) -> None:
    """Sweeps that move the constant of u by half as much."""
    right = EntropicOperator.step

    def wrong(self: Any, phi: np.ndarray) -> tuple[np.ndarray, float]:
        new, mean = right(self, phi)
        return new, 0.5 * mean

    patch.setattr(EntropicOperator, "step", wrong)


def weights_short(patch: pytest.MonkeyPatch) -> None:
    """1.95 u^(eps/2) - 0.95 u^eps for Richardson's extrapolation."""
    patch.setattr(limit, "extrapolated", lambda half, whole: 1.95 * half - 0.95 * whole)


def roles_exchanged(patch: pytest.MonkeyPatch) -> None:
    """The fixed point of the other side: g in place of f."""
    right = bias.sinkhorn

    def wrong(problem: Problem, eps: float, **options: Any) -> Any:
        return right(problem.swapped(), eps, **options)

    patch.setattr(bias, "sinkhorn", wrong)


def heavy_cells(patch: pytest.MonkeyPatch) -> None:
    """Cell masses of a log-density 1 % too large."""
    right = integrals.log_cell_masses
    patch.setattr(integrals, "log_cell_masses", lambda *args: right(*args) + 0.01)


def tails_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nothing beyond the box, and no error of it."""
    patch.setattr(integrals, "tail", lambda *args: integrals.Tail(0.0, 0.0))


def roles_of_errors_kept(patch: pytest.MonkeyPatch) -> None:
    """The errors of learned directions with the wrong sign."""
    right = steps._as_learned
    patch.setattr(
        steps, "_as_learned",
        lambda state, *, error, **rest: right(state, error=-error, **rest),
    )  # fmt: skip


def draws_moved(patch: pytest.MonkeyPatch) -> None:
    """The sampler's map off by a little."""
    right = Sampler.decode
    patch.setattr(Sampler, "decode", lambda self, y: right(self, y) + 0.25)


def likelihood_doubled(patch: pytest.MonkeyPatch) -> None:
    """log rho off by a twentieth."""
    right = Sampler.log_density
    patch.setattr(Sampler, "log_density", lambda self, x: 1.05 * right(self, x))


PLANTS: list[tuple[str, str, Plant]] = [
    ("order-in-time", "Crank-Nicolson for Euler", trapezoidal_stages),
    ("order-in-time", "gamma = 1/2", other_gamma),
    ("order-in-space", "1.02 log nu", equation(log_nu=1.02)),
    ("order-in-space", "1.02 log det", equation(log_det=1.02)),
    ("order-in-space", "stages 2% long", stage_length(1.02)),
    ("gaussians", "1.02 log nu", equation(log_nu=1.02)),
    ("gaussians", "stages 2% short", stage_length(0.98)),
    ("self-duality", "1.02 log nu", equation(log_nu=1.02)),
    ("self-duality", "roles not exchanged", roles_kept),
    ("agreement", "1.02 log nu", equation(log_nu=1.02)),
    ("agreement", "0.98 log det", equation(log_det=0.98)),
    ("evi", "1.02 D", scaled(ParabolicOperator, "divergence", 1.02)),
    ("evi", "S halved", scaled_property(State, "symmetrised_kl", 0.5)),
    ("evi", "1.02 log det", equation(log_det=1.02)),
    ("evi", "Crank-Nicolson for Euler", trapezoidal_stages),
    ("dissipation", "I doubled", scaled(Stencil, "energy", 2.0)),
    ("dissipation", "1.05 I", scaled(Stencil, "energy", 1.05)),
    ("dissipation", "KL reversed", kl_reversed),
    (
        "semidual-split",
        "int u* dnu reversed",
        scaled(ParabolicOperator, "conjugate_integral", -1.0),
    ),
    ("semidual-split", "gauge reversed", gauge_reversed),
    ("semidual-split", "KL reversed", kl_reversed),
    ("laguerre", "h reversed", scaled(LaguerreScheme, "log_ratio", -1.0)),
    ("laguerre", "1.02 D", scaled(LaguerreScheme, "divergence", 1.02)),
    ("laguerre", "1.02 log nu", equation(log_nu=1.02)),
    ("monotone", "Crank-Nicolson for Euler", trapezoidal_stages),
    ("monotone", "log nu reversed", equation(log_nu=-1.0)),
    ("monotone-second-order", "Crank-Nicolson for TR-BDF2", trapezoidal_steps),
    ("nonexpansive", "Crank-Nicolson for Euler", trapezoidal_stages),
    ("nonexpansive", "gauge reversed", gauge_reversed),
    ("hessian", "no square roots", no_square_roots),
    ("hessian", "1.02 log nu", equation(log_nu=1.02)),
    ("schedules", "1.02 D", scaled(GaussianPair, "divergence", 1.02)),
    ("schedules", "1.02 KL", scaled(GaussianPair, "kl", 1.02)),
    ("schedules", "Armijo's test left out", armijo_forgotten),
    ("regret", "1.02 D", scaled(ParabolicOperator, "divergence", 1.02)),
    ("regret", "S halved", scaled_property(State, "symmetrised_kl", 0.5)),
    ("regret", "stages 2% long", stage_length(1.02)),
    ("phases", "1.02 S", scaled_property(State, "symmetrised_kl", 1.02)),
    ("phases", "D halved", scaled(ParabolicOperator, "divergence", 0.5)),
    ("last-iterate", "D halved", scaled(ParabolicOperator, "divergence", 0.5)),
    ("last-iterate", "S halved", scaled_property(State, "symmetrised_kl", 0.5)),
    ("last-iterate", "Crank-Nicolson for Euler", trapezoidal_stages),
    ("spectral-gap", "1.05 lambda", scaled(theory, "spectrum", 1.05)),
    ("spectral-gap", "rate of the equation", unmapped_rate),
    ("spectral-gap", "stages 2% short", stage_length(0.98)),
    ("conditioning", "0.95 lambda", scaled(theory, "spectrum", 0.95)),
    ("conditioning", "1.05 Langevin", scaled(theory, "langevin_gap", 1.05)),
    ("convex-bound", "1.05 lambda", scaled(theory, "spectrum", 1.05)),
    ("multimodal", "1.05 lambda", scaled(theory, "spectrum", 1.05)),
    ("multimodal", "0.95 Langevin", scaled(theory, "langevin_gap", 0.95)),
    ("explicit-stability", "1.05 limit", scaled(limits, "stability_limit", 1.05)),
    ("explicit-stability", "0.95 limit", scaled(limits, "stability_limit", 0.95)),
    ("explicit-convexity", "1.05 limit", scaled(limits, "convexity_limit", 1.05)),
    ("explicit-convexity", "0.95 limit", scaled(limits, "convexity_limit", 0.95)),
    ("smoothed-direction", "1.02 D", scaled(ParabolicOperator, "divergence", 1.02)),
    ("smoothed-direction", "1.02 log det", equation(log_det=1.02)),
    ("sinkhorn-limit", "1.02 log nu", equation(log_nu=1.02)),
    ("sinkhorn-limit", "kernel 2% wide", kernel_width(1.02)),
    ("sinkhorn-limit", "gauge halved", soft_gauge_halved),
    ("sinkhorn-map", "images forgotten", images_forgotten),
    ("sinkhorn-map", "1.02 log nu", equation(log_nu=1.02)),
    ("sinkhorn-map", "1.01 E[y|x]", scaled(SeparableKernel, "mean_on_source", 1.01)),
    ("sinkhorn-richardson", "weights 1.95 and .95", weights_short),
    ("sinkhorn-richardson", "images forgotten", images_forgotten),
    ("sinkhorn-richardson", "1.002 log det", equation(log_det=1.002)),
    ("sinkhorn-saturation", "gauge halved", soft_gauge_halved),
    ("sinkhorn-saturation", "1.02 log nu", equation(log_nu=1.02)),
    ("sinkhorn-gaussians", "kernel 0.1% wide", kernel_width(1.001)),
    ("sinkhorn-gaussians", "gauge halved", soft_gauge_halved),
    ("sinkhorn-bias", "kernel 5% wide", kernel_width(1.05)),
    ("sinkhorn-bias", "-eps f", scaled(bias, "predicted_bias", 2.0)),
    ("sinkhorn-bias", "g for f", roles_exchanged),
    ("sinkhorn-mirror", "1.02 D", scaled(EntropicOperator, "divergence", 1.02)),
    ("sinkhorn-mirror", "S halved", scaled_property(State, "symmetrised_kl", 0.5)),
    (
        "sinkhorn-mirror",
        "int v dnu reversed",
        scaled(EntropicOperator, "conjugate_integral", -1.0),
    ),
    ("sinkhorn-mirror", "KL reversed", kl_reversed),
    ("generative-evidence", "cells 1% heavy", heavy_cells),
    ("generative-evidence", "tails left out", tails_forgotten),
    ("generative-bias", "0.9 S", scaled_property(State, "symmetrised_kl", 0.9)),
    ("generative-bias", "rho for mu in e", roles_of_errors_kept),
    ("generative-regret", "1.05 D", scaled(ParabolicOperator, "divergence", 1.05)),
    ("generative-regret", "steps 5% long", stage_length(1.05)),
    ("generative-sampler", "draws moved", draws_moved),
    ("generative-sampler", "1.05 log rho", likelihood_doubled),
]
CENTRAL = (
    "evi", "regret", "monotone", "spectral-gap", "order-in-time", "order-in-space", "dissipation",
    "last-iterate", *(name for name in claims.NAMES if name.startswith("sinkhorn-")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "plant"), [(c, p) for c, _, p in PLANTS], ids=[f"{c}: {t}" for c, t, _ in PLANTS]
)
def test_a_wrong_sign_or_factor_is_noticed(
    claim: str, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    result = claims.check(claim, quick=True)
    assert not result.holds, "the claim holds all the same: it is too weak"


def test_every_claim_is_put_to_the_test() -> None:
    planted = [claim for claim, _, _ in PLANTS]
    assert set(planted) == set(claims.NAMES)
    assert all(planted.count(claim) >= 2 for claim in CENTRAL)


# what holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", claims.NAMES)
def test_the_claim_holds(name: str) -> None:
    result = claims.check(name, quick=True)
    failing = [
        f"{check.quantity}: {check.measured:g} not in [{check.low:g}, {check.high:g}]"
        for check in result.checks
        if not check.holds
    ]
    assert result.holds, "; ".join(failing)
    assert (result.name, result.statement) == (name, claims.statement(name))
    assert len({check.quantity for check in result.checks}) == len(result.checks)
    assert all(math.isfinite(check.predicted) for check in result.checks)
    assert result.panels
    for panel in result.panels:
        _check_panel(panel)


def _check_panel(panel: Panel) -> None:
    """Measured beside predicted, all of it to be seen."""
    roles = {curve.role for curve in panel.curves}
    assert "measured" in roles, panel.title
    assert roles & {"predicted", "floor"}, f"{panel.title!r} shows no prediction and no floor"
    for curve in panel.curves:
        where = f"{panel.title}, {curve.label}"
        x, y = np.asarray(curve.x), np.asarray(curve.y)
        assert x.shape == y.shape == (x.size,) != (0,), where
        for values, scale in ((x, panel.xscale), (y, panel.yscale)):
            assert np.isfinite(values).all(), where
            assert scale == "linear" or (values > 0).all(), where
