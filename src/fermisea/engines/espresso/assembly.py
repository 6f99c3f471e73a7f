"""Assembly of a snapshot from the output files of pw.x and pp.x."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.engines.basis import PlaneWaves
from fermisea.engines.espresso.fields import read_density, read_wavefunctions, wavefunction_file
from fermisea.engines.espresso.output import PwOutput
from fermisea.engines.espresso.potentials import Potentials
from fermisea.engines.ldos import ChosenLdosOptions, energy_grid
from fermisea.engines.ldos_memory import DEFAULT_MEMORY, LdosSize, blocks_within
from fermisea.engines.ldos_sum import KPointBands, local_density_of_states
from fermisea.engines.resampling import check_coarser, resample, transform_shape
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.physics.broadening import GAUSSIAN, Broadening
from fermisea.physics.fields import FourierGrid
from fermisea.physics.ions import core_density
from fermisea.physics.window import REACH
from fermisea.physics.xc import functional, xc_energy_and_potential
from fermisea.utilities.threads import Workers

_FAR = 7.0
"""Distance of a band above the last energy at which its Gaussian is negligible, in standard deviations."""


def window(options: ChosenLdosOptions, output: PwOutput) -> EnergyGrid:
    """Returns the energies of the LDOS of a run."""
    return energy_grid(options, float(output.eigenvalues.min()), output.reference.fermi_level)


def missing_top(options: ChosenLdosOptions, energies: EnergyGrid, output: PwOutput) -> float:
    """Returns the missing range of bands, eV, below the energy that fills the window at every k-point; 0 if none."""
    needed = energies.stop + REACH * options.broadening
    return max(0.0, needed - float(output.eigenvalues[:, -1].min()))


def wavefunction_ldos(
    bands: PwOutput,
    folder: Path,
    options: ChosenLdosOptions,
    energies: EnergyGrid,
    threads: int | None = None,
    memory: float = DEFAULT_MEMORY,
) -> tuple[npt.NDArray[np.float32], Broadening]:
    """Returns the LDOS of wavefunctions, (nx, ny, nz, energies), 1/(eV Angstrom^3), and its kernel.

    Args:
        bands: run with bands that fill the window.
        folder: folder of the wavefunctions.
        options: broadening and grid of the LDOS.
        energies: energies of the LDOS.
        threads: number of blocks of bands summed at once; None for the number of threads of torch. The memory may allow
            fewer.
        memory: memory for the LDOS and the bands that are read for it, bytes.

    Raises:
        InputError: if the memory is too small, or the grid of the LDOS is finer than the grid of the run.
        FileFormatError: for a damaged file or a file of another run.
    """
    highest = energies.stop + _FAR * options.broadening
    grid, shape = RealSpaceGrid(bands.atoms.cell.array, bands.shape), options.grid or bands.shape
    check_coarser(shape, bands.shape)
    kpoints = []
    for index, weight in enumerate(bands.weights):
        values = bands.eigenvalues[index]
        values = values[: np.searchsorted(values, highest, side="right")]
        kpoints.append(KPointBands(float(weight), values, partial(_read, folder, bands, index)))
    waves, _ = _read(folder, bands, 0, 0, 0)
    wider = tuple(width + 1 for width in waves.box)  # the spheres of other k-points may have one more index
    x, y, z = transform_shape((wider[0], wider[1], wider[2]), shape, bands.shape)
    size = LdosSize(math.prod(shape), energies.size, x * y * z, math.ceil(1.05 * len(waves)))
    blocks = blocks_within(memory, size, [point.eigenvalues for point in kpoints], energies, options.broadening)
    with Workers(blocks.threads(threads or torch.get_num_threads())) as pool:
        ldos = local_density_of_states(kpoints, grid, energies, options.broadening, shape, pool, blocks)
    return ldos, Broadening(GAUSSIAN, options.broadening)


def assemble(
    scf: PwOutput,
    density: Path,
    ldos: tuple[npt.NDArray[np.float32], Broadening],
    *,
    energies: EnergyGrid,
    potentials: Potentials,
    electron_temperature: float,
    ion_temperature: float | None,
    provenance: Mapping[str, Any],
    reference: Reference | None = None,
    obstacle: str | None = None,
) -> Snapshot:
    """Returns the snapshot of a run.

    Args:
        scf: output of the run: structure, grid, energies, forces.
        density: file of the self-consistent density.
        ldos: values, (nx, ny, nz, energies), and kernel.
        energies: energies of the LDOS.
        potentials: pseudopotentials of the elements.
        electron_temperature: tau_e, K.
        ion_temperature: tau_i, K, if known.
        provenance: provenance of the snapshot.
        reference: energies and forces, if ``scf`` does not have them.
        obstacle: reason, beyond the pseudopotentials, why the LDOS gives no total free energy.

    Raises:
        FileFormatError: for a damaged file.
    """
    values, broadening = ldos
    valence = read_density(density, scf.shape)
    result = reference or scf.reference
    if not potentials.obstacle:
        result = replace(result, mean_potential=_mean_potential(scf, valence, potentials))
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return Snapshot(
        atoms=scf.atoms,
        grid=RealSpaceGrid(scf.atoms.cell.array, shape),
        energy_grid=energies,
        ldos=values,
        density=resample(valence, shape).numpy(),
        electron_temperature=electron_temperature,
        ion_temperature=ion_temperature,
        broadening=broadening,
        reference=result,
        ions=potentials.ions,
        functional=potentials.functional,
        provenance=provenance,
        total_energy_obstacle=potentials.obstacle or obstacle,
    )


def _mean_potential(scf: PwOutput, valence: Tensor, potentials: Potentials) -> float:
    """Returns the average of the local pseudopotential and of v_xc over the cell, eV."""
    grid = FourierGrid(torch.from_numpy(scf.atoms.cell.array), scf.shape)
    symbols = list(scf.atoms.symbols)
    core = core_density(potentials.ions, symbols, torch.from_numpy(scf.atoms.positions), grid)
    _, v_xc = xc_energy_and_potential(valence + core, grid, functional(potentials.functional))
    return float(v_xc.mean()) + sum(potentials.local_integrals[symbol] for symbol in symbols) / float(grid.volume)


def _read(folder: Path, output: PwOutput, index: int, first: int, stop: int) -> tuple[PlaneWaves, Tensor]:
    """Returns the plane waves of a k-point and the coefficients of the bands ``first`` to ``stop``."""
    path = wavefunction_file(folder, index)
    if path is None:
        raise InputError(f"{folder}: no wavefunctions of k-point {index + 1}; run pw.x with disk_io = 'low'")
    number = output.eigenvalues.shape[1]
    miller, coefficients, bands = read_wavefunctions(path, stop - first, first)
    if bands != number or (2 * np.abs(miller).max(axis=0) >= np.array(output.shape)).any():
        raise FileFormatError(
            f"{path}: its {bands} bands and plane waves do not match data-file-schema.xml, which has "
            f"{number} bands on the grid {output.shape}; run pw.x again or copy the files of one run"
        )
    return PlaneWaves.of(output.fractions[index], miller, output.shape, torch.device("cpu")), coefficients
