"""Problems and flows with answers in closed form, and the benchmark problems of the docs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
