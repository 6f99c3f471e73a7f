"""The model that comes with the package: found by name, right about aluminium, and silent about anything else."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

import fermisea
from fermisea.cli import main
from fermisea.data.structures import read_structure
from fermisea.errors import InputError
from fermisea.model.bundled import FOLDER, model_card, model_path, shipped_models

DATA = Path(__file__).parent / "data" / "al32"
STUDY = Path(__file__).parents[1] / "docs" / "temperature-transfer"


def rows(name):
    with (STUDY / f"{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def aluminium():
    return fermisea.load_model("aluminium")


def test_it_is_an_anchored_ensemble_of_a_few_megabytes(aluminium):
    assert "aluminium" in shipped_models()
    assert len(aluminium.network.members) == 5
    assert aluminium.anchor is not None
    assert aluminium.elements == ("Al",)
    assert (FOLDER / "aluminium.safetensors").stat().st_size < 5e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["al32-100K-00", "al32-933K-00"])
def test_free_energies_of_structures_that_it_has_not_seen(aluminium, name):
    """Free energies of DFT are those of the study: data.csv at tau_ref, transfer_structures.csv elsewhere."""
    atoms = read_structure(DATA / f"{name}.extxyz")
    known = {(row["part"], row["name"]): float(row["free_energy_eV_per_atom"]) for row in rows("data")}
    true = known["test", name]
    runs = [row for row in rows("transfer_structures") if (row["model"], row["name"]) == ("everything", name)]
    temperatures = [1000.0, *(float(row["electron_temperature"]) for row in runs)]
    changes = np.array([0.0, *(float(row["change"]) for row in runs)])
    predicted = 1000 * np.array(aluminium.predict(atoms, temperatures, anchor=True).free_energy) / len(atoms)
    assert max(temperatures) == 30_000
    assert np.abs(predicted - 1000 * true - changes).max() < 3  # meV/atom


def test_a_crystal_has_no_forces_and_is_at_rest_near_its_lattice_constant(aluminium):
    volumes = []
    for scale in (0.98, 1.0, 1.02):
        atoms = bulk("Al", "fcc", a=4.05 * scale, cubic=True)
        regular = aluminium.anchor.predict(atoms)
        assert np.abs(regular.forces).max() < 1e-6
        volumes.append(regular.free_energy)
    assert volumes[1] < min(volumes[0], volumes[2])


@pytest.mark.filterwarnings("ignore::fermisea.DomainWarning")
def test_forces_of_the_ldos_vanish_in_a_crystal_with_atoms_on_grid_points(aluminium):
    """There the density nearly vanishes, 7e-5 1/Angstrom^3, and rounding must not be amplified."""
    atoms = bulk("Al", "fcc", a=4.2, cubic=True)
    for shift in (0.0, 1e-7):
        atoms.positions += shift
        found = aluminium.predict(atoms, 1000.0, (8, 8, 8), forces=True, anchor=False, uncertainty=False)
        assert np.abs(found.forces).max() < 2e-5


def test_a_folder_of_that_name_does_not_hide_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aluminium").mkdir()
    assert model_path("aluminium") == FOLDER / "aluminium.safetensors"
    assert model_card("aluminium") is not None
    assert fermisea.load_model("aluminium").anchor is not None
    (tmp_path / "no-model").mkdir()
    with pytest.raises(InputError, match="no-model: no such file"):
        fermisea.load_model("no-model")


def test_a_model_file_of_that_name_wins_with_a_note(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(FOLDER / "aluminium.safetensors", tmp_path / "aluminium")
    with pytest.warns(UserWarning, match="aluminium: took the file of this name in the current folder, not the ship"):
        fermisea.load_model("aluminium")


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_path("aluminium") == FOLDER / "aluminium.safetensors"
    (tmp_path / "aluminium").write_bytes(b"mine")
    assert model_path("aluminium") == Path("aluminium")
    assert model_card("aluminium") is None
    with pytest.raises(InputError, match="neither a complete model file"):
        fermisea.load_model("aluminium")


def test_another_name_is_told_which_there_are():
    with pytest.raises(InputError, match=r"copper: no such file; .* the name of a shipped model \(aluminium\)"):
        fermisea.load_model("copper")


def test_copper_is_refused_by_name(tmp_path, capsys):
    bulk("Cu", cubic=True).write(tmp_path / "cu.extxyz")
    assert main(["predict", "aluminium", str(tmp_path / "cu.extxyz")]) == 2
    assert "got element Cu, but the model knows Al" in capsys.readouterr().err


def test_info_shows_the_card(capsys):
    assert main(["info", "aluminium"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("Domain", "Errors", "Licence", "BSD-3-Clause", "Å³/atom"):
        assert word in shown
    assert main(["info", "aluminium", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["card"] == model_card("aluminium")
    assert found["elements"] == ["Al"]
