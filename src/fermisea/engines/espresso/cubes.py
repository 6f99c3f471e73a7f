"""LDOS with the augmentation charges of ultrasoft and PAW pseudopotentials, from cube files of pp.x."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fermisea import units
from fermisea.data.cube import read_cube
from fermisea.engines.espresso.inputs import pp_input
from fermisea.engines.espresso.launch import run_program
from fermisea.engines.resampling import resample
from fermisea.errors import EngineError, FileFormatError
from fermisea.grid import EnergyGrid
from fermisea.physics.broadening import FERMI_DIRAC, FERMI_DIRAC_DEVIATION, Broadening


def cube_ldos(
    folder: Path, command: str, energies: EnergyGrid, broadening: float, shape: tuple[int, int, int]
) -> tuple[npt.NDArray[np.float32], Broadening]:
    """Returns the LDOS from pp.x, (nx, ny, nz, energies), 1/(eV Angstrom^3), and its kernel.

    The kernel is the derivative of the Fermi-Dirac function of the SCF run; degauss_ldos is chosen such that the
    standard deviation is ``broadening``. The cube files hold states of both spins per Ry and bohr^3.

    Args:
        folder: folder of the pw.x run.
        command: command that starts pp.x.
        energies: energies of the LDOS.
        broadening: standard deviation of the kernel, eV.
        shape: grid points of the LDOS, at most as many as in the run.

    Raises:
        EngineError: if pp.x fails or writes unexpected files.
    """
    width = broadening / FERMI_DIRAC_DEVIATION
    text = pp_input(first=energies.start, last=energies.stop, spacing=energies.spacing, width=width)
    (folder / "pp.in").write_text(text, encoding="utf-8")
    run_program(command, folder, "pp")
    cubes = sorted(folder.glob("ldos*.cube"))
    if len(cubes) != energies.size:
        raise EngineError(
            f"pp.x: wrote {len(cubes)} cube files in {folder}, expected {energies.size}; see pp.out in this folder"
        )
    values = np.empty((*shape, energies.size), dtype=np.float32)
    for index, path in enumerate(cubes):
        try:
            field = read_cube(path).values
        except FileFormatError as error:
            raise EngineError(f"pp.x: {error}; see pp.out there") from error
        values[..., index] = resample(torch.from_numpy(field), shape).numpy()
    values /= units.RYDBERG * units.BOHR**3
    return values, Broadening(FERMI_DIRAC, broadening)
