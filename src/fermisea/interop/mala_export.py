"""Export of snapshots as data sets for training with MALA (materials-learning-algorithms, 1.4).

For each snapshot NAME there are three files. ``NAME.in.npy`` holds descriptors (nx, ny, nz, features), optionally with
the Cartesian position (Angstrom) of the point in the first three columns, and ``NAME.out.npy`` the LDOS (nx, ny, nz,
energies), 1/(eV Angstrom^3); both are float32. ``NAME.info.json`` holds MALA's additional calculation data: structure,
electrons and results of the DFT code, in eV, K, Angstrom and, for cutoffs and smearing, Ry. One file
``mala_settings.json`` holds the corresponding MALA parameters by group.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import Bispectrum, Descriptor
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.units import RYDBERG, thermal_energy
from fermisea.utilities.files import atomic_path, check_writable_folder, write_text

SETTINGS = "mala_settings.json"
"""Name of the file with the MALA parameters."""

DESCRIPTOR = Bispectrum(twojmax=10, cutoff=4.67637)
"""Default descriptor of MALA."""

_ONE_ELECTRON = ("kinetic", "local", "nonlocal")


def write_mala(
    snapshots: Mapping[str, Snapshot] | Iterable[Snapshot],
    folder: str | os.PathLike[str],
    descriptor: Descriptor = DESCRIPTOR,
    *,
    contain_xyz: bool = True,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Writes snapshots as a data set for MALA and returns their names; each file is written atomically.

    Args:
        snapshots: snapshots by name; or a data set or list, in which the names are ``Al4_snapshot0`` and so on.
        folder: folder of the files, created if necessary.
        descriptor: descriptor of the surroundings; for a bispectrum with rfac0 0.99363, rmin0 0 and no weights, MALA
            computes the same one for a prediction, except at grid points exactly on an atom.
        contain_xyz: whether positions precede the descriptors, the default of MALA.
        overwrite: whether files of earlier exports are replaced.
        progress: callback with the number of finished snapshots and the total number.

    Raises:
        InputError: for snapshots with different energies, existing files, or a folder that cannot be written to.
    """
    named = _named(snapshots)
    grid = _common_energies(named)
    folder = Path(folder)
    files = [folder / f"{name}{ending}" for name in named for ending in (".in.npy", ".out.npy", ".info.json")]
    there = [file for file in (*files, folder / SETTINGS) if file.exists()]
    if there and not overwrite:
        raise InputError(
            f"{there[0]}: the file exists already; choose another folder, or overwrite it (overwrite=True, --overwrite)"
        )
    check_writable_folder(folder)
    for done, (name, snapshot) in enumerate(named.items()):
        if progress is not None:
            progress(done, len(named))
        _save(folder / f"{name}.in.npy", descriptors(snapshot, descriptor, contain_xyz=contain_xyz))
        _save(folder / f"{name}.out.npy", snapshot.ldos)
        write_text(folder / f"{name}.info.json", json.dumps(info(snapshot), indent=4, allow_nan=False))
    write_text(folder / SETTINGS, json.dumps(settings(grid, descriptor, contain_xyz=contain_xyz), indent=4))
    if progress is not None:
        progress(len(named), len(named))
    return list(named)


def descriptors(snapshot: Snapshot, descriptor: Descriptor, *, contain_xyz: bool = True) -> npt.NDArray[np.float32]:
    """Returns the content of ``NAME.in.npy``, (nx, ny, nz, features or 3 + features)."""
    values = descriptor.compute(snapshot.atoms, snapshot.grid, dtype="float32")
    parts = [snapshot.grid.points(), values] if contain_xyz else [values]
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def info(snapshot: Snapshot) -> dict[str, Any]:
    """Returns the content of ``NAME.info.json``; unknown entries are None.

    The band energy comes from the LDOS, with the effect of the broadening removed.
    """
    reference, atoms, provenance = snapshot.reference, snapshot.atoms, snapshot.provenance
    parts = reference.parts
    dos = snapshot.density_of_states
    temperature, electrons = snapshot.electron_temperature, snapshot.electrons
    cutoff = provenance.get("cutoff_eV")
    cutoff = None if cutoff is None else cutoff / RYDBERG
    pseudopotentials = provenance.get("pseudopotentials", {})
    one_electron = None
    if all(name in parts for name in _ONE_ELECTRON):
        one_electron = math.fsum(parts[name] for name in _ONE_ELECTRON)
    values: dict[str, Any] = {
        "fermi_energy_dft": reference.fermi_level,
        "temperature": temperature,
        "number_of_electrons_exact": electrons,
        "band_energy_dft_calculation": dos.band_energy(dos.fermi_level(electrons, temperature), temperature),
        "total_energy_dft_calculation": reference.free_energy,
        "grid_dimensions": list(snapshot.grid.shape),
        "electrons_per_atom": electrons / len(atoms),
        "number_of_electrons_from_eigenvals": reference.electrons,
        "ibrav": 0,
        "ecutwfc": cutoff,
        "ecutrho": None if cutoff is None else 4 * cutoff,
        "degauss": thermal_energy(temperature) / RYDBERG,
        "pseudopotentials": {
            symbol: pseudopotentials.get(symbol, {}).get("name", symbol) for symbol in sorted(set(atoms.symbols))
        },
        "entropy_contribution_dft_calculation": reference.entropy_term,
        "one_electron_contribution": one_electron,
        "hartree_contribution": parts.get("hartree"),
        "xc_contribution": parts.get("xc"),
        "ewald_contribution": parts.get("ewald"),
        "voxel": {"array": (snapshot.grid.lattice / np.array(snapshot.grid.shape)[:, None]).tolist()},
        "atoms": {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": snapshot.grid.lattice.tolist(),
            "pbc": [True, True, True],
        },
    }
    if reference.forces is not None:
        values["atomic_forces_dft"] = np.asarray(reference.forces).tolist()
    unknown = (name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value))
    return values | dict.fromkeys(unknown)


def settings(energy_grid: EnergyGrid, descriptor: Descriptor, *, contain_xyz: bool = True) -> dict[str, dict[str, Any]]:
    """Returns MALA parameters by group, for ``setattr(getattr(parameters, group), name, value)``.

    For a descriptor that MALA cannot compute, the only parameter is whether positions precede it.
    """
    values: dict[str, dict[str, Any]] = {
        "targets": {
            "target_type": "LDOS",
            "ldos_gridsize": energy_grid.size,
            "ldos_gridoffset_ev": energy_grid.start,
            "ldos_gridspacing_ev": energy_grid.spacing,
        },
        "descriptors": {"descriptors_contain_xyz": contain_xyz},
    }
    if isinstance(descriptor, Bispectrum) and _is_malas(descriptor):
        values["descriptors"] |= {
            "descriptor_type": "Bispectrum",
            "bispectrum_twojmax": descriptor.twojmax,
            "bispectrum_cutoff": descriptor.cutoff,
        }
    return values


def _is_malas(descriptor: Bispectrum) -> bool:
    weights = set((descriptor.weights or {}).values())
    return weights <= {1.0} and (descriptor.rfac0, descriptor.rmin0) == (DESCRIPTOR.rfac0, DESCRIPTOR.rmin0)


def _named(snapshots: Mapping[str, Snapshot] | Iterable[Snapshot]) -> dict[str, Snapshot]:
    if isinstance(snapshots, Mapping):
        named = dict(snapshots)
    else:
        named = {f"{s.atoms.get_chemical_formula()}_snapshot{k}": s for k, s in enumerate(snapshots)}
    if not named:
        raise InputError("MALA data: got no snapshots, expected at least one")
    odd: Sequence[str] = [name for name in named if Path(name).name != name or name in ("", ".", "..")]
    if odd:
        raise InputError(f"MALA data: got the name {odd[0]!r}, expected a name without folders")
    return named


def _common_energies(named: Mapping[str, Snapshot]) -> EnergyGrid:
    first = next(iter(named))
    grid = named[first].energy_grid
    for name, snapshot in named.items():
        if snapshot.energy_grid != grid:
            raise InputError(
                f"{name}: got {snapshot.energy_grid}, expected {grid} as in {first}; export them separately"
            )
    return grid


def _save(path: Path, array: npt.NDArray[np.float32]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
