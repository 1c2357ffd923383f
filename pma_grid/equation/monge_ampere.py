"""`MongeAmpere`: the discretised equation of a pair of grids, which no evaluation changes.

With T = grad u pushing mu to nu, the equation is

    log det D2u(x) + log nu(grad u(x)) - log mu(x) = alpha,

alpha being the constant that makes it solvable on a grid (it goes to 0 like h^2).  The unknown is
phi in u = sum_i s_i (x_i - lower_i)^2 / 2 + (target lower) . x + phi, with s_i the ratio of the box
sides; phi reflects evenly about the faces, which is exactly the transport of box to box.

phi is in the unit of potentials of the `Frame`, densities are relative to their means: nothing here
depends on the unit of length.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np

from pma_grid.equation.footprint import Footprint
from pma_grid.equation.ghosts import lattice_between
from pma_grid.grid.grid import Grid
from pma_grid.grid.lattice import Lattice
from pma_grid.grid.splines import LogSpline, cell_means, histospline, log_centre_values
from pma_grid.kernels.records import Scales
from pma_grid.problem.domains import ConvexDomain
from pma_grid.problem.floors import positive
from pma_grid.problem.frame import Frame
from pma_grid.problem.problem import Problem
from pma_grid.runtime import SERIAL, Array, Workers


class TargetRule(Enum):
    """What stands for nu(grad u) in the equation of a cell.

    POINT: its value at the gradient.  MEAN: its mean over the image of the cell, where nu varies
    much within it.  LAX_FRIEDRICHS: its value with as much viscosity as makes the scheme strictly
    monotone, and of first order.
    """

    POINT = "point"
    MEAN = "mean"
    LAX_FRIEDRICHS = "lax_friedrichs"


@dataclass(frozen=True, eq=False)
class MongeAmpere:
    """The equation of two positive densities, discretised on their grids.

    Attributes
    ----------
    source : ndarray
        Cell averages of mu over their mean, positive.
    log_source : ndarray, shape (N,)
        log mu at the cell centres, of mu over its mean.
    target : LogSpline
        log nu between its cell centres, of nu over its mean.
    frame : Frame
        The affine stretch of box to box, and the spacings.
    lattice : Lattice
        Of the source's cells, with ghosts that keep grad u in the target's box or domain.
    footprint : Footprint or None
        Means of nu over images of cells; None where point values are taken.
    viscosity : ndarray, shape (d,), or None
        Of the Lax-Friedrichs rule.
    """

    source: Array
    log_source: Array
    target: LogSpline
    frame: Frame
    lattice: Lattice
    footprint: Footprint | None = None
    viscosity: Array | None = None

    @classmethod
    def of(cls, problem: Problem, rule: TargetRule = TargetRule.POINT) -> MongeAmpere:
        """The equation of a problem, its exact zeros raised to the working floors."""
        source, target, _ = positive(problem)
        grids = problem.source.grid, problem.target.grid
        return cls.between((source, target), grids, rule, domain=problem.target_domain)

    @classmethod
    def between(
        cls,
        densities: tuple[Array, Array],
        grids: tuple[Grid, Grid],
        rule: TargetRule = TargetRule.POINT,
        *,
        domain: ConvexDomain | None = None,
        workers: Workers = SERIAL,
    ) -> MongeAmpere:
        """The equation of source and target given by positive cell averages over their means.

        ``domain``: what grad u is to fill instead of the target's box.
        """
        (source, target), (source_grid, target_grid) = densities, grids
        log_source = log_centre_values(source, workers).ravel()
        log_target = log_centre_values(target, workers)
        spline = LogSpline(log_target, target_grid, workers)
        frame = Frame(source_grid, target_grid)
        viscous = rule is TargetRule.LAX_FRIEDRICHS
        steepest = frame.target_length * spline.steepest() if viscous else None
        footprint = Footprint(target, log_target, workers) if rule is TargetRule.MEAN else None
        return cls(
            source=source,
            log_source=log_source,
            target=spline,
            frame=frame,
            lattice=lattice_between(
                source_grid, target_grid, domain, workers=workers, bent=not viscous
            ),
            footprint=None if footprint is None or footprint.idle else footprint,
            viscosity=None if steepest is None else 0.5 * steepest / frame.spacing,
        )

    @cached_property
    def scales(self) -> Scales:
        """Units of the frame, for kernels."""
        frame = self.frame
        return Scales(frame.metric, frame.affine, frame.slope, frame.per_cell)

    def log_source_means(self) -> Array:
        """log mu averaged over cells as nu is over their images, (N,): the two are compared."""
        return np.asarray(np.log(cell_means(histospline(self.source)))).ravel()
