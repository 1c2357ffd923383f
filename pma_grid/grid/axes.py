"""Values along one axis of a grid."""

from __future__ import annotations

from pma_grid.runtime.arrays import Array


def along(line: Array, axis: int, dim: int) -> Array:
    """Values along one axis of ``dim``, in the shape that broadcasts over the others."""
    return line.reshape([-1 if k == axis else 1 for k in range(dim)])
