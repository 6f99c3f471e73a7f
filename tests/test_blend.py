"""Models with several tau_ref: weights, derivatives, files, training and refusals."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase.units import kB

import fermisea
from fermisea import Calculator, Dataset, InputError, TrainingConfig, WindowError, blend_models, load_model, train
from fermisea.model.file import read_header
from fermisea.physics.blend import blend_error, blended_potential, shares_of
from fermisea.physics.electron_phonon import cold_fermi_level_dos, coupling_factor, fermi_level_dos, squared_dos
from fermisea.physics.observables import PotentialObservables
from fermisea.prediction.curve import free_energy_curve
from fermisea.training import TrainingInterruptedError, checkpoint_files
from synthetic import made_up_snapshot, structure, with_known_pressure

REFERENCES = (1000.0, 4000.0)
pytestmark = pytest.mark.filterwarnings("ignore::fermisea.DomainWarning")
CONFIG = TrainingConfig(
    order=2,
    cutoff=4.0,
    hidden=(16, 16),
    epochs=3,
    batch_size=64,
    ensemble=2,
    anchor_order=2,
    anchor_cutoff=4.0,
    dtype="float64",
    energy_axis="absolute",
)


def dataset(tau_ref: float) -> Dataset:
    return Dataset(tuple(made_up_snapshot(seed, electron_temperature=tau_ref) for seed in range(9)))


@pytest.fixture(scope="module")
def model():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = train([dataset(tau_ref) for tau_ref in REFERENCES], CONFIG)
    return blend_models([with_known_pressure(part) for part in found.parts])


@pytest.fixture
def atoms():
    return structure(3)


def test_weights_add_up_and_have_their_derivatives():
    references = (1e3, 1e4, 1e5)
    for t in np.geomspace(300, 3e5, 41):
        here, step = shares_of(references, t), 1e-4 * t
        around = [shares_of(references, t + k * step) for k in (-1, 0, 1)]
        assert sum(share.weight for share in here.values()) == pytest.approx(1, abs=1e-14)
        assert sum(share.slope for share in here.values()) == pytest.approx(0, abs=1e-18)
        for index, share in here.items():
            low, middle, high = (own[index].weight if index in own else 0.0 for own in around)
            assert share.slope == pytest.approx((high - low) / (2 * step), rel=1e-5, abs=1e-7 / t)
            assert share.curvature == pytest.approx((high - 2 * middle + low) / step**2, rel=1e-3, abs=1e-5 / t**2)
    for t in references:  # C_e is continuous
        for place in (t * (1 - 1e-6), t * (1 + 1e-6)):
            share = max(shares_of(references, place).values(), key=lambda share: share.weight)
            assert share.weight == pytest.approx(1, abs=1e-15)
            assert abs(share.slope * t) < 1e-10
            assert abs(share.curvature * t**2) < 1e-4
    assert {index: share.weight for index, share in shares_of(references, 1e4).items()} == {1: 1.0}


def test_entropy_and_heat_capacity_are_derivatives_of_a_blended_free_energy():
    """Sommerfeld's F = F0 - gamma T^2 / 2 at both tau_ref, with different constants."""

    def at(t: float) -> PotentialObservables:
        shares = list(shares_of((1e3, 1e4), t).values())
        parts = [
            PotentialObservables(f0 - g * t**2 / 2, g * t, g * t, dict.fromkeys(NAMES, 1e-3))
            for f0, g in ((-2.0, 1e-8), (-2.1, 1.2e-8))
        ]
        return blended_potential(parts, shares, t)

    for t in (1500.0, 4000.0, 8000.0):
        low, here, high = (at(t + k) for k in (-1.0, 0.0, 1.0))
        assert here.entropy == pytest.approx((low.free_energy - high.free_energy) / 2, rel=1e-6)
        assert here.heat_capacity == pytest.approx(t * (high.entropy - low.entropy) / 2, rel=1e-6)
        assert here.deviations["free_energy"] == pytest.approx(1e-3)
        assert here.deviations["entropy"] > 1e-3


NAMES = ("free_energy", "internal_energy", "entropy", "heat_capacity")


def test_the_error_of_a_blend_is_largest_in_the_middle():
    middle = list(shares_of((1e3, 1e4), 5500.0).values())
    assert blend_error([-1.0, -1.2], middle) == pytest.approx(0.1)
    assert blend_error([-1.0, -1.2], list(shares_of((1e3, 1e4), 1100.0).values())) < 0.01
    assert blend_error([-1.0], list(shares_of((1e3, 1e4), 500.0).values())) == 0.0


@pytest.mark.parametrize("origin", ["ldos", "anchored", "potential"])
def test_a_prediction_is_smooth_and_consistent(model, atoms, origin):
    temperatures = [500.0, 1000.0, 1998.0, 2000.0, 2002.0, 4000.0, 6000.0]
    p = model.predict(atoms, temperatures, free_energy=origin, forces=True, allow_outside=True)
    assert p.origin == origin
    assert (p.reference_electron_temperature, *p.further_references) == REFERENCES
    for index, part in ((0, 0), (1, 0), (5, 1), (6, 1)):  # a single tau_ref has the weight 1
        own = model.parts[part].predict(atoms, temperatures[index], p.grid, free_energy=origin, forces=True)
        assert p.free_energy[index] == pytest.approx(own.free_energy, abs=1e-10)
        assert p.density[index] == pytest.approx(own.density, rel=1e-11)
        assert p.forces[index] == pytest.approx(own.forces, abs=1e-10)
        assert p.blend_error[index] == 0
    assert p.blend_error[3] > 0
    assert (p.free_energy_uncertainty >= p.blend_error).all()
    slope = (p.free_energy[4] - p.free_energy[2]) / 4
    assert p.entropy[3] == pytest.approx(-slope, rel=1e-6 if origin == "potential" else 5e-3)
    curvature = temperatures[3] * (p.entropy[4] - p.entropy[2]) / 4
    assert p.heat_capacity[3] == pytest.approx(curvature, rel=1e-4 if origin == "potential" else 2e-2)
    assert p.internal_energy[3] == pytest.approx(p.free_energy[3] + 2000 * p.entropy[3])
    assert p.electrons == pytest.approx(12)
    x, y = free_energy_curve(p)
    assert np.interp(2000.0, x, y) == pytest.approx(p.free_energy[3], abs=1e-3)
    rows = p.rows()
    assert rows[3]["blend_error"] == p.blend_error[3]
    assert p.data["blend_error"].attrs["units"] == "eV"


@pytest.mark.parametrize("origin", ["ldos", "anchored", "potential"])
def test_forces_and_stress_are_derivatives_between_two_references(model, atoms, origin):
    def energy(structure) -> float:
        return model.predict(structure, 2000.0, (8, 8, 8), free_energy=origin, uncertainty=False).free_energy

    found = model.predict(atoms, 2000.0, (8, 8, 8), free_energy=origin, forces=True)
    step, ends = 1e-4, []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * step
        ends.append(energy(moved))
    assert found.forces[1, 2] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)
    ends = []
    for sign in (-1, 1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ np.diag([1 + sign * step, 1, 1]), scale_atoms=True)
        ends.append(energy(strained))
    slope = (ends[1] - ends[0]) / (2 * step)
    assert found.stress[0, 0] * atoms.get_volume() == pytest.approx(slope, abs=1e-5)


def test_every_route_gives_the_same_numbers(model, atoms):
    p = model.predict(atoms, 2000.0, forces=True)
    potential = model.potential().predict(atoms, [2000.0, 5000.0])
    assert p.origin == "potential"
    assert potential.free_energy[0] == p.free_energy
    assert potential.free_energy_std[0] == p.free_energy_std
    assert np.array_equal(potential.forces[0], p.forces)
    for options in ({}, {"potential": True}):
        atoms.calc = Calculator(model, electron_temperature=2000.0, **options)
        assert atoms.get_potential_energy() == p.free_energy
        assert np.array_equal(atoms.get_forces(), p.forces)
    one = model.potential().predict(atoms, 2000.0)
    assert one.free_energy == p.free_energy
    assert one.forces.shape == (4, 3)
    found = fermisea.thermo(model, atoms, 4500.0, lowest=800.0, pressure=False)
    assert found.free_energy[-1] == model.predict(atoms, 4500.0).free_energy
    integral = np.trapezoid(found.heat_capacity, found.electron_temperature)
    assert integral == pytest.approx(found.internal_energy[-1] - found.internal_energy[0], rel=5e-3)


def test_coupling_is_blended_like_the_other_observables(model, atoms):
    found = fermisea.thermo(model, atoms, 4500.0, lowest=800.0, pressure=False, lambda_omega2=186.0)
    parts = [part.predict(atoms, 2000.0, density=False).density_of_states for part in model.parts]
    cold = cold_fermi_level_dos(parts[0], found.electrons)
    for k in (0, len(found.electron_temperature) // 2, -1):
        t, expected, states = found.electron_temperature[k], 0.0, 0.0
        for index, share in shares_of(REFERENCES, t).items():
            level = parts[index].fermi_level(found.electrons, t)
            expected += share.weight * squared_dos(parts[index], level, t)
            states += share.weight * fermi_level_dos(parts[index], level, t)
        coupling = coupling_factor(186.0) * expected / (cold * found.volume)
        assert found.coupling[k] == pytest.approx(coupling, rel=1e-9)
        assert found.fermi_level_dos[k] == pytest.approx(states, rel=1e-9)


def test_networks_are_blended_one_by_one(model, atoms):
    p = model.predict(atoms, [1000.0, 2000.0], free_energy="anchored")
    assert p.free_energy_std[0] == pytest.approx(0, abs=1e-9)
    assert p.free_energy_std[1] > 1e-7
    members = p.uncertainty.values(lambda result: result.free_energy)
    assert members.std(axis=0, ddof=1) == pytest.approx(p.free_energy_std)
    shares = shares_of(REFERENCES, 2000.0)
    own = [
        model.parts[index].predict(atoms, [2000.0], p.grid, free_energy="anchored").uncertainty.members[0][0]
        for index in shares
    ]
    mean = sum(share.weight * one.free_energy for share, one in zip(shares.values(), own, strict=True))
    assert members[0, 1] == pytest.approx(mean, rel=1e-12)


def test_the_file_holds_every_part(model, atoms, tmp_path):
    file = tmp_path / "two.safetensors"
    model.save(file)
    again = load_model(file)
    assert again.reference_electron_temperatures == REFERENCES
    assert read_header(file)["version"] == 3
    a, b = (m.predict(atoms, [500.0, 2000.0, 5000.0], uncertainty=False) for m in (model, again))
    assert np.array_equal(a.free_energy, b.free_energy)
    assert np.array_equal(a.density, b.density)
    assert repr(again) == repr(model)
    assert "tau_ref = 1000, 4000 K" in repr(model)
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()
    content = file.read_bytes()
    file.write_bytes(content.replace(b'\\"version\\": 3', b'\\"version\\": 2'))
    assert file.read_bytes() != content
    with pytest.raises(fermisea.FileFormatError):
        load_model(file)


def test_only_parts_of_one_material_are_blended(model):
    cold, hot = model.parts
    assert blend_models([hot, cold]).reference_electron_temperatures == REFERENCES
    for other, message in (
        (cold, "ascending"),
        (replace(hot, functional="pbe"), "functional"),
        (replace(hot, network=hot.network.members[0]), "number of networks"),
        (replace(hot, total_energy_obstacle="no density"), "obstacle"),
    ):
        with pytest.raises(InputError, match=message):
            blend_models([cold, other])
    with pytest.raises(InputError, match="single tau_ref"):
        blend_models([cold])


def test_the_potential_ends_where_one_of_two_is_missing(model, atoms):
    cold, hot = model.parts
    without = blend_models([cold, replace(hot, thermal=None)])
    assert without.potential().highest_electron_temperature == 1000.0
    assert without.predict(atoms, 900.0).origin == "potential"
    with pytest.warns(fermisea.DomainWarning, match="serves tau_e up to 1000 K"):
        assert without.predict(atoms, 1500.0).origin == "anchored"
    with pytest.raises(WindowError, match=r"1000\.0 K"):
        without.potential().predict(atoms, 1500.0)
    with pytest.raises(WindowError, match=r"1000\.0 K"):
        Calculator(without, electron_temperature=1500.0, potential=True)


def test_warnings_of_every_part_appear_once(model):
    strange = structure(3, amplitude=0.5)
    with pytest.warns(fermisea.DomainWarning) as caught:
        p = model.predict(strange, 2000.0, allow_outside=True)
    assert any(sentence.startswith("surroundings") for sentence in p.warnings)
    assert len({sentence.split(":")[0] for sentence in p.warnings}) == len(p.warnings) == len(caught)
    q = model.potential()
    with pytest.warns(fermisea.DomainWarning):
        assert any(s.startswith("surroundings") for s in q.predict(strange, 2000.0, allow_outside=True).warnings)


def test_the_tail_reaches_beyond_every_window(model, atoms):
    highest = model.domain.electron_temperature[1]
    assert highest == model.parts[-1].highest_electron_temperature
    p = model.predict(atoms, 1.05 * highest, free_energy="anchored", uncertainty=False)
    assert p.tail_electrons > 0
    with pytest.raises(WindowError):
        model.predict(atoms, 1.05 * highest, tail=False)
    level = model.predict(atoms, 2000.0, uncertainty=False).fermi_level
    assert abs(level - model.predict(atoms, 2010.0, uncertainty=False).fermi_level) < 20 * kB


def test_training_resumes_at_any_reference(tmp_path):
    config = replace(CONFIG, ensemble=1, epochs=2, anchor=False, hidden=(8,))
    data = [Dataset(dataset(tau_ref).snapshots[:3]) for tau_ref in REFERENCES]
    whole = train(data, config)
    file = tmp_path / "al.checkpoint"
    files = checkpoint_files(file, REFERENCES)
    assert [path.name for path in files] == ["al-1000K.checkpoint", "al-4000K.checkpoint"]
    seen = []

    def stop(state):
        seen.append((state.stage, state.reference_electron_temperature))
        if state.stage == "training" and state.reference_electron_temperature == 4000.0 and state.step == 1:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, TrainingInterruptedError)):
        train(data, config, checkpoint=file, progress=stop)
    assert files[0].exists()
    assert ("training", 1000.0) in seen
    with pytest.raises(InputError, match="unfinished"):
        train(data, config, checkpoint=file)
    again = train(data, config, checkpoint=file, resume=True)
    for one, two in zip(whole.parts, again.parts, strict=True):
        for name, tensor in one.network.state_dict().items():
            assert (tensor == two.network.state_dict()[name]).all()


def test_a_checkpoint_of_a_single_reference_is_not_forgotten(tmp_path):
    file = tmp_path / "al.checkpoint"
    file.write_bytes(b"")
    data = [Dataset(dataset(tau_ref).snapshots[:2]) for tau_ref in REFERENCES]
    for resume in (False, True):
        with pytest.raises(InputError, match="a single tau_ref, but the data have 2"):
            train(data, CONFIG, checkpoint=file, resume=resume)


def test_predictions_are_pickled_and_copied(model, atoms):
    p = model.predict(atoms, [1000.0, 2000.0])
    for other in (pickle.loads(pickle.dumps(p)), copy.deepcopy(p)):  # noqa: S301  # made here
        assert np.array_equal(other.free_energy, p.free_energy)
        assert other.density_of_states.fermi_level(12.0, 2000.0) == p.density_of_states.fermi_level(12.0, 2000.0)


def test_data_of_several_references_are_sorted_and_compared(tmp_path):
    for tau_ref in REFERENCES:
        for seed in (0, 1):
            made_up_snapshot(seed, electron_temperature=tau_ref).save(tmp_path / f"{tau_ref:g}-{seed}.nc")
    found = Dataset.load_each(tmp_path)
    assert [(d.electron_temperature, len(d)) for d in found] == [(1000.0, 2), (4000.0, 2)]
    with pytest.raises(InputError, match="reference electron temperature"):
        Dataset.load(tmp_path)
    other = made_up_snapshot(2, electron_temperature=4000.0)
    other.__dict__["functional"] = "pbe"
    other.save(tmp_path / "other.nc")
    with pytest.raises(InputError, match="functional"):
        Dataset.load_each(tmp_path)


def test_different_cutoffs_are_a_warning():
    data = []
    for tau_ref, cutoff in zip(REFERENCES, (200.0, 300.0), strict=True):
        found = [made_up_snapshot(seed, electron_temperature=tau_ref) for seed in (0, 1)]
        for snapshot in found:
            snapshot.provenance["cutoff_eV"] = cutoff
        data.append(Dataset(tuple(found)))
    with pytest.warns(UserWarning, match="cutoffs of 200, 300 eV"):
        train(data, replace(CONFIG, ensemble=1, epochs=1, anchor=False, hidden=(4,)))


def test_the_command_trains_and_predicts(tmp_path, capsys):
    from fermisea.cli.app import main  # noqa: PLC0415

    folder = tmp_path / "data"
    folder.mkdir()
    for tau_ref in REFERENCES:
        for seed in (0, 1, 2):
            made_up_snapshot(seed, electron_temperature=tau_ref).save(folder / f"{tau_ref:g}-{seed}.nc")
    (tmp_path / "train.toml").write_text(
        'order = 2\ncutoff = 4.0\nhidden = [8]\nepochs = 2\nenergy_axis = "absolute"\n'
    )
    out = tmp_path / "al.safetensors"
    assert main(["train", str(folder), "--out", str(out), "--config", str(tmp_path / "train.toml"), "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert [part["reference_electron_temperature"] for part in parts] == list(REFERENCES)
    assert not list(tmp_path.glob("*.checkpoint"))
    fermisea.structures.write_structure(tmp_path / "al.extxyz", structure(0))
    command = ["predict", str(out), str(tmp_path / "al.extxyz"), "--electron-temperature", "1000", "2000"]
    assert main([*command, "--allow-outside", "--out", str(tmp_path / "p"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["blend_error"] == 0
    assert rows[1]["blend_error"] > 0
    assert main(["predict", *command[1:], "--allow-outside", "--out", str(tmp_path / "q")]) == 0
    assert "blend of tau_ref = 1000, 4000 K" in capsys.readouterr().out.replace("\n", " ")
    assert main(["evaluate", str(out), str(folder), "--out", str(tmp_path / "e"), "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert [part["reference_electron_temperature"] for part in parts] == list(REFERENCES)
    assert all(part["rows"] for part in parts)
    assert (tmp_path / "e" / "4000K" / "errors.csv").exists()
    assert main(["info", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hotter"][0]["reference_electron_temperature"] == 4000.0
    assert main(["info", str(folder), "--json"]) == 0
    assert not any(line.startswith("mixed") for line in json.loads(capsys.readouterr().out)["warnings"])


def test_ensembles_are_combined_at_each_reference(model, atoms):
    parts = [replace(part, network=part.network.members[0]) for part in model.parts]
    one = blend_models(parts)
    both = fermisea.combine_models([one, model])
    assert both.reference_electron_temperatures == REFERENCES
    assert [len(part.network.members) for part in both.parts] == [3, 3]
    assert both.predict(atoms, 2000.0).uncertainty is not None
    with pytest.raises(InputError, match="different tau_ref"):
        fermisea.combine_models([model, parts[0]])


def test_a_functional_of_tau_e_is_blended_too(model, atoms):
    temperatures = [1998.0, 2000.0, 2002.0]
    p = model.predict(atoms, temperatures, free_energy="anchored", thermal_xc="ksdt", uncertainty=False)
    assert p.thermal_xc == "ksdt"
    assert p.entropy[1] == pytest.approx((p.free_energy[0] - p.free_energy[2]) / 4, rel=5e-3)
    assert p.free_energy[1] != model.predict(atoms, 2000.0, free_energy="anchored").free_energy


def test_without_a_density_only_the_states_are_blended(model, atoms):
    p = model.predict(atoms, [2000.0, 3000.0], density=False)
    parts = [part.predict(atoms, [2000.0, 3000.0], density=False) for part in model.parts]
    for k, t in enumerate((2000.0, 3000.0)):
        weights = [share.weight for share in shares_of(REFERENCES, t).values()]
        for name in ("entropy", "fermi_level", "band_energy"):
            mean = sum(w * getattr(part, name)[k] for w, part in zip(weights, parts, strict=True))
            assert getattr(p, name)[k] == pytest.approx(mean, rel=1e-12)


def test_the_potential_serves_every_temperature_between_two_references(model, atoms):
    """F below a hot tau_ref is far above F at this tau_ref, which no warning may take for an impossible structure."""
    hot = replace(model.parts[1], training_domain=replace(model.parts[1].domain, free_energy_per_atom=(-300.0, -299.0)))
    cold = model.parts[0]
    with pytest.raises(InputError, match="no structure has such an energy"):
        blend_models([cold, hot]).potential().predict(atoms, 5000.0)
    f = hot.potential().thermal.predict(atoms, 4000.0).free_energy / 4
    near = replace(hot, training_domain=replace(hot.domain, free_energy_per_atom=(f - 9.9995, f - 9.9995)))
    found = blend_models([cold, near]).potential().predict(atoms, [2000.0, 3000.0])
    assert found.free_energy.min() / 4 > f
    assert found.warnings == ()


def test_the_estimated_error_at_one_temperature_does_not_depend_on_the_others(model, atoms):
    alone = model.predict(atoms, 1000.0, free_energy="anchored").free_energy_uncertainty
    together = model.predict(atoms, [1000.0, 3000.0, 5000.0], free_energy="anchored").free_energy_uncertainty
    assert together[0] == pytest.approx(alone, rel=1e-6)


def test_the_default_origin_follows_the_potentials_that_know_the_pressure(model, atoms):
    cold, hot = model.parts
    terms = replace(hot.thermal, provenance={k: v for k, v in hot.thermal.provenance.items() if k != "pressure_errors"})
    mixed = blend_models([cold, replace(hot, thermal=terms)])
    assert mixed.predict(atoms, 900.0).origin == "potential"
    assert mixed.predict(atoms, 2000.0).origin == "anchored"
    assert mixed.predict(atoms, 2000.0, free_energy="potential").origin == "potential"
    assert "potential at tau_e up to 1000 K" in repr(mixed)


def test_without_a_free_energy_the_heat_capacity_is_a_derivative_of_the_entropy(model, atoms):
    p = model.predict(atoms, [1998.0, 2000.0, 2002.0], density=False)
    assert p.heat_capacity[1] == pytest.approx(500 * (p.entropy[2] - p.entropy[0]), rel=1e-4)


def test_wrong_lists_of_models_and_data_are_refused_at_once(model, tmp_path):
    for wrong in ([], model, ["al.safetensors"]):
        for function in (blend_models, fermisea.combine_models):
            with pytest.raises(InputError, match="expected a list of models"):
                function(wrong)
    cold, hot = model.parts
    with pytest.raises(InputError, match="one tau_ref each"):
        replace(cold, hotter=(model,))
    small = [Dataset(dataset(tau_ref).snapshots[:2]) for tau_ref in REFERENCES]
    with pytest.raises(InputError, match="two datasets with tau_ref = 1000 K"):
        train([small[0], small[0]], CONFIG)
    made_up_snapshot(0, electron_temperature=REFERENCES[1]).save(tmp_path / "hot.nc")
    config = replace(CONFIG, ensemble=1, epochs=1, anchor=False, hidden=(4,))
    assert train([small[0], tmp_path], config).reference_electron_temperatures == REFERENCES
    with pytest.raises(InputError, match="no snapshot"):
        train([], config)
    other = Dataset((made_up_snapshot(0, electron_temperature=REFERENCES[1], symbol="Mg"),))
    with pytest.raises(InputError, match=r"elements Al .* and Mg"):
        train([small[0], other], config)
    assert hot.hotter == ()
