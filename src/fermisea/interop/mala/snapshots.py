"""Snapshots from MALA's files: the LDOS on a grid and the ``.info.json`` of the DFT run."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fermisea.data.closure import check_closure
from fermisea.data.density import check_density
from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.interop.mala.calculation import Calculation, parse_calculation
from fermisea.interop.mala.fields import HDF5_SUFFIXES, LDOS_UNITS, read_field
from fermisea.interop.mala.ions import PseudopotentialFiles, assumed_broadening, ion_data
from fermisea.interop.mala.split import JoinedGrid, join
from fermisea.physics.broadening import Broadening
from fermisea.physics.density_of_states import DensityOfStates

PathLike = str | os.PathLike[str]
Field = npt.NDArray[np.floating]

_UNIT = "1/(eV*A^3)"
_PLAUSIBLE = (0.7, 1.4)
"""Allowed ratio of electrons below mu to the expected number; coarse grids give 0.85, wrong units 0.5 or 2."""


def load_snapshot(
    ldos: PathLike | Sequence[PathLike],
    info: PathLike,
    energy_grid: EnergyGrid | Sequence[EnergyGrid],
    *,
    broadening: Broadening | None = None,
    density: PathLike | None = None,
    pseudopotentials: PseudopotentialFiles | None = None,
    functional: str | None = None,
    ion_temperature: float | None = None,
    units: str | None = None,
    allow_closure_error: bool = False,
) -> Snapshot:
    """Returns the snapshot from MALA's files, which are opened read-only.

    Args:
        ldos: ``.npy`` (nx, ny, nz, energies) or openPMD ``.h5``; or several files for the parts of a split energy grid.
        info: ``.info.json`` of the DFT run.
        energy_grid: energies of the LDOS; a list if MALA's grid is split, where each part ends at the first energy of
            the next one. Parts with a larger spacing are interpolated linearly to the smallest spacing.
        broadening: kernel of the LDOS; by default one is assumed, with a warning.
        density: ``.npy`` (nx, ny, nz) or (nx, ny, nz, 1), or openPMD, 1/Angstrom^3; by default the density of the LDOS
            at the temperature of the run.
        pseudopotentials: UPF file of each element; needed for total free energies, and for the valences in compounds.
        functional: exchange-correlation functional of the run; by default the functional of the pseudopotentials.
        ion_temperature: tau_i, K.
        units: unit of a ``.npy`` LDOS, one of MALA's names: "1/(eV*A^3)" (default), "1/(eV*Bohr^3)", "1/(Ry*Bohr^3)".
        allow_closure_error: whether an LDOS whose F differs from F of the run by more than 5 meV/atom gives a warning
            instead of an error.

    Raises:
        InputError: for inconsistent files, or an electron number or free energy that indicates wrong units or energies.
        FileFormatError: for a file that is truncated or of another kind.
    """
    files = [Path(ldos)] if isinstance(ldos, str | os.PathLike) else [Path(path) for path in ldos]
    info = Path(info)
    try:
        calculation = parse_calculation(info.read_bytes(), str(info))
    except OSError as error:
        raise InputError(f"{info}: cannot be read ({error.strerror}); give the .info.json of the DFT run") from error
    joined = join(energy_grid)
    broadening = assumed_broadening(joined.grid.spacing, broadening, str(files[0]), stacklevel=3)
    ions = ion_data(calculation, pseudopotentials, functional, str(info))
    values = _values(files, calculation, joined, units)
    grid = calculation.grid
    dos = grid.voxel * values.reshape(-1, joined.grid.size).sum(axis=0, dtype=np.float64)
    _check_electrons(DensityOfStates(joined.grid.energies, dos, integration="mala"), calculation, files[0], units)
    states = DensityOfStates(joined.grid.energies, dos, broadening.standard_deviation)
    temperature = calculation.electron_temperature
    level = states.fermi_level(calculation.electrons, temperature)
    if density is None:
        field = values @ states.weights(level, temperature).electrons.weights
    else:
        field = _density(Path(density), calculation)
    snapshot = Snapshot(
        atoms=calculation.atoms,
        grid=grid,
        energy_grid=joined.grid,
        ldos=values,
        density=field,
        dos=dos,
        electron_temperature=temperature,
        ion_temperature=ion_temperature,
        broadening=broadening,
        reference=Reference(
            free_energy=calculation.free_energy,
            parts=calculation.parts,
            fermi_level=calculation.fermi_level,
            electrons=calculation.electrons,
            entropy_term=calculation.entropy_term,
            forces=calculation.forces,
        ),
        ions=ions.ions,
        functional=ions.functional,
        provenance={
            "engine": "MALA files",
            "ldos": [path.name for path in files],
            "density": "LDOS" if density is None else Path(density).name,
            "settings": dict(calculation.settings),
            "pseudopotentials": ions.provenance,
        },
        total_energy_obstacle=ions.obstacle,
    )
    check_closure([snapshot], [str(files[0])], allow=allow_closure_error)
    return snapshot


def _values(
    files: Sequence[Path], calculation: Calculation, joined: JoinedGrid, units: str | None
) -> npt.NDArray[np.float32]:
    """Returns the LDOS on the combined grid, 1/(eV Angstrom^3); memory-mapped if no conversion is needed."""
    fields = [_converted(path, units) for path in files]
    shape = calculation.grid.shape
    for path, field in zip(files, fields, strict=True):
        if field.shape[:3] != shape:
            raise InputError(
                f"{path}: got the grid {field.shape[:3]}, but the DFT run has {shape}; give the LDOS of this run"
            )
    sizes = [part.size for part in joined.parts]
    if len(fields) == 1:
        got, expected = [fields[0].shape[3]], [joined.stored]
    else:
        got, expected = [field.shape[3] for field in fields], sizes
        fields = [field[..., :-1] for field in fields[:-1]] + fields[-1:]
    if got != expected:
        raise InputError(f"{files[0]}: got {got} energies, expected {expected} of the energy grid; check the grid")
    stored = fields[0] if len(fields) == 1 else np.concatenate(fields, axis=3)
    if joined.interpolation is not None:
        stored = stored @ joined.interpolation.T.astype(np.float32)
    return np.asarray(stored, dtype=np.float32)


def _converted(path: Path, units: str | None) -> Field:
    if path.suffix in HDF5_SUFFIXES and units is not None:
        raise InputError(f"units: got {units!r} for {path}, but an openPMD file states its own unit; omit units")
    factor = LDOS_UNITS.get(units or _UNIT)
    if factor is None:
        raise InputError(f"units: got {units!r}, expected one of {', '.join(LDOS_UNITS)}")
    field = read_field(path, "LDOS")
    return field if factor == 1 else field * np.float32(factor)


def _density(path: Path, calculation: Calculation) -> npt.NDArray[np.float64]:
    field, grid = read_field(path, "Density"), calculation.grid
    if field.shape != (*grid.shape, 1):
        raise InputError(f"{path}: got shape {field.shape}, expected a density on the grid {grid.shape}")
    density = np.array(field[..., 0], dtype=np.float64)
    check_density(density, grid, calculation.electrons, str(path))
    return density


def _check_electrons(dos: DensityOfStates, calculation: Calculation, path: Path, units: str | None) -> None:
    """Refuses an LDOS with a wrong number of electrons; the error names the unit that would fit."""
    level, temperature = calculation.fermi_level, calculation.electron_temperature
    where = f"below the Fermi level of the DFT run, {level:g} eV"
    lowest, highest = _PLAUSIBLE
    if math.isnan(level):  # the window must at least hold the electrons
        level, where, highest = dos.energy_grid.stop + dos.energy_grid.spacing, "in total", math.inf
        lowest = 1.0
    share = dos.electrons(level, temperature) / calculation.electrons
    if lowest <= share <= highest:
        return
    used = LDOS_UNITS[units or _UNIT]
    fitting = [name for name, factor in LDOS_UNITS.items() if lowest <= share * factor / used <= highest]
    advice = "check units and energy grid" + (f"; units={fitting[0]!r} would fit" if fitting else "")
    raise InputError(
        f"{path}: the LDOS holds {share * calculation.electrons:.4g} electrons {where}, expected "
        f"{calculation.electrons:g}; {advice}"
    )
