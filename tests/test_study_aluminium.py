"""The study of aluminium, small: its structures, its formulas, and a run from structures to the page."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ase import units as ase_units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from ase.phonons import Phonons
from rich.console import Console

from fermisea.campaign import Campaign
from fermisea.cli import main
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError
from fermisea.model.loading import load_model
from fermisea.studies.aluminium import AluminiumSettings, run_aluminium
from fermisea.studies.aluminium.data import ROUND, members
from fermisea.studies.aluminium.errors import ORIGINS
from fermisea.studies.aluminium.figures import cost, spread_against_error
from fermisea.studies.aluminium.kinds import Kind, liquid_volume
from fermisea.studies.aluminium.probes import LINE, probes
from fermisea.studies.aluminium.properties import (
    Result,
    elastic_constants,
    lattice_energies,
    line,
    phonons,
    pressure,
    vacancy_energies,
)
from fermisea.studies.aluminium.settings import HotRuns, ReferenceTemperature
from fermisea.studies.aluminium.tables import cost_rows, left_out_rows, spread_rows
from fermisea.training.config import TrainingConfig

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*F from the LDOS differs from F of the DFT code"),
    pytest.mark.filterwarnings("ignore:cutoff. got 60 eV"),
    pytest.mark.filterwarnings("ignore::fermisea.DomainWarning"),
]
CONSTANT = 4.05
SHIPPED = AluminiumSettings.load("aluminium")
SMALL = AluminiumSettings(
    lattice_constant=CONSTANT,
    kinds=(
        Kind("perfect", (1, 1, 1), (1, 1, 1), training=10, scales=(0.92, 1.08), shear=0.05),
        Kind("liquid", (1, 1, 1), (1, 1, 1), training=2, test=2, liquid=True, ion_temperatures=(2000, 3000)),
        Kind(
            "vibrating",
            (1, 1, 1),
            (1, 1, 1),
            training=1,
            ion_temperatures=(50, 50),
            thermalise=0.02,
            sampler="potential",
        ),
    ),
    reference_temperatures=(
        ReferenceTemperature(1000.0, (-8.0, 16.0), 0.5),
        ReferenceTemperature(10_000.0, (-8.0, 24.0), 0.5),
    ),
    kpts=(1, 1, 1),
    hot=(HotRuns("liquid", 1, (1, 1, 1), (20_000.0,)),),
    dft=Campaign(xc="pbe", cutoff=60.0, shift=(1, 1, 1)),
    training=TrainingConfig(
        validation_fraction=0.0,
        epochs=2,
        hidden=(8,),
        order=1,
        ensemble=2,
        anchor_order=2,
        batch_size=256,
        allow_closure_error=True,
    ),
)


def emt_results(chosen):
    """Returns what ASE's EMT gives for the probes; tau_e is without effect."""
    found = {}
    for probe in chosen:
        atoms = probe.atoms.copy()
        atoms.calc = EMT()
        for tau_e in probe.electron_temperatures:
            found[probe.name, tau_e] = Result(
                atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
            )
    return found


@pytest.fixture(scope="module")
def with_emt():
    chosen = probes(CONSTANT, (8, 8, 8))
    return chosen, emt_results(chosen)


def test_phonons_agree_with_ase(with_emt, tmp_path):
    chosen, found = with_emt
    probe = next(p for p in chosen if p.group == "phonons")
    ours = phonons(found, probe, 300.0, CONSTANT)
    theirs = Phonons(bulk("Al", "fcc", a=CONSTANT), EMT(), supercell=(6, 6, 6), delta=0.02, name=str(tmp_path / "p"))
    theirs.run()
    theirs.read(acoustic=True)
    at_x, at_l = 1000 * theirs.band_structure(np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.5]])) * 0.2417989242
    assert [ours["X transverse"], ours["X longitudinal"]] == pytest.approx([at_x[0], at_x[2]], rel=2e-3)
    assert [ours["L transverse"], ours["L longitudinal"]] == pytest.approx([at_l[0], at_l[2]], rel=2e-3)


def test_line_and_elastic_constants_agree_with_an_equation_of_state(with_emt):
    chosen, found = with_emt
    along = line(found, chosen, 1000.0)
    assert np.abs(along["slope"] - along["pressure"][1:-1]).max() < 0.05  # GPa: -dF/dV in steps of 1.5 %
    curve = EquationOfState(along["volume"], along["free_energy"], eos="birchmurnaghan")
    volume, _, modulus = curve.fit(warn=False)
    assert np.interp(volume, along["volume"][1:-1], along["modulus"]) == pytest.approx(
        modulus / ase_units.GPa, rel=0.05
    )
    constants = elastic_constants(found, 300.0)
    middle = along["modulus"][len(LINE) // 2 - 1]
    push = along["pressure"][len(LINE) // 2]
    # the modulus at finite pressure: B = (C11 + 2 C12 + P) / 3 with constants from differences of the stress
    assert (constants["C11"] + 2 * constants["C12"] + push) / 3 == pytest.approx(middle, rel=0.03)


def test_energy_differences_of_emt(with_emt):
    _, found = with_emt
    differences = vacancy_energies(found, 1000.0) | lattice_energies(found, 1000.0)
    assert 0 < differences["vacancy, relaxed (eV)"] <= differences["vacancy, ideal (eV)"] < 1.5
    assert differences["bcc - fcc (meV/atom)"] > differences["hcp - fcc (meV/atom)"] > -20


@pytest.mark.parametrize("electron_temperature", [1000.0, 10_000.0])
def test_probes_have_meshes_of_equal_density(electron_temperature):
    for probe in probes(CONSTANT, (8, 8, 8), (12, 12, 12)):
        number = 12 if electron_temperature == 1000.0 and probe.group not in ("vacancy", "phonons") else 8
        mesh = probe.mesh(electron_temperature)
        spacing = 2 * np.pi * probe.atoms.cell.reciprocal().lengths() / mesh
        assert (np.abs(spacing / (2 * np.pi / CONSTANT / number) - 1) < 0.16).all(), probe.name


def test_cells_of_fcc_have_equivalent_k_meshes():
    """Cells of different sizes then have the same errors of the mesh, and one model can describe them all."""
    for kind in (kind for kind in SHIPPED.kinds if kind.lattice == "fcc"):
        for tau_ref, number in ((1000.0, 8), (10_000.0, 6)):
            assert kind.mesh(tau_ref) == tuple(number // n for n in kind.repeat), kind.name


def test_members_do_not_depend_on_their_number():
    kind = next(kind for kind in SHIPPED.kinds if kind.name == "small")
    more = replace(kind, training=2 * kind.training)
    for number in (0, 5):
        one, two = (each.structure("training", number, CONSTANT, 1) for each in (kind, more))
        assert np.array_equal(one.positions, two.positions)
        assert np.array_equal(one.cell.array, two.cell.array)
    other = kind.structure("test", 0, CONSTANT, 1)
    assert not np.allclose(other.cell.array, kind.structure("training", 0, CONSTANT, 1).cell.array)


def test_a_prefix_of_the_order_has_a_share_of_every_kind():
    order = members(SHIPPED, sampler="emt")
    assert len({member.name for member in order}) == len(order)
    half = order[: len(order) // 2]
    for kind in (kind for kind in SHIPPED.kinds if kind.sampler == "emt"):
        for part in ("training", "test"):
            number = sum(member.kind is kind and member.part == part for member in half)
            assert abs(number - kind.count(part) / 2) <= 1
    assert members(SHIPPED, 2, "emt") == order[: 2 * ROUND]


def test_strained_crystals_stay_within_their_limits():
    kind = next(kind for kind in SHIPPED.kinds if kind.name == "perfect")
    reached = []
    for number in range(kind.training):
        cell = kind.structure("training", number, CONSTANT, 1).cell.array / CONSTANT
        scale = np.cbrt(np.linalg.det(cell))
        principal = np.linalg.eigvalsh(cell / scale - np.eye(3))
        assert 0.92 <= scale <= 1.08
        assert np.abs(principal).max() < 0.052
        reached.append(np.abs(principal).max())
    assert max(reached) > 0.03


def test_liquids_are_melted_and_have_the_density_of_the_liquid():
    # Assael et al., J. Phys. Chem. Ref. Data 35, 285 (2006): 2377.23 kg/m3 at the melting point
    assert liquid_volume(933.47, 0.0) == pytest.approx(26.9815385 * 1.66053907 / 2.37723, rel=2e-3)
    kind = Kind("liquid", (2, 2, 2), (1, 1, 1), training=1, liquid=True, ion_temperatures=(1500, 1500))
    atoms = kind.structure("training", 0, CONSTANT, 1)
    start = bulk("Al", "fcc", a=atoms.cell.lengths()[0] / 2, cubic=True).repeat(2)
    moved = np.linalg.norm(atoms.get_distances(0, range(32), mic=True) - start.get_distances(0, range(32), mic=True))
    assert moved > 3.0
    assert atoms.info["ion_temperature"] == 1500


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lattice": "sc"}, "lattice"),
        ({"added": 2}, "added atoms"),
        ({"added": 1, "lattice": "bcc"}, "added atoms"),
        ({"training": -1}, "training: got -1, expected an integer of at least 0"),
        ({"training": 2.5}, "training: got 2.5"),
        ({"kpts": "4x4x4"}, "kpts: got '4x4x4', expected 3 integers"),
        ({"repeat": (0, 1, 1)}, "repeat"),
        ({"scales": (0.9,)}, "scales"),
        ({"shear": float("nan")}, "shear"),
        ({"sampler": "lammps"}, "sampler"),
        ({"test": 2, "test_ion_temperatures": (300.0,)}, "test_ion_temperatures"),
        ({"liquid": True}, "ion_temperatures"),
        ({"ion_temperatures": (500.0, 100.0)}, "ion_temperatures"),
    ],
)
def test_bad_kinds_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(Kind("some", (1, 1, 1), (1, 1, 1), training=1), **changes)


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match="hot: got 3 structures"):
        replace(SMALL, hot=(HotRuns("liquid", 3, (1, 1, 1), (20_000.0,)),))
    with pytest.raises(InputError, match="ascending"):
        replace(SMALL, reference_temperatures=SMALL.reference_temperatures[::-1])
    with pytest.raises(InputError, match="energy_window"):
        ReferenceTemperature(1000.0, (16.0, -8.0), 0.5)
    with pytest.raises(InputError, match="energy_spacing"):
        ReferenceTemperature(1000.0, (-8.0, 16.0), 0)
    with pytest.raises(InputError, match=r"references: got .*expected any of lattices"):
        replace(SMALL, references=("lattice",))
    with pytest.raises(InputError, match="lattice_constant"):
        replace(SMALL, lattice_constant=-4.05)
    with pytest.raises(InputError, match="kinds: the keys training are missing"):
        AluminiumSettings.from_dict(SMALL.to_dict() | {"kinds": [{"name": "a", "repeat": [1] * 3, "kpts": [1] * 3}]})
    with pytest.raises(InputError, match=r"expected tables \[\[kinds\]\]"):
        AluminiumSettings.from_dict(SMALL.to_dict() | {"kinds": {"name": "a"}})
    with pytest.raises(InputError, match="planewave"):
        replace(SMALL, dft=Campaign(engine="espresso"))
    for name, value in {"energy_window": (-8.0, 16.0), "energy_spacing": 0.5, "kpts": (1, 1, 1)}.items():
        with pytest.raises(InputError, match=f"dft: got {name}, which would have no effect; give it in "):
            replace(SMALL, dft=replace(SMALL.dft, **{name: value}))
    with pytest.raises(InputError, match="rounds"):
        run_aluminium(SMALL, tmp_path, Console(quiet=True), rounds=0)
    path = tmp_path / "settings.toml"
    path.write_text("lattice_constant = 4.05\n")
    with pytest.raises(InputError, match="reference_temperatures are missing"):
        AluminiumSettings.load(path)


def test_settings_survive_the_file():
    assert AluminiumSettings.from_dict(json.loads(json.dumps(SHIPPED.to_dict()))) == SHIPPED


@pytest.fixture(scope="module")
def finished(made_once):
    return made_once("aluminium-study", lambda folder: run_aluminium(SMALL, folder, Console(quiet=True)))


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.mark.slow
def test_the_study_writes_model_tables_figures_and_page(finished):
    model = load_model(finished / "aluminium.safetensors")
    assert model.reference_electron_temperatures == (1000.0, 10_000.0)
    for name in (
        "errors",
        "changes",
        "spread",
        "left_out",
        "line",
        "line_errors",
        "elastic",
        "phonons",
        "differences",
        "hot",
        "cost",
    ):
        assert rows_of(finished / f"{name}.csv"), name
    data = rows_of(finished / "data.csv")
    assert len(data) == 2 * (10 + 2 + 2 + 1)
    assert {row["part"] for row in data} == {"training", "test"}
    costs = rows_of(finished / "cost.csv")
    assert [(row["atoms"], float(row["electron_temperature"])) for row in costs] == [("4", 1000.0), ("4", 10_000.0)]
    assert [row["calculations"] for row in costs] == ["15", "15"]
    assert all(float(row[name]) > 0 for row in costs for name in ("dft_seconds", "prediction_seconds"))
    assert (finished / "figures" / "cost.png").exists()
    assert (finished / "report.html").stat().st_size > 100_000
    text = (finished / "aluminium.md").read_text(encoding="utf-8")
    assert "13 structures: 10 perfect, 2 liquid, 1 vibrating." in text
    assert "nan" not in text


@pytest.mark.slow
def test_errors_are_those_of_a_prediction(finished):
    model = load_model(finished / "aluminium.safetensors")
    row = json.loads((finished / "errors" / "test-liquid-00.json").read_text())["rows"][1]
    run = json.loads((finished / "references" / "test-liquid-00-20000K.json").read_text())["rows"][0]
    hot = json.loads((finished / "errors" / "test-liquid-00-hot.json").read_text())["rows"]
    snapshot = Snapshot.load(finished / "data" / "test" / "10000K" / "1x1x1" / "test-liquid-00.nc")
    p = model.predict(
        snapshot.atoms, [10_000.0, 20_000.0], snapshot.grid, free_energy="anchored", allow_outside=True, forces=True
    )
    assert row["anchored_error"] == pytest.approx((p.free_energy[0] - snapshot.reference.free_energy) / 4, rel=1e-6)
    assert row["force_error"] == pytest.approx(
        np.sqrt(np.mean((p.forces[0] - snapshot.reference.forces) ** 2)), rel=1e-4
    )
    change = run["free_energy"] - snapshot.reference.free_energy
    found = next(entry for entry in hot if entry["start"] == 10_000.0)
    assert found["change"] == pytest.approx(change / 4)
    assert found["anchored_error"] == pytest.approx((p.free_energy[1] - p.free_energy[0] - change) / 4, abs=1e-6)


@pytest.mark.slow
def test_pressure_of_dft_is_compared_without_its_pulay_part(finished):
    model = load_model(finished / "aluminium.safetensors")
    row = json.loads((finished / "errors" / "test-liquid-00.json").read_text())["rows"][0]
    snapshot = Snapshot.load(finished / "data" / "test" / "1000K" / "1x1x1" / "test-liquid-00.nc")
    virial = model.anchor.provenance["pulay_virial_per_atom"]
    shift = -virial * 4 / snapshot.atoms.get_volume() * 160.2176634
    assert row["pressure"] == pytest.approx(pressure(snapshot.reference.stress) - shift)


@pytest.mark.slow
def test_a_finished_study_computes_nothing_again(finished, monkeypatch):
    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("fermisea.engines.planewave.engine.PlaneWave.run", never)
    monkeypatch.setattr("fermisea.engines.planewave.engine.PlaneWave.solve", never)
    monkeypatch.setattr("fermisea.studies.training.train", never)
    monkeypatch.setattr("fermisea.studies.aluminium.errors._rows", never)
    assert run_aluminium(SMALL, finished, Console(quiet=True)) == finished / "report.html"


@pytest.mark.slow
def test_a_study_with_fewer_references_has_fewer_tables(finished):
    page = run_aluminium(replace(SMALL, references=("lattices",)), finished, Console(quiet=True))
    assert "Phonons" not in page.read_text(encoding="utf-8")
    assert [row["quantity"] for row in rows_of(finished / "differences.csv")] == 2 * [
        "bcc - fcc (meV/atom)",
        "hcp - fcc (meV/atom)",
    ]
    text = (finished / "aluminium.md").read_text(encoding="utf-8")
    assert "bcc - fcc" in text
    assert "C11" not in text


def test_rounds_are_parts_of_the_order(monkeypatch):
    monkeypatch.setattr("fermisea.studies.aluminium.data.ROUND", 13)
    assert len(members(SMALL, 1, "emt")) == 13
    assert len(members(SMALL, 2, "emt")) == 14
    assert [member.kind.name for member in members(SMALL, 1, "potential")] == ["vibrating"]


@pytest.mark.slow
def test_another_study_in_the_folder_is_refused(finished):
    with pytest.raises(InputError, match="other settings"):
        run_aluminium(replace(SMALL, seed=2), finished, Console(quiet=True))


def test_the_command_names_an_unknown_file(capsys, tmp_path):
    assert main(["study", "aluminium", "--settings", "missing.toml", "--out", str(tmp_path / "s")]) == 2
    assert "missing.toml" in capsys.readouterr().err


def test_estimated_errors_of_left_out_structures_are_beside_those_of_test_structures():
    structure = {"formula": "Al32", "volume_per_atom": 17.0, "ion_temperature": 933.0}
    part = SimpleNamespace(
        reference_electron_temperature=1000.0,
        provenance={"snapshots": [structure] * 3},
        anchor=SimpleNamespace(
            provenance={"left_out_free_energies": {"errors": [0.001, -0.009, 0.002], "stds": [0.001, 0.004, 0.002]}}
        ),
    )
    old = SimpleNamespace(reference_electron_temperature=10_000.0, anchor=SimpleNamespace(provenance={}))
    left_out = left_out_rows(SimpleNamespace(parts=(part, old)))
    assert [row["electron_temperature"] for row in left_out] == [1000.0] * 3
    assert left_out[0]["formula"] == "Al32"
    tests = [{f"{origin}_{kind}": 0.001 * n for origin in ORIGINS for kind in ("error", "std")} for n in (1, 3)]
    rows = {row["origin"]: row for row in spread_rows(tests, left_out)}
    assert {name: row["number"] for name, row in rows.items()} == dict.fromkeys(ORIGINS, 2) | {"left_out": 3}
    assert rows["left_out"]["rank_correlation"] == pytest.approx(1.0)
    assert rows["left_out"]["within_95_percent_interval"] == pytest.approx(200 / 3)
    assert "left_out" not in {row["origin"] for row in spread_rows(tests, [])}
    (axis,) = spread_against_error(tests, left_out).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axis.get_lines()}
    assert drawn["potential, left out of the fit"] == [[1.0, 1.0], [4.0, 9.0], [2.0, 2.0]]
    assert drawn["LDOS alone"] == [[1.0, 1.0], [3.0, 3.0]]


def test_costs_are_medians_by_size_of_the_recorded_times():
    times = [
        {"atoms": atoms, "electron_temperature": tau_e, "seconds": seconds}
        for atoms, tau_e, seconds in (
            (8, 1000.0, 9.0),
            (4, 1000.0, 2.0),
            (4, 1000.0, 4.0),
            (4, 1000.0, 90.0),
            (4, 1000.0, 0.0),
            (4, 10_000.0, 7.0),
        )
    ]
    errors = [
        {"name": name, "atoms": atoms, "prediction_seconds": seconds}
        for name, atoms, seconds in (("a", 4, 0.2), ("a", 4, 0.2), ("b", 4, 0.4), ("old", 4, None), ("c", 8, None))
    ]
    rows = cost_rows(times, errors)
    shown = [(r["atoms"], r["electron_temperature"], r["calculations"], r["dft_seconds"]) for r in rows]
    assert shown == [(4, 1000.0, 3, 4.0), (4, 10_000.0, 1, 7.0), (8, 1000.0, 1, 9.0)]
    assert [row["predictions"] for row in rows] == [2, 2, 0]
    assert [row["prediction_seconds"] for row in rows] == [pytest.approx(0.3), pytest.approx(0.3), None]
    (axis,) = cost(rows).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axis.get_lines()}
    assert drawn["DFT, 1000 K"] == [[4, 4.0], [8, 9.0]]
    assert drawn["DFT, 10000 K"] == [[4, 7.0]]
    assert drawn["prediction"] == [[4, pytest.approx(0.3)]]
    assert cost_rows([times[4]], errors) == []
