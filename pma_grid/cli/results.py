"""`pma-grid plot` and `pma-grid info`: saved results, transports and flows alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pma_grid.cli import output, reading
from pma_grid.cli.output import DONE
from pma_grid.runtime import InvalidInputError

# What can be drawn; the first is the default.
TRANSPORT_KINDS = ("poster", "map", "interpolation", "history")
FLOW_KINDS = ("panel", "kl", "history", "animation")
LAW_KINDS = ("page", *TRANSPORT_KINDS)
KINDS = tuple(dict.fromkeys(TRANSPORT_KINDS + FLOW_KINDS + LAW_KINDS))
# Series drawn by the two kinds of history: those that fall to zero share a logarithmic axis.
ENTROPIES = ("kl", "reverse_kl", "symmetrised_kl")
FALLING = (*ENTROPIES, "tv", "chi2", "dissipation", "bregman")


@click.command()
@click.argument("result")
@click.option("-o", "--output", "path", required=True, metavar="FILE",
              callback=output.writable(*output.PICTURES, *output.FILMS), help="Picture or film to "
              "write.")  # fmt: skip
@click.option("--kind", type=click.Choice(KINDS), help="What to draw: of a transport poster, map, "
              "interpolation, history; of a flow panel, kl, history, animation; of a model or "
              "posterior page, or as of a transport.  [default: the first; kl of a flow without "
              "snapshots; animation for .gif and .mp4]")  # fmt: skip
def plot(result: str, path: str, kind: str | None) -> int:
    """Draw a RESULT to a picture or film: a .npz of any command that writes one.

    \b
    pma-grid plot ot.npz -o ot.png --kind interpolation
    pma-grid plot flow.npz -o flow.png
    pma-grid plot flow.npz -o flow.gif
    """
    reading.check_distinct((result,), (path,))
    from pma_grid import plotting
    from pma_grid.loading import load

    found, film = load(result), Path(path).suffix.lower() in output.FILMS
    word = _what(found)
    if kind is None and word == "flow" and not (film or found.snapshots):
        kind = "kl"
    chosen = _kind(kind, film, word, result)
    if chosen == "animation":
        plotting.animation(found, path)
    else:
        plotting.save(_figure(plotting, found, word, chosen), path)
    click.echo(path)
    return DONE


def _what(found: object) -> str:
    """flow, model, posterior or transport."""
    name = type(found).__name__.lower()
    return name if name in ("flow", "model", "posterior") else "transport"


def _kind(kind: str | None, film: bool, word: str, result: str) -> str:
    """What to draw, checked against what the file holds and the ending of the output."""
    kinds = {"flow": FLOW_KINDS, "transport": TRANSPORT_KINDS}.get(word, LAW_KINDS)
    chosen = kind or ("animation" if film else kinds[0])
    if chosen not in kinds:
        what = "a film" if chosen == "animation" else f"--kind {chosen}"
        raise InvalidInputError(
            f"{result} holds a {word}, of which {what} cannot be drawn; use --kind "
            f"{', '.join(kinds)}"
        )
    if (chosen == "animation") != film:
        endings = output.FILMS if chosen == "animation" else output.PICTURES
        raise InvalidInputError(f"--kind {chosen} is written as {', '.join(endings)}; change -o")
    return chosen


def _figure(plotting: Any, found: Any, word: str, kind: str) -> Any:
    """A picture of a result; the word says what the result is."""
    if kind == "page":
        return plotting.model(found) if word == "model" else plotting.posterior(found)
    if word == "flow":
        if kind == "panel":
            return plotting.flow(found)
        # entropies, or all series that fall to zero, else all there are
        wanted, others = (ENTROPIES, []) if kind == "kl" else (FALLING, list(found.series))
        return plotting.history(
            found, [name for name in wanted if name in found.series] or others or "kl"
        )
    ot = reading.transport_of(found)
    if kind == "interpolation":
        return plotting.interpolation(ot)[0]
    kinds = {"poster": plotting.transport, "map": plotting.map, "history": plotting.history}
    return kinds[kind](ot)


@click.command()
@click.argument("result")
@click.option("--series", is_flag=True, help="Add the recorded series of a flow to --json.")
@output.as_json
def info(result: str, series: bool, as_json: bool) -> int:
    """Say what a RESULT file holds: W2 or entropies, status, residual or marginal error, versions.

    \b
    pma-grid info ot.npz --json
    pma-grid info sk.npz
    """
    from pma_grid.cli.reports import report
    from pma_grid.loading import load
    from pma_grid.transport.assessment import assess

    found = load(result)
    if _what(found) == "transport" and "assessment" not in found.stats:
        assess(found)
    output.tell(*report(found, series=series), as_json)
    return DONE
