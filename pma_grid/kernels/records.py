"""Named tuples of kernel arguments that belong together."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class Layout(NamedTuple):
    """Where the cells of some rows of a grid lie in a flat padded field.

    Index of the first cell of each row, cells of a row, strides and shape of the grid, and the
    number of the first of the rows.
    """

    row_start: Array
    n_last: int
    strides: Array
    shape: Array
    first_row: int


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
    """One superbase a cell, (N, d, d), and its lattice vectors, (N, m, d), also as offsets, (N, m).

    No vector is longer than ``reach`` along any axis.
    """

    superbase: Array
    vectors: Array
    offsets: Array
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
    """What means over the images of cells are made with, and what they give.

    Superbases that the images are made of, (N, d, d); what the log of mu gains by its mean over the
    cell, (N,); samples along each side, (N, d); the share of the mean in the blend, (N,); and, out,
    the derivative of the blend by D2u, (N, d(d+1)/2), upper triangle by rows.
    """

    superbase: Array
    shift: Array
    counts: Array
    blend: Array
    change: Array


class Blend(NamedTuple):
    """How much log nu changes over a target cell, and the changes over an image that count.

    ``variation`` is by target cells; the mean has no share below ``low``, all of it above ``high``.
    """

    variation: Array
    low: float
    high: float


class Variation(NamedTuple):
    """Bounds of what log nu changes by over a target cell.

    ``near``, among its neighbours, ``far``, further around, and ``steepest``, of all cells.  Empty
    arrays stand for the last one everywhere.
    """

    near: Array
    far: Array
    steepest: float


class Chain(NamedTuple):
    """Vertices of a polygon that support the directions towards one side.

    By increasing tangential coordinate: vertex m supports the directions d with
    breaks[m - 1] <= d_tangential / d_normal <= breaks[m].
    """

    normal: Array
    tangent: Array
    breaks: Array


class Face(NamedTuple):
    """One face of a two-dimensional box, beyond which ghosts mirror the cells inside.

    Flat index of its first cell, strides ``inward`` and ``along``, numbers of ``cells`` in these
    directions, and the metric along it.  ``tables`` (halo, 2 (n + halo) - 1) hold the support
    function at whole offsets, ``shifts`` (halo,) what the quadratic part takes off the normal
    coordinate.  ``slots`` (halo, n + 2 halo) number the ghosts, -1 - slot where another face has
    filled the corner before: then the smaller value counts.
    """

    start: int
    inward: int
    along: int
    cells: Array
    metric: float
    chain: Chain
    shifts: Array
    tables: Array
    slots: Array


class Direction(NamedTuple):
    """A direction z of a Krylov method, and its image q = J z."""

    z: Array
    q: Array


class GroupPairs(NamedTuple):
    """A list of pairs of groups of atoms, compressed by rows.

    Row I stands for the atoms rows[I] .. rows[I+1] - 1, column J likewise, so that the pairs of a
    coarse level stand for all the pairs of their children; where a group is one atom, rows is 0, 1,
    2, ...
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
    """How sums of a Gaussian kernel along a line are made.

    1 / eps, the table of factors, the largest exponent within a block of outputs, and how far below
    the largest term those lie that are left out.
    """

    slope: float
    table: Array
    limit: float
    depth: float
