"""Array types for signatures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
"""Array of double-precision numbers."""

IntArray = npt.NDArray[np.int64]
"""Array of integers."""
