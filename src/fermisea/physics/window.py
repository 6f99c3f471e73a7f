"""Energy windows: the default window, and the highest electronic temperature for which a window is valid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit

from fermisea import units
from fermisea.errors import InputError, WindowError
from fermisea.grid import EnergyGrid
from fermisea.physics.density_of_states import DensityOfStates

LOWEST_TEMPERATURE = 5.0
"""Lowest tau_e, K; below it, cancellation in sums over the window leaves too few digits for entropies."""

_UNUSUAL = 50.0
"""Electronic temperature, K, below which a value may be meant in eV; hardly any DFT calculation is colder."""

HIGHEST_TEMPERATURE = 1e9
"""Highest tau_e, K; k_B tau_e is then a sixth of the rest energy of an electron."""

TRUNCATION = 1e-3
"""Largest free energy, eV per atom, that a window may cut off; it defines the highest electronic temperature."""

REACH = 3.5
"""Least distance from the start of a window to the lowest eigenvalue, in standard deviations of the broadening."""

_REACH_ABOVE = 11.6
"""Top of the default window above the Fermi level in units of k_B tau_e, for free electrons."""

_MARGIN = 0.5
"""Margin at the top of the default window, eV."""

_TAIL_ERROR, _TAIL_SHARE = 2e-3, 0.01
"""Largest estimated error of the states above a window: eV per atom, or a share of F(tau_e) - F(tau_ref)."""

_COARSE = 0.65
"""Broadening of an LDOS, eV, above which k_B tau_e should not be smaller; an LDOS of cold electrons has less."""

_COLDER = 0.5
"""Electronic temperature, relative to tau_ref, below which an LDOS of hot electrons may be too broad."""

_LOST = 5e-5
"""Largest free energy that the default window may cut off, eV per electron, for free electrons from the lowest
eigenvalue on; decisive where the Fermi level lies below this eigenvalue."""

_COLD = 1000.0
"""Lowest tau_e, K, of the Fermi level that decides up to which tau_e a window is valid."""


def default_window(
    lowest: float, fermi_level: float, *, spacing: float, broadening: float, highest_electron_temperature: float
) -> EnergyGrid:
    """Returns the default energy window of a spectrum that begins at ``lowest`` (eV).

    The top leaves the truncation of the free energy below about 0.01 meV per atom at the highest electronic
    temperature: for degenerate free electrons, 11.6 k_B tau_e above the Fermi level, and for electrons so hot that the
    Fermi level lies below the spectrum, as far as free electrons need. The bottom has a margin of 1 eV, so that other
    structures of the same material can share the grid.

    Args:
        lowest: lowest eigenvalue, eV.
        fermi_level: mu, eV.
        spacing: distance of the energies, eV.
        broadening: standard deviation of the kernel, eV.
        highest_electron_temperature: highest tau_e for which the window must be valid, K.
    """
    start = spacing * math.floor((lowest - REACH * broadening - 1.0) / spacing)
    kt = units.thermal_energy(highest_electron_temperature)
    top = max(fermi_level + _REACH_ABOVE * kt, lowest + kt * _reach((fermi_level - lowest) / kt, _LOST / kt)) + _MARGIN
    return EnergyGrid(round(start, 12), spacing, math.ceil((top - start) / spacing) + 1)


def _reach(level: float, lost: float) -> float:
    """Returns the energy above which free electrons contribute ``lost`` to the free energy per electron.

    All energies are in units of k_B tau_e, from the bottom of the spectrum on; ``level`` is the Fermi level.
    """
    low = max(level, 0.0)
    electrons, _ = quad(lambda x: math.sqrt(x) * expit(level - x), 0, low + 40, points=[low], limit=200)
    nodes, measure = np.polynomial.laguerre.laggauss(24)

    def excess(energy: float) -> float:
        x = energy + nodes
        return float(np.sum(measure * np.exp(nodes) * np.sqrt(x) * np.logaddexp(0, level - x))) / electrons - lost

    return float(brentq(excess, low, low + 80)) if excess(low) > 0 else low


def check_start(window: EnergyGrid, lowest: float, broadening: float) -> None:
    """Raises InputError if a window starts too high for a spectrum that begins at ``lowest`` (eV)."""
    highest_start = lowest - REACH * broadening
    if window.start > highest_start:
        raise InputError(
            f"energy grid: starts at {window.start:.3f} eV, expected at most {highest_start:.3f} eV ("
            f"{REACH} broadenings below the lowest eigenvalue {lowest:.3f} eV); choose a lower start"
        )


def served_temperature(top: float, fermi_level: float) -> float:
    """Returns the tau_e (K) whose default window ends at ``top`` (eV); negative if there is none."""
    return (top - fermi_level - _MARGIN) / _REACH_ABOVE / units.BOLTZMANN


def highest_electron_temperature(
    dos: DensityOfStates, electrons: float, atoms: int, electron_temperature: float = _COLD
) -> float:
    """Returns the highest tau_e (K) at which the window cuts off less than 1 meV/atom of the free energy.

    Above the window the density of states is continued by the free-electron form, D = a sqrt(eps - bottom). To first
    order the free energy lost is the integral of k_B tau_e D ln(1 + e^-x) above the window, with the Fermi level at a
    fixed tau_e; since the Fermi level falls with tau_e, the result is slightly too low.

    Args:
        dos: density of states on the window.
        electrons: number of electrons in the cell.
        atoms: number of atoms in the cell.
        electron_temperature: tau_e of the Fermi level, K, at least 1000 K; tau_ref of the data.

    Raises:
        InputError: if the window cannot hold the electrons.
    """
    dos, top = replace(dos, tail=None), dos.energy_grid.stop
    bottom = float(dos.energies[np.argmax(dos.dos > 0.01 * dos.dos.max())])
    upper = dos.energies > (top + bottom) / 2
    mu = dos.fermi_level(electrons, max(_COLD, electron_temperature))
    # amplitude of D = a sqrt(eps - bottom); for a window that ends in a gap, or above the last computed band, a
    # fraction of the free-electron amplitude is used
    amplitude = float(np.mean(dos.dos[upper] / np.sqrt(dos.energies[upper] - bottom)))
    amplitude = max(amplitude, 0.05 * 1.5 * electrons / max(mu - bottom, 1.0) ** 1.5)
    nodes, measure = np.polynomial.laguerre.laggauss(24)

    def lost(temperature: float) -> float:
        kt = units.thermal_energy(temperature)
        energies = top + kt * nodes
        states = amplitude * np.sqrt(energies - bottom)
        logarithm = np.log1p(np.exp(-(energies - mu) / kt))
        return float(np.sum(measure * np.exp(nodes) * kt**2 * states * logarithm)) - TRUNCATION * atoms

    low, high = 10.0, 1e9
    if lost(low) > 0:
        return 0.0
    return float(brentq(lost, low, high, xtol=0.1)) if lost(high) > 0 else high


def temperature_list(electron_temperature: float | Sequence[float]) -> tuple[float, ...]:
    """Returns one or several tau_e (K) as a tuple.

    Raises:
        InputError: for anything but a number or a list of at least one number.
    """
    try:
        given = np.atleast_1d(np.asarray(electron_temperature, dtype=float))
    except (TypeError, ValueError, OverflowError):
        given = None
    if given is None or electron_temperature is None:
        raise InputError(
            f"electron temperature: got {electron_temperature!r}, expected a number or a list of numbers, in kelvin; "
            "give for example 1000"
        )
    if given.ndim > 1:
        raise InputError(f"electron temperature: got an array of shape {given.shape}, expected one value or a list")
    if not given.size:
        raise InputError("electron temperature: got an empty list, expected at least one value in kelvin")
    return tuple(float(t) for t in given)


def check_range(electron_temperature: float) -> None:
    """Refuses a tau_e (K) for which no LDOS gives accurate numbers.

    Raises:
        InputError: for a temperature that is too low, too high or invalid.
    """
    check_highest(electron_temperature)
    if electron_temperature < LOWEST_TEMPERATURE:
        raise InputError(
            f"electron temperature: got {electron_temperature:g} K, expected at least {LOWEST_TEMPERATURE:g} K; "
            f"below this, entropies and heat capacities are not accurate ({_in_kelvin(electron_temperature)})"
        )


def check_highest(electron_temperature: float) -> None:
    """Refuses a tau_e (K) that is not a finite number above zero, or above ``HIGHEST_TEMPERATURE``.

    Raises:
        InputError: for such a temperature.
    """
    units.thermal_energy(electron_temperature)
    if electron_temperature > HIGHEST_TEMPERATURE:
        raise InputError(
            f"electron temperature: got {electron_temperature:g} K, expected at most {HIGHEST_TEMPERATURE:g} K; "
            "hotter electrons are relativistic; give a lower tau_e, in kelvin"
        )


def check_temperature(
    grid: EnergyGrid, highest: float, electron_temperature: float, *, allow_beyond_window: bool = False
) -> list[str]:
    """Refuses an ``electron_temperature`` above ``highest`` (K) or below ``LOWEST_TEMPERATURE``.

    Returns:
        The sentence of a warning, with ``allow_beyond_window``, for a temperature above ``highest``; otherwise nothing.

    Raises:
        InputError: for a temperature that is too low, too high or invalid.
        WindowError: for a temperature above ``highest``, without ``allow_beyond_window``.
    """
    check_range(electron_temperature)
    if electron_temperature <= highest:
        return []
    text = (
        f"electron temperature: got {electron_temperature:g} K, but the energy window [{grid.start:.2f}, "
        f"{grid.stop:.2f}] eV is valid up to {highest:.0f} K (1 meV/atom cut off); request a lower tau_e, "
        "allow a tail of free electrons (not with tail=False, --no-tail or MALA's integration), or use an LDOS with a "
        "wider energy window"
    )
    if not allow_beyond_window:
        raise WindowError(text)
    return [text]


def kelvin_question(electron_temperatures: Iterable[float]) -> list[str]:
    """Returns a question about the unit of the lowest tau_e (K) if it is unusually low; otherwise an empty list."""
    lowest = min(electron_temperatures, default=math.inf)
    if not 0 < lowest < _UNUSUAL:
        return []
    return [f"unit of tau_e: got {lowest:g} K, an unusually low electronic temperature; {_in_kelvin(lowest)}"]


def warn_of_unit(*electron_temperatures: float) -> None:
    """Warns of an unusually low tau_e (K), which may be meant in eV; a warning once for each value.

    Raises:
        InputError: if a temperature is not a finite number above zero, or above ``HIGHEST_TEMPERATURE``.
    """
    for temperature in electron_temperatures:
        check_highest(temperature)
    for sentence in kelvin_question(electron_temperatures):
        warnings.warn(sentence, stacklevel=1)  # one place in the code, so that Python shows it once


def _in_kelvin(value: float) -> str:
    return f"if the value is in eV, give {value / units.BOLTZMANN:.0f} K"


def check_spectrum(
    dos: DensityOfStates,
    electrons: float,
    atoms: int,
    electron_temperatures: Iterable[float],
    reference: float,
    *,
    allow_beyond_window: bool = False,
) -> list[str]:
    """Refuses a tau_e that the window of a structure does not serve, with or without a tail.

    Args:
        dos: density of states of the structure.
        electrons: number of electrons in the cell.
        atoms: number of atoms in the cell.
        electron_temperatures: tau_e, K.
        reference: tau_ref of the spectrum, K.
        allow_beyond_window: whether an error of the window is a warning instead.

    Returns:
        A sentence for each warning: of a broad LDOS, and with ``allow_beyond_window`` of the window.

    Raises:
        InputError: for a temperature that is too low, too high or invalid.
        WindowError: if the window cuts off more than 1 meV/atom or, with a tail, if the estimated error of the tail is
            above 2 meV/atom and above 1 % of the change of F from tau_ref, or from 1000 K if tau_ref is higher.
    """
    temperatures = sorted(set(electron_temperatures), reverse=True)
    if not temperatures:
        return []
    for t in temperatures:
        check_range(t)
    found: list[str] = []
    coarse = dos.broadening > max(_COARSE, units.thermal_energy(temperatures[-1]))
    if coarse and temperatures[-1] < _COLDER * reference:
        found.append(
            f"broadening: the LDOS has a broadening of {dos.broadening:g} eV, larger than k_B tau_e at "
            f"{temperatures[-1]:g} K; F may be wrong by tens of meV/atom, and the entropy by half; use an LDOS of a "
            "lower tau_ref"
        )
    if dos.tail is None:
        highest = highest_electron_temperature(dos, electrons, atoms, reference)
        beyond = check_temperature(dos.energy_grid, highest, max(temperatures), allow_beyond_window=allow_beyond_window)
        return found + beyond

    def band_free_energy(mu: float, t: float) -> float:
        return dos.band_energy(mu, t) - t * dos.entropy(mu, t)

    for t in temperatures:
        mu = dos.fermi_level(electrons, t)
        error = dos.tail_error(mu, t)
        if error <= _TAIL_ERROR * atoms:  # lower temperatures have smaller errors
            break
        start = min(reference, _COLD)
        cold = band_free_energy(dos.fermi_level(electrons, start), start)
        limit = max(_TAIL_ERROR * atoms, _TAIL_SHARE * abs(band_free_energy(mu, t) - cold))
        if error <= limit:
            continue
        window, above = dos.energy_grid, dos.tail_electrons(mu, t)
        text = (
            f"tail: at tau_e = {t:g} K, {above / atoms:.2g} electrons per atom are above the energy window "
            f"[{window.start:.2f}, {window.stop:.2f}] eV; the estimated error of F from these electrons is "
            f"{1000 * error / atoms:.2g} meV/atom, expected at most {1000 * limit / atoms:.2g} meV/atom (1 % of the "
            f"change of F from {start:g} K); request a lower tau_e, or use an LDOS with a wider energy window"
        )
        if not allow_beyond_window:
            raise WindowError(text)
        found.append(text)
    return found
