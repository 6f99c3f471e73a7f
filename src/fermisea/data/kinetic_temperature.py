"""Kinetic temperature of a sample: degrees of freedom, and comparison with the requested ionic temperature."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import ase.units
import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.constraints import FixCom

from fermisea.data.correlation import autocorrelation
from fermisea.errors import InputError
from fermisea.units import BOLTZMANN
from fermisea.utilities.arrays import FloatArray

_UNUSUAL = 5.0
"""Ionic temperature, K, below which a value may be meant in eV."""

_TOLERANCE = 0.1
"""Allowed relative difference from the requested temperature without statistical error; integrators cause a few %."""

_SIGMAS = 4.0
"""Allowed difference in standard deviations of the mean over the canonical ensemble."""

_DRAW = 0.5
"""Allowed difference in standard deviations of a single value: the initial velocities decide about the mean of a
microcanonical trajectory, and of a small cell with a slow thermostat."""

_LONG = 20
"""Smallest number of independent values that distinguishes a drift from a slow fluctuation."""

_AT_REST = 0.01
"""Largest momentum of the centre of mass at rest: its mean energy over the energy of its three degrees of freedom."""


def kinetic_temperature(momenta: FloatArray, masses: FloatArray, fixed: int = 3) -> float:
    """Returns the kinetic temperature, K, of atoms with ``fixed`` frozen degrees of freedom.

    Args:
        momenta: (atoms, 3), in units of ASE.
        masses: (atoms,), in units of ASE.
        fixed: number of frozen degrees of freedom, 3 for a fixed centre of mass.
    """
    freedom = max(3 * len(masses) - fixed, 1)
    return float(np.sum(momenta**2 / masses[:, None]) / (freedom * ase.units.kB))


def temperatures(frames: Sequence[Atoms]) -> tuple[FloatArray, int] | None:
    """Returns the kinetic temperature of each frame with momenta, K, and the number of degrees of freedom.

    The centre of mass does not count: its velocity is subtracted, unless atoms are fixed. Constraints of ASE do not
    count, and neither do atoms without momentum in all frames.

    Args:
        frames: frames of the same atoms in the same order.

    Returns:
        None without momenta, without a degree of freedom, or with constraints that ASE cannot count.
    """
    moving = [frame for frame in frames if frame.has("momenta") and frame.arrays["momenta"].any()]
    if not moving:
        return None
    free = np.any([frame.arrays["momenta"].any(axis=1) for frame in moving], axis=0)
    first = moving[0][np.flatnonzero(free)]
    masses = first.get_masses()
    momenta = np.stack([frame.arrays["momenta"][free] for frame in moving])
    try:
        freedom = int(first.get_number_of_degrees_of_freedom())
    except NotImplementedError:
        return None
    if not any(isinstance(constraint, FixCom) for constraint in first.constraints):
        total = momenta.sum(axis=1, keepdims=True)
        heat = float(np.mean(np.sum(momenta**2 / masses[:, None], axis=(1, 2)))) / max(freedom, 1)
        at_rest = float(np.mean(np.sum(total**2, axis=-1))) / masses.sum() < 3 * _AT_REST * heat
        if free.all():
            momenta -= masses[:, None] / masses.sum() * total
        if free.all() or at_rest:
            freedom -= 3
    if freedom <= 0:
        return None
    kinetic = [kinetic_temperature(own, masses, 3 * len(masses) - freedom) for own in momenta]
    return np.array(kinetic), freedom


def warn_of_ion_unit(ion_temperature: float) -> None:
    """Warns of an unusually low tau_i (K), which may be meant in eV."""
    if 0 < ion_temperature < _UNUSUAL:
        warnings.warn(
            f"unit of tau_i: got {ion_temperature:g} K, an unusually low ionic temperature; if the value is in eV, "
            f"give {ion_temperature / BOLTZMANN:.0f} K",
            stacklevel=3,
        )


def check_sample(values: npt.ArrayLike, freedom: int, ion_temperature: float, *, advice: str) -> None:
    """Checks that a sample has the requested ionic temperature, without a drift.

    The kinetic temperature of n degrees of freedom has the relative variance 2/n in the canonical ensemble. The
    correlation time of the sample gives the number of independent values; a drift is sought in samples of at least
    ``_LONG`` independent values.

    Args:
        values: kinetic temperature of each step or frame, in order, K.
        freedom: number of degrees of freedom.
        ion_temperature: requested tau_i, K.
        advice: what to do, for the message.

    Raises:
        InputError: if the mean, or the difference of the two halves, is farther from the request than the fluctuations
            allow.
    """
    series = np.asarray(values, dtype=np.float64)
    count, mean = len(series), float(series.mean())
    limit = _TOLERANCE + _DRAW * _error(freedom, 1.0) + _SIGMAS * _error(freedom, _independent(series))
    got = f"ion temperature: got {ion_temperature:g} K, but the mean kinetic temperature"
    if abs(mean / ion_temperature - 1) > limit:
        raise InputError(
            f"{got} is {mean:.0f} K for {freedom} degrees of freedom, expected agreement within {100 * limit:.0f} %; "
            f"{advice}"
        )
    if count < _LONG:
        return
    trend = np.polynomial.Polynomial.fit(np.arange(count), series, 1)(np.arange(count))
    independent = _independent(series - trend)
    start, end = float(series[: count // 2].mean()), float(series[count // 2 :].mean())
    limit = _TOLERANCE + 2 * _SIGMAS * _error(freedom, independent)
    if independent >= _LONG and abs(end - start) > limit * ion_temperature:
        raise InputError(
            f"{got} drifts from {start:.0f} K in the first half to {end:.0f} K in the second half, expected a change "
            f"of at most {100 * limit:.0f} %; {advice}"
        )


def _error(freedom: int, independent: float) -> float:
    """Returns the relative standard deviation of the mean of independent kinetic temperatures."""
    return math.sqrt(2 / (freedom * max(independent, 1.0)))


def _independent(series: FloatArray) -> float:
    """Returns the number of independent values of a series, rather too small.

    The sum of autocorrelations ends at the first one below zero, because the kinetic energy oscillates: in a series
    shorter than a few periods the whole sum says nothing.
    """
    if len(series) < 2:
        return 1.0
    correlations = autocorrelation(series[:, None])
    positive = correlations[: int(np.argmax(correlations <= 0)) or len(series)]
    return len(series) / max(float(2 * positive.sum() - 1), 1.0)
