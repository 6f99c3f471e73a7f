from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from fermisea.data.structures import read_structure, read_structures, write_structure
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
    (tmp_path / "notes.txt").write_text("not a structure")
    assert list(read_structures(tmp_path)) == ["a-0000", "a-0001", "b"]


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
    ],
)
def test_unusable_structures_are_refused_by_name(tmp_path, crystal, change, message):
    ase.io.write(tmp_path / "bad.extxyz", change(crystal))
    with pytest.raises(InputError, match=rf"bad\.extxyz: .*{message}"):
        read_structures(tmp_path)


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
