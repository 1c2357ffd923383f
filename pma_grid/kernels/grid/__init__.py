"""Kernels of fields on grids: rows, transfers, splines, Legendre transforms, points, polygons."""
