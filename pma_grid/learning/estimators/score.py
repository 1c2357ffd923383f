"""`Score`: score matching, by fields s about grad log mu on the faces between cells.

The objective E_m[|s|^2 / 2 + div s], with its boundary term, is on faces e

    sum_e m_e s_e^2 / 2 - sum_e (D m)_e s_e + (strength / 2N) |D s|^2,

m_e the mean of the two cells' masses: without the penalty s = D m / m.  Lengths are in units of the
box's sides.

References
----------
Hyvärinen (2005), Estimation of non-normalized statistical models by score matching, J. Mach.
Learn. Res. 6, 695-709.
Vincent (2011), A connection between score matching and denoising autoencoders, Neural Comput. 23,
1661-1674. doi:10.1162/NECO_a_00142
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from pma_grid.grid.grid import Grid
from pma_grid.learning.estimators.estimator import OneStrength, limited
from pma_grid.learning.estimators.plug_in import smoothed
from pma_grid.linsolve.elliptic import Screened, difference, differences, laplacian, poisson
from pma_grid.runtime import Array, check_choice

# Weights of a projection are at least this share of their mean, so that it determines all of l.
LOWEST_WEIGHT_SHARE = 1e-4
# Strength of the field's penalty beside noise, which smooths already: it regularises empty cells.
DENOISING_STRENGTH = 1e-8


@dataclass(frozen=True)
class Score(OneStrength):
    """Score matching: a field that matches grad log mu, projected to a gradient.

    Parameters
    ----------
    strength : float, optional
        "implicit": the weight of the penalty on rough fields; "denoising": the standard deviation
        of the noise, in units of the box's sides.  None lets held-out samples choose it.
    objective : {"implicit", "denoising"}
        Hyvärinen's objective, boundary term included; or Vincent's, with the noise averaged out
        exactly.
    control : bool
        Whether to estimate the known score of rho in the same way too and subtract its error
        (control variates): what both estimates are off by cancels where rho = mu.

    Notes
    -----
    The field is projected in L2 of the points' law, smoothed over the length that the field is: it
    is known where points are.  Where rho is uniform, weights rho would cost .05 to .1 nats a point.
    A potential that matches the score itself, (D^T diag(m) D + strength K^2 / N) l = K m, is no
    better.  Scores determine masses of modes that lie apart badly: look at these.
    """

    objective: Literal["implicit", "denoising"] = "implicit"
    control: bool = False

    name = "score"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.objective, ("implicit", "denoising"), "objective")

    def strengths(self) -> Array:
        """1e-7 ... 1 by factors of 10^{1/2}; noise of .003 to .3 of the box by factors of 1.5."""
        if self.objective == "denoising":
            return np.asarray(0.003 * 1.5 ** np.arange(12))
        return np.logspace(-7, 0, 15)

    def learn(self, masses: Array, rho: Array, grid: Grid, start: Array | None = None) -> Array:
        """The potential of the projected field, up to a constant."""
        fields = self._field(masses)
        if self.control:
            same, known = self._field(rho), log_score(rho)
            fields = [s - a + b for s, a, b in zip(fields, same, known, strict=True)]
        # what the field is smoothed over, in units of the box's sides
        length = self.chosen if self.objective == "denoising" else math.sqrt(self.chosen)
        return limited(projected(fields, smoothed(masses, length)))

    def _field(self, masses: Array) -> list[Array]:
        if self.objective == "denoising":
            return score_field(smoothed(masses, self.chosen), DENOISING_STRENGTH)
        return score_field(masses, self.chosen)


def score_field(masses: Array, strength: float) -> list[Array]:
    """The field that matches the score of the points, an array for the inner faces of each axis.

    ``masses`` are cell masses of the points, or of the points with noise (`smoothed`), whose
    objective is the denoising one with the noise averaged out.  The ``strength`` > 0 of the penalty
    smooths over lengths of about its root.  Each component is a linear problem on its faces,
    (m + (strength/N) K) s = D m: screened Poisson, by conjugate gradients with pyamg.
    """
    fields = []
    for axis in range(masses.ndim):
        pair = [np.take(masses, range(k, masses.shape[axis] - 1 + k), axis) for k in (0, 1)]
        mean, slope = 0.5 * (pair[0] + pair[1]), masses.shape[axis] * (pair[1] - pair[0])
        if mean.size == 0:
            fields.append(mean)
            continue
        operator = laplacian(mean.shape)
        solver = Screened(operator, mean.ravel(), strength / masses.size)
        fields.append(solver.solve(slope.ravel()).x.reshape(mean.shape))
    return fields


def log_score(masses: Array) -> list[Array]:
    """The score of a known positive density: differences of its logarithm."""
    logs = np.log(masses)
    return [
        (difference(masses.shape, axis) @ logs.ravel()).reshape(
            tuple(n - (k == axis) for k, n in enumerate(masses.shape))
        )
        for axis in range(masses.ndim)
    ]


def projected(fields: list[Array], weights: Array) -> Array:
    """The potential l, mean 0, whose gradient is nearest to a field on faces in L2 of cell masses.

    D^T W D l = D^T W s, a Poisson problem solved with pyamg; weights of faces are means of two
    cells'.  A score fixes masses of modes that are far apart through the little mass between them
    alone, that is badly: of two modes eight deviations apart, the one of .3 of 10^4 points comes
    out as .18 to .29 with strengths that the objective chooses, as .27 to .33 with those that
    held-out likelihood does.
    """
    shape = weights.shape
    d = differences(shape)
    if d.shape[0] == 0:
        return np.zeros(shape)
    on_faces = np.maximum(
        0.5 * (abs(d).sign() @ weights.ravel()), LOWEST_WEIGHT_SHARE * weights.mean()
    )
    field = np.concatenate([f.ravel() for f in fields])
    weighted = sparse.csr_array(d.T @ (sparse.diags_array(on_faces) @ d))
    scale = float(on_faces.mean())
    return poisson(weighted / scale, d.T @ (on_faces * field) / scale).x.reshape(shape)
