"""Kernels of entropic transport: sums of Gaussian kernels, sparse plans."""
