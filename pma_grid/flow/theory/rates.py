"""Rates of convergence: fitted to a flow, and predicted by the spectrum of the linearisation."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from pma_grid.flow.flow import Flow
from pma_grid.flow.parabolic_operator import ParabolicOperator
from pma_grid.flow.stepping.implicit import GAMMA
from pma_grid.problem.density import Density
from pma_grid.runtime import Array, InvalidInputError
from pma_grid.transport.transport import Transport

# Smallest values of a series that a fit believes in: below, rounding takes over.
SMALLEST_FITTED = 1e-24
# Matrices of up to so many cells are handed to a dense solver; from there on Arnoldi's method is
# faster.
DENSE_CELLS = 50
# Of the vector that Arnoldi's method starts from.
START_SEED = 61027


def spectrum(transport: Transport, count: int = 1) -> Array:
    """The smallest nonzero eigenvalues of -L, L the linearisation of h at a potential, 1/length^2.

    L w = mu^{-1} div(mu (D2u)^{-1} grad w) at the solution: h and u_t - u decay like e^{-lambda t},
    KL, S and D like e^{-2 lambda t}, lambda the first of them (the spectral gap).

    Parameters
    ----------
    transport : Transport
        Usually the solution; any convex potential has a linearisation.
    count : int
        How many eigenvalues to find.

    Returns
    -------
    ndarray, shape (count,)
        Increasing.  Real parts: the continuous operator is self-adjoint in L2(mu), its
        discretisation only up to order h^2.

    Notes
    -----
    Shift-and-invert Arnoldi (scipy) on the sparse Jacobian of the discretisation; second order.
    """
    operator = ParabolicOperator(transport.problem)
    phi = np.array(transport.phi)
    residual = operator.evaluate(phi, 0.0)
    if not np.isfinite(residual).all():
        raise InvalidInputError(
            "transport has a potential that is not convex; its linearisation has no spectrum: "
            "solve first"
        )
    matrix = -operator.linearise(residual, 0.0).matrix()
    return _smallest(matrix, count) / operator.frame.unit


def langevin_gap(density: Density) -> float:
    """Spectral gap of Langevin's dynamics dX = -grad f dt + sqrt 2 dW towards e^{-f}, 1/length^2.

    The smallest nonzero eigenvalue of -mu^{-1} div(mu grad), reflecting at the faces; the rate at
    which the W2 gradient flow of KL converges.  Two-point fluxes with the geometric mean of mu at
    the faces, second order.
    """
    grid = density.grid
    values = np.asarray(density.values)
    if values.min() <= 0:
        raise InvalidInputError(
            "density has zeros; Langevin's dynamics needs a positive one: give a floor"
        )
    index = np.arange(grid.size).reshape(grid.shape)
    matrix = sparse.csr_matrix((grid.size, grid.size))
    for axis, h in enumerate(grid.spacing):
        n = grid.shape[axis]
        low = np.take(index, range(n - 1), axis).ravel()
        high = np.take(index, range(1, n), axis).ravel()
        flux = np.sqrt(values.ravel()[low] * values.ravel()[high]) / h**2
        pairs = sparse.coo_matrix((-flux, (low, high)), shape=matrix.shape)
        matrix = matrix + pairs + pairs.T
    matrix = matrix - sparse.diags(np.asarray(matrix.sum(axis=1)).ravel())
    return float(_smallest(sparse.diags(1 / values.ravel()) @ matrix, 1)[0])


def _smallest(matrix: sparse.spmatrix, count: int) -> Array:
    """Smallest eigenvalues in modulus but for the zero of the constants, real parts, sorted."""
    n = matrix.shape[0]
    if count < 1 or count > n - 1:
        raise InvalidInputError(
            f"count is {count!r}; a grid of {n} cells has 1 to {n - 1} nonzero eigenvalues"
        )
    if n <= DENSE_CELLS or count + 3 >= n:
        values = np.linalg.eigvals(matrix.toarray())
    else:
        # a shift below the spectrum: the matrix itself is singular
        shift = -1e-3 * float(np.abs(matrix.diagonal()).min())
        start = np.random.default_rng(START_SEED).normal(size=n)
        values = linalg.eigs(
            matrix.tocsc(), count + 1, sigma=shift, v0=start, return_eigenvectors=False
        )
    real = np.sort(np.real(values))
    return np.asarray(real[1 : count + 1])


def decay_rate(scheme: str, rate: float, step_size: float) -> float:
    """Rate at which constant steps damp a mode e^{-rate t}: -log|R(-rate eta)| / eta.

    R is the stability function: 1 / (1 + z) for implicit Euler, that is log(1 + rate eta) / eta;
    1 - z for explicit steps, z = rate eta.

    Parameters
    ----------
    scheme : {"implicit_euler", "trbdf2", "explicit"}
        Name of the scheme.
    rate : float
        Decay rate of the mode in continuous time, at least 0, 1/length^2.
    step_size : float
        Constant step size, positive, length^2.

    Returns
    -------
    float
        1/length^2; negative where explicit steps amplify the mode, inf where one step removes it.

    Raises
    ------
    InvalidInputError
        The scheme is not known, or a number is out of range.
    """
    if not (0 <= rate < math.inf and 0 < step_size < math.inf):
        raise InvalidInputError(
            f"rate is {rate!r} and step_size {step_size!r}; the rate must be a number >= 0 and the "
            "step size one > 0"
        )
    z = rate * step_size
    beta = 0.5 * GAMMA
    functions = {
        "implicit_euler": lambda: 1 / (1 + z),
        "explicit": lambda: 1 - z,
        # (1 - (1 - 2 beta) z) / (1 + beta z)^2, beta = gamma / 2
        "trbdf2": lambda: (1 - (1 - 2 * beta) * z) / (1 + beta * z) ** 2,
    }
    if scheme not in functions:
        raise InvalidInputError(
            f"scheme is {scheme!r}; the stability functions known are those of "
            f"{', '.join(functions)}"
        )
    factor = abs(functions[scheme]())
    return -math.log(factor) / step_size if factor > 0 else math.inf


def fitted_rate(flow: Flow, name: str = "kl", *, span: tuple[float, float] | None = None) -> float:
    """Rate r of series ~ e^{-r t}, a least-squares line through the logarithms, 1/length^2.

    Parameters
    ----------
    flow : Flow
        A flow that decays.
    name : str
        The series to fit.
    span : tuple of float, optional
        First and last time to fit over.  Default: the last half of the times at which the series
        is above rounding.

    Raises
    ------
    InvalidInputError
        Fewer than three values to fit to.
    """
    values, times = flow[name], flow.times
    good = values > max(SMALLEST_FITTED, 1e-17 * float(np.abs(values).max()))
    if span is None:
        last = float(times[good].max()) if good.any() else 0.0
        span = (0.5 * (float(times[0]) + last), last)
    good &= (times >= span[0]) & (times <= span[1])
    if np.count_nonzero(good) < 3:
        raise InvalidInputError(
            f"flow has fewer than three positive values of {name} between t = {span[0]:g} and "
            f"{span[1]:g}; a rate needs more: take smaller steps or another span"
        )
    return -float(np.polyfit(times[good], np.log(values[good]), 1)[0])
