"""`Transport`: a potential and what follows from it: the map, its inverse, W2, interpolation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.frame import Frame, split
from pma_grid.problem.problem import Problem
from pma_grid.problem.stored import storable_pair, stored_pair
from pma_grid.runtime import Array, Status, storage
from pma_grid.transport.potential import checked_potential
from pma_grid.transport.reading import Reading, reading
from pma_grid.transport.report import TransportReport
from pma_grid.transport.solution import Solution


class Transport:
    """A map between two densities as the gradient of a potential u, for the cost |x - y|^2.

    Everything that is asked of an answer is computed from u when it is asked for: the map
    T = grad u and its inverse, W2, the Hessian, the densities between source and target, pairs of
    points.  `solve` and `sinkhorn` return transports, `Flow.transport` is the end of a flow,
    `from_potential` wraps any potential, and `load` reads what `save` wrote.

    Attributes
    ----------
    problem : Problem
    potential : ndarray, shape ``source.shape``
        u at the cell centres, length^2, up to an additive constant.
    status : Status
        How the method that made it ended; ``converged`` and ``message`` put it in short and long.
    stats : TransportReport
        How it was found, documented fields that read as a dict too.
    mass_constant : float
        alpha of the equation that was solved, dimensionless; 0 where none was.
    averaged : bool
        Whether that equation takes the target's means over the images of cells.
    solution : Solution
        The equation that was solved, and what everything here is read off.

    Notes
    -----
    The equation may be one of raised densities, on parts of the boxes, on finer grids, or from
    target to source; see `Solution`.  ``map``, ``inverse`` and ``w2`` come from its potential at
    points, fields are given at the centres of the source as given.
    """

    def __init__(
        self,
        problem: Problem,
        potential: Array | None = None,
        *,
        phi: Array | None = None,
        status: Status = Status.NOT_SOLVED,
        stats: Mapping[str, Any] | None = None,
        mass_constant: float = 0.0,
        averaged: bool = False,
    ) -> None:
        # u or phi (of mean zero), whichever is given: phi keeps digits that the affine part of u
        # takes; the other is computed when it is asked for
        name, given = ("potential", potential) if phi is None else ("phi", phi)
        given = _read_only(given)
        beyond = split(problem, given)[0] if phi is None else given
        solution = Solution.of(problem, beyond, float(mass_constant), averaged)
        self._keep(problem, solution, status, stats)
        self._given: str | None = name
        self.__dict__[name] = given

    def _keep(
        self,
        problem: Problem,
        solution: Solution,
        status: Status,
        stats: Mapping[str, Any] | None,
    ) -> None:
        self.problem, self.solution, self.status = problem, solution, status
        if not isinstance(stats, TransportReport):
            stats = TransportReport.from_dict(stats or {})
        self.stats: TransportReport = stats
        self._given = None

    @classmethod
    def of_solution(
        cls,
        problem: Problem,
        solution: Solution,
        *,
        status: Status = Status.NOT_SOLVED,
        stats: Mapping[str, Any] | None = None,
    ) -> Transport:
        """The transport of a problem from the solution of its equation.

        Parameters
        ----------
        problem : Problem
            As it was given.
        solution : Solution
            Of this problem, or ``turned`` of the one with its sides exchanged, on these grids or
            on finer ones of the same boxes.
        status, stats
            As for the constructor.

        Raises
        ------
        InvalidInputError
            The boxes differ, or a turned solution stands for a problem with a target domain.
        """
        solution.check(problem)
        transport = cls.__new__(cls)
        transport._keep(problem, solution, status, stats)
        return transport

    @classmethod
    def from_potential(cls, problem: Problem, potential: ArrayLike) -> Transport:
        """Wrap any finite potential on the source grid, convex or not.

        Parameters
        ----------
        problem : Problem
        potential : array_like, shape ``source.shape``
            u at the cell centres, length^2.

        Raises
        ------
        InvalidInputError
            The shape differs from the source grid's, or a value is not finite.
        """
        return cls(problem, checked_potential(problem, potential, "potential"))

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.problem.source.shape))
        return f"<Transport {shape}: W2 = {self.w2:.6g}, {self.status}>"

    @property
    def converged(self) -> bool:
        """Whether the method that made this met its tolerance: the end of a flow is no answer."""
        return self.status.succeeded and self.status is not Status.COMPLETED

    @property
    def message(self) -> str:
        """The status as a sentence."""
        return self.status.value

    @cached_property
    def _reading(self) -> Reading:
        return reading(self.problem, self.solution)

    @cached_property
    def potential(self) -> Array:
        """u at the cell centres, length^2, shape ``source.shape``; read-only."""
        frame = Frame(self.problem.source.grid, self.problem.target.grid)
        return _read_only(frame.quadratic() + self.phi)

    @property
    def mass_constant(self) -> float:
        """alpha of the equation that was solved; its negative where that is the turned one."""
        solution = self.solution
        return -solution.mass_constant if solution.turned else solution.mass_constant

    @property
    def averaged(self) -> bool:
        """Whether that equation takes the target's means over the images of cells."""
        return self.solution.averaged

    @cached_property
    def phi(self) -> Array:
        """The potential without its quadratic part (which maps box to box), mean zero."""
        return self._reading.phi

    @cached_property
    def gradient(self) -> Array:
        """grad u at the cell centres, shape (d, *shape), length.

        By centred differences; where the equation was solved from target to source, the inverse of
        what it found; on finer grids, interpolated.
        """
        return self._reading.centred_gradient

    @cached_property
    def displacement(self) -> Array:
        """T(x) - x at the cell centres, shape (d, *shape), length."""
        moved: Array = self.gradient - self.problem.source.grid.coordinates()
        return moved

    @cached_property
    def cell_means(self) -> Array:
        """Means of T over the source's cells under mu, shape (d, *shape), length.

        Where the image of a cell is many target cells long, as along the faces of a uniform source
        whose target is a peak, or over a gap of the target, `gradient` at its centre is off by a
        share of the image, of order less than one in the spacing; the mean is of second order in
        the mean over mass.

        Notes
        -----
        The mean is the barycentre of the target over the cell's image, taken as the parallelepiped
        grad u + D2u h [-1/2, 1/2]^d (the interval, exactly, in 1-D), whose mass is the cell's by
        the discrete equation.  Where that was solved from target to source it is the barycentre of
        what arrives in the cell from the images of the target's cells.  Beyond the part of the box
        that was solved it is T at the centre.
        """
        return self._reading.cell_means

    def map(self, points: ArrayLike) -> Array:
        """T(x) = grad u(x) at points of the source box.

        Parameters
        ----------
        points : array_like, shape (m, d)

        Returns
        -------
        ndarray, shape (m, d)
            Points of the target box or domain; at cell centres exactly `gradient`.

        Raises
        ------
        InvalidInputError
            A point lies outside the source box (the first one is named).

        Notes
        -----
        Cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711): second order for a
        second-order potential, continuous.
        """
        return self._reading.gradient(self.problem.source.grid.check_points(points, "points"))

    def inverse(self, points: ArrayLike) -> Array:
        """The inverse map grad u*(y) at points of the target box.

        Parameters
        ----------
        points : array_like, shape (m, d)

        Returns
        -------
        ndarray, shape (m, d)
            Points of the source box.

        Raises
        ------
        InvalidInputError
            A point lies outside the target box (the first one is named).

        Notes
        -----
        Discrete Legendre transform for the starting cell (linear time), then damped Newton on the
        interpolated potential: second order.  inverse(map(x)) = x to rounding where u is convex.
        """
        return self._reading.inverse(self.problem.target.grid.check_points(points, "points"))

    @cached_property
    def residual(self) -> Array:
        """h = log(rho_u / mu) at the cell centres, dimensionless; NaN where u is not convex.

        rho_u = nu(grad u) det D2u, with the monotone determinant; `mass_constant` is the constant
        that h comes close to for a solution.  nu(grad u) is averaged over the images of cells where
        `solve` did so (`averaged`).  nu and mu are the working densities of the equation; beyond
        the part of the box that it was solved on, h is that of the nearest cell there.
        """
        return self._reading.residual

    @property
    def working_source(self) -> Array:
        """mu of the equation that was solved, cell averages on the source's grid over their mean.

        Where the equation was not solved, for want of mass, the source as given.
        """
        return self._reading.source_density

    @cached_property
    def hessian(self) -> Array:
        """D2u at the cell centres, (d, d, *shape): symmetric, positive definite, dimensionless.

        The inverse of the diffusion tensor of the monotone scheme, whose determinant satisfies the
        discrete equation; on a potential that does not solve it, shifted until it does.  Beyond the
        part of the box that the equation was solved on it is that of the nearest cell there.
        """
        return self._reading.hessian

    @property
    def w2(self) -> float:
        """The 2-Wasserstein distance, length; see `w2_squared`."""
        return float(np.sqrt(self.w2_squared))

    @cached_property
    def w2_squared(self) -> float:
        """W2^2 = min E|X - Y|^2, length^2, of the smooth densities with these cell averages.

        Two other readings of the same numbers have other values, tenths of h^2 away (h the spacing;
        measured on smooth densities).  Densities that are constant on every cell: less by .03 to
        .09 h^2 an axis.  Atoms at the cell centres, which a linear programme between pixels such as
        POT's ``emd2`` compares: more by .12 to .19 h^2 an axis; ``pma.assess(ot)["hard_dual"]``
        bounds their value from below, and ``pma.sinkhorn(problem, 0.03 * h**2,
        method="multiscale").stats["hard_dual"]`` does so to some hundredths of h^2.

        Notes
        -----
        Never negative: the dual value of the potential, and at least that of a shift of the means.
        With D(x) = u(x) - |x|^2/2, the Kantorovich dual is

            W2^2 = 2 (int min_x (|x - y|^2/2 + D(x)) dnu(y) - int D dmu),

        stationary in u: an error e in grad u changes it by O(|e|^2) only, so that a second-order
        potential gives fourth order up to quadrature.  The plain sum of |T - x|^2 mu is first order
        in e and no better than a first-order method's.  Minimisers come from `inverse` at the
        target's cell centres; both integrals use the mean over a cell of a quadratic, with the
        linear variation of smooth densities across a cell included.
        """
        return self.solution.w2_squared

    def interpolate(self, t: float, grid: Grid | None = None) -> Density:
        """McCann's interpolation: the law of (1 - t) X + t T(X), a geodesic of W2.

        Parameters
        ----------
        t : float in [0, 1]
        grid : Grid, optional
            Where to give it; default the interpolated box, with the source's shape for t < 1/2.

        Returns
        -------
        Density

        Notes
        -----
        rho_t(z) = mu(x) / det((1 - t) I + t D2u(x)) at the x with (1 - t) x + t grad u(x) = z,
        found by inverting the gradient of (1 - t)|x|^2/2 + t u; normalised.  Second order for
        smooth densities; of sharp parts a few cells wide the masses are wrong by some per cent, at
        one cell by tens: see docs/limits.md.  mu and nu are the working densities, without mass
        beyond their crops.  Rearrangements on a line are exact: masses by quantiles.
        """
        return self._reading.interpolate(t, grid)

    def sample(self, n: int, *, seed: int | np.random.Generator) -> tuple[Array, Array]:
        """Coupled pairs: x from the source (uniform within cells), y = T(x); each (n, d)."""
        x = self.problem.source.sample(n, seed)
        return x, self.map(x)

    def _as_given(self) -> dict[str, Array]:
        """u or phi, whichever this was made of, by its name; nothing of a solution."""
        return {} if self._given is None else {self._given: getattr(self, self._given)}

    def storable(self) -> storage.Stored:
        """Arrays and metadata that `from_stored` makes the transport of."""
        arrays, meta = storable_pair(self.problem)
        meta |= {"kind": "transport", "status": self.status.name, "stats": self.stats.to_dict()}
        if self._given is None:
            kept, meta["solution"] = self.solution.storable(self.problem)
            return arrays | kept, meta
        arrays |= self._as_given()
        meta |= {"mass_constant": self.mass_constant, "averaged": self.averaged}
        return arrays, meta

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one .npz file that `load` reads back."""
        storage.save(path, *self.storable())

    @classmethod
    def from_stored(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Transport:
        """The transport of what `storable` gave."""
        problem, told = stored_pair(arrays, meta), (Status[meta["status"]], meta["stats"])
        if "solution" in meta:
            solution = Solution.from_stored(problem, arrays, meta["solution"])
            return cls.of_solution(problem, solution, status=told[0], stats=told[1])
        solved = meta["stats"] | meta  # until 0.1.0 these two were found in the report alone
        return cls(
            problem,
            arrays.get("potential"),
            phi=arrays.get("phi"),
            status=told[0],
            stats=told[1],
            mass_constant=solved.get("mass_constant", 0.0),
            averaged=solved.get("averaged", False),
        )


def _read_only(values: ArrayLike | None) -> Array:
    """A locked copy."""
    array = np.array(values, float)
    array.setflags(write=False)
    return array


@runtime_checkable
class HasTransport(Protocol):
    """What ends at a transport, as a flow does."""

    @property
    def transport(self) -> Transport:
        """Its end."""
