"""``fermisea thermo``: the electrons of a structure over a range of electronic temperatures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

import fermisea
from fermisea.cli.common import AllowOutside, Anchor, Json, ModelFile, output_folder, print_json
from fermisea.physics.registry import OBSERVABLES, with_unit
from fermisea.terminal import progress_bar, stdout, table
from fermisea.utilities.tables import write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fermisea.analysis.thermodynamics import Thermodynamics
    from fermisea.interop.ttm import HeatCapacityFit

_SHOWN = 9
"""Rows of the table on the terminal."""


def thermo(
    model: ModelFile,
    atoms: Annotated[Path, typer.Argument(help="A structure; any format of ASE, one of several frames as FILE@3.")],
    to: Annotated[float, typer.Option("--to", help="Highest tau_e, K.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for table, figure and parameter files.", show_default=False)],
    start: Annotated[float, typer.Option("--from", help="Lowest tau_e, K.")] = 300.0,
    anchor: Anchor = None,
    no_pressure: Annotated[
        bool, typer.Option("--no-pressure", help="Leave out the electronic pressure, which takes most of the time.")
    ] = False,
    grid: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Points.  [dim]\\[default: spaced as in training][/]")
    ] = None,
    thermal_diffusivity: Annotated[
        float, typer.Option(help="D_e for the ttm/mod file, Å²/ps; the model knows nothing of it.")
    ] = 0.0,
    friction: Annotated[
        float, typer.Option(help="gamma_p of electrons and ions for the ttm/mod file, g/mol/ps; likewise.")
    ] = 0.0,
    fdm: Annotated[
        float | None, typer.Option(help="Also write a grid of one cell for LAMMPS's fix eph at this tau_e, K.")
    ] = None,
    allow_beyond_window: Annotated[
        bool, typer.Option("--allow-beyond-window", help="Warn instead of refusing above the highest tau_e.")
    ] = False,
    allow_outside: AllowOutside = False,
    json: Json = False,
) -> None:
    """Free energy, entropy, Fermi level, heat capacity and pressure of the electrons at fixed ions, against tau_e.

    Example: [bold]fermisea thermo al.safetensors Al.cif --to 15000 --out thermo/[/]
    """
    loaded = fermisea.load_model(model)
    structure = fermisea.structures.read_structure(atoms)
    if fdm is not None and not start <= fdm <= to:
        raise fermisea.InputError(f"--fdm: got {fdm:g} K, expected a tau_e from {start:g} to {to:g} K")
    if fdm is not None and not structure.cell.orthorhombic:
        raise fermisea.InputError("--fdm: the grid of fix eph is an orthogonal box, got another cell; leave it out")
    with output_folder(out), progress_bar() as bar:
        task = bar.add_task("grid points", total=None, note="")
        found = fermisea.thermo(
            loaded,
            structure,
            to,
            lowest=start,
            pressure=not no_pressure,
            anchor=anchor,
            grid=grid,
            allow_beyond_window=allow_beyond_window,
            allow_outside=allow_outside,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        fit, files = _write(found, out, thermal_diffusivity, friction, fdm)
    rows = found.rows()
    if json:
        names = ("error", "coefficients", "limit", "damping")
        summary = None if fit is None else {name: getattr(fit, name) for name in names}
        formula, outside = structure.get_chemical_formula(), found.prediction.warnings
        print_json({"formula": formula, "warnings": outside, "rows": rows, "fit": summary, "files": files})
        return
    picked = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, _SHOWN).round().astype(int))]
    heads, cells = _columns(picked)
    console = stdout()
    title = (
        f"{structure.get_chemical_formula()}, ions fixed; {len(rows)} temperatures, of which {len(picked)} are shown"
    )
    console.print(table(title, heads, cells))
    if fit is not None:
        console.print(f"ttm/mod: C_e fitted to {100 * fit.error:.2f} % of its largest value")
    if fit is not None and not (thermal_diffusivity and friction):
        console.print(
            "ttm/mod: without --thermal-diffusivity and --friction nothing conducts or couples; edit the file"
        )
    console.print("files: " + ", ".join(str(file) for file in files))


def _columns(rows: list[dict[str, float]]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns heads and cells of the printed table."""
    titles = {
        "electron_temperature_K": (OBSERVABLES["electron_temperature"].label(), 1.0, ".0f"),
        "free_energy_eV_per_atom": (OBSERVABLES["free_energy"].label(per_atom=True), 1.0, ".5f"),
        "entropy_eV_per_K_atom": (with_unit(OBSERVABLES["entropy"].symbol, "meV/(K atom)"), 1000.0, ".5f"),
        "fermi_level_eV": (OBSERVABLES["fermi_level"].label(), 1.0, ".4f"),
        "heat_capacity_J_per_m3_K": (with_unit(OBSERVABLES["heat_capacity"].symbol, "10⁵ J/m³/K"), 1e-5, ".4f"),
        "sommerfeld_coefficient_J_per_m3_K2": ("C_e/tau_e (J/m³/K²)", 1.0, ".2f"),
        "electronic_pressure_GPa": ("P_e (GPa)", 1.0, ".3f"),
        "transfer_error_eV_per_atom": (with_unit(OBSERVABLES["transfer_error"].symbol, "meV/atom"), 1000.0, ".3f"),
    }
    shown = {name: title for name, title in titles.items() if name in rows[0]}
    cells = [tuple(format(factor * row[name], form) for name, (_, factor, form) in shown.items()) for row in rows]
    return [title for title, *_ in shown.values()], cells


def _write(
    found: Thermodynamics, out: Path, thermal_diffusivity: float, friction: float, fdm: float | None
) -> tuple[HeatCapacityFit | None, list[Path]]:
    """Writes table, figure and parameter files; returns the fit of C_e, if there is one, and the files."""
    from fermisea.interop import ttm  # noqa: PLC0415  # most commands need it not

    atoms, temperatures, pressure = found.atoms, found.electron_temperature, found.pressure
    per_volume = found.heat_capacity / found.volume
    files = [out / "thermo.csv"]
    write_table(files[0], found.table())
    fit: HeatCapacityFit | None = None
    try:
        fit = ttm.fit_heat_capacity(temperatures, per_volume, found.electrons / found.volume)
    except fermisea.InputError as error:
        warnings.warn(f"no file for fix ttm/mod: {error}", stacklevel=2)
    else:
        factor = 0.0
        if not np.isnan(pressure).any():
            drive = per_volume * temperatures - per_volume[0] * temperatures[0]
            factor = float(pressure @ drive / (drive @ drive))
        files.append(out / "electrons.ttm")
        parameters = ttm.TtmParameters(thermal_diffusivity=thermal_diffusivity, friction=friction)
        ttm.write_ttm_mod(files[-1], fit, len(atoms) / found.volume, factor, parameters)
    if fdm is not None:
        files.append(out / "electrons.fdm")
        x, y, z = (float(length) for length in atoms.cell.lengths())
        heat_capacity = float(np.interp(fdm, temperatures, per_volume))
        ttm.write_fdm(files[-1], electron_temperature=fdm, heat_capacity=heat_capacity, lengths=(x, y, z))
    files += fermisea.plots.save_figure(_figure(found, fit), out / "thermo")
    _write_page(found, out)
    return fit, files


def _write_page(found: Thermodynamics, out: Path) -> None:
    """Writes what ``fermisea report`` shows of the thermodynamics."""
    from fermisea.report import Section, add_sections  # noqa: PLC0415  # --help needs it not

    text = "Electrons in equilibrium at each electronic temperature; ions and volume are fixed."
    sections = [Section("Thermodynamics of the electrons", (text,), ("thermo.png",), ("thermo.csv",))]
    title = f"{found.atoms.get_chemical_formula()}, {len(found.atoms)} atoms: thermodynamics of the electrons"
    add_sections(out, "thermo", title, sections, f"fermisea {fermisea.__version__}")


def _figure(found: Thermodynamics, fit: HeatCapacityFit | None) -> Figure:
    """Returns C_e with its fit, mu and the electronic pressure against tau_e."""
    units, atoms, temperatures = fermisea.units, found.atoms, found.electron_temperature
    joule = 1e-5 * units.ELECTRONVOLT / units.METRE_PER_ANGSTROM**3
    quantities = {
        with_unit(OBSERVABLES["heat_capacity"].math_symbol, "10$^5$ J m$^{-3}$ K$^{-1}$"): joule
        * found.heat_capacity
        / found.volume,
        r"$\mu - \mu_0$ (eV)": found.fermi_level - found.fermi_level[0],
    }
    if not np.isnan(found.pressure).any():
        quantities["$P_e$ (GPa)"] = found.pressure / units.GIGAPASCAL
    fine = np.linspace(0, temperatures[-1], 200)
    title = f"{atoms.get_chemical_formula()}, {len(atoms)} atoms"
    fitted = None if fit is None else (fine, joule * fit.heat_capacity(fine))
    return fermisea.plots.thermodynamics_figure(temperatures, quantities, fit=fitted, title=title)
