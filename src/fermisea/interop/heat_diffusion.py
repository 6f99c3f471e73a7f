"""Electrons for one-dimensional two-temperature heat diffusion: udkm1Dsim and NTMpy.

Both programs take the heat capacity per mass, and lengths, masses and energies in SI units.

udkm1Dsim (D. Schick, Comput. Phys. Commun. 266, 108031 (2021)) takes formulas as strings. ``T`` is the temperature of
the own subsystem, ``T[0]`` and ``T[1]`` are the temperatures of electrons and ions. It integrates the heat capacity
symbolically, so that the formulas here are polynomials.

NTMpy (L. Alber et al., Comput. Phys. Commun. 265, 107990 (2021)) takes Python functions of tau_e for heat capacity and
conductivity, and a single number for the coupling.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fermisea import units
from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.files import write_text

_HIGHEST_DEGREE = 8


@dataclass(frozen=True)
class Formula:
    """A polynomial in tau_e through a table.

    Attributes:
        text: formula in ``T``, K, with the operators of Python.
        error: largest deviation from the table, relative to its largest value.
    """

    text: str
    error: float


@dataclass(frozen=True, eq=False)
class ElectronTable:
    """Electrons at each tau_e, in the units of this package.

    Attributes:
        electron_temperature: tau_e, ascending, (n,), K.
        heat_capacity: C_e per volume, (n,), eV/(K Angstrom^3).
        density: mass density, kg/m^3.
        coupling: G, (n,), eV/(ps K Angstrom^3); None without one.
        conductivity: kappa_e, (n,), eV/(ps K Angstrom); None without one.
    """

    electron_temperature: FloatArray
    heat_capacity: FloatArray
    density: float
    coupling: FloatArray | None = None
    conductivity: FloatArray | None = None

    @property
    def specific_heat(self) -> FloatArray:
        """C_e per mass, (n,), J/(kg K)."""
        return self.heat_capacity * units.ELECTRONVOLT / units.METRE_PER_ANGSTROM**3 / self.density


def polynomial(electron_temperature: npt.ArrayLike, values: npt.ArrayLike, *, vanishes: bool = False) -> Formula:
    """Returns the polynomial of the lowest degree that fits a table to 0.1 %, or the best one up to degree 8.

    The polynomial is positive from 0 to the highest tau_e.

    Args:
        electron_temperature: tau_e, ascending, (n,), K.
        values: positive values, (n,).
        vanishes: whether the value at tau_e = 0 is 0, as the one of C_e.

    Raises:
        InputError: for fewer than four temperatures, or values that are not positive.
    """
    t, v = np.asarray(electron_temperature, dtype=float), np.asarray(values, dtype=float)
    if t.size < 4 or t.shape != v.shape or not (np.isfinite(v).all() and (v > 0).all()):
        raise InputError("formula: got fewer than four temperatures or values that are not positive, expected a table")
    x, everywhere = t / 1000, np.linspace(0.0, t[-1] / 1000, 400)[1:]
    first = 1 if vanishes else 0
    best: tuple[float, FloatArray] | None = None
    for degree in range(first, min(_HIGHEST_DEGREE, t.size - 2) + 1):
        powers = np.arange(first, degree + 1)
        scale = x[-1] ** powers
        solution = np.linalg.lstsq(x[:, None] ** powers / scale, v, rcond=None)[0] / scale
        if (everywhere[:, None] ** powers @ solution).min() <= 0:
            continue
        error = float(np.abs(x[:, None] ** powers @ solution - v).max() / v.max())
        if best is None or error < best[0]:
            best = error, np.concatenate([np.zeros(first), solution])
        if error < 1e-3:
            break
    if best is None:
        raise InputError("formula: found no polynomial that is positive at every tau_e; give a larger range of tau_e")
    error, coefficients = best
    terms = [
        f"{a:.9e}" if k == 0 else f"{a:.9e}*(T/1000)" + (f"**{k}" if k > 1 else "")
        for k, a in enumerate(coefficients)
        if a != 0
    ]
    return Formula(" + ".join(terms), error)


def udkm1dsim_properties(table: ElectronTable) -> dict[str, Any]:
    """Returns properties of a layer of udkm1Dsim, with the names of its arguments.

    Each property is a list with an entry for the electrons; append the one of the ions. The coupling has both entries,
    with the power per volume that each subsystem receives.

    Args:
        table: electrons at each tau_e.
    """
    t = table.electron_temperature
    formulas = {"heat_capacity": polynomial(t, table.specific_heat, vanishes=True)}
    if table.conductivity is not None:
        formulas["therm_cond"] = polynomial(t, table.conductivity * units.CONDUCTIVITY, vanishes=True)
    found: dict[str, Any] = {name: [formula.text] for name, formula in formulas.items()}
    if table.coupling is not None:
        formulas["sub_system_coupling"] = polynomial(t, table.coupling * units.COUPLING)
        factor = formulas["sub_system_coupling"].text.replace("T/", "T[0]/")
        found["sub_system_coupling"] = [f"({factor})*(T[1]-T[0])", f"({factor})*(T[0]-T[1])"]
    errors = {name: formula.error for name, formula in formulas.items()}
    return found | {"density": table.density, "highest_electron_temperature": float(t[-1]), "relative_errors": errors}


def write_udkm1dsim(path: Path, table: ElectronTable, limits: tuple[str, ...] = ()) -> None:
    """Writes the properties of a layer of udkm1Dsim as JSON, atomically; see :func:`udkm1dsim_properties`.

    Args:
        path: path of the file.
        table: electrons at each tau_e.
        limits: sentences on the validity of the values.
    """
    head = {
        "units": {
            "heat_capacity": "J/(kg K)",
            "therm_cond": "W/(m K)",
            "sub_system_coupling": "W/m^3",
            "density": "kg/m^3",
            "highest_electron_temperature": "K",
        },
        "limits": list(limits),
    }
    write_text(path, json.dumps(udkm1dsim_properties(table) | head, indent=2, ensure_ascii=False) + "\n")


def ntmpy_electrons(
    table: ElectronTable, coupling_temperature: float
) -> tuple[Callable[[Any], Any], Callable[[Any], Any], float, float]:
    """Returns conductivity, heat capacity, density and coupling for ``addLayer`` of NTMpy.

    Conductivity (W/(m K)) and heat capacity (J/(kg K)) are functions of tau_e that interpolate linearly; they vanish at
    tau_e = 0. NTMpy has one coupling for all tau_e.

    Args:
        table: electrons at each tau_e, with coupling and conductivity.
        coupling_temperature: tau_e of the coupling, K.

    Raises:
        InputError: without coupling or conductivity, or for a tau_e outside of the table.
    """
    t = table.electron_temperature
    if table.coupling is None or table.conductivity is None:
        raise InputError("NTMpy: got no coupling or no conductivity, expected lambda<omega^2> and a conductivity law")
    if not t[0] <= coupling_temperature <= t[-1]:
        raise InputError(
            f"NTMpy: got a coupling at tau_e = {coupling_temperature:g} K, expected {t[0]:g} to {t[-1]:g} K"
        )
    start = np.append(0.0, t)
    kappa = np.append(0.0, table.conductivity * units.CONDUCTIVITY)
    heat = np.append(0.0, table.specific_heat)
    coupling = float(np.interp(coupling_temperature, t, table.coupling * units.COUPLING))
    return lambda T: np.interp(T, start, kappa), lambda T: np.interp(T, start, heat), table.density, coupling
