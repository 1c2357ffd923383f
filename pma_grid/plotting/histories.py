"""Curves over time or over iterations: the series of a flow, the residuals of a solve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.flow.flow import Flow
from pma_grid.plotting import canvas
from pma_grid.plotting.canvas import COLOURS, FAINT, INK
from pma_grid.runtime import InvalidInputError, check_positive
from pma_grid.transport.transport import Transport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIME_LABEL = "t [length²]"
# Symbol and unit of every observable; a flow on the target's side has ν in the place of μ.
SYMBOLS = {
    "kl": ("KL(ρ | μ)", ""),
    "reverse_kl": ("KL(μ | ρ)", ""),
    "symmetrised_kl": ("KL(ρ | μ) + KL(μ | ρ)", ""),
    "dissipation": ("dissipation I", "length⁻²"),
    "tv": ("TV(ρ, μ)", ""),
    "chi2": ("χ²(ρ | μ)", ""),
    "max_h": ("max h", ""),
    "min_h": ("min h", ""),
    "mass_defect": ("mass defect", ""),
    "mass_constant": ("mass constant α", ""),
    "convexity_margin": ("smallest eigenvalue of D²u", ""),
    "hessian_max": ("largest eigenvalue of D²u", ""),
    "lot_speed": ("LOT speed", "length⁻¹"),
    "semidual": ("J(u)", "length²"),
    "potential_mean": ("mean of u", "length²"),
    "forward_divergence": ("D(ρₖ | ρₖ₊₁)", "length²"),
    "backward_divergence": ("D(ρₖ₊₁ | ρₖ)", "length²"),
    "bregman": ("D(μ | ρ)", "length²"),
    "potential_error": ("error of u", "length²"),
    "map_error": ("error of ∇u", "length"),
}
# Curves that coincide, as the two entropies near the end, are both seen; dots are for floors.
LINE_STYLES = ("-", "--", "-.")
# Curves of fewer iterations mark each.
LEAST_UNMARKED = 40
ENTROPIES = ("kl", "reverse_kl", "symmetrised_kl")


@overload
def history(result: Transport, names: Axes | None = None, ax: Axes | None = None) -> Axes: ...


@overload
def history(
    result: Flow,
    names: str | Sequence[str] = "kl",
    ax: Axes | None = None,
    *,
    floor: float | None = None,
) -> Axes: ...


def history(
    result: Transport | Flow,
    names: Any = None,
    ax: Axes | None = None,
    *,
    floor: float | None = None,
) -> Axes:
    """Draw series of a flow against time, or the errors of a solver over its iterations.

    Parameters
    ----------
    result : Flow or Transport
        Of a Flow recorded series are drawn.  Of a Transport of `solve` the residual over the Newton
        steps of all grids is drawn, one line for each grid; of an EntropicTransport the L1 error of
        the marginals over the iterations on its own grid.
    names : str or sequence of str, optional
        Series of a Flow to draw, by default "kl".  With a Transport the axes may stand here.
    ax : Axes, optional
        Where to draw; a new figure by default.
    floor : float, optional
        With a Flow: the value that the discretisation error keeps the series above, drawn as a
        dotted line.

    Returns
    -------
    Axes

    Raises
    ------
    InvalidInputError
        A series that is not recorded, a Transport that was not solved for, a floor <= 0.

    Notes
    -----
    The axis of values is logarithmic where no series is negative; zeros are then gaps.  With a
    relative entropy the legend gives the mass constant alpha = log sum mu e^h at the end of the
    flow: an entropy of zero says that the flow has come to rest, and alpha says how well the grid
    resolves the densities.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> problem = pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32))
    >>> flow = pma.evolve(problem, schedule=pma.schedules.constant(0.1), steps=5)
    >>> len(pma.plotting.history(flow, ("kl", "reverse_kl")).lines)
    2
    """
    if isinstance(result, Transport):
        if isinstance(names, str | list | tuple) or floor is not None:
            raise InvalidInputError(
                "names or floor is given with a Transport, which has no series: leave them out or "
                "draw a Flow"
            )
        place: Any = names if ax is None else ax
        return _iterations(result, place)
    chosen: Any = (names,) if isinstance(names, str) else ("kl",) if names is None else names
    return _series(result, tuple(chosen), ax, floor)


def symbol(flow: Flow, name: str) -> str:
    """A series as it is written in formulas, with its unit; unknown names stay as they are."""
    text, unit = SYMBOLS.get(name, (name, ""))
    if flow.side == "target":
        text = text.replace("μ", "ν")
    return f"{text} [{unit}]" if unit else text


def _series(flow: Flow, chosen: Sequence[str], ax: Axes | None, floor: float | None) -> Axes:
    """Series of a flow against time."""
    if not chosen:
        raise InvalidInputError(
            f"names is empty; it must name a series to draw: the flow has {', '.join(flow.series)}"
        )
    curves = {name: flow[name] for name in chosen}
    if floor is not None:
        check_positive(floor, "floor", "it is in the unit of the series")
    ax = canvas.given_or_new(ax, 5.0, 3.4)
    marker = "" if len(flow) else "o"  # a start alone is no line
    for k, (name, values) in enumerate(curves.items()):
        colour, style = COLOURS[k % len(COLOURS)], LINE_STYLES[k % len(LINE_STYLES)]
        ax.plot(flow.times, values, lw=1.6, color=colour, ls=style, marker=marker,
                label=symbol(flow, name))  # fmt: skip
    if floor is not None:
        ax.axhline(floor, color=FAINT, lw=1.2, ls=":", label="discretisation floor")
    if not any((values < 0).any() for values in curves.values()) and any(
        (values > 0).any() for values in curves.values()
    ):
        ax.set_yscale("log", nonpositive="mask")
    label = None
    if len(chosen) == 1:
        label = symbol(flow, chosen[0])
    elif set(chosen) <= set(ENTROPIES):
        label = "relative entropy"
    # flows of closed forms have none
    alpha = flow.series.get("mass_constant", [flow.stats.get("mass_constant")])[-1]
    title = None
    if alpha is not None and set(chosen) & set(ENTROPIES):
        title = f"mass constant α = {canvas.scientific(float(alpha))}"
    if title or len(chosen) > 1 or floor is not None:
        canvas.legend(ax, title=title, title_fontsize=8).get_title().set_color(INK)
    canvas.open_corner(ax, TIME_LABEL, label)
    return ax


def _iterations(transport: Transport, ax: Axes | None) -> Axes:
    """Errors over iterations, with the tolerance."""
    records = transport.stats.get("history")
    if not records:
        raise InvalidInputError(
            "transport has no history: no equation was solved for it, or its solver keeps none; "
            "draw a result of solve or sinkhorn"
        )
    ax = canvas.given_or_new(ax, 5.0, 3.4)
    if isinstance(transport, EntropicTransport):
        _marginals(transport, records, ax)
    else:
        _newton(records, ax)
    ax.axhline(transport.stats["tol"], color=COLOURS[1], lw=1, ls="--")
    # at the left edge, whatever the range
    ax.annotate("tolerance", (0, transport.stats["tol"]), xycoords=("axes fraction", "data"),
                xytext=(4, 3), color=COLOURS[1], textcoords="offset points",
                fontsize=8)  # fmt: skip
    canvas.open_corner(ax)
    return ax


def _marginals(transport: EntropicTransport, errors: Sequence[float], ax: Axes) -> None:
    """The marginals' error over the iterations on the transport's grid."""
    marker = "o" if len(errors) < LEAST_UNMARKED else ""
    steps = range(1, len(errors) + 1)
    ax.semilogy(steps, errors, marker + "-", ms=3, lw=1.2, color=COLOURS[0])
    shape = canvas.size_text(transport.problem.source.shape, "×")
    title = f"ε = {canvas.scientific(transport.eps)}"
    if "omega" in transport.stats:
        title += f", relaxation {transport.stats['omega']:.3g} at the end"
    canvas.titled(ax, title, 9)
    ax.set_xlabel(f"iterations on grid {shape}")
    ax.set_ylabel("L1 error of the marginals")


def _newton(records: Sequence[dict[str, Any]], ax: Axes) -> None:
    """The residual over the Newton steps of all grids, coarse to fine, one line a grid."""
    levels: dict[tuple[int, ...], list[tuple[int, float]]] = {}
    for count, record in enumerate(records):
        levels.setdefault(tuple(record["level"]), []).append((count, record["residual"]))
    for k, (shape, points) in enumerate(levels.items()):
        shade = 0.25 + 0.75 * (k + 1) / len(levels)
        x, y = zip(*points, strict=True)
        ax.semilogy(x, y, "o-", ms=3, lw=1.2, color=COLOURS[0], alpha=shade)
        ax.annotate(canvas.size_text(shape, "×"), points[0], xytext=(0, 5), ha="center",
                    textcoords="offset points", color=INK, fontsize=7)  # fmt: skip
    ax.set_xlabel("evaluations over all grids, coarse to fine")
    ax.set_ylabel("rms residual")
