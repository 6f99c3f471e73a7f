"""Structures out of a trajectory: how long it remembers, and frames so far apart that they are news."""

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
"""Correlations are summed up to this many times their sum."""


@dataclass(frozen=True)
class Thinned:
    """Frames of a trajectory.

    Attributes:
        frames: each with ``ion_temperature`` in its ``info``.
        indices: of the frames in the trajectory.
        correlation_frames: time over which the trajectory remembers, in its frames.
        mean_temperature: kinetic, of the frames that have momenta, K; None if none has.
        mean_square_displacement: from the mean positions, Angstrom^2.
    """

    frames: list[Atoms]
    indices: list[int]
    correlation_frames: float
    mean_temperature: float | None
    mean_square_displacement: float


def correlation_time(values: npt.ArrayLike) -> float:
    """Returns the integrated autocorrelation time of a series, in steps; 1 for one without memory.

    It is 1 + 2 times the sum of the normalised autocorrelation up to the first lag that is ``_WINDOW`` times the result
    (A. Sokal, Functional Integration, NATO ASI B 361, 131 (1997)): the number of steps that hold one independent value.

    Args:
        values: (steps,) or (steps, series); of several series the correlations are averaged with their variances.

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
        return float(steps)  # nothing moved
    times = 2 * np.cumsum(covariance / covariance[0]) - 1
    far_enough = np.arange(steps) >= _WINDOW * times
    return float(max(times[np.argmax(far_enough)] if far_enough.any() else times[-1], 1.0))


def thin(frames: Sequence[Atoms], snapshots: int, ion_temperature: float, skip: int = 0) -> Thinned:
    """Returns evenly spaced frames of a trajectory, whatever code made it.

    The correlation time is that of the potential energies where all frames have one, else of the coordinates.

    Args:
        frames: in the order of time, equally spaced, of the same atoms.
        snapshots: frames wanted.
        ion_temperature: tau_i of the trajectory, K.
        skip: frames at its beginning that are left out, for thermalisation.

    Raises:
        InputError: for too few frames, or so few that they would remember each other; for other atoms in between.
    """
    if snapshots < 1 or skip < 0 or not (math.isfinite(ion_temperature) and ion_temperature > 0):
        raise InputError(
            f"thinning: got {snapshots} snapshots, {skip} frames to skip, tau_i {ion_temperature} K; expected at least "
            "1, at least 0 and above 0"
        )
    rest = list(frames[skip:])
    if len(rest) < max(snapshots, 4):
        raise InputError(
            f"trajectory: {len(rest)} frames after {skip} skipped ones, expected at least {max(snapshots, 4)}"
        )
    for index, frame in enumerate(rest):
        if len(frame) != len(rest[0]) or (frame.numbers != rest[0].numbers).any():
            raise InputError(f"trajectory: frame {skip + index} has other atoms than frame {skip}; cut the file there")
    positions = _unwrapped(rest)
    memory = correlation_time(_energies(rest) if _have_energies(rest) else positions.reshape(len(rest), -1))
    spacing = len(rest) // snapshots
    if spacing < memory and snapshots > 1:
        raise InputError(
            f"trajectory: it remembers for {memory:.1f} frames, but {snapshots} of {len(rest)} are {spacing} apart; "
            f"ask for at most {max(int(len(rest) / memory), 1)}, or make it longer"
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
    """Returns elements, positions and cell alone, with the ionic temperature (K) in ``info``."""
    info = {"ion_temperature": float(ion_temperature)}
    return Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True, info=info)


def kinetic_temperature(momenta: FloatArray, masses: FloatArray, fixed: int = 3) -> float:
    """Returns the kinetic temperature, K, of atoms of which ``fixed`` degrees of freedom do not move.

    Args:
        momenta: (atoms, 3), in units of ASE.
        masses: (atoms,), in units of ASE.
        fixed: 3 for a centre of mass that stands still.
    """
    freedom = max(3 * len(masses) - fixed, 1)
    return float(np.sum(momenta**2 / masses[:, None]) / (freedom * ase.units.kB))


def _unwrapped(frames: Sequence[Atoms]) -> FloatArray:
    """Returns positions, (frames, atoms, 3), from which jumps across the cell's faces are taken out, Angstrom."""
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
