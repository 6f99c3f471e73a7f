"""The calculator for ASE: what it gives, what it forgets, and what ASE's own tools make of it."""

from __future__ import annotations

import dataclasses
import tempfile

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.phonons import Phonons

from fermisea import Calculator
from fermisea.descriptors import PowerSpectrum
from fermisea.errors import InputError, WindowError
from fermisea.networks.ensemble import Ensemble
from fermisea.networks.mlp import Mlp
from fermisea.potential import fit_regular
from fermisea.potential.model import RegularPrediction
from fermisea.prediction import predict
from synthetic import ENERGIES, structure
from test_forces import alloy, model_of
from test_potential import labelled
from test_prediction import random_model

GRID = (9, 8, 10)


@pytest.fixture
def passes(monkeypatch):
    """Counts the predictions."""
    calls, honest = [], predict.predict

    def counted(*arguments, **options):
        calls.append(options)
        return honest(*arguments, **options)

    monkeypatch.setattr("fermisea.model.model.predict", counted)
    return calls


@pytest.mark.parametrize("anchor", [False, True])
def test_results_are_those_of_the_prediction(anchor):
    model, atoms = model_of("power"), alloy()
    atoms.calc = Calculator(model, 4000.0, grid=GRID, anchor=anchor)
    expected = model.predict(atoms, 4000.0, GRID, anchor=anchor, forces=True)
    assert atoms.get_potential_energy() == expected.free_energy
    assert atoms.get_potential_energy(force_consistent=True) == expected.free_energy
    np.testing.assert_array_equal(atoms.get_forces(), expected.forces)
    np.testing.assert_array_equal(atoms.get_stress(voigt=False), expected.stress)
    results = atoms.calc.results
    assert results["internal_energy"] == expected.internal_energy
    assert results["internal_energy"] + results["entropy_term"] == pytest.approx(expected.free_energy, abs=1e-10)
    assert results["ldos_free_energy"] == expected.ldos_free_energy
    assert results["anchored_free_energy"] == expected.anchored_free_energy
    assert atoms.calc.prediction.density.shape == GRID


def test_it_predicts_once_and_forgets_when_something_changes(passes):
    model, atoms = model_of("power"), alloy()
    atoms.calc = calculator = Calculator(model, 1000.0, grid=GRID)
    cold = atoms.get_forces()
    atoms.get_potential_energy()
    atoms.get_stress()
    assert len(passes) == 1
    calculator.electron_temperature = 1000  # no change
    assert calculator.results
    calculator.electron_temperature = 8000.0
    assert not calculator.results
    hot = atoms.get_forces()
    assert np.abs(hot - cold).max() > 1e-6
    np.testing.assert_array_equal(hot, Calculator(model, 8000.0, grid=GRID).get_forces(atoms))
    calculator.set(electron_temperature=1000.0)
    np.testing.assert_array_equal(atoms.get_forces(), cold)
    atoms.positions[0, 0] += 0.1
    assert np.abs(atoms.get_forces() - cold).max() > 1e-3
    before = len(passes)
    calculator.anchor = True  # an attribute that means nothing to it
    calculator.set(anchor=True)  # as it was
    atoms.get_forces()
    assert len(passes) == before


def test_an_ensemble_gives_its_spread():
    one = model_of("power")
    network = Mlp(one.network.inputs, (12,), ENERGIES.size, dtype="float64", seed=9)
    buffers = (getattr(one.network, f"{a}_{b}") for a in ("input", "output") for b in ("mean", "scale"))
    network.set_normalisation(*buffers)
    both = dataclasses.replace(one, network=Ensemble([one.network, network.requires_grad_(requires_grad=False)]))
    atoms = alloy()
    alone = both.predict(atoms, 5000.0, GRID, anchor=False).uncertainty
    for anchor, expected in ((False, alone.free_energy), (True, alone.free_energy_change)):
        atoms.calc = Calculator(both, 5000.0, grid=GRID, anchor=anchor)
        atoms.get_potential_energy()
        assert atoms.calc.results["free_energy_std"] == pytest.approx(expected, rel=1e-9)
        prediction = atoms.calc.prediction
        assert prediction.data["free_energy_std"].item() == pytest.approx(expected, rel=1e-9)
        internal = prediction.data["internal_energy_std"].item()
        assert internal == prediction.uncertainty.internal_energy
        assert (internal == pytest.approx(alone.internal_energy, rel=1e-9)) is not anchor
    atoms.calc = Calculator(both, 5000.0, grid=GRID, uncertainty=False)
    atoms.get_potential_energy()
    assert "free_energy_std" not in atoms.calc.results


def test_the_number_of_points_stays_while_the_cell_changes_little():
    atoms = structure(3)
    atoms.calc = Calculator(random_model(), 1000.0)
    atoms.get_potential_energy()
    shape = atoms.calc.prediction.grid.shape
    for scale, same in ((1.1, True), (0.9, True), (1.5, False)):
        other = atoms.copy()
        other.set_cell(scale * atoms.cell.array, scale_atoms=True)
        other.calc = atoms.calc
        other.get_potential_energy()
        assert (other.calc.prediction.grid.shape == shape) is same


def test_the_default_grid_is_that_of_the_free_energy_asked_for():
    model, atoms = model_of("power"), alloy()
    atoms.calc = calculator = Calculator(model, 1000.0)
    shapes = {}
    for anchor in (True, False, True):
        calculator.set(anchor=anchor)
        atoms.get_forces()
        shape = calculator.prediction.grid.shape
        assert shape == model.predict(atoms, 1000.0, forces=True, anchor=anchor).grid.shape
        assert shapes.setdefault(anchor, shape) == shape
    assert np.prod(shapes[False]) > np.prod(shapes[True])


def test_bad_input_is_named():
    model = random_model()
    with pytest.raises(InputError, match="this model has no anchor"):
        Calculator(model, 1000.0, anchor=True)
    with pytest.raises(InputError, match="tau_i"):
        Calculator(model, 1000.0, tau_i=300.0)
    with pytest.raises(InputError, match="data of another code"):
        Calculator(dataclasses.replace(model, total_energy_obstacle="data of another code"), 1000.0)
    with pytest.raises(InputError, match="no such file"):
        Calculator("nowhere.safetensors", 1000.0)
    with pytest.raises(WindowError, match="20000 K"):
        Calculator(model, 20_000.0, tail=False)
    calculator = Calculator(model, 1000.0)
    with pytest.raises(InputError, match="temperature"):
        calculator.electron_temperature = -5.0
    assert calculator.electron_temperature == 1000.0
    for wrong, text in (
        ([300, 400], r"got \[300.0, 400.0\], expected one number"),
        (None, "got None, expected a number"),
    ):
        with pytest.raises(InputError, match=text):
            Calculator(random_model(), wrong)
    with pytest.raises(InputError, match="element Cu"):
        calculator.get_potential_energy(structure(1, symbol="Cu"))


@pytest.mark.slow
def test_molecular_dynamics_conserve_what_they_should():
    """Forces and free energy belong together; the drift of the sum falls with the step as Verlet's does."""
    drifts = []
    for step in (2.0, 1.0):
        atoms = alloy(3)
        atoms.calc = Calculator(model_of("power"), 5000.0, grid=GRID)
        atoms.set_velocities(np.random.default_rng(1).normal(scale=0.01, size=(4, 3)))
        totals = []
        dynamics = VelocityVerlet(atoms, step * units.fs)
        dynamics.attach(lambda a=atoms, t=totals: t.append(a.get_total_energy()))
        dynamics.run(int(20 / step))
        drifts.append(np.ptp(totals))
    assert drifts[1] < 0.3 * drifts[0]


def morse() -> MorsePotential:
    """Aluminium of L. A. Girifalco and V. G. Weizer, Phys. Rev. 114, 687 (1959), cut off."""
    return MorsePotential(epsilon=0.2703, r0=3.253, rho0=3.253 * 1.1646, rcut1=1.2, rcut2=1.65)


class Labels:
    """That potential as what a model is fitted to."""

    def predict(self, atoms):
        atoms = atoms.copy()
        atoms.calc = morse()
        return RegularPrediction(atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False))


def warm_crystal(seed: int):
    """Eight atoms of aluminium, displaced and strained at random."""
    random = np.random.default_rng(seed)
    atoms = bulk("Al", "fcc", a=4.4, cubic=True).repeat((1, 1, 2))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + random.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
    atoms.positions += random.normal(scale=0.08, size=atoms.positions.shape)
    return atoms


@pytest.fixture(scope="module")
def like_morse():
    """A model whose regular part is fitted to it."""
    regular = fit_regular(labelled(Labels(), range(16), make=warm_crystal), PowerSpectrum(5, 5.4, weights={"Al": 1.0}))
    return dataclasses.replace(random_model(), anchor=regular)


@pytest.mark.slow
def test_equation_of_state_optimiser_and_phonons_of_a_fitted_crystal(like_morse):
    """At tau_ref the anchored model is its regular part, which must give the crystal that it was fitted to."""
    found = {}
    for name, make in (("morse", morse), ("fermisea", lambda: Calculator(like_morse, 1000.0))):
        atoms = bulk("Al", "fcc", a=4.4, cubic=True)
        atoms.calc = make()
        energies, volumes, cell = [], [], atoms.cell.array
        for scale in np.linspace(0.97, 1.03, 7):
            atoms.set_cell(scale * cell, scale_atoms=True)
            energies.append(atoms.get_potential_energy())
            volumes.append(atoms.get_volume())
        volume, _, modulus = EquationOfState(volumes, energies).fit()
        atoms.set_cell(cell * 1.02, scale_atoms=True)
        atoms.rattle(0.05, seed=2)
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.01, steps=100)
        phonons = Phonons(bulk("Al", "fcc", a=4.4), make(), supercell=(3, 3, 3), name=tempfile.mkdtemp(), delta=0.02)
        phonons.run()
        phonons.read()
        highest = float(phonons.band_structure([[0.5, 0.5, 0.0]], verbose=False).max())
        found[name] = volume ** (1 / 3), modulus, atoms.get_volume() ** (1 / 3), highest
    constant, modulus, relaxed, highest = found["fermisea"]
    expected = found["morse"]
    assert constant == pytest.approx(expected[0], rel=3e-3)
    assert modulus == pytest.approx(expected[1], rel=0.1)
    assert relaxed == pytest.approx(constant, rel=1e-3)  # from stress and forces, not from energies
    assert highest == pytest.approx(expected[3], rel=0.1)


def test_the_potential_at_another_tau_e_reuses_the_descriptors(monkeypatch):
    from fermisea.descriptors.sites import Sites  # noqa: PLC0415
    from fermisea.model.loading import load_model  # noqa: PLC0415

    calls, honest = [], Sites.values

    def counted(self):
        calls.append(self)
        return honest(self)

    monkeypatch.setattr(Sites, "values", counted)
    model, atoms = load_model("aluminium"), structure(3, amplitude=0.04)
    atoms.calc = Calculator(model, 12_000.0, potential=True)
    atoms.get_potential_energy()
    once = len(calls)
    assert once
    forces = atoms.get_forces()
    atoms.calc.electron_temperature = 20_000.0
    hot = atoms.get_forces()
    assert len(calls) == once
    assert np.abs(hot - forces).max() > 1e-5
    np.testing.assert_allclose(hot, model.potential().predict(atoms, 20_000.0).forces, rtol=0, atol=1e-12)
    atoms.positions[0, 0] += 0.03
    moved = atoms.get_forces()
    np.testing.assert_allclose(moved, model.potential().predict(atoms, 20_000.0).forces, rtol=0, atol=1e-12)
    assert np.abs(moved - hot).max() > 1e-3
