"""The plane-wave engine against Quantum ESPRESSO, finite differences and its own invariances."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from fermisea import units
from fermisea.engines import LdosOptions, PlaneWave, ScfOptions
from fermisea.engines.basis import plane_waves
from fermisea.engines.mesh import K_SPACING, default_mesh, mesh_of
from fermisea.engines.planewave import engine as planewave
from fermisea.engines.planewave import window_bands
from fermisea.engines.planewave.eigensolver import davidson, first_guess
from fermisea.engines.planewave.half_mesh import half_mesh
from fermisea.engines.planewave.hamiltonian import Hamiltonian
from fermisea.engines.planewave.kpoints import monkhorst_pack
from fermisea.engines.planewave.solver import KPointSolver
from fermisea.errors import ConvergenceError, InputError
from fermisea.grid import RealSpaceGrid
from fermisea.physics.fermi_dirac import occupation
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_energy import FreeEnergyFunctional
from fermisea.physics.ions import core_density
from fermisea.physics.xc import functional
from fermisea.pseudopotentials.gth import cutoffs
from fermisea.utilities.threads import Workers

DATA = Path(__file__).parent / "data"
RUNS = json.loads((DATA / "al4_qe.json").read_text())
RY = units.RYDBERG


def al4() -> Atoms:
    return Atoms(RUNS["symbols"], positions=RUNS["positions_A"], cell=RUNS["cell_A"], pbc=True)


def small_cell() -> Atoms:
    """A sheared two-atom cell, cheap and without symmetry."""
    cell = [[2.86, 0.1, 0.0], [1.4, 2.5, 0.05], [0.1, 0.0, 4.6]]
    return Atoms("Al2", positions=[[0.05, 0.02, 0.1], [1.5, 0.9, 2.3]], cell=cell, pbc=True)


def quick(**changes: object) -> PlaneWave:
    settings: dict[str, object] = {"cutoff": 150.0, "kpts": (2, 2, 1), "threads": 1, **changes}
    return PlaneWave(**settings)


@pytest.mark.parametrize("name", RUNS["runs"])
def test_quantum_espresso_runs(name: str) -> None:
    """Every run of al4_qe.json (Quantum ESPRESSO 6.7, conv_thr 1e-10)."""
    run = RUNS["runs"][name]
    mesh = tuple(int(n) for n in run["kpts"][1].split()[:3])
    xc = "pz" if name.startswith("vbc") else "pbesol" if name.endswith("pbesol") else "pbe"
    potentials = {"Al": str(DATA / "pseudopotentials" / run["pseudo"])}
    engine = PlaneWave(xc=xc, cutoff=run["ecutwfc_Ry"] * RY, kpts=mesh, pseudopotentials=potentials, threads=1)
    state = engine.solve(al4(), run["electron_temperature_K"])
    reference = state.reference
    parts = reference.parts
    assert reference.free_energy == pytest.approx(run["free_energy_Ry"] * RY, abs=4 * 0.05e-3)
    assert reference.entropy_term == pytest.approx(run["minus_TS_Ry"] * RY, abs=4 * 0.02e-3)
    assert reference.fermi_level == pytest.approx(run["fermi_eV"], abs=1e-3)
    forces = np.array(run["forces_Ry_per_bohr"]) * RY / units.BOHR
    assert reference.forces == pytest.approx(forces, abs=2e-4 * RY / units.BOHR)
    one_electron = parts["kinetic"] + parts["local"] + parts["nonlocal"]
    assert one_electron == pytest.approx(run["one_electron_Ry"] * RY, abs=2e-3)
    assert parts["hartree"] == pytest.approx(run["hartree_Ry"] * RY, abs=2e-3)
    assert parts["ewald"] == pytest.approx(run["ewald_Ry"] * RY, abs=1e-5)


def test_shipped_gth_table_equals_the_upf_file() -> None:
    run = RUNS["runs"]["gth_al4_k2_933_20"]
    engine = PlaneWave(cutoff=20 * RY, kpts=(2, 2, 2), pseudopotentials="gth", threads=1)
    reference = engine.solve(al4(), 933.0).reference
    assert reference.free_energy == pytest.approx(run["free_energy_Ry"] * RY, abs=4 * 0.05e-3)
    assert reference.fermi_level == pytest.approx(run["fermi_eV"], abs=1e-3)


def test_forces_are_the_derivative_of_the_free_energy() -> None:
    """Along a displacement that leaves the centre of mass, as the net force (of the grid alone) is taken out."""
    engine = quick(scf=ScfOptions(tolerance=1e-12))
    atoms = small_cell()
    direction = np.array([[0.4, -0.2, 0.3], [-0.4, 0.2, -0.3]])
    step = 2e-3
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        energies.append(engine.solve(moved, 3000.0).reference.free_energy)
    forces = engine.solve(atoms, 3000.0).reference.forces
    assert np.sum(forces * direction) == pytest.approx(-(energies[0] - energies[1]) / (2 * step), rel=2e-5)


@pytest.mark.parametrize("potential", ["gth", "PD_Al_std.upf"])
def test_stress_is_the_derivative_of_the_free_energy(potential: str) -> None:
    """With and without core correction; the strain is so small that the set of plane waves stays the same."""
    potentials = "gth" if potential == "gth" else {"Al": str(DATA / "pseudopotentials" / potential)}
    engine = quick(scf=ScfOptions(tolerance=1e-12), kpts=(1, 1, 1), pseudopotentials=potentials)
    atoms = small_cell()
    strain = np.array([[1.0, 0.3, 0.0], [0.3, -0.5, 0.2], [0.0, 0.2, 0.7]])
    step = 1e-4
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * strain), scale_atoms=True)
        energies.append(engine.solve(strained, 3000.0).reference.free_energy)
    stress = engine.solve(atoms, 3000.0).reference.stress
    derivative = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
    assert np.sum(stress * strain) == pytest.approx(derivative, rel=1e-4)


def test_free_energy_identity_from_density_and_eigenvalues() -> None:
    """Band energy minus double counting at the converged density gives the sum of the parts (physics of section 2)."""
    engine = quick(pseudopotentials={"Al": str(DATA / "pseudopotentials" / "PD_Al_std.upf")}, cutoff=200.0)
    snapshot = engine.run(small_cell(), 2000.0)
    reference = snapshot.reference
    assert sum(reference.parts.values()) == pytest.approx(reference.free_energy, abs=1e-12)
    state = engine.solve(small_cell(), 2000.0)
    f = occupation(state.eigenvalues, reference.fermi_level, 2000.0)
    band_energy = float(np.sum(2 * state.weights[:, None] * f * state.eigenvalues))
    cell = torch.as_tensor(state.grid.lattice)
    core = core_density(
        snapshot.ions, ["Al", "Al"], torch.as_tensor(state.atoms.positions), FourierGrid(cell, state.grid.shape)
    )
    forms = FreeEnergyFunctional(
        reference_density=state.density,
        core_density=core,
        grid=FourierGrid.of(cell, state.density),
        functional=functional("pbe"),
        ion_energy=reference.parts["ewald"],
    ).forms(band_energy + reference.entropy_term, state.density)
    assert forms["naive"] == pytest.approx(reference.free_energy, abs=2 * 0.02e-3)


def test_number_of_threads_changes_nothing() -> None:
    one, two = (quick(threads=n).solve(small_cell(), 2000.0) for n in (1, 2))
    assert one.reference.free_energy == two.reference.free_energy
    assert np.array_equal(one.density, two.density)
    assert np.array_equal(one.reference.forces, two.reference.forces)


def test_left_handed_cell_is_the_same_crystal() -> None:
    right = small_cell()
    left = Atoms("Al2", positions=right.positions, cell=right.cell.array[[1, 0, 2]], pbc=True)
    engines = quick(kpts=(2, 3, 1)), quick(kpts=(3, 2, 1))
    first, second = engines[0].solve(right, 2000.0), engines[1].solve(left, 2000.0)
    assert first.reference.free_energy == pytest.approx(second.reference.free_energy, abs=1e-7)
    assert first.reference.forces == pytest.approx(second.reference.forces, abs=1e-5)


def test_supercell_folds_the_k_mesh() -> None:
    atoms = small_cell()
    double = atoms.repeat((1, 1, 2))
    # a mesh through Gamma along c: (0, 1/2) of the small cell is Gamma of the doubled one
    single = quick(kpts=(1, 1, 2), scf=ScfOptions(tolerance=1e-11)).solve(atoms, 3000.0).reference
    both = quick(kpts=(1, 1, 1), scf=ScfOptions(tolerance=1e-11)).solve(double, 3000.0).reference
    assert both.free_energy / 2 == pytest.approx(single.free_energy, abs=2e-4)
    assert both.fermi_level == pytest.approx(single.fermi_level, abs=1e-4)


def test_single_precision_agrees() -> None:
    double, single = (quick(dtype=dtype).solve(small_cell(), 2000.0).reference for dtype in ("complex128", "complex64"))
    assert single.free_energy == pytest.approx(double.free_energy, abs=2e-4)
    assert single.forces == pytest.approx(double.forces, abs=2e-3)


def test_no_state_is_accepted_in_single_precision() -> None:
    engine = quick(scf=ScfOptions(tolerance=1e-3))
    with Workers(1) as pool:
        problem = engine._problem(small_cell(), 1000.0)
        state = engine._converge(problem, KPointSolver(problem, pool), pool)
    assert {band.coefficients.dtype for band in state.states} == {torch.complex128}
    assert state.history[-1].residual < 1e-3


def test_high_bands_need_not_be_converged_as_far(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = quick(ldos=LdosOptions(highest_electron_temperature=20_000.0))
    snapshot = engine.run(small_cell(), 1000.0)
    monkeypatch.setattr(window_bands, "WINDOW_TOLERANCE", 1e-3)
    monkeypatch.setattr(window_bands, "_LOOSER_ABOVE", np.inf)
    tight = engine.run(small_cell(), 1000.0)
    temperatures = [1000.0, 10_000.0, 20_000.0]
    error = np.subtract(*(s.free_energy(electron_temperature=temperatures) for s in (snapshot, tight))) / 2
    assert np.abs(error).max() > 0  # they are not the same
    assert np.all(np.abs(error) < [0.01e-3, 0.01e-3, 0.02e-3]), error
    rough = np.abs(snapshot.ldos - tight.ldos).mean(axis=(0, 1, 2)) / tight.ldos.mean()
    assert rough[snapshot.energy_grid.energies < snapshot.reference.fermi_level + 4].max() < 2e-3
    assert rough.max() < 0.05


def test_entropy_is_the_temperature_derivative_of_the_free_energy() -> None:
    engine = quick(scf=ScfOptions(tolerance=1e-12))
    low, middle, high = (engine.solve(small_cell(), t).reference for t in (4950.0, 5000.0, 5050.0))
    assert (high.free_energy - low.free_energy) / 100.0 == pytest.approx(middle.entropy_term / 5000.0, rel=2e-4)


def test_hot_electrons_start_from_half_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = quick(kpts=(4, 4, 1), shift=(1, 1, 0), cutoff=100.0)
    solve, points = KPointSolver.solve, []

    def counted(self: KPointSolver, *arguments: object, **options: object) -> object:
        points.append(len(self._hamiltonians))
        return solve(self, *arguments, **options)

    monkeypatch.setattr(KPointSolver, "solve", counted)
    warm = engine.solve(al4(), 40_000.0)
    steps, points[:] = list(points), []
    monkeypatch.setattr(planewave, "half_mesh", lambda *_: None)
    cold = engine.solve(al4(), 40_000.0)
    assert steps[0] == 2
    assert steps[-1] == points[0] == 8
    assert steps.count(8) < 0.6 * len(points)
    assert warm.reference.free_energy == pytest.approx(cold.reference.free_energy, abs=4e-8)
    assert warm.density == pytest.approx(cold.density, abs=1e-4)


@pytest.mark.parametrize(
    ("kpts", "electron_temperature", "taken"),
    [
        ((4, 4, 4), 40_000.0, True),
        ((4, 4, 4), 1000.0, False),
        ((3, 4, 4), 40_000.0, False),
        ((1, 1, 1), 40_000.0, False),
    ],
)
def test_half_the_mesh_is_for_hot_electrons_alone(
    kpts: tuple[int, int, int], electron_temperature: float, taken: bool
) -> None:
    problem = quick(kpts=kpts)._problem(al4(), electron_temperature)
    found = half_mesh(problem)
    assert (found is not None) == taken
    if found is not None:
        assert len(found.waves) == len(found.weights) == len(monkhorst_pack((2, 2, 2)).weights)


def test_failed_scf_carries_its_history() -> None:
    with pytest.raises(ConvergenceError, match="residual after 2 iterations is") as caught:
        quick(scf=ScfOptions(max_iterations=2)).solve(small_cell(), 1000.0)
    assert [step["iteration"] for step in caught.value.history] == [1, 2]
    assert caught.value.history[1]["residual"] > 0


def test_occupied_top_band_is_refused() -> None:
    with pytest.raises(InputError, match="bands: with 4 bands the occupation of the top band"):
        quick(bands=4, tail=False).solve(small_cell(), 30_000.0)


def test_window_reaches_the_highest_temperature() -> None:
    options = LdosOptions(highest_electron_temperature=20_000.0, spacing=0.4, broadening=0.4)
    snapshot = quick(ldos=options).run(small_cell(), 1000.0)
    assert snapshot.highest_electron_temperature > 20_000.0
    states = snapshot.grid.integrate(snapshot.ldos.sum(axis=-1)) * 0.4
    # every state in the window is there: the DOS grows as the square root of the energy for nearly free electrons
    top, lower = snapshot.dos[-5], snapshot.dos[snapshot.energy_grid.size // 2]
    assert states > 20
    assert top > lower


def test_bad_structures_and_settings_are_refused() -> None:
    nan = small_cell()
    nan.positions[1, 0] = np.nan
    with pytest.raises(InputError, match=r"structure: atom 1 .* is at"):
        quick().solve(nan, 1000.0)
    open_cell = small_cell()
    open_cell.pbc = False
    with pytest.raises(InputError, match="pbc"):
        quick().solve(open_cell, 1000.0)
    with pytest.raises(InputError, match="without volume"):
        quick().solve(Atoms("Al", cell=[1, 1, 0], pbc=True), 1000.0)
    with pytest.raises(InputError, match="temperature"):
        quick().solve(small_cell(), 0.0)
    with pytest.raises(InputError, match="xc"):
        PlaneWave(xc="b3lyp")
    with pytest.raises(InputError, match="cutoff"):
        PlaneWave(cutoff=-1.0)
    with pytest.raises(InputError, match="kpts"):
        PlaneWave(kpts=(0, 1, 1))
    with pytest.raises(InputError, match="broadening"):
        LdosOptions(spacing=0.2, broadening=0.1)


def test_default_mesh_and_cutoff_follow_cell_and_pseudopotentials() -> None:
    lithium = bulk("Li", "bcc", a=3.51, cubic=True)
    problem = PlaneWave()._problem(bulk("Al", "fcc", a=4.05), 1000.0)
    assert problem.cutoff == cutoffs("pbe")["Al-q3"]
    assert (problem.kpts, problem.shift) == ((14, 14, 14), (1, 1, 1))
    assert len(problem.waves) == len(monkhorst_pack((14, 14, 14), (1, 1, 1)).weights)
    assert default_mesh(lithium.cell.array) == (9, 9, 9)
    assert default_mesh(lithium.repeat((4, 4, 1)).cell.array) == (3, 3, 9)
    assert default_mesh(np.diag([40.0, 40.0, 4.0])) == (1, 1, 8)
    assert mesh_of(None, (0, 0, 1), lithium.cell.array) == ((9, 9, 9), (0, 0, 1))
    assert mesh_of((2, 2, 1), None, lithium.cell.array) == ((2, 2, 1), (0, 0, 0))


def test_settings_of_a_campaign_depend_on_its_elements_but_not_on_the_structure() -> None:
    alloy = PlaneWave(kpts=(1, 1, 1)).for_elements(["Al", "Li"])
    assert alloy.cutoff == cutoffs("pbe")["Li-q3"]
    assert alloy.provenance(["Al"])["cutoff_eV"] == alloy._problem(bulk("Al"), 1000.0).cutoff == alloy.cutoff
    assert quick().for_elements(["Al", "Li"]) == quick()
    chosen = PlaneWave().provenance(["Al"])
    assert "kpts" not in chosen
    assert chosen["k_spacing_per_A"] == K_SPACING


def test_cutoff_too_low_for_a_pseudopotential_is_a_warning() -> None:
    hard = PlaneWave(cutoff=300.0, kpts=(1, 1, 1), pseudopotentials="gth")
    soft = cutoffs("pbe")["Mg-q2"]
    message = (
        rf"got 300 eV, but with GTH-PBE Mg-q10 F is converged .* eV; raise the cutoff or use Mg-q2 \({soft:g} eV\)"
    )
    with pytest.warns(UserWarning, match=message):
        hard._problem(bulk("Mg", "fcc", a=4.5), 1000.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem = PlaneWave(cutoff=300.0, kpts=(1, 1, 1))._problem(bulk("Mg", "fcc", a=4.5), 1000.0)
    assert problem.ions.potentials["Mg"].name == "GTH-PBE Mg-q2"
    file = {"Al": DATA / "pseudopotentials" / "PD_Al_std.upf"}
    with pytest.warns(
        UserWarning, match=r"cutoff: none was given, and the converged cutoff of .* is not known; took 270"
    ):
        assert PlaneWave(kpts=(1, 1, 1), pseudopotentials=file)._problem(bulk("Al"), 1000.0).cutoff == 270.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PlaneWave(cutoff=100.0, kpts=(1, 1, 1), pseudopotentials=file)._problem(bulk("Al"), 1000.0)


@pytest.mark.parametrize(("size", "shift"), [((4, 4, 4), (0, 0, 0)), ((2, 2, 2), (1, 1, 1)), ((3, 4, 5), (0, 1, 0))])
def test_time_reversal_halves_the_mesh(size: tuple[int, int, int], shift: tuple[int, int, int]) -> None:
    mesh = monkhorst_pack(size, shift)
    assert mesh.weights.sum() == pytest.approx(1.0, abs=1e-14)
    everything = {
        tuple(np.round(sign * k * 2 * np.array(size)).astype(int) % (2 * np.array(size)))
        for k in mesh.fractions
        for sign in (1, -1)
    }
    assert len(everything) == np.prod(size)
    assert len(mesh.weights) <= np.prod(size) // 2 + 4


def test_free_energy_falls_with_the_basis() -> None:
    """The variational principle: more plane waves, lower free energy."""
    low, high = (quick(cutoff=c, kpts=(2, 2, 2)).solve(bulk("Al"), 1000.0).reference for c in (120.0, 200.0))
    assert high.free_energy < low.free_energy


def made_up_hamiltonian(momentum: float = 4.0) -> Hamiltonian:
    """Returns H of random fields in a left-handed, triclinic cell."""
    random = torch.Generator().manual_seed(1)
    grid = RealSpaceGrid.from_momentum(np.array([[0.0, 2.1, 2.0], [2.3, 0.0, 2.0], [2.0, 2.0, 0.3]]), 2 * momentum)
    fraction = np.array([0.1, -0.3, 0.25])
    waves = plane_waves(grid, fraction, units.KINETIC * momentum**2, torch.device("cpu"))
    kinetic = units.KINETIC * torch.sum(waves.vectors(torch.as_tensor(grid.reciprocal)) ** 2, dim=1)
    projectors = torch.randn((3, len(waves)), generator=random, dtype=torch.complex128)
    coupling = torch.randn((3, 3), generator=random, dtype=torch.complex128)
    potential = 5 * torch.randn(grid.shape, generator=random, dtype=torch.float64)
    return Hamiltonian(waves, kinetic, projectors, coupling + coupling.conj().T, potential)


def test_matrix_elements_are_those_of_the_operator() -> None:
    hamiltonian = made_up_hamiltonian(momentum=6.0)
    unit = torch.eye(len(hamiltonian.waves), dtype=torch.complex128)
    order = torch.randperm(len(hamiltonian.waves), generator=torch.Generator().manual_seed(2))
    chosen, others = order.tensor_split([17])
    expected = hamiltonian.apply(unit).T  # a row of images holds <G|H|row>
    torch.testing.assert_close(hamiltonian.matrix(chosen, chosen), expected[chosen][:, chosen], rtol=0, atol=1e-11)
    torch.testing.assert_close(hamiltonian.matrix(others, chosen), expected[others][:, chosen], rtol=0, atol=1e-11)
    torch.testing.assert_close(hamiltonian.diagonal(), expected.diagonal().real, rtol=0, atol=1e-11)


def test_first_guess_is_better_than_the_plane_waves_it_is_made_of() -> None:
    strong = made_up_hamiltonian(momentum=9.0)
    hamiltonian = replace(strong, projectors=strong.projectors / 5)
    order = torch.argsort(hamiltonian.kinetic)
    alone = torch.linalg.eigvalsh(hamiltonian.matrix(order[:40], order[:40]))[:6]
    everything = torch.linalg.eigvalsh(hamiltonian.matrix(order, order))[:6]
    start = first_guess(hamiltonian, 6)
    found = davidson(hamiltonian, start, 6, lambda values: np.zeros(len(values)), max_steps=0).eigenvalues
    assert (found - everything).max() < (alone - everything).max() / 50


@pytest.mark.parametrize("max_blocks", [2, 4])
def test_lowest_bands_are_those_of_the_whole_matrix(max_blocks: int) -> None:
    hamiltonian = made_up_hamiltonian()
    all_waves = torch.arange(len(hamiltonian.waves))
    everything = torch.linalg.eigvalsh(hamiltonian.matrix(all_waves, all_waves))
    start = first_guess(hamiltonian, 6)
    found = davidson(
        hamiltonian, start, 6, lambda values: np.full(len(values), 1e-7), max_steps=200, max_blocks=max_blocks
    )
    torch.testing.assert_close(found.eigenvalues, everything[:6], rtol=0, atol=1e-9)
