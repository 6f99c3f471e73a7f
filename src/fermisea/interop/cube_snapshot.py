"""A snapshot from cube files of an LDOS and, optionally, a density."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from fermisea.data.closure import check_closure
from fermisea.data.cube import read_cube
from fermisea.data.density import check_density
from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.interop.ldos_cubes import UNIT, check_same, cube_files, read_series, same_structure
from fermisea.interop.ldos_unit import check_unit, density_below
from fermisea.physics.broadening import Broadening, pp_broadening
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.ions import Ion, electrons

PathLike = str | os.PathLike[str]


def snapshot_from_cubes(
    files: PathLike | Sequence[PathLike],
    *,
    electron_temperature: float,
    ions: Mapping[str, Ion],
    functional: str = "pbe",
    energy_grid: EnergyGrid | None = None,
    smearing: str = "fermi-dirac",
    broadening: Broadening | None = None,
    density: PathLike | None = None,
    atoms: Atoms | None = None,
    reference: Reference | None = None,
    ion_temperature: float | None = None,
    total_energy_obstacle: str | None = None,
    unit: str = UNIT,
    constants: str = "codata2018",
    allow_closure_error: bool = False,
) -> Snapshot:
    """Returns a snapshot from an LDOS in cube files.

    Args:
        files: see ``cube_files``.
        electron_temperature: tau_e of the DFT run, K.
        ions: valence and core charge of each element; see ``pseudopotentials.load``.
        functional: exchange-correlation functional of the DFT run.
        energy_grid: see ``ldos_from_cubes``.
        smearing: smearing of the SCF run, "fermi-dirac", "gaussian" or "methfessel-paxton", which defines the kernel of
            ``pp.x``.
        broadening: broadening of the LDOS; by default the kernel of ``smearing`` with the width stated in the files.
        density: cube file of the valence density, 1/bohr^3 (``plot_num=0``); by default the density of the LDOS.
        atoms: the structure, if it is known to more than the six digits of a cube file.
        reference: results reported by the DFT code; by default the energy is unknown (NaN), and Fermi level and entropy
            come from the LDOS.
        ion_temperature: tau_i, K.
        total_energy_obstacle: reason why the LDOS gives no total free energy, such as an ultrasoft pseudopotential.
        unit: see ``ldos_from_cubes``.
        constants: see ``ldos_from_cubes``.
        allow_closure_error: whether an LDOS whose F differs from F of ``reference`` by more than 5 meV/atom gives a
            warning instead of an error.

    Raises:
        InputError: for inconsistent files, an unknown broadening, a density with another number of electrons, or an
            LDOS that does not give F of the DFT code.
        FileFormatError: for a file that cannot be read.
    """
    ldos, first, energy_grid, width = read_series(files, energy_grid, unit, constants, np.float32)
    if broadening is None:
        if width is None:
            raise InputError(
                "broadening: the cube files do not state the width of their kernel; give its standard deviation in eV"
            )
        broadening = pp_broadening(smearing, width)
    if atoms is None:
        atoms = first.atoms
    elif not same_structure(first.atoms, atoms):
        raise InputError(
            "atoms: got a structure that differs from the cube files; give the structure of the same DFT run"
        )
    grid = RealSpaceGrid(tuple(map(tuple, atoms.cell.array)), first.grid.shape)
    dos = DensityOfStates(
        energy_grid.energies,
        grid.voxel * ldos.reshape(grid.size, -1).sum(axis=0, dtype=np.float64),
        broadening.standard_deviation,
    )
    number = electrons(ions, list(atoms.symbols))
    level = dos.fermi_level(number, electron_temperature)
    if density is None:
        field = density_below(ldos, dos, number, electron_temperature)
    else:
        cube = read_cube(density)
        check_same(Path(density), cube, first)
        field = cube.field("1/bohr^3", constants)
        check_density(field, grid, number, str(density), "1/bohr^3")
        check_unit(ldos, dos, number, electron_temperature, field, unit)
    if reference is None:
        entropy_term = -electron_temperature * dos.entropy(level, electron_temperature)
        reference = Reference(math.nan, {}, level, number, entropy_term)
    snapshot = Snapshot(
        atoms=atoms,
        grid=grid,
        energy_grid=energy_grid,
        ldos=np.asarray(ldos, dtype=np.float32),
        density=field,
        electron_temperature=electron_temperature,
        ion_temperature=ion_temperature,
        broadening=broadening,
        reference=reference,
        ions={symbol: ions[symbol] for symbol in sorted(set(atoms.symbols))},
        functional=functional,
        provenance={"engine": "cube files", "comment": " ".join(first.comment)},
        total_energy_obstacle=total_energy_obstacle,
    )
    check_closure([snapshot], [str(cube_files(files)[0])], allow=allow_closure_error)
    return snapshot
