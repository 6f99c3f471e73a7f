"""``fermisea predict``: observables of a structure at electronic temperatures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import fermisea
from fermisea.cli.common import Json, output_folder, print_json, progress_bar, stdout, table, write_csv

if TYPE_CHECKING:
    from fermisea.prediction import Prediction


class Field(StrEnum):
    """Fields that can be written as cube files."""

    DENSITY = "density"


def predict(
    model: Annotated[Path, typer.Argument(help="A model file that 'fermisea train' wrote.")],
    atoms: Annotated[Path, typer.Argument(help="A structure; any format of ASE, one of several frames as FILE@3.")],
    electron_temperature: Annotated[list[float], typer.Option(help="One or more tau_e, K.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for tables, figures and fields.", show_default=False)],
    cube: Annotated[
        Field | None, typer.Option(help="Also write this field for each tau_e, 1/bohr³ in the cube's bohr.")
    ] = None,
    grid: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Points.  [dim]\\[default: spaced as in training][/]")
    ] = None,
    allow_beyond_window: Annotated[
        bool, typer.Option("--allow-beyond-window", help="Warn instead of refusing above the highest tau_e.")
    ] = False,
    json: Json = False,
) -> None:
    """Predict free energy, entropy, Fermi level, heat capacity, DOS and density.

    Example: [bold]fermisea predict al.safetensors Al.cif --electron-temperature 300 1000 10000 --out out/[/]
    """
    loaded = fermisea.load_model(model)
    structure = fermisea.structures.read_structure(atoms)
    with output_folder(out), progress_bar() as bar:
        task = bar.add_task("grid points", total=None, note="")
        prediction = loaded.predict(
            structure,
            electron_temperature,
            grid,
            allow_beyond_window=allow_beyond_window,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        rows = prediction_rows(prediction)
        files = _write(prediction, rows, out, cube)
    if json:
        print_json({"atoms": len(structure), "formula": structure.get_chemical_formula(), "rows": rows, "files": files})
        return
    n = len(structure)
    columns = ["tau_e (K)", "F (eV/atom)", "± (meV/atom)", "-TS (eV/atom)", "μ (eV)", "C_e (k_B/atom)"]
    boltzmann = fermisea.units.BOLTZMANN
    cells = [
        (
            f"{row['electron_temperature']:g}",
            f"{row['free_energy'] / n:.5f}",
            f"{1000 * row['transfer_error'] / n:.3f}",
            f"{-row['electron_temperature'] * row['entropy'] / n:.5f}",
            f"{row['fermi_level']:.4f}",
            f"{row['heat_capacity'] / n / boltzmann:.4f}",
        )
        for row in rows
    ]
    console = stdout()
    console.print(table(f"{structure.get_chemical_formula()}, {n} atoms", columns, cells))
    console.print("± is the estimated error of the transfer from tau_ref to tau_e; that of the model comes on top")
    console.print("files: " + ", ".join(str(file) for file in files))


def prediction_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Returns one row of named numbers for each electronic temperature, for the whole cell; eV, eV/K, K."""
    data = prediction.data
    names = ("band_energy", "entropy", "internal_energy", "fermi_level", "heat_capacity", "electrons", "transfer_error")
    rows = []
    for index, temperature in enumerate(data["electron_temperature"].values):
        at = data.isel(electron_temperature=index)
        forms = {f"free_energy_{form}": float(at["free_energy"].sel(form=form)) for form in data["form"].values}
        rows.append(
            {"electron_temperature": float(temperature), "free_energy": forms["free_energy_second_order"]}
            | {name: float(at[name]) for name in names}
            | forms
        )
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
    if len(set(temperatures)) > 1:
        figure = fermisea.plots.free_energy_figure(
            temperatures,
            [row["free_energy"] / n for row in rows],
            reference_electron_temperature=prediction.data.attrs["reference_electron_temperature"],
            title=title,
        )
        files += fermisea.plots.save_figure(figure, out / "free_energy")
    if cube is not None:
        for temperature, density in zip(temperatures, prediction.density, strict=True):
            path = out / f"density-{temperature:g}K.cube"
            fermisea.structures.write_cube(path, prediction.atoms, density)
            files.append(path)
    return files
