"""The figures of a Transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pma_grid.cli.figures import Rows, floors, seconds
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.transport.transport import Transport

# Statistics that are printed as they are, in this order.
KEYS = (
    "residual", "tol", "mass_constant", "iterations", "linear_iterations", "linear_solver",
    "seconds", "compile_seconds", "floors", "candidates", "assessment", "versions",
)  # fmt: skip
ENTROPIC_KEYS = (
    "method", "map", "eps_over_h2", "cell", "primal", "dual", "transport_cost", "marginal_error",
    "marginal_errors", "omega", "divergence", "self_costs", "self_errors", "hard_dual",
    "hard_dual_other", "entries", "levels", "threads",
)  # fmt: skip


def figures(ot: Transport) -> dict[str, Any]:
    """The figures, for JSON."""
    stats = ot.stats
    found: dict[str, Any] = {
        "w2": ot.w2,
        "w2_squared": ot.w2_squared,
        "status": str(ot.status),
        "converged": ot.converged,
        "message": ot.message,
        "source_shape": list(ot.problem.source.shape),
        "target_shape": list(ot.problem.target.shape),
    }
    if isinstance(ot, EntropicTransport):
        found |= {"eps": ot.eps, "kernel": ot.kernel}
        found |= {key: stats[key] for key in ENTROPIC_KEYS if key in stats}
        if ot.tears is not None:
            found["torn_cells"] = int(ot.tears.sum())
    found |= {key: stats[key] for key in KEYS if key in stats}
    return found


def rows(ot: Transport) -> Rows:
    """The figures, one row each."""
    stats = ot.stats
    rows = [
        ("W2", f"{ot.w2:.8g}   (W2^2 = {ot.w2_squared:.8g}, cost |x - y|^2)"),
        ("status", f"{ot.status}: {ot.message}"),
    ]
    if isinstance(ot, EntropicTransport):
        rows += _entropic(ot)
    if "residual" in stats:
        solvers = ", ".join(stats["linear_solver"]) or "none needed"
        rows += [
            ("residual", f"{stats['residual']:.2e}   (rms; asked for {stats['tol']:.1e})"),
            ("mass constant", f"{stats['mass_constant']:.2e}"),
            ("iterations", f"{stats['iterations']} Newton, {stats['linear_iterations']} linear "
             f"({solvers} on the finest grid)"),
        ]  # fmt: skip
    rows += seconds(stats) + floors(stats) + _assessment(stats) + _candidates(stats)
    return rows


def _assessment(stats: Mapping[str, Any]) -> Rows:
    """The rows of `assess`."""
    if "assessment" not in stats:
        return []
    figures = stats["assessment"]
    rows = [
        ("dual gap", f"{figures['dual_gap']:.2e}   (cost of the map "
         f"{figures['transport_cost']:.8g}, W2^2 of atoms at least {figures['hard_dual']:.8g})"),
        ("push-forward", f"{figures['push_forward_error']:.2e}   (L1 error on bins)"),
    ]  # fmt: skip
    if figures["floor_effect"]:
        changed = f"{figures['floor_effect']:.1e}   (the most that floors changed W2^2 by)"
        rows.append(("floor effect", changed))
    return rows


def _candidates(stats: Mapping[str, Any]) -> Rows:
    """What `solve` tried, where that was more than one thing."""
    tried = stats.get("candidates", [])
    if len(tried) < 2:
        return []
    parts = []
    for candidate in tried:
        dual = candidate["dual"]
        bound = "" if dual is None else f", W2^2 at least {dual:.8g}"
        parts.append(f"{candidate['name']} ({candidate['status']}{bound})")
    return [("tried", "; ".join(parts))]


def _entropic(ot: EntropicTransport) -> Rows:
    """The rows of an entropic plan."""
    stats = ot.stats
    ratio = f"{stats['eps_over_h2']:.3g} cells squared; " if "eps_over_h2" in stats else ""
    beside = [f"method {stats['method']}"] if "method" in stats else []
    beside += [f"kernel {ot.kernel}"] + ([f"map {stats['map']}"] if "map" in stats else [])
    rows = [("eps", f"{ot.eps:.4g}   ({ratio}{', '.join(beside)})")]
    if "primal" in stats:
        values = f"{stats['primal']:.8g} primal, {stats['dual']:.8g} dual"
        rows.append(("values", f"{values}   (E|x - y|^2/2 + eps KL)"))
    if "divergence" in stats:
        text = f"{stats['divergence']:.8g}   (dual less those to themselves)"
        rows.append(("divergence", text))
    if "hard_dual" in stats:
        bounds = f"{stats['hard_dual']:.8g}, {stats['hard_dual_other']:.8g} from the other side"
        rows.append(("hard dual", f"{bounds}   (lower bounds of W2^2)"))
    if "marginal_error" in stats:
        asked = f"; asked for {stats['tol']:.1e}" if "tol" in stats else ""
        rows.append(("marginals", f"{stats['marginal_error']:.2e}   (L1 error{asked})"))
    rows.append(("iterations", _iterations(stats)))
    if ot.plan is not None:
        each = ot.plan.nnz / max(1, int((ot.problem.source.values > 0).sum()))
        rows.append(("plan", f"{ot.plan.nnz} entries, {each:.1f} a cell with mass"))
    if ot.tears is not None:
        rows.append(("tears", f"{int(ot.tears.sum())} cells beside a jump of the map"))
    return rows


def _iterations(stats: Mapping[str, Any]) -> str:
    """How many, and on how many grids."""
    text = str(stats.get("iterations", 0))
    if "levels" in stats:
        count = len(stats["levels"])
        text += f" on the finest grid, the last of {count} stage{'s' * (count > 1)}"
    return text + (f"   (relaxation {stats['omega']:.3f})" if "omega" in stats else "")
