"""What `import pma_grid` offers, and what it must not load."""

import importlib
import os
import re
import subprocess
import sys
import types

import pytest

import pma_grid

NAMES: list[str] = vars(pma_grid)["__all__"]
# Public modules, and the homes of those that live in a room.
HOMES = {
    "convergence": "cases.convergence",
    "observables": "flow.observables",
    "oracles": "cases.oracles",
    "peers": "entropic.peers",
    "quality": "sampling.quality",
    "schedules": "flow.schedules",
    "theory": "flow.theory",
}
MODULES = {"cases", "claims", "inference", "learning", "plotting", *HOMES}


def test_all_lists_what_there_is() -> None:
    assert sorted(NAMES) == sorted(set(NAMES)) and set(NAMES) <= set(dir(pma_grid))
    found = {name for name in NAMES if isinstance(getattr(pma_grid, name), types.ModuleType)}
    assert found == MODULES


@pytest.mark.parametrize("name", sorted(set(NAMES) - MODULES - {"__version__"}))
def test_every_export_is_documented(name: str) -> None:
    assert getattr(pma_grid, name).__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_is_one_object_under_all_its_names(name: str) -> None:
    module = importlib.import_module(f"pma_grid.{name}")
    assert getattr(pma_grid, name) is module
    home = importlib.import_module(f"pma_grid.{HOMES.get(name, name)}")
    assert home is module and module.__spec__ is not None
    assert module.__spec__.name == module.__name__ == f"pma_grid.{HOMES.get(name, name)}"


def test_unknown_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(pma_grid, "nonsense")  # noqa: B009
    for name in ("nonsense", "solve"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"pma_grid.{name}")


@pytest.mark.parametrize("name", ["schedules", "theory"])
def test_a_module_may_be_imported_before_anything_else(name: str) -> None:
    """By its public name; so are its names, and nothing is made twice."""
    code = (
        f"import pma_grid.{name} as first, pma_grid, pma_grid.{HOMES[name]} as home\n"
        f"from pma_grid.{name} import __name__ as known\n"
        f"assert first is home is pma_grid.{name} and known == home.__name__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_may_be_loaded_at_once() -> None:
    """As lazy_loader does where it is asked to be eager: no circle of imports."""
    eager = {**os.environ, "EAGER_IMPORT": "1"}
    subprocess.run([sys.executable, "-c", "import pma_grid"], env=eager, check=True)


def test_version_is_a_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(dev|a|b|rc)\d+)?", pma_grid.__version__)


@pytest.mark.parametrize(
    "statement",
    ["import pma_grid", "from pma_grid import Density, Grid, Problem", "import pma_grid.cli"],
)
def test_imports_stay_light(statement: str) -> None:
    code = (
        f"{statement}\nimport sys\n"
        "print(*[m for m in ('numba', 'pyamg', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "", f"{statement} loads {run.stdout.strip()}"
