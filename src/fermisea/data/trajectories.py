"""Uncorrelated structures from a trajectory: its correlation time, and frames spaced by more than this time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from fermisea.data.atom_order import in_one_order
from fermisea.data.correlation import correlation_time
from fermisea.data.kinetic_temperature import check_sample, temperatures, warn_of_ion_unit
from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True)
class Thinned:
    """Frames chosen from a trajectory.

    Attributes:
        frames: the chosen frames, each with ``ion_temperature`` in its ``info``.
        indices: indices of the chosen frames in the trajectory.
        correlation_frames: correlation time of the trajectory, in frames.
        mean_temperature: mean kinetic temperature of the frames with momenta, K, without the motion of the centre of
            mass and fixed atoms; None if there are none.
        mean_square_displacement: mean square displacement from the mean positions, Angstrom^2.
    """

    frames: list[Atoms]
    indices: list[int]
    correlation_frames: float
    mean_temperature: float | None
    mean_square_displacement: float


def thin(frames: Sequence[Atoms], snapshots: int, ion_temperature: float, skip: int = 0) -> Thinned:
    """Returns evenly spaced frames of a trajectory from any code.

    The correlation time is computed from the potential energies if all frames have one, otherwise from the coordinates.
    The chosen frames keep the order of their atoms.

    Args:
        frames: frames of the same atoms, equally spaced in time; if the atoms change their order, there is a warning.
        snapshots: number of frames to choose.
        ion_temperature: tau_i of the trajectory, K.
        skip: number of initial frames to skip, for thermalisation.

    Raises:
        InputError: for too few frames, for frames closer than the correlation time, if the atoms change, or if the
            kinetic temperature of frames with momenta is far from ``ion_temperature``.
    """
    if snapshots < 1 or skip < 0 or not (math.isfinite(ion_temperature) and ion_temperature > 0):
        raise InputError(
            f"thinning: got {snapshots} snapshots, {skip} frames to skip and tau_i = {ion_temperature} K, expected at "
            "least 1 snapshot, at least 0 frames to skip and tau_i above 0 K"
        )
    warn_of_ion_unit(ion_temperature)
    rest = list(frames[skip:])
    if len(rest) < max(snapshots, 4):
        raise InputError(
            f"trajectory: {len(rest)} of {len(frames)} frames remain without the skipped frames, expected at least "
            f"{max(snapshots, 4)}; give a longer trajectory, or request fewer snapshots or fewer frames to skip"
        )
    ordered = in_one_order(rest, skip)
    kinetic = temperatures(ordered)
    if kinetic is not None:
        check_sample(
            *kinetic,
            ion_temperature,
            advice="give the temperature of the trajectory, skip the frames before equilibrium, or remove momenta that "
            "are not in the units of ASE",
        )
    positions = _unwrapped(ordered)
    memory = correlation_time(_energies(rest) if _have_energies(rest) else positions.reshape(len(rest), -1))
    spacing = len(rest) // snapshots
    if spacing < memory and snapshots > 1:
        raise InputError(
            f"trajectory: the correlation time is {memory:.1f} frames, but {snapshots} snapshots out of {len(rest)} "
            "frames "
            f"would be {spacing} frames apart; request at most {max(int(len(rest) / memory), 1)} snapshots or supply a "
            "longer trajectory"
        )
    chosen = [spacing * (number + 1) - 1 for number in range(snapshots)]
    around = positions - positions.mean(axis=0)
    return Thinned(
        frames=[labelled(rest[index], ion_temperature) for index in chosen],
        indices=[skip + index for index in chosen],
        correlation_frames=memory,
        mean_temperature=None if kinetic is None else float(kinetic[0].mean()),
        mean_square_displacement=float(np.mean(np.sum(around**2, axis=-1))),
    )


def labelled(atoms: Atoms, ion_temperature: float) -> Atoms:
    """Returns a structure with elements, positions and cell only, and the ionic temperature (K) in ``info``."""
    info = {"ion_temperature": float(ion_temperature)}
    return Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True, info=info)


def _unwrapped(frames: Sequence[Atoms]) -> FloatArray:
    """Returns unwrapped positions without jumps across the cell faces, (frames, atoms, 3), Angstrom."""
    scaled = np.stack([frame.cell.scaled_positions(frame.positions) for frame in frames])
    jumps = np.cumsum(np.round(np.diff(scaled, axis=0)), axis=0)
    scaled[1:] -= jumps
    cells = np.stack([frame.cell.array for frame in frames])
    return np.asarray(np.einsum("fai,fij->faj", scaled, cells))


def _have_energies(frames: Sequence[Atoms]) -> bool:
    return all(frame.calc is not None and "energy" in getattr(frame.calc, "results", {}) for frame in frames)


def _energies(frames: Sequence[Atoms]) -> FloatArray:
    return np.array([frame.get_potential_energy() for frame in frames])
