"""Finished runs of pw.x in every form that users have them, and what is said of those that do not serve."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from ase.build import bulk
from scipy.io import FortranFile

from espresso import FILES, SMALL, TEMPERATURE, aluminium, finished_run, rattled
from fermisea import units
from fermisea.cli import main
from fermisea.data.snapshot import Snapshot
from fermisea.engines import Espresso, LdosOptions, import_run
from fermisea.engines.espresso.fields import read_density, read_wavefunctions
from fermisea.engines.espresso.output import read_output
from fermisea.errors import FileFormatError, InputError

OPTIONS = LdosOptions(highest_electron_temperature=3000.0)
SCHEMA = "data-file-schema.xml"

pytestmark = pytest.mark.espresso


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return finished_run(tmp_path_factory.mktemp("qe") / "run", aluminium())


@pytest.fixture(scope="module")
def later(tmp_path_factory, run) -> Path:
    """An nscf run after the same SCF run, which writes over its XML file and wavefunctions."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("qe") / "later")
    return finished_run(folder, aluminium(), "nscf", bands=16)


def test_bands_of_an_nscf_run_with_the_energies_of_the_scf_run(run, later, tmp_path):
    snapshot = import_run(later, ldos=OPTIONS)
    reference = read_output(run / "fermisea.save" / SCHEMA).reference
    mine = snapshot.reference
    assert mine.free_energy == pytest.approx(reference.free_energy, abs=1e-7)  # printed with eight digits of a Ry
    assert mine.entropy_term == pytest.approx(reference.entropy_term, abs=1e-7)
    assert mine.forces == pytest.approx(reference.forces, abs=1e-6)
    assert mine.stress == pytest.approx(reference.stress, abs=1e-6)
    assert {name: mine.parts[name] for name in ("hartree", "xc", "ewald")} == pytest.approx(
        {name: reference.parts[name] for name in ("hartree", "xc", "ewald")}, abs=1e-6
    )
    engine = Espresso(FILES, **SMALL, ldos=OPTIONS)
    other = engine.run(aluminium(), TEMPERATURE)
    assert snapshot.energy_grid == other.energy_grid
    np.testing.assert_allclose(snapshot.ldos, other.ldos, atol=1e-4 * other.ldos.max())

    shutil.copytree(later, tmp_path / "bare", ignore=shutil.ignore_patterns("*.out", "fermisea.xml"))
    with pytest.raises(InputError, match=r"free energy: pw\.x does not store it in an nscf run; .*\(scf\)"):
        import_run(tmp_path / "bare", ldos=OPTIONS)
    shutil.copy(run / "fermisea.save" / SCHEMA, tmp_path / "before.xml")
    for scf in (run / "scf.out", tmp_path / "before.xml"):
        assert import_run(tmp_path / "bare", ldos=OPTIONS, scf=scf).reference.free_energy == pytest.approx(
            reference.free_energy, abs=1e-7
        )
    with pytest.raises(FileFormatError, match=r"nscf\.out: not the output of a converged SCF run"):
        import_run(tmp_path / "bare", ldos=OPTIONS, scf=later / "nscf.out")
    out = tmp_path / "al.nc"
    command = ["convert", "espresso", str(tmp_path / "bare"), "--scf", str(run / "scf.out"), "--out", str(out)]
    assert main([*command, "--highest-electron-temperature", "3000"]) == 0
    assert Snapshot.load(out).reference.forces == pytest.approx(reference.forces, abs=1e-6)


def test_energies_of_another_run_are_refused(later, tmp_path):
    other = finished_run(tmp_path / "other", rattled(bulk("Al", "fcc", a=4.2)))
    with pytest.raises(InputError, match=r"the SCF run has the Fermi level \d\.\d+ eV, but this run has"):
        import_run(later, ldos=OPTIONS, scf=other / "scf.out")


def test_the_gamma_trick_changes_nothing(tmp_path):
    """Its files hold half of the plane waves."""
    whole = import_run(finished_run(tmp_path / "one", aluminium(), kpoints="automatic\n1 1 1 0 0 0"), ldos=OPTIONS)
    half = import_run(finished_run(tmp_path / "gamma", aluminium(), kpoints="gamma"), ldos=OPTIONS)
    waves = [read_output(tmp_path / name / "fermisea.save" / SCHEMA).waves for name in ("one", "gamma")]
    assert waves[0] == 2 * waves[1] - 1
    assert half.reference.free_energy == pytest.approx(whole.reference.free_energy, abs=1e-6)
    np.testing.assert_allclose(half.ldos, whole.ldos, atol=1e-4 * whole.ldos.max())
    np.testing.assert_allclose(half.density, whole.density, atol=1e-4 * whole.density.max())


def as_hdf5(path: Path) -> Path:
    """Writes wfc*.dat or charge-density.dat as pw.x does where it has HDF5: complex numbers as pairs."""
    target = path.with_suffix(".hdf5")
    with FortranFile(path, "r") as source, h5py.File(target, "w") as file:
        if path.name.startswith("wfc"):
            head = source.read_record(np.uint8).tobytes()
            _, waves, spinors, bands = source.read_ints(np.int32)
            file.attrs.update(igwx=waves, npol=spinors, nbnd=bands, scale_factor=np.frombuffer(head[-8:])[0])
        else:
            source.read_ints(np.int32)
        file.attrs["gamma_only"] = np.bytes_(".FALSE.")
        source.read_record(np.float64)
        file["MillerIndices"] = source.read_ints(np.int32).reshape(-1, 3)
        if path.name.startswith("wfc"):
            file["evc"] = np.stack([source.read_reals(np.float64) for _ in range(bands)])
        else:
            file["rhotot_g"] = source.read_reals(np.float64)
    path.unlink()
    return target


def test_hdf5_files_hold_the_same(run, tmp_path):
    save = shutil.copytree(run, tmp_path / "copy") / "fermisea.save"
    options = LdosOptions(highest_electron_temperature=1000.0)
    before = import_run(save, ldos=options)
    miller, coefficients, bands = read_wavefunctions(save / "wfc1.dat", 4)
    density = read_density(save / "charge-density.dat", before.grid.shape)
    for path in [*save.glob("wfc*.dat"), save / "charge-density.dat"]:
        as_hdf5(path)
    again = read_wavefunctions(save / "wfc1.hdf5", 4)
    assert (again[0] == miller).all()
    assert again[2] == bands == 12
    assert torch.equal(again[1], coefficients)
    assert torch.equal(read_density(save / "charge-density.hdf5", before.grid.shape), density)
    np.testing.assert_array_equal(import_run(save, ldos=options).ldos, before.ldos)


def test_files_of_two_runs(run, later, tmp_path):
    options = LdosOptions(highest_electron_temperature=1000.0)
    save = shutil.copytree(run, tmp_path / "bands") / "fermisea.save"
    shutil.copy(later / "fermisea.save" / "wfc2.dat", save / "wfc2.dat")
    with pytest.raises(FileFormatError, match=r"wfc2\.dat: its 16 bands .* do not match data-file-schema.xml"):
        import_run(save, ldos=options)
    moved = aluminium()
    moved.positions += [0.3, 0.0, 0.0]
    other = finished_run(tmp_path / "other", moved)
    save = shutil.copytree(run, tmp_path / "density") / "fermisea.save"
    shutil.copy(other / "fermisea.save" / "charge-density.dat", save / "charge-density.dat")
    with pytest.raises(FileFormatError, match=r"differs from charge-density by \d+\.\d % of the electrons"):
        import_run(save, ldos=options)


def test_a_list_of_k_points_that_leaves_some_out(tmp_path):
    """No symmetry was used, so the Fermi level and the density alone tell."""
    run = finished_run(tmp_path / "list", aluminium())
    finished_run(run, aluminium(), "nscf", kpoints="crystal\n2\n0 0 0 1\n0.5 0.5 0 1")
    with pytest.raises(InputError, match="the SCF run has the Fermi level"):
        import_run(run, ldos=OPTIONS)


def test_valence_of_other_files(run, tmp_path):
    options = LdosOptions(highest_electron_temperature=1000.0)
    with pytest.raises(InputError, match=r"a pseudopotential of Be, expected one of Al"):
        import_run(run, ldos=options, pseudopotentials={"Al": FILES["Be"]})
    beryllium = FILES["Be"].read_text()
    (tmp_path / "Al.upf").write_text(beryllium.replace('element="Be"', 'element="Al"'))
    with pytest.raises(InputError, match="files for 4 electrons, but the run had 3"):
        import_run(run, ldos=options, pseudopotentials={"Al": tmp_path / "Al.upf"})


def test_the_number_of_bands_that_is_named_suffices(run, tmp_path):
    with pytest.raises(InputError, match=r"raise nbnd to about \d+") as caught:
        import_run(run, ldos=LdosOptions(highest_electron_temperature=30_000.0))
    bands = int(str(caught.value).split("to about ")[1].split()[0])
    served = int(str(caught.value).split("highest electron temperature of ")[1].split()[0])
    assert import_run(run, ldos=LdosOptions(highest_electron_temperature=float(served))).energy_grid.size > 50
    folder = shutil.copytree(run, tmp_path / "more")
    finished_run(folder, aluminium(), "nscf", bands=bands)
    hot = import_run(folder, ldos=LdosOptions(highest_electron_temperature=30_000.0))
    assert hot.highest_electron_temperature > 25_000.0
    assert hot.energies[-1] > hot.reference.fermi_level + 11.6 * units.thermal_energy(30_000.0)
