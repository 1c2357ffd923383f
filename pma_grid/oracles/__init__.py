"""Flows without a grid equation: closed forms and an exact one-dimensional scheme."""
