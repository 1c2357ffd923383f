"""`Sampler`: draws from a base law, moved to the data by the Brenier map; likelihoods of points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.grid.grid import Grid
from pma_grid.problem.density import Density
from pma_grid.problem.log_density import LogDensity
from pma_grid.runtime import Array, InvalidInputError, check_count, check_seed, is_number
from pma_grid.transport.pullback import normalised
from pma_grid.transport.transport import Transport

# A law has no density where more than this share of its mass lies in cells without second
# differences: likelihoods are wanted to a hundredth of a nat.
MOST_LOST_MASS = 0.01


class Sampler:
    """Draws new points of the data through a transport, and gives their density.

    The data are the source mu of the transport and the base law is its target nu.  A draw from the
    base law, moved by the inverse map grad u*, is a draw from the law (grad u*)# nu of the data.

    Parameters
    ----------
    transport : Transport
        The map between the two, found by any method, converged or not.

    Notes
    -----
    For y drawn from the base law nu, x = grad u*(y) has the density

        rho(x) = nu(grad u(x)) det D2u(x) = mu(x) e^{h(x)},

    which on the grid is mu e^h with the discrete h, normalised: the very masses along a flow.

    Of data with gaps or jumps `solve` may return an entropic plan (`EntropicTransport`).  Then
    ``density`` is the source's own, `decode` and `encode` are the conditional means E[x | y] and
    E[y | x], which cross gaps where the map is torn, and `sample` draws x from the plan's row of
    y's cell instead, if the method keeps a plan (multiscale): nothing falls into the gaps.  Such
    pairs (y, x) are those of the plan to a cell, and x is not exactly ``decode(y)``.

    References
    ----------
    Brenier (1991), Polar factorization and monotone rearrangement of vector-valued functions,
    doi:10.1002/cpa.3160440402.

    Examples
    --------
    >>> import pma_grid as pma
    >>> data = pma.Density([1.0, 3.0, 3.0, 1.0])
    >>> sampler = Sampler(pma.solve(pma.Problem(data, [1.0] * 4)))
    >>> sampler.sample(3, seed=0).shape
    (3, 1)
    """

    def __init__(self, transport: Transport) -> None:
        if not isinstance(transport, Transport):
            raise InvalidInputError(
                f"transport is of type {type(transport).__name__}; it must be a Transport: pass "
                "what solve returned, or flow.transport"
            )
        self.transport = transport

    @property
    def base(self) -> Density:
        """The base law, which is drawn from."""
        return self.transport.problem.target

    @cached_property
    def density(self) -> Density:
        """The law of the samples as cell averages on the grid of the data.

        Cells at which second differences of the potential are not positive count with the source's
        own mass.

        Raises
        ------
        InvalidInputError
            These hold more than a hundredth of the mass: there is no density.
        """
        source = self.transport.problem.source
        if isinstance(self.transport, EntropicTransport):
            return source
        masses = self.transport.working_source / self.transport.working_source.sum()
        residual = self.transport.residual
        lost = ~np.isfinite(residual)
        if masses[lost].sum() > MOST_LOST_MASS:
            raise InvalidInputError(
                f"transport has a potential that is not convex at {np.count_nonzero(lost)} cells; "
                "its map has no density there: solve to convergence, or take "
                "transport.problem.source"
            )
        # cells of no account, where the equation of `solve` holds without second differences
        level = float((masses * np.where(lost, 0.0, residual)).sum())
        return Density(normalised(masses, np.where(lost, level, residual))[0], source.grid)

    @cached_property
    def _log_density(self) -> LogDensity:
        density = self.density
        if isinstance(self.transport, EntropicTransport):
            # zeros at the solver's floor: splines ring beside deeper jumps
            density = Density(self.transport.working_source, density.grid)
        return LogDensity.with_empty_cells(density)

    def log_density(self, points: ArrayLike) -> Array:
        """log rho at points (m, d), nats, normalised; -inf outside the box.

        Cubic splines interpolate between cell centres.  Beside jumps to exact zeros, which a cubic
        cannot follow, it is off by some tenths of a nat within a few cells.
        """
        return self._log_density(points)

    def decode(self, base_points: ArrayLike) -> Array:
        """x = grad u*(y): points (m, d) of the base law's box moved to the data."""
        return self.transport.inverse(np.asarray(base_points))

    def encode(self, points: ArrayLike) -> Array:
        """y = grad u(x): points (m, d) of the data's box moved to the base law."""
        return self.transport.map(np.asarray(points))

    def sample(self, n: int, *, seed: int | np.random.Generator) -> Array:
        """Draw n points of the data's law, (n, d); the same seed gives the same points."""
        return self.pairs(n, seed=seed)[1]

    def pairs(self, n: int, *, seed: int | np.random.Generator) -> tuple[Array, Array]:
        """Draw n pairs (y, x) from the optimal coupling of the base law and the data, each (n, d).

        y is drawn from the base law, a cell by its mass and then uniformly in the cell, and x is
        what the map makes of it.  Given either, the other is known: `decode` and `encode` are the
        conditional laws (of entropic plans: their means).
        """
        generator = check_seed(seed)
        y = self.base.sample(check_count(n), generator)
        if self._plan is None:
            return y, self.decode(y)
        return y, self._from_plan(y, generator)

    @cached_property
    def _plan(self) -> tuple[sparse.csc_array, Array] | None:
        """An entropic plan by base cells, and the masses of its entries summed up from 0."""
        plan = getattr(self.transport, "plan", None)
        if plan is None:
            return None
        columns = sparse.csc_array(plan)
        return columns, np.concatenate([[0.0], np.cumsum(columns.data)])

    def _from_plan(self, y: Array, generator: np.random.Generator) -> Array:
        """x given y under the plan: a cell of the data by the row of y's cell, uniform in it."""
        assert self._plan is not None
        columns, total = self._plan
        data, base = self.transport.problem.source.grid, self.base.grid
        cells = np.ravel_multi_index(tuple(base.cell_index(y).T), base.shape)
        first, last = columns.indptr[cells], columns.indptr[cells + 1]
        level = total[first] + generator.random(len(y)) * (total[last] - total[first])
        entry = np.clip(np.searchsorted(total, level, side="right") - 1, first, last - 1)
        index = np.stack(np.unravel_index(columns.indices[entry], data.shape), axis=1)
        inside = (index + generator.random(index.shape)) * data.spacing
        x = np.minimum(data.lower + inside, data.upper)
        lost = first == last  # a plan within its tolerance may leave a light cell without entries
        if lost.any():
            x[lost] = self.decode(y[lost])
        return np.asarray(x)

    def conditional(self, given: Mapping[int, float]) -> Density:
        """The conditional law of the other coordinates, given the values of some.

        Parameters
        ----------
        given : mapping of int to float
            The known values by axis, as {0: 1.5}; at least one coordinate must be left.

        Returns
        -------
        Density
            rho along the slice, normalised, on the remaining axes of the grid.

        Examples
        --------
        >>> import numpy as np, pma_grid as pma
        >>> x, y = np.meshgrid(*2 * [(np.arange(32) + 0.5) / 32], indexing="ij")
        >>> problem = pma.Problem(np.exp(x * y), np.ones((32, 32)))
        >>> law = Sampler(pma.solve(problem)).conditional({0: 1.0})  # exp(y), of mean 1/(e - 1)
        >>> round(float(law.mean()[0]), 2)
        0.58
        """
        grid = self.density.grid
        if not isinstance(given, Mapping):
            raise InvalidInputError(
                f"given is {given!r}; it must map axes to values: for example {{0: 1.5}}"
            )
        axes = [axis for axis in range(grid.dim) if axis not in given]
        known = all(axis in range(grid.dim) and is_number(v) for axis, v in given.items())
        if not axes or not given or not known:
            raise InvalidInputError(
                f"given is {dict(given)!r}; it must hold values of some of the axes 0 to "
                f"{grid.dim - 1}, and leave one: for example {{0: 1.5}}"
            )
        shape, lower, upper = (
            tuple(side[axis] for axis in axes) for side in (grid.shape, grid.lower, grid.upper)
        )
        rest = Grid(tuple(map(int, shape)), lower, upper)
        points = np.empty((rest.size, grid.dim))
        points[:, axes] = rest.points
        for axis, value in given.items():
            points[:, axis] = value
        logs = self._log_density(grid.check_points(points, "given")).reshape(rest.shape)
        return Density(np.exp(logs - logs.max()), rest)
