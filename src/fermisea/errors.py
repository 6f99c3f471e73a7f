"""Errors raised by fermisea; each message names the input, the value got, the value expected, and the remedy."""

from __future__ import annotations

import math


class FermiseaError(Exception):
    """Base class of all errors raised by fermisea."""


class InputError(FermiseaError, ValueError):
    """Input that cannot be used: a wrong value, file, unit or element. The command line exits with status 2."""


class FileFormatError(InputError):
    """A file that is truncated, altered, or not of the expected kind."""


class DamagedFileError(FileFormatError):
    """A file of the expected kind that is truncated or altered, so that its content is lost."""


class StorageError(InputError):
    """A file or folder that cannot be read or written now: a lock, a missing permission, a failing or full disk."""


class CapacityError(InputError):
    """A density of states that holds too few electrons.

    Attributes:
        held: number of electrons that it holds.
    """

    def __init__(self, message: str, held: float = math.nan) -> None:
        super().__init__(message)
        self.held = held


class EngineError(FermiseaError, RuntimeError):
    """A DFT code that cannot be started, crashed, or was killed."""


class WindowError(InputError):
    """An electronic temperature above the highest one for which an energy window is valid."""


class DomainWarning(UserWarning):
    """A structure or an electronic temperature unlike the training data of a model; see ``model.domain``."""


class ConvergenceError(FermiseaError, RuntimeError):
    """An iteration that did not converge.

    Attributes:
        history: named numbers of each iteration, in order.
    """

    def __init__(self, message: str, history: list[dict[str, float]]) -> None:
        super().__init__(message)
        self.history = history
