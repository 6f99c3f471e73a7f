"""Laws for the thermal conductivity of electrons in two-temperature models, with parameters of the material.

A model of the density of states gives no scattering rates, so that kappa_e needs a law and its parameters:

- linear: kappa_0 tau_e/tau_i, for scattering by phonons at tau_e far below the Fermi temperature; J. Hohlfeld et al.,
  Chem. Phys. 251, 237 (2000);
- drude: v_F^2 C_e / (3 (A tau_e^2 + B tau_i)), with the rates of electron-electron and electron-phonon collisions in
  the denominator; X. Y. Wang, D. M. Riffe, Y.-S. Lee, M. C. Downer, Phys. Rev. B 50, 8016 (1994);
- anisimov: C (x^2 + 0.16)^(5/4) (x^2 + 0.44) x / ((x^2 + 0.092)^(1/2) (x^2 + b y)), x = tau_e/T_F, y = tau_i/T_F, from
  low tau_e to the plasma; S. I. Anisimov, B. Rethfeld, Proc. SPIE 3093, 192 (1997).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from fermisea import units
from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True, kw_only=True)
class ConductivityLaw(ABC):
    """A law for kappa_e with the parameters of a material.

    Attributes:
        ion_temperature: tau_i, K.
    """

    name: ClassVar[str]
    formula: ClassVar[str]

    ion_temperature: float = 300.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(
                    f"conductivity law {self.name}: got {field.name} = {value:g}, expected a finite number above 0"
                )

    @abstractmethod
    def conductivity(self, electron_temperature: FloatArray, heat_capacity: FloatArray) -> FloatArray:
        """Returns kappa_e at each tau_e, (n,), eV/(ps K Angstrom); times ``units.CONDUCTIVITY`` in W/(m K).

        Args:
            electron_temperature: tau_e, (n,), K.
            heat_capacity: C_e per volume, (n,), eV/(K Angstrom^3).
        """


@dataclass(frozen=True, kw_only=True)
class LinearConductivity(ConductivityLaw):
    """kappa_0 tau_e/tau_i.

    Attributes:
        kappa_0: thermal conductivity at tau_e = tau_i, W/(m K).
    """

    name = "linear"
    formula = "kappa_0 tau_e/tau_i"

    kappa_0: float

    def conductivity(  # noqa: D102  # documented in the base class
        self,
        electron_temperature: FloatArray,
        heat_capacity: FloatArray,  # noqa: ARG002  # every law has the same arguments
    ) -> FloatArray:
        return self.kappa_0 / units.CONDUCTIVITY * electron_temperature / self.ion_temperature


@dataclass(frozen=True, kw_only=True)
class DrudeConductivity(ConductivityLaw):
    """v_F^2 C_e / (3 (A tau_e^2 + B tau_i)).

    Attributes:
        v_F: Fermi velocity, m/s.
        A: rate of electron-electron collisions over tau_e^2, 1/(s K^2).
        B: rate of electron-phonon collisions over tau_i, 1/(s K).
    """

    name = "drude"
    formula = "v_F^2 C_e / (3 (A tau_e^2 + B tau_i))"

    v_F: float  # noqa: N815  # physics symbols keep their case
    A: float
    B: float

    def conductivity(self, electron_temperature: FloatArray, heat_capacity: FloatArray) -> FloatArray:  # noqa: D102
        rate = self.A * electron_temperature**2 + self.B * self.ion_temperature
        return units.DIFFUSIVITY * self.v_F**2 / (3 * rate) * heat_capacity


@dataclass(frozen=True, kw_only=True)
class AnisimovConductivity(ConductivityLaw):
    """C (x^2 + 0.16)^(5/4) (x^2 + 0.44) x / ((x^2 + 0.092)^(1/2) (x^2 + b y)), x = tau_e/T_F, y = tau_i/T_F.

    Attributes:
        C: constant of the material, W/(m K).
        b: constant of the material, a number.
        T_F: Fermi temperature, K.
    """

    name = "anisimov"
    formula = "C (x^2 + 0.16)^(5/4) (x^2 + 0.44) x / ((x^2 + 0.092)^(1/2) (x^2 + b tau_i/T_F)), x = tau_e/T_F"

    C: float
    b: float
    T_F: float

    def conductivity(  # noqa: D102  # documented in the base class
        self,
        electron_temperature: FloatArray,
        heat_capacity: FloatArray,  # noqa: ARG002  # every law has the same arguments
    ) -> FloatArray:
        x, y = electron_temperature / self.T_F, self.ion_temperature / self.T_F
        above = (x**2 + 0.16) ** 1.25 * (x**2 + 0.44) * x
        return self.C / units.CONDUCTIVITY * above / (np.sqrt(x**2 + 0.092) * (x**2 + self.b * y))


LAWS: Mapping[str, type[ConductivityLaw]] = MappingProxyType(
    {law.name: law for law in (LinearConductivity, DrudeConductivity, AnisimovConductivity)}
)
"""All laws by name."""


def conductivity_law(name: str, parameters: Mapping[str, float], ion_temperature: float = 300.0) -> ConductivityLaw:
    """Returns a law with its parameters.

    Args:
        name: ``"linear"``, ``"drude"`` or ``"anisimov"``.
        parameters: parameters by name; see the classes of the laws.
        ion_temperature: tau_i, K.

    Raises:
        InputError: for an unknown name, missing or unknown parameters, or values that are not above 0.
    """
    if name not in LAWS:
        raise InputError(f"conductivity law: got {name!r}, expected one of {', '.join(LAWS)}")
    law = LAWS[name]
    expected = [field.name for field in fields(law) if field.name != "ion_temperature"]
    if set(parameters) != set(expected):
        raise InputError(
            f"conductivity law {name}, {law.formula}: got the parameters {', '.join(parameters) or 'none'}, expected "
            f"{', '.join(expected)}"
        )
    return law(**parameters, ion_temperature=ion_temperature)
