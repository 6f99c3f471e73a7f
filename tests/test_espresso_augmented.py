"""Ultrasoft and PAW pseudopotentials: the LDOS comes from pp.x, whose kernel and unit are checked."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from espresso import aluminium, finished_run, rattled
from fermisea import units
from fermisea.data.snapshot import Snapshot
from fermisea.engines import Espresso, LdosOptions, import_run
from fermisea.engines.espresso.cubes import cube_ldos
from fermisea.engines.espresso.launch import other_program
from fermisea.engines.espresso.output import read_output
from fermisea.errors import EngineError, InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.broadening import FERMI_DIRAC_DEVIATION

DEBIAN = Path("/usr/share/espresso/pseudo")  # package quantum-espresso-data
LITHIUM = {"ultrasoft": DEBIAN / "Li.pbesol-s-rrkjus_psl.0.2.1.UPF", "PAW": DEBIAN / "Li.pbesol-s-kjpaw_psl.0.2.1.UPF"}

pytestmark = [
    pytest.mark.espresso,
    pytest.mark.skipif(shutil.which("pp.x") is None, reason="pp.x is not installed"),
]


@pytest.mark.filterwarnings("ignore:.*F from the LDOS differs from F of the DFT code")
def test_the_kernel_of_pp(tmp_path):
    """Norm-conserving aluminium both ways: sum_k 2 w_k K(eps - eps_k) with K = -df/deps, and its spread in space."""
    run = finished_run(tmp_path / "run", aluminium())
    output = read_output(run / "fermisea.save" / "data-file-schema.xml")
    energies, sigma = EnergyGrid(-4.0, 0.3, 44), 0.3
    values, kernel = cube_ldos(run, "pp.x", energies, sigma, output.shape)
    assert (kernel.kernel, kernel.standard_deviation) == ("fermi-dirac derivative", sigma)
    width = sigma / FERMI_DIRAC_DEVIATION
    x = (energies.energies[:, None, None] - output.eigenvalues) / width
    expected = np.einsum("k,ekb->e", 2 * output.weights, 1 / (2 + np.exp(x) + np.exp(-x)) / width)
    voxel = output.atoms.get_volume() / np.prod(output.shape)
    np.testing.assert_allclose(values.sum(axis=(0, 1, 2), dtype=float) * voxel, expected, atol=1e-4 * expected.max())
    fine = np.linspace(-60, 60, 20_001)
    shape = 1 / (2 + np.exp(fine) + np.exp(-fine))
    assert np.sqrt(np.sum(shape * fine**2) / np.sum(shape)) == pytest.approx(FERMI_DIRAC_DEVIATION, rel=1e-6)
    # the density of both at the temperature of the run, whatever the kernel
    options = LdosOptions(0.3, 0.3, 1000.0)
    snapshot = import_run(run, ldos=options)
    other, _ = cube_ldos(_fresh(run), "pp.x", snapshot.energy_grid, 0.3, output.shape)
    weights = snapshot.density_of_states.weights(snapshot.reference.fermi_level, 5000.0).electrons.weights
    one, two = snapshot.ldos @ weights, other @ weights
    assert np.abs(one - two).max() < 5e-3 * one.max()


def _fresh(run: Path) -> Path:
    for path in run.glob("ldos*"):
        path.unlink()
    return run


@pytest.mark.parametrize("kind", ["ultrasoft", pytest.param("PAW", marks=pytest.mark.slow)])
def test_augmented_pseudopotentials(kind, tmp_path):
    if not LITHIUM[kind].is_file():
        pytest.skip(f"{LITHIUM[kind]} is not installed")
    atoms = rattled(bulk("Li", "bcc", a=3.44, cubic=True))
    engine = Espresso(
        {"Li": LITHIUM[kind]},
        cutoff=20 * units.RYDBERG,
        kpts=(2, 2, 2),
        input_data={"ecutrho": 120.0},
        ldos=LdosOptions(0.5, 0.5, 5000.0),
    )
    made = engine.run(atoms, 5000.0)
    made.save(tmp_path / "li.nc")
    snapshot = Snapshot.load(tmp_path / "li.nc")
    name = "an ultrasoft pseudopotential" if kind == "ultrasoft" else "a PAW dataset"
    assert snapshot.total_energy_obstacle.startswith(f"{LITHIUM[kind].name} is {name}; use norm-conserving ones")
    with pytest.raises(InputError, match=f"total free energy: .* is {name}"):
        snapshot.free_energy(5000.0)
    assert snapshot.functional == "pbesol"
    assert snapshot.broadening.kernel == "fermi-dirac derivative"
    (state,) = snapshot.observables([5000.0])
    assert snapshot.electrons == snapshot.reference.electrons == 6.0
    assert state.electrons == pytest.approx(6.0, rel=1e-9)
    assert state.fermi_level == pytest.approx(snapshot.reference.fermi_level, abs=0.02)
    assert -5000.0 * state.entropy == pytest.approx(snapshot.reference.entropy_term, rel=0.02)
    assert np.abs(state.density - snapshot.density).max() < 5e-3 * np.abs(snapshot.density).max()
    settings = engine.provenance(["Li"])
    assert {key: snapshot.provenance[key] for key in settings} == settings


def test_where_pp_is_looked_for(tmp_path):
    assert other_program("mpirun -n 4 /opt/qe/bin/pw.x -nk 2", "pp.x") == "mpirun -n 4 /opt/qe/bin/pp.x -nk 2"
    with pytest.raises(InputError, match=r"which does not name pw\.x; give pp_command"):
        other_program("run-my-dft", "pp.x")
    if LITHIUM["PAW"].is_file():
        engine = Espresso({"Li": LITHIUM["PAW"]}, cutoff=200.0, pp_command="absent-pp.x", folder=tmp_path)
        with pytest.raises(EngineError, match=r"absent-pp\.x: no such program"):
            engine.run(bulk("Li"), 1000.0)
        assert not list(tmp_path.iterdir())


def test_finished_augmented_runs_say_what_to_do(tmp_path):
    if not LITHIUM["ultrasoft"].is_file():
        pytest.skip("no such pseudopotential is installed")
    runs = tmp_path / "runs"
    script = tmp_path / "pw.x"
    script.write_text(f'#!/bin/sh\nexec {shutil.which("pw.x")} "$@"\n')
    script.chmod(0o755)
    failing = tmp_path / "pp.x"
    failing.write_text("#!/bin/sh\necho no cubes today; exit 1\n")
    failing.chmod(0o755)
    engine = Espresso(
        {"Li": LITHIUM["ultrasoft"]}, cutoff=20 * units.RYDBERG, kpts=(1, 1, 1), command=str(script), folder=runs
    )
    engine = replace(engine, ldos=LdosOptions(0.4, 0.4, 1000.0), input_data={"ecutrho": 100.0})
    with pytest.raises(EngineError, match=r"pp\.x: ended with status 1; last line of its output: 'no cubes today'"):
        engine.run(bulk("Li"), 1000.0)
    with pytest.raises(
        InputError, match=r"pseudopotentials: ultrasoft, whose wavefunctions .* or make cube files with pp\.x"
    ):
        import_run(next(runs.iterdir()))
