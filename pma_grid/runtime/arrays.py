"""`Array`: the type of every array of floating-point numbers in annotations."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
