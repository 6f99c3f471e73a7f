"""``fermisea report``: one HTML page from a folder of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fermisea.cli.common import Json, print_json
from fermisea.terminal import stdout


def report(
    folder: Annotated[
        Path, typer.Argument(help="Folder with figures and tables from predict, evaluate, thermo or study.")
    ],
    json: Json = False,
) -> None:
    """Put the figures and tables in a folder on one self-contained page, report.html.

    Example: [bold]fermisea report errors/[/]
    """
    from fermisea.report import write_report  # noqa: PLC0415  # not needed for --help

    path = write_report(folder)
    if json:
        print_json({"file": path})
    else:
        stdout().print(str(path))
