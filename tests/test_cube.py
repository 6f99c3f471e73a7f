"""Cube files in and out; the reference is the LDOS that MALA made of the same files."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io.cube import read_cube_data

from fermisea import units
from fermisea.data.snapshot import Snapshot
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.interop.cube import read_cube, write_cube
from fermisea.interop.cube_snapshot import snapshot_from_cubes
from fermisea.interop.ldos_cubes import UNIT, cube_files, ldos_from_cubes, write_ldos_cubes
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import Ion
from synthetic import made_up_snapshot

MALA = Path(__file__).parent / "data" / "mala-be2"
CUBES = MALA / "cubes"
ENERGIES = EnergyGrid(-5.0, 2.5, 11)
BERYLLIUM = {"Be": Ion("Be", 2.0)}
UNKNOWN_CORE = "the core charge is not known"


@pytest.fixture
def copies(tmp_path):
    """The cubes of beryllium, to be spoilt."""
    folder = tmp_path / "cubes"
    shutil.copytree(CUBES, folder)
    return folder


@pytest.fixture
def skewed():
    """A triclinic, left-handed cell with atoms outside of it, and a field on 3 x 4 x 7 points."""
    cell = np.array([[0.2, 3.1, 0.4], [4.0, 0.1, -0.3], [0.5, 0.6, 5.2]])
    assert np.linalg.det(cell) < 0
    atoms = Atoms("BeAl", positions=[[0.1, -0.2, 0.3], [9.0, 2.0, -7.7]], cell=cell, pbc=True)
    return atoms, np.random.default_rng(0).normal(size=(3, 4, 7)) * 10.0 ** np.arange(-120, 20, 20)


def test_ldos_of_cubes_is_that_of_mala():
    before = {file.name: file.read_bytes() for file in CUBES.iterdir()}
    ldos = ldos_from_cubes(CUBES, ENERGIES, constants="mala")
    expected = np.load(MALA / "Be_snapshot0.out.npy")  # single precision
    np.testing.assert_array_equal(ldos.astype(np.float32), expected)
    assert ldos.dtype == np.float64
    # the newer constants differ by 1e-8, and 1 / (Ry bohr^3) is the 0.49599 of the literature
    newer = ldos_from_cubes(CUBES, ENERGIES)
    bohr, hartree = units.CONSTANTS["mala"]
    ratio = (hartree * bohr**3) / (units.HARTREE * units.BOHR**3)
    np.testing.assert_allclose(newer, ldos * ratio, rtol=1e-14)
    assert units.field_factor(UNIT) == pytest.approx(0.49599, abs=5e-6)
    assert {file.name: file.read_bytes() for file in CUBES.iterdir()} == before


def test_values_are_the_numbers_in_the_file():
    text = (CUBES / "tmp.pp03Be_ldos.cube").read_text().splitlines()
    numbers = [float(word) for line in text[8:] for word in line.split()]
    cube = read_cube(CUBES / "tmp.pp03Be_ldos.cube")
    assert cube.comment[1] == "Energy =   0.0000 eV, broadening =   5.0000 eV"
    np.testing.assert_array_equal(cube.values.ravel(), numbers)
    ldos = ldos_from_cubes(CUBES)
    np.testing.assert_allclose(ldos[..., 2].ravel(), np.array(numbers) / (units.RYDBERG * units.BOHR**3), rtol=1e-12)


def test_geometry_is_that_of_ase():
    values, atoms = read_cube_data(str(CUBES / "tmp.pp01Be_ldos.cube"))
    cube = read_cube(CUBES / "tmp.pp01Be_ldos.cube")
    np.testing.assert_array_equal(cube.values, values)
    np.testing.assert_allclose(cube.atoms.cell.array, atoms.cell.array, rtol=1e-8)
    np.testing.assert_allclose(cube.atoms.positions, atoms.positions, rtol=1e-8)
    assert cube.grid.shape == (18, 18, 27)
    assert cube.atoms.pbc.all()


@pytest.mark.parametrize("unit", units.FIELD_UNITS)
def test_what_is_written_comes_back(tmp_path, skewed, unit):
    atoms, field = skewed
    write_cube(tmp_path / "f.cube", atoms, field, unit, comment="two\nlines")
    back = read_cube(tmp_path / "f.cube")
    np.testing.assert_allclose(back.field(unit), field, rtol=1e-12)
    np.testing.assert_allclose(back.atoms.positions, atoms.positions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(back.grid.lattice, atoms.cell.array, rtol=0, atol=1e-11)
    assert list(back.atoms.symbols) == ["Be", "Al"]
    assert back.comment[1] == "two lines"
    values, same = read_cube_data(str(tmp_path / "f.cube"))
    np.testing.assert_array_equal(values, back.values)
    np.testing.assert_allclose(same.positions, atoms.positions, rtol=0, atol=1e-7)
    assert [file.name for file in tmp_path.iterdir()] == ["f.cube"]


def test_lengths_in_angstrom_origin_and_fortran_exponents(tmp_path):
    text = (
        "a\nb\n 1 1.0 0.0 0.0\n-2 1.5 0 0\n-1 0 2.0 0\n-2 0 0 1.0\n 13 3.0 1.25 0.5 0.0\n 0.5-101 -0.25E+01\n 1+120 3\n"
    )
    (tmp_path / "a.cube").write_text(text)
    cube = read_cube(tmp_path / "a.cube")
    np.testing.assert_allclose(cube.grid.lattice, np.diag([3.0, 2.0, 2.0]))
    np.testing.assert_allclose(cube.atoms.positions, [[0.25, 0.5, 0.0]])
    np.testing.assert_array_equal(cube.values.ravel(), [0.5e-101, -2.5, 1e120, 3.0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 1.0 0.0 0.0", "1 inf 0.0 0.0", "no finite origin"),
        ("1 1.0 0.0 0.0", "1 1_0 0.0 0.0", "could not convert string to float: '1_0'"),
        ("-2 1.5 0 0", "2 1.5 0 0", "have different signs, expected all positive or all negative"),
        ("1.25 0.5 0.0", "1e20 0.5 0.0", "atom 1 lies more than 1000 cells from the origin"),
        ("13 3.0", "1_3 3.0", "invalid literal for an integer: '1_3'"),
        ("-0.25E+01", "-0.2_5E+01", "text among its values"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(tmp_path, old, new, message):
    text = "a\nb\n 1 1.0 0.0 0.0\n-2 1.5 0 0\n-1 0 2.0 0\n-2 0 0 1.0\n 13 3.0 1.25 0.5 0.0\n 0.5 -0.25E+01\n 1 3\n"
    (tmp_path / "a.cube").write_text(text.replace(old, new))
    with pytest.raises(FileFormatError, match=message):
        read_cube(tmp_path / "a.cube")


def test_files_are_taken_in_the_order_of_their_numbers(tmp_path):
    names = [f"run2.pp{k}Al_ldos.cube" for k in range(1, 13)]
    for name in names:
        (tmp_path / name).touch()
    assert [file.name for file in cube_files(tmp_path)] == names
    assert [file.name for file in cube_files(f"{tmp_path}/*Al_ldos.cube")] == names
    odd = tmp_path / "[1] a*b.cube"
    odd.touch()
    assert cube_files(odd) == [odd]
    assert [file.name for file in cube_files([tmp_path / name for name in names[::-1]])] == names


def remove(number):
    return lambda folder: (folder / f"tmp.pp{number:02d}Be_ldos.cube").unlink()


def rename(one, two):
    return lambda folder: (folder / one).rename(folder / two)


def edit(number, old, new):
    def change(folder):
        file = folder / f"tmp.pp{number:02d}Be_ldos.cube"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return change


def cut(number, size):
    def change(folder):
        file = folder / f"tmp.pp{number:02d}Be_ldos.cube"
        file.write_bytes(file.read_bytes()[:size])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove(5), "file number 5 is missing"),
        (remove(11), "got 10 cube files, expected one for each of 11 energies"),
        (rename("tmp.pp05Be_ldos.cube", "tmp.pp4Be_ldos.cube"), "file number 4 is twice"),
        (rename("tmp.pp05Be_ldos.cube", "other05.cube"), "got a name unlike"),
        (rename("tmp.pp11Be_ldos.cube", "tmp.pp12Be_ldos.cube"), "file number 11 is missing"),
        (cut(3, 60_000), r"tmp.pp03Be_ldos.cube: got \d+ values, expected 8748 \(18 x 18 x 27\): truncated"),
        (cut(3, -4), "got 8748 values, expected 8748.*truncated"),
        (remove(1), "file number 1 is missing"),
        (cut(3, 200), "tmp.pp03Be_ldos.cube: the header is not the header of a cube file"),
        (cut(3, 0), "tmp.pp03Be_ldos.cube: the header is not the header of a cube file"),
        (edit(4, "Energy =   2.5000", "Energy =   2.6000"), "an energy of 2.6 eV"),
        (edit(4, "3.312469", "3.412469"), "tmp.pp04Be_ldos.cube: got atoms or a cell different from the other files"),
        (edit(4, "0.237247", "0.247247"), "tmp.pp04Be_ldos.cube: got atoms or a cell different from the other files"),
        (edit(4, "   18   -0.118624", "   27   -0.118624"), "expected 13122"),
        (edit(4, "0.29", "abcd"), "tmp.pp04Be_ldos.cube: got text among its values"),
        (edit(4, "0.29", " NaN 0."), "tmp.pp04Be_ldos.cube: got"),
        (edit(1, "    2    0.000000", "   -2    0.000000"), "several fields"),
        (edit(2, " Energy", " castep2cube Energy"), "repeats the first points"),
    ],
)
def test_spoilt_cubes_are_refused_by_name(copies, change, message):
    change(copies)
    with pytest.raises(InputError, match=message) as caught:
        ldos_from_cubes(copies, ENERGIES)
    assert "\n" not in str(caught.value)


def test_files_on_another_grid_are_refused(copies):
    cube = read_cube(copies / "tmp.pp05Be_ldos.cube")
    write_cube(copies / "tmp.pp05Be_ldos.cube", cube.atoms, cube.values[:, :, :-1], UNIT)
    with pytest.raises(
        FileFormatError, match=r"pp05.*\(18, 18, 26\), expected the grid of the other files, \(18, 18, 27\)"
    ):
        ldos_from_cubes(copies)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((CUBES, EnergyGrid(-5.0, 2.4, 11)), "states an energy of -2.5 eV, expected -2.6"),
        ((CUBES, EnergyGrid(-5.0, 2.5, 12)), "expected one for each of 12"),
        ((CUBES / "nothing*.cube",), "got no cube files, expected"),
        (([],), "got no cube files"),
        (([CUBES / "gone.cube"],), "gone.cube: cannot be read"),
    ],
)
def test_wrong_input_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ldos_from_cubes(*arguments)


def test_unknown_unit_and_constants_list_the_known():
    with pytest.raises(InputError, match=r"unit: got '1/nm\^3', expected one of 1/Angstrom"):
        ldos_from_cubes(CUBES, unit="1/nm^3")
    with pytest.raises(InputError, match="constants: got 'old', expected one of codata2018, mala"):
        ldos_from_cubes(CUBES, constants="old")


def test_snapshot_of_cubes():
    snapshot = snapshot_from_cubes(
        CUBES,
        electron_temperature=298.0,
        ions=BERYLLIUM,
        broadening=Broadening("none", 0.0),
        total_energy_obstacle=UNKNOWN_CORE,
        constants="mala",
    )
    np.testing.assert_array_equal(snapshot.ldos, np.load(MALA / "Be_snapshot0.out.npy"))
    assert snapshot.energy_grid == ENERGIES
    assert snapshot.electrons == 4.0
    assert snapshot.grid.integrate(snapshot.density) == pytest.approx(4.0, abs=1e-6)
    assert math.isnan(snapshot.reference.free_energy)
    with pytest.raises(InputError, match=UNKNOWN_CORE):
        snapshot.free_energy(298.0)
    # MALA 1.4.0's number for these files; a cell of six digits moves mu by less than 1e-3 eV
    [found] = snapshot.observables(298.0, integration="mala", allow_beyond_window=True)
    assert found.fermi_level == pytest.approx(10.24073499350213, abs=1e-3)


def test_width_of_the_kernel_comes_from_the_files(tmp_path):
    # the files state 5 eV
    snapshot = snapshot_from_cubes(
        CUBES, electron_temperature=300.0, ions=BERYLLIUM, total_energy_obstacle=UNKNOWN_CORE
    )
    assert snapshot.broadening.standard_deviation == pytest.approx(1.8138 * 5.0, rel=1e-5)
    for file in CUBES.glob("*.cube"):
        (tmp_path / file.name).write_text(file.read_text().replace(", broadening =", ", width ="))
    with pytest.raises(InputError, match="do not state the width of their kernel"):
        snapshot_from_cubes(tmp_path, electron_temperature=300.0, ions=BERYLLIUM, total_energy_obstacle=UNKNOWN_CORE)


def test_snapshot_goes_through_cubes_and_back(tmp_path):
    snapshot = made_up_snapshot(0)
    files = write_ldos_cubes(tmp_path / "cubes", snapshot.atoms, snapshot.ldos, snapshot.energy_grid)
    assert [file.name for file in files] == [f"ldos-{k:03d}.cube" for k in range(1, 37)]
    write_cube(tmp_path / "n.cube", snapshot.atoms, snapshot.density)
    back = snapshot_from_cubes(
        tmp_path / "cubes",
        electron_temperature=snapshot.electron_temperature,
        ions=snapshot.ions,
        functional="lda",
        broadening=snapshot.broadening,
        density=tmp_path / "n.cube",
        atoms=snapshot.atoms,
        ion_temperature=300.0,
    )
    np.testing.assert_array_equal(back.ldos, snapshot.ldos)
    np.testing.assert_allclose(back.density, snapshot.density, rtol=1e-12)
    assert back.energy_grid == snapshot.energy_grid
    assert back.reference.fermi_level == pytest.approx(snapshot.reference.fermi_level, abs=1e-7)
    assert back.free_energy(1000.0) == pytest.approx(snapshot.reference.free_energy, abs=1e-6)
    back.save(tmp_path / "back.nc")
    assert math.isnan(Snapshot.load(tmp_path / "back.nc").reference.free_energy)


@pytest.fixture(scope="module")
def as_cubes(tmp_path_factory):
    """A made-up snapshot, a function that reads it from cube files, and the file of its density."""
    snapshot, folder = made_up_snapshot(0), tmp_path_factory.mktemp("cubes")
    write_ldos_cubes(folder / "ldos", snapshot.atoms, snapshot.ldos, snapshot.energy_grid)

    def read(density, **options):
        return snapshot_from_cubes(
            folder / "ldos",
            electron_temperature=snapshot.electron_temperature,
            ions=snapshot.ions,
            functional="lda",
            broadening=snapshot.broadening,
            atoms=snapshot.atoms,
            density=write_cube(folder / "n.cube", snapshot.atoms, density),
            **options,
        )

    return snapshot, read


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (112.08, r"n\.cube: holds 1345 electrons, expected 12; give the valence density in 1/bohr\^3$"),
        (units.BOHR**-3, r"n\.cube: holds 80\.98 electrons, expected 12; .*\(the values are in 1/Angstrom\^3\)"),
        (1.02, r"n\.cube: holds 12\.24 electrons"),
        (0.0, r"n\.cube: holds 0 electrons"),
        (-1.0, r"n\.cube: holds -12 electrons"),
    ],
)
def test_a_density_with_other_electrons_is_refused(as_cubes, factor, message):
    snapshot, read = as_cubes
    with pytest.raises(InputError, match=message):
        read(factor * snapshot.density)
    assert read(1.005 * snapshot.density).density.sum() > snapshot.density.sum()  # digits and coarse grids


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (
            "1/(eV bohr^3)",
            r"expected values in 1/\(eV bohr\^3\) of both spins, but these are in 1/\(Ry bohr\^3\) of both",
        ),
        (
            "1/(eV Angstrom^3)",
            r"expected values in 1/\(eV Angstrom\^3\) .* these are in 1/\(Ry bohr\^3\) of both spins",
        ),
    ],
)
def test_an_ldos_in_another_unit_is_found_by_its_density(as_cubes, unit, message):
    snapshot, read = as_cubes
    with pytest.raises(InputError, match=r"LDOS: its density differs from the density of the run by .*" + message):
        read(snapshot.density, unit=unit)
    with pytest.warns(UserWarning, match="check that LDOS and density are of one run"):
        read(np.roll(snapshot.density, 3, axis=0))


def test_a_free_energy_of_another_run_is_refused(as_cubes):
    snapshot, read = as_cubes
    assert read(snapshot.density, reference=snapshot.reference).reference is snapshot.reference
    other = replace(snapshot.reference, free_energy=snapshot.reference.free_energy + 0.024)
    with pytest.raises(
        InputError, match=r"by -6\.00 meV/atom at tau_ref = 1000 K, expected at most 5; .*allow_closure"
    ):
        read(snapshot.density, reference=other)
    with pytest.warns(UserWarning, match=r"by -6\.00 meV/atom .* expected at most 1; refine"):
        read(snapshot.density, reference=other, allow_closure_error=True)


def test_one_energy_alone(tmp_path):
    snapshot = made_up_snapshot(0)
    [file] = write_ldos_cubes(tmp_path, snapshot.atoms, snapshot.ldos, snapshot.energy_grid, energy=0.2)
    assert file.name == "ldos-013.cube"  # 0.0 eV
    np.testing.assert_allclose(read_cube(file).field(UNIT), snapshot.ldos[..., 12], rtol=1e-12)
    with pytest.raises(InputError, match=r"energy: got 12\.0 eV, expected -6 to 11\.5 eV"):
        write_ldos_cubes(tmp_path, snapshot.atoms, snapshot.ldos, snapshot.energy_grid, energy=12.0)


def test_density_or_atoms_of_another_structure_are_refused(tmp_path):
    snapshot = made_up_snapshot(0)
    write_cube(tmp_path / "n.cube", snapshot.atoms, snapshot.density)
    options = {"electron_temperature": 300.0, "ions": BERYLLIUM, "broadening": Broadening("none", 0.0)}
    with pytest.raises(FileFormatError, match=r"n.cube: got a grid \(6, 6, 6\)"):
        snapshot_from_cubes(CUBES, density=tmp_path / "n.cube", **options)
    with pytest.raises(InputError, match="got a structure that differs from the cube files"):
        snapshot_from_cubes(CUBES, atoms=snapshot.atoms, **options)


def test_fields_that_are_none_are_refused(tmp_path, skewed):
    atoms, field = skewed
    for wrong in (field[0], np.full((2, 2, 2), np.nan)):
        with pytest.raises(InputError, match="expected finite values on a grid"):
            write_cube(tmp_path / "f.cube", atoms, wrong)
    assert not list(tmp_path.iterdir())
