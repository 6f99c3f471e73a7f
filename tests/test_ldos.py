"""The LDOS of the engine: sum rules, closure of the free energy, transfer across electronic temperatures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.special import erf

from fermisea import units
from fermisea.engines import LdosOptions, PlaneWave, ScfOptions
from fermisea.engines.resampling import resample
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid

DATA = Path(__file__).parent / "data"
QE = json.loads((DATA / "al4_qe.json").read_text())
PYSCF = json.loads((DATA / "al4_pyscf.json").read_text())
AL2 = Atoms(
    "Al2", positions=[[0.05, 0.02, 0.1], [1.5, 0.9, 2.3]], cell=[[2.86, 0.1, 0], [1.4, 2.5, 0], [0, 0, 4.6]], pbc=True
)


def test_dos_is_the_sum_of_broadened_eigenvalues() -> None:
    engine = PlaneWave(cutoff=150.0, kpts=(2, 2, 1), threads=1)
    snapshot, state = engine.run(AL2, 3000.0), engine.solve(AL2, 3000.0)
    s = snapshot.broadening.standard_deviation
    below = snapshot.energies < state.reference.fermi_level
    distance = (snapshot.energies[below, None, None] - state.eigenvalues) / s
    exact = np.sum(2 * state.weights[:, None] * np.exp(-(distance**2) / 2), axis=(1, 2)) / (np.sqrt(2 * np.pi) * s)
    assert snapshot.dos[below] == pytest.approx(exact, abs=1e-4 * exact.max())
    integral = snapshot.energy_grid.spacing * np.cumsum(snapshot.dos)[below][-1]
    cut = snapshot.energies[below][-1] + snapshot.energy_grid.spacing / 2
    counted = np.sum(state.weights[:, None] * (1 + erf((cut - state.eigenvalues) / (np.sqrt(2) * s))))
    assert integral == pytest.approx(counted, rel=5e-3)


def test_density_of_the_ldos_is_the_density() -> None:
    snapshot = PlaneWave(cutoff=150.0, kpts=(2, 2, 1), threads=1).run(AL2, 3000.0)
    density = snapshot.observables(3000.0)[0].density
    assert np.abs(density - snapshot.density).mean() < 2e-3 * snapshot.density.mean()
    assert snapshot.grid.integrate(snapshot.density) == pytest.approx(6.0, abs=1e-9)


def test_coarser_points_keep_electrons_and_free_energy() -> None:
    fine = PlaneWave(cutoff=200.0, kpts=(2, 2, 1), threads=1)
    full = fine.run(AL2, 3000.0)
    shape = tuple(int(n * 0.85) for n in full.grid.shape)
    coarse = PlaneWave(cutoff=200.0, kpts=(2, 2, 1), threads=1, ldos=LdosOptions(grid=shape)).run(AL2, 3000.0)
    assert coarse.grid.shape == shape
    assert coarse.grid.integrate(coarse.density) == pytest.approx(6.0, abs=1e-9)
    assert coarse.dos == pytest.approx(full.dos, rel=1e-5)
    assert coarse.free_energy(3000.0) == pytest.approx(full.free_energy(3000.0), abs=2 * 1e-3)


def test_resampling_is_exact_for_what_the_coarse_grid_holds() -> None:
    x = torch.arange(12, dtype=torch.float64) / 12
    field = (1 + torch.cos(2 * torch.pi * x))[:, None, None] * (2 - torch.sin(4 * torch.pi * x))[None, :, None]
    coarse = resample(field.expand(12, 12, 6), (7, 9, 6))
    u, v = torch.arange(7, dtype=torch.float64) / 7, torch.arange(9, dtype=torch.float64) / 9
    exact = (1 + torch.cos(2 * torch.pi * u))[:, None, None] * (2 - torch.sin(4 * torch.pi * v))[None, :, None]
    assert torch.allclose(coarse, exact.expand(7, 9, 6), atol=1e-13)
    with pytest.raises(InputError, match="at most the grid of the engine"):
        resample(field.expand(12, 12, 6), (13, 12, 6))


def test_given_energies_are_used_or_refused() -> None:
    grid = EnergyGrid(-12.0, 0.4, 80)
    engine = PlaneWave(cutoff=150.0, threads=1, ldos=LdosOptions(energy_grid=grid, broadening=0.4))
    assert engine.run(AL2, 3000.0).energy_grid == grid
    late = PlaneWave(cutoff=150.0, threads=1, ldos=LdosOptions(energy_grid=EnergyGrid(0.0, 0.4, 50), broadening=0.4))
    with pytest.raises(InputError, match=r"starts at 0\.000 eV"):
        late.run(AL2, 3000.0)


@pytest.mark.parametrize(
    ("temperature", "mesh", "spacing", "bar"),
    [(298.0, 4, 0.05, 0.15), pytest.param(933.0, 6, 0.2, 0.5, marks=pytest.mark.slow), (10_000.0, 3, 0.5, 0.1)],
)
def test_closure_of_the_free_energy(temperature: float, mesh: int, spacing: float, bar: float) -> None:
    """LDOS -> mu -> n -> F against the engine's own F, meV per atom, in a small basis.

    The mesh is as fine as broadening and temperature ask for.
    """
    atoms = Atoms(QE["symbols"], positions=QE["positions_A"], cell=QE["cell_A"], pbc=True)
    options = LdosOptions(spacing=spacing, broadening=spacing)
    snapshot = PlaneWave(cutoff=10 * units.RYDBERG, kpts=(mesh,) * 3, ldos=options, threads=1).run(atoms, temperature)
    assert abs(snapshot.free_energy(temperature) - snapshot.reference.free_energy) < 4 * bar * 1e-3


@pytest.mark.slow
def test_transfer_from_300_kelvin() -> None:
    """The four forms, from the LDOS of tau_ref = 300 K, against self-consistent runs (structure of al4_pyscf.json).

    The LDOS is all but exact (0.02 eV), the run tight, and the window so wide that nothing of it is cut off at 30 kK.
    """
    atoms = Atoms("Al4", positions=PYSCF["positions_A"], cell=PYSCF["cell_A"], pbc=True)
    temperatures = [300.0, 1000.0, 5000.0, 10_000.0, 20_000.0, 30_000.0]
    options = LdosOptions(spacing=0.02, broadening=0.02, highest_electron_temperature=40_000.0)
    scf = ScfOptions(tolerance=1e-11)
    engine = PlaneWave(cutoff=10 * units.RYDBERG, kpts=(3, 3, 3), ldos=options, scf=scf, threads=1)
    results = engine.run(atoms, 300.0).observables(temperatures)
    closure = None
    for result in results:
        exact = engine.solve(atoms, result.electron_temperature).reference.free_energy
        errors = {form: 250 * (value - exact) for form, value in result.free_energies.items()}
        closure = errors["second_order"] if closure is None else closure
        assert abs(errors["second_order"]) < 0.3
        assert abs(errors["harris_foulkes"]) < 4
        assert abs(errors["kohn_sham"]) < 4
        if result.electron_temperature == 10_000.0:
            assert errors["naive"] > 5
        if result.electron_temperature > 300.0:
            assert abs(errors["second_order"] - closure) <= 2 * 250 * result.transfer_error
    assert closure is not None
    assert abs(closure) < 0.05  # of the LDOS itself, at its own temperature
