"""Entropic optimal transport on grids: Sinkhorn's algorithm, dense and multiscale."""
