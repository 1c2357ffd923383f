"""What `evolve` prints of a Flow, and `info` repeats."""

from __future__ import annotations

from typing import Any

from pma_grid.cli.transport_report import floors, plain_numbers
from pma_grid.flow.flow import Flow
from pma_grid.runtime.arrays import Array

# Series of the table, in its order, as they are written there.
SHOWN = {
    "kl": "KL(rho|mu)", "reverse_kl": "KL(mu|rho)", "symmetrised_kl": "S", "tv": "TV",
    "bregman": "D(mu|rho)",
}  # fmt: skip
COUNTS = ("newton", "linear", "setups", "rejected")


def summary(flow: Flow, *, series: bool = False) -> dict[str, Any]:
    """The figures, for JSON; with the series as lists if asked for."""
    stats = flow.stats
    keys = ("schedule", "side", "eps", "kernel", "narrow_kernel", "residual_norm", "mass_constant",
            *COUNTS, "linear_solver", "convexity_limit", "stability_limit", "seconds",
            "compile_seconds", "floors", "versions")  # fmt: skip
    figures: dict[str, Any] = {
        "status": str(flow.status),
        "converged": flow.status.succeeded and str(flow.status) != "completed",
        "message": flow.status.value,
        "steps": len(flow),
        "first_step": flow.first,
        "start_time": float(flow.times[0]),
        "time": float(flow.times[-1]),
        "smallest_step": float(flow.step_sizes.min()) if len(flow) else None,
        "largest_step": float(flow.step_sizes.max()) if len(flow) else None,
        "scheme": flow.scheme,
        "start": {name: float(values[0]) for name, values in flow.series.items()},
        "end": {name: float(values[-1]) for name, values in flow.series.items()},
        "snapshot_times": [float(shot.time) for shot in flow.snapshots],
    }
    if flow.problem is not None:
        figures["source_shape"] = list(flow.problem.source.shape)
        figures["target_shape"] = list(flow.problem.target.shape)
    figures |= {key: stats[key] for key in keys if key in stats}
    if series:
        arrays = {"times": flow.times, "step_sizes": flow.step_sizes, **flow.series}
        figures["series"] = {name: _list(values) for name, values in arrays.items()}
    return dict(plain_numbers(figures))


def table(flow: Flow, files: list[str]) -> str:
    """The figures, one line each."""
    stats = flow.stats
    lines = [f"status         {flow.status}: {flow.status.value}", _steps(flow), _scheme(flow)]
    alpha = stats.get("mass_constant")
    beside = "" if alpha is None else f"   (mass constant alpha = {alpha:.2e})"
    for name, label in SHOWN.items():
        if name in flow.series:
            first, last = (float(flow.series[name][k]) for k in (0, -1))
            lines.append(f"{label:<15}{last:.4g}, from {first:.4g}{beside}")
            beside = ""
    if beside:
        lines.append(f"mass constant  {alpha:.2e}")
    if "residual_norm" in stats:
        lines.append(f"residual       {stats['residual_norm']:.2e}   ((sum mu hbar^2)^(1/2))")
    if "newton" in stats:
        solver = stats.get("linear_solver", "none")
        lines.append(
            f"iterations     {stats['newton']} Newton, {stats['linear']} linear ({solver}), "
            f"{stats['setups']} set-ups"
        )
    if "convexity_limit" in stats:
        limits = ((_range(stats[f"{name}_limit"]), name) for name in ("convexity", "stability"))
        lines.append("step limits    " + ", ".join(f"{name} {text}" for text, name in limits))
    if "seconds" in stats:
        lines.append(
            f"seconds        {stats['seconds']:.2f}   (and {stats['compile_seconds']:.2f} for "
            "compiling or loading kernels)"
        )
    lines += floors(stats)
    lines += [f"snapshots      {len(flow.snapshots)}"] if flow.snapshots else []
    lines += [f"files          {', '.join(files)}"] if files else []
    return "\n".join(lines)


def _steps(flow: Flow) -> str:
    """Steps, times and step sizes."""
    text = f"steps          {len(flow)}"
    text += f", after {flow.first} of the flow before" if flow.first else ""
    text += f"   (t = {flow.times[0]:.4g} to {flow.times[-1]:.4g}"
    if len(flow):
        text += f"; step sizes {_range([flow.step_sizes.min(), flow.step_sizes.max()])}"
    rejected = flow.stats.get("rejected", 0)
    return text + (f"; {rejected} rejected)" if rejected else ")")


def _scheme(flow: Flow) -> str:
    """Scheme, schedule and side."""
    text = f"scheme         {flow.scheme}"
    text += f", {flow.stats['schedule']}" if "schedule" in flow.stats else ""
    text += f", {flow.stats['kernel']} kernel" if "kernel" in flow.stats else ""
    text += ", narrower than a cell" if flow.stats.get("narrow_kernel") else ""
    side = flow.stats.get("side", "source")
    return text + (", on the target's side: mu is the target" if side == "target" else "")


def _range(values: Any) -> str:
    """Two numbers, or one where they agree."""
    texts = [f"{float(value):.2e}" for value in values]
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def _list(values: Array) -> list[float]:
    return [float(value) for value in values]
