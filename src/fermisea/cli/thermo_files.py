"""Files of ``fermisea thermo``: tables, figure, report, and parameters for other programs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fermisea
from fermisea.physics.registry import OBSERVABLES, with_unit
from fermisea.utilities.counts import counted
from fermisea.utilities.tables import write_table

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.figure import Figure

    from fermisea.analysis.thermodynamics import Thermodynamics
    from fermisea.interop.ttm import HeatCapacityFit, TtmParameters
    from fermisea.model.model import Model


@dataclass(frozen=True)
class Exports:
    """Files for other programs.

    Attributes:
        parameters: parameters of fix ttm/mod.
        fdm: tau_e in the grid for fix eph, K; None for no files for it.
        udkm1dsim: whether to write the properties of a layer of udkm1Dsim.
    """

    parameters: TtmParameters
    fdm: float | None = None
    udkm1dsim: bool = False


def notes_of(found: Thermodynamics) -> tuple[str, ...]:
    """Returns notes on the functional, if it is not the one of the model, and on the limits of G and kappa_e."""
    prediction = found.prediction
    if prediction.thermal_xc is None:
        return tuple(f"limits: {limit}" for limit in found.limits)
    functionals = f"with {prediction.thermal_xc}, from an LDOS of {prediction.functional}"
    functional = f"exchange and correlation: F, S, C_e and P_e {functionals}"
    return (functional, *(f"limits: {limit}" for limit in found.limits))


def ttm_parameters(thermal_diffusivity: float, friction: float, cells: int) -> TtmParameters:
    """Returns the parameters of fix ttm/mod with electrons in the first ``cells`` cells along x."""
    from fermisea.interop.ttm import TtmParameters  # noqa: PLC0415  # only when needed

    return TtmParameters(thermal_diffusivity=thermal_diffusivity, friction=friction, right_surface=cells)


def write_thermodynamics(
    found: Thermodynamics, out: Path, exports: Exports
) -> tuple[HeatCapacityFit | None, list[Path]]:
    """Writes table, figure and parameter files; returns the fit of C_e, if there is one, and the files."""
    from fermisea.interop import eph, ttm  # noqa: PLC0415  # only when needed

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
        ttm.write_ttm_mod(files[-1], fit, len(atoms) / found.volume, factor, exports.parameters)
    if exports.fdm is not None:
        known = None if np.isnan(found.conductivity).any() else found.conductivity
        table, grid = out / "electrons-eph.dat", out / "electrons.fdm"
        eph.write_table(table, temperatures, per_volume, known, step=_eph_step(float(temperatures[-1])))
        x, y, z = (float(length) for length in atoms.cell.lengths())
        eph.write_grid(
            grid,
            electron_temperature=exports.fdm,
            heat_capacity=float(np.interp(exports.fdm, temperatures, per_volume)),
            lengths=(x, y, z),
            conductivity=0.0 if known is None else float(np.interp(exports.fdm, temperatures, known)),
            table=table.name,
        )
        files += [grid, table]
    if exports.udkm1dsim:
        files.append(_write_udkm1dsim(found, out))
    files += fermisea.plots.save_figure(_figure(found, fit), out / "thermo")
    _write_page(found, out)
    return fit, files


def write_volumes(
    model: Model, atoms: Atoms, out: Path, ratios: list[float], temperatures: tuple[float, float], **options: Any
) -> tuple[list[Path], list[str]]:
    """Writes F at several volumes for phonopy-qha; returns the files, and the warnings of the domain at all volumes.

    Args:
        model: model for the predictions.
        atoms: structure.
        out: folder of the files.
        ratios: volumes over the volume of the structure.
        temperatures: highest temperature and step, K.
        options: keyword arguments of :func:`fermisea.analysis.volumes.free_energy_of_volumes`.

    Raises:
        InputError: for an invalid range of temperatures, or as this function.
    """
    from fermisea.analysis.volumes import free_energy_of_volumes  # noqa: PLC0415  # only when needed
    from fermisea.interop.phonopy import write_free_energies  # noqa: PLC0415  # only when needed

    highest, step = temperatures
    if not 0 < step <= highest:
        raise fermisea.InputError(
            f"--phonopy-step: got {step:g} K up to {highest:g} K, expected a step above 0 and up to the highest "
            "temperature"
        )
    places = np.arange(1 + round(highest / step), dtype=np.float64) * step
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always", fermisea.DomainWarning)
        volumes, energies = free_energy_of_volumes(model, atoms, ratios, places, **options)
    for one in issued:
        warnings.warn(one.message, stacklevel=2)  # to standard error, like all others
    write_free_energies(out, places, volumes, energies)
    sentences = [str(one.message) for one in issued if issubclass(one.category, fermisea.DomainWarning)]
    return [out / "fe-v.dat", out / "e-v.dat"], list(dict.fromkeys(sentences))


def _eph_step(highest: float) -> float:
    """Returns a round step of tau_e, K, for a table of about 1000 rows."""
    return max(1.0, float(f"{highest / 1000:.1g}"))


def _write_udkm1dsim(found: Thermodynamics, out: Path) -> Path:
    """Writes the properties of a layer of udkm1Dsim and returns the file."""
    from fermisea.interop.heat_diffusion import ElectronTable, write_udkm1dsim  # noqa: PLC0415  # only when needed

    table = ElectronTable(
        found.electron_temperature,
        found.heat_capacity / found.volume,
        found.mass_density,
        None if np.isnan(found.coupling).any() else found.coupling,
        None if np.isnan(found.conductivity).any() else found.conductivity,
    )
    path = out / "electrons-udkm1dsim.json"
    write_udkm1dsim(path, table, found.limits)
    return path


def _write_page(found: Thermodynamics, out: Path) -> None:
    """Writes the report sections of the thermodynamics."""
    from fermisea.report import Section, add_sections  # noqa: PLC0415  # not needed for --help

    text = "Electrons in equilibrium at each electronic temperature; ions and volume are fixed."
    warned = tuple(f"Warning: {warning}." for warning in found.prediction.warnings)
    notes = tuple(f"{note[0].upper()}{note[1:]}." for note in notes_of(found))
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
    if not np.isnan(found.coupling).any():
        quantities["$G$ (10$^{17}$ W m$^{-3}$ K$^{-1}$)"] = 1e-17 * units.COUPLING * found.coupling
    if not np.isnan(found.pressure).any():
        quantities["$P_e$ (GPa)"] = found.pressure / units.GIGAPASCAL
    fine = np.linspace(0, temperatures[-1], 200)
    title = f"{atoms.get_chemical_formula()}, {counted(len(atoms), 'atom')}"
    fitted = None if fit is None else (fine, joule * fit.heat_capacity(fine))
    return fermisea.plots.thermodynamics_figure(temperatures, quantities, fit=fitted, title=title)
