import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from fermisea.analysis.evaluation import evaluate, summary
from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError, WindowError
from fermisea.model.loading import load_model
from fermisea.physics.broadening import Broadening
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.error_measures import ERROR_MEASURES, QUANTITIES, evaluation_units
from fermisea.physics.registry import OBSERVABLES
from synthetic import ENERGIES, made_up_snapshot
from test_prediction import random_model

TEMPERATURES = [300.0, 1000.0, 5000.0]


def copy_of(snapshot: Snapshot, **changes) -> Snapshot:
    names = ("atoms", "grid", "energy_grid", "ldos", "density", "electron_temperature", "ion_temperature", "broadening",
             "reference", "ions", "functional", "provenance", "total_energy_obstacle")  # fmt: skip
    return Snapshot(**({name: getattr(snapshot, name) for name in names} | changes))


@pytest.fixture(scope="module")
def model():
    return dataclasses.replace(random_model("float64"), functional="lda")


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return made_up_snapshot(5)


@pytest.fixture(scope="module")
def rows(model, snapshot):
    return evaluate(model, [snapshot], TEMPERATURES)


def test_a_model_has_no_error_against_its_own_ldos(model, snapshot):
    own = copy_of(snapshot, ldos=model.ldos(snapshot.atoms, snapshot.grid))
    for row in evaluate(model, [own], TEMPERATURES):
        assert row["ldos_error_percent"] < 1e-4
        assert row["density_error_percent"] < 1e-5
        assert row["dos_error_percent"] < 1e-5
        for name in ("fermi_level", "band_energy", "entropy_term", "free_energy", "free_energy_change"):
            assert abs(row[f"{name}_error"]) < 1e-6, name


def test_errors_are_differences_per_atom(model, snapshot, rows):
    predicted = model.predict(snapshot.atoms, TEMPERATURES, snapshot.grid, anchor=False)
    reference = model.predict(snapshot.atoms, 1000.0, snapshot.grid, anchor=False).free_energy
    for row, t, energy, density in zip(rows, TEMPERATURES, predicted.free_energy, predicted.density, strict=True):
        true = snapshot.observables(t)[0]
        assert row["electron_temperature"] == t
        assert row["free_energy_error"] == pytest.approx((energy - snapshot.free_energy(t)) / 4, abs=1e-10)
        assert row["free_energy_change_error"] == pytest.approx(
            (energy - reference - snapshot.free_energy(t) + snapshot.free_energy(1000.0)) / 4, abs=1e-10
        )
        band = predicted.band_energy[TEMPERATURES.index(t)] - true.band_energy
        heat = t * (predicted.entropy[TEMPERATURES.index(t)] - true.entropy)
        assert row["band_energy_error"] == pytest.approx(band / 4, abs=1e-10)
        assert row["entropy_term_error"] == pytest.approx(-heat / 4, abs=1e-10)
        error = 100 * np.abs(density - true.density).mean() / true.density.mean()
        assert row["density_error_percent"] == pytest.approx(error, rel=1e-9)
    assert rows[1]["free_energy_change_error"] == pytest.approx(0.0, abs=1e-12)


def test_ldos_error_of_the_mean_is_hundred_percent(model, snapshot):
    blind = dataclasses.replace(model, network=random_model("float64").network)
    mean = torch.from_numpy(snapshot.dos / snapshot.grid.volume)
    width = blind.network.widths[-1]
    blind.network.set_normalisation(blind.network.input_mean, blind.network.input_scale, mean, torch.ones_like(mean))
    blind.network.set_readout(torch.zeros(len(mean), width), torch.zeros(len(mean)))
    row = evaluate(blind, [snapshot], [1000.0])[0]
    assert row["ldos_error_percent"] == pytest.approx(100.0, rel=1e-6)
    assert row["dos_error_percent"] < 1e-6


def test_closure_error_stands_beside(model, snapshot, rows):
    assert abs(rows[0]["closure_error"]) < 1e-9
    assert rows[0]["closure_density_error_percent"] < 1e-9
    shifted = dataclasses.replace(snapshot.reference, free_energy=snapshot.reference.free_energy - 0.4)
    other = evaluate(model, [copy_of(snapshot, reference=shifted, density=1.01 * snapshot.density)], [1000.0])[0]
    assert other["closure_error"] == pytest.approx(0.1, abs=1e-9)
    assert other["closure_density_error_percent"] == pytest.approx(100 / 101, rel=1e-6)
    assert other["reference_error"] == pytest.approx(rows[1]["free_energy_error"] + 0.1, abs=1e-9)


def test_where_no_total_energy_is_to_be_had(model, snapshot, rows, tmp_path):
    obstacle = "Al.upf is an ultrasoft pseudopotential"
    soft = copy_of(snapshot, total_energy_obstacle=obstacle)
    soft.save(tmp_path / "soft.nc")
    dataclasses.replace(model, total_energy_obstacle=obstacle).save(tmp_path / "soft.safetensors")
    soft, blind = Snapshot.load(tmp_path / "soft.nc"), load_model(tmp_path / "soft.safetensors")
    assert soft.total_energy_obstacle == blind.total_energy_obstacle == obstacle
    with pytest.raises(InputError, match=f"total free energy: {obstacle}"):
        soft.free_energy(1000.0)
    prediction = blind.predict(soft.atoms, TEMPERATURES, soft.grid)
    for name in ("free_energy", "internal_energy", "transfer_error"):
        with pytest.raises(InputError, match=obstacle):
            getattr(prediction, name)
    same = model.predict(soft.atoms, TEMPERATURES, soft.grid)
    np.testing.assert_allclose(prediction.density, same.density, rtol=1e-12)
    for row, full in zip(evaluate(blind, [soft], TEMPERATURES), rows, strict=True):
        for name in row:
            assert row[name] == (full[name] if name == "formula" else pytest.approx(full[name], rel=1e-9, abs=1e-12))
        assert not any("free_energy" in name for name in row)
        assert {"band_energy_error", "entropy_term_error", "density_error_percent"} <= set(row)
    with pytest.raises(InputError, match="obstacle to total energies"):
        Dataset((snapshot, soft))


@pytest.mark.parametrize("integration", ["mala", "sharpened"])
def test_integration_can_be_chosen(model, snapshot, integration):
    dos = DensityOfStates(snapshot.energies, snapshot.dos, 0.5, integration)
    if integration == "sharpened":
        dos = snapshot.density_of_states  # with a tail
    mu = dos.fermi_level(snapshot.electrons, 3000.0)
    assert snapshot.observables(3000.0, integration=integration)[0].band_energy == dos.band_energy(mu, 3000.0)
    prediction = model.predict(snapshot.atoms, 3000.0, snapshot.grid, integration=integration)
    dos = DensityOfStates(prediction.energies, prediction.dos, 0.5, integration)
    mu = dos.fermi_level(snapshot.electrons, 3000.0)
    assert prediction.entropy == pytest.approx(dos.entropy(mu, 3000.0), rel=1e-9)


def test_rows_are_json(rows):
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_default_temperatures_fit_the_window(model, snapshot):
    seen = []
    rows = evaluate(model, [snapshot, snapshot], progress=lambda *state: seen.append(state))
    assert [row["electron_temperature"] for row in rows] == 2 * [300.0, 1000.0, 3000.0]  # 10 kK exceeds 9 kK
    assert [row["snapshot"] for row in rows] == 3 * [0] + 3 * [1]
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(WindowError):
        evaluate(model, [snapshot], [100_000.0])


def test_summary_is_the_root_mean_square():
    rows = [
        {"ion_temperature": t_i, "electron_temperature": 300.0, "free_energy_error": e, "free_energy": 5.0, "atoms": 8}
        for t_i, e in ((100.0, 3.0), (100.0, -4.0), (None, 1.0))
    ]
    table = summary(rows)
    assert [(r["ion_temperature"], r["snapshots"]) for r in table] == [(100.0, 2), (None, 1)]
    assert table[0]["free_energy_error"] == pytest.approx(math.sqrt(12.5))
    assert "free_energy" not in table[0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"broadening": Broadening("gaussian", 0.6)}, "broadening"),
        ({"functional": "pbe"}, "functional"),
        ({"electron_temperature": 300.0}, "electron temperature"),
        ({"energy_grid": dataclasses.replace(ENERGIES, start=-5.0)}, "energy grid"),
    ],
)
def test_refuses_data_of_another_kind(model, snapshot, changes, named):
    with pytest.raises(InputError, match=f"snapshot 0: its {named} is"):
        evaluate(model, [copy_of(snapshot, **changes)])


def test_every_column_has_a_unit_or_is_no_quantity(rows):
    bare = {name for row in (*rows, *summary(rows)) for name in row if name not in evaluation_units()}
    assert bare <= {"snapshot", "snapshots", "formula", "atoms"}
    assert set(ERROR_MEASURES) <= {name for row in rows for name in row} | {
        "anchored_free_energy_error",
        "potential_free_energy_error",
    }


def test_differences_of_observables_are_named_after_them():
    for name in QUANTITIES:
        measure = ERROR_MEASURES[f"{name}_error"]
        assert measure.symbol == OBSERVABLES[name].symbol
        assert measure.unit == OBSERVABLES[name].unit_of(per_atom=True)
