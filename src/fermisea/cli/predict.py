"""``fermisea predict``: observables of a structure at electronic temperatures."""

from __future__ import annotations

import os
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import fermisea
from fermisea.cli.common import (
    AllowBeyondWindow,
    AllowOutside,
    Anchor,
    Device,
    FreeEnergyOrigin,
    Json,
    ModelFile,
    ThermalXc,
    UseTail,
    output_folder,
    print_json,
)
from fermisea.cli.prediction_files import write_density_cubes, write_prediction
from fermisea.cli.prediction_tables import energy_columns, mechanical_columns, notes, references_of
from fermisea.cli.processes import check_count, number_of_this_process, run_in_processes
from fermisea.terminal import clock, progress_bar, stderr, stdout, table
from fermisea.utilities.counts import counted

_LONG = 30.0
"""Estimated time from which the estimate is printed, s."""

_LARGE = 200_000
"""Number of grid points up to which a prediction starts without an estimate."""

_SHORT_CUTS = {"dos_grid_error": "the grid of the DOS", "precision_error_band_free_energy": "bfloat16"}


class Precision(StrEnum):
    """Precision of the hidden layers of the network."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Field(StrEnum):
    """Fields that can be written as cube files."""

    DENSITY = "density"
    LDOS = "ldos"


def predict(
    context: typer.Context,
    model: ModelFile,
    atoms: Annotated[
        Path,
        typer.Argument(help="Structure file in any format that ASE reads; FILE@3 selects frame 3, counted from 0."),
    ],
    electron_temperature: Annotated[
        list[float] | None,
        typer.Option(help="One or more electronic temperatures (tau_e), K.  [dim]\\[default: tau_ref of the model][/]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables, figures and fields.  [dim]\\[default: no files][/]")
    ] = None,
    cube: Annotated[
        Field | None,
        typer.Option(
            help="Cube files in --out: density (1/bohr³) for each tau_e, or ldos (1/(Ry bohr³)) for each energy.  "
            "[dim]\\[default: none][/]"
        ),
    ] = None,
    netcdf: Annotated[
        bool,
        typer.Option("--netcdf", help="The density at each tau_e as density.nc in --out, also from large grids."),
    ] = False,
    grid: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Three numbers of grid points, one along each lattice vector.  [dim]\\[default: grid spacing of the "
            "training data; 7/8 of this spacing for --forces of the LDOS alone][/]"
        ),
    ] = None,
    dos_grid: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Three numbers of grid points, one along each lattice vector, for the DOS, Fermi level, entropy and "
            "C_e.  [dim]\\[default: as --grid][/]"
        ),
    ] = None,
    free_energy: FreeEnergyOrigin = None,
    anchor: Anchor = None,
    forces: Annotated[
        bool,
        typer.Option("--forces", help="Forces and stress, in --out as extended XYZ with one frame for each tau_e."),
    ] = False,
    no_density: Annotated[
        bool, typer.Option("--no-density", help="Observables of the DOS only, without density and total free energy.")
    ] = False,
    precision: Annotated[
        Precision,
        typer.Option(help="Precision of the hidden layers; bfloat16 is faster; the resulting error is printed."),
    ] = Precision.FLOAT32,
    tail: UseTail = True,
    allow_beyond_window: AllowBeyondWindow = False,
    allow_outside: AllowOutside = False,
    thermal_xc: ThermalXc = None,
    device: Device = None,
    processes: Annotated[
        int,
        typer.Option(help="Number of processes on this machine that share the grid, and with it memory and time."),
    ] = 1,
    no_spread: Annotated[
        bool,
        typer.Option(
            "--no-spread",
            help="No spread over the networks of an ensemble, which takes time for each network.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimated time and memory only.")] = False,
    json: Json = False,
) -> None:
    """Predict free energy, entropy, Fermi level, heat capacity, DOS and density.

    On several machines, torchrun starts the processes: torchrun --nnodes 4 ... -m fermisea predict ...

    Example: [bold]fermisea predict al.safetensors Al.cif --electron-temperature 300 1000 10000 --out out/[/]
    """
    check_count(processes)
    if netcdf and (no_density or out is None):
        raise fermisea.InputError(
            "--netcdf: got --no-density too; omit one of them"
            if no_density
            else "--netcdf: no folder for the file; add --out FOLDER"
        )
    if cube is Field.DENSITY and no_density:
        raise fermisea.InputError("--cube density: got --no-density too; omit one of them")
    if cube is not None and out is None:
        raise fermisea.InputError(f"--cube {cube.value}: no folder for the files; add --out FOLDER")
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        fermisea.structures.read_structure(atoms)  # an error ends the command before processes start
        raise typer.Exit(run_in_processes(context.obj, processes))
    loaded = fermisea.load_model(model)
    structure = fermisea.structures.read_structure(atoms)
    temperatures = electron_temperature or [loaded.reference_electron_temperature]
    options: dict[str, Any] = {
        "dos_grid": dos_grid,
        "density": not no_density,
        "free_energy": None if free_energy is None else free_energy.value,
        "anchor": anchor,
        "forces": forces,
        "precision": precision.value,
        "tail": tail,
        "allow_beyond_window": allow_beyond_window,
        "thermal_xc": thermal_xc,
        "uncertainty": not no_spread,
        "device": device,
    }
    from fermisea.model.estimate import estimate  # noqa: PLC0415  # torch is not needed for --help
    from fermisea.prediction.request import prediction_grid  # noqa: PLC0415

    if dry_run or prediction_grid(loaded, structure, grid).size > _LARGE:  # the estimate evaluates some points
        cost = estimate(loaded, structure, temperatures, grid, **options)
        line = f"estimate: {clock(cost.seconds)} (hours:minutes:seconds) for {cost.points:,.0f} grid points, "
        each = f" in each of {processes} processes" if processes > 1 else ""
        line += f"{cost.memory / 2**30:.1f} GiB of memory{each}"
        if dry_run and json:
            print_json({"seconds": cost.seconds, "memory_bytes": cost.memory, "points": cost.points})
        elif dry_run:
            stdout().print(f"{line}; start-up, interatomic potential and electrostatics are not included")
        elif cost.seconds > _LONG and not number_of_this_process():
            stderr().print(line)
        if dry_run:
            return
    with nullcontext() if out is None else output_folder(out), progress_bar() as bar:
        task = bar.add_task("grid points", total=None, note="")

        def progress(done: int, total: int) -> None:
            speed = next(state.speed for state in bar.tasks if state.id == task)
            bar.update(task, completed=done, total=total, note=f"{speed:,.0f} points/s" if speed else "")

        prediction = loaded.predict(
            structure, temperatures, grid, allow_outside=allow_outside, progress=progress, **options
        )
        rows = prediction.rows()
        first = prediction.processes.first
        files = [] if out is None or not first else write_prediction(prediction, out, model, loaded)
        if netcdf and out is not None:
            from fermisea.interop.density_file import write_density  # noqa: PLC0415  # only when needed

            files.append(write_density(out / "density.nc", prediction))
        if cube is Field.DENSITY and out is not None:
            files += write_density_cubes(prediction, out)
        if cube is Field.LDOS and out is not None and first:
            from fermisea.interop.ldos_cubes import write_ldos_cubes  # noqa: PLC0415  # only when needed

            ldos = loaded.ldos(structure, prediction.grid, device=device)
            files += write_ldos_cubes(out, structure, ldos, loaded.absolute_energies(structure))
    if json:
        formula = structure.get_chemical_formula()
        names = {"atoms": len(structure), "formula": formula, "warnings": prediction.warnings}
        names["reference_electron_temperatures"] = references_of(prediction)
        if prediction.has_free_energy:
            names["free_energy_origin"] = prediction.origin
            if prediction.thermal_xc is not None:
                names |= {"thermal_xc": prediction.thermal_xc, "functional": prediction.functional}
        found = prediction.mechanics or [None] * len(rows)
        whole = [
            row if own is None else row | {"forces": own.forces, "stress": own.stress}
            for row, own in zip(rows, found, strict=True)
        ]
        print_json({**names, "rows": whole, "files": files})
        return
    n = len(structure)
    console = stdout()
    title = f"{structure.get_chemical_formula()}, {counted(n, 'atom')}"
    console.print(table(title, *energy_columns(prediction)))
    for note in notes(prediction, loaded):
        console.print(note)
    if prediction.mechanics is not None:
        console.print(table("Forces and stress", *mechanical_columns(prediction)))
        if prediction.origin == "ldos":
            console.print(
                "Forces and stress are derivatives of F from the LDOS alone; the pressure has the largest error."
            )
    if loaded.total_energy_obstacle and not no_density:
        console.print(f"no total free energy: {loaded.total_energy_obstacle}")
    for name, what in _SHORT_CUTS.items():
        if name in rows[0]:
            worst = max((row[name] for row in rows), key=abs)
            console.print(f"{what} changes E_b - TS by at most {1000 * worst / n:+.3f} meV/atom")
    if files:
        console.print("files: " + ", ".join(str(file) for file in files))
