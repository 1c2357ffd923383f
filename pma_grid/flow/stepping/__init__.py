"""Time-stepping schemes behind one protocol: ``scheme.step(state, step_size) -> State | None``."""

from pma_grid.flow.stepping.explicit import Explicit
from pma_grid.flow.stepping.implicit import TRBDF2, ImplicitEuler
from pma_grid.flow.stepping.scheme import Scheme, linearised, parabolic, start

__all__ = ["TRBDF2", "Explicit", "ImplicitEuler", "Scheme", "linearised", "parabolic", "start"]
