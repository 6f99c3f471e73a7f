"""The registry of observables: name, symbol, unit, shape and getter of each.

Results, data sets, tables, CSV heads, JSON, openPMD, figures and the terminal read units and symbols here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from types import MappingProxyType
from typing import Any

FORMS = ("second_order", "harris_foulkes", "kohn_sham", "naive")
"""Forms of the total free energy; see :mod:`fermisea.physics.free_energy`."""


@dataclass(frozen=True)
class Observable:
    """A quantity that a prediction or a snapshot gives at each electronic temperature.

    Attributes:
        name: name in code, files and JSON.
        symbol: symbol in plain text, for tables and the terminal.
        math_symbol: symbol in the mathematical notation of matplotlib, for figures.
        unit: unit of the value for the whole cell, for example ``"eV/K"``; ``"1"`` for a number.
        description: noun phrase for documentation and the attributes of data sets.
        getter: function from a ``ThermalObservables`` to the value; for forces and stress from a ``Mechanics``, for the
            density of states from a ``DensityOfStates``. NaN or an empty array where there is no value.
        shape: names of the dimensions of the value at one electronic temperature.
        extensive: whether the value is proportional to the number of atoms, so that it can be shown per atom.
        anchored: whether the value contains the total free energy, which an anchor shifts.
        spread: whether a standard deviation is reported.
        from_potential: whether an interatomic potential replaces the value of the LDOS.
        written: whether rows of results hold the value; the others follow from those rows.
    """

    name: str
    symbol: str
    math_symbol: str
    unit: str
    description: str
    getter: Callable[[Any], Any] = field(repr=False)
    shape: tuple[str, ...] = ()
    extensive: bool = True
    anchored: bool = False
    spread: bool = False
    from_potential: bool = False
    written: bool = True

    def unit_of(self, *, per_atom: bool = False) -> str:
        """Returns the unit, of the value per atom if ``per_atom`` is set and the observable is extensive."""
        return per_atom_unit(self.unit) if per_atom and self.extensive else self.unit

    def head(self, *, per_atom: bool = False) -> str:
        """Returns the head of a column of a file, such as ``"free_energy (eV)"``."""
        return with_unit(self.name, self.unit_of(per_atom=per_atom))

    def label(self, *, per_atom: bool = False) -> str:
        """Returns the head of a column of a printed table, such as ``"F (eV/atom)"``."""
        return with_unit(self.symbol, self.unit_of(per_atom=per_atom))

    def axis_label(self, *, per_atom: bool = False) -> str:
        """Returns the label of an axis, such as ``"$F$ (eV/atom)"``."""
        return with_unit(self.math_symbol, self.unit_of(per_atom=per_atom))


def per_atom_unit(unit: str) -> str:
    """Returns the unit of a quantity divided by the number of atoms: eV/atom from eV, eV/(K atom) from eV/K."""
    numerator, slash, denominator = unit.partition("/")
    return f"{numerator}/({denominator} atom)" if slash else f"{unit}/atom"


def with_unit(title: str, unit: str) -> str:
    """Returns a title with its unit in brackets; a plain number has none."""
    return title if unit in ("", "1") else f"{title} ({unit})"


def milli(unit: str) -> tuple[float, str]:
    """Returns factor and unit that turn eV into meV, eV/atom into meV/atom; 1 and the same unit for others."""
    return (1000.0, f"m{unit}") if unit.startswith("eV") else (1.0, unit)


_FORM_NAMES = ("second-order", "Harris-Foulkes", "Kohn-Sham", "naive")


def _form(form: str, title: str) -> Observable:
    """Returns the observable of one form of the free energy."""
    getter = lambda result: result.free_energies.get(form, math.nan)  # noqa: E731
    description = f"total free energy in the {title} form"
    return Observable(f"free_energy_{form}", f"F, {title}", f"$F$, {title}", "eV", description, getter, anchored=True)


_ALL = (
    Observable(
        "electron_temperature",
        "tau_e",
        r"$\tau_e$",
        "K",
        "temperature of the Fermi-Dirac occupation",
        attrgetter("electron_temperature"),
        extensive=False,
    ),
    Observable(
        "free_energy",
        "F",
        "$F$",
        "eV",
        "total Mermin free energy: of the potential, anchored, or of the LDOS alone",
        attrgetter("free_energy"),
        anchored=True,
        spread=True,
        from_potential=True,
    ),
    Observable(
        "band_energy", "E_b", "$E_b$", "eV", "band energy, integral of f eps D", attrgetter("band_energy"), spread=True
    ),
    Observable(
        "entropy",
        "S",
        "$S$",
        "eV/K",
        "electronic entropy, -dF/dtau_e; of the LDOS k_B times the integral of sigma D; positive",
        attrgetter("entropy"),
        spread=True,
        from_potential=True,
    ),
    Observable(
        "entropy_term",
        "-TS",
        r"$-\tau_e S$",
        "eV",
        "entropy term of the free energy, -tau_e S; negative",
        attrgetter("entropy_term"),
        written=False,
    ),
    Observable(
        "fermi_level",
        "mu",
        r"$\mu$",
        "eV",
        "Fermi level (chemical potential of the electrons), fixed by N at tau_e",
        attrgetter("fermi_level"),
        extensive=False,
        spread=True,
    ),
    Observable(
        "heat_capacity",
        "C_e",
        "$C_e$",
        "eV/K",
        "electronic heat capacity, tau_e dS/dtau_e at fixed ions and volume; of the LDOS at fixed D",
        attrgetter("heat_capacity"),
        spread=True,
        from_potential=True,
    ),
    Observable("electrons", "N", "$N$", "1", "number of valence electrons in the cell", attrgetter("electrons")),
    Observable(
        "internal_energy",
        "U",
        "$U$",
        "eV",
        "internal energy, F + tau_e S",
        lambda result: result.internal_energy(),
        anchored=True,
        spread=True,
        from_potential=True,
    ),
    Observable(
        "transfer_error",
        "transfer error",
        "transfer error",
        "eV",
        "estimated error of F(tau_e) - F(tau_ref), half the difference of the Kohn-Sham and Harris-Foulkes forms",
        attrgetter("transfer_error"),
    ),
    Observable(
        "tail_electrons",
        "tail electrons",
        r"$N_{\mathrm{tail}}$",
        "1",
        "number of electrons above the energy window, as free electrons",
        attrgetter("tail_electrons"),
    ),
    Observable(
        "tail_error",
        "tail error",
        "tail error",
        "eV",
        "estimated error of F of the LDOS from the electrons above the energy window",
        attrgetter("tail_error"),
    ),
    Observable(
        "blend_error",
        "blend error",
        "blend error",
        "eV",
        "estimated error of F from the difference between the results of two tau_ref",
        attrgetter("blend_error"),
    ),
    Observable(
        "ldos_free_energy",
        "F from the LDOS",
        r"$F_{\mathrm{LDOS}}$",
        "eV",
        "total free energy of the LDOS alone, without an anchor",
        attrgetter("ldos_free_energy"),
    ),
    Observable(
        "anchored_free_energy",
        "anchored F",
        r"$F_{\mathrm{anchored}}$",
        "eV",
        "total free energy of the anchor at tau_ref plus F(tau_e) - F(tau_ref) of the LDOS",
        attrgetter("anchored_free_energy"),
    ),
    Observable(
        "potential_free_energy",
        "F of the potential",
        r"$F_{\mathrm{potential}}$",
        "eV",
        "total free energy of the interatomic potential at tau_e",
        attrgetter("potential_free_energy"),
    ),
    Observable(
        "ldos_entropy",
        "S of the LDOS",
        r"$S_{\mathrm{LDOS}}$",
        "eV/K",
        "electronic entropy of the states at fixed D, k_B times the integral of sigma D, where S contains more",
        lambda result: result.ldos_entropy if result.uses_potential or result.further_entropy else math.nan,
    ),
    Observable(
        "ldos_heat_capacity",
        "C_e of the LDOS",
        r"$C_{e,\mathrm{LDOS}}$",
        "eV/K",
        "electronic heat capacity of the states at fixed D, where C_e contains more",
        lambda result: result.ldos_heat_capacity if result.uses_potential or result.further_entropy else math.nan,
    ),
    Observable(
        "free_energy_change",
        "F - F(tau_ref)",
        r"$F(\tau_e) - F(\tau_{\mathrm{ref}})$",
        "eV",
        "change of the total free energy of the LDOS from tau_ref to tau_e",
        attrgetter("free_energy_change"),
        spread=True,
        written=False,
    ),
    *map(_form, FORMS, _FORM_NAMES),
    Observable(
        "density",
        "n",
        "$n$",
        "1/Angstrom^3",
        "valence electron density, the integral of f d over eps",
        attrgetter("density"),
        shape=("x", "y", "z"),
        extensive=False,
        spread=True,
    ),
    Observable(
        "dos",
        "D",
        r"$D(\varepsilon)$",
        "1/eV",
        "density of states, cell integral of d; both spins",
        attrgetter("dos"),
        ("energy",),
        spread=True,
    ),
    Observable(
        "forces",
        "forces",
        "forces",
        "eV/Angstrom",
        "forces, -dF/dr at tau_e",
        attrgetter("forces"),
        shape=("atom", "axis"),
        extensive=False,
        anchored=True,
    ),
    Observable(
        "stress",
        "stress",
        "stress",
        "eV/Angstrom^3",
        "stress, (dF/dstrain)/volume; positive in a cell under tension",
        attrgetter("stress"),
        shape=("axis", "other_axis"),
        extensive=False,
        anchored=True,
    ),
)

OBSERVABLES = MappingProxyType({observable.name: observable for observable in _ALL})
"""All observables by name, in the order of tables."""

SCALARS = tuple(observable for observable in _ALL if not observable.shape)
"""Observables that are one number at each electronic temperature."""

SHORT_CUTS = MappingProxyType(
    {
        "dos_grid_error": "change of E_b - TS by a separate grid for the density of states",
        "precision_error_band_energy": "change of E_b by bfloat16",
        "precision_error_band_free_energy": "change of E_b - TS by bfloat16",
    }
)
"""Estimated errors of short cuts for the cell at each tau_e, by name, with their descriptions."""

SHORT_CUT_UNIT = "eV"
"""Unit of the errors of short cuts."""
