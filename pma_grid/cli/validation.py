"""`pma-grid validate`."""

from __future__ import annotations

import contextlib
import math
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import output
from pma_grid.cli.output import DONE, NOT_CONVERGED, say
from pma_grid.runtime import InvalidInputError

if TYPE_CHECKING:
    from pma_grid.claims import Check, ClaimResult

# Characters of the columns after the name of the claim; longer quantities go on below.
QUANTITY, NUMBER, INTERVAL = 54, 10, 20


@click.command()
@click.argument("chosen", metavar="[CLAIM ...]", nargs=-1)
@click.option("--quick", is_flag=True, help="Check on small grids, some seconds for each claim.")
@click.option("--list", "only_list", is_flag=True, help="Name the claims without checking them.")
@click.option("--plot", "folder", metavar="DIR", help="Draw a figure of each claim into this "
              "folder.")  # fmt: skip
@click.option("--markdown", is_flag=True, help="Print a short table in Markdown at the end.")
@output.as_json
@output.quiet
def validate(
    chosen: tuple[str, ...], quick: bool, only_list: bool, folder: str | None, markdown: bool,
    as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Check the claims of the theory with numbers, all of them or the CLAIMs named.

    A CLAIM may be what several names begin with: sinkhorn is all whose names start with sinkhorn-.

    A line of the table is a quantity with what was predicted, what is accepted and what was
    measured.  The exit status is 0 if every claim holds, else 1.

    \b
    pma-grid validate --list
    pma-grid validate --quick
    pma-grid validate regret --plot figures
    pma-grid validate sinkhorn
    """
    from pma_grid import claims

    names = _known(chosen, claims.NAMES)
    if only_list:
        _list(names, as_json)
        return DONE
    figures = None if folder is None else _folder(folder)
    width = max(map(len, ("claim", *names)))
    began = time.perf_counter()
    entries: list[dict[str, Any]] = []
    if not as_json:
        click.echo(_row(width, "claim", "quantity", "predicted", "accepted", "measured", "verdict"))
    for number, name in enumerate(names, 1):
        note = f"checking {name} ({number} of {len(names)}) ..."
        with _announced(note if output.progress(quiet) else ""):
            entry, result = _check(name, quick)
        entries.append(entry)
        if not as_json:
            click.echo("\n".join(_lines(width, entry, result)))
            sys.stdout.flush()
        if figures is not None and result is not None and result.panels:
            _draw(result, figures / f"{name}.png")
    status = _conclude(entries, time.perf_counter() - began, as_json)
    if markdown and not as_json:
        click.echo("\n" + "\n".join(_markdown(entries)))
    return status


@contextlib.contextmanager
def _announced(text: str) -> Iterator[None]:
    """What is being done, on the last line of a terminal until it is done."""
    try:
        click.echo(text, nl=False, err=True)
        yield
    finally:
        click.echo(f"\r{' ' * len(text)}\r" if text else "", nl=False, err=True)


def _known(chosen: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """The claims to check, each once; all without a choice.  Groups stand for their claims."""
    groups = _groups(known)
    names: list[str] = []
    for name in chosen:
        if name not in known and name not in groups:
            among = f", and of groups {', '.join(groups)}" if groups else ""
            raise InvalidInputError(
                f"claim {name!r} does not exist; the claims are {', '.join(known)}{among}"
            )
        names += [name] if name in known else groups[name]
    return list(dict.fromkeys(names or known))


def _groups(known: tuple[str, ...]) -> dict[str, list[str]]:
    """Names up to a hyphen that several claims begin with, and are none themselves."""
    groups: dict[str, list[str]] = {}
    for name in known:
        parts = name.split("-")
        for k in range(1, len(parts)):
            groups.setdefault("-".join(parts[:k]), []).append(name)
    return {
        group: names for group, names in groups.items() if len(names) > 1 and group not in known
    }


def _list(names: Iterable[str], as_json: bool) -> None:
    """Names and statements."""
    from pma_grid import claims

    said = {name: claims.statement(name) for name in names}
    if as_json:
        rows = [{"claim": name, "statement": text} for name, text in said.items()]
        output.tell({"claims": rows}, "", as_json)
        return
    width = max(map(len, said), default=0)
    for name, text in said.items():
        wrapped = textwrap.wrap(text, 98 - width)
        click.echo(f"{name:<{width}}  " + f"\n{' ' * (width + 2)}".join(wrapped))


def _folder(path: str) -> Path:
    """The folder for the figures, made if there is none."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"--plot {path} cannot be made: {error.strerror}; name a folder"
        ) from None
    output.check_writable(folder / "claim.png")
    return folder


def _check(name: str, quick: bool) -> tuple[dict[str, Any], ClaimResult | None]:
    """What checking a claim gave; one that raises has failed, and the others still run."""
    from pma_grid import claims

    began = time.perf_counter()
    try:
        result = claims.check(name, quick=quick)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return {
            "claim": name, "statement": claims.statement(name), "holds": False, "checks": [],
            "error": text, "seconds": time.perf_counter() - began,
        }, None  # fmt: skip
    return result.to_dict(), result


def _draw(result: ClaimResult, path: Path) -> None:
    """The figure of a claim; one that cannot be drawn is no verdict on the claim."""
    try:
        output.draw(lambda plotting: plotting.claim(result), str(path))
    except Exception as error:
        say(f"{path} was not drawn: {type(error).__name__}: {error}")


def _lines(width: int, entry: dict[str, Any], result: ClaimResult | None) -> list[str]:
    """The lines of a claim."""
    if result is None:
        return _wrapped(width, entry["claim"], entry["error"], ("", "", "", "FAILS"))
    if not result.checks:
        return _wrapped(width, result.name, "no quantity was checked", ("", "", "", "FAILS"))
    lines: list[str] = []
    for check in result.checks:
        verdict = "holds" if check.holds else "FAILS"
        cells = f"{check.predicted:.4g}", _accepted(check), f"{check.measured:.4g}", verdict
        lines += _wrapped(width, result.name, check.quantity, cells)
    return lines


def _markdown(entries: list[dict[str, Any]]) -> list[str]:
    """A line for each claim: its statement, its first check, and how many checks hold."""
    lines = ["| claim | for example | predicted | measured | checks |", "|---|---|---|---|---|"]
    for entry in entries:
        checks = entry["checks"]
        kept = f"{sum(row['holds'] for row in checks)} of {len(checks)}"
        first = checks[0] if checks else {"quantity": "-", "predicted": None, "measured": None}
        numbers = [
            "-" if first[key] is None else f"{first[key]:.4g}" for key in ("predicted", "measured")
        ]
        cells = [entry["statement"], first["quantity"], *numbers, kept]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _accepted(check: Check) -> str:
    """The interval or the bound that the measured value must keep."""
    low, high = math.isfinite(check.low), math.isfinite(check.high)
    if low and high:
        return f"[{check.low:.4g}, {check.high:.4g}]"
    if low or high:
        return f"<= {check.high:.4g}" if high else f">= {check.low:.4g}"
    return "any number"


def _wrapped(width: int, name: str, text: str, cells: tuple[str, str, str, str]) -> list[str]:
    """A row, and below it what its quantity has too many words for."""
    first, *rest = textwrap.wrap(text, QUANTITY) or [""]
    return [_row(width, name, first, *cells), *(_row(width, "", more) for more in rest)]


def _row(width: int, name: str, quantity: str, *cells: str) -> str:
    """One line of the table: claim, quantity, predicted, accepted, measured, verdict."""
    columns = zip(cells, (NUMBER, INTERVAL, NUMBER, 0), strict=False)
    numbers = "  ".join(f"{cell:>{column}}" for cell, column in columns)
    return f"{name:<{width}}  {quantity:<{QUANTITY}}  {numbers}".rstrip()


def _conclude(entries: list[dict[str, Any]], seconds: float, as_json: bool) -> int:
    """The last line, and the exit status."""
    holds = all(entry["holds"] for entry in entries)
    verdicts = [[row["holds"] for row in entry["checks"]] or [False] for entry in entries]
    kept, total = sum(map(sum, verdicts)), sum(map(len, verdicts))
    figures = {"claims": entries, "holds": holds, "seconds": seconds}
    output.tell(figures, f"{kept} of {total} checks hold in {seconds:.1f} s", as_json)
    return DONE if holds else NOT_CONVERGED
