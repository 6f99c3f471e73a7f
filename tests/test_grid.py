"""Grids: geometry identities in cells of every kind, FFT-friendly sizes, refusals."""

from __future__ import annotations

import dataclasses
import math
from contextlib import nullcontext

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from fermisea.errors import InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid, check_grid, check_structure, good_fft_size

CUBIC = ((4.05, 0.0, 0.0), (0.0, 4.05, 0.0), (0.0, 0.0, 4.05))
TRICLINIC = ((3.0, 0.2, -0.4), (1.1, 4.0, 0.3), (-0.5, 0.7, 5.0))
LEFT_HANDED = (TRICLINIC[1], TRICLINIC[0], TRICLINIC[2])
CELLS = pytest.mark.parametrize("cell", [CUBIC, TRICLINIC, LEFT_HANDED], ids=["cubic", "triclinic", "left-handed"])


def smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


@settings(deadline=None)
@given(st.integers(-3, 5000))
def test_good_fft_size_is_the_next_product_of_small_primes(minimum):
    size = good_fft_size(minimum)
    assert size >= max(1, minimum)
    assert smooth(size)
    assert not any(smooth(n) for n in range(max(1, minimum), size))


@CELLS
def test_reciprocal_vectors_are_dual(cell):
    grid = RealSpaceGrid(cell, (4, 5, 6))
    np.testing.assert_allclose(grid.lattice @ grid.reciprocal.T, 2 * np.pi * np.eye(3), atol=1e-13)


@CELLS
def test_volume_is_the_triple_product_and_positive(cell):
    a, b, c = map(np.array, cell)
    grid = RealSpaceGrid(cell, (4, 5, 6))
    assert grid.volume == pytest.approx(abs(float(a @ np.cross(b, c))), rel=1e-14)
    assert grid.size == 120
    assert grid.voxel == pytest.approx(grid.volume / 120, rel=1e-15)


@CELLS
def test_points_are_fractions_of_the_lattice_vectors(cell):
    grid = RealSpaceGrid(cell, (4, 5, 6))
    a, b, c = map(np.array, cell)
    points = grid.points()
    assert points.shape == (4, 5, 6, 3)
    np.testing.assert_allclose(points[3, 2, 5], 3 / 4 * a + 2 / 5 * b + 5 / 6 * c, atol=1e-14)
    np.testing.assert_array_equal(points[0, 0, 0], 0)
    for axis, step in enumerate(grid.spacing):
        neighbour = [0, 0, 0]
        neighbour[axis] = 1
        assert np.linalg.norm(points[tuple(neighbour)]) == pytest.approx(step, rel=1e-14)


@CELLS
def test_integral_of_one_is_the_volume_and_of_a_plane_wave_zero(cell):
    grid = RealSpaceGrid(cell, (4, 5, 6))
    assert grid.integrate(np.ones(grid.shape)) == pytest.approx(grid.volume, rel=1e-14)
    wave = np.cos(grid.points() @ grid.reciprocal[1])
    assert abs(grid.integrate(wave)) < 1e-12
    assert grid.integrate(1 + wave**2) == pytest.approx(1.5 * grid.volume, rel=1e-13)


def test_integral_of_single_precision_is_summed_in_double():
    grid = RealSpaceGrid(CUBIC, (120, 120, 120))
    field = np.full(grid.shape, 0.1, dtype=np.float32)
    assert grid.integrate(field) == pytest.approx(float(np.float32(0.1)) * grid.volume, rel=1e-12)


@CELLS
@settings(deadline=None)
@given(spacing=st.floats(0.05, 2.0))
def test_spacing_is_kept_along_every_vector_and_no_finer_than_needed(cell, spacing):
    grid = RealSpaceGrid.from_spacing(cell, spacing)
    lengths = np.linalg.norm(grid.lattice, axis=1)
    assert max(grid.spacing) <= spacing * (1 + 1e-8)
    for length, n in zip(lengths, grid.shape, strict=True):
        assert n == good_fft_size(math.ceil(length / spacing - 1e-9))


def test_spacing_that_divides_a_vector_is_taken_exactly():
    assert RealSpaceGrid.from_spacing(CUBIC, 4.05 / 10).shape == (10, 10, 10)


@CELLS
@settings(deadline=None)
@given(momentum=st.floats(1.0, 12.0))
def test_momentum_grid_holds_the_whole_sphere(cell, momentum):
    grid = RealSpaceGrid.from_momentum(cell, momentum)
    reach = 2 * max(grid.shape)
    line = np.arange(-reach, reach + 1) / reach
    # the largest Miller index within |G| <= Q along axis i is Q |a_i| / 2 pi, met by G parallel to a_i
    for axis, n in enumerate(grid.shape):
        direction = grid.lattice[axis] / np.linalg.norm(grid.lattice[axis])
        millers = (momentum * line[:, None] * direction) @ grid.lattice.T / (2 * np.pi)
        assert np.floor(np.abs(millers[:, axis]).max() + 1e-9) <= (n - 1) / 2 + 1e-9


def test_grids_are_values():
    grid = RealSpaceGrid(np.array(TRICLINIC).tolist(), np.array([4, 5, 6]))
    assert grid == RealSpaceGrid(TRICLINIC, (4, 5, 6))
    assert hash(grid) == hash(RealSpaceGrid(TRICLINIC, (4, 5, 6)))
    assert grid != RealSpaceGrid(TRICLINIC, (4, 5, 7))
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.shape = (1, 1, 1)


FLAT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 1e-12))


@pytest.mark.parametrize(
    ("cell", "shape", "text"),
    [
        (CUBIC[:2], (2, 2, 2), "three finite lattice vectors"),
        (((1.0, 0.0), (0.0, 1.0)), (2, 2, 2), "three finite lattice vectors"),
        (((1.0, 0.0, 0.0), (0.0, 1.0), (0.0, 0.0, 1.0)), (2, 2, 2), "three finite lattice vectors"),
        (((math.nan, 0.0, 0.0), *CUBIC[1:]), (2, 2, 2), "nan.*three finite lattice vectors"),
        (FLAT, (2, 2, 2), "a cell without volume"),
        (((0.0, 0.0, 0.0), *CUBIC[1:]), (2, 2, 2), "a cell without volume"),
        (CUBIC, (2, 2), r"got \(2, 2\), expected three positive integers"),
        (CUBIC, (2, 0, 2), r"got \(2, 0, 2\), expected three positive integers"),
        (CUBIC, (2, 2.5, 2), r"got \(2, 2.5, 2\), expected three positive integers"),
        (CUBIC, (2, math.nan, 2), "expected three positive integers"),
        (CUBIC, 4, "got 4, expected three positive integers"),
        (CUBIC, "444", "got '444', expected three positive integers"),
        (CUBIC, (2, None, 2), r"got \(2, None, 2\), expected three positive integers"),
    ],
)
def test_impossible_grids_are_refused(cell, shape, text):
    with pytest.raises(InputError, match=text):
        RealSpaceGrid(cell, shape)


@pytest.mark.parametrize("spacing", [0.0, -1.0, math.nan, math.inf])
def test_impossible_spacings_are_refused(spacing):
    with pytest.raises(InputError, match=f"grid spacing: got {spacing} Angstrom"):
        RealSpaceGrid.from_spacing(CUBIC, spacing)


def test_tiny_and_huge_cells_are_possible():
    for scale in (1e-2, 1e4):
        cell = tuple(tuple(scale * x for x in row) for row in TRICLINIC)
        assert RealSpaceGrid(cell, (2, 2, 2)).volume == pytest.approx(
            scale**3 * RealSpaceGrid(TRICLINIC, (2, 2, 2)).volume, rel=1e-12
        )


def test_energies_are_equally_spaced_without_drift():
    grid = EnergyGrid(-6.3, 0.1, 1001)
    assert grid.energies.shape == (1001,)
    assert grid.energies[0] == -6.3
    assert grid.energies[-1] == grid.stop == pytest.approx(93.7, abs=1e-12)
    np.testing.assert_allclose(np.diff(grid.energies), 0.1, atol=1e-13)


def test_energy_grids_are_plain_values():
    grid = EnergyGrid(np.float64(-6), 1, np.int64(8))
    assert grid == EnergyGrid(-6.0, 1.0, 8)
    assert [type(x) for x in (grid.start, grid.spacing, grid.size)] == [float, float, int]


@pytest.mark.parametrize(
    ("start", "spacing", "size", "text"),
    [
        (math.nan, 0.1, 10, "got start nan eV"),
        (0.0, 0.0, 10, "spacing 0.0 eV.*a spacing above 0"),
        (0.0, -0.1, 10, "spacing -0.1 eV.*a spacing above 0"),
        (0.0, math.inf, 10, "spacing inf eV"),
        (0.0, 0.1, 5, "got 5 energies, expected a whole number of at least 6"),
        (0.0, 0.1, 10.5, "got 10.5 energies, expected a whole number"),
    ],
)
def test_impossible_energy_grids_are_refused(start, spacing, size, text):
    with pytest.raises(InputError, match=text):
        EnergyGrid(start, spacing, size)


def crystal(**changes) -> Atoms:
    values = {"symbols": "AlBe", "positions": [[0, 0, 0], [2, 2, 2]], "cell": np.eye(3) * 4.0, "pbc": True}
    return Atoms(**(values | changes))


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(cell=np.eye(3), pbc=True), "x.cif: got no atoms, expected at least one"),
        (crystal(positions=[[0, 0, 0], [0, np.inf, 0]]), r"x.cif: atom 1 \(Be\) is at \[0.0, inf, 0.0\], expected"),
        (
            crystal(pbc=(True, False, True)),
            r"x.cif: got pbc \[True, False, True\], expected periodicity along all three",
        ),
        (crystal(cell=[4, 4, 0]), "x.cif: cell: got .*a cell without volume"),
        (crystal(positions=[[0, 0, 0], [1e7, 0, 0]]), r"x.cif: atom 1 \(Be\) is at \[10000000.0.*up to 1e\+06 Å"),
        (crystal(positions=np.zeros((2, 3))), r"x.cif: atoms 0 \(Al\) and 1 \(Be\) are 0 Å apart"),
        (crystal(positions=[[0.01, 2, 0], [-3.99, 6.04, 8]]), r"x.cif: atoms 0 \(Al\) and 1 \(Be\) are 0.04 Å apart"),
        (crystal(positions=[[0, 0, 0], [-1e-20, 4, 4]]), r"x.cif: atoms 0 \(Al\) and 1 \(Be\) are \S+ Å apart"),
        (Atoms("H", cell=[5, 5, 0.03], pbc=True), "x.cif: an atom and its periodic image are 0.03 Å apart"),
        (Atoms("H", cell=[[5, 0, 0], [10.04, 0.01, 0], [0, 0, 5]], pbc=True), "periodic image are 0.041 Å apart"),
    ],
)
def test_structures_that_no_grid_can_span_are_refused_by_name(atoms, message):
    with pytest.raises(InputError, match=message):
        check_structure(atoms, "x.cif")
    check_structure(crystal(), "x.cif")


def test_the_closest_pair_is_found_in_a_skewed_cell():
    """Two atoms 0.045 Å apart through an edge of a cell whose lattice vectors are far from orthogonal."""
    cell = np.array([[3.0, 0.0, 0.0], [8.9, 2.5, 0.0], [-4.4, 7.3, 4.0]])
    rng = np.random.default_rng(2)
    for _ in range(20):
        direction = rng.normal(size=3)
        apart = direction / np.linalg.norm(direction)
        place = rng.random(3) @ cell
        for distance, refused in ((0.045, True), (0.055, False)):
            other = place + distance * apart + rng.integers(-3, 4, 3) @ cell
            atoms = Atoms("H2", [place, other], cell=cell, pbc=True)
            with pytest.raises(InputError, match=f"{distance:g} Å apart") if refused else nullcontext():
                check_structure(atoms)


def test_many_atoms_at_one_place_are_refused_at_once():
    with pytest.raises(InputError, match=r"atoms \d+ \(H\) and \d+ \(H\) are 0 Å apart"):
        check_structure(Atoms("H50000", positions=np.zeros((50_000, 3)), cell=np.eye(3) * 50.0, pbc=True))


@pytest.mark.parametrize("name", ["occupancy", "occupancies"])
def test_occupancies_of_atoms_are_one(name):
    atoms = crystal()
    for whole in ([1.0, 1.0], [0.0, 0.0], [1.0, 0.9999]):  # zeros are an empty column of a PDB file
        atoms.set_array(name, np.array(whole))
        check_structure(atoms)
    atoms.set_array(name, np.array([1.0, 0.5]))
    with pytest.raises(InputError, match=r"site of atom 1 at fractional coordinates \(0.5, 0.5, 0.5\) has .* Be 0.5"):
        check_structure(atoms)


@pytest.mark.parametrize("other", [0.5, [0.5, 0.5], {"s": 2, "p": 1}, {"0": None}])
def test_other_meanings_of_occupancy_pass(other):
    check_structure(crystal(info={"occupancy": other}))


def test_occupancies_of_removed_sites_are_forgotten():
    atoms = crystal(info={"occupancy": {"0": {"Al": 1.0}, "1": {"Be": 0.5}}})
    with pytest.raises(InputError, match=r"occupancy Be 0\.5, expected one whole atom"):
        check_structure(atoms)
    atoms.set_array("spacegroup_kinds", np.array([0, 1]))
    check_structure(atoms[:1])
    with pytest.raises(InputError, match=r"occupancy Be 0\.5"):
        check_structure(atoms.repeat((2, 1, 1)))


def test_open_boundaries_pass_where_they_do_not_matter():
    check_structure(crystal(pbc=False), periodic=False)
    with pytest.raises(InputError, match="structure: got pbc"):
        check_structure(crystal(pbc=False))


def test_a_grid_of_another_cell_is_refused():
    grid = RealSpaceGrid(np.eye(3) * 4.0, (4, 4, 4))
    check_grid(grid, crystal())
    with pytest.raises(InputError, match=r"grid: got the cell .*4.0.*, expected the cell of the structure, .*4.1"):
        check_grid(grid, crystal(cell=np.eye(3) * 4.1))


@pytest.mark.parametrize("chunk", [1, 3, 8, 50, 333, 10**4])
@pytest.mark.parametrize("shape", [(7, 11, 13), (1, 1, 40), (16, 2, 3)])
def test_tiles_cover_the_grid_once(shape, chunk):
    covered = np.zeros(shape, dtype=int)
    for tile in RealSpaceGrid(np.eye(3), shape).tiles(chunk):
        covered[tile] += 1
        assert covered[tile].size <= chunk
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            [Atoms("Al"), Atoms("Al")],
            "got a list of length 2, expected one ase.Atoms object; treat each structure in a",
        ),
        ("al.xyz", "got 'al.xyz', expected one ase.Atoms object; read a file with"),
        (None, "got None, expected one ase.Atoms object"),
        (Atoms("Al")[0], "got an object of type Atom, expected one ase.Atoms object"),
    ],
)
def test_only_one_structure_is_a_structure(given, text):
    with pytest.raises(InputError, match=text):
        check_structure(given)
