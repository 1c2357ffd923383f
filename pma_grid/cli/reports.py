"""What commands print of a result, as JSON and as lines of text; `info` repeats it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.flow.flow import Flow
from pma_grid.inference.posterior import Posterior
from pma_grid.learning.model import Model
from pma_grid.transport.transport import Transport

Rows = list[tuple[str, str]]

# Characters of the column of names, unless one is longer.
NAMES_WIDTH = 13
# Statistics that JSON has as they are, in this order: of a transport, those of an entropic one
# before them, and of a flow.
KEYS = (
    "residual", "tol", "mass_constant", "iterations", "linear_iterations", "linear_solver",
    "seconds", "compile_seconds", "floors", "candidates", "assessment", "versions",
)  # fmt: skip
ENTROPIC_KEYS = (
    "method", "map", "eps_over_h2", "cell", "primal", "dual", "transport_cost", "marginal_error",
    "marginal_errors", "omega", "divergence", "self_costs", "self_errors", "hard_dual",
    "hard_dual_other", "entries", "levels", "threads",
)  # fmt: skip
FLOW_KEYS = (
    "schedule", "side", "eps", "kernel", "narrow_kernel", "residual_norm", "mass_constant",
    "newton", "linear", "setups", "rejected", "linear_solver", "convexity_limit",
    "stability_limit", "seconds", "compile_seconds", "floors", "versions",
)  # fmt: skip
# Series of the table of a flow, in its order, as they are written there.
SHOWN = {
    "kl": "KL(rho|mu)", "reverse_kl": "KL(mu|rho)", "symmetrised_kl": "S", "tv": "TV",
    "bregman": "D(mu|rho)",
}  # fmt: skip


def report(
    result: Any, files: Sequence[str] = (), *, series: bool = False
) -> tuple[dict[str, Any], str]:
    """The figures of a result for JSON, those of a Flow with its series if asked for; its table."""
    if isinstance(result, Flow):
        figures, rows = _flow_figures(result, series), _flow_rows(result)
    elif isinstance(result, Model):
        figures, rows = _model(result)
    elif isinstance(result, Posterior):
        figures, rows = {"kind": "posterior"} | result.summary(), _posterior_rows(result)
    else:
        figures, rows = _transport_figures(result), _transport_rows(result)
    rows += [("files", ", ".join(files))] if files else []
    width = max(NAMES_WIDTH, *(len(name) for name, _ in rows))
    table = "\n".join(f"{name:<{width}}  {text}" for name, text in rows)
    return figures | {"files": list(files)}, table


def _transport_figures(ot: Transport) -> dict[str, Any]:
    """A transport for JSON."""
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
    if not isinstance(ot, EntropicTransport):
        found["equation"] = ot.solution.to_dict()
    else:
        found |= {"eps": ot.eps, "kernel": ot.kernel}
        found |= {key: stats[key] for key in ENTROPIC_KEYS if key in stats}
        if ot.tears is not None:
            found["torn_cells"] = int(ot.tears.sum())
    return found | {key: stats[key] for key in KEYS if key in stats}


def _transport_rows(ot: Transport) -> Rows:
    """A transport as rows of text."""
    stats = ot.stats
    rows = [
        ("W2", f"{ot.w2:.8g}   (W2^2 = {ot.w2_squared:.8g}, cost |x - y|^2)"),
        ("status", f"{ot.status}: {ot.message}"),
    ]
    if isinstance(ot, EntropicTransport):
        rows += _entropic_rows(ot)
    elif words := _equation(ot):
        rows.append(("equation", words))
    if "residual" in stats:
        solvers = ", ".join(stats["linear_solver"]) or "none needed"
        rows += [
            ("residual", f"{stats['residual']:.2e}   (rms; asked for {stats['tol']:.1e})"),
            ("mass constant", f"{stats['mass_constant']:.2e}"),
            ("iterations", f"{stats['iterations']} Newton, {stats['linear_iterations']} linear "
             f"({solvers} on the finest grid)"),
        ]  # fmt: skip
    rows += _seconds_and_floors(stats)
    if found := stats.get("assessment"):
        rows += [
            ("dual gap", f"{found['dual_gap']:.2e}   (cost of the map "
             f"{found['transport_cost']:.8g}, W2^2 of atoms at least {found['hard_dual']:.8g})"),
            ("push-forward", f"{found['push_forward_error']:.2e}   (L1 error on bins)"),
        ]  # fmt: skip
        if found["floor_effect"]:
            changed = f"{found['floor_effect']:.1e}   (the most that floors changed W2^2 by)"
            rows.append(("floor effect", changed))
    tried = []
    for candidate in stats.get("candidates", []):
        dual = candidate["dual"]
        bound = "" if dual is None else f", W2^2 at least {dual:.8g}"
        tried.append(f"{candidate['name']} ({candidate['status']}{bound})")
    return rows + ([("tried", "; ".join(tried))] if len(tried) > 1 else [])


def _equation(ot: Transport) -> str:
    """Which equation was solved, where it is not that of the data on their own cells."""
    solved, problem = ot.solution, ot.problem
    sides = (problem.target, problem.source) if solved.turned else (problem.source, problem.target)
    if not solved.turned and [d.grid for d in sides] == list(solved.grids):
        return ""
    direction = "target to source" if solved.turned else "source to target"
    cells = " to ".join("x".join(map(str, grid.shape)) for grid in solved.grids)
    return f"solved from {direction}, {cells} cells"


def _entropic_rows(ot: EntropicTransport) -> Rows:
    """What an entropic plan adds."""
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
    text = str(stats.get("iterations", 0))
    if "levels" in stats:
        count = len(stats["levels"])
        text += f" on the finest grid, the last of {count} stage{'s' * (count > 1)}"
    text += f"   (relaxation {stats['omega']:.3f})" if "omega" in stats else ""
    rows.append(("iterations", text))
    if ot.plan is not None:
        each = ot.plan.nnz / max(1, int((ot.problem.source.values > 0).sum()))
        rows.append(("plan", f"{ot.plan.nnz} entries, {each:.1f} a cell with mass"))
    if ot.tears is not None:
        rows.append(("tears", f"{int(ot.tears.sum())} cells beside a jump of the map"))
    return rows


def _flow_figures(flow: Flow, series: bool) -> dict[str, Any]:
    """A flow for JSON, with the series as lists if asked for."""
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
    found |= {key: flow.stats[key] for key in FLOW_KEYS if key in flow.stats}
    if series:
        arrays = {"times": flow.times, "step_sizes": flow.step_sizes, **flow.series}
        found["series"] = {name: values.tolist() for name, values in arrays.items()}
    return found


def _flow_rows(flow: Flow) -> Rows:
    """A flow as rows of text."""
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
        limits = [f"{name} {_range(stats[f'{name}_limit'])}" for name in ("convexity", "stability")]
        rows.append(("step limits", ", ".join(limits)))
    rows += _seconds_and_floors(stats)
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


def _model(model: Model) -> tuple[dict[str, Any], Rows]:
    """A model for JSON and as rows of text."""
    stats, flow = model.stats, model.flow
    chosen = stats.get("selection")
    likelihood = None if chosen is None else max(chosen["log_likelihoods"])
    edge = " (the last that is tried)" if chosen and chosen["at_edge"] else ""
    alpha, kl = float(flow["mass_constant"][-1]), float(flow["kl"][-1])
    figures = {
        "kind": "model", "converged": model.converged, "status": model.transport.status.name,
        "flow": flow.status.name, "steps": len(flow), "grid": model.grid.to_dict(),
        "names": list(model.names), "mass_constant": alpha, "kl": kl,
        "held_out_log_likelihood": likelihood, **stats,
    }  # fmt: skip
    return figures, [
        ("status", str(model.transport.status)),
        ("samples", f"{stats['samples']} in {model.grid.dim}-D, {stats['duplicates']} equal to "
         "others"),
        ("grid", model.density.describe()),
        ("method", f"{stats['method']}, strength {stats['strength']:.3g}{edge}"),
        ("held-out", "-" if likelihood is None else f"{likelihood:.4f} nats a point, "
         f"share {stats['held_out']:g}, seed {stats['seed']}"),
        ("flow", f"{_ended(flow)}, KL {kl:.1e}, mass constant {alpha:.1e}; map by "
         f"{stats['transport']}"),
        ("seconds", f"{stats['seconds']:.1f}"),
    ]  # fmt: skip


def _posterior_rows(posterior: Posterior) -> Rows:
    """A posterior as rows of text."""
    found = posterior.evidence
    rows = []
    for axis, name in enumerate(posterior.names):
        low, high = posterior.interval(axis)
        spread = f"{posterior.std[axis]:.3g}, 95 % in [{low:.6g}, {high:.6g}]"
        rows.append((name, f"{posterior.mean[axis]:.6g} +- {spread}"))
    rows += [
        ("log Z", f"{found.log_evidence:.9g} +- {found.error:.1e}"),
        ("of which", f"quadrature {found.quadrature:.1e}, tails {found.tail_error:.1e} (tails hold "
         f"{found.tail:.1e}), gap of the flow {found.gap:.1e}"),
        ("bounds", f"{found.lower:.9g} to {found.upper:.9g}, of the law with floors of "
         f"{found.floor:.1e}"),
        ("flow", f"{_ended(posterior.flow)}, mass constant {found.mass_constant:.1e}"),
        ("grid", posterior.density.describe()),
        ("evaluations", str(posterior.evaluations)),
        ("seconds", f"{posterior.stats['seconds']:.1f}"),
    ]  # fmt: skip
    if found.truncated:
        faces = ", ".join(f"{posterior.names[axis]} {side}" for axis, side in found.truncated)
        rows.append(("cut off", f"the box ends where the density has not fallen off: {faces}"))
    return rows


def _ended(flow: Flow) -> str:
    """The status of a flow behind another result, and its steps."""
    return f"{flow.status.name.lower().replace('_', ' ')} after {len(flow)} steps"


def _seconds_and_floors(stats: Mapping[str, Any]) -> Rows:
    """The time taken with what was compiled apart, and each density raised to a working floor."""
    rows = []
    if "seconds" in stats:
        compiling = f"   (and {stats['compile_seconds']:.2f} for compiling or loading kernels)"
        rows.append(("seconds", f"{stats['seconds']:.2f}{compiling}"))
    for name, floor in stats.get("floors", {}).items():
        if floor["cells"]:
            raised = f"{floor['cells']} cells raised to {floor['relative']:.1e} of the mean"
            rows.append(("floor", f"{name}: {raised}, {floor['mass_added']:.1e} of the mass"))
    return rows
