"""Regular models: descriptors at the atoms, sums of atomic energies, their forces and stress."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from fermisea.data.dataset import Dataset
from fermisea.descriptors import Bispectrum, PowerSpectrum
from fermisea.descriptors.sites import Sites
from fermisea.errors import InputError
from fermisea.physics.ions import Ion
from fermisea.potential import RegularModel, fit_correction, fit_regular
from synthetic import made_up_snapshot

KINDS = [
    PowerSpectrum(3, 4.0, weights={"Al": 1.0, "Mg": 0.7}),
    Bispectrum(4, 4.0, weights={"Al": 1.0, "Mg": 0.7}),
    Bispectrum(4, 4.0, weights={"Al": 1.0, "Mg": 0.7}, rmin0=0.3),
]


def alloy(seed: int = 0, size: int = 1) -> Atoms:
    """A triclinic, left-handed cell of two elements."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True) * (size, size, size)
    atoms.symbols[1] = "Mg"
    random = np.random.default_rng(seed)
    atoms.positions += random.normal(scale=0.12, size=atoms.positions.shape)
    strain = np.eye(3) + random.normal(scale=0.04, size=(3, 3))
    atoms.set_cell((atoms.cell.array @ strain)[[1, 0, 2]], scale_atoms=False)
    return atoms


def model_of(descriptor, seed: int = 3) -> RegularModel:
    random = np.random.default_rng(seed)
    return RegularModel(
        descriptor, random.normal(size=(2, descriptor.features)) * 1e-3, np.array([-50.0, -20.0]), ("Al", "Mg"), 1000.0
    )


@pytest.mark.parametrize("descriptor", KINDS, ids=["power", "bispectrum", "rmin0"])
def test_an_atom_does_not_see_itself_but_its_images(descriptor):
    atoms = alloy(size=2)
    values = Sites(descriptor, atoms).values()
    for index in (0, 1, 9):  # removed, in a cell where its images are beyond the cutoff
        rest = atoms.copy()
        del rest[index]
        expected = descriptor.compute_points(rest, atoms.positions[index][None])[0]
        np.testing.assert_allclose(values[index], expected, rtol=0, atol=1e-12 * np.abs(values).max())
    small = alloy()
    np.testing.assert_allclose(
        Sites(descriptor, small * (2, 2, 2)).values(),
        np.tile(Sites(descriptor, small).values(), (8, 1)),
        rtol=0,
        atol=1e-11 * np.abs(values).max(),
    )


@pytest.mark.parametrize("descriptor", KINDS[:2], ids=["power", "bispectrum"])
def test_forces_and_stress_are_derivatives(descriptor):
    atoms, model, step = alloy(), model_of(descriptor), 1e-4
    found = model.predict(atoms)

    def energy(positions, cell):
        moved = atoms.copy()
        moved.set_cell(cell, scale_atoms=False)
        moved.positions = positions
        return model.predict(moved).free_energy

    scale = np.abs(found.forces).max()
    for index, axis in ((0, 0), (1, 2), (3, 1)):
        change = np.zeros((4, 3))
        change[index, axis] = step
        values = [energy(atoms.positions + k * change, atoms.cell.array) for k in (-2, -1, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert -slope == pytest.approx(found.forces[index, axis], abs=1e-7 * scale)
    assert np.abs(found.forces.sum(0)).max() < 1e-11 * scale
    for i, j in ((0, 0), (0, 1), (2, 1)):
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = step / 2 if i != j else step
        values = []
        for k in (-2, -1, 1, 2):
            deformation = np.eye(3) + k * strain
            values.append(energy(atoms.positions @ deformation, atoms.cell.array @ deformation))
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert slope / atoms.get_volume() == pytest.approx(found.stress[i, j], abs=1e-7 * np.abs(found.stress).max())


def test_energy_is_extensive_and_does_not_turn():
    atoms, model = alloy(), model_of(KINDS[0])
    one = model.predict(atoms)
    eight = model.predict(atoms * (2, 2, 2))
    assert eight.free_energy == pytest.approx(8 * one.free_energy, rel=1e-12)
    np.testing.assert_allclose(eight.stress, one.stress, atol=1e-12)
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    turned.positions += [0.3, -7.0, 11.0]
    assert model.predict(turned).free_energy == pytest.approx(one.free_energy, rel=1e-12)
    assert np.linalg.norm(model.predict(turned).forces) == pytest.approx(np.linalg.norm(one.forces), rel=1e-9)


def labelled(model, seeds, *, make=alloy, forces: bool = True, stress: bool = True) -> Dataset:
    """Snapshots whose free energy, forces and stress are those of a model."""
    found = []
    for seed in seeds:
        snapshot = made_up_snapshot(seed)
        atoms = make(seed)
        predicted = model.predict(atoms)
        reference = dataclasses.replace(
            snapshot.reference,
            free_energy=predicted.free_energy,
            forces=predicted.forces if forces else None,
            stress=predicted.stress if stress else None,
        )
        ions = {symbol: Ion(symbol, 3.0 if symbol == "Al" else 2.0) for symbol in set(atoms.get_chemical_symbols())}
        fields = {f.name: getattr(snapshot, f.name) for f in dataclasses.fields(snapshot) if f.name in KEPT}
        grid = dataclasses.replace(snapshot.grid, cell=tuple(map(tuple, atoms.cell.array)))
        ldos = snapshot.ldos
        electrons = sum(ions[symbol].valence for symbol in atoms.symbols)
        density = snapshot.density * electrons / grid.integrate(snapshot.density)
        values = fields | {"atoms": atoms, "ions": ions, "grid": grid, "reference": reference, "ldos": ldos}
        values["density"] = density
        found.append(type(snapshot)(**values))
    return Dataset(tuple(found))


KEPT = ("energy_grid", "electron_temperature", "ion_temperature", "broadening", "functional", "provenance")


@pytest.mark.parametrize("parts", [{}, {"stress": False}])
def test_the_fit_finds_a_model_that_is_linear(parts):
    truth = model_of(PowerSpectrum(2, 4.0, weights={"Al": 1.0, "Mg": 0.7}))
    fitted = fit_regular(labelled(truth, range(8), **parts), truth.descriptor)
    assert (fitted.elements, fitted.electron_temperature) == (("Al", "Mg"), 1000.0)
    for seed in (21, 22):
        got, expected = fitted.predict(alloy(seed)), truth.predict(alloy(seed))
        assert got.free_energy == pytest.approx(expected.free_energy, abs=1e-5)
        np.testing.assert_allclose(got.forces, expected.forces, atol=1e-4 * np.abs(expected.forces).max())
    assert fitted.provenance["left_out_free_energy_error"] < 1e-5
    assert fitted.provenance["ridge"] < 1e-8


def test_errors_of_left_out_structures_and_their_estimates_are_in_the_provenance():
    truth = model_of(PowerSpectrum(2, 4.0, weights={"Al": 1.0, "Mg": 0.7}))
    fitted = fit_regular(labelled(truth, range(8), stress=False), PowerSpectrum(1, 3.5))
    left_out = fitted.provenance["left_out_free_energies"]
    errors, deviations = np.array(left_out["errors"]), np.array(left_out["stds"])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(fitted.provenance["left_out_free_energy_error"])
    assert deviations.shape == errors.shape == (8,)
    assert 0.3 < np.sqrt(np.mean((errors / deviations) ** 2)) < 1.5


def rattled(seed: int) -> Atoms:
    """A cubic cell of one size with displaced atoms."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    atoms.positions += np.random.default_rng(seed).normal(scale=0.12, size=(4, 3))
    return atoms


@pytest.mark.parametrize(("make", "virial"), [(alloy, 0.1), (rattled, 0.0)], ids=["volumes", "one-volume"])
def test_stress_that_is_no_derivative_of_the_energies(make, virial):
    """A stress with 0.1 eV for each atom too much: known from energies at several volumes, and otherwise stress."""
    truth = model_of(PowerSpectrum(2, 4.0, weights={"Al": 1.0, "Mg": 0.7}))
    data = labelled(truth, range(12), make=make)
    for snapshot in data:
        snapshot.reference.stress[:] += 0.1 * len(snapshot.atoms) / snapshot.grid.volume * np.eye(3)
    fitted = fit_regular(data, truth.descriptor)
    assert fitted.provenance["pulay_virial_per_atom"] == pytest.approx(virial, abs=0.01)
    for seed in (31, 32):
        got, expected = fitted.predict(make(seed)), truth.predict(make(seed))
        assert got.free_energy == pytest.approx(expected.free_energy, abs=2e-3)
        more = (0.1 - virial) * 4 / make(seed).get_volume()
        np.testing.assert_allclose(got.stress, expected.stress + more * np.eye(3), atol=4e-4)


def test_more_ridge_means_a_looser_fit():
    truth = model_of(PowerSpectrum(2, 4.0, weights={"Al": 1.0, "Mg": 0.7}))
    data = labelled(truth, range(4))
    errors = []
    for ridge in (1e-12, 1e-4, 1e-1):
        fitted = fit_regular(data, truth.descriptor, ridge=ridge)
        errors.append(sum(np.square(fitted.predict(s.atoms).forces - s.reference.forces).sum() for s in data))
    assert errors[0] < errors[1] < errors[2]


def test_structures_with_large_forces_have_less_weight_where_their_errors_are_larger():
    """Forces with errors of a tenth: with a weight for each structure the coefficients are better."""
    truth = model_of(PowerSpectrum(2, 4.0, weights={"Al": 1.0, "Mg": 0.7}))

    def displaced(seed: int) -> Atoms:
        atoms = bulk("Al", "fcc", a=4.05, cubic=True)
        random = np.random.default_rng(seed)
        atoms.positions += random.normal(scale=0.3 if seed % 2 else 0.02, size=(4, 3))
        return atoms

    equal, weighted = [], []
    for start in range(0, 80, 20):
        data = labelled(truth, range(start, start + 20), make=displaced)
        for number, snapshot in enumerate(data):
            forces = snapshot.reference.forces
            size = np.sqrt(np.square(forces).mean())
            forces += 0.1 * size * np.random.default_rng([start, number]).normal(size=forces.shape)
        smallest = min(np.sqrt(np.square(s.reference.forces).mean()) for s in data)
        atoms = displaced(998)
        for scale, errors in ((None, equal), (smallest, weighted)):
            options = {"energy_weight": 1e-6, "stress_weight": 0.0, "ridge": 1e-13}
            fitted = fit_regular(data, truth.descriptor, force_scale=scale, **options)
            assert fitted.provenance["force_scale"] == scale
            errors.append(np.abs(fitted.predict(atoms).forces - truth.predict(atoms).forces).max())
    assert np.mean(weighted) < 0.5 * np.mean(equal)


def test_data_that_cannot_be_fitted():
    model = model_of(KINDS[0])
    data = labelled(model, range(2))
    with pytest.raises(InputError, match="got one structure"):
        fit_regular(Dataset(data.snapshots[:1]), model.descriptor)
    with pytest.raises(InputError, match="energy_weight: got -1"):
        fit_regular(data, model.descriptor, energy_weight=-1.0)
    with pytest.raises(InputError, match="ridge: got 0"):
        fit_regular(data, model.descriptor, ridge=0.0)
    with pytest.raises(InputError, match="force_scale: got -1"):
        fit_regular(data, model.descriptor, force_scale=-1.0)
    with pytest.raises(InputError, match="element Cu"):
        model.predict(bulk("Cu", cubic=True))


class Bent:
    """A sum of atomic energies that is not linear in the descriptors of a power spectrum."""

    def __init__(self) -> None:
        self.linear = model_of(PowerSpectrum(1, 4.0, weights={"Al": 1.0, "Mg": 0.7}))

    def predict(self, atoms):
        found = self.linear.predict(atoms)
        sites = Sites(self.linear.descriptor, atoms)
        values = 20 * (sites.values()[:, 0] - 0.24)
        cotangents = np.zeros((len(atoms), self.linear.descriptor.features))
        cotangents[:, 0] = -20 * 0.2 * np.sin(values)
        positions, strain = sites.vjp(cotangents)
        return dataclasses.replace(
            found,
            free_energy=found.free_energy + float(np.sum(0.2 * np.cos(values))),
            forces=found.forces - positions,
            stress=found.stress + strain / atoms.get_volume(),
        )


@pytest.fixture(scope="module")
def bent():
    truth = Bent()
    data = labelled(truth, range(16))
    linear = fit_regular(data, truth.linear.descriptor)
    return truth, linear, fit_correction(data, linear, (8, 8), steps=100)


def test_networks_add_what_is_not_linear(bent):
    truth, linear, corrected = bent
    errors = []
    for model in (linear, corrected):
        pairs = [(model.predict(alloy(seed)), truth.predict(alloy(seed))) for seed in range(30, 36)]
        errors.append(np.mean([np.abs(got.forces - expected.forces).mean() for got, expected in pairs]))
    assert errors[1] < 0.7 * errors[0]
    assert corrected.provenance["network_steps"] > 0
    assert corrected.provenance["network_error_over_linear"] < 0.2


def test_forces_of_networks_are_derivatives(bent):
    model, atoms, step = bent[2], alloy(3), 1e-4
    found = model.predict(atoms)

    def energy(by, strain):
        moved = atoms.copy()
        deformation = np.eye(3)
        deformation[0, 1] = deformation[1, 0] = strain / 2
        moved.set_cell(atoms.cell.array @ deformation)
        moved.positions = atoms.positions @ deformation
        moved.positions[2, 1] += by
        return model.predict(moved).free_energy

    slope = (energy(step, 0) - energy(-step, 0)) / (2 * step)
    assert -slope == pytest.approx(found.forces[2, 1], rel=1e-6)
    slope = (energy(0, step) - energy(0, -step)) / (2 * step)
    assert slope / atoms.get_volume() == pytest.approx(found.stress[0, 1], rel=1e-5)


def test_a_linear_truth_needs_no_network():
    truth = model_of(PowerSpectrum(1, 4.0, weights={"Al": 1.0, "Mg": 0.7}))
    data = labelled(truth, range(6))
    linear = fit_regular(data, truth.descriptor)
    corrected = fit_correction(data, linear, (4,), steps=20)
    got, expected = corrected.predict(alloy(9)), truth.predict(alloy(9))
    assert got.free_energy == pytest.approx(expected.free_energy, abs=4e-4)
    with pytest.raises(InputError, match="at least five"):
        fit_correction(Dataset(data.snapshots[:4]), linear)
