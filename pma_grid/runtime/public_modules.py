"""Public modules by the names that users know: `import pma_grid.schedules` finds its room."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# What is public and lives in a room, by its public name.
HOMES = {
    "convergence": "cases.convergence",
    "observables": "flow.observables",
    "oracles": "cases.oracles",
    "peers": "entropic.peers",
    "quality": "sampling.quality",
    "schedules": "flow.schedules",
    "theory": "flow.theory",
}


class _PublicName(MetaPathFinder, Loader):
    """Finds the very module of a room, so that both of its names mean one object."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """A spec for the public names, None for all others."""
        package, _, name = fullname.rpartition(".")
        known = package == self.package and name in HOMES
        return ModuleSpec(fullname, self) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of the room; its own spec is put back by `exec_module`."""
        home = importlib.import_module(f"{self.package}.{HOMES[spec.name.rpartition('.')[2]]}")
        self._spec = home.__spec__
        return home

    def exec_module(self, module: ModuleType) -> None:
        """It has been executed under its other name."""
        module.__spec__ = self._spec


def offer(package: str) -> None:
    """Make the public modules of the package importable by their public names."""
    sys.meta_path.append(_PublicName(package))
