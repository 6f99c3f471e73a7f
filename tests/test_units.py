"""Constants against CODATA 2018 (physics.nist.gov/cuu/Constants, values typed from the tables), and k_B tau_e."""

from __future__ import annotations

import math

import pytest

from fermisea import units
from fermisea.errors import FermiseaError, FileFormatError, InputError, WindowError

ALPHA, ELECTRON_MASS, HBAR_C = 7.2973525693e-3, 510998.95000, 1973.269804  # 1, eV, eV Angstrom


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        (units.HARTREE, ALPHA**2 * ELECTRON_MASS),
        (units.RYDBERG, 13.605693122994),
        (units.BOHR, HBAR_C / (ALPHA * ELECTRON_MASS)),
        (units.COULOMB, ALPHA * HBAR_C),
        (units.KINETIC, HBAR_C**2 / (2 * ELECTRON_MASS)),
        (units.BOLTZMANN, 2.083661912e10 * 4.135667696e-15),  # k_B/h, Hz/K; h, eV s
    ],
    ids=["hartree", "rydberg", "bohr", "coulomb", "kinetic", "boltzmann"],
)
def test_constants_follow_from_one_another(constant, value):
    assert constant == pytest.approx(value, rel=1e-9)


def test_thermal_energy_is_proportional_to_temperature():
    assert units.thermal_energy(11604.51812) == pytest.approx(1.0, rel=1e-9)
    assert units.thermal_energy(2000) == 2 * units.thermal_energy(1000)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_temperatures_that_are_none_are_refused_with_the_value_and_the_fix(temperature):
    advice = (
        "; for the ground state use a small value" if temperature <= 0 else "$"
    )  # a value that is no number was not meant as zero
    with pytest.raises(InputError, match=rf"electron temperature: got {temperature} K.*above 0 K{advice}"):
        units.thermal_energy(temperature)


def test_input_errors_are_value_errors_and_every_error_has_one_base():
    for kind in (InputError, FileFormatError, WindowError):
        assert issubclass(kind, ValueError)
        assert issubclass(kind, FermiseaError)
