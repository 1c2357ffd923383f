"""What a dense iteration amounts to: projections, potentials, values, in the user's coordinates."""

from __future__ import annotations

import numpy as np

from pma_grid.entropic.dense.kernel import SeparableKernel
from pma_grid.entropic.dense.relaxation import Potentials
from pma_grid.entropic.dense.stages import Settings, self_potential
from pma_grid.entropic.transport import EntropicSolution, EntropicTransport
from pma_grid.grid.axes import along, coordinates
from pma_grid.problem.frame import mean_free
from pma_grid.problem.problem import Problem
from pma_grid.problem.reduction import Reduced, Reduction
from pma_grid.runtime import Array, Status
from pma_grid.transport.report import TransportReport


class DenseOutcome:
    """What the dense iteration found, in the problem's own coordinates."""

    def __init__(
        self, problem: Problem, reduced: Reduced, eps: float, at: Potentials, settings: Settings
    ) -> None:
        self.problem, self.reduced, self.eps, self.at = problem, reduced, eps, at
        self.settings = settings
        self.back = Reduction(problem)
        kernel = settings.kernel(reduced, eps)
        logs = reduced.log_masses[0] + at.F, reduced.log_masses[1] + at.G
        means = kernel.mean_on_source(logs[1])
        self.forward = self.back.image(means)
        self.backward = self.back.preimage(kernel.mean_on_target(logs[0]))
        self.columns = reduced.b * np.exp(at.G + kernel.to_target(logs[0]))
        # the plan joins cells: an image counts as the cell that it is of
        folded = self._folded_means(kernel, logs[1]) if settings.reflect else means
        self.transport_cost = self._transport_cost(folded)
        self.f = self.back.kantorovich(eps * at.F)
        self.g = self.back.kantorovich(eps * at.G, "target")
        self.self_errors: dict[str, float] | None = None
        self.self_costs: list[float] | None = None
        self.shift = np.zeros(problem.source.shape)

    def debias(self) -> None:
        """Take the self-transports out of the potential and of both maps."""
        pair = (self.problem.source, self.problem.target)
        errors, costs = {}, []
        for name, density in zip(("source", "target"), pair, strict=True):
            own = Reduced.of(Problem(density, density))
            f, mean, errors[name] = self_potential(own, self.eps, self.settings)
            costs.append(2 * float((own.a * f).sum()))
            bias = coordinates(own.x) - mean
            if name == "source":
                self.shift = f
                self.forward = self.forward + bias
            else:
                self.backward = self.backward + bias
        self.self_errors, self.self_costs = errors, costs

    def _report(self) -> TransportReport:
        """Values and counts."""
        a, b, at = self.reduced.a, self.reduced.b, self.at
        rows = float((a * at.F).sum())
        dual = self.eps * (rows + float((b * at.G).sum()))
        primal = self.eps * (rows + float((self.columns * at.G).sum()))
        report = TransportReport(
            method="dense",
            eps=self.eps,
            cell=self.reduced.cell,
            eps_over_h2=self.eps / self.reduced.cell,
            primal=float(0.5 * self.back.squared_distance(primal, self.columns)),
            dual=float(0.5 * self.back.squared_distance(dual)),
            transport_cost=self.transport_cost,
            marginal_error=at.error,
            marginal_errors=at.errors,
            tol=self.settings.tol,
            iterations=at.iterations,
            omega=at.omega,
            history=at.history,
            threads=self.settings.threads,
            self_errors=self.self_errors,
            self_costs=self.self_costs,
        )
        if self.self_costs is not None:
            report.divergence = report["dual"] - 0.5 * sum(self.self_costs)
        return report

    def _folded_means(self, kernel: SeparableKernel, logs: Array) -> Array:
        """E[y | x] of the target's cells themselves, reduced, whichever image mass goes to."""
        total = kernel.to_source(logs)
        means = []
        for i, (y, length) in enumerate(zip(self.reduced.y, self.reduced.lengths, strict=True)):
            # from the lower face: weights are positive
            weighted = logs + along(np.log(y / length + 0.5), i, self.reduced.dim)
            means.append(length * (np.exp(kernel.to_source(weighted) - total) - 0.5))
        return np.stack(means)

    def _transport_cost(self, means: Array) -> float:
        """E|x - y|^2 under the plan, from E[y | x]."""
        total = 0.0
        for i, (x, y) in enumerate(zip(self.reduced.x, self.reduced.y, strict=True)):
            others = tuple(k for k in range(self.reduced.dim) if k != i)
            lines = self.reduced.a.sum(axis=others), self.columns.sum(axis=others)
            product = float((self.reduced.a * along(x, i, self.reduced.dim) * means[i]).sum())
            total += 0.5 * float(lines[0] @ x**2 + lines[1] @ y**2) - product
        return float(self.back.squared_distance(total, self.columns))

    def transport(self) -> EntropicTransport:
        """The result."""
        report, status = self._report(), Status.ENTROPIC
        own = max(self.self_errors.values()) if self.self_errors else 0.0
        if not self.at.converged or own > self.settings.tol:
            status = Status.MAX_ITERATIONS
        elif self.eps < self.reduced.widest_cell * (1 - 1e-9):
            status = Status.NARROW_KERNEL
        solution = EntropicSolution(
            self.eps, report["dual"], self.f, self.g, self.forward, self.backward,
            "reflect" if self.settings.reflect else "plain",
        )  # fmt: skip
        phi = mean_free(self.shift - self.eps * self.at.F)
        return EntropicTransport(self.problem, None, solution, phi=phi, status=status, stats=report)
