"""What `solve`, `demo` and `sinkhorn` print of a Transport, and `info` repeats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

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


def summary(ot: Transport) -> dict[str, Any]:
    """The figures, for JSON."""
    stats = ot.stats
    figures: dict[str, Any] = {
        "w2": ot.w2,
        "w2_squared": ot.w2_squared,
        "status": str(ot.status),
        "converged": ot.converged,
        "message": ot.message,
        "source_shape": list(ot.problem.source.shape),
        "target_shape": list(ot.problem.target.shape),
    }
    if isinstance(ot, EntropicTransport):
        figures |= {"eps": ot.eps, "kernel": ot.kernel}
        figures |= {key: stats[key] for key in ENTROPIC_KEYS if key in stats}
        if ot.tears is not None:
            figures["torn_cells"] = int(ot.tears.sum())
    figures |= {key: stats[key] for key in KEYS if key in stats}
    return dict(plain_numbers(figures))


def table(ot: Transport, files: list[str]) -> str:
    """The figures, one line each."""
    stats = ot.stats
    lines = [
        f"W2             {ot.w2:.8g}   (W2^2 = {ot.w2_squared:.8g}, cost |x - y|^2)",
        f"status         {ot.status}: {ot.message}",
    ]
    if isinstance(ot, EntropicTransport):
        lines += _entropic(ot)
    if "residual" in stats:
        lines += [
            f"residual       {stats['residual']:.2e}   (rms; asked for {stats['tol']:.1e})",
            f"mass constant  {stats['mass_constant']:.2e}",
            f"iterations     {stats['iterations']} Newton, {stats['linear_iterations']} linear "
            f"({', '.join(stats['linear_solver']) or 'none needed'} on the finest grid)",
        ]
    if "seconds" in stats:
        lines.append(
            f"seconds        {stats['seconds']:.2f}   (and {stats['compile_seconds']:.2f} for "
            "compiling or loading kernels)"
        )
    lines += floors(stats)
    lines += _assessment(stats)
    lines += _candidates(stats)
    if files:
        lines.append(f"files          {', '.join(files)}")
    return "\n".join(lines)


def _assessment(stats: Mapping[str, Any]) -> list[str]:
    """The lines of `assess`."""
    if "assessment" not in stats:
        return []
    figures = stats["assessment"]
    lines = [
        f"dual gap       {figures['dual_gap']:.2e}   (cost of the map "
        f"{figures['transport_cost']:.8g}, W2^2 of atoms at least {figures['hard_dual']:.8g})",
        f"push-forward   {figures['push_forward_error']:.2e}   (L1 error on bins)",
    ]
    if figures["floor_effect"]:
        lines.append(
            f"floor effect   {figures['floor_effect']:.1e}   (the most that floors changed W2^2 by)"
        )
    return lines


def _candidates(stats: Mapping[str, Any]) -> list[str]:
    """What `solve` tried, where that was more than one thing."""
    tried = stats.get("candidates", [])
    if len(tried) < 2:
        return []
    parts = []
    for candidate in tried:
        dual = candidate["dual"]
        bound = "" if dual is None else f", W2^2 at least {dual:.8g}"
        parts.append(f"{candidate['name']} ({candidate['status']}{bound})")
    return [f"tried          {'; '.join(parts)}"]


def _entropic(ot: EntropicTransport) -> list[str]:
    """The lines of an entropic plan."""
    stats = ot.stats
    ratio = f"{stats['eps_over_h2']:.3g} cells squared; " if "eps_over_h2" in stats else ""
    beside = [f"method {stats['method']}"] if "method" in stats else []
    beside += [f"kernel {ot.kernel}"] + ([f"map {stats['map']}"] if "map" in stats else [])
    lines = [f"eps            {ot.eps:.4g}   ({ratio}{', '.join(beside)})"]
    if "primal" in stats:
        lines.append(
            f"values         {stats['primal']:.8g} primal, {stats['dual']:.8g} dual   "
            "(E|x - y|^2/2 + eps KL)"
        )
    if "divergence" in stats:
        lines.append(f"divergence     {stats['divergence']:.8g}   (dual less those to themselves)")
    if "hard_dual" in stats:
        lines.append(
            f"hard dual      {stats['hard_dual']:.8g}, {stats['hard_dual_other']:.8g} from the "
            "other side   (lower bounds of W2^2)"
        )
    if "marginal_error" in stats:
        asked = f"; asked for {stats['tol']:.1e}" if "tol" in stats else ""
        lines.append(f"marginals      {stats['marginal_error']:.2e}   (L1 error{asked})")
    lines.append(_iterations(stats))
    if ot.plan is not None:
        each = ot.plan.nnz / max(1, int((ot.problem.source.values > 0).sum()))
        lines.append(f"plan           {ot.plan.nnz} entries, {each:.1f} a cell with mass")
    if ot.tears is not None:
        lines.append(f"tears          {int(ot.tears.sum())} cells beside a jump of the map")
    return lines


def _iterations(stats: Mapping[str, Any]) -> str:
    """How many, and on how many grids."""
    text = f"iterations     {stats.get('iterations', 0)}"
    if "levels" in stats:
        count = len(stats["levels"])
        text += f" on the finest grid, the last of {count} stage{'s' * (count > 1)}"
    return text + (f"   (relaxation {stats['omega']:.3f})" if "omega" in stats else "")


def plain_numbers(value: Any) -> Any:
    """The same with null where JSON has no number: inf and NaN."""
    if isinstance(value, dict):
        return {key: plain_numbers(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_numbers(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def floors(stats: Mapping[str, Any]) -> list[str]:
    """A line for each density that was raised to a working floor."""
    return [
        f"floor          {name}: {floor['cells']} cells raised to {floor['relative']:.1e} of the "
        f"mean, {floor['mass_added']:.1e} of the mass"
        for name, floor in stats.get("floors", {}).items()
        if floor["cells"]
    ]
