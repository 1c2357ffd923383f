"""Quadratic potentials, and the vectors and matrices they are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pma_grid.runtime import Array, InvalidInputError, is_number

# Asymmetry of a matrix, relative to its largest entry, that counts as rounding.
LARGEST_ASYMMETRY = 1e-12


@dataclass(frozen=True, init=False, eq=False)
class Quadratic:
    """u(x) = a + q.(x - centre) + (x - centre)'B(x - centre)/2.

    Attributes
    ----------
    a : float
        u at the centre, length^2.
    q : ndarray, shape (d,)
        grad u at the centre, length.
    B : ndarray, shape (d, d)
        D2u, symmetric, dimensionless.
    centre : ndarray, shape (d,)
    """

    a: float
    q: Array
    B: Array
    centre: Array

    def __init__(self, a: float, q: ArrayLike, B: ArrayLike, centre: ArrayLike) -> None:
        values = vector(q, "q"), vector(centre, "centre")
        bend = symmetric(B, "B", len(values[0]))
        for name, value in zip(
            ("a", "q", "B", "centre"), (a, values[0], bend, values[1]), strict=True
        ):
            object.__setattr__(self, name, value)
        if len(self.centre) != len(self.q) or not is_number(a):
            raise InvalidInputError(
                f"a is {a!r} and centre has {len(self.centre)} entries for {len(self.q)} of q; a "
                "must be a number and q and centre vectors of the same length"
            )

    def potential(self, *x: ArrayLike) -> Array:
        """u at coordinate arrays x_1, ..., x_d, of their broadcast shape."""
        z = self._shifted(x)
        bent = np.einsum("i...,ij,j...->...", z, self.B, z)
        values: Array = self.a + np.tensordot(self.q, z, 1) + 0.5 * bent
        return values

    def gradient(self, *x: ArrayLike) -> Array:
        """grad u at coordinate arrays, shape (d, ...)."""
        z = self._shifted(x)
        slope: Array = np.tensordot(self.B, z, 1) + self.q.reshape(-1, *[1] * (z.ndim - 1))
        return slope

    def about(self, centre: ArrayLike) -> Quadratic:
        """The same function, written about another centre."""
        c = vector(centre, "centre")
        z = c - self.centre
        value = self.a + self.q @ z + 0.5 * z @ self.B @ z
        return Quadratic(float(value), self.q + self.B @ z, self.B, c)

    def _shifted(self, x: tuple[ArrayLike, ...]) -> Array:
        """x - centre, (d, ...)."""
        if len(x) != len(self.centre):
            raise InvalidInputError(
                f"{len(x)} coordinate arrays were given for a potential of {len(self.centre)} "
                "variables; pass one array an axis"
            )
        parts = [np.asarray(v, float) - c for v, c in zip(x, self.centre, strict=True)]
        return np.stack(np.broadcast_arrays(*parts))


def vector(value: ArrayLike, name: str) -> Array:
    """A finite vector of one to three entries."""
    array = np.array(value, float)
    if array.ndim != 1 or not 1 <= array.size <= 3 or not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name} is {value!r}; it must be a vector of 1 to 3 finite numbers: for example [0.0]"
        )
    return array


def symmetric(value: ArrayLike, name: str, dim: int) -> Array:
    """A finite symmetric matrix of shape (dim, dim)."""
    array = np.array(value, float)
    if array.shape != (dim, dim) or not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name} has shape {array.shape} or values that are not finite; it must be a finite "
            f"matrix of shape {(dim, dim)}"
        )
    if np.abs(array - array.T).max() > LARGEST_ASYMMETRY * np.abs(array).max():
        raise InvalidInputError(f"{name} is not symmetric; pass (M + M.T) / 2")
    return np.asarray(0.5 * (array + array.T))


def positive_definite(value: ArrayLike, name: str, dim: int) -> Array:
    """A symmetric positive definite matrix."""
    array = symmetric(value, name, dim)
    lowest = float(np.linalg.eigvalsh(array)[0])
    if lowest <= 0:
        raise InvalidInputError(
            f"{name} has the eigenvalue {lowest:g}; covariances must be positive definite: add a "
            "multiple of the identity"
        )
    return array
