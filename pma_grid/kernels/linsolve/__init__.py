"""Kernels of linear solvers: stencils of multigrid hierarchies."""
