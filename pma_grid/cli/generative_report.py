"""The figures of a Model and of a Posterior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pma_grid.cli.figures import Rows

if TYPE_CHECKING:
    from pma_grid.inference.posterior import Posterior
    from pma_grid.learning.model import Model


def model_figures(model: Model) -> dict[str, Any]:
    """A model for JSON."""
    flow = model.flow
    return {
        "kind": "model", "converged": model.converged, "status": model.transport.status.name,
        "flow": flow.status.name, "steps": len(flow), "grid": model.grid.to_dict(),
        "names": list(model.names), "mass_constant": float(flow["mass_constant"][-1]),
        "kl": float(flow["kl"][-1]),
        "held_out_log_likelihood": _held_out(model), **model.stats,
    }  # fmt: skip


def model_rows(model: Model) -> Rows:
    """A model as rows of text."""
    stats, flow = model.stats, model.flow
    likelihood = _held_out(model)
    return [
        ("status", str(model.transport.status)),
        ("samples", f"{stats['samples']} in {model.grid.dim}-D, {stats['duplicates']} equal to "
         "others"),
        ("grid", model.density.describe()),
        ("method", f"{stats['method']}, strength {stats['strength']:.3g}" + _edge(stats)),
        ("held-out", "-" if likelihood is None else f"{likelihood:.4f} nats a point, "
         f"share {stats['held_out']:g}, seed {stats['seed']}"),
        ("flow", f"{flow.status.name.lower().replace('_', ' ')} after {len(flow)} steps, KL "
         f"{flow['kl'][-1]:.1e}, mass constant {flow['mass_constant'][-1]:.1e}; map by "
         f"{stats['transport']}"),
        ("seconds", f"{stats['seconds']:.1f}"),
    ]  # fmt: skip


def posterior_rows(posterior: Posterior) -> Rows:
    """A posterior as rows of text."""
    found, flow = posterior.evidence, posterior.flow
    rows = [
        (
            name,
            f"{posterior.mean[axis]:.6g} +- {posterior.std[axis]:.3g}, 95 % in "
            "[{:.6g}, {:.6g}]".format(*posterior.interval(axis)),
        )
        for axis, name in enumerate(posterior.names)
    ]
    rows += [
        ("log Z", f"{found.log_evidence:.9g} +- {found.error:.1e}"),
        ("of which", f"quadrature {found.quadrature:.1e}, tails {found.tail_error:.1e} (tails hold "
         f"{found.tail:.1e}), gap of the flow {found.gap:.1e}"),
        ("bounds", f"{found.lower:.9g} to {found.upper:.9g}, of the law with floors of "
         f"{found.floor:.1e}"),
        ("flow", f"{flow.status.name.lower().replace('_', ' ')} after {len(flow)} steps, mass "
         f"constant {found.mass_constant:.1e}"),
        ("grid", posterior.density.describe()),
        ("evaluations", str(posterior.evaluations)),
        ("seconds", f"{posterior.stats['seconds']:.1f}"),
    ]  # fmt: skip
    if found.truncated:
        faces = ", ".join(f"{posterior.names[axis]} {side}" for axis, side in found.truncated)
        rows.append(("cut off", f"the box ends where the density has not fallen off: {faces}"))
    return rows


def _held_out(model: Model) -> float | None:
    """The likelihood of held-out samples at the strength chosen."""
    chosen = model.stats.get("selection")
    return None if chosen is None else max(chosen["log_likelihoods"])


def _edge(stats: Mapping[str, Any]) -> str:
    """A remark where the best strength is the last that was tried."""
    chosen = stats.get("selection")
    return " (the last that is tried)" if chosen and chosen["at_edge"] else ""
