"""Named tuples of kernel arguments that belong together."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


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
