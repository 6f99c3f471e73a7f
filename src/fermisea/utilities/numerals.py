"""Words of a text file as numbers, without the liberties of Python: no underscores and ASCII digits only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fermisea.utilities.arrays import FloatArray


def real_numbers(words: Sequence[str]) -> FloatArray:
    """Returns the numbers in a text, (words,).

    Raises:
        ValueError: for a word that is no decimal number.
    """
    for word in words:
        if "_" in word or not word.isascii():
            raise ValueError(f"could not convert string to float: {word!r}")
    return np.array(words, dtype=np.float64)


def integer(word: str) -> int:
    """Returns the integer in a text.

    Raises:
        ValueError: for a word that is no decimal integer.
    """
    if "_" in word or not word.isascii():
        raise ValueError(f"invalid literal for an integer: {word!r}")
    return int(word)
