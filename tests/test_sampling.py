from __future__ import annotations

import math

import ase.units
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms, MirrorForce

from fermisea.data.calculators import advice, suitable_calculators
from fermisea.data.sampling import find_calculator, sample
from fermisea.errors import InputError


class Springs(Calculator):
    """Each atom on a spring of its own: everything about the ensemble is known."""

    implemented_properties = ("energy", "forces")
    stiffness = 4.0

    def __init__(self, sites):
        super().__init__()
        self.sites = sites

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        away = atoms.positions - self.sites
        self.results = {"energy": 0.5 * self.stiffness * np.sum(away**2), "forces": -self.stiffness * away}


@pytest.fixture
def crystal():
    return bulk("Al", "fcc", a=4.05, cubic=True)


def test_springs_reach_temperature_and_equipartition(crystal):
    # <|r - r0|^2> = 3 kT / k for each degree of freedom; the fixed centre of mass takes one atom's part away.
    cell = crystal.repeat((2, 2, 1))
    result = sample(cell, 600.0, 1, calculator=Springs(cell.positions), thermalise=0.5, spacing=6.0, friction=20.0)
    expected = 3 * ase.units.kB * 600.0 / Springs.stiffness * (1 - 1 / len(cell))
    assert result.mean_temperature == pytest.approx(600.0, rel=0.08)
    assert result.mean_square_displacement == pytest.approx(expected, rel=0.08)


@pytest.mark.filterwarnings("ignore:.*correlation time of the potential energy")
def test_short_thermalisation_is_enough_in_a_crystal(crystal):
    # Velocities of 2 tau_i share their energy with the potential within a few vibrations, with hardly any friction.
    cell = crystal.repeat((2, 2, 2))
    result = sample(cell, 300.0, 1, thermalise=0.1, spacing=0.3, friction=0.01)
    assert result.mean_temperature == pytest.approx(300.0, rel=0.25)


@pytest.mark.filterwarnings("ignore:.*correlation time of the potential energy")
def test_same_seed_gives_the_same_structures(crystal):
    def run(seed, **options):
        return sample(crystal, 298.0, 2, thermalise=0.05, spacing=0.02, seed=seed, **options)

    first, again, other = run(3), run(3), run(4)
    for one, two in zip(first.frames, again.frames, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)
    assert np.abs(first.frames[0].positions - other.frames[0].positions).max() > 1e-3
    assert np.abs(first.frames[0].positions - first.frames[1].positions).max() > 1e-3


@pytest.mark.filterwarnings("ignore:.*correlation time of the potential energy")
def test_frames_are_plain_structures_with_their_ion_temperature(crystal):
    before = crystal.positions.copy()
    steps = []
    result = sample(
        crystal, 100.0, 3, thermalise=0.02, spacing=0.01, progress=lambda done, total: steps.append((done, total))
    )
    assert len(result.frames) == 3
    for frame in result.frames:
        assert frame.info == {"ion_temperature": 100.0}
        assert frame.calc is None
        assert not frame.constraints
        np.testing.assert_allclose(frame.positions.mean(0), crystal.positions.mean(0), atol=1e-9)
    np.testing.assert_array_equal(crystal.positions, before)
    assert steps[-1] == (25, 25)


def test_structures_are_spaced_beyond_the_memory_of_the_potential_energy(crystal):
    cell, told = crystal.repeat((2, 2, 1)), []
    result = sample(
        cell, 300.0, 6, thermalise=1.0, friction=20.0, progress=lambda done, total: told.append((done, total))
    )
    assert 2 * 0.002 <= result.correlation_time < result.spacing
    assert len(result.frames) == len(result.temperatures) == 6
    assert told[-1] == (500 + 6 * round(result.spacing / 0.002),) * 2
    with pytest.warns(
        UserWarning, match=r"structures are 0\.00 ps apart, but the correlation time of the potential energy is 0\.\d"
    ):
        sample(cell, 300.0, 50, thermalise=0.2, spacing=0.002, friction=20.0)
    with pytest.raises(InputError, match=r"thermalise: got 0\.1 ps, expected at least 0\.2 ps; or give the spacing"):
        sample(cell, 300.0, 2, thermalise=0.1)


@pytest.mark.parametrize(
    ("temperature", "calculator", "count"),
    [(100.0, "springs", 32), (298.0, "springs", 32), pytest.param(933.0, "emt", 12, marks=pytest.mark.slow)],
)
def test_kept_structures_have_the_temperature_that_was_asked_for(crystal, temperature, calculator, count):
    """The mean over N structures of 256 atoms scatters by 0.05/sqrt(N) of itself."""
    cell = crystal.repeat((4, 4, 4))
    options = {"thermalise": 0.5, "spacing": 0.1, "friction": 20.0, "timestep": 4.0, "seed": 1}
    options["calculator"] = Springs(cell.positions) if calculator == "springs" else calculator
    result = sample(cell, temperature, count, **options)
    assert np.mean(result.temperatures) == pytest.approx(temperature, rel=0.03)
    again = sample(cell, temperature, 1, **options)
    np.testing.assert_array_equal(again.frames[0].positions, result.frames[0].positions)


def test_fixed_atoms_stay_and_do_not_count(crystal):
    cell = crystal.repeat((2, 2, 1))
    cell.set_constraint(FixAtoms(range(8)))
    result = sample(cell, 400.0, 2, calculator=Springs(cell.positions), thermalise=0.5, spacing=1.0, friction=20.0)
    assert result.mean_temperature == pytest.approx(400.0, rel=0.15)
    for frame in result.frames:
        np.testing.assert_array_equal(frame.positions[:8], cell.positions[:8])
        assert np.abs(frame.positions[8:] - cell.positions[8:]).max() > 0.01
    cell.set_constraint(FixAtoms(range(16)))
    with pytest.raises(InputError, match="no atom can move"):
        sample(cell, 400.0, 1, calculator=Springs(cell.positions))
    cell.set_constraint(MirrorForce(0, 1))
    with pytest.raises(InputError, match="got the constraints MirrorForce, expected ones whose degrees of freedom"):
        sample(cell, 400.0, 1, calculator=Springs(cell.positions))


def test_a_structure_far_from_its_minimum_is_refused(crystal):
    """Its potential energy heats the atoms, and hardly any friction cools them."""
    cell = crystal.repeat((2, 2, 1))
    sites = cell.positions.copy()
    cell.positions += np.random.default_rng(0).normal(scale=0.5, size=sites.shape)
    with pytest.raises(InputError, match=r"got 300 K, but the mean kinetic temperature is \d{4} K for 45 degrees of"):
        sample(cell, 300.0, 1, calculator=Springs(sites), thermalise=0.2, spacing=0.5, friction=0.01)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ion_temperature": 0.0}, "ion temperature: got 0.0, expected a finite value above 0"),
        ({"ion_temperature": math.nan}, "ion temperature: got nan"),
        ({"snapshots": 0}, "snapshots"),
        ({"timestep": -1.0}, "timestep: got -1.0"),
        ({"calculator": "nonsense"}, "calculator nonsense: cannot be created"),
    ],
)
def test_values_that_cannot_be_used(crystal, values, message):
    arguments = {"ion_temperature": 300.0, "snapshots": 1} | values
    with pytest.raises(InputError, match=message):
        sample(crystal, **arguments)


def test_an_ionic_temperature_in_electronvolt_is_questioned(crystal):
    with pytest.warns(UserWarning, match=r"unit of tau_i: got 0.0259 K, .* if the value is in eV, give 301 K"):
        sample(crystal, 0.0259, 1, thermalise=0.02, spacing=0.02)


def test_calculator_that_does_not_know_the_element():
    ways = r"a fermisea model file with an anchor, or FILE.py:FUNCTION, where FUNCTION\(\) returns an ASE calculator"
    with pytest.raises(InputError, match=rf"calculator emt: fails for Si2 \(.*Si.*\); choose another: use .*{ways}"):
        sample(bulk("Si"), 300.0, 1)


def test_emt_is_no_calculator_of_light_elements():
    with pytest.warns(UserWarning, match=r"calculator emt: the parameters of C in ASE's EMT are examples"):
        sample(bulk("C"), 100.0, 1, thermalise=0.01, spacing=0.002, timestep=1.0)


def test_suitable_calculators_are_the_installed_ones(monkeypatch, tmp_path):
    assert suitable_calculators(["Al", "Cu"])[0] == "emt"
    assert "emt" not in suitable_calculators(["Al", "C"])
    (tmp_path / "chgnet").mkdir()
    (tmp_path / "chgnet" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert "chgnet.model.dynamics:CHGNetCalculator" in suitable_calculators(["Si"])
    assert "use chgnet.model.dynamics:CHGNetCalculator" in advice(["Si"])


def test_run_that_blows_up_is_an_error(crystal):
    class Wild(Springs):
        stiffness = -1e6

    with (
        np.errstate(all="ignore"),
        pytest.raises(InputError, match="positions are not finite after a step; choose a shorter time step"),
    ):
        sample(crystal, 900.0, 1, calculator=Wild(crystal.positions), timestep=20.0, thermalise=40.0)


def test_calculators_by_name_and_path(tmp_path):
    assert type(find_calculator("emt")).__name__ == "EMT"
    assert type(find_calculator("ase.calculators.emt:EMT")).__name__ == "EMT"
    script = tmp_path / "mine.py"
    script.write_text("from ase.calculators.emt import EMT\n\n\ndef make():\n    return EMT()\n")
    assert type(find_calculator(f"{script}:make")).__name__ == "EMT"
    with pytest.raises(InputError, match="cannot be created"):
        find_calculator(f"{script}:absent")
