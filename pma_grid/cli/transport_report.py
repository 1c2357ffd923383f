"""What `solve` and `demo` print of a Transport, and `info` repeats."""

from __future__ import annotations

from typing import Any

from pma_grid.transport import Transport


def summary(ot: Transport) -> dict[str, Any]:
    """The figures, for JSON."""
    stats = ot.stats
    keys = (
        "residual", "tol", "mass_constant", "iterations", "linear_iterations", "linear_solver",
        "seconds", "compile_seconds", "floors", "monotone", "versions",
    )  # fmt: skip
    return {
        "w2": ot.w2,
        "w2_squared": ot.w2_squared,
        "status": str(ot.status),
        "converged": ot.converged,
        "message": ot.message,
        "source_shape": list(ot.problem.source.shape),
        "target_shape": list(ot.problem.target.shape),
    } | {key: stats[key] for key in keys if key in stats}


def table(ot: Transport, files: list[str]) -> str:
    """The figures, one line each."""
    stats = ot.stats
    lines = [
        f"W2             {ot.w2:.8g}   (W2^2 = {ot.w2_squared:.8g}, cost |x - y|^2)",
        f"status         {ot.status}: {ot.message}",
    ]
    if "residual" in stats:
        lines += [
            f"residual       {stats['residual']:.2e}   (rms; asked for {stats['tol']:.1e})",
            f"mass constant  {stats['mass_constant']:.2e}",
            f"iterations     {stats['iterations']} Newton, {stats['linear_iterations']} linear "
            f"({', '.join(stats['linear_solver']) or 'none needed'} on the finest grid)",
            f"seconds        {stats['seconds']:.2f}   (and {stats['compile_seconds']:.2f} for "
            "compiling or loading kernels)",
        ]
    lines += floors(stats)
    if "monotone" in stats:
        scan = stats["monotone"]
        lines.append(
            f"monotone scan  differs in {scan['cells']} cells, by {scan['largest_gain']:.1e}"
        )
    if files:
        lines.append(f"files          {', '.join(files)}")
    return "\n".join(lines)


def floors(stats: dict[str, Any]) -> list[str]:
    """A line for each density that was raised to a working floor."""
    return [
        f"floor          {name}: {floor['cells']} cells raised to {floor['relative']:.1e} of the "
        f"mean, {floor['mass_added']:.1e} of the mass"
        for name, floor in stats.get("floors", {}).items()
        if floor["cells"]
    ]
