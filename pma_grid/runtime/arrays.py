"""What arrays hold, for annotations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]
# In single or double precision, as the preconditioners and the dense kernels choose.
Floats = NDArray[np.floating[Any]]
