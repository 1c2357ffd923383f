"""`pma-grid fit` and `pma-grid sample`: a model of a table of points, and new points."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pma_grid.cli import output, reading
from pma_grid.cli.options import box, cells, option, takes
from pma_grid.cli.output import DONE, Output

if TYPE_CHECKING:
    from pma_grid.learning.estimators import Estimator

METHODS = ("logistic", "score", "kde", "histogram")
# What points are written to (a test compares): --help must not import it.
TABLES = (".csv", ".npz", ".npy")
# Bits of a seed that is drawn where none is given: few enough to type it.
SEED_BITS = 32


@dataclass(frozen=True)
class Learning:
    """How log mu is learned.

    method : How log mu is learned from the samples.
    penalty : What logistic penalises: second or first differences.  [default: h2]
    strength : Strength of the regularisation.  [default: chosen by held-out samples]
    held_out : Share of the samples that chooses the strength.
    relearn : Learn again at every step of the flow, until held-out samples stop it.
    seed : Seed of the split into training and held-out samples.
    """

    method: str = option(type=click.Choice(METHODS), default="logistic")
    penalty: str | None = option(type=click.Choice(("h2", "h1")))
    strength: float | None = option()
    held_out: float = option(default=0.2)
    relearn: bool = option()
    seed: int = option(type=click.IntRange(0), default=0)

    def estimator(self) -> Estimator:
        """The estimator of the options."""
        from pma_grid.learning.estimators import METHODS as MADE
        from pma_grid.learning.estimators import Logistic

        if self.method == "logistic":
            return Logistic(self.strength, self.penalty or "h2")  # type: ignore[arg-type]
        if self.penalty is not None:
            raise click.UsageError(
                f"--penalty is for --method logistic, not {self.method}; leave it out"
            )
        return MADE[self.method](self.strength)


@dataclass(frozen=True)
class Data:
    """The grid of the data.

    box : Box of the data.  [default: their range, widened]
    size : Number of cells, one for all axes or one for each.  [default: 512, 128 or 32 in 1, 2 or
        3 dimensions]
    """

    box: Any = box()
    size: Any = cells()


@click.command()
@click.argument("samples")
@takes(Output, Learning, Data, reading.Base)
def fit(out: Output, how: Learning, data: Data, base: reading.Base, samples: str) -> int:
    """Learn the law of SAMPLES and a map that draws from it.

    SAMPLES is a .csv with one row a point (1 to 3 columns; comments and a header line are fine), a
    .npy or a .npz; '-' reads one .npy from standard input.

    \b
    pma-grid fit data/geyser.csv -o model.npz --plot model.png
    pma-grid fit points.npy -o model.npz --method kde --box '0,1 0,1' --size 256
    """
    reading.check_distinct((samples,), out.files)
    estimator = how.estimator()
    from pma_grid.learning.fitting import fit as run
    from pma_grid.problem.samples import Samples
    from pma_grid.problem.tables import read_table

    points, names = read_table(samples)
    drawn = Samples(points, shape=data.size, box=data.box, name=samples)
    model = run(
        drawn, estimator, base=base.read(), held_out=how.held_out, seed=how.seed,
        relearn=how.relearn, names=names, progress=out.progress,
    )  # fmt: skip
    return output.deliver(model, out, lambda plotting: plotting.model(model, drawn))


@click.command()
@click.argument("model")
@click.option("-n", "--count", required=True, type=click.IntRange(1), help="Number of points to "
              "draw.")  # fmt: skip
@click.option("-o", "--output", "table", required=True, metavar="FILE",
              callback=output.writable(*TABLES, what="points are not written to"),
              help="File of points to write: .csv, .npz or .npy.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), help="Seed: the same one draws the same points.  "
              "[default: a new one, recorded]")  # fmt: skip
@output.picture
@output.as_json
def sample(
    model: str, count: int, table: str, seed: int | None, picture: str | None, as_json: bool
) -> int:
    """Draw points from a MODEL: a .npz of fit, infer, solve or evolve.

    Draws from the base law are moved by the inverse of the Brenier map; of solve and evolve these
    are draws from the target moved to the source.  The seed is written beside the points: into
    new.csv.json for new.csv, which has a header line and numbers alone, so that pandas and numpy
    read it as it is; inside a .npz; a .npy has no room for it.

    \b
    pma-grid sample model.npz -n 1000 -o new.csv --seed 7 --plot new.png
    """
    from pma_grid import __version__
    from pma_grid.loading import load
    from pma_grid.problem.tables import sidecar, write_table
    from pma_grid.sampling.sampler import Sampler

    beside = sidecar(table)
    files = [table, *([str(output.check_writable(beside))] if beside else []),
             *([picture] if picture else [])]  # fmt: skip
    reading.check_distinct((model,), files)
    found = load(model)
    transport = reading.transport_of(found)
    names = getattr(found, "names", tuple(f"x{axis}" for axis in range(transport.problem.dim)))
    origin = "of the source: draws from the target, moved by the inverse map"
    if (kind := type(found).__name__.lower()) in ("model", "posterior"):
        origin = f"of the {kind}: draws from its base law, moved by the map"
    used = secrets.randbits(SEED_BITS) if seed is None else seed
    sampler = Sampler(transport)
    points = sampler.sample(count, seed=used)
    facts = {
        "command": "pma-grid sample", "version": __version__, "model": model, "count": count,
        "seed": used,
    }  # fmt: skip
    write_table(table, points, names, facts)
    output.draw(lambda plotting: plotting.corner(points, sampler.density, names=names), picture)
    text = f"{count} points {origin}, seed {used}\n" + "\n".join(files)
    output.tell(facts | {"origin": origin, "files": files}, text, as_json)
    return DONE
