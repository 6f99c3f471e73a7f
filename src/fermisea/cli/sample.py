"""``fermisea sample``: structures at ionic temperatures by molecular dynamics."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TaskID

import fermisea
from fermisea.cli.common import Json, output_folder, print_json
from fermisea.terminal import progress_bar, stdout, table
from fermisea.utilities.counts import counted

if TYPE_CHECKING:
    from ase import Atoms


def sample(
    structure: Annotated[
        Path,
        typer.Argument(
            help="Structure close to its energy minimum, or with --thin a trajectory, in any format that ASE reads."
        ),
    ],
    ion_temperature: Annotated[
        list[float], typer.Option(help="One or more ionic temperatures (tau_i), K.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the structure files.", show_default=False)],
    snapshots: Annotated[int, typer.Option(help="Number of structures at each ionic temperature.")] = 4,
    calculator: Annotated[
        str,
        typer.Option(
            help="ASE calculator: its name, package.module:callable, or file.py:callable; or a model with an anchor, "
            "by file or name, for its potential at tau_ref."
        ),
    ] = "emt",
    repeat: Annotated[
        tuple[int, int, int], typer.Option(help="Three numbers of repetitions, one along each lattice vector.")
    ] = (
        1,
        1,
        1,
    ),
    timestep: Annotated[float, typer.Option(help="Time step, fs.")] = 2.0,
    thermalise: Annotated[float, typer.Option(help="Time before the first structure, ps.")] = 2.0,
    spacing: Annotated[
        float | None,
        typer.Option(help="Time between structures, ps.  [dim]\\[default: twice the correlation time][/]"),
    ] = None,
    friction: Annotated[float, typer.Option(help="Friction of the Langevin dynamics, 1/ps.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Random seed of the initial velocities and Langevin forces.")] = 0,
    thin: Annotated[
        bool, typer.Option("--thin", help="Evenly spaced frames of an existing trajectory, without molecular dynamics.")
    ] = False,
    skip: Annotated[int, typer.Option(help="Number of initial frames to skip, with --thin.")] = 0,
    json: Json = False,
) -> None:
    """Sample structures of the canonical ensemble by molecular dynamics, or thin an existing trajectory.

    The time between structures exceeds the correlation time of the potential energy. The kinetic temperature
    averaged over n structures of N atoms has a relative standard deviation of sqrt(2/(3nN)).

    Example: [bold]fermisea sample Al.cif --ion-temperature 100 298 933 --snapshots 4 --out structures/[/]

    Example: [bold]fermisea sample md.traj --thin --skip 200 --ion-temperature 298 --snapshots 10 --out structures/[/]
    """
    if thin:
        _thin(structure, ion_temperature, out, snapshots, skip, json=json)
        return
    atoms = fermisea.structures.read_structure(structure)
    if min(repeat) < 1:
        raise fermisea.InputError(f"repeat: got {repeat}, expected three positive integers")
    atoms = atoms.repeat(repeat)
    potential = _calculator(calculator)
    stem = structure.name.partition(".")[0]
    rows: list[dict[str, Any]] = []
    with output_folder(out), progress_bar() as bar:
        for temperature in ion_temperature:
            task = bar.add_task(f"tau_i = {temperature:g} K", total=None, note="")
            result = fermisea.sample(
                atoms,
                temperature,
                snapshots,
                calculator=potential,
                timestep=timestep,
                thermalise=thermalise,
                spacing=spacing,
                friction=friction,
                seed=seed,
                progress=partial(_update, bar, task),
            )
            paths = _write(result.frames, out, stem, result.ion_temperature)
            rows.append(
                {
                    "ion_temperature": result.ion_temperature,
                    "mean_temperature": result.mean_temperature,
                    "kept_temperature": math.fsum(result.temperatures) / snapshots,
                    "correlation_time_ps": result.correlation_time,
                    "spacing_ps": result.spacing,
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
            f"{row['kept_temperature']:.0f}",
            f"{row['mean_square_displacement']:.4f}",
            f"{row['correlation_time_ps']:.3f}",
            f"{row['spacing_ps']:.3f}",
            f"{row['files'][0]}{' ...' if snapshots > 1 else ''}",
        )
        for row in rows
    ]
    title = f"{counted(snapshots, 'structure')} of {counted(len(atoms), 'atom')} for each ionic temperature"
    columns = [
        "tau_i (K)",
        "mean temperature (K)",
        "of the structures (K)",
        "mean square displacement (Å²)",
        "correlation time (ps)",
        "spacing (ps)",
        "files",
    ]
    stdout().print(table(title, columns, cells))


def _calculator(name: str) -> Any:
    """Returns the potential of a model file or shipped model; the name itself for an ASE calculator.

    Raises:
        InputError: for a model without an anchor, or one that cannot be read.
    """
    if not name.endswith(".safetensors") and name not in fermisea.model.bundled.shipped_models():
        return name
    from fermisea.potential.calculator import PotentialCalculator  # noqa: PLC0415  # only when needed

    anchor = fermisea.load_model(name).anchor
    if anchor is None:
        raise fermisea.InputError(
            f"calculator {name}: a model without an anchor, expected one with an anchor; choose another calculator"
        )
    return PotentialCalculator(anchor)


def _thin(file: Path, ion_temperature: list[float], out: Path, snapshots: int, skip: int, *, json: bool) -> None:
    """Writes frames of a trajectory and prints their spacing."""
    if len(ion_temperature) != 1:
        raise fermisea.InputError(f"--thin: got {len(ion_temperature)} ion temperatures, expected one")
    frames = fermisea.structures.read_frames(file)
    result = fermisea.trajectories.thin(frames, snapshots, ion_temperature[0], skip)
    with output_folder(out):
        paths = _write(result.frames, out, file.name.partition(".")[0], ion_temperature[0])
    row = {
        "ion_temperature": ion_temperature[0],
        "mean_temperature": result.mean_temperature,
        "mean_square_displacement": result.mean_square_displacement,
        "correlation_frames": result.correlation_frames,
        "frames": result.indices,
        "files": paths,
    }
    if json:
        print_json({"atoms": len(frames[0]), "rows": [row]})
        return
    reached = "unknown" if result.mean_temperature is None else f"{result.mean_temperature:.0f} K"
    apart = f", {result.indices[1] - result.indices[0]} apart" if snapshots > 1 else ""
    stdout().print(f"{snapshots} of {counted(len(frames), 'frame')} of {counted(len(frames[0]), 'atom')}{apart}")
    stdout().print(
        f"correlation time {result.correlation_frames:.1f} frames, kinetic temperature {reached}, mean square "
        f"displacement {result.mean_square_displacement:.4f} Å²"
    )
    stdout().print("files: " + ", ".join(map(str, paths)))


def _write(frames: list[Atoms], out: Path, stem: str, ion_temperature: float) -> list[Path]:
    paths = [out / f"{stem}-{ion_temperature:g}K-{number:02d}.extxyz" for number in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        fermisea.structures.write_structure(path, frame)
    return paths


def _update(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)
