"""Quantum ESPRESSO as an engine, against the embedded one on the same structures and pseudopotentials."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from espresso import FILES, SMALL, TEMPERATURE, aluminium, finished_run, rattled
from fermisea import units
from fermisea.campaign import Campaign, run_campaign
from fermisea.cli import main
from fermisea.data.snapshot import Snapshot
from fermisea.engines import Espresso, LdosOptions, PlaneWave
from fermisea.engines.espresso import import_run
from fermisea.engines.espresso.keywords import nested
from fermisea.engines.espresso.output import read_output
from fermisea.engines.resampling import resample
from fermisea.engines.scf_step import ScfStep
from fermisea.errors import ConvergenceError, EngineError, FileFormatError, InputError, StorageError
from fermisea.physics.ewald import ewald_energy
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_energy import FreeEnergyFunctional
from fermisea.physics.ions import charges, core_density
from fermisea.physics.xc import functional

OPTIONS = LdosOptions(highest_electron_temperature=3000.0)
WARM = 2000.0
"""A coarse k-mesh serves at this tau_e."""


def beryllium() -> Atoms:
    return rattled(bulk("Be", "hcp", a=2.286, c=3.584))


def left_handed_alloy() -> Atoms:
    """A triclinic cell of two elements whose lattice vectors are left-handed."""
    cell = [[0.1, 2.8, 0.3], [2.9, 0.2, 0.0], [0.0, -0.1, 2.7]]
    return rattled(Atoms("AlBe", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True))


CASES = {
    "al": (aluminium, {"cutoff": 20 * units.RYDBERG, "kpts": (6, 6, 6)}, (14, 14, 14)),
    "be": (beryllium, {"cutoff": 28 * units.RYDBERG, "kpts": (6, 6, 4)}, (12, 12, 16)),
    "al-be": (left_handed_alloy, {"cutoff": 30 * units.RYDBERG, "kpts": (3, 3, 3)}, (14, 14, 14)),
}


@pytest.fixture(
    scope="module", params=["al", *(pytest.param(name, marks=pytest.mark.slow) for name in ("be", "al-be"))]
)
def pair(request) -> tuple[Snapshot, Snapshot]:
    """The same structure through both engines, that of pw.x on its own grid."""
    make, settings, grid = CASES[request.param]
    atoms = make()
    settings = settings | {"pseudopotentials": {symbol: FILES[symbol] for symbol in set(atoms.symbols)}, "threads": 1}
    # the band energy of pw.x is that of the density before the last one, off by the root of the tolerance
    espresso = Espresso(**settings, ldos=OPTIONS, tolerance=1e-13).run(atoms, WARM)
    options = replace(OPTIONS, grid=grid, energy_grid=espresso.energy_grid)
    return espresso, PlaneWave(**settings, ldos=options).run(atoms, WARM)


@pytest.mark.espresso
def test_both_engines_agree(pair):
    theirs, ours = pair
    one, two, atoms = theirs.reference, ours.reference, len(ours.atoms)
    assert one.free_energy == pytest.approx(two.free_energy, abs=0.05e-3 * atoms)
    assert one.entropy_term == pytest.approx(two.entropy_term, abs=0.02e-3 * atoms)
    assert one.fermi_level == pytest.approx(two.fermi_level, abs=1e-3)
    assert one.mean_potential == pytest.approx(two.mean_potential, abs=1e-3)
    assert one.forces == pytest.approx(two.forces, abs=5e-3)
    assert one.stress == pytest.approx(two.stress, abs=3e-4)
    ldos = resample(torch.from_numpy(theirs.ldos).movedim(-1, 0).double(), ours.grid.shape).movedim(0, -1).numpy()
    assert np.abs(ldos - ours.ldos).max() < 1e-3 * ours.ldos.max()
    density = resample(torch.from_numpy(theirs.density), ours.grid.shape).numpy()
    assert np.abs(density - ours.density).max() < 1e-3 * ours.density.max()
    assert theirs.electrons == pytest.approx(theirs.grid.integrate(theirs.density), rel=1e-10)
    assert theirs.ion_temperature == ours.ion_temperature


@pytest.mark.espresso
def test_density_gives_back_the_free_energy(pair):
    """E_b - TS and the double counting of the density of pw.x, all on its own grid."""
    snapshot, _ = pair
    symbols = list(snapshot.atoms.symbols)
    positions, cell = torch.as_tensor(snapshot.atoms.positions), torch.as_tensor(snapshot.grid.lattice)
    form = FreeEnergyFunctional(
        reference_density=snapshot.density,
        core_density=core_density(snapshot.ions, symbols, positions, FourierGrid(cell, snapshot.grid.shape)),
        grid=FourierGrid.of(cell, snapshot.density),
        functional=functional(snapshot.functional),
        ion_energy=float(
            ewald_energy(positions, torch.tensor(charges(snapshot.ions, symbols), dtype=torch.float64), cell)
        ),
    )
    parts = snapshot.reference.parts
    found = form.forms(parts["band"] + parts["entropy_term"], snapshot.density)["naive"]
    assert found == pytest.approx(snapshot.reference.free_energy, abs=0.02e-3 * len(symbols))
    if len(set(symbols)) == 1:  # the k-mesh of the alloy is too coarse for its sharp bands
        closure = snapshot.free_energy(WARM) - snapshot.reference.free_energy
        assert abs(closure) < 0.5e-3 * len(symbols)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return finished_run(tmp_path_factory.mktemp("qe") / "run", aluminium())


@pytest.mark.espresso
def test_finished_runs_are_imported_and_left_as_they_are(run):
    before = digests(run)
    options = LdosOptions(highest_electron_temperature=1000.0)
    snapshot = import_run(run, ldos=options, ion_temperature=298.0)
    assert digests(run) == before
    engine = Espresso({"Al": FILES["Al"]}, **SMALL, ldos=replace(options, energy_grid=snapshot.energy_grid))
    other = engine.run(aluminium(), TEMPERATURE)
    assert snapshot.reference.free_energy == pytest.approx(other.reference.free_energy, abs=1e-6)
    assert snapshot.electron_temperature == pytest.approx(TEMPERATURE, rel=1e-6)
    assert snapshot.ion_temperature == 298.0
    np.testing.assert_allclose(snapshot.ldos, other.ldos, atol=1e-3 * other.ldos.max())
    np.testing.assert_allclose(snapshot.atoms.positions, aluminium().positions, atol=1e-8)
    assert snapshot.provenance["kpts"] == [2, 2, 2]
    for other_name in (run / "fermisea.save", run / "fermisea.save" / "data-file-schema.xml"):
        assert import_run(other_name, ldos=options).reference.free_energy == snapshot.reference.free_energy


@pytest.mark.espresso
def test_import_from_the_command_line(run, tmp_path, capsys):
    out = tmp_path / "al.nc"
    command = ["convert", "espresso", str(run), "--out", str(out), "--ion-temperature", "298"]
    assert main([*command, "--highest-electron-temperature", "30000"]) == 2
    assert "or request a highest electron temperature of" in capsys.readouterr().err
    assert main([*command, "--highest-electron-temperature", "1000"]) == 0
    snapshot = Snapshot.load(out)
    assert (snapshot.ion_temperature, snapshot.provenance["imported"]) == (298.0, True)


@pytest.mark.espresso
def test_what_a_run_lacks_is_said_all_at_once(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy") / "fermisea.save"
    for name in ("wfc2.dat", "wfc3.dat", "charge-density.dat", "Al.upf"):
        (copy / name).unlink()
    with pytest.raises(InputError) as caught:
        import_run(tmp_path / "copy")
    text = str(caught.value)
    assert "3 problem(s) prevent an LDOS" in text
    for part in (
        "wavefunctions: none for k-point 2, 3; copy wfc*.dat too",
        "no charge-density.dat",
        "Al.upf; provide this file",
    ):
        assert part in text
    with pytest.raises(InputError, match=r"bands: the highest is \d+\.\d\d eV too low .* raise nbnd"):
        import_run(run, ldos=LdosOptions(highest_electron_temperature=30_000.0))


@pytest.mark.espresso
def test_runs_that_cannot_give_an_ldos(tmp_path):
    symmetric = finished_run(tmp_path / "symmetric", bulk("Al", "fcc", a=4.05), nosym=False)
    with pytest.raises(InputError, match=r"symmetry: \d+ operations .* nosym = .true."):
        import_run(symmetric)
    cold = finished_run(tmp_path / "cold", aluminium(), smearing="mv")
    with pytest.raises(InputError, match=r"smearing: mv, which defines no tau_e"):
        import_run(cold)


@pytest.mark.espresso
def test_damaged_and_foreign_folders(run, tmp_path):
    with pytest.raises(FileFormatError, match=r"give the outdir of one finished pw\.x run"):
        import_run(tmp_path)
    copy = shutil.copytree(run, tmp_path / "copy") / "fermisea.save"
    wave = copy / "wfc2.dat"
    wave.write_bytes(wave.read_bytes()[:5000])
    options = LdosOptions(highest_electron_temperature=1000.0)
    with pytest.raises(FileFormatError, match=r"wfc2\.dat: the wavefunctions cannot be read"):
        import_run(copy, ldos=options)
    schema = copy / "data-file-schema.xml"
    schema.write_text(schema.read_text()[:9000])
    with pytest.raises(FileFormatError, match="not the complete file of a finished run"):
        import_run(copy, ldos=options)


@pytest.mark.espresso
def test_keywords_reach_pw(tmp_path):
    engine = Espresso({"Al": FILES["Al"]}, **SMALL, ldos=OPTIONS, input_data={"mixing_beta": 0.3, "tot_charge": 0.0})
    steps = []
    first = replace(engine, report=steps.append, folder=tmp_path / "runs").run(aluminium(), TEMPERATURE)
    assert first.provenance["input_data"] == {"system": {"tot_charge": 0.0}, "electrons": {"mixing_beta": 0.3}}
    assert steps[-1].iteration == len(steps) == first.provenance["scf_iterations"]
    assert steps[-1].residual < 1e-9
    assert steps[-1].free_energy == pytest.approx(first.reference.free_energy, abs=1e-5)
    assert list((tmp_path / "runs").iterdir()) == []
    sol = Espresso({"Al": FILES["Al"]}, **SMALL, ldos=OPTIONS, xc="pbesol").run(aluminium(), TEMPERATURE)
    other = PlaneWave(xc="pbesol", pseudopotentials={"Al": FILES["Al"]}, **SMALL).solve(aluminium(), TEMPERATURE)
    assert sol.reference.free_energy == pytest.approx(other.reference.free_energy, abs=1e-3)
    assert sol.functional == "pbesol"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_data": {"nosym": False}}, "input_data: got nosym, which is set by fermisea"),
        ({"input_data": {"system": {"degauss": 0.1}}}, "input_data: got degauss, which is set by fermisea"),
        ({"input_data": {"mixing_betta": 0.1}}, "mixing_betta, which is not a keyword of pw.x"),
        ({"input_data": {"vdw_corr": "d3"}}, "vdw_corr = 'd3', expected 'none', because F of an LDOS does not contain"),
        ({"input_data": {"lda_plus_u": True}}, "lda_plus_u = True, expected False"),
        ({"input_data": {"SYSTEM": {"tot_charge": 1.0}}}, "tot_charge = 1.0, expected 0, because F of an LDOS"),
        ({"input_data": {"nspin": 2}}, "nspin = 2, expected 1"),
        ({"input_data": {"control": {"tefield": True}}}, "tefield = True, expected False"),
        ({"input_data": {"assume_isolated": "2D"}}, "assume_isolated = '2D', expected 'none'"),
        ({"input_data": {"Hubbard_U(1)": 2.0}}, "hubbard_u.1., which may change the energy"),
        ({"input_data": {"edir": 3}}, "edir, which may change the energy .* expected keywords of output, grids and"),
        ({"input_data": {"twochem": True}}, "twochem = True, expected False"),
        ({"input_data": {"fcp": {"fcp_mu": -0.1}}}, "fcp_mu, which may change the energy"),
        ({"input_data": {"exx_fraction": 0.1}}, "exx_fraction, which may change the energy"),
        ({"input_data": {"celldm(1)": 7.0}}, "celldm.1., which is set by fermisea .the structure defines the cell"),
        ({"cutoff": -1.0}, "cutoff: got -1.0"),
        ({"kpts": (0, 1, 1)}, "kpts: got"),
        ({"shift": (2, 0, 0)}, "shift: got"),
        ({"pseudopotentials": "gth"}, "expected a UPF file for each element"),
        ({"xc": "b3lyp"}, "xc: got 'b3lyp'"),
    ],
)
def test_settings_that_cannot_be_used(options, message):
    with pytest.raises(InputError, match=message):
        Espresso(**({"pseudopotentials": {"Al": FILES["Al"]}} | options))


def test_keywords_are_sorted_into_namelists():
    assert nested({"mixing_beta": 0.3, "CONTROL": {"etot_conv_thr": 1e-5}}) == {
        "control": {"etot_conv_thr": 1e-5},
        "electrons": {"mixing_beta": 0.3},
    }


def test_switches_that_are_off_are_no_obstacle():
    off = {"nspin": 1, "vdw_corr": "None", "tefield": False, "assume_isolated": "none", "tot_charge": 0.0}
    assert nested(off)["system"]["nspin"] == 1


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_failing_pw_ends_in_one_line(tmp_path):
    engine = Espresso({"Al": FILES["Al"]}, **SMALL, ldos=OPTIONS, folder=tmp_path / "runs")
    for command, message in (
        ("absent-pw.x", "absent-pw.x: no such program"),
        (
            script(tmp_path / "dies", "echo starting; exit 3"),
            "ended with status 3; last line of its output: 'starting'",
        ),
        (script(tmp_path / "killed", "kill -9 $$"), "was ended by signal 9; last line of its output: 'no output'"),
    ):
        with pytest.raises(EngineError, match=message) as caught:
            replace(engine, command=command).run(aluminium(), TEMPERATURE)
        assert "\n" not in str(caught.value)
    never_started = script(tmp_path / "never", "exit 1")
    with pytest.raises(InputError, match="but none for Au"):
        replace(engine, command=never_started).run(bulk("Au"), TEMPERATURE)


@pytest.mark.espresso
def test_errors_of_pw_in_its_own_words(tmp_path):
    engine = Espresso({"Al": FILES["Al"]}, **SMALL, ldos=OPTIONS, folder=tmp_path / "runs")
    with pytest.raises(
        EngineError, match=r"pw\.x: Error in routine .*; the files of the run are in .*runs/fermisea-pw-"
    ):
        replace(engine, input_data={"mixing_mode": "unknown"}).run(aluminium(), TEMPERATURE)
    with pytest.raises(ConvergenceError, match="did not converge in 2 iterations") as caught:
        replace(engine, input_data={"electron_maxstep": 2}).run(aluminium(), TEMPERATURE)
    assert [step["iteration"] for step in caught.value.history] == [1, 2]


@pytest.mark.espresso
def test_an_eigensolver_that_stalls_is_helped(tmp_path):
    """Twice the bands are not solved: first some more of them help, then another solver."""
    mark, kept = tmp_path / "mark", tmp_path / "inputs"
    kept.mkdir()
    banner = "%" * 40
    stalled = f"echo '{banner}'; echo '  Error in routine c_bands (1):'; echo '  too many bands are not converged'"
    command = script(
        tmp_path / "pw",
        f"cp $2 {kept}/$(ls {kept} | wc -l)-$2\n"
        f'if [ $2 = nscf.in ] && [ "$(cat {mark} 2>/dev/null)" != xx ]; then printf x >> {mark}; {stalled}; '
        f"echo '{banner}'; exit 1; fi\nexec pw.x \"$@\"",
    )
    engine = Espresso({"Al": FILES["Al"]}, **SMALL, ldos=OPTIONS, folder=tmp_path / "runs")
    plain = engine.run(aluminium(), TEMPERATURE)
    helped = replace(engine, command=command).run(aluminium(), TEMPERATURE)
    np.testing.assert_allclose(helped.ldos, plain.ldos, atol=1e-4 * plain.ldos.max())
    texts = [path.read_text() for path in sorted(kept.iterdir())]
    bands = [int(re.search(r"nbnd\s+= (\d+)", text)[1]) for text in texts]
    solvers = [re.search(r"diagonalization\s+= '(\w+)'", text)[1] for text in texts]
    assert solvers == ["david", "david", "david", "cg"]
    assert bands[1] < bands[2] < bands[3]


@pytest.mark.espresso
def test_a_window_that_the_cutoff_does_not_hold(tmp_path):
    hot = replace(OPTIONS, highest_electron_temperature=400_000.0)
    engine = Espresso({"Al": FILES["Al"]}, cutoff=60.0, ldos=hot, folder=tmp_path)
    message = r"bands: \d+ are needed .* a cutoff of 60 eV gives fewer plane waves; .*; the files .*fermisea-pw-"
    with pytest.raises(InputError, match=message) as caught:
        engine.run(aluminium(), TEMPERATURE)
    assert (Path(str(caught.value).split("files of the run are in ")[1]) / "scf.out").is_file()


@pytest.mark.slow
@pytest.mark.espresso
def test_the_functional_of_the_files_or_another():
    """LDA files: pw.x and the package call Perdew-Zunger and Perdew-Wang by other names."""
    engine = Espresso({"Al": FILES["Al"].with_name("Al.pz-vbc.UPF")}, **SMALL, ldos=OPTIONS)
    energies = {}
    for xc in (None, "pz", "lda"):
        made = replace(engine, xc=xc).run(aluminium(), WARM)
        assert made.functional == made.provenance["xc"] == (xc or "pz")
        energies[xc] = made.reference.free_energy
        other = PlaneWave(xc=xc or "pz", pseudopotentials=engine.pseudopotentials, **SMALL).solve(aluminium(), WARM)
        assert made.reference.free_energy == pytest.approx(other.reference.free_energy, abs=5e-5)
    assert energies[None] == pytest.approx(energies["pz"], abs=1e-8)
    assert abs(energies["lda"] - energies["pz"]) > 1e-4
    with pytest.raises(InputError, match=r"made for pbe and pz, expected one functional; choose it with xc="):
        replace(engine, pseudopotentials=engine.pseudopotentials | {"Be": FILES["Be"]}).provenance(["Al", "Be"])


@pytest.mark.espresso
def test_a_run_that_is_interrupted_leaves_nothing(tmp_path):
    def stop(_: ScfStep) -> None:
        raise KeyboardInterrupt

    engine = Espresso({"Al": FILES["Al"]}, **SMALL, ldos=OPTIONS, folder=tmp_path / "runs", report=stop)
    with pytest.raises(KeyboardInterrupt):
        engine.run(aluminium(), TEMPERATURE)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_full_disk_is_no_fault_of_the_structure(tmp_path):
    command = script(tmp_path / "pw", "echo 'Fortran runtime error: No space left on device' >&2; exit 2")
    engine = Espresso({"Al": FILES["Al"]}, **SMALL, command=command, folder=tmp_path / "runs")
    with pytest.raises(StorageError, match=r"the disk of .* is full"):
        engine.run(aluminium(), TEMPERATURE)


def test_output_that_is_none(tmp_path):
    with pytest.raises(FileFormatError, match="no such file"):
        read_output(tmp_path / "absent.xml")


@pytest.mark.slow
@pytest.mark.espresso
@pytest.mark.usefixtures("_quick_processes")
def test_a_campaign_with_pw_survives_its_failure_and_goes_on(tmp_path):
    """Every run fails while the switch is missing; the same command then computes them."""
    switch = tmp_path / "switch"
    command = script(tmp_path / "pw", f'[ -e {switch} ] || {{ echo no licence today; exit 1; }}\nexec pw.x "$@"')
    settings = Campaign(
        engine="espresso",
        pseudopotentials={"Al": str(FILES["Al"])},
        cutoff=SMALL["cutoff"],
        kpts=SMALL["kpts"],
        highest_electron_temperature=1000.0,
        command=command,
    )
    cells = {f"al-{number}": rattled(bulk("Al", "fcc", a=4.05 + 0.02 * number)) for number in range(2)}
    outcomes = run_campaign(settings.make_engine(), cells, TEMPERATURE, tmp_path / "data")
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert "ended with status 1; last line of its output: 'no licence today'" in outcomes[0].error
    switch.touch()
    outcomes = run_campaign(settings.make_engine(), cells, TEMPERATURE, tmp_path / "data", workers=2)
    assert [outcome.status for outcome in outcomes] == ["computed", "computed"]
    again = run_campaign(settings.make_engine(), cells, TEMPERATURE, tmp_path / "data")
    assert [outcome.status for outcome in again] == ["kept", "kept"]
    with pytest.raises(EngineError, match="no such program"):
        run_campaign(replace(settings, command="absent-pw.x").make_engine(), cells, TEMPERATURE, tmp_path / "other")
    assert not (tmp_path / "other").exists()
