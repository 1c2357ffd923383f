"""Score matching on a grid: fields s about grad log mu on the faces between cells, and potentials.

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

import numpy as np
from scipy import sparse

from pma_grid.linsolve.elliptic import Screened, difference, differences, laplacian, poisson
from pma_grid.runtime.arrays import Array

# Weights of a projection are at least this share of their mean, so that it determines all of l.
LOWEST_WEIGHT = 1e-4


def score_field(masses: Array, strength: float) -> list[Array]:
    """The field that matches the score of the points, one array of faces an axis.

    Parameters
    ----------
    masses : ndarray
        Cell masses, of sum 1: of the points, or of the points with noise (`plug_in.smoothed`),
        whose objective is the denoising one with the noise averaged out.
    strength : float
        > 0; of the penalty: lengths of about strength^{1/2} of the box are smoothed over.

    Returns
    -------
    list of ndarray
        Component i on the inner faces of axis i, ``shape[i] - 1`` of them.

    Notes
    -----
    A linear problem for each component, (m + (strength/N) K) s = D m on its faces: screened
    Poisson, by conjugate gradients with pyamg.
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
    """The potential l, mean 0, whose gradient is nearest to a field in L2 of the weights.

    Parameters
    ----------
    fields : list of ndarray
        On faces, as `score_field` gives them.
    weights : ndarray
        Cell masses; those of faces are means of two cells.

    Notes
    -----
    D^T W D l = D^T W s, a Poisson problem solved with pyamg.  A score fixes masses of modes that
    are far apart through the little mass between them alone, that is badly: of two modes eight
    deviations apart, the one of .3 of 10^4 points comes out as .18 to .29 with strengths that the
    objective chooses, as .27 to .33 with those that held-out likelihood does.
    """
    shape = weights.shape
    d = differences(shape)
    if d.shape[0] == 0:
        return np.zeros(shape)
    on_faces = np.maximum(0.5 * (abs(d).sign() @ weights.ravel()), LOWEST_WEIGHT * weights.mean())
    field = np.concatenate([f.ravel() for f in fields])
    weighted = sparse.csr_array(d.T @ (sparse.diags_array(on_faces) @ d))
    scale = float(on_faces.mean())
    return poisson(weighted / scale, d.T @ (on_faces * field) / scale).x.reshape(shape)
