"""Energies, broadening and grid of a local density of states: given ones, and the defaults of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fermisea import units
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.window import check_start, default_window, warn_of_unit

_SPACING = 0.2
"""Default spacing and broadening of the LDOS, eV."""

_HOT = 30_000.0
"""Electronic temperature, K, from which on the default spacing grows, after it was larger than needed."""

_WIDEST = 1.5
"""Largest default spacing, eV; a window that ends where the bands end then has fifty energies."""


@dataclass(frozen=True)
class LdosOptions:
    """Energies, broadening and grid of the LDOS.

    Attributes:
        spacing: energy spacing, eV; None for 0.2 eV, and more for hot electrons (:func:`default_spacing`).
        broadening: standard deviation of the Gaussian, eV, at least the spacing; None for the larger one of the spacing
            and its default.
        highest_electron_temperature: highest tau_e for which the energy window is valid, K; a run at a higher tau_e
            takes its own.
        energy_grid: explicit energies, in place of spacing and highest_electron_temperature.
        grid: number of points along each lattice vector, at most as many as on the grid of the engine; None for the
            grid of the engine.
    """

    spacing: float | None = None
    broadening: float | None = None
    highest_electron_temperature: float = 10_000.0
    energy_grid: EnergyGrid | None = None
    grid: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        warn_of_unit(self.highest_electron_temperature)
        _check_widths(self._spacing(0.0), self._broadening(0.0))
        if self.grid is not None and (len(self.grid) != 3 or min(self.grid) < 1):
            raise InputError(f"LDOS grid: got {self.grid}, expected three numbers of points of at least 1")

    def _spacing(self, electron_temperature: float) -> float:
        if self.energy_grid is not None:
            return self.energy_grid.spacing
        return default_spacing(electron_temperature) if self.spacing is None else self.spacing

    def _broadening(self, electron_temperature: float) -> float:
        if self.broadening is not None:
            return self.broadening
        return max(self._spacing(electron_temperature), default_spacing(electron_temperature))

    def chosen(self, electron_temperature: float) -> ChosenLdosOptions:
        """Returns the options with the spacing and the broadening of a run at ``electron_temperature``, K."""
        return ChosenLdosOptions(
            spacing=self._spacing(electron_temperature),
            broadening=self._broadening(electron_temperature),
            highest_electron_temperature=self.highest_electron_temperature,
            energy_grid=self.energy_grid,
            grid=self.grid,
        )

    def covering(self, electron_temperature: float) -> ChosenLdosOptions:
        """Returns :meth:`chosen` with a default window that is valid at ``electron_temperature``, K, too."""
        highest = max(self.highest_electron_temperature, electron_temperature)
        return replace(self.chosen(electron_temperature), highest_electron_temperature=highest)


@dataclass(frozen=True)
class ChosenLdosOptions(LdosOptions):
    """Options of one run, with numbers in place of None."""

    spacing: float = 0.2
    broadening: float = 0.2


def default_spacing(electron_temperature: float) -> float:
    """Returns spacing and broadening of the LDOS of a run at ``electron_temperature``, K, eV.

    They are 0.2 eV up to 36 kK. The distribution of hotter electrons has no structure below k_B tau_e, and the spacing
    grows by 0.4 k_B up to 1.5 eV, which leaves enough energies to continue the LDOS above the bands.
    """
    return min(max(_SPACING, 0.4 * units.BOLTZMANN * (electron_temperature - _HOT)), _WIDEST)


def _check_widths(spacing: float, broadening: float) -> None:
    if not (spacing > 0 and broadening >= spacing * (1 - 1e-9)):
        raise InputError(
            f"LDOS: got broadening {broadening} eV on a spacing of {spacing} eV, expected a spacing above 0 "
            "and a broadening of at least the spacing; narrower peaks would fall between the energies"
        )


def energy_grid(
    options: ChosenLdosOptions, lowest: float, fermi_level: float, highest: float | None = None
) -> EnergyGrid:
    """Returns the energies of the options, or the default window of a spectrum that begins at ``lowest`` (eV).

    Args:
        options: spacing, broadening, and given energies.
        lowest: lowest eigenvalue, eV.
        fermi_level: mu, eV.
        highest: energy at which a default window ends at the latest, eV.

    Raises:
        InputError: if a given energy grid starts too high for this spectrum.
    """
    if options.energy_grid is None:
        window = default_window(
            lowest,
            fermi_level,
            spacing=options.spacing,
            broadening=options.broadening,
            highest_electron_temperature=options.highest_electron_temperature,
        )
        if highest is not None and highest < window.stop:
            window = replace(window, size=max(2, math.floor((highest - window.start) / window.spacing) + 1))
        return window
    check_start(options.energy_grid, lowest, options.broadening)
    return options.energy_grid


def free_electron_bands(electrons: float, volume: float, energy_above: float) -> float:
    """Returns the number of free-electron bands up to ``energy_above`` (eV) over the Fermi energy."""
    fermi_energy = units.KINETIC * (3 * math.pi**2 * electrons / volume) ** (2 / 3)
    return electrons / 2 * (1 + energy_above / fermi_energy) ** 1.5
