"""Array types for signatures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
"""Array of double-precision numbers."""

IntArray = npt.NDArray[np.int64]
"""Array of integers."""


def plain_numbers(values: npt.ArrayLike, digits: int) -> float | list[Any]:
    """Returns numbers with a few significant digits as plain data for JSON: a float, or nested lists.

    Args:
        values: array of any shape, or a number.
        digits: number of significant digits.
    """
    array = np.asarray(values, dtype=np.float64)
    flat = [float(f"{value:.{digits}g}") for value in array.ravel()]
    return flat[0] if array.ndim == 0 else list(np.array(flat).reshape(array.shape).tolist())
