"""``fermisea predict``: observables of a structure at electronic temperatures."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

import fermisea
from fermisea.cli.common import Anchor, Json, ModelFile, output_folder, print_json
from fermisea.terminal import progress_bar, stdout, table
from fermisea.utilities.files import write_csv

if TYPE_CHECKING:
    from fermisea.prediction.result import Prediction


_UNLIKE, _COARSE, _OTHER_VOLUME = 0.5, 2.0, 0.01
"""F of the LDOS and of the regular model differ by so much, eV/atom, points lie so many times further apart than in
training, or the volume per atom is outside of that of the training by this part: all deserve a warning."""

_SHORT_CUTS = {"dos_grid_error": "the grid of the DOS", "precision_error_band_free_energy": "bfloat16"}
_NAMES = ("band_energy", "entropy", "fermi_level", "heat_capacity", "electrons")


class Precision(StrEnum):
    """Number formats of the network's hidden layers."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Field(StrEnum):
    """Fields that can be written as cube files."""

    DENSITY = "density"
    LDOS = "ldos"


def predict(
    model: ModelFile,
    atoms: Annotated[Path, typer.Argument(help="A structure; any format of ASE, one of several frames as FILE@3.")],
    electron_temperature: Annotated[
        list[float] | None, typer.Option(help="One or more tau_e, K.  [dim]\\[default: tau_ref of the model][/]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables, figures and fields.  [dim]\\[default: none is written][/]")
    ] = None,
    cube: Annotated[
        Field | None,
        typer.Option(help="Also write density (1/bohr³, for each tau_e) or LDOS (1/(Ry bohr³), for each energy)."),
    ] = None,
    grid: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Points.  [dim]\\[default: spaced as in training; 7/8 of that for forces of the LDOS alone][/]"
        ),
    ] = None,
    dos_grid: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Points for the DOS and what follows from it.  [dim]\\[default: as --grid][/]"),
    ] = None,
    anchor: Anchor = None,
    forces: Annotated[
        bool, typer.Option("--forces", help="Also write forces and stress: extended xyz, a frame for each tau_e.")
    ] = False,
    no_density: Annotated[
        bool, typer.Option("--no-density", help="Only what follows from the DOS: no density, no total free energy.")
    ] = False,
    precision: Annotated[
        Precision, typer.Option(help="Of the hidden layers; bfloat16 is faster, and its effect is printed.")
    ] = Precision.FLOAT32,
    allow_beyond_window: Annotated[
        bool, typer.Option("--allow-beyond-window", help="Warn instead of refusing above the highest tau_e.")
    ] = False,
    json: Json = False,
) -> None:
    """Predict free energy, entropy, Fermi level, heat capacity, DOS and density.

    Example: [bold]fermisea predict al.safetensors Al.cif --electron-temperature 300 1000 10000 --out out/[/]
    """
    if cube is Field.DENSITY and no_density:
        raise fermisea.InputError("--cube density: got --no-density with it; leave one of them out")
    if cube is not None and out is None:
        raise fermisea.InputError(f"--cube {cube.value}: got no --out with it; name the folder for the files")
    loaded = fermisea.load_model(model)
    structure = fermisea.structures.read_structure(atoms)
    with nullcontext() if out is None else output_folder(out), progress_bar() as bar:
        task = bar.add_task("grid points", total=None, note="")

        def progress(done: int, total: int) -> None:
            speed = next(state.speed for state in bar.tasks if state.id == task)
            bar.update(task, completed=done, total=total, note=f"{speed:,.0f} points/s" if speed else "")

        prediction = loaded.predict(
            structure,
            electron_temperature or [loaded.reference_electron_temperature],
            grid,
            dos_grid=dos_grid,
            density=not no_density,
            anchor=anchor,
            forces=forces,
            precision=precision.value,
            allow_beyond_window=allow_beyond_window,
            progress=progress,
        )
        rows = prediction_rows(prediction)
        files = [] if out is None else _write(prediction, rows, out, cube)
        if cube is Field.LDOS and out is not None:
            from fermisea.interop.ldos_cubes import write_ldos_cubes  # noqa: PLC0415  # most calls need it not

            ldos = loaded.ldos(structure, prediction.grid)
            files += write_ldos_cubes(out, structure, ldos, loaded.energy_grid)
    if json:
        print_json({"atoms": len(structure), "formula": structure.get_chemical_formula(), "rows": rows, "files": files})
        return
    n = len(structure)
    console = stdout()
    console.print(table(f"{structure.get_chemical_formula()}, {n} atoms", *_columns(rows, n)))
    if "transfer_error" in rows[0]:
        console.print("transfer ± is the estimated error of going from tau_ref to tau_e; the model's own is not in it")
    if prediction.anchor is not None and prediction.has_free_energy:
        shift = f"{1000 * prediction.anchor_shift / n:+.2f} meV/atom"
        console.print(
            f"F is anchored: {shift} against F of the LDOS alone"
            if prediction.anchored
            else f"F is that of the LDOS alone; anchored to the regular model (--anchor) it is {shift} from there"
        )
        if abs(prediction.anchor_shift) > _UNLIKE * n:
            console.print(
                f"[yellow]warning[/]  the two differ by more than {1000 * _UNLIKE:g} meV/atom: this structure is "
                "unlike those of the training, and neither may be right"
            )
    volume, volumes = structure.get_volume() / n, loaded.volume_range
    if volumes is not None and not volumes[0] * (1 - _OTHER_VOLUME) < volume < volumes[1] * (1 + _OTHER_VOLUME):
        console.print(
            f"[yellow]warning[/]  this structure has {volume:.2f} Å³/atom, those of the training had "
            f"{volumes[0]:.2f} to {volumes[1]:.2f}"
        )
    if max(prediction.grid.spacing) > _COARSE * loaded.grid_spacing:
        console.print(
            f"[yellow]warning[/]  points are {max(prediction.grid.spacing):.2f} Å apart, in training "
            f"{loaded.grid_spacing:.2f} Å: integrals over the cell may be off"
        )
    if prediction.mechanics is not None:
        console.print(table("Forces and stress", *_mechanical_columns(prediction)))
        if not prediction.anchored:
            console.print("they are those of F of the LDOS alone, which errs most of all in the pressure")
    if prediction.uncertainty is not None:
        members = len(prediction.uncertainty.members)
        what = "F" if "free_energy" in rows[0] else "E_b"
        if prediction.anchored:
            what = "F(tau_e) - F(tau_ref)"
        console.print(f"spread is the standard deviation of {what} over the {members} networks of the model")
    if loaded.total_energy_obstacle and not no_density:
        console.print(f"no total free energy: {loaded.total_energy_obstacle}")
    for name, what in _SHORT_CUTS.items():
        if name in rows[0]:
            worst = max((row[name] for row in rows), key=abs)
            console.print(f"{what} changes E_b - TS by at most {1000 * worst / n:+.3f} meV/atom")
    if files:
        console.print("files: " + ", ".join(str(file) for file in files))


def _columns(rows: list[dict[str, Any]], n: int) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns titles and cells of the table of results, per atom."""
    boltzmann = fermisea.units.BOLTZMANN
    first = ["F (eV/atom)", "transfer ± (meV/atom)"] if "free_energy" in rows[0] else ["E_b (eV/atom)"]
    spread = next((name for name in ("free_energy_std", "band_energy_std") if name in rows[0]), None)
    if spread is not None:
        first.append("spread (meV/atom)")
    cells: list[tuple[str, ...]] = []
    for row in rows:
        energies = [f"{row['band_energy'] / n:.5f}"]
        if "free_energy" in row:
            energies = [f"{row['free_energy'] / n:.5f}", f"{1000 * row['transfer_error'] / n:.3f}"]
        if spread is not None:
            energies.append(f"{1000 * row[spread] / n:.2f}")
        cells.append(
            (
                f"{row['electron_temperature']:g}",
                *energies,
                f"{-row['electron_temperature'] * row['entropy'] / n:.5f}",
                f"{row['fermi_level']:.4f}",
                f"{row['heat_capacity'] / n / boltzmann:.4f}",
            )
        )
    return ["tau_e (K)", *first, "-TS (eV/atom)", "μ (eV)", "C_e (k_B/atom)"], cells


def _mechanical_columns(prediction: Prediction) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns titles and cells of the table of forces and stress."""
    cells: list[tuple[str, ...]] = []
    for result, found in zip(prediction.results, prediction.mechanics or (), strict=True):
        lengths = np.linalg.norm(found.forces, axis=1)
        pressure = -np.trace(found.stress) / 3 / fermisea.units.GIGAPASCAL
        cells.append(
            (
                f"{result.electron_temperature:g}",
                f"{np.sqrt(np.mean(lengths**2)):.4f}",
                f"{lengths.max():.4f}",
                f"{np.linalg.norm(found.forces.sum(axis=0)):.1e}",
                f"{pressure:.3f}",
            )
        )
    return ["tau_e (K)", "rms force (eV/Å)", "largest", "their sum", "pressure (GPa)"], cells


def prediction_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Returns one row of named numbers for each electronic temperature, for the whole cell; eV, eV/K, K."""
    rows = []
    shift = prediction.anchor_shift if prediction.anchored else 0.0
    for index, result in enumerate(prediction.results):
        row = {"electron_temperature": result.electron_temperature}
        forms = {f"free_energy_{form}": energy + shift for form, energy in result.free_energies.items()}
        if forms:
            row["free_energy"] = forms["free_energy_second_order"]
        row |= {name: getattr(result, name) for name in _NAMES}
        if forms:
            row |= {"internal_energy": result.internal_energy() + shift, "transfer_error": result.transfer_error}
            if prediction.anchor is not None:
                ldos_energy = result.free_energies["second_order"]
                row |= {"ldos_free_energy": ldos_energy, "anchored_free_energy": ldos_energy + prediction.anchor_shift}
        row |= {name: values[index] for name, values in prediction.errors.items()} | forms
        if prediction.uncertainty is not None:
            spreads = prediction.uncertainty.scalars(anchored=prediction.anchored).items()
            row |= {f"{name}_std": float(np.atleast_1d(values)[index]) for name, (values, _) in spreads}
        rows.append(row)
    return rows


def _write(prediction: Prediction, rows: list[dict[str, Any]], out: Path, cube: Field | None) -> list[Path]:
    n = len(prediction.atoms)
    files = [out / "observables.csv", out / "dos.csv"]
    write_csv(files[0], rows)
    energies = zip(prediction.energies, prediction.dos, strict=True)
    write_csv(files[1], [{"energy_eV": float(e), "dos_per_eV": float(d)} for e, d in energies])
    temperatures = [row["electron_temperature"] for row in rows]
    title = f"{prediction.atoms.get_chemical_formula()}, {n} atoms"
    figure = fermisea.plots.dos_figure(
        prediction.energies, prediction.dos / n, temperatures, [row["fermi_level"] for row in rows], title=title
    )
    files += fermisea.plots.save_figure(figure, out / "dos")
    if len(set(temperatures)) > 1 and "free_energy" in rows[0]:
        figure = fermisea.plots.free_energy_figure(
            temperatures,
            [row["free_energy"] / n for row in rows],
            reference_electron_temperature=prediction.reference_electron_temperature,
            title=title,
        )
        files += fermisea.plots.save_figure(figure, out / "free_energy")
    if prediction.mechanics is not None:
        files.append(out / "forces.extxyz")
        fermisea.structures.write_results(files[-1], prediction.frames())
    if cube is Field.DENSITY:
        from fermisea.interop.cube import write_cube  # noqa: PLC0415  # most calls need it not

        for temperature, density in zip(temperatures, prediction.density, strict=True):
            path = out / f"density-{temperature:g}K.cube"
            files.append(write_cube(path, prediction.atoms, density, comment=f"density, tau_e {temperature:g} K"))
    return files
