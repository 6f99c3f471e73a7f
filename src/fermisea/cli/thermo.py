"""``fermisea thermo``: thermodynamics of the electrons over a range of electronic temperatures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

import fermisea
from fermisea.cli.common import (
    AllowBeyondWindow,
    AllowOutside,
    Anchor,
    FreeEnergyOrigin,
    Json,
    ModelFile,
    ThermalXc,
    UseTail,
    output_folder,
    print_json,
)
from fermisea.physics.registry import OBSERVABLES, with_unit
from fermisea.terminal import progress_bar, stdout, table
from fermisea.utilities.counts import counted
from fermisea.utilities.tables import write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fermisea.analysis.thermodynamics import Thermodynamics
    from fermisea.interop.ttm import HeatCapacityFit, TtmParameters

_SHOWN = 9
"""Number of rows of the printed table."""


def thermo(
    model: ModelFile,
    atoms: Annotated[
        Path,
        typer.Argument(help="Structure file in any format that ASE reads; FILE@3 selects frame 3, counted from 0."),
    ],
    to: Annotated[float, typer.Option("--to", help="Highest electronic temperature (tau_e), K.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for table, figure and parameter files.", show_default=False)],
    start: Annotated[float, typer.Option("--from", help="Lowest electronic temperature (tau_e), K.")] = 300.0,
    free_energy: FreeEnergyOrigin = None,
    anchor: Anchor = None,
    no_pressure: Annotated[
        bool,
        typer.Option(
            "--no-pressure", help="Omission of the electronic pressure, whose calculation takes most of the time."
        ),
    ] = False,
    grid: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Three numbers of grid points, one along each lattice vector.  "
            "[dim]\\[default: grid spacing of the training data][/]"
        ),
    ] = None,
    thermal_diffusivity: Annotated[
        float,
        typer.Option(
            help="Electronic thermal diffusivity D_e for the ttm/mod file, Å²/ps; not predicted by the model."
        ),
    ] = 0.0,
    friction: Annotated[
        float,
        typer.Option(help="Electron-ion friction gamma_p for the ttm/mod file, g/mol/ps; not predicted by the model."),
    ] = 0.0,
    ttm_cells: Annotated[
        int | None,
        typer.Option(
            help="Number of grid cells along x (Nx) of fix ttm/mod, all filled with electrons in the ttm/mod file.  "
            "[dim]\\[default: 1][/]"
        ),
    ] = None,
    fdm: Annotated[
        float | None,
        typer.Option(
            help="Electronic temperature in the one-cell grid file for LAMMPS fix eph, K.  [dim]\\[default: no file][/]"
        ),
    ] = None,
    tail: UseTail = True,
    allow_beyond_window: AllowBeyondWindow = False,
    allow_outside: AllowOutside = False,
    thermal_xc: ThermalXc = None,
    json: Json = False,
) -> None:
    """Compute free energy, entropy, Fermi level, heat capacity and pressure of the electrons at fixed ions.

    Example: [bold]fermisea thermo al.safetensors Al.cif --to 15000 --out thermo/[/]
    """
    loaded = fermisea.load_model(model)
    structure = fermisea.structures.read_structure(atoms)
    if ttm_cells is not None and ttm_cells < 1:
        raise fermisea.InputError(
            f"--ttm-cells: got {ttm_cells}, expected the number of grid cells along x of fix ttm/mod, at least 1"
        )
    if fdm is not None and not start <= fdm <= to:
        raise fermisea.InputError(f"--fdm: got {fdm:g} K, expected a tau_e from {start:g} to {to:g} K")
    if fdm is not None and not structure.cell.orthorhombic:
        raise fermisea.InputError(
            "--fdm: got a cell that is not orthogonal, expected an orthogonal cell for fix eph; omit --fdm"
        )
    with output_folder(out), progress_bar() as bar:
        task = bar.add_task("grid points", total=None, note="")
        found = fermisea.thermo(
            loaded,
            structure,
            to,
            lowest=start,
            pressure=not no_pressure,
            free_energy=None if free_energy is None else free_energy.value,
            anchor=anchor,
            grid=grid,
            tail=tail,
            allow_beyond_window=allow_beyond_window,
            allow_outside=allow_outside,
            thermal_xc=thermal_xc,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        electrons = _parameters(thermal_diffusivity, friction, ttm_cells or 1)
        fit, files = _write(found, out, electrons, fdm)
    rows = found.rows()
    if json:
        names = ("error", "coefficients", "limit", "damping")
        summary = None if fit is None else {name: getattr(fit, name) for name in names}
        formula, outside = structure.get_chemical_formula(), found.prediction.warnings
        surfaces = {"left_surface": electrons.left_surface, "right_surface": electrons.right_surface}
        document = {"formula": formula, "warnings": outside, "rows": rows, "fit": summary, "files": files}
        if found.prediction.has_free_energy:
            document["free_energy_origin"] = found.prediction.origin
            if found.prediction.thermal_xc is not None:
                document |= {"thermal_xc": found.prediction.thermal_xc, "functional": found.prediction.functional}
        print_json(document | {"ttm_mod": None if fit is None else surfaces})
        return
    picked = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, _SHOWN).round().astype(int))]
    heads, cells = _columns(picked)
    console = stdout()
    title = f"{structure.get_chemical_formula()}, fixed ions; {len(picked)} of {len(rows)} temperatures"
    console.print(table(title, heads, cells))
    for note in _notes(found):
        console.print(note)
    if fit is not None:
        more = "" if ttm_cells else "; for a fix with Nx > 1 cells along x, give --ttm-cells Nx"
        console.print(f"ttm/mod: electrons fill {electrons.cells} (lsurface to rsurface - 1){more}")
        console.print(f"ttm/mod: error of the fit of C_e is at most {100 * fit.error:.2f} % of the largest C_e")
    if fit is not None and not (thermal_diffusivity and friction):
        console.print(
            "ttm/mod: without --thermal-diffusivity and --friction there is no conduction and no coupling; edit the "
            "file"
        )
    console.print("files: " + ", ".join(str(file) for file in files))


def _columns(rows: list[dict[str, float]]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns headings and cells of the printed table."""
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


def _notes(found: Thermodynamics) -> tuple[str, ...]:
    """Returns a note on the functional of F, S, C_e and pressure, if it is not the one of the model."""
    prediction = found.prediction
    if prediction.thermal_xc is None:
        return ()
    functionals = f"with {prediction.thermal_xc}, from an LDOS of {prediction.functional}"
    return (f"exchange and correlation: F, S, C_e and P_e {functionals}",)


def _parameters(thermal_diffusivity: float, friction: float, cells: int) -> TtmParameters:
    """Returns the parameters of fix ttm/mod with electrons in the first ``cells`` cells along x."""
    from fermisea.interop.ttm import TtmParameters  # noqa: PLC0415  # only when needed

    return TtmParameters(thermal_diffusivity=thermal_diffusivity, friction=friction, right_surface=cells)


def _write(
    found: Thermodynamics, out: Path, electrons: TtmParameters, fdm: float | None
) -> tuple[HeatCapacityFit | None, list[Path]]:
    """Writes table, figure and parameter files; returns the fit of C_e, if there is one, and the files."""
    from fermisea.interop import ttm  # noqa: PLC0415  # only when needed

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
        ttm.write_ttm_mod(files[-1], fit, len(atoms) / found.volume, factor, electrons)
    if fdm is not None:
        files.append(out / "electrons.fdm")
        x, y, z = (float(length) for length in atoms.cell.lengths())
        heat_capacity = float(np.interp(fdm, temperatures, per_volume))
        ttm.write_fdm(files[-1], electron_temperature=fdm, heat_capacity=heat_capacity, lengths=(x, y, z))
    files += fermisea.plots.save_figure(_figure(found, fit), out / "thermo")
    _write_page(found, out)
    return fit, files


def _write_page(found: Thermodynamics, out: Path) -> None:
    """Writes the report sections of the thermodynamics."""
    from fermisea.report import Section, add_sections  # noqa: PLC0415  # not needed for --help

    text = "Electrons in equilibrium at each electronic temperature; ions and volume are fixed."
    warned = tuple(f"Warning: {warning}." for warning in found.prediction.warnings)
    notes = tuple(f"{note[0].upper()}{note[1:]}." for note in _notes(found))
    section = Section("Thermodynamics of the electrons", (*warned, text, *notes), ("thermo.png",), ("thermo.csv",))
    title = (
        f"{found.atoms.get_chemical_formula()}, {counted(len(found.atoms), 'atom')}: thermodynamics of the electrons"
    )
    add_sections(out, "thermo", title, [section], f"fermisea {fermisea.__version__}")


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
    title = f"{atoms.get_chemical_formula()}, {counted(len(atoms), 'atom')}"
    fitted = None if fit is None else (fine, joule * fit.heat_capacity(fine))
    return fermisea.plots.thermodynamics_figure(temperatures, quantities, fit=fitted, title=title)
