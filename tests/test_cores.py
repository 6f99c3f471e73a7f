"""Core radii of pseudopotentials, and structures that come closer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii

from fermisea.engines import PlaneWave
from fermisea.engines.cores import warn_of_overlap
from fermisea.engines.espresso.potentials import load_potentials
from fermisea.pseudopotentials import load_gth, load_upf
from fermisea.pseudopotentials.gth import names
from fermisea.units import BOHR, COULOMB

FILES = Path(__file__).parent / "data" / "pseudopotentials"


def molecule(distance: float) -> Atoms:
    return Atoms("H2", positions=[[0, 0, 0.1], [0, 0, 0.1 - distance]], cell=[3.0, 3.0, 3.0], pbc=True)


def test_the_gaussian_potential_is_the_transform_of_its_form_in_momentum_space():
    local = load_gth("Al", "pbe").local
    radius = np.arange(1, 4000) * 1e-3
    momenta = np.array([0.5, 2.0, 5.0, 10.0])
    waves = 4 * math.pi * radius * np.sin(np.outer(momenta, radius)) / momenta[:, None]
    short = 1e-3 * waves @ (local.at(radius) + local.valence * COULOMB / radius)
    expected = local(torch.tensor(momenta)).numpy() + 4 * math.pi * local.valence * COULOMB / momenta**2
    np.testing.assert_allclose(short, expected, rtol=1e-3)


def test_core_radii_of_the_table_and_of_files_agree():
    file = load_potentials({"Al": FILES / "Al.gth-pbe.upf"}, ["Al"], None).core_radii["Al"]
    assert load_gth("Al", "pbe").core_radius == pytest.approx(file, rel=0.02)
    assert load_upf(FILES / "PD_Al_std.upf", 20.0).core_radius == pytest.approx(1.78 * BOHR, rel=0.01)
    assert load_gth("H", "lda").core_radius == pytest.approx(0.36, abs=0.01)
    for symbol, found in names("pbe").items():  # neighbouring atoms stay outside
        bond = 2 * covalent_radii[atomic_numbers[symbol]]
        assert all(load_gth(name, "pbe").core_radius < 0.7 * bond for name in found)


def test_atoms_inside_a_core_are_warned_of_once_a_structure():
    engine = PlaneWave(xc="lda", kpts=(1, 1, 1))
    engine._problem(molecule(0.74), 1000.0)  # a warning would be an error
    engine._problem(bulk("Al", "fcc", a=3.0), 1000.0)
    words = r"H2: the shortest H-H distance is 0.30 Å, less than the core radius 0.36 Å of the pseudopotential of H"
    with pytest.warns(UserWarning, match=words) as issued:
        engine._problem(molecule(0.3), 1000.0)
    assert len(issued) == 1
    with pytest.warns(UserWarning, match=r"H-H distance is 0.10 Å"):
        engine._problem(molecule(2.9), 1000.0)  # through the face of the cell


def test_initial_magnetic_moments_are_not_ignored_in_silence():
    iron = bulk("Al", "fcc", a=4.05)
    iron.set_initial_magnetic_moments([2.2])
    with pytest.warns(UserWarning, match="Al: the initial magnetic moments are ignored, because .* not spin-polarised"):
        PlaneWave(xc="lda", kpts=(1, 1, 1))._problem(iron, 1000.0)


def test_the_larger_core_of_two_elements_counts():
    radii = {"Al": 0.94, "Be": 0.62}
    atoms = Atoms("AlBe", positions=[[0, 0, 0], [0, 0, 0.8]], cell=[4.0, 4.0, 4.0], pbc=True)
    with pytest.warns(
        UserWarning, match=r"AlBe: the shortest Al-Be distance is 0.80 Å.* 0.94 Å of the pseudopotential of Al"
    ):
        warn_of_overlap(atoms, radii)
    warn_of_overlap(atoms, {"Be": radii["Be"]})
