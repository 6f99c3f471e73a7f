"""An energy axis that follows the mean density of electrons: in data, training, predictions, forces and files."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

from fermisea import Dataset, EnergyGrid, InputError, Snapshot, TrainingConfig, evaluate, load_model, train
from fermisea.data.energy_shift import axis_of, common_grid, on_axis, shifted
from fermisea.physics.energy_axis import EnergyAxis
from synthetic import ENERGIES, made_up_snapshot
from test_forces import SHAPE, alloy, check, model_of

AXIS = EnergyAxis(-3.0, 20.0)
CONFIG = TrainingConfig(hidden=(8,), epochs=1, order=2, cutoff=4.0, anchor_cutoff=4.0, anchor_order=2, ensemble=2)


def at_scale(seed: int, scale: float) -> Snapshot:
    """A made-up snapshot in another volume: its LDOS moves in energy like the bands of free electrons."""
    small = made_up_snapshot(seed)
    atoms = small.atoms.copy()
    atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
    grid = dataclasses.replace(small.grid, cell=atoms.cell.array)
    moved = ENERGIES.energies - 6.0 * (scale**-2 - 1)
    ldos = np.stack([np.interp(moved, ENERGIES.energies, d) for d in small.ldos.reshape(-1, ENERGIES.size)]) / scale**3
    values = {
        name: getattr(small, name)
        for name in ("energy_grid", "electron_temperature", "ion_temperature", "broadening", "ions", "functional")
    }
    draft = Snapshot(
        atoms=atoms,
        grid=grid,
        ldos=ldos.reshape(small.ldos.shape).astype(np.float32),
        density=small.density / scale**3,
        reference=small.reference,
        provenance=small.provenance,
        **values,
    )
    at = draft.observables(draft.electron_temperature)[0]
    reference = dataclasses.replace(small.reference, free_energy=at.free_energy, fermi_level=at.fermi_level)
    return Snapshot(
        atoms=atoms,
        grid=grid,
        ldos=draft.ldos,
        density=at.density,
        reference=reference,
        provenance=small.provenance,
        **values,
    )


@pytest.fixture(scope="module")
def data():
    return Dataset(tuple(at_scale(seed, scale) for seed, scale in enumerate((0.97, 0.99, 1.0, 1.01, 1.03))))


@pytest.fixture(scope="module")
def model(data):
    return train(data, dataclasses.replace(CONFIG, validation_fraction=0.2))


def test_the_axis_follows_the_levels():
    electrons, volumes = [12.0, 12.0, 24.0], np.array([60.0, 66.0, 140.0])
    levels = [AXIS.reference(n, v) for n, v in zip(electrons, volumes, strict=True)]
    found = EnergyAxis.of(levels, electrons, volumes)
    assert (found.offset, found.slope) == pytest.approx((AXIS.offset, AXIS.slope), rel=1e-9)
    assert EnergyAxis.of(levels[:2], electrons[:2], [66.0, 66.3]) is None
    step = 1e-4
    up, down = (AXIS.reference(12.0, 60.0 * np.exp(sign * step)) for sign in (1, -1))
    assert AXIS.strain_derivative(12.0, 60.0) == pytest.approx((up - down) / (2 * step), rel=1e-7)
    with pytest.raises(InputError, match="energy axis: got nan eV"):
        EnergyAxis(float("nan"), 1.0)


@pytest.mark.parametrize("zero", [1.0, 0.3, -0.77])
def test_a_shift_of_the_energies_changes_no_observable_but_the_fermi_level(zero):
    """A shift by two spacings is exact; other shifts have the error of the spline, with a spacing of one deviation."""
    snapshot = made_up_snapshot(3)
    other = shifted(snapshot, zero, common_grid(snapshot.energy_grid, [zero, 1.0]))
    temperatures = [1000.0, 6000.0]
    tolerance = 1e-6 if zero == 1.0 else 3e-3
    for one, two in zip(snapshot.observables(temperatures), other.observables(temperatures), strict=True):
        assert two.fermi_level == pytest.approx(one.fermi_level - zero, abs=tolerance)
        assert two.entropy == pytest.approx(one.entropy, rel=10 * tolerance)
        np.testing.assert_allclose(two.density, one.density, rtol=10 * tolerance)
        assert two.free_energy_change == pytest.approx(one.free_energy_change, abs=4 * tolerance)
    part = np.array([5, 0, 70])
    np.testing.assert_allclose(other.read_ldos(part), other.ldos.reshape(-1, other.energies.size)[part], rtol=1e-6)


def test_data_keep_their_energies_and_share_a_grid(data):
    axis = axis_of(data)
    moved = on_axis(data, axis)
    levels = [snapshot.reference.fermi_level for snapshot in data]
    assert np.ptp([snapshot.reference.fermi_level for snapshot in moved]) < 0.3 * np.ptp(levels)
    zeros = [axis.reference(s.electrons, s.grid.volume) for s in data]
    assert moved.energy_grid.start + max(zeros) == pytest.approx(data.energy_grid.start)
    assert all(zero + moved.energy_grid.stop <= data.energy_grid.stop + 1e-9 for zero in zeros)
    assert [s.reference.fermi_level for s in data] == levels
    assert axis_of(Dataset((data[0], data[0]))) is None
    sharp = [copy.copy(snapshot) for snapshot in data]
    for snapshot in sharp:
        snapshot.__dict__["broadening"] = dataclasses.replace(snapshot.broadening, standard_deviation=0.0)
    assert axis_of(Dataset(tuple(sharp))) is None


@pytest.mark.parametrize("temperature", [1000.0, 6000.0])
def test_forces_and_stress_are_derivatives(temperature):
    model = dataclasses.replace(model_of("power"), axis=AXIS)
    check(model, alloy(), [(1, 2)], [(0, 0), (1, 2)], electron_temperature=temperature, anchor=False)
    check(model, alloy(), [(1, 2)], [(2, 2)], electron_temperature=temperature, anchor=True)


def test_predictions_are_absolute():
    plain, atoms = model_of("power"), alloy()
    moved = dataclasses.replace(plain, axis=AXIS)
    energies = moved.absolute_energies(atoms)
    zero = energies.start - plain.energy_grid.start
    electrons = sum(plain.ions[symbol].valence for symbol in atoms.symbols)
    assert zero == pytest.approx(AXIS.reference(electrons, atoms.get_volume()), rel=1e-12)
    one, two = (m.predict(atoms, [1000.0, 5000.0], SHAPE, anchor=False) for m in (plain, moved))
    np.testing.assert_allclose(two.energies, energies.energies, rtol=1e-12)
    np.testing.assert_allclose(two.fermi_level, one.fermi_level + zero, atol=1e-8)
    np.testing.assert_allclose(two.free_energy, one.free_energy + electrons * zero, atol=1e-6)
    np.testing.assert_allclose(two.density, one.density, atol=1e-8)
    np.testing.assert_allclose(two.heat_capacity, one.heat_capacity, rtol=1e-6)


def test_training_on_several_volumes_has_an_axis(model, data, tmp_path):
    assert model.axis == axis_of(data)
    model.save(tmp_path / "al.safetensors")
    loaded = load_model(tmp_path / "al.safetensors")
    assert loaded.axis == model.axis
    assert "from a zero that depends on the mean density of electrons" in repr(loaded)
    one, two = (m.predict(data[4].atoms, 2000.0) for m in (model, loaded))
    assert one.free_energy == two.free_energy
    level = data[4].observables(2000.0)[0].fermi_level
    assert one.fermi_level == pytest.approx(level, abs=0.5)
    assert train(data, dataclasses.replace(CONFIG, energy_axis="absolute")).axis is None
    assert train(data[2:3], dataclasses.replace(CONFIG, validation_fraction=0.0)).axis is None
    with pytest.raises(InputError, match="energy_axis: got 'mu'"):
        dataclasses.replace(CONFIG, energy_axis="mu")


def test_an_evaluation_compares_at_equal_energies(model, data):
    """The errors of the DOS by hand, on the energies of the model as far as the data reach."""
    rows = evaluate(model, data, [1000.0])
    assert all(row["ldos_error_percent"] < 100 for row in rows)
    snapshot = data[1]
    zero = model.axis.reference(snapshot.electrons, snapshot.grid.volume)
    size = int((snapshot.energy_grid.stop - zero - model.energy_grid.start) / 0.5 + 1e-9) + 1
    grid = EnergyGrid(model.energy_grid.start, 0.5, min(size, model.energy_grid.size))
    true = shifted(snapshot, zero, grid).dos
    found = model.predict(snapshot.atoms, 1000.0, snapshot.grid).dos[: grid.size]
    expected = 100 * np.abs(found - true).mean() / np.abs(true).mean()
    assert rows[1]["dos_error_percent"] == pytest.approx(expected, rel=1e-5)
    other = dataclasses.replace(model, energy_grid=dataclasses.replace(model.energy_grid, spacing=0.4))
    with pytest.raises(InputError, match=r"its energy spacing is 0\.5 eV, the model has 0\.4 eV"):
        evaluate(other, data, [1000.0])
