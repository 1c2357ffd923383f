"""What `import pma_grid` offers, and what it must not load."""

import importlib
import re
import subprocess
import sys

import pytest

import pma_grid


def test_all_lists_the_lazy_exports() -> None:
    names = set(pma_grid._EXPORTS) | set(pma_grid._MODULES) | {"__version__"}
    assert sorted(pma_grid.__all__) == sorted(names)
    assert len(set(pma_grid.__all__)) == len(pma_grid.__all__)
    assert names <= set(dir(pma_grid))


@pytest.mark.parametrize("name", sorted(pma_grid._EXPORTS))
def test_every_export_is_the_object_of_its_module(name: str) -> None:
    module = importlib.import_module(f"pma_grid.{pma_grid._EXPORTS[name]}")
    exported = getattr(pma_grid, name)
    assert exported is getattr(module, name)
    assert exported.__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("name", sorted(pma_grid._MODULES))
def test_every_module_is_reachable(name: str) -> None:
    assert getattr(pma_grid, name) is importlib.import_module(f"pma_grid.{name}")


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = pma_grid.nonsense


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
