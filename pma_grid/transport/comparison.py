"""`compare`: transports of one problem side by side, whoever made them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pma_grid.problem.density import Density
from pma_grid.runtime import InvalidInputError, plain, text_table
from pma_grid.transport.pushforward import Bins
from pma_grid.transport.transport import Transport

# Densities that differ by no more than this, relative to their largest value, are the same.
SAME_DENSITY_DIFFERENCE = 1e-9


@dataclass(frozen=True)
class Row:
    """One transport against the reference; NaN where a figure does not exist.

    Attributes
    ----------
    name : str
    w2 : float
        The transport's own W2, length; of an entropic one the dual value with eps forgotten.
    gap, relative_gap : float
        W2 minus the reference's, length; and divided by the reference's.
    map_l2 : float
        (int |T - T_ref|^2 dmu)^{1/2} over the cell centres, length.
    map_max : float
        max |T - T_ref| over the cell centres where mu > 0, length.
    push_l1 : float
        sum over bins of |T#mu - nu|, between 0 and 2; see ``push_forward_error`` of `assess`.
    marginal_error : float
        sum |P's marginals - (mu, nu)| of an entropic plan.
    iterations : int or None
        As the method counts them: Newton steps, sweeps, cycles.
    seconds : float
    status : str
    converged : bool
    """

    name: str
    w2: float
    gap: float
    relative_gap: float
    map_l2: float
    map_max: float
    push_l1: float
    marginal_error: float
    iterations: int | None
    seconds: float
    status: str
    converged: bool


# Heading and format of every column but the name.
COLUMNS = (
    ("W2", "w2", ".8g"), ("gap", "gap", "+.2e"), ("gap/W2", "relative_gap", "+.2e"),
    ("map L2", "map_l2", ".2e"), ("map max", "map_max", ".2e"), ("push L1", "push_l1", ".2e"),
    ("marginal", "marginal_error", ".1e"), ("its", "iterations", "d"),
    ("seconds", "seconds", ".3g"), ("status", "status", "s"),
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; printing it prints the table.

    Attributes
    ----------
    rows : tuple of Row
        The reference first.
    bins : tuple of int
        Bins an axis of ``push_l1``.
    transports : tuple of Transport
        In the order of the rows, for pictures.
    """

    rows: tuple[Row, ...]
    bins: tuple[int, ...]
    transports: tuple[Transport, ...] = field(repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rows, the reference's first."""
        return tuple(row.name for row in self.rows)

    @property
    def reference(self) -> Transport:
        """The first transport."""
        return self.transports[0]

    def __getitem__(self, name: str) -> Row:
        """The row of a name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise InvalidInputError(
            f"the comparison has no row {name!r}; its rows are {', '.join(self.names)}"
        )

    def table(self) -> str:
        """The rows as text, one line each; '-' where a figure does not exist."""
        heads = ["", *(head for head, _, _ in COLUMNS)]
        rows = [
            [row.name, *(_cell(getattr(row, name), form) for _, name, form in COLUMNS)]
            for row in self.rows
        ]
        return text_table(heads, rows, left=(0, len(COLUMNS)))

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """Rows for JSON; what is not finite becomes None."""
        rows = [asdict(row) for row in self.rows]
        return dict(plain({"reference": self.names[0], "bins": self.bins, "rows": rows}))


def _cell(value: Any, form: str) -> str:
    """A figure as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return format(value, form)


def compare(*transports: Transport, names: Sequence[str] | None = None) -> Comparison:
    """Compare transports of one problem with the first of them.

    Parameters
    ----------
    *transports : Transport
        At least one: of `solve`, `sinkhorn`, a flow's ``transport``, one of `pma_grid.peers`, or
        `Transport.from_potential` of what another package returned.  The first is the reference.
    names : sequence of str, optional
        One a transport, all different; default what the transports are.

    Returns
    -------
    Comparison

    Raises
    ------
    InvalidInputError
        Nothing to compare, other grids or other densities than the reference's, or names that do
        not fit.

    Notes
    -----
    Maps are compared at the source's cell centres, where ``gradient`` gives them: the gradient of
    the potential, for entropic plans the barycentric projection.  eps counts with the cost
    |x - y|^2/2 everywhere, W2 with |x - y|^2.

    Examples
    --------
    >>> import numpy as np
    >>> import pma_grid as pma
    >>> x = (np.arange(32) + 0.5) / 32
    >>> ot = pma.solve(pma.Problem(1 + 0.5 * np.cos(np.pi * x), np.ones(32)))
    >>> other = pma.Transport.from_potential(ot.problem, ot.potential + 3.0)
    >>> found = pma.compare(ot, other, names=("solve", "shifted by a constant"))
    >>> bool(found["shifted by a constant"].map_max < 1e-12)
    True
    """
    _check(transports)
    given = _default_names(transports) if names is None else _checked_names(names, len(transports))
    reference = transports[0]
    bins = Bins(reference.problem)
    rows = tuple(
        _row(name, transport, reference, bins)
        for name, transport in zip(given, transports, strict=True)
    )
    return Comparison(rows, bins.shape, transports)


def _check(transports: tuple[Transport, ...]) -> None:
    """Every transport belongs to the problem of the first."""
    if not transports:
        raise InvalidInputError("there is nothing to compare; give transports: compare(ot, sk)")
    for k, transport in enumerate(transports):
        if not isinstance(transport, Transport):
            raise InvalidInputError(
                f"argument {k} of compare is a {type(transport).__name__}, not a Transport; of a "
                "flow pass flow.transport, of a potential Transport.from_potential(problem, u)"
            )
        for side in ("source", "target"):
            first, other = (getattr(t.problem, side) for t in (transports[0], transport))
            _check_density(f"the {side} of transport {k}", first, other)


def _check_density(what: str, first: Density, other: Density) -> None:
    if first.grid != other.grid:
        raise InvalidInputError(
            f"{what} is {other.describe()}, that of the first {first.describe()}; they must be the "
            "same grid: solve the same problem, or resample the densities first"
        )
    difference = float(np.abs(first.relative - other.relative).max())
    if difference > SAME_DENSITY_DIFFERENCE * float(first.relative.max()):
        raise InvalidInputError(
            f"{what} differs from that of the first by up to {difference:.3g} of the mean "
            "density; they must be the same: solve the same problem, or wrap the potential with "
            "Transport.from_potential(first.problem, other.potential)"
        )


def _checked_names(names: object, count: int) -> tuple[str, ...]:
    given: tuple[Any, ...] = (names,)
    if isinstance(names, Iterable) and not isinstance(names, str):
        given = tuple(names)
    words = all(isinstance(name, str) and name.strip() for name in given)
    if len(given) != count or len(set(given)) != count or not words:
        raise InvalidInputError(
            f"names is {names!r}; {count} different names are needed, one a transport"
        )
    return given


def _default_names(transports: tuple[Transport, ...]) -> tuple[str, ...]:
    """What the transports are; repeated names are numbered."""
    names: list[str] = []
    for transport in transports:
        name, count = _kind(transport), 1
        while name in names:
            count += 1
            name = f"{_kind(transport)} ({count})"
        names.append(name)
    return tuple(names)


def _kind(transport: Transport) -> str:
    """The method and its eps, as far as the statistics tell."""
    stats = transport.stats
    methods = {"dense": "sinkhorn", "multiscale": "multiscale"}
    method = stats.get("peer") or methods.get(str(stats.get("method")))
    if method is not None:
        words = [str(method), f"eps={stats['eps']:g}"]
        words += ["debiased"] if stats.get("debiased") or stats.get("map") == "debiased" else []
        words += ["reflect"] if getattr(transport, "kernel", "plain") == "reflect" else []
        return " ".join(words)
    if "scheme" in stats or "schedule" in stats:
        return "flow"
    return "solve" if "levels" in stats else "potential"


def _row(name: str, transport: Transport, reference: Transport, bins: Bins) -> Row:
    masses = reference.problem.source.masses
    squares = ((transport.gradient - reference.gradient) ** 2).sum(axis=0)
    w2, base = transport.w2, reference.w2
    iterations = transport.stats.get("iterations")
    return Row(
        name=name,
        w2=w2,
        gap=w2 - base,
        relative_gap=(w2 - base) / base if base > 0 else math.nan,
        map_l2=float(np.sqrt((masses * squares).sum())),
        map_max=float(np.sqrt(squares[masses > 0].max())),
        push_l1=bins.error(transport),
        marginal_error=float(transport.stats.get("marginal_error", math.nan)),
        iterations=None if iterations is None else int(iterations),
        seconds=float(transport.stats.get("seconds", math.nan)),
        status=str(transport.status),
        converged=transport.converged,
    )
