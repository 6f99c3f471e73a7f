"""Several processes predict as one does."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import pytest
import torch
import xarray as xr
from ase.build import bulk

import fermisea
from fermisea.cli import main
from fermisea.descriptors import PowerSpectrum
from fermisea.errors import InputError, StorageError
from fermisea.interop.cube import read_cube
from fermisea.interop.density_file import write_density
from fermisea.interop.openpmd import write_prediction
from fermisea.physics.fields import FourierGrid
from fermisea.physics.hartree import hartree_energy, hartree_potential
from fermisea.prediction.outliers import ENOUGH
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.prediction.surroundings import Surroundings
from fermisea.units import BOHR
from fermisea.utilities.torchrun import Processes, alone, current
from test_forces import alloy, model_of
from test_prediction import random_model, structure

SHAPE = (9, 10, 7)
CASES = {
    "streamed": {"memory": 0},
    "stored": {},
    "tiles": {"memory": 0, "chunk": 20},
    "other grid of the DOS": {"dos_grid": (6, 5, 8), "forces": False},
    "thermal exchange and correlation": {"thermal_xc": "kdt16", "memory": 0},
}
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_shared_predictions import fields, potentials, results
numbers = results() | fields() | potentials()
from fermisea.utilities.torchrun import current
import numpy as np
np.savez(f"{sys.argv[2]}/{current().rank}.npz", **numbers)
"""


def results():
    """Numbers of predictions of an alloy with core densities, and densities of this process."""
    model, atoms = model_of("power"), alloy(3)
    found = {}
    for name, case in CASES.items():
        options = {"forces": True, "anchor": False, "allow_outside": True} | case
        p = model.predict(atoms, [800.0, 6000.0], SHAPE, **options)
        for quantity in ("free_energy", "fermi_level", "entropy", "heat_capacity", "transfer_error", "dos"):
            found[f"{name} {quantity}"] = np.asarray(getattr(p, quantity))
        found[f"{name} density"] = p.density
        if options["forces"]:
            found |= {f"{name} forces": p.forces, f"{name} stress": p.stress}
    return found


def fields():
    """Transforms of a rough field in the part of this process."""
    cell = torch.tensor([[4.0, 0.3, -0.2], [1.5, 3.5, 0.4], [-0.6, 0.9, 4.4]], dtype=torch.float64)
    grid = FourierGrid(cell, (6, 8, 5), current())
    whole = torch.rand(6, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = whole[current().part(6)].clone()
    part = torch.zeros_like(whole)
    part[current().part(6)] = own
    with mock.patch("fermisea.utilities.torchrun._PIECE", 100):
        total = current().sum(part)
    return {
        "fields sum": total.numpy(),
        "fields density and back": grid.field(grid.transform(own)).numpy(),
        "fields density gradient": grid.gradient(own).numpy(),
        "fields density potential": hartree_potential(own, grid).numpy(),
        "fields energy": hartree_energy(own, grid).numpy(),
    }


def potentials():
    """Numbers of sums over atoms, whose atoms the processes share."""
    found, own = {}, current()
    near = Surroundings.of([alloy(seed) for seed in range(ENOUGH + 2)], PowerSpectrum(3, 5.0, {"Al": 1.0, "Mg": -0.7}))
    for seed in (30, 31):
        strange = alloy(seed)
        strange.positions *= 1 + 0.03 * (seed - 30)
        found[f"unlikeness {seed}"] = np.array(near.unlikeness(strange, None, own))
    model, atoms = fermisea.load_model("aluminium").parts[0], bulk("Al", cubic=True) * (2, 1, 1)
    model = dataclasses.replace(model, network=copy.deepcopy(model.network).double())
    atoms.rattle(0.2, seed=0)
    for origin in ("anchored", "potential"):
        options = {"forces": True, "allow_outside": True, "uncertainty": False}
        with domain_warnings_ignored():
            p = model.predict(atoms, [1000.0, 9000.0], (12, 6, 6), free_energy=origin, **options)
        for quantity in ("free_energy", "anchor_std", "heat_capacity", "forces", "stress"):
            found[f"{origin} {quantity}"] = np.asarray(getattr(p, quantity))
        found[f"{origin} warnings"] = np.array(p.warnings)
    return found


@pytest.fixture(scope="module")
def shared(made_once):
    """Numbers of several processes."""

    def make(folder):
        for count in (2, 3):
            (folder / str(count)).mkdir(parents=True)
            (folder / "script.py").write_text(SCRIPT)
            launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
            words = [str(folder / "script.py"), str(Path(__file__).parent), str(folder / str(count))]
            done = subprocess.run([*launcher, *words], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

    return made_once("shared-predictions", make)


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_predict_as_one(shared, count):
    one = results() | fields() | potentials()
    parts = [dict(np.load(shared / str(count) / f"{rank}.npz")) for rank in range(count)]
    for name, expected in one.items():
        if "density" in name:
            axis = 0 if name.startswith("fields") else 1
            got = np.concatenate([part[name] for part in parts], axis=axis)
        else:
            got = parts[0][name]
            assert all(np.array_equal(part[name], got) for part in parts), name
        if got.dtype.kind == "U":
            assert got.tolist() == expected.tolist()
            assert len(got) > 0
            continue
        # with a functional of tau_e, S and C_e are differences of F over small steps
        differences = name.startswith("thermal") and name.endswith(("entropy", "heat_capacity"))
        rough = differences or name.endswith("std")  # and the covariance of the potential has a large condition number
        tolerance = (1e-6 if rough else 1e-10) * np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=name)


DIFFERENT = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
from test_prediction import random_model, structure
from fermisea.errors import InputError
from fermisea.utilities.torchrun import alone, rank
model, wrong = random_model(), rank() == 1
cases = {
    "position": lambda: (moved(), 1000.0, (6, 6, 6)),
    "tau_e": lambda: (structure(0), 1000.0 + wrong, (6, 6, 6)),
    "number of atoms": lambda: (structure(0) * (1 + wrong, 1, 1), 1000.0, (6, 6, 6)),
}
def moved():
    atoms = structure(0)
    atoms.positions[0, 0] += 1e-3 * wrong
    return atoms
for name, case in cases.items():
    try:
        model.predict(*case(), allow_outside=True)
        print("no error", flush=True)
    except InputError as error:
        print(f"{name}: {error}", flush=True)
other = random_model()
with torch.no_grad():
    next(other.network.parameters()).add_(1e-6 * wrong)
try:
    other.predict(structure(0), 1000.0, (6, 6, 6), allow_outside=True)
    print("no error", flush=True)
except InputError as error:
    print(f"model: {error}", flush=True)
with alone():
    print(model.predict(moved(), 1000.0, (6, 6, 6), allow_outside=True).density.shape, flush=True)
"""


def test_processes_with_different_inputs_are_refused(tmp_path):
    (tmp_path / "script.py").write_text(DIFFERENT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [str(tmp_path / "script.py"), str(Path(__file__).parent)]
    done = subprocess.run([*launcher, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no error" not in done.stdout
    assert done.stdout.count("position: processes: processes 0 and 1 got different cells or positions") == 2
    assert done.stdout.count("tau_e: processes: processes 0 and 1 got different elements, numbers of atoms,") == 2
    assert done.stdout.count("number of atoms: processes: processes 0 and 1 got different elements") == 2
    assert done.stdout.count("model: processes: processes 0 and 1 got different elements") == 2
    assert done.stdout.count("(6, 6, 6)") == 2


def test_alone_processes_share_nothing(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with alone():
        assert current().count == 1


def test_parts_cover_everything():
    for length in (1, 5, 12):
        parts = [Processes(rank, 4).part(length) for rank in range(4)]
        assert [i for part in parts for i in range(length)[part]] == list(range(length))
        assert max(p.stop - p.start for p in parts) - min(p.stop - p.start for p in parts) <= 1


def test_more_processes_than_planes(monkeypatch):
    monkeypatch.setattr("fermisea.model.model.current", lambda: Processes(0, 7))
    with pytest.raises(InputError, match=r"processes: got 7, expected at most 6, .* start fewer"):
        random_model().predict(structure(0), 1000.0, (6, 9, 9))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    random_model("float32").save(folder / "al.safetensors")
    structure(0).write(folder / "al.extxyz")
    return folder


def predicted(files, out, *words):
    call = ["predict", f"{files}/al.safetensors", f"{files}/al.extxyz", "--out", str(out), "--json", *words]
    return main([*call, "--electron-temperature", "500", "8000", "--allow-outside"])


def test_command_line(files, tmp_path, capfd):
    grid = ("--grid", "12", "13", "10")
    assert predicted(files, tmp_path / "one", "--netcdf", "--cube", "density", *grid) == 0
    one = json.loads(capfd.readouterr().out)
    assert predicted(files, tmp_path / "two", "--netcdf", "--cube", "density", "--processes", "2", *grid) == 0
    two = json.loads(capfd.readouterr().out)  # of the first process alone
    assert two["warnings"] == one["warnings"]
    for a, b in zip(one["rows"], two["rows"], strict=True):
        assert b["free_energy"] == pytest.approx(a["free_energy"], rel=1e-8)
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(p.name for p in (tmp_path / "one").iterdir())
    data = [xr.load_dataset(tmp_path / name / "density.nc", engine="h5netcdf") for name in ("one", "two")]
    assert data[0].density.shape == (2, 12, 13, 10)
    assert data[0].density.attrs["units"] == "1/Angstrom^3"
    np.testing.assert_allclose(data[1].density, data[0].density, rtol=1e-5)
    np.testing.assert_array_equal(data[0].cell, structure(0).cell.array)
    cube = read_cube(tmp_path / "two" / "density-8000K.cube")
    np.testing.assert_allclose(cube.values / BOHR**3, data[0].density[1], rtol=1e-5)


def test_a_killed_process_ends_all(files, tmp_path):
    large = bulk("Al", cubic=True) * (6, 6, 6)
    large.write(tmp_path / "large.extxyz")
    words = ["predict", f"{files}/al.safetensors", f"{tmp_path}/large.extxyz", "--out", f"{tmp_path}/out", "--netcdf"]
    call = [sys.executable, "-m", "fermisea", *words, "--processes", "2", "--grid", "160", "160", "160"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        workers = _workers(process.pid)
        time.sleep(3)
        workers[1].send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    lines = [line for line in errors.splitlines() if line.startswith("fermisea:")]
    assert len(lines) == 1, errors
    assert "was ended by SIGKILL" in lines[0]
    assert "Traceback" not in errors
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def _workers(parent):
    """Waits for the two processes of a command to import torch, and returns them in the order of their start."""
    for _ in range(600):
        children = psutil.Process(parent).children(recursive=True)
        busy = [c for c in children if c.memory_info().rss > 3e8]
        if len(busy) == 2:
            return sorted(busy, key=lambda c: c.pid)
        time.sleep(0.1)
    raise AssertionError("no processes")


def test_wrong_input_is_one_line(files, tmp_path, capfd):
    assert predicted(files, tmp_path / "out", "--processes", "0") == 2
    assert "processes: got 0, expected at least 1" in capfd.readouterr().err
    assert predicted(files, tmp_path / "out", "--processes", "2", "--grid", "1", "12", "12") == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "expected at most 1, the number of planes" in errors[0]
    assert predicted(files, tmp_path / "out", "--netcdf", "--no-density") == 2
    assert "--netcdf: got --no-density too" in capfd.readouterr().err


def test_shared_densities_say_so(tmp_path):
    found = random_model("float32").predict(structure(0), 1000.0, (6, 6, 6), allow_outside=True)
    assert "planes" not in found.data.attrs
    shared = dataclasses.replace(found, processes=Processes(1, 3))
    assert shared.data.attrs["planes"] == [2, 4]
    with pytest.raises(InputError, match="3 processes share the densities; write them with"):
        write_prediction(tmp_path / "p.h5", shared)


def test_commands_for_one_process(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["evaluate", "al.safetensors", "data"]) == 2
    assert "fermisea evaluate runs in one; start it without torchrun" in capsys.readouterr().err


def test_densities_that_cannot_be_written(tmp_path, monkeypatch):
    model, atoms = random_model("float32"), structure(0)
    with pytest.raises(InputError, match="has no density"):
        write_density(tmp_path / "d.nc", model.predict(atoms, 1000.0, (6, 6, 6), density=False, allow_outside=True))
    found = model.predict(atoms, 1000.0, (6, 6, 6), allow_outside=True)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(StorageError, match=r"0\.0 GiB of free space, expected"):
        write_density(tmp_path / "d.nc", found)
    assert not list(tmp_path.iterdir())
