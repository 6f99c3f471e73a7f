"""Hot electrons in the plane-wave engine: identities of the free-electron tail, all states of the basis, checks."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from fermisea import Snapshot, units
from fermisea.engines import LdosOptions, PlaneWave, ScfOptions
from fermisea.engines.basis import plane_waves
from fermisea.engines.ldos import default_spacing
from fermisea.engines.planewave.eigensolver import Bands
from fermisea.engines.planewave.filling import fill
from fermisea.engines.planewave.hamiltonian import Hamiltonian
from fermisea.engines.planewave.ions import local_potential, projectors
from fermisea.engines.planewave.kpoints import monkhorst_pack
from fermisea.engines.planewave.solver import KPointSolver
from fermisea.engines.planewave.tail import Tail
from fermisea.errors import InputError
from fermisea.physics.fermi_dirac import fermi_level_of_states, grand_potential
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_energy import potential_and_double_counting
from fermisea.utilities.threads import Workers

pytestmark = [
    pytest.mark.filterwarnings("ignore:frozen core. k_B tau_e"),
    pytest.mark.filterwarnings("ignore:bands. got .* too few below a tail"),
]

HOT = 90_000.0
TIGHT = ScfOptions(tolerance=1e-12)


def sheared() -> Atoms:
    """A sheared cell of two aluminium atoms, without symmetry."""
    cell = [[2.86, 0.1, 0.0], [1.4, 2.5, 0.05], [0.1, 0.0, 4.6]]
    return Atoms("Al2", positions=[[0.05, 0.02, 0.1], [1.5, 0.9, 2.3]], cell=cell, pbc=True)


def quick(**changes: object) -> PlaneWave:
    settings: dict[str, object] = {"cutoff": 150.0, "kpts": (1, 1, 1), "threads": 1, "pseudopotentials": "gth"}
    return PlaneWave(**settings | changes)


def strained(strain: np.ndarray) -> Atoms:
    atoms = sheared()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


@pytest.fixture(scope="module")
def few_bands() -> PlaneWave:
    return quick(bands=16, tail=True, scf=TIGHT)


@pytest.fixture(scope="module")
def state(few_bands):
    return few_bands.solve(sheared(), HOT)


def test_a_tenth_of_the_electrons_is_in_the_tail_and_none_is_lost(state):
    assert 0.1 < state.tail_electrons / 6 < 0.3
    assert state.grid.integrate(state.density) == pytest.approx(6, abs=1e-12)
    assert sum(state.reference.parts.values()) == pytest.approx(state.reference.free_energy, abs=1e-10)


def test_self_consistent_free_energy_is_the_sum_of_its_parts(state):
    """Band energy, -TS and double counting of the last iteration, against the parts of the converged density."""
    assert state.history[-1].free_energy == pytest.approx(state.reference.free_energy, abs=1e-7)


def test_entropy_with_a_tail_is_the_temperature_derivative(few_bands, state):
    low, high = (few_bands.solve(sheared(), HOT + step).reference.free_energy for step in (-200.0, 200.0))
    assert (high - low) / 400 == pytest.approx(state.reference.entropy_term / HOT, rel=1e-6)


def test_stress_with_a_tail_is_the_strain_derivative(few_bands, state):
    direction = np.array([[1.0, 0.3, 0.0], [0.3, -0.5, 0.2], [0.0, 0.2, 0.7]])
    step = 1e-4
    high, low = (few_bands.solve(strained(sign * step * direction), HOT).reference.free_energy for sign in (1, -1))
    slope = (high - low) / (2 * step) / sheared().get_volume()
    assert np.sum(state.reference.stress * direction) == pytest.approx(slope, rel=1e-5)


def test_forces_with_a_tail_are_derivatives(few_bands, state):
    direction = np.array([[0.4, -0.2, 0.3], [-0.4, 0.2, -0.3]])
    energies = []
    for sign in (1, -1):
        moved = sheared()
        moved.positions += sign * 2e-3 * direction
        energies.append(few_bands.solve(moved, HOT).reference.free_energy)
    force = float(np.sum(state.reference.forces * direction))
    assert force == pytest.approx(-(energies[0] - energies[1]) / 4e-3, rel=2e-5)


def test_forces_of_a_symmetric_crystal_vanish_although_the_switch_cuts_degenerate_bands():
    reference = quick(bands=24, tail=True, cutoff=120.0, scf=TIGHT).solve(bulk("Al", cubic=True, a=4.05), HOT).reference
    assert reference.tail_electrons > 1
    assert np.abs(reference.forces).max() < 1e-6
    assert reference.stress == pytest.approx(np.trace(reference.stress) / 3 * np.eye(3), abs=1e-6)


def test_few_bands_with_a_tail_give_the_free_energy_of_all_states():
    """At a cutoff of 150 eV, few electrons are beyond it at this tau_e."""
    whole = quick(bands="all").solve(sheared(), 50_000.0).reference
    tail = quick(bands=40, tail=True).solve(sheared(), 50_000.0).reference
    assert tail.free_energy == pytest.approx(whole.free_energy, abs=2 * 0.002)
    assert tail.forces == pytest.approx(whole.forces, abs=0.02)
    assert np.trace(tail.stress) == pytest.approx(np.trace(whole.stress), rel=0.01)


def test_tail_of_free_electrons_is_exact():
    """Free electrons on a dense mesh, of which the tail takes a part, have F and N of the whole free-electron gas."""
    problem = quick()._problem(sheared(), HOT)
    mesh = monkhorst_pack((8, 8, 6), (1, 1, 1))
    waves = [plane_waves(problem.grid, fraction, 400.0, torch.device("cpu")) for fraction in mesh.fractions]
    problem = replace(problem, waves=waves, weights=mesh.weights)
    reciprocal = torch.as_tensor(problem.grid.reciprocal)
    states = []
    for wave in waves:
        values = units.KINETIC * torch.sum(wave.vectors(reciprocal) ** 2, dim=1)
        states.append(Bands(torch.sort(values).values - 3.0, torch.empty(0), torch.empty(0)))
    everything, cut = fill(problem, states, -3.0, None), fill(problem, states, -3.0, Tail(20, problem.grid.volume))
    assert cut.tail_electrons > 0.3
    assert cut.tail_bottom == pytest.approx(-3.0, abs=0.01)
    assert cut.fermi_level == pytest.approx(everything.fermi_level, abs=1e-3)
    total = everything.band_energy + everything.entropy_term
    assert cut.band_energy + cut.entropy_term == pytest.approx(total, abs=2e-3)


def test_colder_electrons_have_no_tail_by_default():
    hot, plain = (quick(tail=tail).solve(sheared(), 30_000.0) for tail in ("auto", False))
    assert hot.reference.free_energy == plain.reference.free_energy
    assert np.array_equal(hot.density, plain.density)
    assert hot.tail_electrons == 0
    assert hot.reference.tail_bottom is None


def test_the_tail_takes_over_where_bands_would_be_many():
    engine = quick(cutoff=300.0)
    numbers = [engine.solve(sheared(), t).eigenvalues.shape[1] for t in (100_000.0, 1e6)]
    assert numbers[0] == numbers[1] < 100


def test_an_occupied_top_band_of_a_fixed_number_gets_a_tail_unless_refused():
    found = quick(bands=16, scf=TIGHT).solve(sheared(), HOT).reference
    assert found.tail_electrons > 0.6
    assert found.parts["tail_kinetic"] > 0
    with pytest.raises(InputError, match="bands: with 16 bands the occupation of the top band"):
        quick(bands=16, tail=False).solve(sheared(), HOT)


def test_all_states_are_those_of_the_iterative_solver():
    """At 10 kK the occupied bands of both agree; k-points with fewer plane waves end with NaN."""
    whole = quick(bands="all", kpts=(2, 1, 1), cutoff=100.0).solve(sheared(), 10_000.0)
    few = quick(kpts=(2, 1, 1), cutoff=100.0).solve(sheared(), 10_000.0)
    assert whole.reference.free_energy == pytest.approx(few.reference.free_energy, abs=1e-6)
    assert whole.reference.forces == pytest.approx(few.reference.forces, abs=1e-4)
    problem = quick(kpts=(2, 1, 1), cutoff=100.0)._problem(sheared(), 10_000.0)
    sizes = [len(waves) for waves in problem.waves]
    assert len(set(sizes)) > 1
    assert list(np.isfinite(whole.eigenvalues).sum(axis=1)) == sizes


def test_free_energy_of_all_states_is_that_of_a_dense_diagonalisation_of_the_applied_hamiltonian():
    """The matrix is built column by column from H psi and diagonalised with LAPACK through numpy; F is the
    Harris-Foulkes functional of the converged density, A + double counting, which is of second order in its error."""
    engine, tau = quick(bands="all", cutoff=100.0, scf=TIGHT), 60_000.0
    state, problem = engine.solve(sheared(), tau), engine._problem(sheared(), tau)
    density = torch.as_tensor(state.density)
    ionic = torch.fft.ifftn(local_potential(problem.ions, problem.grid.shape), norm="forward").real
    hxc, double_counting = potential_and_double_counting(
        density, density + problem.core, FourierGrid.of(problem.ions.cell, density), problem.functional
    )
    (waves,) = problem.waves
    kinetic = units.KINETIC * torch.sum(waves.vectors(problem.ions.reciprocal) ** 2, dim=1)
    beta, coupling = projectors(problem.ions, waves)
    hamiltonian = Hamiltonian(waves, kinetic, beta, coupling.to(beta.dtype), ionic + hxc)
    rows = hamiltonian.apply(torch.eye(len(waves), dtype=torch.complex128)).numpy()
    values = np.linalg.eigvalsh(rows.T)
    assert values == pytest.approx(state.eigenvalues[0], abs=1e-5)
    filled = np.full(values.size, 2.0)
    mu = fermi_level_of_states(values, filled, problem.electrons, tau)
    total = float(filled @ grand_potential(values, mu, tau)) + mu * problem.electrons
    assert total + double_counting + problem.ion_energy == pytest.approx(state.reference.free_energy, abs=2 * 5e-8)


def test_a_few_bands_by_dense_diagonalisation_are_those_of_the_iteration():
    """The solver takes the dense way for many bands in a small basis; a larger share of bands changes the method."""
    problem = quick(cutoff=120.0)._problem(sheared(), HOT)
    with Workers(1) as pool:
        solver = KPointSolver(problem, pool)
        potential = torch.zeros(problem.grid.shape, dtype=torch.float64)
        dense, few = len(problem.waves[0]) // 4, len(problem.waves[0]) // 6
        (exact,) = solver.solve(potential, dense, lambda values: 0 * values + 1e-7, 40)
        (found,) = KPointSolver(problem, pool).solve(potential, few, lambda values: 0 * values + 1e-7, 40)
    assert float(exact.residuals.max()) == 0 < float(found.residuals.max())
    assert exact.eigenvalues[:few].numpy() == pytest.approx(found.eigenvalues.numpy(), abs=1e-9)


def test_a_basis_too_large_for_the_memory_is_refused():
    atoms = Atoms("Al", cell=[30.0, 30.0, 30.0], pbc=True)
    with pytest.raises(InputError, match=r"bands: got 'all' with \d+ plane waves .* GiB of memory; lower the cutoff"):
        quick(bands="all", cutoff=200.0).solve(atoms, 1e5)


def test_electrons_beyond_the_cutoff_are_a_warning():
    with pytest.warns(
        UserWarning, match=r"cutoff: got 60 eV, but at 300000 K a fraction .* raise the cutoff to \d+ eV"
    ):
        quick(bands="all", cutoff=60.0).solve(sheared(), 300_000.0)
    with pytest.warns(UserWarning, match=r"cutoff: got 60 eV, too low for the bands .* raise the cutoff to \d+ eV"):
        quick(cutoff=60.0).solve(sheared(), 300_000.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(bands="all", cutoff=250.0).solve(sheared(), 20_000.0)


@pytest.mark.parametrize("bands", [0, -3, 2.5, True, "many"])
def test_bands_that_do_not_exist_are_refused(bands):
    with pytest.raises(InputError, match="bands: got"):
        quick(bands=bands)


@pytest.mark.parametrize(("bands", "tail"), [(None, "yes"), (None, 1.5), ("all", True)])
def test_tails_that_do_not_exist_are_refused(bands, tail):
    with pytest.raises(InputError, match="tail: got"):
        quick(bands=bands, tail=tail)


def test_hot_snapshot_ends_where_the_bands_end(tmp_path: Path):
    engine = quick(cutoff=200.0, bands=48, tail=True)
    snapshot = engine.run(sheared(), 150_000.0)
    width = default_spacing(150_000.0)
    assert snapshot.energy_grid.spacing == snapshot.broadening.standard_deviation == width
    assert width == 1.5
    reference = snapshot.reference
    top = reference.tail_bottom + Tail(engine.solve(sheared(), 150_000.0).eigenvalues.shape[1], 1.0).top
    assert snapshot.energy_grid.stop < reference.fermi_level + 11.6 * units.thermal_energy(150_000.0)
    assert top > 0
    snapshot.save(tmp_path / "hot.nc")
    stored = Snapshot.load(tmp_path / "hot.nc").reference
    assert (stored.tail_bottom, stored.tail_electrons) == (reference.tail_bottom, reference.tail_electrons)
    assert reference.tail_electrons > 0.1


def test_default_widths_of_the_ldos_grow_for_hot_electrons_only():
    assert [default_spacing(t) for t in (300.0, 30_000.0, 35_000.0)] == [0.2] * 3
    assert default_spacing(50_000.0) == pytest.approx(0.4 * units.thermal_energy(20_000.0), rel=1e-12)
    assert default_spacing(1e6) == 1.5
    chosen = LdosOptions(spacing=0.5, broadening=0.5).covering(1e6)
    assert (chosen.spacing, chosen.broadening) == (0.5, 0.5)
    assert LdosOptions(spacing=0.1).covering(1000.0).broadening == 0.2


@pytest.mark.parametrize("tail", ["auto", False])
@pytest.mark.parametrize("electron_temperature", [0.0, -1.0, np.nan, np.inf, 1e300])
def test_temperatures_without_meaning_are_refused(electron_temperature, tail):
    with pytest.raises(InputError, match="temperature: got"):
        quick(tail=tail).solve(sheared(), electron_temperature)


def test_few_bands_below_a_tail_are_a_warning():
    with pytest.warns(UserWarning, match=r"bands: got 8, too few below a tail at 90000 K for F to 0.1 %"):
        quick(bands=8).solve(sheared(), HOT)


@pytest.mark.parametrize("bands", [1, 2, 5])
def test_very_few_bands_still_hold_all_electrons(bands):
    found = quick(bands=bands, tail=True).solve(sheared(), 1e7)
    assert found.grid.integrate(found.density) == pytest.approx(6, abs=1e-11)
    assert found.tail_electrons > 5.5
