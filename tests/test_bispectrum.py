"""The bispectrum against LAMMPS, and the constants it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from fermisea.descriptors import Bispectrum
from fermisea.descriptors.harmonics import degree_offset, hyperspherical_harmonics
from fermisea.descriptors.wigner import bispectrum_triples, clebsch_gordan, wigner_matrix
from fermisea.errors import InputError
from test_power_spectrum import unit_quaternions

REFERENCES = sorted((Path(__file__).parent / "data" / "bispectrum").glob("*.npz"))


def wigner(quaternion, n):
    """U^j of a unit quaternion, 2 j = n."""
    parts = (wigner_matrix(n) @ hyperspherical_harmonics(quaternion, n)).reshape(-1, 2)[degree_offset(n) :]
    return (parts[:, 0] + 1j * parts[:, 1]).reshape(n + 1, n + 1)


def product(p, q):
    vector = p[0] * q[1:] + q[0] * p[1:] + np.cross(p[1:], q[1:])
    return np.array([p[0] * q[0] - p[1:] @ q[1:], *vector])


def test_references_are_there():
    assert len(REFERENCES) == 8


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_agrees_with_lammps(path):
    # `compute sna/grid` of LAMMPS 2025-07-22 in double precision; see tests/data/README.md
    data = np.load(path)
    atoms = Atoms(data["numbers"], positions=data["positions"], cell=data["cell"], pbc=True)
    weights = dict(zip(data["elements"].tolist(), data["weights"].tolist(), strict=True))
    descriptor = Bispectrum(
        int(data["twojmax"]), float(data["rcut"]), weights, rfac0=float(data["rfac0"]), rmin0=float(data["rmin0"])
    )
    grid = tuple(data["grid"].tolist())
    got = descriptor.compute(atoms, grid).reshape(-1, descriptor.features)[data["points"]]
    expected = data["bispectrum"]
    assert got.shape == expected.shape
    assert np.max(np.abs(got - expected) / np.abs(expected).max(axis=0)) < 1e-12


@pytest.mark.parametrize(
    ("twojmax", "features"), [(0, 1), (1, 2), (2, 5), (4, 14), (6, 30), (8, 55), (10, 91), (14, 204)]
)
def test_number_of_features(twojmax, features):
    assert Bispectrum(twojmax, 4.0).features == features


def test_nothing_around_gives_the_multiplicities():
    atoms = Atoms("Al", positions=[[0, 0, 0]], cell=[20, 20, 20], pbc=True)
    descriptor = Bispectrum(7, 5.0)
    value = descriptor.compute_points(atoms, [[10, 10, 10]])[0]
    assert np.abs(value - [j + 1 for _, _, j in bispectrum_triples(7)]).max() < 1e-12


def test_lowest_component_is_the_cube_of_the_neighbour_count():
    atoms = Atoms("AlNi", positions=[[0, 0, 0], [2.0, 0, 0]], cell=[20, 20, 20], pbc=True)
    value = Bispectrum(3, 5.0, {"Al": 1.0, "Ni": 0.4}).compute_points(atoms, [[0.5, 0, 0]])[0, 0]
    count = 1 + 0.5 * (np.cos(np.pi * 0.1) + 1) + 0.4 * 0.5 * (np.cos(np.pi * 0.3) + 1)
    assert value == pytest.approx(count**3, rel=1e-12)


@pytest.mark.parametrize("rmin0", [-0.1, 4.0, float("nan"), "1"])
def test_rmin0_lies_below_the_cutoff(rmin0):
    with pytest.raises(InputError, match="rmin0"):
        Bispectrum(4, 4.0, rmin0=rmin0)


def test_point_on_an_atom_is_finite_with_rmin0():
    atoms = Atoms("Al2", positions=[[0, 0, 0], [2.0, 0, 0]], cell=[20, 20, 20], pbc=True)
    descriptor = Bispectrum(4, 5.0, rmin0=0.7)
    on = descriptor.compute_points(atoms, [[0, 0, 0]])
    assert np.isfinite(on).all()
    assert np.allclose(on, descriptor.compute_points(atoms[1:], [[0, 0, 0]]), rtol=1e-13)


def test_wigner_matrices_are_a_unitary_representation():
    p, q = unit_quaternions(2, seed=5)
    for n in range(9):
        up, uq = wigner(p, n), wigner(q, n)
        assert np.abs(up @ up.conj().T - np.eye(n + 1)).max() < 1e-12
        assert np.abs(up @ uq - wigner(product(p, q), n)).max() < 1e-12
        m = np.arange(n + 1)
        sign = (-1.0) ** (m[:, None] - m[None, :])
        assert np.abs(up[::-1, ::-1] - sign * up.conj()).max() < 1e-12


def test_lowest_wigner_matrix():
    # exp(-i theta_0 n . sigma), with m = -1/2 before m = 1/2
    w, x, y, z = quaternion = unit_quaternions(1, seed=6)[0]
    expected = np.array([[w + 1j * z, -1j * x + y], [-1j * x - y, w - 1j * z]])
    assert np.abs(wigner(quaternion, 1) - expected).max() < 1e-14


def test_clebsch_gordan_coefficients():
    # Varshalovich et al., tables of section 8.5
    assert clebsch_gordan(1, 1, 1, -1, 2, 0) == pytest.approx(np.sqrt(1 / 2), rel=1e-15)
    assert clebsch_gordan(1, -1, 1, 1, 0, 0) == pytest.approx(-np.sqrt(1 / 2), rel=1e-15)
    assert clebsch_gordan(4, 0, 4, 0, 4, 0) == pytest.approx(-np.sqrt(2 / 7), rel=1e-15)
    assert clebsch_gordan(2, 2, 1, -1, 3, 1) == pytest.approx(np.sqrt(1 / 3), rel=1e-15)
    assert clebsch_gordan(2, 0, 2, 0, 2, 0) == 0
    assert clebsch_gordan(2, 2, 2, 0, 1, 2) == 0
    assert clebsch_gordan(2, 4, 2, 0, 4, 4) == 0


@pytest.mark.parametrize(("j1", "j2"), [(3, 2), (5, 5), (10, 7), (16, 16)])
def test_clebsch_gordan_coefficients_are_orthogonal(j1, j2):
    states = [(j, m) for j in range(abs(j1 - j2), j1 + j2 + 1, 2) for m in range(-j, j + 1, 2)]
    pairs = [(a, b) for a in range(-j1, j1 + 1, 2) for b in range(-j2, j2 + 1, 2)]
    matrix = np.array([[clebsch_gordan(j1, a, j2, b, j, m) for a, b in pairs] for j, m in states])
    assert np.abs(matrix @ matrix.T - np.eye(len(states))).max() < 1e-13
