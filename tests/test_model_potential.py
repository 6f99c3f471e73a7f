"""The interatomic potential of a model at every tau_e: training, file, domain and calculator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from fermisea import (
    Broadening,
    Calculator,
    Dataset,
    DomainWarning,
    InputError,
    Snapshot,
    TrainingConfig,
    WindowError,
    load_model,
    train,
)
from fermisea.descriptors import PowerSpectrum
from fermisea.errors import FileFormatError
from fermisea.potential import fit_regular, labels_of
from fermisea.potential.posterior import Posterior
from fermisea.training import domain
from fermisea.training.potential import fit_change
from fermisea.utilities.tensor_file import read_tensors, write_tensors
from synthetic import with_known_pressure
from test_domain import made_up_snapshot

CONFIG = TrainingConfig(hidden=(8,), epochs=1, order=2, anchor_order=3, cutoff=4.0, anchor_cutoff=5.0)
NUMBER = 10


@pytest.fixture(scope="module")
def snapshots():
    return [made_up_snapshot(seed) for seed in range(NUMBER)]


@pytest.fixture(scope="module")
def model(snapshots):
    return with_known_pressure(train(Dataset(snapshots), dataclasses.replace(CONFIG, validation_fraction=0.0)))


def test_training_fits_the_change_of_the_free_energy_of_the_ldos(model, snapshots):
    """Twenty components of ten structures, whose F(tau_e) the potential must have learned to a percent."""
    potential, temperatures = model.potential(), [2000.0, 6000.0, model.highest_electron_temperature]
    for snapshot in snapshots:
        at = potential.predict(snapshot.atoms, [snapshot.electron_temperature, *temperatures])
        exact = snapshot.free_energy([snapshot.electron_temperature, *temperatures])
        np.testing.assert_allclose(at.free_energy[1:] - at.free_energy[0], exact[1:] - exact[0], rtol=0.01)
        assert (at.heat_capacity > 0).all()
    assert model.thermal.provenance["structures"] == NUMBER


def test_labels_do_not_depend_on_the_number_of_temperatures_at_once(snapshots, monkeypatch):
    temperatures = np.array([500.0, 2000.0, 5000.0, 9000.0])
    (whole,) = labels_of(Dataset(snapshots[:1]), temperatures)
    monkeypatch.setattr("fermisea.potential.thermal_fit._VALUES", 500)  # two densities of 216 points
    (parts,) = labels_of(Dataset(snapshots[:1]), temperatures)
    np.testing.assert_allclose(parts.free_energy, whole.free_energy, rtol=1e-12, atol=1e-15 * 200)  # F is 200 eV


def test_the_potential_is_in_the_model_file(model, snapshots, tmp_path):
    path = tmp_path / "al.safetensors"
    model.save(path)
    atoms = snapshots[3].atoms
    one, two = (m.potential().predict(atoms, [300.0, 5000.0]) for m in (model, load_model(path)))
    np.testing.assert_array_equal(one.free_energy, two.free_energy)
    np.testing.assert_allclose(one.free_energy_std, two.free_energy_std, rtol=1e-12)


def test_older_files_hold_the_whole_covariance(model, snapshots, tmp_path):
    path = tmp_path / "al.safetensors"
    model.save(path)
    tensors, header = read_tensors(path)
    for prefix, posterior in (("anchor", model.anchor.posterior), ("thermal", model.thermal.posterior)):
        assert tensors[f"{prefix}.covariance"].ndim == 1
        tensors[f"{prefix}.covariance"] = torch.from_numpy(posterior.covariance.copy())
    write_tensors(path, tensors, header)
    one, two = (m.potential().predict(snapshots[3].atoms, 5000.0) for m in (model, load_model(path)))
    assert one.free_energy_std == pytest.approx(two.free_energy_std, rel=1e-12)
    np.testing.assert_array_equal(one.stress, two.stress)
    np.testing.assert_array_equal(one.free_energy_std, two.free_energy_std)
    tensors, header = read_tensors(path)
    del header["checksum"]
    write_tensors(path, tensors, header | {"thermal": header["thermal"] | {"halvings": 1}})
    with pytest.raises(FileFormatError, match="thermal terms and regular model differ in size"):
        load_model(path)


def test_older_files_have_one_descriptor(model, tmp_path):
    path = tmp_path / "al.safetensors"
    model.save(path)
    tensors, header = read_tensors(path)
    del header["checksum"], header["thermal"]["descriptor"]
    write_tensors(path, tensors, header)
    assert load_model(path).thermal.descriptor == model.anchor.descriptor
    other = PowerSpectrum(order=2, cutoff=4.0, weights={"Cu": 1.0})
    write_tensors(path, tensors, header | {"thermal": header["thermal"] | {"descriptor": other.to_dict()}})
    with pytest.raises(FileFormatError, match="differ in size or elements"):
        load_model(path)


def test_at_tau_ref_it_is_the_anchor(model, snapshots):
    atoms = snapshots[0].atoms
    at = model.potential().predict(atoms, model.reference_electron_temperature)
    assert at.free_energy == pytest.approx(model.anchor.predict(atoms).free_energy, abs=1e-10)
    tau_e = [model.reference_electron_temperature, 4000.0]
    prediction = model.predict(atoms, tau_e)
    np.testing.assert_allclose(
        prediction.potential_free_energy, model.potential().predict(atoms, tau_e).free_energy, rtol=1e-13
    )
    assert prediction.anchored_free_energy[0] == pytest.approx(prediction.potential_free_energy[0], abs=1e-9)
    assert prediction.rows()[1]["potential_free_energy"] == prediction.potential_free_energy[1]


def test_the_calculator_takes_the_potential(model, snapshots):
    atoms, tau_e = snapshots[1].atoms.copy(), 6000.0
    expected = model.potential().predict(atoms, tau_e)
    atoms.calc = Calculator(model, tau_e, potential=True)
    assert atoms.get_potential_energy() == expected.free_energy
    np.testing.assert_array_equal(atoms.get_forces(), expected.forces)
    np.testing.assert_array_equal(atoms.get_stress(voigt=False), expected.stress)
    results = atoms.calc.results
    assert results["internal_energy"] + results["entropy_term"] == pytest.approx(expected.free_energy, abs=1e-10)
    assert results["heat_capacity"] == expected.heat_capacity
    assert atoms.calc.prediction is None
    atoms.calc.electron_temperature = 2000.0
    assert atoms.get_potential_energy() == model.potential().predict(atoms, 2000.0).free_energy
    assert atoms.calc.set(potential=False)
    assert "fermi_level" not in atoms.calc.results


@pytest.mark.filterwarnings("ignore::fermisea.DomainWarning")
def test_free_energy_and_kinetic_energy_of_ions_are_conserved(model, snapshots):
    """The error of the Verlet algorithm falls as the square of the time step."""

    def fluctuation(step: float) -> float:
        atoms = snapshots[2].atoms * (2, 2, 2)
        atoms.set_momenta(np.random.default_rng(0).normal(scale=0.7, size=(len(atoms), 3)))
        atoms.calc = Calculator(model, 5000.0, potential=True)
        totals: list[float] = []
        dynamics = VelocityVerlet(atoms, step * units.fs)
        dynamics.attach(lambda: totals.append(atoms.get_total_energy()))
        dynamics.run(round(10 / step))
        return float(np.ptp(totals))

    assert fluctuation(0.25) == pytest.approx(fluctuation(0.5) / 4, rel=0.1)


def test_what_it_cannot_know_it_says(model, snapshots):
    atoms, potential = snapshots[0].atoms.copy(), model.potential()
    assert potential.predict(atoms, 3000.0).warnings == ()
    atoms.set_cell(atoms.cell * 0.98, scale_atoms=True)
    with pytest.warns(DomainWarning) as told:
        found = potential.predict(atoms, 3000.0)
    assert found.warnings == tuple(str(warning.message) for warning in told)
    assert any(sentence.startswith("volume") for sentence in found.warnings)
    atoms.calc = Calculator(model, 3000.0, potential=True)
    with pytest.warns(DomainWarning) as told:
        atoms.get_potential_energy()
    assert found.warnings == tuple(str(warning.message) for warning in told)
    assert atoms.calc.warnings == found.warnings
    atoms.positions[1] = atoms.positions[0] + 0.3
    with pytest.raises(InputError, match="unphysical"):
        potential.predict(atoms, 3000.0)
    atoms.symbols[0] = "Cu"
    with pytest.raises(InputError, match="got Cu, but the model knows Al"):
        potential.predict(atoms, 3000.0)
    for wrong in (float("nan"), 0.0, -300.0):
        with pytest.raises(InputError, match="electron temperature: got"):
            potential.predict(snapshots[0].atoms, wrong)
    with pytest.raises(InputError, match="electron temperature: got nan"):
        potential.predict(snapshots[0].atoms, [1000.0, float("nan")])
    with pytest.raises(InputError, match="structure: "):
        potential.predict(Atoms("Al", pbc=True), 1000.0)
    with pytest.raises(WindowError, match="but the potential is fitted up to"):
        potential.predict(snapshots[0].atoms, [300.0, 1e6])
    with pytest.raises(WindowError, match="but the potential is fitted up to"):
        Calculator(model, 1e5, potential=True, allow_beyond_window=True)
    with pytest.raises(InputError, match="potential: got 'yes', expected True or False"):
        Calculator(model, 1000.0, potential="yes")


def test_results_that_the_training_data_do_not_support_are_warnings(model, snapshots):
    atoms = snapshots[0].atoms
    cold = dataclasses.replace(model.thermal, constants=-model.thermal.constants)
    with pytest.warns(DomainWarning, match="heat capacity: C_e of the potential at 6000 K is negative"):
        dataclasses.replace(model, thermal=cold).potential().predict(atoms, [1000.0, 6000.0])
    wide = Posterior(model.anchor.posterior.covariance, np.array(1e6), np.array(1.0))
    wide = dataclasses.replace(model, anchor=dataclasses.replace(model.anchor, posterior=wide))
    with pytest.warns(DomainWarning, match=r"spread: the estimated error of F .* meV/atom, above the limit of"):
        wide.potential().predict(atoms, 3000.0)
    assert "tau_ref = 1000 K" in repr(model.potential())


def changed(snapshot, **values):
    """A snapshot with other attributes."""
    names = ("atoms", "grid", "energy_grid", "ldos", "density", "electron_temperature", "ion_temperature", "broadening")
    names += ("reference", "ions", "functional", "provenance")
    return Snapshot(**({name: getattr(snapshot, name) for name in names} | values))


@pytest.mark.filterwarnings("ignore:.*F from the LDOS differs from F of the DFT code")
def test_a_sharp_ldos_and_a_narrow_window_do_not_end_a_training(snapshots):
    config = dataclasses.replace(CONFIG, validation_fraction=0.0, allow_closure_error=True)
    sharp = [changed(s, broadening=Broadening("methfessel-paxton", 0.0)) for s in snapshots]
    assert train(Dataset(sharp), config).thermal is not None
    narrow = [changed(s, electron_temperature=20_000.0) for s in snapshots]
    anchor = fit_regular(Dataset(narrow), config.make_anchor_descriptor(["Al"]))
    assert fit_change(Dataset(narrow), anchor, config) is None


@pytest.mark.parametrize("tau_ref", [1000.0, 11_000.0])
def test_the_comparison_of_ldos_and_potential_is_far_from_tau_ref(model, tau_ref):
    tau_e = domain._compared(dataclasses.replace(model, reference_electron_temperature=tau_ref))
    assert tau_e <= 0.95 * model.highest_electron_temperature
    assert max(tau_e / tau_ref, tau_ref / tau_e) >= 2


def test_a_perfect_agreement_survives_the_file(model, tmp_path):
    perfect = dataclasses.replace(model.training_domain, hot_difference=0.0)
    dataclasses.replace(model, training_domain=perfect).save(tmp_path / "al.safetensors")
    assert load_model(tmp_path / "al.safetensors").domain.hot_difference == 0.0


def test_a_model_that_lost_its_anchor_has_no_potential(model, tmp_path):
    bare = dataclasses.replace(model, anchor=None)
    bare.save(tmp_path / "bare.safetensors")
    assert load_model(tmp_path / "bare.safetensors").thermal is None
    assert "interatomic potential" not in repr(bare)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"highest": 500.0}, "halvings of 500 K"),
        ({"halvings": 6.9}, "has 6.9 halvings"),
    ],
)
def test_a_potential_that_cannot_be_is_refused(model, tmp_path, changes, message):
    path = tmp_path / "al.safetensors"
    model.save(path)
    tensors, header = read_tensors(path)
    del header["checksum"]
    write_tensors(path, tensors, header | {"thermal": header["thermal"] | changes})
    with pytest.raises(FileFormatError, match=message):
        load_model(path)


def test_negative_variances_are_refused(model, tmp_path):
    path = tmp_path / "al.safetensors"
    model.save(path)
    tensors, header = read_tensors(path)
    del header["checksum"]
    write_tensors(path, tensors | {"thermal.noise": -tensors["thermal.noise"] - 1}, header)
    with pytest.raises(FileFormatError, match="negative variances"):
        load_model(path)


def test_a_potential_that_differs_from_the_ldos_is_a_warning(model, snapshots):
    tau_e = [1000.0, 4000.0, 11_000.0]
    for snapshot in snapshots[:4]:
        assert model.predict(snapshot.atoms, tau_e).warnings == ()
    assert 0 < model.domain.hot_difference < 0.02
    wrong = dataclasses.replace(model.thermal, constants=1.5 * model.thermal.constants)
    with pytest.warns(DomainWarning, match=r"hot free energy: F\(tau_e\) - F\(tau_ref\) at .* from the potential"):
        found = dataclasses.replace(model, thermal=wrong).predict(snapshots[0].atoms, tau_e)
    (sentence,) = found.warnings
    assert "above the limit of" in sentence


def test_a_model_without_a_potential_says_what_is_missing(snapshots):
    few = train(Dataset(snapshots[:4]), CONFIG)
    prediction = few.predict(snapshots[0].atoms, 1000.0)
    assert "potential_free_energy" not in prediction.rows()[0]
    with pytest.raises(InputError, match="potential: the model has no F of a potential"):
        _ = prediction.potential_free_energy
    assert few.thermal is None
    with pytest.raises(InputError, match="potential: this model has none; train it on at least eight structures"):
        few.potential()
    with pytest.raises(InputError, match="potential: this model has none"):
        Calculator(few, 1000.0, potential=True)


def test_the_potential_warns_of_a_frozen_core(model, snapshots):
    limit = 0.2 * 4.0 / units.kB  # 3s of aluminium with one valence electron
    ions = {"Al": dataclasses.replace(model.ions["Al"], valence=1.0)}
    potential = dataclasses.replace(model, ions=ions).potential()
    assert 1.01 * limit < potential.highest_electron_temperature
    with pytest.warns(DomainWarning, match=r"frozen core: .* frozen 3s shell of Al \(4 eV\)") as issued:
        found = potential.predict(snapshots[0].atoms, [1000.0, 1.01 * limit])
    assert [str(item.message) for item in issued] == list(found.warnings)
    assert potential.predict(snapshots[0].atoms, 0.99 * limit).warnings == ()
