"""What a type checker knows of `import pma_grid as pma`: real types, and mistakes found."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pma_grid

PACKAGE = Path(str(pma_grid.__file__)).parent
ROOMS = ["pma_grid", *(f"pma_grid.{p.parent.name}" for p in PACKAGE.glob("*/__init__.pyi"))]

# What users write, and the types that they rely on; it runs, too.
USER = """
from collections.abc import Callable, Iterator
from typing import assert_type

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import pma_grid as pma
from pma_grid import observables, quality, theory
from pma_grid.learning import Kernel

problem = pma.Problem([1.0, 2.0, 1.0, 2.0], pma.Density.from_function(lambda x: 1 + x, pma.Grid(5)))
assert_type(problem.source, pma.Density)
assert_type(problem.source.values, NDArray[np.float64])
assert_type(pma.Grid((4, 5), (0, 0), [1.0, 2.0]).shape, tuple[int, ...])
corners = pma.Polygon([(0, 0), (1, 0), (0, 1)]).bounds()
assert_type(corners, tuple[NDArray[np.float64], NDArray[np.float64]])

ot = pma.solve(problem, linear_solver=pma.Direct())
assert_type(ot, pma.Transport)
assert_type(ot.w2, float)
assert_type(ot.status, pma.Status)
assert_type(ot.map([[0.25], [0.5]]), NDArray[np.float64])
assert_type(ot.interpolate(0.5), pma.Density)
assert_type(pma.Transport.from_potential(problem, np.zeros(4)), pma.Transport)
assert_type(pma.sinkhorn(problem, 0.1, kernel="reflect"), pma.EntropicTransport)

euler = pma.schedules.constant(0.1)
assert_type(euler, Callable[[int, float, float], float])
flow = pma.evolve(
    problem, schedule=euler, steps=2, record=["kl", "symmetrised_kl", "bregman", observables.tv]
)
assert_type(flow, pma.Flow)
assert_type(flow["kl"], NDArray[np.float64])
assert_type(flow.transport, pma.Transport)
assert_type(theory.regret(flow), theory.Regret)
assert_type(pma.iterate(problem, schedule=lambda k, t, r: 0.1), Iterator[pma.State])
assert_type(pma.iterate_sinkhorn(problem, 0.1, steps=1), Iterator[pma.State])
assert_type(pma.sinkhorn_flow(problem, 0.1, steps=1), pma.Flow)

points = np.random.default_rng(0).random((50, 1))
model = pma.fit(points, Kernel(), shape=16, steps=2)
assert_type(model, pma.Model)
assert_type(model.sample(3, seed=0), NDArray[np.float64])
assert_type(pma.Sampler(ot).sample(3, seed=0), NDArray[np.float64])
assert_type(quality.energy_distance(points, points), float)
posterior = pma.infer(lambda x: -(x**2), [(-1.0, 1.0)], shape=16, steps=2)
assert_type(posterior, pma.Posterior)

assert_type(pma.cases.manufactured(2), pma.cases.Case)
assert_type(pma.oracles.GaussianPair, type[pma.oracles.GaussianPair])
assert_type(pma.plotting.density(problem.source), Axes)
assert_type(pma.plotting.transport(ot), Figure)
"""

# Mistakes, and the codes of the errors that mypy gives for them.
MISTAKES = {
    "pma.solve(1)": "arg-type",
    "pma.solve(problem, tolerance=1e-3)": "call-arg",
    "pma.nonsense": "attr-defined",
    "pma.theory.nonsense": "attr-defined",
    "pma.evolve(problem)": "call-arg",
    "pma.evolve(problem, schedule=0.1)": "arg-type",
    "pma.sinkhorn(problem, 0.1, kernel='reflected')": "arg-type",
    "pma.solve(problem).w3": "attr-defined",
    "pma.solve(problem).w2()": "operator",
    "pma.Grid('large')": "arg-type",
    "pma.fit()": "call-arg",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a user's scripts lie, beside a strict configuration."""
    made = tmp_path_factory.mktemp("user")
    (made / "user.py").write_text(USER, encoding="utf-8")
    wrong = "import pma_grid as pma\n\nproblem = pma.Problem([1.0, 2.0], [2.0, 1.0])\n"
    (made / "mistakes.py").write_text(wrong + "\n".join(MISTAKES) + "\n", encoding="utf-8")
    (made / "mypy.ini").write_text(
        "[mypy]\nstrict = True\n[mypy-pma_grid.*]\nfollow_imports = silent\n",
        encoding="utf-8",
    )
    return made


@pytest.fixture(scope="module")
def errors(folder: Path) -> dict[str, set[str]]:
    """What mypy says of both scripts: codes by line of code."""
    pytest.importorskip("mypy")
    where = PACKAGE.parent
    path = {} if where.name == "site-packages" else {"MYPYPATH": str(where)}
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "user.py", "mistakes.py"],
        cwd=folder, env={**os.environ, **path}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 1, run.stdout + run.stderr
    found: dict[str, set[str]] = {}
    for name, line, code in re.findall(
        r"^(\w+\.py):(\d+): error: .*\[([\w-]+)\]$", run.stdout, re.M
    ):
        text = (folder / name).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        found.setdefault(text, set()).add(code)
    return found


def test_users_get_real_types(errors: dict[str, set[str]]) -> None:
    assert {line: codes for line, codes in errors.items() if line not in MISTAKES} == {}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_found(errors: dict[str, set[str]], line: str) -> None:
    assert errors[line] == {MISTAKES[line]}


def test_the_script_of_the_types_runs(folder: Path) -> None:
    exec(compile((folder / "user.py").read_text(encoding="utf-8"), "user.py", "exec"), {})


@pytest.mark.parametrize("room", ROOMS)
def test_stubs_name_what_there_is(room: str) -> None:
    """What editors see: each name once, and the very object that it is at run time."""
    module = importlib.import_module(room)
    stub = PACKAGE.parent.joinpath(*room.split("."), "__init__.pyi").read_text(encoding="utf-8")
    named: list[str] = []
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom):
            (alias,) = node.names
            assert node.level == 1 and alias.asname == alias.name
            named.append(alias.name)
            if node.module is None:
                home = importlib.import_module(f"{room}.{alias.name}")
            else:
                home = getattr(importlib.import_module(f"{room}.{node.module}"), alias.name)
            assert getattr(module, alias.name) is home
    assert sorted(named) == sorted(set(module.__all__) - {"__version__"})


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
