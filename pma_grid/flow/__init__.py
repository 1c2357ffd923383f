"""The parabolic equation in time: schedules, schemes, what is recorded, and the theory of flows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
