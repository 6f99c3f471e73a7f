"""A snapshot from the files that pw.x left in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fermisea.broadening import Broadening
from fermisea.energies import Ion
from fermisea.engines.basis import PlaneWaves
from fermisea.engines.espresso.fields import read_density, read_wavefunctions, wavefunction_file
from fermisea.engines.espresso.output import PwOutput
from fermisea.engines.ldos import REACH, KPointBands, LdosOptions, energy_grid, local_density_of_states, resample
from fermisea.engines.workers import Workers
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.snapshot import Snapshot


def window(options: LdosOptions, output: PwOutput) -> EnergyGrid:
    """Returns the energies of the LDOS of a run."""
    return energy_grid(options, float(output.eigenvalues.min()), output.reference.fermi_level)


def missing_top(options: LdosOptions, energies: EnergyGrid, output: PwOutput) -> float:
    """Returns how far, eV, the highest band stays below what fills the window at every k-point; 0 if it does not."""
    needed = energies.stop + REACH * options.broadening
    return max(0.0, needed - float(output.eigenvalues[:, -1].min()))


def assemble(
    scf: PwOutput,
    bands: PwOutput,
    density: Path,
    wavefunctions: Path,
    *,
    options: LdosOptions,
    energies: EnergyGrid,
    ions: Mapping[str, Ion],
    functional: str,
    electron_temperature: float,
    ion_temperature: float | None,
    provenance: Mapping[str, Any],
    threads: int | None = None,
) -> Snapshot:
    """Returns the snapshot of a run.

    Args:
        scf: the self-consistent run: energies, forces.
        bands: the run whose wavefunctions fill the window; may be the same.
        density: file of the self-consistent density.
        wavefunctions: folder of the wavefunctions of ``bands``.
        options: broadening and points of the LDOS.
        energies: of the LDOS.
        ions: of each element.
        functional: exchange and correlation.
        electron_temperature: tau_e, K.
        ion_temperature: tau_i, K, if known.
        provenance: of the snapshot.
        threads: for the LDOS.

    Raises:
        FileFormatError: for a file that is damaged.
    """
    grid = RealSpaceGrid(scf.atoms.cell.array, scf.shape)
    kpoints = [partial(_bands, wavefunctions, bands, index) for index in range(len(bands.weights))]
    shape = options.grid or scf.shape
    with Workers(threads) as pool:
        ldos = local_density_of_states(kpoints, grid, energies, options.broadening, shape, pool)
    return Snapshot(
        atoms=scf.atoms,
        grid=RealSpaceGrid(grid.cell, shape),
        energy_grid=energies,
        ldos=ldos,
        density=resample(read_density(density, scf.shape), shape).numpy(),
        electron_temperature=electron_temperature,
        ion_temperature=ion_temperature,
        broadening=Broadening("gaussian", options.broadening),
        reference=replace(scf.reference),
        ions=ions,
        functional=functional,
        provenance=provenance,
    )


def _bands(folder: Path, output: PwOutput, index: int) -> KPointBands:
    path = wavefunction_file(folder, index)
    if path is None:
        raise InputError(f"{folder}: no wavefunctions of k-point {index + 1}; run pw.x with disk_io = 'low'")
    miller, coefficients = read_wavefunctions(path)
    waves = PlaneWaves.of(output.fractions[index], miller, output.shape, torch.device("cpu"))
    eigenvalues = torch.from_numpy(np.ascontiguousarray(output.eigenvalues[index]))
    return KPointBands(waves, float(output.weights[index]), eigenvalues, coefficients)
