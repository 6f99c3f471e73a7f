"""Which free energy a prediction gives: of the potential, anchored, or of the LDOS alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from fermisea import (
    Calculator,
    Dataset,
    DomainWarning,
    InputError,
    TrainingConfig,
    WindowError,
    evaluate,
    thermo,
    train,
)
from fermisea.cli.app import app
from fermisea.data.structures import write_structure
from fermisea.prediction.origin import FREE_ENERGIES
from synthetic import with_known_pressure
from test_domain import made_up_snapshot

TEMPERATURES, GRID = [1000.0, 4000.0, 9000.0], (6, 6, 6)


SETTINGS = TrainingConfig(
    hidden=(8,),
    epochs=1,
    order=2,
    anchor_order=3,
    cutoff=4.0,
    anchor_cutoff=5.0,
    ensemble=2,
    validation_fraction=0.0,
)

pytestmark = pytest.mark.filterwarnings("ignore:stress of the LDOS:fermisea.DomainWarning")


@pytest.fixture(scope="module")
def snapshots():
    return [made_up_snapshot(seed) for seed in range(9)]


@pytest.fixture(scope="module")
def model(snapshots):
    return with_known_pressure(train(Dataset(snapshots), SETTINGS))


@pytest.fixture(scope="module")
def few(model):
    """The same model without its potential at every tau_e."""
    return replace(model, thermal=None)


def run_cli(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_potential_is_the_default(model, snapshots):
    atoms = snapshots[2].atoms
    own = model.potential().predict(atoms, TEMPERATURES)
    found = model.predict(atoms, TEMPERATURES, forces=True)
    assert found.origin == "potential"
    for name in ("free_energy", "entropy", "heat_capacity", "internal_energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(found, name), getattr(own, name), rtol=1e-12, err_msg=name)
    rows = found.rows()
    for index, row in enumerate(rows):
        assert row["free_energy"] == row["potential_free_energy"] == found.free_energy[index]
        assert row["entropy_std"] == own.entropy_std[index]
        assert row["internal_energy_std"] == own.internal_energy_std[index]
        assert row["ldos_entropy"] == found.ldos_entropy[index]
        assert row["free_energy_uncertainty"] == pytest.approx(
            np.hypot(own.free_energy_std[index], found.transfer_error[index]), rel=1e-12
        )
    assert "F, S and C_e of the potential" in repr(found)
    np.testing.assert_array_equal(found.data.entropy, own.entropy)
    data = found.data
    assert data.attrs["free_energy_origin"] == "potential"
    whole = data.internal_energy - data.electron_temperature * data.entropy
    np.testing.assert_allclose(data.free_energy.sel(form="potential"), whole, rtol=1e-13)
    np.testing.assert_array_equal(data.free_energy.sel(form="second_order"), found.anchored_free_energy)
    assert found.data.entropy_std.attrs["long_name"].startswith("Standard deviation of the potential")
    assert found.data.fermi_level_std.attrs["long_name"].startswith("Standard deviation over the networks")


def test_every_origin_stays_reachable_by_name(model, snapshots):
    atoms = snapshots[1].atoms
    found = {name: model.predict(atoms, TEMPERATURES, GRID, free_energy=name, forces=True) for name in FREE_ENERGIES}
    for name, prediction in found.items():
        assert prediction.origin == name
        for other in FREE_ENERGIES:
            values = getattr(prediction, f"{other}_free_energy")
            np.testing.assert_allclose(values, found[other].free_energy, rtol=1e-12)
        np.testing.assert_allclose(
            prediction.internal_energy,
            prediction.free_energy + np.array(TEMPERATURES) * prediction.entropy,
            rtol=1e-13,
        )
        np.testing.assert_array_equal(prediction.fermi_level, found["ldos"].fermi_level)
        np.testing.assert_array_equal(prediction.ldos_entropy, found["ldos"].entropy)
        np.testing.assert_array_equal(prediction.ldos_heat_capacity, found["ldos"].heat_capacity)
    short = {True: "anchored", False: "ldos"}
    for anchor, name in short.items():
        same = model.predict(atoms, TEMPERATURES, GRID, anchor=anchor, forces=True)
        np.testing.assert_array_equal(same.free_energy, found[name].free_energy)
        if name == "anchored":
            np.testing.assert_array_equal(same.forces, found[name].forces)
    assert not np.allclose(found["potential"].forces[2], found["anchored"].forces[2], atol=1e-6)


def test_a_model_without_a_potential_is_anchored(few, snapshots):
    atoms = snapshots[0].atoms
    found = few.predict(atoms, TEMPERATURES)
    assert found.origin == "anchored"
    np.testing.assert_array_equal(found.entropy, found.ldos_entropy)
    assert "ldos_entropy" not in found.rows()[0]
    spread = np.hypot(np.hypot(found.uncertainty.free_energy, found.anchor_std), found.tail_error)
    np.testing.assert_allclose(found.free_energy_uncertainty, np.hypot(spread, found.transfer_error), rtol=1e-12)
    assert found.anchor_std > 0
    alone = replace(few, anchor=None).predict(atoms, TEMPERATURES)
    assert alone.origin == "ldos"
    assert few.predict(atoms, 1000.0, density=False).origin == "ldos"


def test_data_at_one_volume_say_nothing_about_the_pressure(snapshots, model):
    """The spread of the pressure shows it: F is then anchored, and stress of the potential is a warning."""
    one = train(Dataset(snapshots), SETTINGS)
    atoms, hot = snapshots[1].atoms, [9000.0]
    thermal = one.potential().thermal
    expected = [thermal.pressure_std(snapshot.atoms, hot)[0] for snapshot in snapshots]
    assert one.thermal.pressure_error(9000.0) == pytest.approx(np.sqrt(np.mean(np.square(expected))), rel=0.1)
    assert not one.thermal.has_pressure
    assert one.predict(atoms, hot).origin == "anchored"
    assert Calculator(one, 9000.0).get_potential_energy(atoms) == one.predict(atoms, 9000.0).anchored_free_energy
    with pytest.warns(DomainWarning, match=r"stress of the potential: .* hardly differ in volume; train on several"):
        one.predict(atoms, hot, free_energy="potential", forces=True)
    with pytest.warns(DomainWarning, match="stress of the potential"):
        one.potential().predict(atoms, hot)
    one.predict(atoms, hot, free_energy="potential")  # no stress, no warning
    assert model.predict(atoms, hot, forces=True).warnings == ()


def test_a_spread_of_the_pressure_is_the_spread_of_a_derivative(model, snapshots):
    """Against the variance of the derivative of a linear energy with respect to the volume."""
    thermal, atoms, t = model.potential().thermal, snapshots[0].atoms, np.array([8000.0])
    rows = []
    for scale in (0.999, 1.001):
        other = atoms.copy()
        other.set_cell(scale * atoms.cell.array, scale_atoms=True)
        rows.append((thermal.regular.at(other).row(1), other.get_volume()))
    slope = (rows[1][0] - rows[0][0]) / (rows[1][1] - rows[0][1])
    basis = thermal.terms.basis
    (shares,) = basis.free_energy(t) - basis.free_energy(1000.0)
    own, change = thermal.regular.posterior, thermal.terms.posterior
    variance = own.factor * (slope @ own.covariance @ slope)
    variance += (shares @ change.factor @ shares) * (slope @ change.covariance @ slope)
    assert thermal.pressure_std(atoms, t)[0] == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_wrong_origins_are_refused(model, few, snapshots):
    atoms = snapshots[0].atoms
    cases = [
        (model, {"free_energy": "regular"}, "got 'regular', expected potential, anchored, ldos"),
        (model, {"free_energy": "ldos", "anchor": False}, "omit one of them"),
        (model, {"free_energy": "potential", "density": False}, "needs the density"),
        (few, {"free_energy": "potential"}, "this model has none; train it on at least eight structures"),
        (replace(few, anchor=None), {"free_energy": "anchored"}, "this model has no anchor"),
    ]
    for of, options, match in cases:
        with pytest.raises(InputError, match=match):
            of.predict(atoms, 1000.0, **options)
    with pytest.raises(InputError, match="expected potential, anchored, ldos"):
        Calculator(model, 1000.0).set(free_energy="regular")
    with pytest.raises(InputError, match="anchor: got 'ldos', expected True, False or None"):
        Calculator(model, 1000.0, anchor="ldos")
    with pytest.raises(InputError, match="got potential=True and the origin 'ldos' of F; omit one of them"):
        Calculator(model, 1000.0, free_energy="ldos", potential=True)
    obstacle = replace(model, total_energy_obstacle="data of another code")
    with pytest.raises(InputError, match="forces: the model has no total free energy"):
        obstacle.predict(atoms, 1000.0, forces=True)
    with pytest.raises(InputError, match="structure"):
        model.absolute_energies(Atoms("Al"))


def test_above_its_range_the_anchored_free_energy_replaces_the_potential(model, snapshots):
    atoms, highest = snapshots[0].atoms, model.potential().highest_electron_temperature
    with (
        pytest.warns(UserWarning, match="energy window"),
        pytest.warns(DomainWarning, match="the potential serves tau_e up to .* K; at all requested tau_e, F is"),
    ):
        found = model.predict(atoms, [1000.0, 1.1 * highest], tail=False, allow_beyond_window=True)
    assert found.origin == "anchored"
    assert any("F is anchored instead" in sentence for sentence in found.warnings)
    first, last = found.rows()
    assert list(first) == list(last)
    assert np.isnan(last["potential_free_energy"])
    assert np.isnan(found.data.potential_free_energy[1])
    assert "potential_free_energy (eV)" in found.table().columns
    with pytest.raises(WindowError, match="the potential is fitted up to"):
        model.predict(atoms, 1.1 * highest, free_energy="potential", allow_beyond_window=True)


def test_the_potential_knows_one_functional_only(model):
    for options in ({"potential": True}, {"free_energy": "potential"}):
        with pytest.raises(InputError, match=r"thermal xc: the potential knows lda only, but .* ksdt"):
            Calculator(model, 1000.0, thermal_xc="ksdt", **options)
        with pytest.raises(InputError, match="thermal xc: the potential knows lda only"):
            Calculator(model, 1000.0, **options).set(thermal_xc="ksdt")
    Calculator(model, 1000.0, thermal_xc="LDA", potential=True)


def test_both_calculators_have_the_same_energies(model, snapshots):
    results = []
    for options in ({"grid": GRID}, {"potential": True}):
        atoms = snapshots[3].atoms.copy()
        atoms.calc = Calculator(model, 6000.0, **options)
        results.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(), atoms.calc.results))
    for one, two in zip(*(r[:3] for r in results), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)
    full, fast = (r[3] for r in results)
    assert full["entropy_term"] == pytest.approx(fast["entropy_term"], rel=1e-12)
    assert full["free_energy_uncertainty"] > full["free_energy_std"] == pytest.approx(fast["free_energy_std"])
    assert "fermi_level" in full
    assert "fermi_level" not in fast
    atoms = snapshots[3].atoms.copy()
    atoms.calc = Calculator(model, 6000.0, grid=GRID, free_energy="anchored")
    assert atoms.get_potential_energy() == full["anchored_free_energy"]
    atoms.calc.set(anchor=False)
    assert atoms.get_potential_energy() == full["ldos_free_energy"]
    atoms.calc.set(anchor=None)
    assert atoms.get_potential_energy() == full["potential_free_energy"] == full["free_energy"]
    assert full["heat_capacity"] == pytest.approx(fast["heat_capacity"], rel=1e-12)


def test_the_command_prints_origin_error_and_difference(model, snapshots, tmp_path):
    path, structure = tmp_path / "al.safetensors", tmp_path / "al.extxyz"
    model.save(path)
    write_structure(structure, snapshots[4].atoms)
    asked = [path, structure, "--electron-temperature", "1000", "9000"]
    printed = " ".join(run_cli("predict", *asked).split())
    assert "F, S and C_e come from the interatomic potential of the model" in printed
    assert "error: estimated standard error of F: posterior deviation of the potential" in printed
    documents = {
        name: json.loads(run_cli("predict", *asked, "--free-energy", name, "--json")) for name in FREE_ENERGIES
    }
    for name, document in documents.items():
        assert document["free_energy_origin"] == name
        for row in document["rows"]:
            assert row["free_energy"] == row[f"{name}_free_energy"]
    assert json.loads(run_cli("predict", *asked, "--json")) == documents["potential"]


@pytest.mark.filterwarnings("ignore::fermisea.DomainWarning")
def test_warnings_of_the_potential_are_warnings_of_the_prediction(model, snapshots):
    """The same sentences about spread and heat capacity as from the potential alone."""
    errors = [1e-9] * len(model.thermal.provenance["electron_temperatures"])
    narrow = replace(model.thermal, provenance=dict(model.thermal.provenance) | {"left_out_errors": errors})
    quiet = replace(model.anchor, provenance=dict(model.anchor.provenance) | {"left_out_free_energy_error": 1e-9})
    doubtful = replace(model, anchor=quiet, thermal=replace(narrow, constants=-narrow.constants))
    atoms = snapshots[0].atoms
    alone = doubtful.potential().predict(atoms, TEMPERATURES, allow_outside=True).warnings
    own = {sentence for sentence in alone if sentence.startswith(("spread", "heat capacity"))}
    assert len(own) == 2
    assert own <= set(doubtful.predict(atoms, TEMPERATURES, allow_outside=True).warnings)


def test_an_evaluation_judges_the_potential(model, snapshots):
    rows = evaluate(model, snapshots[:2], TEMPERATURES)
    for row in rows:
        snapshot, t = snapshots[row["snapshot"]], row["electron_temperature"]
        reference = snapshot.electron_temperature
        change = snapshot.free_energy(t) - snapshot.free_energy(reference)
        found = model.potential().predict(snapshot.atoms, t).free_energy - snapshot.reference.free_energy - change
        assert row["potential_free_energy_error"] == pytest.approx(found / len(snapshot.atoms), abs=1e-8)


def test_thermodynamics_follow_the_origin(model, snapshots):
    atoms = snapshots[0].atoms
    found = thermo(model, atoms, 9000.0, tolerance=0.1)
    own = model.potential().predict(atoms, found.electron_temperature.tolist())
    np.testing.assert_allclose(found.heat_capacity, own.heat_capacity, rtol=1e-12)
    pressure = -np.trace(own.stress, axis1=1, axis2=2) / 3
    np.testing.assert_allclose(found.pressure, pressure - pressure[0], atol=1e-12)
    ldos = thermo(model, atoms, 9000.0, tolerance=0.1, free_energy="ldos", pressure=False)
    np.testing.assert_array_equal(ldos.heat_capacity, ldos.prediction.ldos_heat_capacity)
