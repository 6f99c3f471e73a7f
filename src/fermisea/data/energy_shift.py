"""Snapshots with energies measured from another zero, interpolated by cubic splines while they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import LdosSource, Snapshot
from fermisea.grid import EnergyGrid
from fermisea.physics.energy_axis import EnergyAxis
from fermisea.utilities.arrays import FloatArray

_RESOLVED = 0.8
"""Smallest broadening, relative to the spacing of the energies, of an LDOS that splines interpolate well."""


@dataclass(frozen=True, eq=False)
class ShiftedLdos:
    """An LDOS on other energies, a linear function of the LDOS of a snapshot.

    Attributes:
        snapshot: snapshot with the original LDOS.
        matrix: interpolation in the energy, (old energies, new energies).
    """

    snapshot: Snapshot
    matrix: npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(nx, ny, nz, energies)."""
        nx, ny, nz = self.snapshot.grid.shape
        return nx, ny, nz, self.matrix.shape[1]

    def read(self) -> npt.NDArray[np.float32]:
        """Returns the whole LDOS, (nx, ny, nz, energies), 1/(eV Angstrom^3)."""
        return self.snapshot.ldos @ self.matrix

    def read_points(self, points: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Returns the LDOS of points of the flattened grid, (points, energies), 1/(eV Angstrom^3)."""
        return self.snapshot.read_ldos(points) @ self.matrix


def shifted(snapshot: Snapshot, zero: float, grid: EnergyGrid) -> Snapshot:
    """Returns a snapshot whose energies are measured from another zero.

    Its LDOS is 0 below the energies of the original one, where the LDOS of a valence band is 0.

    Args:
        snapshot: snapshot with absolute energies.
        zero: new zero, eV.
        grid: new energies, relative to ``zero``; the last may not be above the last energy of the snapshot.
    """
    matrix = _interpolation(snapshot.energies, grid.energies + zero)
    source: LdosSource = ShiftedLdos(snapshot, matrix.astype(np.float32))
    return Snapshot(
        atoms=snapshot.atoms,
        grid=snapshot.grid,
        energy_grid=grid,
        ldos=source,
        density=snapshot.density,
        electron_temperature=snapshot.electron_temperature,
        ion_temperature=snapshot.ion_temperature,
        broadening=snapshot.broadening,
        reference=replace(snapshot.reference, fermi_level=snapshot.reference.fermi_level - zero),
        ions=snapshot.ions,
        functional=snapshot.functional,
        provenance=snapshot.provenance,
        dos=snapshot.dos @ matrix,
        total_energy_obstacle=snapshot.total_energy_obstacle,
    )


def axis_of(dataset: Dataset) -> EnergyAxis | None:
    """Returns the energy axis that follows the Fermi levels of snapshots at tau_ref.

    There is none if the volumes hardly differ, or if the energies are too far apart for the broadening, so that splines
    between them would overshoot.

    Raises:
        CapacityError: for an LDOS that does not hold all electrons.
    """
    if dataset.broadening.standard_deviation < _RESOLVED * dataset.energy_grid.spacing:
        return None
    return EnergyAxis.of(
        [s.density_of_states.fermi_level(s.electrons, s.electron_temperature) for s in dataset],
        [s.electrons for s in dataset],
        [s.grid.volume for s in dataset],
    )


def on_axis(dataset: Dataset, axis: EnergyAxis) -> Dataset:
    """Returns the snapshots with energies relative to an axis, on the largest grid that all of them cover."""
    zeros = [axis.reference(snapshot.electrons, snapshot.grid.volume) for snapshot in dataset]
    grid = common_grid(dataset.energy_grid, zeros)
    return Dataset(tuple(shifted(s, zero, grid) for s, zero in zip(dataset, zeros, strict=True)), dataset.names)


def common_grid(grid: EnergyGrid, zeros: Sequence[float]) -> EnergyGrid:
    """Returns energies relative to each of several zeros, eV, whose last is within ``grid`` for every zero."""
    return replace(grid, start=grid.start - max(zeros))


def _interpolation(old: FloatArray, new: FloatArray) -> FloatArray:
    """Returns the matrix from values at old energies to values at new ones, (old, new); zero below the old ones."""
    matrix = CubicSpline(old, np.eye(len(old)))(np.clip(new, old[0], old[-1])).T
    matrix[:, new < old[0]] = 0.0
    return np.asarray(matrix)
