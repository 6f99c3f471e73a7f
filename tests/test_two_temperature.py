"""Two-temperature dynamics: heat balance, order of the integrator, restarts, refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCom

import fermisea
from fermisea import CouplingTable, InputError, LaserPulse, TwoTemperatureDynamics

SOMMERFELD = 1e-8
"""C_e / tau_e of the made-up electrons, eV/K^2 per atom."""

BINDING = 0.3
"""Change of C_e with the potential energy of the ions, 1/eV: strong, so that moving ions change tau_e."""


DEPTH, REACH = 5.0, 4.0
"""Energy, eV, and range, Angstrom, of the pair potential."""


def pair_potential(atoms: Atoms) -> tuple[float, np.ndarray]:
    apart = atoms.positions[:, None] - atoms.positions
    apart -= atoms.cell[0, 0] * np.round(apart / atoms.cell[0, 0])
    rest = np.maximum(1 - (apart**2).sum(axis=2) / REACH**2, 0) * (1 - np.eye(len(atoms)))
    return DEPTH * (rest**3).sum() / 2, 6 * DEPTH / REACH**2 * (rest[..., None] ** 2 * apart).sum(axis=1)


class MadeUp(Calculator):
    """F = E - gamma tau_e^2 / 2 with gamma = SOMMERFELD (N + BINDING E), where E is a pair potential of the ions.

    A pair at the distance r < REACH has the energy DEPTH (1 - r^2/REACH^2)^3; the cell is a cube wider than 2 REACH.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012  # as ASE declares it

    def __init__(self, electron_temperature: float) -> None:
        super().__init__(electron_temperature=electron_temperature)

    @property
    def electron_temperature(self) -> float:
        return self.parameters["electron_temperature"]

    @electron_temperature.setter
    def electron_temperature(self, value: float) -> None:
        if self.set(electron_temperature=value):
            self.reset()

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)) -> None:
        super().calculate(atoms, properties, system_changes)
        tau_e = self.electron_temperature
        energy, forces = pair_potential(self.atoms)
        gamma, square = SOMMERFELD * (len(self.atoms) + BINDING * energy), SOMMERFELD * tau_e**2
        free = energy - gamma * tau_e**2 / 2
        self.results = {
            "energy": free,
            "free_energy": free,
            "internal_energy": free + gamma * tau_e**2,
            "entropy_term": -gamma * tau_e**2,
            "heat_capacity": gamma * tau_e,
            "forces": forces * (1 - BINDING * square / 2),
        }


def crystal(electron_temperature: float = 300.0, ion_temperature: float = 600.0) -> Atoms:
    atoms = bulk("Al", "fcc", a=4.05, cubic=True).repeat(2)
    thermal = np.sqrt(ion_temperature * units.kB * atoms.get_masses())[:, None]
    momenta = thermal * np.random.default_rng(1).standard_normal((len(atoms), 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0) + 0.3)  # the centre of mass moves
    atoms.calc = MadeUp(electron_temperature)
    return atoms


def coupling(power: float = 5e17) -> float:
    return power / fermisea.units.COUPLING


PULSE = LaserPulse(0.3, 20.0, 40.0)


def conserved(timestep: float) -> np.ndarray:
    atoms = crystal()
    dynamics = TwoTemperatureDynamics(atoms, timestep * units.fs, coupling=coupling(), pulse=PULSE)
    found = []
    dynamics.attach(lambda: found.append(dynamics.conserved_energy))
    dynamics.run(round(160 / timestep))
    assert dynamics.absorbed / len(atoms) == pytest.approx(0.3, rel=1e-5)
    assert dynamics.electron_temperature > 5000
    return (np.array(found) - found[0]) / len(atoms)


def test_energy_minus_absorbed_energy_is_conserved_to_second_order_in_the_time_step():
    coarse, fine = (np.abs(conserved(step)).max() for step in (4.0, 2.0))
    assert fine < 1e-3 * 0.3
    assert 3.5 < coarse / fine < 4.5


def test_without_heat_moving_ions_change_tau_e_at_constant_entropy():
    atoms = crystal(8000.0)
    dynamics = TwoTemperatureDynamics(atoms, units.fs, coupling=0.0)
    temperatures, entropies = [], []

    def keep() -> None:
        atoms.get_potential_energy()
        temperatures.append(dynamics.electron_temperature)
        entropies.append(-atoms.calc.results["entropy_term"] / dynamics.electron_temperature)

    dynamics.attach(keep)
    dynamics.run(40)
    assert np.ptp(temperatures) > 10.0
    np.testing.assert_allclose(entropies, entropies[0], rtol=1e-10)


def test_the_way_back_is_the_way_there():
    atoms = crystal(8000.0)
    start = atoms.positions.copy()
    dynamics = TwoTemperatureDynamics(atoms, 2 * units.fs, coupling=0.0)
    dynamics.run(30)
    assert np.abs(atoms.positions - start).max() > 0.1
    atoms.set_momenta(-atoms.get_momenta())
    dynamics.run(30)
    np.testing.assert_allclose(atoms.positions, start, atol=1e-8)
    assert dynamics.electron_temperature == pytest.approx(8000.0, rel=1e-9)


@pytest.mark.parametrize("power", [1e16, 5e17])
def test_the_ions_take_the_power_of_the_coupling(power):
    atoms = crystal(5000.0)
    dynamics = TwoTemperatureDynamics(atoms, 0.1 * units.fs, coupling=coupling(power))
    difference = 5000.0 - dynamics.ion_temperature
    dynamics.run(1)
    joules = power * atoms.get_volume() * 1e-30 * difference * 1e-16
    assert dynamics.transferred == pytest.approx(joules / 1.602176634e-19, rel=1e-3)


def test_electrons_and_ions_end_at_one_temperature_that_the_heat_balance_gives():
    atoms = crystal()
    first = atoms.get_kinetic_energy(), pair_potential(atoms)[0]
    dynamics = TwoTemperatureDynamics(atoms, 2 * units.fs, coupling=coupling(2e19), pulse=PULSE)
    drift = atoms.get_momenta().sum(axis=0)
    dynamics.run(200)
    assert dynamics.electron_temperature == pytest.approx(dynamics.ion_temperature, rel=0.1)
    energy = pair_potential(atoms)[0]
    gamma, before = (SOMMERFELD * (len(atoms) + BINDING * e) for e in (energy, first[1]))
    cold = before * 300.0**2 / 2
    left = 0.3 * len(atoms) - (atoms.get_kinetic_energy() - first[0]) - (energy - first[1]) + cold
    assert dynamics.electron_temperature == pytest.approx(np.sqrt(2 * left / gamma), rel=0.01)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), drift, atol=1e-9)


def test_a_table_of_the_coupling_is_linear_between_its_points_and_constant_beyond():
    table = CouplingTable([300.0, 1000.0], [1.0, 2.0])
    assert [table(t) for t in (100.0, 650.0, 5000.0)] == [1.0, 1.5, 2.0]
    runs = []
    for given in (CouplingTable([300.0, 9000.0], [coupling()] * 2), coupling()):
        dynamics = TwoTemperatureDynamics(crystal(), units.fs, coupling=given, pulse=PULSE)
        dynamics.run(50)
        runs.append(dynamics.transferred)
    assert runs[0] == pytest.approx(runs[1], rel=1e-12)


def test_a_restored_run_equals_an_uninterrupted_one():
    def dynamics_of(atoms: Atoms) -> TwoTemperatureDynamics:
        return TwoTemperatureDynamics(atoms, 2 * units.fs, coupling=coupling(), pulse=PULSE)

    whole = dynamics_of(crystal())
    whole.run(40)
    first = dynamics_of(crystal())
    first.run(15)
    atoms = first.atoms.copy()
    atoms.calc = MadeUp(300.0)
    second = dynamics_of(atoms)
    second.restore(first.state())
    second.run(25)
    np.testing.assert_allclose(second.atoms.positions, whole.atoms.positions, atol=1e-10)
    assert second.state() == pytest.approx(whole.state(), rel=1e-10)


def test_a_pulse_has_its_energy_and_its_width():
    pulse = LaserPulse(0.4, 100.0, 250.0)
    assert pulse.absorbed(250.0) == pytest.approx(0.2)
    assert pulse.absorbed(1e4) == pytest.approx(0.4)
    power = [pulse.absorbed(t + 0.01) - pulse.absorbed(t - 0.01) for t in (250.0, 300.0)]
    assert power[1] / power[0] == pytest.approx(0.5, rel=1e-3)


def test_requests_without_meaning_are_refused():
    atoms = crystal()
    for invalid in (-1.0, float("nan")):
        with pytest.raises(InputError, match="coupling: got"):
            TwoTemperatureDynamics(atoms, units.fs, coupling=invalid)
        with pytest.raises(InputError, match="pulse: got an absorbed energy"):
            LaserPulse(invalid, 10.0, 0.0)
        with pytest.raises(InputError, match="expected a finite duration"):
            LaserPulse(0.1, invalid, 0.0)
    for columns in (([300.0, 200.0], [1.0, 1.0]), ([300.0], [1.0, 1.0]), ([300.0], [-1.0])):
        with pytest.raises(InputError, match="coupling: "):
            CouplingTable(*columns)
    atoms.set_constraint(FixCom())
    TwoTemperatureDynamics(atoms, units.fs, coupling=0.0)
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="got the constraints FixAtoms"):
        TwoTemperatureDynamics(atoms, units.fs, coupling=0.0)
    single = crystal()[:1]
    single.calc = MadeUp(300.0)
    with pytest.raises(InputError, match="got one atom"):
        TwoTemperatureDynamics(single, units.fs, coupling=0.0)
    atoms.calc = EMT()
    with pytest.raises(InputError, match="got the calculator EMT"):
        TwoTemperatureDynamics(atoms, units.fs, coupling=0.0)


def test_ions_at_rest_cannot_take_heat():
    atoms = crystal()
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    dynamics = TwoTemperatureDynamics(atoms, units.fs, coupling=coupling())
    with pytest.raises(InputError, match="give them velocities"):
        dynamics.run(1)


def test_the_shipped_model_conserves_energy_and_its_heat_capacity_gives_tau_e():
    atoms = crystal()
    atoms.calc = calculator = fermisea.Calculator("aluminium", 300.0, potential=True)
    pulse = LaserPulse(0.3, 10.0, 20.0)
    dynamics = TwoTemperatureDynamics(atoms, 2 * units.fs, coupling=coupling(), pulse=pulse)
    start, first = atoms.copy(), dynamics.conserved_energy
    changes = []
    dynamics.attach(lambda: changes.append(dynamics.conserved_energy - first))
    dynamics.run(25)
    assert dynamics.absorbed / len(atoms) == pytest.approx(0.3, rel=1e-3)
    assert np.abs(changes).max() < 1e-3 * dynamics.absorbed
    potential = calculator.model.potential()
    gained = [float(potential.predict(a, 300.0, derivatives=False).internal_energy) for a in (start, atoms)]
    left = dynamics.absorbed - (atoms.get_kinetic_energy() - start.get_kinetic_energy()) - (gained[1] - gained[0])
    temperatures = np.linspace(300.0, 9000.0, 200)
    heat = np.asarray(potential.predict(start, temperatures.tolist(), derivatives=False).heat_capacity)
    integral = np.concatenate([[0.0], np.cumsum(np.diff(temperatures) * (heat[1:] + heat[:-1]) / 2)])
    assert dynamics.electron_temperature == pytest.approx(np.interp(left, integral, temperatures), rel=0.01)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    import two_temperature  # noqa: PLC0415  # a script beside the package

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["two_temperature.py", "aluminium", *words])
        two_temperature.main()

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--timestep", "-1"], "--timestep: got -1, expected a number above 0 fs"),
        (["--time", "nan"], "--time: got nan"),
        (["--repeat", "0"], "--repeat: got 0"),
        (["--lambda-omega2", "0"], "--lambda-omega2: got 0"),
        (["--coupling", "-2"], "--coupling: got -2, expected a number of at least 0"),
    ],
)
def test_bad_options_of_the_example_are_refused(example, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        example(str(tmp_path / "out"), *options)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_example_writes_its_results_and_continues(example, tmp_path, capsys):
    words = ["--repeat", "2", "--equilibration", "0.01", "--duration", "5", "--timestep", "2"]
    for time in ("0.02", "0.04"):
        example(str(tmp_path), *words, "--time", time)
        summary = json.loads((tmp_path / "summary.json").read_text())
        printed = capsys.readouterr().out
        assert json.loads(printed[printed.index("{") :]) == summary
    assert summary["atoms"] == 32
    assert summary["absorbed_eV_per_atom"] == pytest.approx(0.3, rel=1e-3)
    assert summary["largest_change_of_conserved_sum_percent"] < 1
    lines = (tmp_path / "two_temperature.csv").read_text().splitlines()
    assert lines[0].startswith("time_fs,electron_temperature_K")
    assert float(lines[-1].split(",")[0]) == 40
    assert (tmp_path / "two_temperature.png").stat().st_size > 10_000
