"""Sinkhorn's algorithm between all pairs of cells, through kernels that separate over the axes."""
