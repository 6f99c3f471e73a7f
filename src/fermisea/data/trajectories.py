"""Uncorrelated structures from a trajectory: its correlation time, and frames spaced by more than this time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import ase.units
import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray

_WINDOW = 5.0
"""Upper limit of the sum of correlations, in correlation times."""


@dataclass(frozen=True)
class Thinned:
    """Frames chosen from a trajectory.

    Attributes:
        frames: the chosen frames, each with ``ion_temperature`` in its ``info``.
        indices: indices of the chosen frames in the trajectory.
        correlation_frames: correlation time of the trajectory, in frames.
        mean_temperature: mean kinetic temperature of the frames with momenta, K; None if there are none.
        mean_square_displacement: mean square displacement from the mean positions, Angstrom^2.
    """

    frames: list[Atoms]
    indices: list[int]
    correlation_frames: float
    mean_temperature: float | None
    mean_square_displacement: float


def correlation_time(values: npt.ArrayLike) -> float:
    """Returns the integrated autocorrelation time of a series, in steps; 1 for uncorrelated values.

    The time is 1 + 2 times the sum of the normalised autocorrelation up to the first lag of ``_WINDOW`` times the
    result (A. Sokal, Functional Integration, NATO ASI B 361, 131 (1997)): the number of steps for one independent
    value.

    Args:
        values: (steps,) or (steps, series); for several series the correlations are averaged, weighted by variance.

    Raises:
        InputError: for fewer than 4 steps.
    """
    series = np.atleast_2d(np.asarray(values, dtype=float).T).T
    steps = len(series)
    if steps < 4:
        raise InputError(f"correlation time: got {steps} values, expected at least 4")
    fluctuation = series - series.mean(axis=0)
    spectrum = np.fft.rfft(fluctuation, n=2 * steps, axis=0)
    covariance = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1))[:steps] / np.arange(steps, 0, -1)
    if covariance[0] <= 0:
        return float(steps)  # a constant series
    times = 2 * np.cumsum(covariance / covariance[0]) - 1
    far_enough = np.arange(steps) >= _WINDOW * times
    return float(max(times[np.argmax(far_enough)] if far_enough.any() else times[-1], 1.0))


def thin(frames: Sequence[Atoms], snapshots: int, ion_temperature: float, skip: int = 0) -> Thinned:
    """Returns evenly spaced frames of a trajectory from any code.

    The correlation time is computed from the potential energies if all frames have one, otherwise from the coordinates.

    Args:
        frames: frames of the same atoms, equally spaced in time and in order.
        snapshots: number of frames to choose.
        ion_temperature: tau_i of the trajectory, K.
        skip: number of initial frames to skip, for thermalisation.

    Raises:
        InputError: for too few frames, for frames closer than the correlation time, or if the atoms change.
    """
    if snapshots < 1 or skip < 0 or not (math.isfinite(ion_temperature) and ion_temperature > 0):
        raise InputError(
            f"thinning: got {snapshots} snapshots, {skip} frames to skip and tau_i = {ion_temperature} K, expected at "
            "least 1 snapshot, at least 0 frames to skip and tau_i above 0 K"
        )
    rest = list(frames[skip:])
    if len(rest) < max(snapshots, 4):
        raise InputError(
            f"trajectory: {len(rest)} of {len(frames)} frames remain without the skipped frames, expected at least "
            f"{max(snapshots, 4)}; give a longer trajectory, or request fewer snapshots or fewer frames to skip"
        )
    for index, frame in enumerate(rest):
        if len(frame) != len(rest[0]) or (frame.numbers != rest[0].numbers).any():
            raise InputError(f"trajectory: frame {skip + index} has other atoms than frame {skip}; cut the file there")
    positions = _unwrapped(rest)
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
        mean_temperature=_temperature(rest),
        mean_square_displacement=float(np.mean(np.sum(around**2, axis=-1))),
    )


def labelled(atoms: Atoms, ion_temperature: float) -> Atoms:
    """Returns a structure with elements, positions and cell only, and the ionic temperature (K) in ``info``."""
    info = {"ion_temperature": float(ion_temperature)}
    return Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True, info=info)


def kinetic_temperature(momenta: FloatArray, masses: FloatArray, fixed: int = 3) -> float:
    """Returns the kinetic temperature, K, of atoms with ``fixed`` frozen degrees of freedom.

    Args:
        momenta: (atoms, 3), in units of ASE.
        masses: (atoms,), in units of ASE.
        fixed: number of frozen degrees of freedom, 3 for a fixed centre of mass.
    """
    freedom = max(3 * len(masses) - fixed, 1)
    return float(np.sum(momenta**2 / masses[:, None]) / (freedom * ase.units.kB))


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


def _temperature(frames: Sequence[Atoms]) -> float | None:
    moving = [frame for frame in frames if "momenta" in frame.arrays]
    if not moving:
        return None
    return float(np.mean([kinetic_temperature(frame.get_momenta(), frame.get_masses()) for frame in moving]))
