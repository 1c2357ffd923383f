"""Sinkhorn's algorithm between the pairs of cells that carry mass, from coarse to fine."""
