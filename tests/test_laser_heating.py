"""The laser example at constant pressure: conservation, resuming, refused requests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from rich.progress import Progress

from fermisea.data.dataset import Dataset
from fermisea.model.loading import load_model
from fermisea.training import TrainingConfig, train
from synthetic import made_up_snapshot

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def example():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import laser_heating  # noqa: PLC0415  # a script beside the package
    finally:
        sys.path.remove(str(EXAMPLES))
    return laser_heating


def crystal(example, lattice_constant: float = 4.0) -> Atoms:
    atoms = example.crystal_of((2, 2, 2), flexible=True)
    atoms.set_cell(2 * lattice_constant * np.eye(3), scale_atoms=True)
    atoms.calc = EMT()
    return atoms


def frames(example, path: Path, steps: int, pressure: float, *, thermostat: bool) -> list[Atoms]:
    atoms = example.start_of(path, crystal(example))
    atoms.calc = EMT()
    with Progress(disable=True) as progress:
        example.run(
            atoms,
            example.constant_pressure(atoms, pressure, 298.0, thermostat=thermostat),
            path,
            steps,
            progress,
        )
    return example.frames_of(path)


def test_energy_with_pressure_and_barostat_is_conserved(example, tmp_path):
    path = tmp_path / "md.traj"
    found = frames(example, path, 100, 5.0, thermostat=False)
    columns = example.observables(path, 8)
    assert np.isfinite(columns["conserved_eV_per_atom"]).all()
    assert np.ptp(columns["conserved_eV_per_atom"]) < 0.01 * np.ptp(columns["free_energy_eV_per_atom"])
    enthalpy = [f.get_total_energy() + 5.0 * units.GPa * f.get_volume() for f in found]
    assert np.ptp(columns["conserved_eV_per_atom"]) < 0.05 * np.ptp(enthalpy) / 32  # the cell has kinetic energy too
    np.testing.assert_allclose(columns["lattice_constant_A"] ** 3, 4 * columns["volume_A3_per_atom"])
    assert np.ptp(columns["lattice_constant_A"]) > 0.01


def test_the_cell_grows_under_a_lower_pressure_and_shrinks_under_a_higher_one(example, tmp_path):
    for pressure, sign in ((-5.0, 1), (60.0, -1)):
        path = tmp_path / f"{sign}.traj"
        frames(example, path, 10, pressure, thermostat=False)
        columns = example.observables(path, 8)
        assert sign * (columns["pressure_GPa"][0] - pressure) > 0
        assert sign * np.diff(columns["lattice_constant_A"]).min() > 0
        assert sign * np.diff(columns["lattice_constant_A"]).max() > 0


def test_a_volume_beyond_the_training_structures_stops_the_run(example, tmp_path):
    atoms = crystal(example)
    dynamics = example.constant_pressure(atoms, -5.0, 298.0, thermostat=False)
    start = atoms.get_volume() / len(atoms)
    with Progress(disable=True) as progress, pytest.raises(SystemExit, match="the training structures have 15"):
        example.run(atoms, dynamics, tmp_path / "md.traj", 200, progress, (15.9, start + 0.3))
    assert 1 < len(example.frames_of(tmp_path / "md.traj")) < 20


def test_without_thermostat_the_bath_of_the_ions_holds_no_energy(example, tmp_path):
    bath = {}
    for thermostat in (False, True):
        found = frames(example, tmp_path / f"{thermostat}.traj", 10, 0.0, thermostat=thermostat)
        bath[thermostat] = np.abs(found[-1].info["dynamics"]["thermostat"][0]).max()
    assert bath[False] == 0.0
    assert bath[True] > 0.0


@pytest.mark.parametrize("thermostat", [False, True])
def test_a_resumed_trajectory_equals_an_uninterrupted_one(example, tmp_path, thermostat):
    whole = frames(example, tmp_path / "whole.traj", 40, 1.0, thermostat=thermostat)
    for steps in (15, 40):
        parts = frames(example, tmp_path / "parts.traj", steps, 1.0, thermostat=thermostat)
    assert len(whole) == len(parts) == 9
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.cell.array, other.cell.array, rtol=1e-11)
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-9)
        np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=1e-8)
        energies = [atoms.info["dynamics"]["conserved_energy"] for atoms in (one, other)]
        assert energies[0] == pytest.approx(energies[1], abs=1e-9)


@pytest.mark.parametrize("text", ["nan", "inf", "1e9", "-1e5", "ambient"])
def test_a_pressure_that_is_no_number_of_gpa_is_refused(example, text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a pressure in GPa"):
        example.pressure_of(text)
    assert example.pressure_of("0.0001") == 0.0001


def test_a_model_that_does_not_know_the_pressure_is_refused(example):
    config = TrainingConfig(order=2, cutoff=4.0, validation_fraction=0.0, hidden=(8,), epochs=1, anchor_order=1)
    few = train(Dataset(tuple(made_up_snapshot(seed) for seed in range(2))), config)
    assert "several volumes" in example.obstacle(few, 1000.0)
    assert example.obstacle(load_model("aluminium"), 10_000.0) is None


def test_other_settings_in_the_same_folder_are_refused(example, tmp_path):
    path = tmp_path / "settings.json"
    assert example.keep_settings(path, {"model": "aluminium", "pressure": 0.0}) is None
    assert example.keep_settings(path, {"model": "aluminium", "pressure": 0.0}) is None
    assert "pressure = None" in example.keep_settings(path, {"model": "aluminium", "pressure": None})


def test_the_crystal_of_the_example_is_at_rest(example):
    atoms = example.crystal_of((1, 1, 2), flexible=True)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)
    assert atoms.get_volume() == pytest.approx(2 * bulk("Al", a=4.05, cubic=True).get_volume())
    assert not atoms.constraints
