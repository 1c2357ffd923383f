"""`pma-grid plot` and `pma-grid info`: saved results, transports and flows alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import inputs
from pma_grid.cli.outcome import DONE
from pma_grid.runtime.errors import InvalidInputError

if TYPE_CHECKING:
    from pma_grid.flow.flow import Flow
    from pma_grid.inference.posterior import Posterior
    from pma_grid.learning.model import Model
    from pma_grid.transport.transport import Transport

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
@click.option("-o", "--output", required=True, metavar="FILE", help="Picture or film to write.")
@click.option("--kind", type=click.Choice(KINDS), help="What to draw: of a transport poster, map, "
              "interpolation, history; of a flow panel, kl, history, animation; of a model or "
              "posterior page, or as of a transport.  [default: the first; kl of a flow without "
              "snapshots; animation for .gif and .mp4]")  # fmt: skip
def plot(result: str, output: str, kind: str | None) -> int:
    """Draw a RESULT to a picture or film: a .npz of any command that writes one.

    \b
    pma-grid plot ot.npz -o ot.png --kind interpolation
    pma-grid plot flow.npz -o flow.png
    pma-grid plot flow.npz -o flow.gif
    """
    drawn = inputs.check_picture(output, inputs.PICTURES + inputs.FILMS)
    film = Path(drawn).suffix.lower() in inputs.FILMS
    inputs.check_inputs((result,), (drawn,))
    from pma_grid.flow.flow import Flow
    from pma_grid.loading import load
    from pma_grid.transport.transport import Transport

    found = load(result)
    if kind is None and isinstance(found, Flow) and not (film or found.snapshots):
        kind = "kl"
    chosen = _kind(kind, film, _what(found), result)
    if isinstance(found, Flow):
        _draw_flow(found, chosen, drawn)
    elif chosen == "page":
        _draw_page(found, drawn)
    else:
        ot = found if isinstance(found, Transport) else found.transport
        _draw_transport(ot, chosen, drawn)
    click.echo(drawn)
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
        endings = inputs.FILMS if chosen == "animation" else inputs.PICTURES
        raise InvalidInputError(f"--kind {chosen} is written as {', '.join(endings)}; change -o")
    return chosen


def _draw_page(law: Model | Posterior, path: str) -> None:
    from pma_grid import plotting

    page = plotting.model(law) if _what(law) == "model" else plotting.posterior(law)  # type: ignore[arg-type]
    plotting.save(page, path)


def _draw_transport(ot: Transport, kind: str, path: str) -> None:
    from pma_grid import plotting

    figure: Any
    if kind == "poster":
        figure = plotting.transport(ot)
    elif kind == "interpolation":
        figure = plotting.interpolation(ot)[0].figure
    else:
        figure = (plotting.map(ot) if kind == "map" else plotting.history(ot)).figure
    plotting.save(figure, path)


def _draw_flow(flow: Flow, kind: str, path: str) -> None:
    from pma_grid import plotting

    if kind == "animation":
        plotting.animation(flow, path)
        return
    if kind == "panel":
        plotting.save(plotting.flow(flow), path)
        return
    names = [name for name in (ENTROPIES if kind == "kl" else FALLING) if name in flow.series]
    if kind == "history" and not names:
        names = list(flow.series)
    plotting.save(plotting.history(flow, names or "kl").figure, path)


@click.command()
@click.argument("result")
@click.option("--series", is_flag=True, help="With --json, of a flow: the recorded series too.")
@inputs.as_json
def info(result: str, series: bool, as_json: bool) -> int:
    """Say what a RESULT file holds: W2 or entropies, status, residual or marginal error, versions.

    \b
    pma-grid info ot.npz --json
    pma-grid info sk.npz
    """
    from pma_grid.cli import flow_report, generative_report, transport_report
    from pma_grid.cli.transport_report import plain_numbers
    from pma_grid.flow.flow import Flow
    from pma_grid.inference.posterior import Posterior
    from pma_grid.learning.model import Model
    from pma_grid.loading import load
    from pma_grid.transport.assessment import assess

    found = load(result)
    if isinstance(found, Flow):
        figures = flow_report.summary(found, series=series)
        text = flow_report.table(found, [])
    elif isinstance(found, Model):
        figures = generative_report.model_summary(found)
        text = generative_report.model_table(found, [])
    elif isinstance(found, Posterior):
        figures = {"kind": "posterior"} | found.summary()
        text = generative_report.posterior_table(found, [])
    else:
        if "assessment" not in found.stats:
            assess(found)
        figures = transport_report.summary(found)
        text = transport_report.table(found, [])
    click.echo(json.dumps(plain_numbers(figures | {"files": []})) if as_json else text)
    return DONE
