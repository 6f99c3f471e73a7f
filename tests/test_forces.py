"""Forces and stress of predicted free energies, against differences of the free energies themselves."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read
from typer.testing import CliRunner

from fermisea.cli.app import app
from fermisea.descriptors import Bispectrum, PowerSpectrum
from fermisea.errors import InputError
from fermisea.model.model import Model
from fermisea.networks.ensemble import Ensemble
from fermisea.networks.mlp import Mlp
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import CoreCharge, Ion
from fermisea.potential import RegularModel
from synthetic import ENERGIES, structure
from test_prediction import random_model

SHAPE = (9, 8, 10)
STEP = 1e-3
WEIGHTS = {"Al": 1.0, "Mg": 0.7}
KINDS = {"power": PowerSpectrum(3, 4.0, weights=WEIGHTS), "snap": Bispectrum(4, 4.0, weights=WEIGHTS)}


def alloy(seed: int = 0) -> Atoms:
    """Two elements in a triclinic, left-handed cell, one atom outside of it."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    atoms.symbols[1] = "Mg"
    random = np.random.default_rng(seed)
    strain = np.eye(3) + random.normal(scale=0.05, size=(3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]], scale_atoms=False)
    atoms.positions += random.normal(scale=0.15, size=(4, 3))
    atoms.positions[2] += atoms.cell.array[0]
    return atoms


def model_of(kind: str, *, dtype: str = "float64", core: bool = True, activation: str = "silu") -> Model:
    """A model with random weights of two elements, with a regular part."""
    base, descriptor = random_model(dtype), KINDS[kind]
    network = Mlp(descriptor.features, (24, 16), ENERGIES.size, activation, dtype=dtype, seed=2)
    values = descriptor.compute(alloy(1), SHAPE).reshape(-1, descriptor.features)
    mean, deviation = torch.from_numpy(values.mean(0)), torch.from_numpy(values.std(0))
    network.set_normalisation(mean, deviation, base.network.output_mean, base.network.output_scale)
    q = 0.05 * np.arange(2000)
    charge = CoreCharge(0.05, 1.3 * np.exp(-(q**2) / 3)) if core else None
    factors = np.random.default_rng(3).normal(size=(2, descriptor.features)) * 1e-2
    return dataclasses.replace(
        base,
        network=network.eval().requires_grad_(requires_grad=False),
        descriptor=descriptor,
        broadening=Broadening("gaussian", 0.5),
        ions={"Al": Ion("Al", 3.0, charge), "Mg": Ion("Mg", 2.0)},
        anchor=RegularModel(descriptor, factors, np.array([-56.0, -20.0]), ("Al", "Mg"), 1000.0),
    )


def differences(energy) -> float:
    """The derivative at zero, to fourth order in the step."""
    values = [energy(k * STEP) for k in (-2, -1, 1, 2)]
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)


def moved(atoms: Atoms, index: int, axis: int, by: float) -> Atoms:
    other = atoms.copy()
    other.positions[index, axis] += by
    return other


def deformed(atoms: Atoms, i: int, j: int, by: float) -> Atoms:
    other, deformation = atoms.copy(), np.eye(3)
    deformation[i, j] += by / 2
    deformation[j, i] += by / 2
    other.set_cell(atoms.cell.array @ deformation)
    other.positions = atoms.positions @ deformation
    return other


def check(model: Model, atoms: Atoms, places, strains, **options) -> None:
    """Compares forces and stress with differences of the free energy."""
    found = model.predict(atoms, grid=SHAPE, forces=True, **options)

    def energy(other: Atoms) -> float:
        return model.predict(other, grid=SHAPE, **options).free_energy

    scale = np.abs(found.forces).max()
    for index, axis in places:
        expected = -differences(lambda by, i=index, a=axis: energy(moved(atoms, i, a, by)))
        assert found.forces[index, axis] == pytest.approx(expected, rel=1e-6, abs=1e-7 * scale)
    scale = np.abs(found.stress).max()
    np.testing.assert_allclose(found.stress, found.stress.T, rtol=0, atol=1e-12 * scale)
    for i, j in strains:
        expected = differences(lambda by, i=i, j=j: energy(deformed(atoms, i, j, by))) / atoms.get_volume()
        assert found.stress[i, j] == pytest.approx(expected, rel=1e-6, abs=1e-6 * scale)


@pytest.mark.parametrize("temperature", [1000.0, 6000.0])
@pytest.mark.parametrize("anchor", [False, True], ids=["pure", "anchored"])
@pytest.mark.parametrize("kind", KINDS)
def test_forces_and_stress_are_derivatives(kind, anchor, temperature):
    places, strains = [(0, 0), (1, 2), (2, 1)], [(0, 0), (1, 2)]
    check(model_of(kind), alloy(), places, strains, electron_temperature=temperature, anchor=anchor)


@pytest.mark.parametrize("anchor", [False, True], ids=["pure", "anchored"])
def test_forces_and_stress_include_the_electrons_above_the_window(anchor):
    model, options = model_of("power"), {"electron_temperature": 60_000.0, "allow_beyond_window": True}
    atoms = alloy()
    with pytest.warns(UserWarning, match="tail: at tau_e = 60000 K"):
        assert model.predict(atoms, **options).tail_electrons > 0.1 * len(atoms)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        check(model, atoms, [(0, 0), (1, 2)], [(0, 0), (1, 2)], anchor=anchor, **options)


@pytest.mark.parametrize("functional", ["lda", "pbesol"])
@pytest.mark.parametrize("activation", ["gelu", "tanh"])
def test_other_functionals_activations_and_no_core(functional, activation):
    model = dataclasses.replace(model_of("power", core=False, activation=activation), functional=functional)
    check(model, alloy(2), [(3, 0)], [(0, 1)], electron_temperature=4000.0)


def test_an_ensemble_has_the_forces_of_its_mean():
    one, two = model_of("power"), model_of("power")
    network = Mlp(two.network.inputs, (12,), ENERGIES.size, dtype="float64", seed=9)
    buffers = (getattr(two.network, f"{a}_{b}") for a in ("input", "output") for b in ("mean", "scale"))
    network.set_normalisation(*buffers)
    both = dataclasses.replace(one, network=Ensemble([one.network, network.requires_grad_(requires_grad=False)]))
    check(both, alloy(), [(1, 0)], [(2, 2)], electron_temperature=3000.0)


def test_several_temperatures_chunks_threads_and_one_pass_give_the_same():
    model, atoms = model_of("power"), alloy()
    temperatures = [1000.0, 5000.0]
    together = model.predict(atoms, temperatures, SHAPE, forces=True, anchor=True)
    assert (together.forces.shape, together.stress.shape) == ((2, 4, 3), (2, 3, 3))
    np.testing.assert_array_equal(together.data.forces, together.forces)
    assert together.data.stress.units == "eV/Angstrom^3"
    before = torch.get_num_threads()
    for k, t in enumerate(temperatures):
        for options in ({"chunk": 50}, {"memory": 1}, {}):
            torch.set_num_threads(before if options else 3)
            try:
                other = model.predict(atoms, t, SHAPE, forces=True, anchor=True, **options)
            finally:
                torch.set_num_threads(before)
            np.testing.assert_allclose(other.forces, together.forces[k], rtol=0, atol=1e-9)
            np.testing.assert_allclose(other.stress, together.stress[k], rtol=0, atol=1e-10)


def test_anchored_forces_at_the_reference_temperature_are_those_of_the_regular_part():
    model, atoms = model_of("snap"), alloy()
    found, regular = model.predict(atoms, 1000.0, SHAPE, forces=True, anchor=True), model.anchor.predict(atoms)
    np.testing.assert_allclose(found.forces, regular.forces, atol=1e-10)
    np.testing.assert_allclose(found.stress, regular.stress, atol=1e-11)


def test_forces_turn_with_the_structure_and_do_not_change_with_its_cell():
    model, atoms = model_of("power"), alloy()
    plain = model.predict(atoms, 3000.0, SHAPE, forces=True)
    turned = atoms.copy()
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    rotation = np.linalg.solve(atoms.cell.array, turned.cell.array)
    found = model.predict(turned, 3000.0, SHAPE, forces=True)
    np.testing.assert_allclose(found.forces, plain.forces @ rotation, atol=1e-9)
    np.testing.assert_allclose(found.stress, rotation.T @ plain.stress @ rotation, atol=1e-10)
    wrapped = atoms.copy()
    wrapped.wrap()
    np.testing.assert_allclose(model.predict(wrapped, 3000.0, SHAPE, forces=True).forces, plain.forces, atol=1e-9)
    double = model.predict(atoms * (2, 1, 1), 3000.0, (18, 8, 10), forces=True)
    np.testing.assert_allclose(double.forces, np.tile(plain.forces, (2, 1)), atol=1e-9)
    np.testing.assert_allclose(double.stress, plain.stress, atol=1e-10)


def sum_of_forces(model: Model, size: int) -> float:
    forces = model.predict(alloy(), 3000.0, (size, size, size), forces=True).forces
    return float(np.abs(forces.sum(0)).max() / np.abs(forces).max())


@pytest.mark.slow
def test_forces_add_up_to_zero_on_a_fine_grid():
    """The weight of a neighbour has a second derivative that jumps at the cutoff: the sum falls as the third power."""
    model = model_of("power")
    sums = [sum_of_forces(model, size) for size in (12, 24, 48)]
    assert sums[0] < 1e-3
    assert sums[1] < sums[0] / 8
    assert sums[2] < sums[1] / 8
    smoother = dataclasses.replace(model, descriptor=dataclasses.replace(model.descriptor, smoothness=2))
    assert sum_of_forces(smoother, 64) < 1e-8


def test_float32_differs_by_its_rounding():
    atoms, exact, rounded = alloy(), model_of("power"), model_of("power", dtype="float32")
    rounded.network.load_state_dict(exact.network.state_dict())
    one, two = (m.predict(atoms, 4000.0, SHAPE, forces=True) for m in (exact, rounded))
    assert np.abs(one.forces - two.forces).max() < 2e-6 * np.abs(one.forces).max()
    assert np.abs(one.stress - two.stress).max() < 2e-6 * np.abs(one.stress).max()


def test_progress_ends_at_the_end():
    calls = []
    random_model().predict(structure(3), [300.0, 2000.0], (6, 6, 6), forces=True, progress=lambda *a: calls.append(a))
    assert calls[-1] == (3 * 216, 3 * 216)
    assert calls == sorted(calls)


def test_what_has_no_forces_says_so():
    model, atoms = random_model(), structure(3)
    with pytest.raises(InputError, match="forces=True"):
        _ = model.predict(atoms, 300.0, (6, 6, 6)).forces
    with pytest.raises(InputError, match="density=False"):
        model.predict(atoms, 300.0, (6, 6, 6), forces=True, density=False)
    with pytest.raises(InputError, match=r"dos_grid .* on the same grid"):
        model.predict(atoms, 300.0, (6, 6, 6), forces=True, dos_grid=(4, 4, 4))
    obstacle = dataclasses.replace(model, total_energy_obstacle="data of another code")
    with pytest.raises(InputError, match="no total free energy: data of another code"):
        obstacle.predict(atoms, 300.0, (6, 6, 6), forces=True)


def test_command_line(tmp_path):
    model, atoms = random_model(), structure(3)
    model.save(tmp_path / "al.safetensors")
    atoms.write(tmp_path / "al.extxyz")
    arguments = [
        "predict",
        str(tmp_path / "al.safetensors"),
        str(tmp_path / "al.extxyz"),
        "--electron-temperature",
        "300",
    ]
    arguments += ["--electron-temperature", "5000", "--grid", "6", "6", "6", "--out", str(tmp_path / "out"), "--forces"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "pressure (GPa)" in result.output
    expected = model.predict(read(tmp_path / "al.extxyz"), [300.0, 5000.0], (6, 6, 6), forces=True)
    frames = read(tmp_path / "out" / "forces.extxyz", ":")
    assert [frame.info["electron_temperature"] for frame in frames] == [300.0, 5000.0]
    for k, frame in enumerate(frames):
        assert frame.get_potential_energy() == pytest.approx(expected.free_energy[k], abs=1e-6)
        np.testing.assert_allclose(frame.get_forces(), expected.forces[k], atol=1e-7)
        np.testing.assert_allclose(frame.get_stress(voigt=False), expected.stress[k], atol=1e-7)
