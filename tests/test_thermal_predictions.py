"""Snapshots, predictions and the engine with exchange and correlation at a finite temperature."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from typer.testing import CliRunner

from fermisea import units
from fermisea.cli.app import app
from fermisea.data.snapshot import Snapshot
from fermisea.data.snapshot_file import to_dataset
from fermisea.engines import Espresso, LdosOptions, PlaneWave, ScfOptions
from fermisea.errors import InputError
from fermisea.physics.fields import FourierGrid
from fermisea.physics.xc import smooth_functional, xc_energy, xc_entropy
from synthetic import made_up_snapshot, structure
from test_forces import alloy, check, model_of
from test_planewave import quick, small_cell
from test_prediction import random_model, same

SHAPE = (9, 8, 10)
DATA = Path(__file__).parent / "data"


def thermal(name: str = "kdt16") -> Snapshot:
    return renamed(made_up_snapshot(1, (8, 8, 8)), name)


def renamed(snapshot: Snapshot, name: str) -> Snapshot:
    parts = {f.name: getattr(snapshot, f.name) for f in dataclasses.fields(snapshot)}
    return Snapshot(**parts | {"ldos": snapshot.ldos, "functional": name})


@pytest.mark.filterwarnings("ignore:thermal xc. F at tau_e is of kdt16, which is pbe")  # test of its own below
@pytest.mark.parametrize(("own", "hot"), [("kdt16", None), ("gdsmfb", None), ("lda", "kdt16"), ("kdt16", "pbe")])
@pytest.mark.parametrize("kelvin", [1000.0, 4000.0])
def test_entropy_is_minus_the_slope_of_the_printed_free_energy(own, hot, kelvin):
    snapshot, h = thermal(own), 1e-3 * kelvin
    before, here, after = snapshot.observables([kelvin - h, kelvin, kelvin + h], thermal_xc=hot)
    slope = (after.free_energy - before.free_energy) / (2 * h)
    if hot == "pbe":  # a functional of the ground state: the entropy is the one at fixed D, as it always was
        assert here.further_entropy == here.further_heat_capacity == 0.0
        assert here.entropy == here.ldos_entropy
        return
    assert here.entropy == pytest.approx(-slope, rel=1e-5)
    assert abs(here.further_entropy) > 1e-3 * here.ldos_entropy
    heat = kelvin * (after.entropy - before.entropy) / (2 * h)
    assert here.heat_capacity == pytest.approx(heat, rel=1e-4)
    assert here.internal_energy() == pytest.approx(here.free_energy + kelvin * here.entropy, rel=1e-14)
    energy_slope = (after.internal_energy() - before.internal_energy()) / (2 * h)
    assert here.heat_capacity == pytest.approx(energy_slope, rel=1e-4)


def test_entropy_at_the_reference_temperature_is_that_of_the_states_and_of_exchange_and_correlation():
    """At n_t = n0 the change of the density with tau_e does not matter: -dG/dtau_e is S_xc of this density."""
    snapshot = thermal()
    (found,) = snapshot.observables(snapshot.electron_temperature)
    chosen = smooth_functional("kdt16").at(snapshot.electron_temperature)
    expected = xc_entropy(
        torch.as_tensor(found.density),
        FourierGrid.of(torch.as_tensor(snapshot.grid.lattice), torch.as_tensor(found.density)),
        chosen,
    )
    assert found.further_entropy == pytest.approx(expected, rel=1e-4)
    assert list(found.free_energies.values()) == pytest.approx([found.free_energy] * 4, abs=1e-9)
    assert found.transfer_error < 1e-9
    assert found.functional == "kdt16"


def test_another_functional_at_tau_e_changes_f_by_its_energy_to_first_order():
    """At tau_ref, F with KDT16 from an LDOS of LDA differs by F_xc - E_xc of the same density."""
    snapshot = thermal("lda")
    t = snapshot.electron_temperature
    (own,) = snapshot.observables(t)
    with pytest.warns(UserWarning, match="thermal xc: F at tau_e is of kdt16, which is pbe in the ground state, but"):
        (other,) = snapshot.observables(t, thermal_xc="kdt16")
    density, cell = torch.as_tensor(own.density), torch.as_tensor(snapshot.grid.lattice)
    change = float(xc_energy(density, FourierGrid.of(cell, density), smooth_functional("kdt16").at(t)))
    change -= float(xc_energy(density, FourierGrid.of(cell, density), smooth_functional("lda")))
    assert other.free_energy - own.free_energy == pytest.approx(change, rel=1e-9)
    assert own.transfer_error < 1e-9 < other.transfer_error
    assert other.functional == "kdt16"
    assert other.reference_free_energy == own.reference_free_energy


@pytest.mark.filterwarnings("ignore:thermal xc. F at tau_e is of lda, but")
@pytest.mark.parametrize("anchor", [False, True], ids=["pure", "anchored"])
@pytest.mark.parametrize(("own", "hot"), [("kdt16", None), ("corrksdt", None), ("pbe", "kdt16"), ("kdt16", "lda")])
def test_forces_and_stress_are_derivatives(own, hot, anchor):
    model = dataclasses.replace(model_of("power"), functional=own)
    check(model, alloy(), [(1, 2)], [(0, 0), (1, 2)], electron_temperature=6000.0, anchor=anchor, thermal_xc=hot)


@pytest.mark.parametrize("hot", ["kdt16", None])
def test_streamed_and_stored_layers_agree(hot):
    model = dataclasses.replace(random_model(), functional="pbe" if hot else "kdt16")
    atoms, temperatures = structure(7), [1000.0, 4000.0]
    stored, streamed = (
        model.predict(atoms, temperatures, (12, 12, 12), thermal_xc=hot, memory=memory) for memory in (2**28, 1)
    )
    same(stored, streamed, rtol=1e-7)
    assert (stored.entropy != stored.ldos_entropy).all()
    names = [row.keys() for row in stored.rows()]
    assert all("ldos_entropy" in row and "ldos_heat_capacity" in row for row in names)


def test_an_anchored_free_energy_takes_the_change_of_functional_from_the_ldos():
    model, atoms = dataclasses.replace(model_of("power"), functional="pbe"), alloy()
    found = model.predict(atoms, 6000.0, SHAPE, thermal_xc="kdt16")
    plain = model.predict(atoms, 6000.0, SHAPE, anchor=True)
    alone = [model.predict(atoms, 6000.0, SHAPE, anchor=False, thermal_xc=name) for name in ("kdt16", None)]
    assert found.origin == "anchored"
    assert found.free_energy - plain.free_energy == pytest.approx(alone[0].free_energy - alone[1].free_energy, abs=1e-9)
    assert (found.thermal_xc, plain.thermal_xc, found.functional) == ("kdt16", None, "pbe")
    assert "F at tau_e with kdt16, LDOS of pbe" in repr(found)
    assert found.data.attrs["thermal_xc"] == "kdt16"
    assert model.predict(atoms, 6000.0, SHAPE, thermal_xc="PBE").thermal_xc is None


def test_refusals():
    model, atoms = random_model(), structure(7)
    with pytest.raises(InputError, match=r"thermal xc: the potential knows .* only"):
        model.predict(atoms, 1000.0, (6, 6, 6), thermal_xc="kdt16", free_energy="potential")
    with pytest.raises(InputError, match="no total free energy: there are no densities"):
        model.predict(atoms, 1000.0, (6, 6, 6), thermal_xc="kdt16", density=False)
    with pytest.raises(InputError, match="xc: got 'blyp'"):
        model.predict(atoms, 1000.0, (6, 6, 6), thermal_xc="blyp")
    with pytest.raises(InputError, match=r"a functional of the electronic temperature, which pw.x does not have"):
        Espresso(pseudopotentials={"Al": "Al.upf"}, xc="kdt16")


def test_command_line_names_the_functional(tmp_path):
    model = dataclasses.replace(random_model(), functional="pbe")
    model.save(tmp_path / "model.safetensors")
    structure(7).write(tmp_path / "al.xyz")
    arguments = ["predict", str(tmp_path / "model.safetensors"), str(tmp_path / "al.xyz"), "--grid", "6", "6", "6"]
    arguments += ["--electron-temperature", "3000", "--thermal-xc", "kdt16", "--allow-outside"]
    found = CliRunner().invoke(app, [*arguments, "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["thermal_xc"] == "kdt16"
    found = CliRunner().invoke(app, arguments)
    assert "kdt16" in found.stdout


def test_engine_at_a_finite_temperature_obeys_df_dtau_is_minus_s():
    engine, kelvin, h = quick(xc="kdt16", scf=ScfOptions(tolerance=1e-12)), 8000.0, 40.0
    before, here, after = (engine.solve(small_cell(), t).reference for t in (kelvin - h, kelvin, kelvin + h))
    slope = (after.free_energy - before.free_energy) / (2 * h)
    assert (here.entropy_term + here.xc_entropy_term) / kelvin == pytest.approx(slope, rel=2e-5)
    assert abs(here.xc_entropy_term) > 1e-3 * abs(here.entropy_term)
    assert here.free_energy == pytest.approx(sum(here.parts.values()), rel=1e-14)


@pytest.mark.parametrize("name", ["ksdt", "kdt16"])
def test_forces_and_stress_of_the_engine_are_derivatives(name):
    engine, atoms = quick(xc=name, scf=ScfOptions(tolerance=1e-12), kpts=(1, 1, 1)), small_cell()
    direction = np.array([[0.4, -0.2, 0.3], [-0.4, 0.2, -0.3]])
    reference = engine.solve(atoms, 2e4).reference

    def energy(other: Atoms) -> float:
        return engine.solve(other, 2e4).reference.free_energy

    moved = [atoms.copy() for _ in range(2)]
    for sign, other in zip((1, -1), moved, strict=True):
        other.positions += sign * 2e-3 * direction
    assert np.sum(reference.forces * direction) == pytest.approx(
        -(energy(moved[0]) - energy(moved[1])) / 4e-3, rel=2e-5
    )
    strain = np.array([[1.0, 0.3, 0.0], [0.3, -0.5, 0.2], [0.0, 0.2, 0.7]])
    strained = [atoms.copy() for _ in range(2)]
    for sign, other in zip((1, -1), strained, strict=True):
        other.set_cell(atoms.cell.array @ (np.eye(3) + sign * 1e-4 * strain), scale_atoms=True)
    expected = (energy(strained[0]) - energy(strained[1])) / 2e-4 / atoms.get_volume()
    assert np.sum(reference.stress * strain) == pytest.approx(expected, rel=1e-4)


def test_snapshot_of_the_engine_closes_and_its_file_holds_the_entropy(tmp_path):
    engine = quick(xc="kdt16", cutoff=320.0, kpts=(1, 1, 1), ldos=LdosOptions(broadening=0.1, spacing=0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snapshot = engine.run(small_cell(), 8000.0)
    assert abs(snapshot.closure_error()) / 2 < 5e-4
    assert snapshot.functional == snapshot.provenance["xc"] == snapshot.provenance["thermal_xc"] == "kdt16"
    assert snapshot.provenance["pseudopotentials"]["Al"]["name"].startswith("GTH-PBE")
    snapshot.save(tmp_path / "al.nc")
    assert Snapshot.load(tmp_path / "al.nc").reference.xc_entropy_term == snapshot.reference.xc_entropy_term != 0
    old = to_dataset(snapshot)
    reference = json.loads(old.attrs["reference"])
    del reference["xc_entropy_term"]
    old.attrs["reference"] = json.dumps(reference)
    assert Snapshot.from_xarray(old).reference.xc_entropy_term == 0.0


def test_a_functional_of_the_ground_state_has_no_entropy():
    engine = quick(kpts=(1, 1, 1))
    assert engine.solve(small_cell(), 8000.0).reference.xc_entropy_term == 0.0
    assert "thermal_xc" not in engine.provenance(["Al"])
    for name, family in (("ksdt", "LDA"), ("corrksdt", "LDA"), ("gdsmfb", "LDA"), ("kdt16", "PBE")):
        used = quick(xc=name).provenance(["Al"])["pseudopotentials"]["Al"]["name"]
        assert used.startswith(f"GTH-{family}")


@pytest.mark.slow
def test_entropy_of_exchange_and_correlation_in_aluminium():
    """SPARC (2026-09), Al2, KDT16, ONCV potentials with a core density, 10 kK: -T S_xc = -0.0029619005 Hartree.

    Another ONCV potential with a core density here. Without a core density (GTH) it is a third less: the core is seen
    by exchange and correlation alone.
    """
    cell = np.diag([5.37401153701776, 5.37401153701776, 7.6]) * units.BOHR
    positions = [[0.4, 4.874011537017761, 0.30], [3.587005768508881, 3.287005768508881, 3.10]]
    atoms = Atoms("Al2", positions=np.array(positions) * units.BOHR, cell=cell, pbc=True)
    potentials = {"Al": str(DATA / "pseudopotentials" / "PD_Al_std.upf")}
    engine = PlaneWave(xc="kdt16", cutoff=400.0, kpts=(4, 4, 3), pseudopotentials=potentials, threads=1)
    reference = engine.solve(atoms, 1e4).reference
    assert reference.xc_entropy_term / units.HARTREE == pytest.approx(-0.0029619005, rel=0.006)
    assert reference.entropy_term / units.HARTREE == pytest.approx(-0.0766464961, rel=1e-3)


@pytest.fixture(scope="module")
def aluminium():
    """Al4 with a core density: the engine, the structure, and self-consistent results of KDT16 at two tau_e."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    atoms.rattle(0.1, seed=3)
    ldos = LdosOptions(broadening=0.1, spacing=0.1, highest_electron_temperature=32_000.0)
    potentials = {"Al": str(DATA / "pseudopotentials" / "PD_Al_std.upf")}
    engine = PlaneWave(xc="kdt16", cutoff=330.0, kpts=(3, 3, 3), pseudopotentials=potentials, ldos=ldos, threads=1)
    return engine, atoms, [engine.solve(atoms, t).reference for t in (1e4, 3e4)]


@pytest.mark.slow
@pytest.mark.parametrize("own", ["kdt16", "pbe"])
def test_second_order_with_kdt16_from_one_ldos(own, aluminium):
    """Al4, tau_ref = 1 kK, from an LDOS of KDT16 or of PBE: within 0.3 and 0.5 meV/atom of self-consistent KDT16."""
    engine, atoms, references = aluminium
    snapshot = dataclasses.replace(engine, xc=own).run(atoms, 1000.0)
    results = snapshot.observables([1e4, 3e4], thermal_xc="kdt16")
    for result, exact, allowed in zip(results, references, (0.3e-3, 0.5e-3), strict=True):
        error = (result.free_energy - exact.free_energy) / 4
        assert abs(error) < allowed
        assert abs(error) < result.transfer_error / 4
        entropy = -(exact.entropy_term + exact.xc_entropy_term) / result.electron_temperature
        assert result.entropy == pytest.approx(entropy, rel=1e-3)
