"""Types of arrays in signatures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
"""An array of double precision."""

IntArray = npt.NDArray[np.int64]
"""An array of integers."""
