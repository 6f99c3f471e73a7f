"""Figures and tables of a page, which must be files of the expected kind inside the folder of the page."""

from __future__ import annotations

import base64
import csv
from pathlib import Path

from fermisea.errors import InputError
from fermisea.utilities.files import readable

_PNG = b"\x89PNG\r\n\x1a\n"


def read_content(folder: Path, name: str) -> bytes:
    """Returns the content of a file in a folder.

    Args:
        folder: folder of the page.
        name: path of the file, relative to the folder.

    Raises:
        InputError: for a missing file, or one outside the folder.
        StorageError: if the file cannot be read now.
    """
    path = folder / name
    try:
        with readable(path):
            real = path.resolve()
            if not real.is_relative_to(folder.resolve()):
                raise InputError(
                    f"{path}: lies outside {folder}, but a page shows files of its folder only; copy the file into the "
                    "folder"
                )
            return real.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise InputError(
            f"{path}: cannot be read ({getattr(error, 'strerror', error)}), but the page refers to it; restore the file"
        ) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{str(path)!r}: not the name of a file ({error}); write the file of sections again"
        ) from error


def read_image(folder: Path, name: str) -> str:
    """Returns a PNG figure, base64-encoded.

    Raises:
        InputError: for another kind of file, and as :func:`read_content`.
    """
    content = read_content(folder, name)
    if not content.startswith(_PNG):
        raise InputError(f"{folder / name}: not a PNG figure, expected a figure of a command; save the figure as PNG")
    return base64.b64encode(content).decode()


def read_rows(folder: Path, name: str) -> list[list[str]]:
    """Returns the rows of a CSV table, the heading first.

    Raises:
        InputError: for another kind of file or an empty table, and as :func:`read_content`.
    """
    path = folder / name
    if path.suffix != ".csv":
        raise InputError(f"{path}: not a CSV table, expected a table of a command (.csv); save the table as CSV")
    try:
        rows = list(csv.reader(read_content(folder, name).decode("utf-8").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table ({error}); write the table again") from error
    if not rows:
        raise InputError(f"{path}: empty, expected a table")
    return rows
