"""Compiled kernels: arrays and scalars in, the output array last, nothing returned unless a scalar.

Every kernel is a module-level function (or one of three instantiations over the number of lattice
vectors), so that a new grid size compiles nothing.  Fields are flat or ``(outer, n, inner)`` views
of one axis; padded arrays hold ``halo`` reflected cells on every side.  Division by zero gives inf
or NaN, which the callers turn into a status, never an exception.
"""
