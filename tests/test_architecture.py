"""The import table: who may know whom.  Change it when the design changes, with the reason."""

import ast
import re
from pathlib import Path

import pytest

import pma_grid

PACKAGE = Path(str(pma_grid.__file__)).parent

# Low to high.  A room imports from lower rows alone; a row of two steps lets the second import the
# first.  Change the table when the design changes, with the reason, and docs/architecture.md.
ROWS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("kernels", "runtime"),),
    (("grid",),),
    (("problem", "linsolve"),),
    (("equation",), ("transport",)),  # a transport knows its equation: residual, Hessian
    (("entropic",), ("stationary",)),  # solve falls back on sparse plans
    (("flow", "sampling"),),
    (("learning", "inference", "cases"),),
    (("claims", "plotting", "loading", "precompile"),),
    (("cli",),),
)
ORDER = {name: (row, step) for row, steps in enumerate(ROWS) for step, names in enumerate(steps)
         for name in names}  # fmt: skip
# The two doors: what users import, and `python -m pma_grid`.
DOORS = {"__init__": "runtime", "__main__": "cli"}
MOST_NAMES = 24

# Heavy libraries and the only place that may import them.
PEERS = "entropic/peers"
CONFINED = {
    "numba": "kernels", "pyamg": "linsolve", "matplotlib": "plotting",
    "ot": PEERS, "ott": PEERS, "jax": PEERS, "geomloss": PEERS, "torch": PEERS,
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


def test_the_table_names_what_exists_and_all_of_it() -> None:
    rooms = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if _is_code(p)}
    assert rooms - set(DOORS) == set(ORDER)
    assert len([p for p in PACKAGE.iterdir() if p.name != "__pycache__"]) <= MOST_NAMES


def test_the_page_of_the_architecture_draws_the_table() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^([1-9])  (.+?)(?:  |$)", page, re.MULTILINE)
    assert [number for number, _ in drawn] == [str(k) for k in range(len(ROWS), 0, -1)]
    for (_, names), steps in zip(drawn, reversed(ROWS), strict=True):
        assert [tuple(step.split()) for step in names.split(" -> ")] == list(steps)
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(ORDER)


def _is_code(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").exists()


@every_file
def test_imports_go_down(path: Path) -> None:
    me = _module(path)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] != "pma_grid" or name == "pma_grid.__version__":
            continue  # the version is one literal, evaluated before anything else
        other = parts[1]
        assert other in ORDER, f"{path.name} imports {name}, which is no room"
        if me in DOORS:
            assert other == DOORS[me], f"{path.name} imports {name}"
        else:
            inside = other == me and path.parent != PACKAGE
            assert inside or ORDER[other] < ORDER[me], f"{me} imports {name}, of a higher row"


@every_file
def test_kernels_import_kernels_only(path: Path) -> None:
    if _module(path) == "kernels":
        own = [name for name in _imports(path) if name.split(".")[0] == "pma_grid"]
        assert all(name.startswith("pma_grid.kernels") for name in own), own


@every_file
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in _imports(path):
        room = CONFINED.get(name.split(".")[0])
        inside = room is None or path.relative_to(PACKAGE).is_relative_to(room)
        assert inside, f"{name} is imported in {path.name}, not in {room}"


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
