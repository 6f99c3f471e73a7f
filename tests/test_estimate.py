"""Estimates of disk, memory and time of a campaign: right where they can be checked, and without any program."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

import pytest
from ase.build import bulk

from fermisea.campaign import Campaign
from fermisea.campaign.estimate import EMBEDDED, RATES, estimate, law
from fermisea.cli import main
from fermisea.data.structures import write_structure
from fermisea.engines.ldos_memory import DEFAULT_MEMORY
from fermisea.engines.planewave.kpoints import monkhorst_pack
from fermisea.errors import InputError
from fermisea.studies.aluminium import AluminiumSettings
from fermisea.studies.aluminium import costs as aluminium_costs
from fermisea.studies.transfer import TransferSettings, costs


def test_a_run_has_the_estimated_sizes(tmp_path):
    """Counts of the embedded engine, and the size of its file."""
    atoms = bulk("Al", a=4.05, cubic=True)
    atoms.rattle(0.1, seed=1)
    campaign = Campaign(cutoff=120.0, kpts=(2, 2, 1), energy_spacing=0.4, highest_electron_temperature=4000.0)
    found = estimate(campaign, "Al", atoms, 3000.0, structures=3)
    engine = campaign.make_engine()
    snapshot = engine.run(atoms, 3000.0)
    snapshot.save(tmp_path / "al.nc")
    assert found.kpoints == len(engine.solve(atoms, 3000.0).weights)
    assert found.ldos_grid == found.grid == snapshot.grid.shape
    assert found.energies == pytest.approx(snapshot.energy_grid.size, abs=4)
    assert found.file_bytes == pytest.approx((tmp_path / "al.nc").stat().st_size, rel=0.2)
    assert found.atoms == 4
    assert found.core_hours == pytest.approx(3 * (found.scf_hours + found.window_hours + found.ldos_hours))
    assert math.isinf(found.memory)


def test_the_case_of_the_cluster_takes_no_time_and_no_program(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = TransferSettings.load("cluster")
    start = time.process_time()
    training, test = costs(settings)
    assert time.process_time() - start < 0.5
    assert (training.name, training.structures, test.name, test.structures) == ("training", 36, "test", 54)
    assert training.atoms == 256
    assert training.kpoints == len(monkhorst_pack((8, 8, 8)).weights) == 260
    assert training.waves == pytest.approx(484_425, rel=0.002)  # plane waves counted for this cell and cutoff
    assert training.grid == pytest.approx((200, 200, 200), rel=0.03)  # of pw.x
    assert (training.ldos_grid, training.energies) == ((72, 72, 72), 226)
    assert training.wavefunction_bytes == 16 * training.kpoints * training.bands * training.waves
    assert 4 * 72**3 * 226 < training.ldos_bytes <= DEFAULT_MEMORY == training.memory
    assert "Al.upf: no such file; 3 valence electrons of Al" in training.assumptions[0]

    assert main(["study", "transfer", "--settings", "cluster", "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["structures"] for row in found["rows"]] == [36, 54]
    assert found["total"]["core_hours"] == pytest.approx(training.core_hours + test.core_hours)
    assert found["total"]["file_bytes"] == pytest.approx(90 * training.file_bytes)
    for name in ("file_bytes", "core_hours"):
        assert sum(row["all_structures"][name] for row in found["rows"]) == pytest.approx(found["total"][name])
    assert found["rows"][0]["one_structure"]["file_bytes"] == pytest.approx(training.file_bytes)
    assert main(["study", "transfer", "--settings", "cluster", "--workers", "2", "--dry-run"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "36 training" in text
    assert "90 in all" in text
    assert "with 2 workers the wavefunctions need up to" in text
    assert all(" ".join(line.split()) in text for line in law())
    assert "estimates from counts" in text
    assert "Source: " in text
    assert list(tmp_path.iterdir()) == []
    assert main(["study", "transfer", "--settings", "cluster"]) == 2
    assert "--out: missing; give a folder" in capsys.readouterr().err


def test_an_ldos_that_does_not_fit_is_named(tmp_path, capsys):
    settings = TransferSettings.load("cluster")
    fine = replace(settings, dft=replace(settings.dft, grid=None))
    assert not any(item.fits for item in costs(fine))
    assert all(item.fits for item in costs(replace(fine, dft=replace(fine.dft, memory=2e10))))
    write_structure(tmp_path / "al.extxyz", bulk("Al", a=4.05, cubic=True))
    command = ["dft", str(tmp_path / "al.extxyz"), "--electron-temperature", "1000", "--cutoff", "200", "--dry-run"]
    potentials = ["--engine", "espresso", "--pseudopotentials", "Al=Al.upf"]
    assert main([*command, *potentials, "--memory", "1MB"]) == 0
    assert "al: the LDOS needs at least" in capsys.readouterr().out
    assert main([*command, *potentials]) == 0
    assert "needs at least" not in capsys.readouterr().out
    assert main([*command[:-1]]) == 2
    assert "--out: missing" in capsys.readouterr().err


def test_every_class_of_structures_at_every_tau_ref():
    settings = AluminiumSettings.load("aluminium")
    found = aluminium_costs(settings)
    assert len(found) == 2 * len(settings.kinds)
    assert sum(item.structures for item in found) == 2 * sum(kind.training + kind.test for kind in settings.kinds)
    assert {item.electron_temperature for item in found} == {1000.0, 10_000.0}
    assert sum(item.structures for item in aluminium_costs(settings, 1)) < sum(item.structures for item in found)
    full = TransferSettings.load("full")
    assert [item.name for item in costs(full)] == ["training", *(f"scaled {s:g}" for s in full.scales), "test", "large"]


def test_the_core_hours_of_the_shipped_model():
    """7 core-hours were measured for 47 of the structures of the study."""
    numbers = {"crystal": 5, "liquid": 21, "strained": 3, "small": 5, "perfect": 7, "vacancy": 2, "bcc": 2, "hcp": 2}
    found = [item for item in aluminium_costs(AluminiumSettings.load("aluminium")) if item.name in numbers]
    hours = sum(numbers[item.name] * item.core_hours / item.structures for item in found)
    assert hours == pytest.approx(7, rel=0.15)


def test_the_law_and_its_factor():
    atoms = bulk("Al", a=4.05, cubic=True)
    settings = Campaign(cutoff=200.0, kpts=(2, 2, 2), energy_window=(-5.0, 20.0), pseudopotentials={"Al": "Al.upf"})
    theirs = estimate(replace(settings, engine="espresso"), "Al", atoms, 1000.0)
    ours = estimate(replace(settings, pseudopotentials=None), "Al", atoms, 1000.0)
    assert ours.scf_hours == pytest.approx(EMBEDDED[0] * theirs.scf_hours)
    assert ours.window_hours == pytest.approx(EMBEDDED[1] * theirs.window_hours)
    points = math.prod(theirs.grid)
    transforms, products = RATES.nscf
    seconds = transforms * theirs.bands * points * math.log2(points) + products * theirs.bands**2 * theirs.waves
    assert theirs.window_hours == pytest.approx(theirs.kpoints * seconds / 3600)
    with pytest.raises(InputError, match=r"the energy window needs about \d+ bands, but a cutoff of 20 eV"):
        estimate(replace(settings, cutoff=20.0), "Al", atoms, 1000.0)
