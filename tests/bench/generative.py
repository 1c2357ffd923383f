"""Held-out quality of learned models on five standard sets, against honest baselines.

    python tests/bench/generative.py                          # 1e3 and 1e4 samples, three seeds
    python tests/bench/generative.py --counts 1000 10000 100000 --seeds 5
    python tests/bench/generative.py sampling                 # a million draws through a map
    python tests/bench/generative.py fit                      # seconds of a whole fit

Every model sees the same samples and is judged by the same test points of the known law: mean
log-likelihood, its difference to kernel density with a cross-validated bandwidth (paired: standard
errors are those of differences), KL(truth|model) on the grid, MMD^2, W2 of generated points, and
the modes that got half of their mass.  Baselines of scikit-learn (extra [bench]) are evaluated
exactly, in the whole plane; ours interpolate the logarithm of the density by cubic splines.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import pma_grid as pma
from pma_grid.learning import Histogram, Kernel, Logistic, Score
from pma_grid.sampling import quality
from pma_grid.sampling.base_laws import base_law

TEST, GENERATED = 5000, 2000
# Cross-validation of the bandwidth: candidates, folds, and points of which the folds are made; for
# more points the bandwidth is scaled by n^{-1/6}.
BANDWIDTHS, FOLDS, MOST_POINTS = np.geomspace(0.03, 0.6, 20), 5, 4000
COMPONENTS = (2, 4, 8, 16, 32)
OURS: dict[str, Callable[[], Any]] = {
    "logistic": Logistic,
    "logistic h1": lambda: Logistic(penalty="h1"),
    "score": Score,
    "denoising score": lambda: Score(objective="denoising"),
    "kde on the grid": Kernel,
    "histogram": Histogram,
}


@dataclass
class Row:
    """One model on one set of samples."""

    data: str
    count: int
    seed: int
    method: str
    log_likelihood: float
    gain: float
    gain_error: float
    kl: float
    mmd2: float
    w2: float
    coverage: float
    seconds: float


def kernel_density(points: np.ndarray, seed: int) -> Any:
    """scikit-learn's kernel density with the bandwidth of k-fold cross-validation."""
    from sklearn.model_selection import GridSearchCV, KFold
    from sklearn.neighbors import KernelDensity

    used = points[:MOST_POINTS]
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    search = GridSearchCV(KernelDensity(rtol=1e-5), {"bandwidth": BANDWIDTHS}, cv=folds).fit(used)
    width = search.best_params_["bandwidth"] * (len(used) / len(points)) ** (1 / 6)
    return KernelDensity(bandwidth=width, rtol=1e-6).fit(points)


def gaussian_mixture(points: np.ndarray, seed: int) -> Any:
    """scikit-learn's Gaussian mixture with the number of components of least BIC."""
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [GaussianMixture(k, random_state=seed).fit(points) for k in COMPONENTS]
    return min(fits, key=lambda fit: fit.bic(points))


def run(data: pma.cases.DataSet, count: int, seed: int, size: int, methods: list[str]) -> list[Row]:
    """All models of one draw of samples."""
    points, test = data.sample(count, seed), data.sample(TEST, 10_000 + seed)
    grid = data.grid(size)
    truth = data.density(grid).values * grid.cell_volume
    models: dict[str, tuple[Callable[..., Any], Callable[..., Any], float]] = {}
    for name, make in (("sklearn kde", kernel_density), ("sklearn gmm", gaussian_mixture)):
        began = time.perf_counter()
        fitted = make(points, seed)
        draw = _sklearn_draw(fitted, seed)
        models[name] = (fitted.score_samples, draw, time.perf_counter() - began)
    for name in methods:
        began = time.perf_counter()
        model = pma.fit(pma.Samples(points, grid=grid), OURS[name](), seed=seed)
        models[name] = (
            model.log_density, lambda n, model=model: model.sample(n, seed=seed),
            time.perf_counter() - began,
        )  # fmt: skip
    reference = models["sklearn kde"][0](test)
    held = data.sample(GENERATED, 20_000 + seed)
    rows = []
    for name, (log_density, draw, seconds) in models.items():
        logs = log_density(test)
        gain = quality.paired_difference(logs, reference)
        new = np.clip(draw(GENERATED), grid.lower, grid.upper)
        masses = quality.mode_masses(new, data.mode_of, data.modes)
        rows.append(
            Row(
                data.name, count, seed, name, float(logs.mean()), gain.value, gain.error,
                _kl(truth, log_density, grid), quality.mmd(new, held),
                quality.w2(new, held, data.grid(32)), quality.coverage(masses, data.mode_masses),
                seconds,
            )
        )  # fmt: skip
    return rows


def _sklearn_draw(fitted: Any, seed: int) -> Callable[[int], np.ndarray]:
    """Draws of either baseline; mixtures return labels as well."""

    def draw(n: int) -> np.ndarray:
        drawn = fitted.sample(n, random_state=seed) if hasattr(fitted, "bandwidth") else (
            fitted.sample(n)
        )  # fmt: skip
        return np.asarray(drawn[0] if isinstance(drawn, tuple) else drawn)

    return draw


def _kl(truth: np.ndarray, log_density: Callable[..., Any], grid: pma.Grid) -> float:
    """KL(truth|model) by cells: the model at their centres."""
    logs = log_density(grid.coordinates().reshape(grid.dim, -1).T).reshape(grid.shape)
    inside = truth > 0
    return float((truth[inside] * (np.log(truth[inside] / grid.cell_volume) - logs[inside])).sum())


def table(rows: list[Row]) -> None:
    """Means over the seeds; standard errors of the mean gain from the paired test points."""
    head = ("data", "n", "method", "log-lik", "gain over sklearn kde", "KL", "MMD2", "W2", "modes",
            "seconds")  # fmt: skip
    print(f"{head[0]:16} {head[1]:>7} {head[2]:16} {head[3]:>8} {head[4]:>22} {head[5]:>8} "
          f"{head[6]:>9} {head[7]:>7} {head[8]:>6} {head[9]:>8}")  # fmt: skip
    keys = dict.fromkeys((r.data, r.count, r.method) for r in rows)
    for data, count, method in keys:
        group = [r for r in rows if (r.data, r.count, r.method) == (data, count, method)]
        mean = {k: float(np.mean([asdict(r)[k] for r in group])) for k in Row.__annotations__
                if k not in ("data", "method")}  # fmt: skip
        error = math.sqrt(sum(r.gain_error**2 for r in group)) / len(group)
        print(f"{data:16} {count:7d} {method:16} {mean['log_likelihood']:8.4f} "
              f"{mean['gain']:+12.4f} +- {error:.4f} {mean['kl']:9.4f} {mean['mmd2']:+9.1e} "
              f"{mean['w2']:7.3f} {mean['coverage']:6.2f} {mean['seconds']:8.2f}")  # fmt: skip


def slopes(rows: list[Row]) -> None:
    """Slopes of KL(truth|model) in the number of samples."""
    for method in dict.fromkeys(r.method for r in rows):
        told = []
        for data in dict.fromkeys(r.data for r in rows):
            group = [r for r in rows if (r.method, r.data) == (method, data)]
            counts = sorted({r.count for r in group})
            if len(counts) > 1:
                means = [np.mean([r.kl for r in group if r.count == n]) for n in counts]
                told.append(f"{data} {np.polyfit(np.log(counts), np.log(means), 1)[0]:+.2f}")
        if told:
            print(f"slope of KL, {method:16} {', '.join(told)}")


def sampling() -> None:
    """A million draws through the map at 256 x 256, after compiling: seconds of the processor."""
    data = pma.cases.two_moons()
    law = data.density(data.grid(256))
    for name in ("uniform", "gaussian"):
        sampler = pma.Sampler(pma.solve(pma.Problem(law, base_law(name, law.shape))))
        sampler.sample(1000, seed=0)
        seconds = []
        for seed in range(3):
            began = time.process_time()
            points = sampler.sample(1_000_000, seed=seed)
            seconds.append(time.process_time() - began)
        stray = float((data.log_density(*points.T) < -20).mean())
        print(f"two moons 256x256 from a {name} base: a million draws in {min(seconds):.2f} s "
              f"(of {', '.join(f'{s:.2f}' for s in seconds)}), stray {stray:.1e}")  # fmt: skip


def fitting(size: int) -> None:
    """Seconds of a whole fit of ten thousand points, compiling apart."""
    for name in pma.cases.DATA_SETS:
        data = pma.cases.data_set(name)
        samples = pma.Samples(data.sample(10_000, 0), grid=data.grid(size))
        pma.fit(pma.Samples(data.sample(1000, 0), grid=data.grid(32)), Kernel())
        began = time.perf_counter()
        model = pma.fit(samples)
        print(f"{name}: {model!r}, {time.perf_counter() - began:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="table", choices=("table", "sampling", "fit"))
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--sets", nargs="+", default=list(pma.cases.DATA_SETS))
    parser.add_argument("--methods", nargs="+", default=list(OURS), choices=list(OURS))
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if given.what == "sampling":
        sampling()
        return 0
    if given.what == "fit":
        fitting(given.size)
        return 0
    rows: list[Row] = []
    for name in given.sets:
        for count in given.counts:
            for seed in range(given.seeds):
                rows += run(pma.cases.data_set(name), count, seed, given.size, given.methods)
                print(f"{name} {count} seed {seed}", file=sys.stderr)
    table(rows)
    slopes(rows)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as stream:
            json.dump([asdict(row) for row in rows], stream, indent=0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
