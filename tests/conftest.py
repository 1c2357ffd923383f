"""Running the command line: in this process, where that is enough, and in one of its own."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pma_grid.cli import main

ROOT = str(Path(__file__).resolve().parents[1])
BENCH = str(Path(__file__).resolve().parent / "bench")
SECONDS = 300.0  # a first run compiles


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


class CommandLine:
    """Commands in a folder."""

    def fill(self, folder: Path) -> Path:
        """Write two small densities a.npy and b.npy."""
        x = (np.arange(16) + 0.5) / 16
        values = 1 + 0.5 * np.cos(np.pi * x[:, None]) * np.cos(np.pi * x)
        np.save(folder / "a.npy", values)
        np.save(folder / "b.npy", values[::-1] ** 2)
        return folder

    def run(self, folder: Path, *arguments: str, stdin: bytes = b"") -> Done:
        """Run a command in this process: the same code without the second for imports."""
        out, err = io.StringIO(), io.StringIO()
        before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin))
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        try:
            with contextlib.chdir(folder), streams[0], streams[1]:
                status = main(list(arguments))
        finally:
            sys.stdin = before
        return Done(status, out.getvalue(), err.getvalue())

    def process(self, folder: Path, arguments: list[str]) -> Done:
        """Run Python with these arguments in a process of its own."""
        paths = [ROOT, os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def good(self, folder: Path, *arguments: str, stdin: bytes = b"") -> str:
        """Standard output of a command that must succeed without a word on standard error."""
        done = self.run(folder, *arguments, stdin=stdin)
        assert (done.status, done.err) == (0, "")
        return done.out

    def json(self, folder: Path, *arguments: str) -> dict[str, Any]:
        """The object that a command with --json prints; it must succeed."""
        return self.parsed(self.good(folder, *arguments))

    def parsed(self, text: str) -> dict[str, Any]:
        """One object in one line of strict JSON, which knows no NaN."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is no JSON")

        assert text.count("\n") == 1
        return dict(json.loads(text, parse_constant=refuse))

    def refused(self, folder: Path, *arguments: str, stdin: bytes = b"") -> str:
        """The one line of standard error of a command that must be refused."""
        before = sorted(folder.iterdir())
        done = self.run(folder, *arguments, stdin=stdin)
        lines = done.err.splitlines()
        assert done.status == 2, (done.status, lines)
        assert done.out == ""
        assert len(lines) == 1, lines
        assert lines[0].startswith("pma-grid: ")
        assert "Traceback" not in lines[0]
        assert sorted(folder.iterdir()) == before, "a refused command leaves no file"
        return lines[0]


@pytest.fixture(scope="session")
def pixels() -> Callable[[Any], np.ndarray]:
    """The pixels (n, m, 3) of a figure, or of the figure of axes; fails if it cannot be drawn."""

    def draw(drawn: Any) -> np.ndarray:
        canvas = FigureCanvasAgg(drawn.figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3]

    return draw


@pytest.fixture(scope="session")
def cli() -> CommandLine:
    """The command line."""
    return CommandLine()


@pytest.fixture
def folder(cli: CommandLine, tmp_path: Path) -> Path:
    """A folder with two small densities a.npy and b.npy."""
    return cli.fill(tmp_path)


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """Imports scripts that lie beside the benchmarks."""
    sys.path.insert(0, BENCH)
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(BENCH)
