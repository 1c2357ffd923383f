"""`pma-grid fit` and `pma-grid sample`: a model of a table of points, and new points."""

from __future__ import annotations

import json
import secrets
import sys
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import inputs
from pma_grid.cli.outcome import DONE, NOT_CONVERGED, say
from pma_grid.runtime.errors import InvalidInputError

if TYPE_CHECKING:
    from pma_grid.learning.estimators import Estimator

METHODS = ("logistic", "score", "kde", "histogram")
# Seeds that are drawn where none is given have so many bits: short enough to type.
SEED_BITS = 32


@click.command()
@click.argument("samples")
@click.option("-o", "--output", required=True, metavar="FILE", help="Model to write (.npz).")
@click.option("--method", type=click.Choice(METHODS), default="logistic", show_default=True,
              help="How log mu is learned from the samples.")  # fmt: skip
@click.option("--penalty", type=click.Choice(("h2", "h1")), help="Of logistic: on second or first "
              "differences  [default: h2]")  # fmt: skip
@click.option("--strength", type=float, help="Of the regularisation  [default: chosen by held-out "
              "samples]")  # fmt: skip
@inputs.base_law("if samples fill the box")
@inputs.box("--box", "Box of the data  [default: their range, widened]")
@inputs.cells("512, 128 or 32")
@click.option("--held-out", type=float, default=0.2, show_default=True, help="Share of the samples "
              "that chooses the strength.")  # fmt: skip
@click.option("--relearn", is_flag=True, help="Learn again at every step, until held-out samples "
              "stop it.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the "
              "division of the samples.")  # fmt: skip
@click.option("--plot", "picture", metavar="FILE", help="Picture to write as well.")
@inputs.as_json
@inputs.quiet
def fit(
    samples: str, output: str, method: str, penalty: str | None, strength: float | None,
    base: str | None, box: Any, base_box: Any, size: Any, held_out: float, relearn: bool,
    seed: int, picture: str | None, as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Learn the law of SAMPLES and a map that draws from it.

    SAMPLES is a .csv with one row a point (1 to 3 columns; comments and a header line are fine), a
    .npy or a .npz; '-' reads one .npy from standard input.

    \b
    pma-grid fit data/geyser.csv -o model.npz --plot model.png
    pma-grid fit points.npy -o model.npz --method kde --box '0,1 0,1' --size 256
    """
    written = inputs.check_output(output)
    drawn = inputs.check_picture(picture) if picture else None
    inputs.check_inputs((samples,), (written, drawn))
    estimator = _estimator(method, penalty, strength)
    from pma_grid.learning.fitting import fit as run
    from pma_grid.problem.samples import Samples
    from pma_grid.problem.tables import read_table

    points, names = read_table(samples)
    data = Samples(points, shape=size, box=box, name=samples)
    model = run(
        data, estimator, base=inputs.read_base(base, base_box), held_out=held_out, seed=seed,
        relearn=relearn, names=names, progress=sys.stderr.isatty() and not quiet,
    )  # fmt: skip
    model.save(written)
    if drawn is not None:
        from pma_grid import plotting

        plotting.save(plotting.model(model, data), drawn)
    from pma_grid.cli import generative_report as report
    from pma_grid.cli.transport_report import plain_numbers

    files = [written, *filter(None, (drawn,))]
    summary = report.model_summary(model) | {"files": files}
    text = json.dumps(plain_numbers(summary)) if as_json else report.model_table(model, files)
    click.echo(text)
    if not model.converged:
        say(f"did not converge: {model.transport.message} The model so far is in {written}.")
    return DONE if model.converged else NOT_CONVERGED


def _estimator(method: str, penalty: str | None, strength: float | None) -> Estimator:
    """The estimator of the options."""
    from pma_grid.learning.estimators import Logistic
    from pma_grid.learning.fitting import METHODS as MADE

    if penalty is not None and method != "logistic":
        raise click.UsageError(f"--penalty is for --method logistic, not {method}; leave it out")
    if method == "logistic":
        return Logistic(strength, penalty or "h2")  # type: ignore[arg-type]
    return MADE[method](strength)


@click.command()
@click.argument("model")
@click.option("-n", "--count", required=True, type=click.IntRange(1), help="Points to draw.")
@click.option("-o", "--output", required=True, metavar="FILE", help="Points to write: .csv, .npz "
              "or .npy.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), help="The same seed draws the same points  "
              "[default: a new one, recorded]")  # fmt: skip
@click.option("--plot", "picture", metavar="FILE", help="Picture to write as well.")
@inputs.as_json
def sample(
    model: str, count: int, output: str, seed: int | None, picture: str | None, as_json: bool
) -> int:
    """Draw points from a MODEL: a .npz of fit, infer, solve or evolve.

    Draws from the base law are moved by the inverse of the Brenier map; of solve and evolve these
    are draws from the target moved to the source.  The seed is written beside the points: in the
    first line of a .csv, which begins with #, inside a .npz; a .npy has no room for it.

    \b
    pma-grid sample model.npz -n 1000 -o new.csv --seed 7 --plot new.png
    """
    from pma_grid import __version__
    from pma_grid.problem.tables import WRITTEN, write_table

    written = inputs.check_output(output)
    if not written.lower().endswith(WRITTEN):
        raise InvalidInputError(
            f"{written} has an ending that points are not written to; use {', '.join(WRITTEN)}"
        )
    drawn = inputs.check_picture(picture) if picture else None
    inputs.check_inputs((model,), (written, drawn))
    from pma_grid.loading import load
    from pma_grid.sampling.sampler import Sampler
    from pma_grid.transport.transport import Transport

    found = load(model)
    transport = found if isinstance(found, Transport) else found.transport
    names = getattr(found, "names", tuple(f"x{axis}" for axis in range(transport.problem.dim)))
    used = secrets.randbits(SEED_BITS) if seed is None else seed
    sampler = Sampler(transport)
    points = sampler.sample(count, seed=used)
    facts = {
        "command": "pma-grid sample", "version": __version__, "model": model, "count": count,
        "seed": used,
    }  # fmt: skip
    write_table(written, points, names, facts)
    if drawn is not None:
        from pma_grid import plotting

        plotting.save(plotting.corner(points, sampler.density, names=names), drawn)
    files = [written, *filter(None, (drawn,))]
    if as_json:
        click.echo(json.dumps(facts | {"origin": _origin(found), "files": files}))
    else:
        click.echo(f"{count} points {_origin(found)}, seed {used}\n" + "\n".join(files))
    return DONE


def _origin(found: object) -> str:
    """Where the points of a result come from."""
    name = type(found).__name__.lower()
    if name in ("model", "posterior"):
        return f"of the {name}: draws from its base law, moved by the map"
    return "of the source: draws from the target, moved by the inverse map"
