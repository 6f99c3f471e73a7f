"""``fermisea structure``: pair distribution function and structure factor of a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

import fermisea
from fermisea.cli.common import Json, output_folder, print_json
from fermisea.terminal import facts, stdout
from fermisea.utilities.counts import counted
from fermisea.utilities.tables import write_csv

if TYPE_CHECKING:
    from fermisea.analysis.structure import PairDistribution, StructureFactor


def structure(
    trajectory: Annotated[
        Path,
        typer.Argument(help="Trajectory or structure file in any format that ASE reads."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables and figure.", show_default=False)],
    skip: Annotated[int, typer.Option(help="Number of initial frames to skip, for thermalisation.")] = 0,
    every: Annotated[int, typer.Option(help="Distance between frames that are used: 10 for every tenth frame.")] = 1,
    distance: Annotated[
        float | None,
        typer.Option(
            help="Largest distance of g(r), Å.  [dim]\\[default: half of the smallest cell width, at least 6][/]",
            show_default=False,
        ),
    ] = None,
    wavevector: Annotated[float, typer.Option(help="Largest wavevector of S(q), 1/Å.")] = 10.0,
    json: Json = False,
) -> None:
    """Pair distribution function g(r) and static structure factor S(q), averaged over the frames of a trajectory.

    All periodic images count, in cells of any shape. S(q) is a sum over the reciprocal vectors of the cell, without a
    Fourier transform of g(r). Several elements give the function of each pair too.

    Example: [bold]fermisea structure md.traj --skip 200 --out structure/[/]
    """
    if skip < 0 or every < 1:
        raise fermisea.InputError(
            f"frames: got {skip} to skip and every {every}, expected at least 0 and at least 1; correct --skip or "
            "--every"
        )
    frames = fermisea.structures.read_frames(trajectory)
    used = frames[skip::every]
    if not used:
        raise fermisea.InputError(
            f"{trajectory}: none of {counted(len(frames), 'frame')} remains; request fewer frames to skip"
        )
    with output_folder(out):
        pairs = fermisea.pair_distribution(used, highest=distance)
        waves = fermisea.structure_factor(used, highest=wavevector)
        title = f"{used[0].get_chemical_formula()}, {counted(len(used[0]), 'atom')}, {counted(len(used), 'frame')}"
        files = _write(pairs, waves, out, title)
    volumes = [atoms.get_volume() / len(atoms) for atoms in used]
    summary = _summary(pairs, waves) | {"volume_per_atom_A3": float(np.mean(volumes))}
    if json:
        print_json({"formula": used[0].get_chemical_formula(), "frames": len(used)} | summary | {"files": files})
        return
    shown = {label: "—" if summary[name] is None else f"{summary[name]:{form}}" for name, label, form in _FACTS}
    console = stdout()
    console.print(facts(title, shown))
    console.print("files: " + ", ".join(map(str, files)))


_FACTS = (
    ("volume_per_atom_A3", "volume (Å³/atom)", ".3f"),
    ("first_peak_of_g_A", "first peak of g(r) (Å)", ".3f"),
    ("first_peak_of_g", "height of the first peak", ".2f"),
    ("first_minimum_of_g_A", "first minimum of g(r) (Å)", ".2f"),
    ("coordination_number", "coordination number", ".2f"),
    ("main_peak_of_S_per_A", "highest peak of S(q) (1/Å)", ".3f"),
    ("main_peak_of_S", "height of the highest peak", ".2f"),
)
"""Name in the JSON document, printed name and format of each result."""


def _summary(pairs: PairDistribution, waves: StructureFactor) -> dict[str, float | None]:
    """Returns peaks and coordination number; None for a peak that is not in the range."""
    first, main = pairs.first_peak, waves.main_peak
    return {
        "first_peak_of_g_A": None if first is None else first.position,
        "first_peak_of_g": None if first is None else first.height,
        "first_minimum_of_g_A": pairs.first_minimum,
        "coordination_number": pairs.coordination_number,
        "main_peak_of_S_per_A": main.position,
        "main_peak_of_S": main.height,
    }


def _write(pairs: PairDistribution, waves: StructureFactor, out: Path, title: str) -> list[Path]:
    """Writes both functions as tables and a figure with its report section, and returns the files."""
    from fermisea.report import Section, add_sections  # noqa: PLC0415  # not needed for --help

    several = len(pairs.partial) > 1
    g = {"g": pairs.g} | ({f"g {name}": values for name, values in pairs.partial.items()} if several else {})
    s = {"S": waves.s} | ({f"S {name}": values for name, values in waves.partial.items()} if several else {})
    files = [out / "pair_distribution.csv", out / "structure_factor.csv"]
    write_csv(files[0], _rows({"distance (A)": pairs.distance.round(9)} | g | {"neighbours": pairs.neighbours}))
    write_csv(files[1], _rows({"wavevector (1/A)": waves.wavevector} | s | {"vectors": waves.vectors}))
    named = [{("all" if name in "gS" else name[2:]): row for name, row in each.items()} for each in (g, s)]
    figure = fermisea.plots.structure_figure(
        (pairs.distance, named[0]), (waves.wavevector, named[1]), half_width=pairs.half_width, title=title
    )
    files += fermisea.plots.save_figure(figure, out / "structure")
    text = "Averages over the frames: pair distribution function g(r) and static structure factor S(q)."
    tables = ("pair_distribution.csv", "structure_factor.csv")
    section = Section("Structure", (text,), ("structure.png",), tables)
    add_sections(out, "structure", f"Structure of {title}", [section], f"fermisea {fermisea.__version__}")
    return files


def _rows(columns: dict[str, Any]) -> list[dict[str, float]]:
    """Returns one row for each bin."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
