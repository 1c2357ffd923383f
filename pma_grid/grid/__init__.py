"""Grids and the fields on them: boxes, lattices, averages, transfers, splines, conjugates."""
