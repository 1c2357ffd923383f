"""Mirror steps along learned directions: against exact ones, and the identities of their regret."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import pma_grid as pma
from pma_grid.flow.beginning import begin
from pma_grid.flow.evolution import stationary_phi
from pma_grid.flow.marching import Ends, gather, march
from pma_grid.flow.observables import resolve
from pma_grid.flow.recording import Recorder
from pma_grid.learning import observations
from pma_grid.learning.regret import learned_regret
from pma_grid.learning.steps import LearnedExplicit, LearnedImplicit, LearnedState, towards
from pma_grid.runtime.arrays import Array


@dataclass
class Smoothed:
    """log of the points' law, smoothed: counts how often it is asked."""

    width: float = 0.04
    asked: list[Array] = field(default_factory=list)

    def learn(self, masses: Array, rho: Array, grid: pma.Grid, start: Array | None = None) -> Array:
        self.asked.append(rho)
        smooth = ndimage.gaussian_filter(
            masses, [self.width * n for n in grid.shape], mode="reflect"
        )
        return np.asarray(np.log(smooth + 1e-4 / masses.size))


@dataclass(frozen=True)
class Exact:
    """The truth itself."""

    values: Array

    def learn(self, masses: Array, rho: Array, grid: pma.Grid, start: Array | None = None) -> Array:
        return np.asarray(np.log(self.values))


def truth(n: int, dim: int = 2) -> pma.Density:
    def bumps(*x: Array) -> Array:
        first = sum((c - 0.3) ** 2 for c in x)
        second = sum((c - 0.7) ** 2 for c in x)
        return np.asarray(0.1 + np.exp(-first / 0.03) + 0.7 * np.exp(-second / 0.02))

    return pma.Density.from_function(bumps, pma.Grid((n,) * dim))


def shares(law: pma.Density, count: int = 4000) -> Array:
    return pma.Samples(law.sample(count, 0), grid=law.grid).masses()


def run(
    law: pma.Density, make: Any, steps: int = 15, step_size: float = 0.01, record: Any = ()
) -> tuple[pma.Flow, Any]:
    problem = pma.Problem(law, np.ones(law.shape))
    state = begin(problem, None, "source", None)
    masses = shares(law)
    scheme = make(masses)
    functions = [
        "symmetrised_kl", "kl", "bregman", "forward_divergence", "backward_divergence",
        observations.learned_error, observations.learned_bias, observations.learned_bias_bound,
        observations.learned_regret, observations.empirical_regret(masses),
        observations.semidual_fall(masses, state.phi), *record,
    ]  # fmt: skip
    schedule = pma.schedules.constant(step_size)
    recorder = Recorder(
        problem, scheme, schedule, record=resolve(functions), stationary=stationary_phi
    )
    ends = Ends(steps)
    flow = gather(
        march(state, scheme, schedule, ends), recorder, ends, met=lambda _: pma.Status.COMPLETED
    )
    return flow, recorder.state


@pytest.mark.parametrize("dim, n", [(1, 64), (2, 24), (3, 8)])
def test_exact_direction_gives_the_exact_flow(dim: int, n: int) -> None:
    law = truth(n, dim)
    sharp = pma.ImplicitEuler(rtol=1e-9)
    flow, last = run(law, lambda m: LearnedImplicit(Exact(law.values), m, solver=sharp), steps=6)
    exact = pma.evolve(
        pma.Problem(law, np.ones(law.shape)),
        schedule=pma.schedules.constant(0.01),
        steps=6,
        scheme=sharp,
    )
    # h of one u depends a little on the superbases that its flow came with
    same = {1: 1e-12, 2: 2e-5, 3: 5e-4}[dim]
    assert np.abs(flow["kl"] - exact["kl"]).max() < same
    assert np.ptp(flow.potential - exact.potential) < same
    assert flow["learned_error"].max() < 1e-12
    assert isinstance(last, LearnedState)


@pytest.mark.parametrize("kind", [LearnedImplicit, LearnedExplicit])
def test_regret_telescopes_to_second_order_towards_any_law(kind: Any) -> None:
    """sum eta <d, rho - m> = J_m(u_0) - J_m(u_K) +- sum D for the points' law and for the truth."""
    defects = []
    for n in (24, 48):
        law = truth(n)
        flow, _ = run(law, lambda m: kind(Smoothed(0.1), m), step_size=2e-4)
        eta = flow.step_sizes
        spent = (
            -flow["forward_divergence"][1:].sum()
            if kind is LearnedExplicit
            else flow["backward_divergence"][1:].sum()
        )
        towards_points = (eta * flow["empirical_regret"][1:]).sum() + spent
        towards_truth = (eta * flow["learned_regret"][1:]).sum() + spent
        fall = flow["bregman"][0] - flow["bregman"][-1]
        defects.append(
            (abs(towards_points / flow["semidual_fall"][-1] - 1), abs(towards_truth / fall - 1))
        )
    coarse, fine = np.array(defects)
    assert (fine < 1e-3).all()
    # the law of the points is another one on every grid, the truth is not
    assert fine[1] < coarse[1] / 2.5


@pytest.mark.parametrize("kind", [LearnedImplicit, LearnedExplicit])
def test_bias_is_what_errors_add_and_below_its_bound(kind: Any) -> None:
    flow, _ = run(truth(32), lambda m: kind(Smoothed(0.02), m))
    regret = learned_regret(flow)
    assert np.allclose(regret.average, regret.learned + regret.bias, rtol=1e-9)
    assert (np.abs(flow["learned_bias"]) <= flow["learned_bias_bound"]).all()
    assert (regret.learned <= regret.bound * (1 + 2e-3)).all()
    assert (regret.empirical <= regret.empirical_bound * (1 + 2e-3)).all()
    assert (regret.average <= regret.guarantee).all()
    assert flow["learned_bias"][0] == 0.0 and flow["empirical_regret"][0] == 0.0


def test_learning_once_and_again() -> None:
    once, again = Smoothed(), Smoothed()
    flow, _ = run(truth(24), lambda m: LearnedImplicit(once, m), steps=4)
    run(truth(24), lambda m: LearnedImplicit(again, m, relearn=True), steps=4)
    assert len(once.asked) == 1 and len(again.asked) == 4
    assert flow.stats["newton"] >= 4
    # each time relative to the density reached
    assert not np.allclose(again.asked[0], again.asked[-1])


def test_implicit_steps_end_at_the_learned_law() -> None:
    law, estimator = truth(32), Smoothed()
    flow, last = run(law, lambda m: LearnedImplicit(estimator, m), steps=12, step_size=1.0)
    assert last.inner.residual_norm < 1e-8
    problem = towards(last.learned, flow.problem)
    ot = pma.solve(problem, averaging=False, tol=1e-9)
    assert np.ptp(ot.potential - flow.potential) < 2e-5


def test_explicit_steps_stay_convex_and_stop() -> None:
    flow, last = run(
        truth(32), lambda m: LearnedExplicit(Smoothed(0.01), m), steps=30, step_size=1.0
    )
    assert np.isfinite(last.residual).all()
    assert flow.step_sizes[-1] < 1e-3  # far below what was asked for


def test_held_out_likelihood_rises_to_that_of_the_law() -> None:
    law = truth(48)
    points = law.sample(3000, 5)
    flow, _ = run(
        law, lambda m: LearnedImplicit(Exact(law.values), m), steps=8, step_size=1.0,
        record=(observations.held_out(points),),
    )  # fmt: skip
    entropy = float((law.values * np.log(law.values)).sum() * law.grid.cell_volume)
    values = flow["held_out"]
    assert abs(values[0]) < 0.01  # the uniform law
    assert abs(values[-1] - entropy) < 4 * 0.8 / np.sqrt(3000)
    assert values[-1] > values[0] + 0.3
