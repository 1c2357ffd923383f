"""Convex sets that a map may have as its image, see `Problem`.

The solver knows such a set Y by its support function h(d) = max over y in Y of <d, y>.  In two
dimensions every set has an ``outline``, a polygon, that the kernels work with.
"""

from pma_grid.problem.domains.convex import ConvexDomain
from pma_grid.problem.domains.shapes import ConvexSet, Ellipse, Polygon, stored_domain

__all__ = ["ConvexDomain", "ConvexSet", "Ellipse", "Polygon", "stored_domain"]
