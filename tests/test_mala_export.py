"""Data sets for MALA; that MALA trains on them and integrates them alike is shown by benchmarks/mala_training.py."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.cell import Cell

from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import Bispectrum, PowerSpectrum
from fermisea.engines import LdosOptions, PlaneWave
from fermisea.errors import InputError
from fermisea.interop.mala_export import info, settings, write_mala
from fermisea.units import RYDBERG, thermal_energy
from synthetic import ENERGIES, made_up_snapshot, structure

MALA = Path(__file__).parent / "data" / "mala-be2"
SMALL = Bispectrum(4, 3.5)


@pytest.fixture(scope="module")
def calculated():
    """A snapshot of the embedded engine, with energies and forces."""
    engine = PlaneWave(cutoff=80.0, kpts=(2, 2, 2), ldos=LdosOptions(spacing=0.5, broadening=0.5))
    return engine.run(structure(1, atoms=1), 3000.0)


def test_arrays_are_descriptors_and_ldos(tmp_path):
    snapshots = [made_up_snapshot(seed, (4, 5, 6)) for seed in range(2)]
    calls = []
    names = write_mala(snapshots, tmp_path / "m", SMALL, progress=lambda *counts: calls.append(counts))
    assert names == ["Al4_snapshot0", "Al4_snapshot1"]
    assert calls == [(0, 2), (1, 2), (2, 2)]
    for name, snapshot in zip(names, snapshots, strict=True):
        inputs, outputs = (np.load(tmp_path / "m" / f"{name}.{kind}.npy") for kind in ("in", "out"))
        assert inputs.dtype == outputs.dtype == np.float32
        assert inputs.flags.c_contiguous
        np.testing.assert_array_equal(outputs, snapshot.ldos)
        assert inputs.shape == (4, 5, 6, 3 + SMALL.features)
        i, j, k = 3, 1, 4
        place = np.array([i / 4, j / 5, k / 6]) @ snapshot.atoms.cell.array
        np.testing.assert_allclose(inputs[i, j, k, :3], place, rtol=1e-6)
        own = SMALL.compute_points(snapshot.atoms, [place])[0]
        np.testing.assert_allclose(inputs[i, j, k, 3:], own, rtol=1e-4, atol=1e-5 * abs(own).max())
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == sorted(
        [f"{name}{end}" for name in names for end in (".in.npy", ".out.npy", ".info.json")] + ["mala_settings.json"]
    )


def test_without_positions_and_with_names(tmp_path):
    write_mala({"warm": made_up_snapshot(0, (4, 4, 4))}, tmp_path, SMALL, contain_xyz=False)
    assert np.load(tmp_path / "warm.in.npy").shape == (4, 4, 4, SMALL.features)
    assert json.loads((tmp_path / "mala_settings.json").read_text()) == {
        "targets": {
            "target_type": "LDOS",
            "ldos_gridsize": 36,
            "ldos_gridoffset_ev": -6.0,
            "ldos_gridspacing_ev": 0.5,
        },
        "descriptors": {
            "descriptors_contain_xyz": False,
            "descriptor_type": "Bispectrum",
            "bispectrum_twojmax": 4,
            "bispectrum_cutoff": 3.5,
        },
    }


def test_other_descriptors_are_not_named_as_a_bispectrum_of_mala():
    for descriptor in (
        PowerSpectrum(2, 4.0),
        Bispectrum(4, 3.5, rfac0=0.9),
        Bispectrum(4, 3.5, weights={"Al": 0.5}),
        Bispectrum(4, 3.5, rmin0=0.5),
    ):
        assert settings(ENERGIES, descriptor)["descriptors"] == {"descriptors_contain_xyz": True}
    named = settings(ENERGIES, Bispectrum(4, 3.5, weights={"Al": 1.0}))["descriptors"]
    assert named["descriptor_type"] == "Bispectrum"


def test_facts_have_the_keys_that_mala_reads(calculated):
    written = json.loads((MALA / "Be_snapshot0.info.json").read_text())
    facts = info(calculated)
    assert list(facts) == list(written)
    assert list(facts["atoms"]) == list(written["atoms"])
    assert list(facts["voxel"]) == list(written["voxel"])
    for key in facts:
        assert type(facts[key]) is type(written[key]), key


def test_facts_are_those_of_the_calculation(calculated, tmp_path):
    [name] = write_mala([calculated], tmp_path, SMALL)
    facts = json.loads((tmp_path / f"{name}.info.json").read_text())
    reference = calculated.reference
    atoms = Atoms.fromdict(facts["atoms"])
    np.testing.assert_array_equal(atoms.positions, calculated.atoms.positions)
    assert atoms.pbc.all()
    voxel = Cell(facts["voxel"]["array"])
    assert voxel.volume == pytest.approx(calculated.grid.voxel, rel=1e-12)
    assert facts["grid_dimensions"] == list(calculated.grid.shape)
    assert facts["temperature"] == 3000.0
    assert facts["number_of_electrons_exact"] == facts["electrons_per_atom"] == 3.0
    assert facts["degauss"] * RYDBERG == pytest.approx(thermal_energy(3000.0), rel=1e-14)
    assert facts["ecutwfc"] * RYDBERG == pytest.approx(80.0, rel=1e-14)
    assert facts["ecutrho"] == pytest.approx(4 * facts["ecutwfc"], rel=1e-14)
    assert facts["fermi_energy_dft"] == reference.fermi_level
    assert facts["atomic_forces_dft"] == reference.forces.tolist()
    # the parts and -TS make up the free energy
    parts = ("one_electron", "hartree", "xc", "ewald")
    total = math.fsum(facts[f"{part}_contribution"] for part in parts) + facts["entropy_contribution_dft_calculation"]
    assert facts["total_energy_dft_calculation"] == reference.free_energy
    assert total == pytest.approx(reference.free_energy, abs=1e-8)


def test_what_is_not_known_is_null(tmp_path):
    made = made_up_snapshot(0, (4, 4, 4))
    write_mala({"a": made}, tmp_path, SMALL)
    facts = json.loads((tmp_path / "a.info.json").read_text())
    unknown = {name for name, value in facts.items() if value is None}
    parts = {f"{part}_contribution" for part in ("one_electron", "hartree", "xc", "ewald")}
    assert unknown == {"ecutwfc", "ecutrho"} | parts
    assert "atomic_forces_dft" not in facts
    assert facts["pseudopotentials"] == {"Al": "Al"}


def test_nothing_is_overwritten_without_being_told(tmp_path):
    one, two = (made_up_snapshot(seed, (4, 4, 4)) for seed in range(2))
    write_mala({"a": one}, tmp_path, SMALL)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"a\.in\.npy: the file exists already"):
        write_mala({"b": two, "a": two}, tmp_path, SMALL)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    write_mala({"a": two}, tmp_path, SMALL, overwrite=True)
    np.testing.assert_array_equal(np.load(tmp_path / "a.out.npy"), two.ldos)


@pytest.mark.parametrize(
    ("snapshots", "message"),
    [
        ([], "got no snapshots"),
        ({"a/b": None}, "expected a name without folders"),
        ({"..": None}, "expected a name without folders"),
    ],
)
def test_wrong_names_are_refused(tmp_path, snapshots, message):
    with pytest.raises(InputError, match=message):
        write_mala(snapshots, tmp_path / "m", SMALL)
    assert not (tmp_path / "m").exists()


def test_different_energies_are_refused(tmp_path):
    one = made_up_snapshot(0, (4, 4, 4))
    parts = {name: value for name, value in vars(one).items() if name not in ("_ldos", "dos")}
    parts["energy_grid"] = type(ENERGIES)(-6.0, 0.4, 36)
    with pytest.raises(InputError, match=r"b: got EnergyGrid.*expected EnergyGrid.* as in a"):
        write_mala({"a": one, "b": Snapshot(ldos=one.ldos, **parts)}, tmp_path / "m", SMALL)
