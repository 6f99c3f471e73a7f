"""Electrons for two-temperature molecular dynamics with LAMMPS's ``fix ttm/mod``.

Formulas and order of the entries follow the LAMMPS documentation of ``fix ttm/mod``: with X = tau_e / 1000 K

    C_e = rho_e [(a_0 + a_1 X + a_2 X^2 + a_3 X^3 + a_4 X^4) exp(-(A X)^2) + C_0],

in metal units, and P_e = PF C_e tau_e. The coupling of this fix is a friction of the ions that does not depend on
tau_e: -gamma_p v and a random force, which transfer 3 k_B gamma_p/m (tau_e - tau_i) to each ion per time.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fermisea import units
from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.files import write_text

_DAMPING = (0.0, *(float(a) for a in np.geomspace(0.005, 0.5, 41)))
"""Trial values of A, 1/(1000 K)."""

_UNREACHED = 1e6
"""v_0 without electronic stopping, Angstrom/ps: the fix divides by gamma_p for every ion that is faster."""

_BEYOND = 3.0
"""Range in which C_e must not be negative, in units of the highest tau_e."""


@dataclass(frozen=True)
class HeatCapacityFit:
    """C_e in the form of ``fix ttm/mod``.

    Attributes:
        coefficients: a_0 to a_4, eV/(K electron) divided by powers of 1000 K.
        limit: C_0, eV/(K electron).
        damping: A, 1/(1000 K).
        electron_density: rho_e, electrons/Angstrom^3.
        error: largest deviation from the fitted values, relative to the largest C_e.
        lowest: lowest fitted tau_e, K.
        highest: highest fitted tau_e, K.
    """

    coefficients: tuple[float, float, float, float, float]
    limit: float
    damping: float
    electron_density: float
    error: float
    lowest: float
    highest: float

    def heat_capacity(self, electron_temperature: npt.ArrayLike) -> FloatArray:
        """Returns C_e per volume, eV/(K Angstrom^3), at tau_e in K, in the shape of tau_e."""
        x = np.asarray(electron_temperature, dtype=float) / 1000
        polynomial = np.polynomial.polynomial.polyval(x, self.coefficients)
        return self.electron_density * np.asarray(polynomial * np.exp(-((self.damping * x) ** 2)) + self.limit)


@dataclass(frozen=True)
class TtmParameters:
    """Parameters of ``fix ttm/mod`` besides C_e, in metal units; they do not follow from equilibrium properties.

    Attributes:
        thermal_diffusivity: D_e = kappa_e / C_e, Angstrom^2/ps.
        friction: friction coefficient gamma_p of electron-ion coupling, mass/time.
        stopping: friction coefficient gamma_s of electronic stopping, mass/time; the fix needs gamma_p above 0 for it.
        stopping_velocity: velocity v_0 above which electronic stopping acts, Angstrom/ps.
        intensity: intensity of the pulse, eV/(ps Angstrom^2).
        left_surface: first grid cell along x with electrons; cells count from 0.
        right_surface: number of the last grid cell along x with electrons, plus one: the number of cells along x of
            the fix if electrons fill the box.
        skin_layer: absorption depth, in cells.
        width: duration of the pulse, ps.
        free_path: mean free path of the electrons, Angstrom.
        moving_surface: whether the surface moves.
        lowest_temperature: tau_e of newly filled cells, K.
    """

    thermal_diffusivity: float = 0.0
    friction: float = 0.0
    stopping: float = 0.0
    stopping_velocity: float = 0.0
    intensity: float = 0.0
    left_surface: int = 0
    right_surface: int = 1
    skin_layer: int = 1
    width: float = 1.0
    free_path: float = 0.0
    moving_surface: bool = False
    lowest_temperature: float = 300.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{field.name}: got {value}, expected a finite number of at least 0")
        if self.stopping > 0 and self.friction == 0:
            raise InputError(
                f"stopping: got {self.stopping:g} without friction, expected a friction above 0; the fix divides by it"
            )
        if self.left_surface >= self.right_surface:
            raise InputError(f"surfaces: got {self.left_surface} and {self.right_surface}, expected left < right")

    @property
    def cells(self) -> str:
        """Cells along x that hold electrons, in words."""
        last = self.right_surface - 1
        if last == self.left_surface:
            return f"cell {last} along x"
        return f"cells {self.left_surface} to {last} along x"


def fit_heat_capacity(
    electron_temperature: npt.ArrayLike, heat_capacity: npt.ArrayLike, electron_density: float
) -> HeatCapacityFit:
    """Returns the fit of C_e for ``fix ttm/mod`` with the smallest maximum error; it vanishes at tau_e = 0.

    Args:
        electron_temperature: tau_e, ascending, (n,), K.
        heat_capacity: C_e per volume, (n,), eV/(K Angstrom^3).
        electron_density: density of electrons, electrons/Angstrom^3.

    Raises:
        InputError: for fewer than six temperatures, or values that are not positive.
    """
    temperatures, values = np.asarray(electron_temperature, dtype=float), np.asarray(heat_capacity, dtype=float)
    if temperatures.ndim != 1 or temperatures.shape != values.shape or temperatures.size < 6:
        raise InputError(
            f"heat capacity: got {temperatures.shape} temperatures and {values.shape} values, expected six or more "
            "pairs"
        )
    if not (np.isfinite(values).all() and (values > 0).all() and (np.diff(temperatures, prepend=0.0) > 0).all()):
        raise InputError(
            "heat capacity: got values or temperatures out of range, expected positive values at ascending "
            "temperatures above 0"
        )
    if not (math.isfinite(electron_density) and electron_density > 0):
        raise InputError(f"electron density: got {electron_density}, expected a finite number above 0")
    x, far = temperatures / 1000, np.linspace(0.0, _BEYOND * temperatures[-1], 400)[1:] / 1000
    best: HeatCapacityFit | None = None
    for damping, degree in itertools.product(_DAMPING, (4, 3, 2, 1)):
        design, beyond = (_columns(points, damping, degree) for points in (x, far))
        scale = np.abs(design).max(axis=0)
        solution = np.linalg.lstsq(design / scale, values / electron_density, rcond=None)[0] / scale
        if (beyond @ solution).min() < 0:
            continue
        error = float(np.abs(electron_density * (design @ solution) - values).max() / values.max())
        if best is None or error < 0.999 * best.error:
            powers = [*solution[:degree].tolist(), *([0.0] * (4 - degree))]
            limit = float(solution[degree]) if damping > 0 else 0.0
            coefficients = (-limit, powers[0], powers[1], powers[2], powers[3])
            ends = float(temperatures[0]), float(temperatures[-1])
            best = HeatCapacityFit(coefficients, limit, damping, electron_density, error, *ends)
    if best is None:
        raise InputError("heat capacity: found no fit that is positive everywhere; give values at more temperatures")
    return best


def _columns(x: FloatArray, damping: float, degree: int) -> FloatArray:
    """Returns the basis functions of C_e / rho_e: damped powers of X and, with damping, the function of the limit."""
    factor = np.exp(-((damping * x) ** 2))
    columns = [factor * x**power for power in range(1, degree + 1)]
    return np.stack([*columns, 1 - factor] if damping > 0 else columns, axis=1)


def friction_of(coupling: float, volume: float, masses: npt.ArrayLike) -> float:
    """Returns the friction coefficient gamma_p, g/mol/ps, that transfers as much energy as a coupling G.

    G V = 3 k_B gamma_p sum_i 1/m_i with the same gamma_p for all ions.

    Args:
        coupling: G, eV/(ps K Angstrom^3).
        volume: V of the cell, Angstrom^3.
        masses: masses of the ions in the cell, (n,), g/mol.
    """
    return coupling * volume / (3 * units.BOLTZMANN * float(np.sum(1 / np.asarray(masses, dtype=float))))


def write_ttm_mod(
    path: Path,
    fit: HeatCapacityFit,
    ion_density: float,
    pressure_factor: float = 0.0,
    parameters: TtmParameters | None = None,
) -> None:
    """Writes a parameter file of ``fix ttm/mod`` in LAMMPS's metal units, atomically.

    Args:
        path: path of the file.
        fit: fit of C_e.
        ion_density: density of ions, ions/Angstrom^3.
        pressure_factor: PF.
        parameters: all other parameters; by default coupling, conduction and pulse are switched off.
    """
    p = parameters or TtmParameters()
    own = f"fitted from {fit.lowest:g} to {fit.highest:g} K, error at most {100 * fit.error:.2f} % of the largest C_e"
    entries: list[tuple[str, float | int]] = [
        *((f"a_{k}, eV/(K electron) / (1000 K)^{k}; C_e {own}", a) for k, a in enumerate(fit.coefficients)),
        ("C_0, eV/(K electron)", fit.limit),
        ("A, 1/(1000 K)", fit.damping),
        ("rho_e, electrons/Angstrom^3", fit.electron_density),
        ("D_e, Angstrom^2/ps", p.thermal_diffusivity),
        ("gamma_p, g/mol/ps", p.friction),
        ("gamma_s, g/mol/ps", p.stopping),
        ("v_0, Angstrom/ps", p.stopping_velocity if p.stopping > 0 else _UNREACHED),
        ("I_0, eV/(ps Angstrom^2)", p.intensity),
        ("lsurface; electrons fill cells lsurface to rsurface - 1 along x, counted from 0", p.left_surface),
        ("rsurface; the number of cells along x of the fix, if electrons fill the box", p.right_surface),
        ("l_skin, cells", p.skin_layer),
        ("tau, ps", p.width),
        ("PF, P_e = PF C_e T_e", pressure_factor),
        ("lambda, Angstrom", p.free_path),
        ("n_ion, ions/Angstrom^3", ion_density),
        ("surface_movement, 0 or 1", int(p.moving_surface)),
        ("T_e_min, K", p.lowest_temperature),
    ]
    write_text(path, "".join(f"{name}\n{value!r}\n" for name, value in entries))
