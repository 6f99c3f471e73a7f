"""First step of the demonstration: a prediction with the model shipped with the package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ase.build import bulk
from rich.console import Console

from fermisea import plots, units
from fermisea.demo.settings import DemoSettings
from fermisea.model.model import load_model
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
    temperatures = sorted({*ELECTRON_TEMPERATURES, model.reference_electron_temperature})
    prediction = model.predict(atoms, temperatures, anchor=True)
    seconds, n = time.perf_counter() - started, len(atoms)
    rows = [
        {
            "electron_temperature": result.electron_temperature,
            "free_energy": float(energy) / n,
            "free_energy_std": float(spread) / n,
            "entropy_term": -result.electron_temperature * result.entropy / n,
            "fermi_level": result.fermi_level,
            "heat_capacity": result.heat_capacity / n / units.BOLTZMANN,
        }
        for result, energy, spread in zip(
            prediction.results, prediction.free_energy, prediction.free_energy_std, strict=True
        )
    ]
    columns = ["tau_e (K)", "F (eV/atom)", "± (meV/atom)", "-TS (eV/atom)", "μ (eV)", "C_e (k_B/atom)"]
    cells = [
        (
            f"{row['electron_temperature']:g}",
            f"{row['free_energy']:.5f}",
            f"{1000 * row['free_energy_std']:.2f}",
            f"{row['entropy_term']:.5f}",
            f"{row['fermi_level']:.3f}",
            f"{row['heat_capacity']:.3f}",
        )
        for row in rows
    ]
    console.print(table(f"model {NAME}, {n} atoms displaced by {DISPLACEMENT} Å", columns, cells))
    figure = plots.free_energy_figure(
        temperatures,
        [row["free_energy"] for row in rows],
        reference_electron_temperature=model.reference_electron_temperature,
        title=f"Al, {n} atoms, model {NAME}",
    )
    plots.save_figure(figure, folder / "shipped_model")
    console.print(f"  {prediction.grid.size} grid points, {len(temperatures)} electronic temperatures: {seconds:.1f} s")
    return {"model": NAME, "atoms": n, "seconds": round(seconds, 1), "rows": rows}
