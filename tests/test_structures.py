from __future__ import annotations

import gzip

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from fermisea.data.structures import read_frames, read_structure, read_structures, write_structure
from fermisea.errors import InputError


@pytest.fixture
def crystal():
    return bulk("Al", "fcc", a=4.05, cubic=True)


def test_written_structure_comes_back_with_its_ion_temperature(tmp_path, crystal):
    crystal.rattle(0.1, seed=1)
    crystal.info["ion_temperature"] = 298.0
    write_structure(tmp_path / "al.extxyz", crystal)
    back = read_structure(tmp_path / "al.extxyz")
    np.testing.assert_allclose(back.positions, crystal.positions, atol=1e-7)
    np.testing.assert_allclose(back.cell.array, crystal.cell.array)
    assert back.info["ion_temperature"] == 298.0
    assert list(back.symbols) == list(crystal.symbols)


def test_folder_is_read_in_order_and_frames_are_numbered(tmp_path, crystal):
    write_structure(tmp_path / "b.extxyz", crystal)
    ase.io.write(tmp_path / "a.extxyz", [crystal, crystal])
    assert list(read_structures(tmp_path)) == ["a-0000", "a-0001", "b"]


def test_a_folder_takes_what_ase_can_write_and_names_the_rest(tmp_path, crystal):
    one = {"CONTCAR_2": "vasp", "POSCAR": "vasp", "POSCAR.3": "vasp", "b.xsf": "xsf"}
    one |= {"d.json": "json", "e.xyz.gz": "extxyz", "f.pdb": "proteindatabank", "g.gen": "gen", "h.res": "res"}
    for name, form in one.items():
        ase.io.write(tmp_path / name, crystal, format=form)
    ase.io.write(tmp_path / "c.lammps-data", crystal, format="lammps-data", masses=True)
    ase.io.write(tmp_path / "no-masses.lammps-data", crystal, format="lammps-data")
    ase.io.write(tmp_path / "density.cube", crystal)
    for name, text in (("notes.txt", "x"), ("settings.json", '{"xc": "pbe"}'), ("x.nc", "x"), (".hidden", "x")):
        (tmp_path / name).write_text(text)
    (tmp_path / "sub").mkdir()
    with pytest.warns(UserWarning, match="skipped") as issued:
        found = read_structures(tmp_path)
    assert list(found) == ["CONTCAR_2", "POSCAR", "POSCAR.3", "b", "c", "d", "e", "f", "g", "h"]
    assert {atoms.get_chemical_formula() for atoms in found.values()} == {crystal.get_chemical_formula()}
    with pytest.raises(InputError, match="without masses, so the elements of its atom types are unknown"):
        read_structure(tmp_path / "no-masses.lammps-data")
    (warning,) = issued
    skipped = "density.cube, no-masses.lammps-data, notes.txt, settings.json, sub/, x.nc"
    assert f"skipped {skipped}, expected names that ASE" in str(warning.message)
    assert warning.filename == __file__
    (tmp_path / "z.cif").write_text("hello")
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(InputError, match=r"z\.cif: not a structure file"):
        read_structures(tmp_path)


def test_a_warning_names_ten_skipped_files(tmp_path, crystal):
    write_structure(tmp_path / "al.extxyz", crystal)
    for number in range(13):
        (tmp_path / f"run-{number:02d}.log").touch()
    with pytest.warns(UserWarning, match=r"skipped run-00.log, .*, run-09.log and 3 more, expected names"):
        read_structures(tmp_path)


def test_a_name_with_an_at_sign_is_first_the_name_of_a_file(tmp_path, crystal, monkeypatch):
    ase.io.write(tmp_path / "al.extxyz", [crystal, crystal.repeat((2, 1, 1))])
    write_structure(tmp_path / "al.extxyz@0", crystal[:1])
    write_structure(tmp_path / "run@1.extxyz", crystal[:2])
    assert len(read_structure(tmp_path / "al.extxyz@0")) == 1
    assert len(read_structure(tmp_path / "al.extxyz@1")) == 8
    assert len(read_structure(tmp_path / "al.extxyz@-1")) == 8
    assert len(read_structure(tmp_path / "run@1.extxyz")) == 2
    monkeypatch.chdir(tmp_path)
    (tmp_path / "postgres@2").mkdir()
    write_structure("postgres@2/be.extxyz", crystal)
    assert len(read_structure("postgres@2/be.extxyz")) == 4


def test_one_frame_by_its_number(tmp_path, crystal):
    moved = crystal.copy()
    moved.positions[0] += 0.2
    ase.io.write(tmp_path / "a.traj", [crystal, moved])
    np.testing.assert_allclose(read_structure(tmp_path / "a.traj@1").positions, moved.positions)
    with pytest.raises(InputError, match="holds 2 structures, expected one"):
        read_structure(tmp_path / "a.traj")


def with_nan(atoms: Atoms) -> Atoms:
    atoms.positions[2, 1] = np.nan
    return atoms


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_nan, r"atom 2 \(Al\) is at \[.*nan.*\], expected finite"),
        (lambda a: a[:0], "no atoms"),
        (lambda a: Atoms(a.symbols, positions=a.positions), "got pbc"),
        (lambda a: Atoms(a.symbols, positions=a.positions, cell=[4, 4, 0], pbc=True), "a cell without volume"),
        (lambda a: a + Atoms("Al", [a.cell[0] + 0.02]), r"atoms 0 \(Al\) and 4 \(Al\) are 0.035 Å apart"),
    ],
)
def test_unusable_structures_are_refused_by_name(tmp_path, crystal, change, message):
    ase.io.write(tmp_path / "bad.extxyz", change(crystal))
    with pytest.raises(InputError, match=rf"bad\.extxyz: .*{message}"):
        read_structures(tmp_path)


@pytest.mark.parametrize("count", ["1000000000000", "5", "-3", "9" * 4000])
@pytest.mark.parametrize("name", ["x.extxyz", "x.xyz", "x.xyz.gz"])
def test_a_number_of_atoms_beyond_the_file_is_refused_at_once(tmp_path, crystal, name, count):
    ase.io.write(tmp_path / name, [crystal, crystal])
    opened = gzip.open if name.endswith("gz") else open
    with opened(tmp_path / name, "rt") as stream:
        lines = stream.read().splitlines()
    lines[len(crystal) + 2] = count  # of the second frame
    with opened(tmp_path / name, "wt") as stream:
        stream.write("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"{name}: not a structure file .*a frame states {count[:20]} atoms, but"):
        read_frames(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("energy=-12.5", "energy=nan", "the energy is nan, expected a finite number"),
        ("energy=-12.5", "energy=-12.5=T", "the energy is -12.5=T, expected a finite number"),
        ("2.50000000", "nan", "a momentum is nan, expected a finite number"),
        ("2.50000000", "1e308", r"a momentum is 1e\+308, expected a finite number below"),
    ],
)
def test_a_trajectory_has_finite_energies_and_momenta(tmp_path, crystal, old, new, message):
    crystal.set_momenta(np.full((4, 3), 2.5))
    crystal.calc = SinglePointCalculator(crystal, energy=-12.5)
    ase.io.write(tmp_path / "md.extxyz", [crystal, crystal])
    head, _, tail = (tmp_path / "md.extxyz").read_text().rpartition(old)
    (tmp_path / "md.extxyz").write_text(head + old + tail)
    assert len(read_frames(tmp_path / "md.extxyz")) == 2
    (tmp_path / "md.extxyz").write_text(head + new + tail)
    with pytest.raises(InputError, match=rf"md\.extxyz, frame 1: {message}"):
        read_frames(tmp_path / "md.extxyz")


def test_files_that_are_no_structures_are_refused(tmp_path, crystal):
    (tmp_path / "x.extxyz").write_text("hello\n")
    with pytest.raises(InputError, match=r"x\.extxyz: not a structure file"):
        read_structures(tmp_path / "x.extxyz")
    with pytest.raises(InputError, match="no such file"):
        read_structures(tmp_path / "none.cif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no structure files"):
        read_structures(tmp_path / "empty")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_structure(tmp_path / name / "al.extxyz", crystal)
    with pytest.raises(InputError, match="would have the name al"):
        read_structures([tmp_path / "one", tmp_path / "two"])


CIF = """data_x
_cell_length_a 4.05
_cell_length_b 4.05
_cell_length_c 4.05
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


@pytest.mark.parametrize(
    ("sites", "found"),
    [
        ("Al1 Al 0 0 0 0.90\n", "Al 0.9"),
        ("Al1 Al 0 0 0 0.60\nMg1 Mg 0 0 0 0.40\n", "Al 0.6, Mg 0.4"),
        ("Al1 Al 0 0 0 1.0\nMg1 Mg 0.5 0.5 0.5 0.25\n", "Mg 0.25"),
    ],
)
def test_partly_occupied_sites_of_a_cif_file_are_refused(tmp_path, sites, found):
    (tmp_path / "a.cif").write_text(CIF + sites)
    with pytest.raises(
        InputError, match=rf"a\.cif: the site of atom \d at fractional .* has the occupancy {found}, exp"
    ):
        read_structure(tmp_path / "a.cif")
    for whole in ("1.0", "?", "."):  # the last two are CIF for unknown and for the default
        (tmp_path / "a.cif").write_text(CIF + f"Al1 Al 0 0 0 {whole}\n")
        assert len(read_structure(tmp_path / "a.cif")) == 4
