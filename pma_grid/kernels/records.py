"""Named tuples of kernel arguments that belong together."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class Layout(NamedTuple):
    """Where the cells of some rows of a grid lie in a flat padded field."""

    row_start: Array  # index of the first cell of each row
    n_last: int  # cells of a row
    strides: Array
    shape: Array
    first_row: int  # number of the first of the rows


class Scales(NamedTuple):
    """Units of a pair of grids, an entry an axis: those of `pma_grid.problem.frame.Frame`."""

    metric: Array
    affine: Array
    slope: Array
    per_cell: Array


class Spline(NamedTuple):
    """A function by its padded spline coefficients."""

    coefficients: Array
    halo: int


class Superbases(NamedTuple):
    """One superbase a cell, and its lattice vectors, none longer than ``reach`` along any axis."""

    superbase: Array  # (N, d, d)
    vectors: Array  # (N, m, d)
    offsets: Array  # the same, (N, m)
    reach: int


class Balance(NamedTuple):
    """What determinants of D2u are compared with: log B = log_source - log_target + shift."""

    log_source: Array
    log_target: Array
    shift: float


class Linearisation(NamedTuple):
    """Weights (N, m) of the lattice vectors, drift (N, d), and the derivative eta by log B (N,)."""

    weights: Array
    drift: Array
    eta: Array


class ImageMeans(NamedTuple):
    """What means over the images of cells are made with, and what they give."""

    superbase: Array  # that the images are made of, (N, d, d)
    shift: Array  # what the log of mu gains by its mean over the cell, (N,)
    counts: Array  # samples along each side, (N, d)
    blend: Array  # share of the mean, (N,)
    known: Array  # whether what follows is of this u and this image, (N,) bool
    logs: Array  # log of the mean, less the shift, (N,)
    slopes: Array  # its derivative by grad u, per target cell, (N, d)
    moments: Array  # its derivative by D2u, (N, d(d+1)/2), upper triangle by rows
    wanted: Array  # the share that the mean should have, (N,)


class Varies(NamedTuple):
    """How much log nu changes over a target cell, and the changes over an image that count."""

    variation: Array  # by target cells
    low: float  # below, the mean has no share, and all of it above ``high``
    high: float


class Variation(NamedTuple):
    """Bounds of what log nu changes by over a target cell; empty arrays stand for ``steepest``."""

    near: Array  # among the neighbours of a cell
    far: Array  # further around
    steepest: float  # of all cells


class Chain(NamedTuple):
    """Vertices of a polygon that support the directions d towards one side, in order."""

    normal: Array
    tangent: Array  # increasing
    breaks: Array  # vertex m: breaks[m - 1] <= d_tangential / d_normal <= breaks[m]


class Face(NamedTuple):
    """One face of a two-dimensional box, beyond which ghosts mirror the cells inside."""

    start: int  # flat index of the first cell
    inward: int  # strides
    along: int
    cells: Array  # their numbers in these directions
    metric: float  # along the face
    chain: Chain
    shifts: Array  # (halo,): what the quadratic part takes off the normal coordinate
    tables: Array  # (halo, 2 (n + halo) - 1): the support function at whole offsets
    # (halo, n + 2 halo): numbers of the ghosts; -1 - slot where another face has filled the corner
    # before: then the smaller value counts
    slots: Array


class Direction(NamedTuple):
    """A direction z of a Krylov method, and its image q = J z."""

    z: Array
    q: Array


class GroupPairs(NamedTuple):
    """A list of pairs of groups of atoms, compressed by rows.

    Row I stands for the atoms rows[I] .. rows[I+1] - 1, column J likewise: pairs of a coarse level
    stand for all those of their children; where a group is one atom, rows is 0, 1, 2, ...
    """

    pointers: Array
    indices: Array
    rows: Array
    columns: Array


class Atoms(NamedTuple):
    """Atoms of one side: positions of two or three columns, potential, log of the masses."""

    position: Array
    potential: Array
    log_mass: Array


class Entries(NamedTuple):
    """Entries of a sparse matrix, compressed by rows."""

    pointers: Array
    indices: Array
    values: Array


class Tilt(NamedTuple):
    """How sums of a Gaussian kernel along a line are made."""

    slope: float  # 1 / eps
    table: Array  # of factors
    limit: float  # largest exponent within a block of outputs
    depth: float  # how far below the largest term those lie that are left out
