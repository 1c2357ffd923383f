"""Optimal transport on 1-, 2- and 3-D grids through the (parabolic) Monge-Ampère equation.

Names are loaded on first use, so that importing the package costs nothing; the stub
``__init__.pyi`` says where each lives.
"""

import lazy_loader

from pma_grid.runtime.public_modules import offer

__version__ = "0.1.0"

__getattr__, _, _exported = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted(["__version__", *_exported])

offer(__name__)


def __dir__() -> list[str]:
    return __all__
