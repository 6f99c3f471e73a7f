"""Snapshots whose LDOS does not give F of the DFT code, or whose density does not hold the electrons."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import h5py
import pytest

from fermisea.cli import main
from fermisea.data.closure import check_closure, closure_error_per_atom
from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.interop import openpmd
from fermisea.physics.broadening import Broadening
from fermisea.training import TrainingConfig, train
from synthetic import made_up_snapshot

QUICK = {"order": 1, "hidden": (4,), "epochs": 1, "validation_fraction": 0.0, "anchor": False}


def changed(snapshot: Snapshot, **changes) -> Snapshot:
    names = (*Snapshot.__dataclass_fields__, "ldos")
    return Snapshot(**({name: getattr(snapshot, name) for name in names} | changes))


def off_by(snapshot: Snapshot, per_atom: float) -> Snapshot:
    """The snapshot with a free energy of the DFT code that gives this closure error, eV per atom."""
    energy = snapshot.reference.free_energy - per_atom * len(snapshot.atoms)
    return changed(snapshot, reference=replace(snapshot.reference, free_energy=energy))


@pytest.fixture(scope="module")
def good() -> list[Snapshot]:
    return [made_up_snapshot(seed, shape=(4, 4, 4)) for seed in range(2)]


def test_small_errors_pass_and_larger_ones_are_named(good, recwarn):
    assert check_closure(good, ["a", "b"], allow=False) == pytest.approx([0.0, 0.0], abs=1e-9)
    check_closure([off_by(good[0], 0.9e-3)], ["a"], allow=False)
    assert not recwarn.list
    with pytest.warns(
        UserWarning, match=r"^b: F from the LDOS differs .* by -1\.10 meV/atom .* expected at most 1; refin"
    ):
        assert check_closure([good[0], off_by(good[1], -1.1e-3)], ["a", "b"], allow=False)[1] == pytest.approx(-1.1e-3)
    both = [off_by(good[0], 5.1e-3), off_by(good[1], -7e-3)]
    with pytest.raises(
        InputError, match=r"^b and 1 more: .* by -7\.00 meV/atom at tau_ref = 1000 K, expected at most 5"
    ):
        check_closure(both, ["a", "b"], allow=False)
    with pytest.warns(UserWarning, match=r"^b and 1 more"):
        assert check_closure(both, ["a", "b"], allow=True) == pytest.approx([5.1e-3, -7e-3])


def test_energies_that_are_unknown_are_no_error(good, recwarn):
    unknown = changed(good[0], reference=replace(good[0].reference, free_energy=math.nan))
    without = changed(off_by(good[0], 1.0), total_energy_obstacle="an ultrasoft pseudopotential")
    assert check_closure([unknown, without], ["a", "b"], allow=False) == [None, None]
    assert not recwarn.list
    infinite = changed(good[0], reference=replace(good[0].reference, free_energy=math.inf))
    with pytest.raises(InputError, match="by -inf meV/atom"):
        check_closure([infinite], ["a"], allow=False)


def test_a_window_below_tau_ref_is_said(good):
    narrow = changed(good[0], electron_temperature=150_000.0)
    with pytest.warns(
        UserWarning, match=r"^a: F from the LDOS was not compared with F of the DFT code: tail: at tau_e = 150000 K"
    ):
        assert check_closure([narrow], ["a"], allow=False) == [None]


def test_a_broadening_that_is_not_the_one_of_the_ldos(good):
    """The integrals remove a broadening that the LDOS does not have, or leave one in it."""
    for deviation in (0.0, 1.0):
        wrong = changed(good[0], broadening=Broadening("gaussian", deviation))
        assert abs(closure_error_per_atom(wrong)) > 5e-3
        with pytest.raises(InputError, match="check that LDOS and energy come from one run, refine k-mesh, broadening"):
            check_closure([wrong], ["a"], allow=False)


def test_energies_of_an_ldos_that_are_shifted_are_found(good):
    grid = good[0].energy_grid
    shifted = changed(good[0], energy_grid=EnergyGrid(grid.start + 0.1, grid.spacing, grid.size))
    with pytest.raises(InputError, match=r"by \+\d+\.\d\d meV/atom"):
        check_closure([shifted], ["a"], allow=False)


def test_training_refuses_it_until_it_is_accepted(good):
    data = Dataset((good[0], off_by(good[1], 9e-3)), ("a.nc", "b.nc"))
    with pytest.raises(
        InputError, match=r"^b\.nc: F from the LDOS differs .* by \+9\.00 meV/atom.*--allow-closure-error"
    ):
        train(data, TrainingConfig(**QUICK))
    with pytest.warns(UserWarning, match=r"^b\.nc: F from the LDOS differs"):
        model = train(data, TrainingConfig(**QUICK, allow_closure_error=True))
    errors = [entry["closure_error_per_atom"] for entry in model.provenance["snapshots"]]
    assert errors == pytest.approx([0.0, 9e-3], abs=1e-9)
    with pytest.raises(InputError, match="allow_closure_error: got 1, expected true or false"):
        TrainingConfig(allow_closure_error=1)


@pytest.mark.filterwarnings("default::UserWarning")  # commands print them
def test_commands_refuse_it_until_it_is_accepted(good, tmp_path, capsys):
    (tmp_path / "train.toml").write_text(
        "order = 1\nhidden = [4]\nepochs = 1\nvalidation_fraction = 0.0\nanchor = false\n"
    )
    wrong = off_by(good[1], 9e-3)
    wrong.save(tmp_path / "data" / "b.nc")
    openpmd.write_snapshot(tmp_path / "b.h5", wrong)
    for command, out in (
        (["train", "data", "--config", "train.toml", "--json"], "al.safetensors"),
        (["convert", "openpmd", "b.h5", "--json"], "again.nc"),
    ):
        words = [str(tmp_path / word) if (tmp_path / word).exists() else word for word in command]
        words += ["--out", str(tmp_path / out)]
        assert main(words) == 2
        captured = capsys.readouterr()
        assert "F from the LDOS differs from F of the DFT code by +9.00 meV/atom" in captured.err
        assert not (tmp_path / out).exists()
        assert main([*words, "--allow-closure-error"]) == 0
        captured = capsys.readouterr()
        assert "by +9.00 meV/atom" in captured.err
        assert json.loads(captured.out)["closure_error"] == pytest.approx(9e-3, abs=1e-6)


def test_densities_hold_the_electrons_on_every_route(good, tmp_path):
    snapshot = good[0]
    for factor in (2.0, 0.98, 0.0, -1.0):
        with pytest.raises(
            InputError, match=r"density: holds -?[\d.]+ electrons, expected 12; give the valence density"
        ):
            changed(snapshot, density=factor * snapshot.density)
    data = snapshot.to_xarray()
    data["density"] = 2 * data["density"]
    with pytest.raises(FileFormatError, match=r"^set: density: holds 24 electrons, expected 12"):
        Snapshot.from_xarray(data, "set")
    file = openpmd.write_snapshot(tmp_path / "al.h5", snapshot)
    with h5py.File(file, "r+") as opened:
        opened["data/0/meshes/density"][...] *= 2
    with pytest.raises(FileFormatError, match=r"al\.h5: density: holds 24 electrons, expected 12"):
        openpmd.read_snapshot(file)
