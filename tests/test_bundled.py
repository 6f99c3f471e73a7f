"""The model that comes with the package: found by name, right about aluminium, and silent about anything else."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

import fermisea
from fermisea.cli import main
from fermisea.errors import InputError
from fermisea.model.bundled import FOLDER, model_card, model_path, shipped_models

STRUCTURES = Path(__file__).parent / "data" / "aluminium" / "structures.extxyz"
HOT_FORCES = STRUCTURES.with_name("hot_forces.extxyz")
STUDY = Path(__file__).parents[1] / "docs" / "aluminium"
CRYSTALS = {
    "fcc": bulk("Al", "fcc", a=4.05, cubic=True),
    "bcc": bulk("Al", "bcc", a=3.2145, cubic=True),
    "hcp": bulk("Al", "hcp", a=2.864, c=4.677),
}


def strained():
    """Eight displaced atoms in a strained cell, which the model has not seen."""
    frames = ase.io.read(STRUCTURES, ":")
    return next(atoms for atoms in frames if atoms.info["name"] == "test-small-02")


@pytest.fixture(scope="module")
def aluminium():
    return fermisea.load_model("aluminium")


def test_it_is_an_ensemble_with_a_potential_at_two_electronic_temperatures(aluminium):
    assert "aluminium" in shipped_models()
    assert aluminium.elements == ("Al",)
    assert aluminium.reference_electron_temperatures == (1000.0, 10_000.0)
    for part in aluminium.parts:
        assert len(part.network.members) == 5
        assert part.anchor.electron_temperature == part.reference_electron_temperature
        assert part.thermal.has_pressure
    assert aluminium.predict(CRYSTALS["fcc"], 5000.0, uncertainty=False).origin == "potential"
    assert len(aluminium.structures) == len(aluminium.provenance["snapshots"]) > 24


def test_its_file_fits_into_a_package():
    assert (FOLDER / "aluminium.safetensors").stat().st_size < 1e7


def unseen():
    """Yields name, structure, tau_e and F of DFT per atom (eV) of the test structures of its study."""
    with (STUDY / "data.csv").open(encoding="utf-8") as stream:
        known = [row for row in csv.DictReader(stream) if row["part"] == "test"]
    structures = {atoms.info["name"]: atoms for atoms in ase.io.read(STRUCTURES, ":")}
    for row in known:
        yield row["name"], structures[row["name"]], float(row["electron_temperature_K"]), row["free_energy_eV_per_atom"]


@pytest.mark.filterwarnings("ignore:surroundings:fermisea.DomainWarning")
def test_free_energies_of_structures_that_it_has_not_seen(aluminium):
    """F of DFT comes from the tables of the study; bounds in meV/atom, a little above the errors there.

    Crystals 1, 5 and 8 are at 933, 200 and 800 K, and two strained crystals have large strains. Divacancies and
    interstitial atoms are not in the training data.
    """
    bounds = {
        "crystal": 0.6,
        "strained": 0.6,
        "vacancy": 2.0,
        "divacancy": 5.0,
        "interstitial": 5.0,
        "small": 5.0,
        "liquid": 4.0,
        "melt": 4.0,
        "bcc": 1.5,
        "hcp": 1.5,
    }
    odd = {
        "crystal-01": 1.0,
        "crystal-05": 0.65,
        "crystal-08": 0.8,
        "strained-02": 3.5,
        "strained-03": 1.5,
        "liquid-05": 5.5,
        "liquid16-00": 6.0,
        "melt-00": 5.0,
    }
    potential, seen = aluminium.potential(), set()
    for name, atoms, tau_e, true in unseen():
        found = potential.predict(atoms, tau_e)
        kind = "liquid" if "liquid" in name else name.split("-")[1]
        bound = odd.get(name.removeprefix("test-"), bounds[kind])
        assert abs(1000 * (found.free_energy / len(atoms) - float(true))) < bound, (name, tau_e)
        seen.add((kind, tau_e))
    assert len(seen) == 2 * len(bounds)


def test_forces_change_with_the_electronic_temperature_as_those_of_dft(aluminium):
    """A crystal and a liquid that the model has not seen: the change from 10,000 K has errors of 32 and 27 %.

    The forces at 30,000 K themselves have errors of 2.5 and 3.7 %.
    """
    for atoms in ase.io.read(HOT_FORCES, ":"):
        true = atoms.arrays["forces_30000K"] - atoms.arrays["forces_10000K"]
        found = aluminium.potential().predict(atoms, [10_000.0, 30_000.0]).forces
        error = found[1] - found[0] - true
        assert np.square(error).mean() < 0.4**2 * np.square(true).mean(), atoms.info["name"]
        hot = atoms.arrays["forces_30000K"]
        assert np.square(found[1] - hot).mean() < 0.04**2 * np.square(hot).mean(), atoms.info["name"]


def test_the_potential_reaches_from_the_lowest_electronic_temperature_to_beyond_the_highest_tau_ref(aluminium):
    potential = aluminium.potential()
    assert potential.whole
    assert potential.highest_with_pressure == potential.highest_electron_temperature > 25_000


@pytest.mark.filterwarnings("ignore::fermisea.DomainWarning")
@pytest.mark.parametrize("lattice", CRYSTALS)
def test_a_crystal_has_no_forces(aluminium, lattice):
    """By symmetry, at tau_ref, below, between and above."""
    found = aluminium.potential().predict(CRYSTALS[lattice], [300.0, 1000.0, 4000.0, 10_000.0, 25_000.0])
    assert np.abs(found.forces).max() < 1e-6


def test_fcc_is_at_rest_near_its_lattice_constant(aluminium):
    """F is lowest between 0.98 and 1.02 of the lattice constant, where the pressure vanishes."""
    energies, pressures = [], []
    for scale in (0.98, 1.0, 1.02):
        atoms = CRYSTALS["fcc"].copy()
        atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
        found = aluminium.potential().predict(atoms, 1000.0)
        energies.append(found.free_energy)
        pressures.append(-np.trace(found.stress) / 3)
    assert energies[1] < min(energies[0], energies[2])
    assert pressures[0] > 0 > pressures[2]


def test_free_energy_falls_and_heat_capacity_rises_with_the_electronic_temperature(aluminium):
    found = aluminium.predict(CRYSTALS["fcc"], [300.0, 1000.0, 4000.0, 10_000.0, 25_000.0], uncertainty=False)
    assert (np.diff(found.free_energy) < 0).all()
    assert (np.diff(found.heat_capacity) > 0).all()
    assert found.heat_capacity[0] > 0


def test_forces_and_entropy_are_derivatives_of_the_free_energy(aluminium):
    """At tau_ref, and between both tau_ref."""
    atoms, potential = strained(), aluminium.potential()
    for tau_e in (1000.0, 4000.0):
        found, step = potential.predict(atoms, tau_e), 1e-4
        moved = []
        for sign in (1, -1):
            other = atoms.copy()
            other.positions[0, 0] += sign * step
            moved.append(potential.predict(other, tau_e, derivatives=False).free_energy)
        assert found.forces[0, 0] == pytest.approx(-(moved[0] - moved[1]) / (2 * step), abs=1e-5)
        hotter, colder = potential.predict(atoms, [tau_e + 5, tau_e - 5], derivatives=False).free_energy
        assert found.entropy == pytest.approx(-(hotter - colder) / 10, rel=1e-3)


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
    assert found["domain"]["electron_temperature"][1] == found["highest_electron_temperature"] > 30_000
