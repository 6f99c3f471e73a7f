"""``fermisea sample``: structures at ion temperatures by molecular dynamics."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID

import fermisea
from fermisea.cli.common import Json, output_folder, print_json, progress_bar, stdout, table


def sample(
    structure: Annotated[Path, typer.Argument(help="A structure near its potential minimum; any format of ASE.")],
    ion_temperature: Annotated[list[float], typer.Option(help="One or more tau_i, K.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the structure files.", show_default=False)],
    snapshots: Annotated[int, typer.Option(help="Structures for each temperature.")] = 4,
    calculator: Annotated[
        str, typer.Option(help="A calculator of ASE by name, or package.module:callable, or file.py:callable.")
    ] = "emt",
    repeat: Annotated[tuple[int, int, int], typer.Option(help="Repeat the structure along its lattice vectors.")] = (
        1,
        1,
        1,
    ),
    timestep: Annotated[float, typer.Option(help="fs")] = 2.0,
    thermalise: Annotated[float, typer.Option(help="Time before the first structure, ps.")] = 2.0,
    spacing: Annotated[float, typer.Option(help="Time between structures, ps.")] = 1.0,
    friction: Annotated[float, typer.Option(help="Of the Langevin dynamics, 1/ps.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Of velocities and random forces.")] = 0,
    json: Json = False,
) -> None:
    """Sample structures of the canonical ensemble by molecular dynamics.

    Example: [bold]fermisea sample Al.cif --ion-temperature 100 298 933 --snapshots 4 --out structures/[/]
    """
    atoms = fermisea.structures.read_structure(structure)
    if min(repeat) < 1:
        raise fermisea.InputError(f"repeat: got {repeat}, expected three positive integers")
    atoms = atoms.repeat(repeat)
    stem = structure.name.partition(".")[0]
    rows: list[dict[str, Any]] = []
    with output_folder(out), progress_bar() as bar:
        trajectories = []
        for temperature in ion_temperature:
            task = bar.add_task(f"tau_i = {temperature:g} K", total=None, note="")
            trajectories.append(
                fermisea.sample(
                    atoms,
                    temperature,
                    snapshots,
                    calculator=calculator,
                    timestep=timestep,
                    thermalise=thermalise,
                    spacing=spacing,
                    friction=friction,
                    seed=seed,
                    progress=partial(_update, bar, task),
                )
            )
        for result in trajectories:
            paths = [out / f"{stem}-{result.ion_temperature:g}K-{number:02d}.extxyz" for number in range(snapshots)]
            for path, frame in zip(paths, result.frames, strict=True):
                fermisea.structures.write_structure(path, frame)
            rows.append(
                {
                    "ion_temperature": result.ion_temperature,
                    "mean_temperature": result.mean_temperature,
                    "mean_square_displacement": result.mean_square_displacement,
                    "files": paths,
                }
            )
    if json:
        print_json({"atoms": len(atoms), "rows": rows})
        return
    cells = [
        (
            f"{row['ion_temperature']:g}",
            f"{row['mean_temperature']:.0f}",
            f"{row['mean_square_displacement']:.4f}",
            f"{row['files'][0]}{' ...' if snapshots > 1 else ''}",
        )
        for row in rows
    ]
    title = f"{snapshots} structures of {len(atoms)} atoms for each ion temperature"
    stdout().print(table(title, ["tau_i (K)", "reached (K)", "mean square displacement (Å²)", "files"], cells))


def _update(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)
