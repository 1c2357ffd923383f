"""The figures of a Flow."""

from __future__ import annotations

from typing import Any

from pma_grid.cli.figures import Rows, floors, seconds
from pma_grid.flow.flow import Flow

# Series of the table, in its order, as they are written there.
SHOWN = {
    "kl": "KL(rho|mu)", "reverse_kl": "KL(mu|rho)", "symmetrised_kl": "S", "tv": "TV",
    "bregman": "D(mu|rho)",
}  # fmt: skip
COUNTS = ("newton", "linear", "setups", "rejected")


def figures(flow: Flow, *, series: bool = False) -> dict[str, Any]:
    """The figures, for JSON; with the series as lists if asked for."""
    stats = flow.stats
    keys = ("schedule", "side", "eps", "kernel", "narrow_kernel", "residual_norm", "mass_constant",
            *COUNTS, "linear_solver", "convexity_limit", "stability_limit", "seconds",
            "compile_seconds", "floors", "versions")  # fmt: skip
    found: dict[str, Any] = {
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
        found["source_shape"] = list(flow.problem.source.shape)
        found["target_shape"] = list(flow.problem.target.shape)
    found |= {key: stats[key] for key in keys if key in stats}
    if series:
        arrays = {"times": flow.times, "step_sizes": flow.step_sizes, **flow.series}
        found["series"] = {name: values.tolist() for name, values in arrays.items()}
    return found


def rows(flow: Flow) -> Rows:
    """The figures, one row each."""
    stats = flow.stats
    rows = [
        ("status", f"{flow.status}: {flow.status.value}"),
        ("steps", _steps(flow)),
        ("scheme", _scheme(flow)),
    ]
    alpha = stats.get("mass_constant")
    beside = "" if alpha is None else f"   (mass constant alpha = {alpha:.2e})"
    for name, label in SHOWN.items():
        if name in flow.series:
            first, last = (float(flow.series[name][k]) for k in (0, -1))
            rows.append((label, f"{last:.4g}, from {first:.4g}{beside}"))
            beside = ""
    if beside:
        rows.append(("mass constant", f"{alpha:.2e}"))
    if "residual_norm" in stats:
        rows.append(("residual", f"{stats['residual_norm']:.2e}   ((sum mu hbar^2)^(1/2))"))
    if "newton" in stats:
        solver = stats.get("linear_solver", "none")
        count = f"{stats['newton']} Newton, {stats['linear']} linear ({solver})"
        rows.append(("iterations", f"{count}, {stats['setups']} set-ups"))
    if "convexity_limit" in stats:
        limits = ((_range(stats[f"{name}_limit"]), name) for name in ("convexity", "stability"))
        rows.append(("step limits", ", ".join(f"{name} {text}" for text, name in limits)))
    rows += seconds(stats) + floors(stats)
    return rows + ([("snapshots", str(len(flow.snapshots)))] if flow.snapshots else [])


def _steps(flow: Flow) -> str:
    """Steps, times and step sizes."""
    text = str(len(flow))
    text += f", after {flow.first} of the flow before" if flow.first else ""
    text += f"   (t = {flow.times[0]:.4g} to {flow.times[-1]:.4g}"
    if len(flow):
        text += f"; step sizes {_range([flow.step_sizes.min(), flow.step_sizes.max()])}"
    rejected = flow.stats.get("rejected", 0)
    return text + (f"; {rejected} rejected)" if rejected else ")")


def _scheme(flow: Flow) -> str:
    """Scheme, schedule and side."""
    text = flow.scheme
    text += f", {flow.stats['schedule']}" if "schedule" in flow.stats else ""
    text += f", {flow.stats['kernel']} kernel" if "kernel" in flow.stats else ""
    text += ", narrower than a cell" if flow.stats.get("narrow_kernel") else ""
    return text + (", on the target's side: mu is the target" if flow.side == "target" else "")


def _range(values: Any) -> str:
    """Two numbers, or one where they agree."""
    texts = [f"{float(value):.2e}" for value in values]
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"
