"""First step of the demonstration: a prediction with the model shipped with the package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ase.build import bulk
from rich.console import Console

from fermisea import plots, units
from fermisea.demo.settings import DemoSettings
from fermisea.model.loading import load_model
from fermisea.physics.registry import OBSERVABLES, milli, with_unit
from fermisea.prediction.curve import free_energy_curve
from fermisea.terminal import table

NAME = "aluminium"
DISPLACEMENT = 0.1
"""Standard deviation of each coordinate, Angstrom; about the value at 500 K."""

ELECTRON_TEMPERATURES = (300.0, 1000.0, 3000.0, 10_000.0, 20_000.0, 30_000.0)


def shipped_model(settings: DemoSettings, folder: Path, console: Console) -> dict[str, Any]:
    """Predicts a crystal with displaced atoms, plots F against tau_e, and returns the printed numbers.

    Args:
        settings: settings of the demonstration.
        folder: folder of the figure.
        console: console for the output.
    """
    started = time.perf_counter()
    model = load_model(NAME)
    atoms = bulk("Al", "fcc", a=settings.lattice_constant, cubic=True).repeat(2)
    atoms.rattle(DISPLACEMENT, seed=settings.seed)
    references = model.reference_electron_temperatures
    temperatures = sorted({*ELECTRON_TEMPERATURES, *references})
    prediction = model.predict(atoms, temperatures)
    seconds, n = time.perf_counter() - started, len(atoms)
    rows = [
        {
            "electron_temperature": row["electron_temperature"],
            "free_energy": row["free_energy"],
            "free_energy_uncertainty": row["free_energy_uncertainty"],
            "entropy_term": result.entropy_term / n,
            "fermi_level": row["fermi_level"],
            "heat_capacity": row["heat_capacity"] / units.BOLTZMANN,
        }
        for result, row in zip(prediction.results, prediction.rows(per_atom=True), strict=True)
    ]
    factor, unit = milli(OBSERVABLES["free_energy"].unit_of(per_atom=True))
    columns = {
        OBSERVABLES["electron_temperature"].label(): [f"{row['electron_temperature']:g}" for row in rows],
        OBSERVABLES["free_energy"].label(per_atom=True): [f"{row['free_energy']:.5f}" for row in rows],
        f"± ({unit})": [f"{factor * row['free_energy_uncertainty']:.3f}" for row in rows],
        OBSERVABLES["entropy_term"].label(per_atom=True): [f"{row['entropy_term']:.5f}" for row in rows],
        OBSERVABLES["fermi_level"].label(): [f"{row['fermi_level']:.3f}" for row in rows],
        with_unit(OBSERVABLES["heat_capacity"].symbol, "k_B/atom"): [f"{row['heat_capacity']:.3f}" for row in rows],
    }
    title = f"model {NAME}, {n} atoms displaced by {DISPLACEMENT} Å"
    console.print(table(title, list(columns), list(zip(*columns.values(), strict=True))))
    console.print("  F comes from the interatomic potential of the model, mu from the local density of states")
    console.print("  ±: estimated error of F: spread of the potential, transfer error and blend error in quadrature")
    temperatures_of_curve, energies_of_curve = free_energy_curve(prediction)
    figure = plots.free_energy_figure(
        temperatures,
        prediction.free_energy / n,
        curve=(temperatures_of_curve, energies_of_curve / n),
        transfer_error=prediction.transfer_error / n,
        spread=prediction.free_energy_std / n,
        spread_name="potential",
        reference_electron_temperature=references,
        title=f"Al, {n} atoms, model {NAME}",
    )
    plots.save_figure(figure, folder / "shipped_model")
    console.print(f"  {prediction.grid.size} grid points, {len(temperatures)} electronic temperatures: {seconds:.1f} s")
    return {"model": NAME, "atoms": n, "seconds": round(seconds, 1), "rows": rows}
