"""The plane-wave engine against pw.x on the same structures and pseudopotentials, run side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from espresso import run_pw
from fermisea import units
from fermisea.engines import PlaneWave

POTENTIALS = Path(__file__).parent / "data" / "pseudopotentials"
BE = POTENTIALS / "PD_Be_std.upf"
AL = POTENTIALS / "PD_Al_std.upf"

pytestmark = pytest.mark.espresso


def rattled(atoms: Atoms) -> Atoms:
    atoms.positions += np.random.default_rng(5).normal(0, 0.08, atoms.positions.shape)
    return atoms


def beryllium() -> Atoms:
    return rattled(bulk("Be", "hcp", a=2.286, c=3.584))


def alloy() -> Atoms:
    """A two-element triclinic cell."""
    cell = [[2.9, 0.2, 0.0], [0.1, 2.8, 0.3], [0.0, -0.1, 2.7]]
    return rattled(Atoms("AlBe", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True))


@pytest.mark.parametrize(
    ("atoms", "potentials", "temperature", "kpts", "shift"),
    [
        (beryllium(), {"Be": BE}, 1000.0, (3, 3, 2), (0, 0, 0)),
        (beryllium(), {"Be": BE}, 20_000.0, (2, 2, 2), (1, 1, 1)),
        (alloy(), {"Al": AL, "Be": BE}, 3000.0, (2, 2, 2), (0, 0, 1)),
    ],
    ids=["be", "be-hot-shifted", "al-be-triclinic"],
)
def test_other_elements(
    tmp_path: Path,
    atoms: Atoms,
    potentials: dict[str, Path],
    temperature: float,
    kpts: tuple[int, int, int],
    shift: tuple[int, int, int],
) -> None:
    """Beryllium has only s and p projectors and no core correction; the alloy mixes both kinds."""
    cutoff = 30 * units.RYDBERG
    engine = PlaneWave(cutoff=cutoff, kpts=kpts, shift=shift, pseudopotentials=potentials, threads=1)
    state = engine.solve(atoms, temperature)
    bands = state.eigenvalues.shape[1]
    peer = run_pw(tmp_path, atoms, potentials, temperature, cutoff=cutoff, kpts=kpts, shift=shift, bands=bands)
    ours = state.reference
    assert ours.free_energy == pytest.approx(peer.free_energy, abs=len(atoms) * 0.05e-3)
    assert ours.entropy_term == pytest.approx(peer.entropy_term, abs=len(atoms) * 0.02e-3)
    assert ours.fermi_level == pytest.approx(peer.fermi_level, abs=1e-3)
    assert ours.forces == pytest.approx(peer.forces, abs=2e-4 * units.RYDBERG / units.BOHR)
    assert ours.stress == pytest.approx(peer.stress, abs=2e-5)
