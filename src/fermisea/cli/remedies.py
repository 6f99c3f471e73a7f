"""What a user can do after an interruption, for each command."""

from __future__ import annotations

from collections.abc import Sequence

_RESUMED = ("dft", "study", "tune")
"""Commands that resume when they are called again."""

_AT_ONCE = ("info", "report", "socket")
"""Commands without results that could be kept."""


def remedy(arguments: Sequence[str]) -> str:
    """Returns the end of the message after an interruption of a command line, after the word for the signal."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    if command in _RESUMED:
        return "; finished files are kept, the same command resumes"
    if command == "train":
        return "; the same command with --resume continues from the last checkpoint"
    if command in _AT_ONCE:
        return ""
    return "; finished files are kept, the same command starts again" if command else ""
