"""Public modules by the names that users know: `import pma_grid.schedules` finds its room."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _PublicModules(MetaPathFinder, Loader):
    """Finds the modules that a package offers as attributes; both names mean one object."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """A spec for the modules among the package's public names, None for all others."""
        package, _, name = fullname.rpartition(".")
        if package != self.package or name not in sys.modules[package].__all__:
            return None
        known = isinstance(getattr(sys.modules[package], name), ModuleType)
        return ModuleSpec(fullname, self) if known else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the room in the place of the empty one."""
        name = module.__name__
        sys.modules[name] = getattr(sys.modules[self.package], name.rpartition(".")[2])


def offer(package: str) -> None:
    """Make the public modules of the package importable by their public names."""
    sys.meta_path.append(_PublicModules(package))
