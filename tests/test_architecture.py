"""The import table: who may know whom.  Change it when the design changes, with the reason."""

import ast
from pathlib import Path

import pytest

import pma_grid

PACKAGE = Path(str(pma_grid.__file__)).parent

# A module imports only from strictly lower rows.
ROWS = (
    # kernels know arrays only and are below everything that prepares their arguments
    ("errors", "kernels"),
    # workers: threads that run kernels; they know tasks, not what these do
    ("workers",),
    # readers: below density, because Density.from_image reads pictures; they know errors only
    # validation, averaging: parts of Density that need no grid object
    # lattice: index bookkeeping between kernels and everything that calls them
    # progress: a terminal line; knows no solver
    ("averaging", "lattice", "sums", "progress", "readers", "schedules", "storage", "validation"),
    # smoothing: cosine transforms of fields; tables: points in files
    ("smoothing", "tables"),
    ("grid",),  # takes the largest number of axes from validation
    # domains: convex sets cut the cells of a grid
    # samples: points of an unknown law on a grid
    ("linsolve", "density", "domains", "samples"),
    # superbases: lists of lattice bases that the equation is compared over
    # target: a density between its cell centres, for the equation to be evaluated at grad u
    # extension: the lattice between a box and a convex set; linsolve sees a lattice like any other
    # base_laws: named densities that samplers draw from
    ("problem", "conjugate", "superbases", "target", "extension", "base_laws"),
    # restriction: what a convex set makes of a problem's target
    # rearrangement: the solution on one axis, of the same splines as the equation's target
    # cell_images: the part of the equation that averages a target over images of cells
    # log_density: a density at points, by the same splines as the equation's target
    ("restriction", "cell_images", "rearrangement", "log_density"),
    ("operator", "certificate"),
    # quadrature: the integrals of a potential that transport reports
    # mirrors: what a flow must know of its mirror, with the divergences that a State needs
    ("quadrature", "mirrors"),
    # newton: the globalised step, used by stationary; parabolic: the operator in log form, a mirror
    ("transport", "newton", "parabolic"),
    # cascade: nested iteration over grids, below everything that decides what to do with it
    # pushforward: what a map makes of the source, on bins; entropic transports are drawn with it
    ("flow", "pushforward", "cascade"),  # a State carries a mirror operator, a Flow a Transport
    # observables: functions of a State; oracles: flows in closed form, they return a Flow;
    # entropic: Sinkhorn's algorithm (a package named sinkhorn would hide the function)
    ("entropic", "stepping", "observables", "oracles"),
    # peers: other packages' plans as entropic transports
    # assessment: figures that any transport has, entropic ones included
    # sampler: draws through any transport, entropic ones included, and their likelihoods
    ("assessment", "peers", "sampler"),
    ("cases",),  # closed forms come from oracles
    # globalisation: the attempts of solve and the choice between them; it tries entropic plans
    ("globalisation",),
    # beginning: where a flow starts; it makes the first State with stepping
    ("stationary", "beginning"),
    # recording: the fold over states; equilibrium: the stationary potential, from stationary
    ("recording", "equilibrium"),
    ("marching",),  # the time loop of all flows; it feeds a recorder
    # modules named evolve and sinkhorn_flow would hide the functions
    ("evolution", "entropic_flow"),
    # precompile: compiles the kernels, nothing else
    # comparison: a module named compare would hide the function
    ("theory", "convergence", "comparison", "pairwise", "precompile", "quality"),
    # learning, inference: flows towards laws known through points or up to a constant
    ("learning", "inference"),
    # loading: reads every kind of result, so it knows them all
    ("claims", "loading"),
    ("plotting",),  # draws claims too
    ("cli", "__init__"),
    ("__main__",),
)
ROW = {name: row for row, names in enumerate(ROWS) for name in names}

# Heavy libraries and the only place that may import them.
CONFINED = {
    "numba": "kernels", "pyamg": "linsolve", "matplotlib": "plotting",
    "ot": "peers", "ott": "peers", "jax": "peers", "geomloss": "peers", "torch": "peers",
}  # fmt: skip
VAGUE = {"utils.py", "helpers.py", "base.py", "misc.py"}
MAX_MODULE_LINES = 400

FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in FILES]
every_file = pytest.mark.parametrize("path", FILES, ids=IDS)


def _module(path: Path) -> str:
    """First component below the package: the name that the table knows."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> list[str]:
    """Every absolute module name that a file imports, at any depth of its code."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} line {node.lineno}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@every_file
def test_every_module_is_in_the_table(path: Path) -> None:
    assert _module(path) in ROW, f"{_module(path)} has no row: add it to ROWS with its reason"


@every_file
def test_imports_go_down(path: Path) -> None:
    me = _module(path)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] != "pma_grid":
            continue
        other = parts[1] if len(parts) > 1 else "__init__"
        if other not in ROW:  # "from pma_grid import __version__" and the like
            other = "__init__"
        if other == "__init__" and name.endswith("__version__"):
            continue  # one literal, evaluated before anything else
        inside = other == me and len(path.relative_to(PACKAGE).parts) > 1
        assert inside or ROW[other] < ROW[me], f"{me} (row {ROW[me]}) imports {name}"


@every_file
def test_kernels_import_kernels_only(path: Path) -> None:
    if _module(path) == "kernels":
        own = [name for name in _imports(path) if name.split(".")[0] == "pma_grid"]
        assert all(name.startswith("pma_grid.kernels") for name in own), own


@every_file
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in _imports(path):
        room = CONFINED.get(name.split(".")[0])
        assert room in (None, _module(path)), f"{name} is imported in {path.name}, not in {room}"


@every_file
def test_modules_are_small_and_named_for_what_they_hold(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_MODULE_LINES, f"{path.name} has {lines} lines, at most {MAX_MODULE_LINES}"
    assert path.name not in VAGUE


def test_matplotlib_is_imported_lazily() -> None:
    for path in (PACKAGE / "plotting").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not any("matplotlib" in ast.unparse(node) for node in top), path.name
