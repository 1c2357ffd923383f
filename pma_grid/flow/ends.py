"""`Ends`: where a flow ends, after so many steps, at a time, or at rest."""

from __future__ import annotations

from dataclasses import dataclass

from pma_grid.flow.state import State
from pma_grid.runtime import InvalidInputError, check_not_negative, check_whole


@dataclass(frozen=True)
class Ends:
    """The ends of a flow as `evolve` takes them: the first one reached counts, None is no end."""

    steps: int | None = None
    time: float | None = None
    tol: float | None = None

    def check(self) -> Ends:
        """The ends themselves, if their kinds and ranges are right."""
        steps = self.steps
        if isinstance(steps, float) and steps.is_integer():
            steps = int(steps)  # 1e3 is as good as 1000
        if steps is not None:
            check_whole(steps, 0, "steps", "say 100")
        for name, value in (("time", self.time), ("tol", self.tol)):
            if value is not None:
                check_not_negative(value, name, "say 0.1")
        return self

    def check_one_is_given(self) -> None:
        """Refuse ends that are none: a recorded flow has to stop."""
        if self == Ends():
            raise InvalidInputError(
                "steps, time and tol are all None; the flow needs an end: pass for example "
                "steps=200"
            )

    def at_rest(self, state: State) -> bool:
        """Whether the residual of a state is as small as asked for."""
        return self.tol is not None and state.residual_norm <= self.tol

    def reached(self, state: State, first: int) -> bool:
        """Whether a flow that began at the index ``first`` ends at this state."""
        return (
            (self.steps is not None and state.index - first >= self.steps)
            or (self.time is not None and state.time >= self.time)
            or self.at_rest(state)
        )
