"""``fermisea thermo``: thermodynamics of the electrons over a range of electronic temperatures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

import fermisea
from fermisea.cli.common import (
    AllowBeyondWindow,
    AllowOutside,
    Anchor,
    Device,
    FreeEnergyOrigin,
    GridShape,
    Json,
    ModelFile,
    ThermalXc,
    UseTail,
    output_folder,
    print_json,
)
from fermisea.cli.thermo_files import Exports, notes_of, ttm_parameters, write_thermodynamics, write_volumes
from fermisea.physics.registry import OBSERVABLES, with_unit
from fermisea.terminal import progress_bar, stdout, table

if TYPE_CHECKING:
    from fermisea.analysis.thermodynamics import Thermodynamics
    from fermisea.physics.conductivity import ConductivityLaw

_SHOWN = 9
"""Number of rows of the printed table."""


class LawName(StrEnum):
    """Laws for the thermal conductivity of the electrons."""

    LINEAR = "linear"
    DRUDE = "drude"
    ANISIMOV = "anisimov"


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
    grid: GridShape = None,
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
            help="Electronic temperature in the one-cell grid file for LAMMPS fix eph, K; its table of C_e and kappa_e "
            "is written beside it.  [dim]\\[default: no files][/]"
        ),
    ] = None,
    lambda_omega2: Annotated[
        float | None,
        typer.Option(
            help="Second moment λ⟨ω²⟩ of the Eliashberg function for the electron-phonon coupling G, meV²; not "
            "predicted by the model.  [dim]\\[default: no G][/]"
        ),
    ] = None,
    conductivity_law: Annotated[
        LawName | None,
        typer.Option(
            help="Law for the thermal conductivity kappa_e: kappa_0 tau_e/tau_i (linear), v_F² C_e/(3 (A tau_e² + B "
            "tau_i)) (drude), or the formula of Anisimov and Rethfeld.  [dim]\\[default: no kappa_e][/]",
            show_default=False,
        ),
    ] = None,
    conductivity_parameter: Annotated[
        list[str] | None,
        typer.Option(
            help="Parameters of the law as NAME=VALUE: kappa_0 (W/(m K)); v_F (m/s), A (1/(s K²)), B (1/(s K)); or C "
            "(W/(m K)), b, T_F (K)."
        ),
    ] = None,
    ion_temperature: Annotated[
        float, typer.Option(help="Temperature of the ions (tau_i) in the conductivity law, K.")
    ] = 300.0,
    udkm1dsim: Annotated[
        bool, typer.Option("--udkm1dsim", help="File with C_e, G and kappa_e as formulas for udkm1Dsim.")
    ] = False,
    phonopy_volumes: Annotated[
        list[float] | None,
        typer.Option(
            help="Volumes over the volume of the structure, for tables of F for phonopy-qha --efe.  "
            "[dim]\\[default: no tables][/]"
        ),
    ] = None,
    phonopy_to: Annotated[float, typer.Option(help="Highest temperature of the tables for phonopy-qha, K.")] = 1000.0,
    phonopy_step: Annotated[float, typer.Option(help="Step of the temperatures for phonopy-qha, K.")] = 10.0,
    tail: UseTail = True,
    allow_beyond_window: AllowBeyondWindow = False,
    allow_outside: AllowOutside = False,
    thermal_xc: ThermalXc = None,
    device: Device = None,
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
    law = _law(conductivity_law, conductivity_parameter or [], ion_temperature)
    options: dict[str, Any] = {
        "free_energy": None if free_energy is None else free_energy.value,
        "anchor": anchor,
        "grid": grid,
        "tail": tail,
        "allow_beyond_window": allow_beyond_window,
        "allow_outside": allow_outside,
        "thermal_xc": thermal_xc,
        "device": device,
    }
    at_volumes: list[str] = []
    with output_folder(out), progress_bar() as bar:
        task = bar.add_task("grid points", total=None, note="")
        found = fermisea.thermo(
            loaded,
            structure,
            to,
            lowest=start,
            pressure=not no_pressure,
            **options,
            lambda_omega2=lambda_omega2,
            conductivity=law,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        electrons = ttm_parameters(thermal_diffusivity, friction, ttm_cells or 1)
        fit, files = write_thermodynamics(found, out, Exports(electrons, fdm, udkm1dsim))
        if phonopy_volumes:
            volumes = bar.add_task("volumes", total=len(phonopy_volumes), note="")
            written, at_volumes = write_volumes(
                loaded,
                structure,
                out,
                phonopy_volumes,
                (phonopy_to, phonopy_step),
                **options,
                progress=lambda done, total: bar.update(volumes, completed=done, total=total),
            )
            files += written
    rows = found.rows()
    if json:
        names = ("error", "coefficients", "limit", "damping")
        summary = None if fit is None else {name: getattr(fit, name) for name in names}
        formula, outside = structure.get_chemical_formula(), [*found.prediction.warnings, *at_volumes]
        surfaces = {"left_surface": electrons.left_surface, "right_surface": electrons.right_surface}
        document = {"formula": formula, "warnings": outside, "rows": rows, "fit": summary, "files": files}
        document |= {"limits": found.limits, "friction_g_per_mol_ps": _friction(found)}
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
    for note in notes_of(found):
        console.print(note)
    if fit is not None:
        more = "" if ttm_cells else "; for a fix with Nx > 1 cells along x, give --ttm-cells Nx"
        console.print(f"ttm/mod: electrons fill {electrons.cells} (lsurface to rsurface - 1){more}")
        console.print(f"ttm/mod: error of the fit of C_e is at most {100 * fit.error:.2f} % of the largest C_e")
    if fit is not None and (same := _friction(found)) is not None and not friction:
        lowest = found.electron_temperature[0]
        console.print(f"ttm/mod: --friction {same:.4g} (g/mol/ps, the same at every tau_e) is G at {lowest:g} K")
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
        "electron_phonon_coupling_W_per_m3_K": ("G (10¹⁷ W/m³/K)", 1e-17, ".4f"),
        "thermal_conductivity_W_per_m_K": ("kappa_e (W/m/K)", 1.0, ".1f"),
        "transfer_error_eV_per_atom": (with_unit(OBSERVABLES["transfer_error"].symbol, "meV/atom"), 1000.0, ".3f"),
    }
    shown = {name: title for name, title in titles.items() if name in rows[0]}
    cells = [tuple(format(factor * row[name], form) for name, (_, factor, form) in shown.items()) for row in rows]
    return [title for title, *_ in shown.values()], cells


def _law(name: LawName | None, words: list[str], ion_temperature: float) -> ConductivityLaw | None:
    """Returns the law for kappa_e with its parameters.

    Raises:
        InputError: for parameters without a law, or as :func:`fermisea.physics.conductivity.conductivity_law`.
    """
    from fermisea.physics.conductivity import conductivity_law  # noqa: PLC0415  # only when needed

    parameters = {}
    for word in words:
        key, _, value = word.partition("=")
        try:
            parameters[key] = float(value)
        except ValueError as error:
            raise fermisea.InputError(
                f"--conductivity-parameter: got {word!r}, expected NAME=VALUE such as kappa_0=235"
            ) from error
    if name is None:
        if parameters:
            raise fermisea.InputError(
                f"--conductivity-parameter: got {', '.join(words)} without a law; give --conductivity-law"
            )
        return None
    return conductivity_law(name.value, parameters, ion_temperature)


def _friction(found: Thermodynamics) -> float | None:
    """Returns gamma_p of fix ttm/mod, g/mol/ps, that corresponds to G at the lowest tau_e; None without G."""
    from fermisea.interop.ttm import friction_of  # noqa: PLC0415  # only when needed

    if found.lambda_omega2 is None:
        return None
    return friction_of(float(found.coupling[0]), found.volume, found.atoms.get_masses())
