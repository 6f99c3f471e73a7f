"""Files of a prediction: tables, figures, forces, density and report sections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import fermisea
from fermisea.cli.prediction_tables import SMALL_TAIL, energy_rows, mechanical_rows, notes, references_of
from fermisea.physics.registry import OBSERVABLES, with_unit
from fermisea.utilities.counts import counted
from fermisea.utilities.tables import write_csv, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fermisea.model.model import Model
    from fermisea.prediction.result import Prediction


def write_prediction(prediction: Prediction, out: Path, model: Path, loaded: Model) -> list[Path]:
    """Writes tables and figures of a prediction to a folder and returns the files.

    Args:
        prediction: prediction at one or several tau_e.
        out: folder of the files.
        model: file or name of the model.
        loaded: the model.
    """
    files = [out / "observables.csv", out / "observables_per_atom.csv", out / "dos.csv"]
    write_table(files[0], prediction.table())
    write_csv(files[1], energy_rows(prediction))
    write_csv(files[2], _dos_rows(prediction))
    title = _title(prediction)
    temperatures = [result.electron_temperature for result in prediction.results]
    levels = [result.fermi_level for result in prediction.results]
    density_of_states = prediction.dos / len(prediction.atoms)
    figure = fermisea.plots.dos_figure(prediction.energies, density_of_states, temperatures, levels, title=title)
    files += fermisea.plots.save_figure(figure, out / "dos")
    if len(set(temperatures)) > 1 and prediction.has_free_energy:
        files += fermisea.plots.save_figure(free_energy_figure(prediction, title, loaded), out / "free_energy")
    if prediction.mechanics is not None:
        files += _write_mechanics(prediction, out)
    _write_page(prediction, out, model, loaded)
    return files


def free_energy_figure(prediction: Prediction, title: str, model: Model) -> Figure:
    """Returns F per atom against tau_e with a smooth curve and the estimated error."""
    from fermisea.prediction.curve import free_energy_curve  # noqa: PLC0415  # only when needed
    from fermisea.prediction.plausibility import domain_warnings_ignored  # noqa: PLC0415

    atoms = len(prediction.atoms)
    spread, name = None, "network spread"
    if prediction.origin == "potential":
        spread, name = np.atleast_1d(prediction.free_energy_std) / atoms, "potential"
    elif prediction.uncertainty is not None:
        spread = np.atleast_1d(prediction.uncertainty.free_energy_change) / atoms
    tails = np.array([result.tail_error for result in prediction.results]) / atoms
    x, y = free_energy_curve(prediction)
    if prediction.origin == "potential":
        with domain_warnings_ignored():  # the prediction has issued them
            own = model.potential().predict(prediction.atoms, x.tolist(), allow_outside=True, derivatives=False)
        y = np.asarray(own.free_energy)
    return fermisea.plots.free_energy_figure(
        [result.electron_temperature for result in prediction.results],
        np.array([result.free_energy for result in prediction.results]) / atoms,
        curve=(x, y / atoms),
        transfer_error=np.array([result.transfer_error for result in prediction.results]) / atoms,
        spread=spread,
        spread_name=name,
        tail_error=tails if 1000 * tails.max() >= SMALL_TAIL else None,
        reference_electron_temperature=references_of(prediction),
        title=title,
    )


def write_density_cubes(prediction: Prediction, out: Path) -> list[Path]:
    """Writes the density at each tau_e as a cube file and returns the files; the first process has it as a whole."""
    from fermisea.interop.cube import write_cube  # noqa: PLC0415  # only when needed

    files, processes = [], prediction.processes
    for result in prediction.results:
        name = f"{result.electron_temperature:g}K"
        comment = f"density, tau_e {result.electron_temperature:g} K"
        planes = list(processes.collected(np.asarray(result.density), prediction.grid.shape[0]))
        if processes.first:
            files.append(
                write_cube(out / f"density-{name}.cube", prediction.atoms, np.concatenate(planes), comment=comment)
            )
    return files


def _title(prediction: Prediction) -> str:
    return f"{prediction.atoms.get_chemical_formula()}, {counted(len(prediction.atoms), 'atom')}"


def _dos_text(prediction: Prediction) -> tuple[str, ...]:
    found = ["The figure shows the density of states per atom."]
    if prediction.further_references:
        found.append(
            "It is the one of the tau_ref with the largest weight at the lowest tau_e. Energies and Fermi levels of "
            "hotter electrons also come from the densities of states of the other tau_ref."
        )
    return tuple(found)


def _dos_rows(prediction: Prediction) -> list[dict[str, float]]:
    """Returns the DOS of the cell and per atom, and its spread over an ensemble, by heading."""
    dos, atoms = OBSERVABLES["dos"], len(prediction.atoms)
    columns = {
        "energy (eV)": prediction.energies,
        dos.head(): prediction.dos,
        with_unit("dos_per_atom", dos.unit_of(per_atom=True)): prediction.dos / atoms,
    }
    if prediction.uncertainty is not None:
        columns[with_unit("dos_std", dos.unit)] = prediction.uncertainty.dos
    return [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def _write_mechanics(prediction: Prediction, out: Path) -> list[Path]:
    """Writes forces and stress as extended xyz and as tables."""
    files = [out / "forces.extxyz", out / "forces.csv", out / "stress.csv"]
    fermisea.structures.write_results(files[0], prediction.frames())
    temperature, force, stress = (OBSERVABLES[name] for name in ("electron_temperature", "forces", "stress"))
    symbols = prediction.atoms.get_chemical_symbols()
    forces, stresses = [], []
    for size, found in zip(mechanical_rows(prediction), prediction.mechanics or (), strict=True):
        start = {temperature.head(): size[temperature.label()]}
        for atom, (symbol, vector) in enumerate(zip(symbols, found.forces.tolist(), strict=True)):
            components = {with_unit(f"force_{axis}", force.unit): v for axis, v in zip("xyz", vector, strict=True)}
            forces.append(start | {"atom": atom, "symbol": symbol} | components)
        tensor = {
            with_unit(f"stress_{a}{b}", stress.unit): float(found.stress["xyz".index(a), "xyz".index(b)])
            for a, b in ("xx", "yy", "zz", "yz", "xz", "xy")
        }
        sizes = {
            "pressure (GPa)": size["pressure (GPa)"],
            with_unit("rms_force", force.unit): size["rms force (eV/Å)"],
            with_unit("largest_force", force.unit): size["largest force (eV/Å)"],
        }
        stresses.append(start | sizes | tensor)
    write_csv(files[1], forces)
    write_csv(files[2], stresses)
    return files


def _write_page(prediction: Prediction, out: Path, model: Path, loaded: Model) -> None:
    """Writes the report sections of the prediction."""
    from fermisea.report import Section, add_sections  # noqa: PLC0415  # only when needed

    whole = prediction.has_free_energy
    curve = ("free_energy.png",) if whole and len({r.electron_temperature for r in prediction.results}) > 1 else ()
    warnings = (f"Warning: {warning}." for warning in prediction.warnings)
    text = (
        *warnings,
        "Energies and heat capacity per atom; mu is the Fermi level.",
        *(f"{note[0].upper()}{note[1:]}." for note in notes(prediction, loaded)),
    )
    sections = [
        Section("Free energy" if whole else "Band energy", text, curve, ("observables_per_atom.csv",)),
        Section("Density of states", _dos_text(prediction), ("dos.png",), ("dos.csv",)),
    ]
    if prediction.mechanics is not None:
        signs = "Stress is positive under tension, pressure under compression."
        sections.append(Section("Forces and stress", (signs,), tables=("stress.csv", "forces.csv")))
    sections.append(Section("All observables", ("Values for the whole cell.",), tables=("observables.csv",)))
    title = f"{_title(prediction)}: prediction by the model {model.stem}"
    add_sections(out, "predict", title, sections, f"fermisea {fermisea.__version__}, model {model}")
