"""Runs of pw.x that would give wrong numbers: terms outside of F of an LDOS, mixed runs, other pseudopotentials."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from ase import Atoms

from espresso import POTENTIALS, aluminium, finished_run
from fermisea.cli import main
from fermisea.data.agreement import structure_difference
from fermisea.data.closure import CLOSURE_LIMIT, closure_error_per_atom
from fermisea.data.snapshot import Snapshot
from fermisea.engines import LdosOptions, import_run
from fermisea.engines.espresso.terms import printed_terms, xml_terms
from fermisea.errors import InputError

OPTIONS = LdosOptions(highest_electron_temperature=1000.0)
SCHEMA = "data-file-schema.xml"
ENERGIES = "<etot>-9.2</etot><eband>1.6</eband><ehart>0.02</ehart><vtxc>-4.3</vtxc><etxc>-4.3</etxc><ewald>-1</ewald>"


def run_file(energies: str = "", settings: str = "") -> ET.Element:
    """The parts of an XML file that name energy terms."""
    total = f"<total_energy>{ENERGIES}<demet>-0.02</demet>{energies}</total_energy>"
    return ET.fromstring(f"<espresso><input>{settings}</input><output>{total}</output></espresso>")  # noqa: S314


@pytest.mark.parametrize(
    "name", ["efieldcorr", "potentiostat_contr", "gatefield_contr", "esol", "levelshift_contr", "something_new"]
)
def test_energy_terms_that_are_unknown_are_named(name):
    assert xml_terms(run_file(f"<{name}>0.0</{name}>")) == xml_terms(run_file())
    terms = xml_terms(run_file(f"<{name}>-1e-9</{name}>"))
    assert terms.foreign == (f"the energy term {name} (-1e-09 Ha)",)
    assert terms.obstacle is None


def test_corrections_leave_the_ldos_usable():
    for root, words in (
        (run_file("<vdW_term>-0.02</vdW_term>"), "the energy term vdW_term"),
        (run_file("<vdW_term>-0.02</vdW_term>", "<vdW><vdw_corr>ts</vdw_corr></vdW>"), "a dispersion correction .ts"),
        (run_file("", "<dft><dftU><U_projection_type>atomic</U_projection_type></dftU></dft>"), "a Hubbard correction"),
    ):
        terms = xml_terms(root)
        assert terms.foreign == ()
        assert re.search(f"the DFT run has {words}.*, which F of an LDOS does not contain", terms.obstacle)
    assert xml_terms(run_file("", "<vdW><vdw_corr>none</vdw_corr></vdW>")).obstacle is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("<boundary_conditions><assume_isolated>2D</assume_isolated></boundary_conditions>", "isolated boundary"),
        ("<electric_field><electric_potential>sawtooth_potential</electric_potential></electric_field>", "an electric"),
        ("<electric_field><dipole_correction>true</dipole_correction></electric_field>", "a dipole correction"),
        ("<twoch_><twochem>true</twochem></twoch_>", "two chemical potentials"),
        ("<gate_settings><use_gate>true</use_gate></gate_settings>", "a charged gate"),
    ],
)
def test_interactions_without_a_term_are_named(settings, words):
    assert xml_terms(run_file("", settings)).foreign[0].startswith(words)
    off = re.sub(r">(2D|sawtooth_potential|true)<", ">none<", settings)
    assert xml_terms(run_file("", off)) == xml_terms(run_file())


def test_terms_in_the_printed_output():
    known = """
!    total energy              =     -18.42235694 Ry
     estimated scf accuracy    <          1.2E-13 Ry
     smearing contrib. (-TS)   =      -0.03565364 Ry
     internal energy E=F+TS    =     -18.38670330 Ry

     The total energy is F=E-TS. E is the sum of the following terms:
     one-electron contribution =      11.77940012 Ry
     hartree contribution      =       0.05266033 Ry
     xc contribution           =      -8.64791825 Ry
     ewald contribution        =     -21.52826729 Ry
{}
     convergence has been achieved in  10 iterations
"""
    assert printed_terms(known.format("")).foreign == ()
    found = printed_terms(known.format("     electric field correction =      -0.03233631 Ry\n"))
    assert found.foreign == ("the energy term electric field correction (-0.0323363 Ry)",)
    for label in ("DFT-D3 Dispersion        ", "Dispersion T-S Correction", "Hubbard energy           "):
        assert label.strip() in printed_terms(known.format(f"     {label} =      -0.04257820 Ry\n")).obstacle
    assert printed_terms(known.format("     Hubbard energy            =       0.00000000 Ry\n")).obstacle is None


def test_structures_differ_in_words():
    one = Atoms("AlBe", positions=[[0, 0, 0], [1, 1, 1]], cell=[4, 4, 4], pbc=True)
    moved, swapped, wider = one.copy(), one.copy(), one.copy()
    moved.positions[1] += [4.0, 0.0, -8.0]
    assert structure_difference(one, moved, 1e-4) is None
    moved.positions[1, 2] += 0.01
    assert structure_difference(one, moved, 1e-4) == (
        "(1.0000, 1.0000, 1.0000) Angstrom and (5.0000, 1.0000, -6.9900) Angstrom for atom 2"
    )
    swapped.symbols[:] = "BeAl"
    assert "another order" in structure_difference(one, swapped, 1e-4)
    wider.set_cell([4, 4, 4.1])
    assert "for lattice vector 3" in structure_difference(one, wider, 1e-4)
    assert structure_difference(one, one[:1], 1e-4) == "2 and 1 atoms"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return finished_run(tmp_path_factory.mktemp("qe") / "run", aluminium())


@pytest.mark.espresso
def test_dispersion_leaves_no_total_energy(tmp_path, capsys):
    folder = finished_run(tmp_path / "d2", aluminium(), vdw_corr="grimme-d2")
    command = ["convert", "espresso", str(folder), "--highest-electron-temperature", "1000"]
    assert main([*command, "--out", str(tmp_path / "a.nc")]) == 0
    assert "a dispersion correction (grimme-d2), which F of an LDOS does not contain" in capsys.readouterr().out
    with pytest.raises(InputError, match="total free energy: the DFT run has a dispersion correction"):
        Snapshot.load(tmp_path / "a.nc").free_energy(1000.0)
    later = finished_run(folder, aluminium(), "nscf")  # without the correction: the SCF output alone names it
    assert "Dispersion Correction" in import_run(later, ldos=OPTIONS).total_energy_obstacle


@pytest.mark.espresso
def test_an_electric_field_is_refused(tmp_path):
    folder = finished_run(tmp_path / "field", aluminium(), edir=3, emaxpos=0.5, eopreg=0.1, eamp=0.001)
    assert import_run(folder, ldos=OPTIONS).total_energy_obstacle is None  # these keywords alone change nothing
    file = folder / "scf.in"
    file.write_text(file.read_text().replace("&CONTROL", "&CONTROL\n tefield = .true."))
    subprocess.run(["pw.x", "-in", "scf.in"], cwd=folder, capture_output=True, check=True)
    with pytest.raises(
        InputError, match=r"energy: the energy term efieldcorr .*; run pw\.x without it; energy: an ele"
    ):
        import_run(tmp_path / "field", ldos=OPTIONS)


@pytest.fixture(scope="module")
def later(tmp_path_factory, run) -> Path:
    """The SCF run and an nscf run after it."""
    return finished_run(shutil.copytree(run, tmp_path_factory.mktemp("qe") / "later"), aluminium(), "nscf")


@pytest.mark.espresso
@pytest.mark.parametrize(
    ("pattern", "other", "words"),
    [
        (
            r"(width \(Ry\)=) +\S+",
            r"\1  0.0190",
            r"degauss = 0\.019 Ry .3000 K. in the SCF run, but 0\.0063\d+ Ry .1000",
        ),
        ("Fermi-Dirac smearing", "gaussian smearing", "smearing: gaussian in the SCF run, but fermi-dirac in this run"),
        (
            r"(kinetic-energy cutoff +=) +\S+",
            r"\1 18.0000",
            "cutoff: ecutwfc = 18 Ry in the SCF run, but 20 Ry in this",
        ),
        ("correlation= PBE", "correlation= PBESOL", "functional: PBESOL in the SCF run, but PBE in this run"),
        (r"(tau\(   1\) = \( +)\S+", r"\g<1>0.1", r"structure: the SCF run and this run have .* for atom 1"),
        (r"(a\(2\) = \( +)(\S+)", r"\g<1>0.6", r"structure: the SCF run and this run have .* for lattice vector 2"),
        ("a92309766db8", "a92309766db9", r"pseudopotential of Al: Al\.upf with the MD5 sum a92309766db9\w+ in the SCF"),
        (r"(number of electrons +=) +\S+", r"\1 4.00", "electrons: 4 in the SCF run, but 3 in this run"),
    ],
)
def test_energies_of_other_settings_than_the_bands(later, tmp_path, pattern, other, words):
    text, count = re.subn(pattern, other, (later / "scf.out").read_text())
    assert count
    (tmp_path / "scf.out").write_text(text)
    with pytest.raises(InputError, match=words + r".*\(scf\.out\); give the SCF run that made the density of this run"):
        import_run(later, ldos=OPTIONS, scf=tmp_path / "scf.out")


@pytest.mark.espresso
def test_bands_at_another_electronic_temperature(run, tmp_path):
    folder = finished_run(shutil.copytree(run, tmp_path / "run"), aluminium(), "nscf", degauss=0.00703)
    with pytest.raises(InputError, match=r"0\.0063 Ry .995 K. in the SCF run, but 0\.00703 Ry .1110 K. in this run"):
        import_run(folder, ldos=OPTIONS)
    # the SCF run of this temperature is found beside the other one, and an XML file has all digits of degauss
    right = finished_run(tmp_path / "right", aluminium(), degauss=0.00703)
    shutil.copy(right / "scf.out", folder / "right.out")
    assert import_run(folder, ldos=OPTIONS).reference.free_energy == pytest.approx(
        import_run(right, ldos=OPTIONS).reference.free_energy, abs=1e-6
    )
    text = (right / "fermisea.save" / SCHEMA).read_text()
    width = re.search(r'degauss="(\S+)"', text)[1]
    (tmp_path / "other.xml").write_text(text.replace(width, f"{float(width) * 1.001:.12e}"))
    with pytest.raises(InputError, match=r"electronic temperature: degauss .*\(other\.xml\)"):
        import_run(folder, ldos=OPTIONS, scf=tmp_path / "other.xml")


@pytest.mark.espresso
def test_one_file_for_each_element(run, tmp_path):
    save = shutil.copytree(run, tmp_path / "two") / "fermisea.save"
    shutil.copy(POTENTIALS / "Al.gth-pbe.upf", save / "B.upf")
    text = (save / SCHEMA).read_text()
    second = r'\1<species name="Al2"><mass>27.0</mass><pseudo_file>B.upf</pseudo_file></species>'
    (save / SCHEMA).write_text(re.sub(r"(<species name=\"Al\">.*?</species>)", second, text, flags=re.DOTALL))
    with pytest.raises(InputError, match=r"pseudopotentials of Al: got Al\.upf and B\.upf for species of one element"):
        import_run(save, ldos=OPTIONS)


@pytest.mark.filterwarnings("default::UserWarning")  # the command prints it
@pytest.mark.espresso
def test_the_closure_is_checked(run, tmp_path, capsys):
    command = ["convert", "espresso", str(run), "--highest-electron-temperature", "1000", "--json"]
    assert main([*command, "--out", str(tmp_path / "a.nc")]) == 0
    printed = json.loads(capsys.readouterr().out)["closure_error"]
    snapshot = Snapshot.load(tmp_path / "a.nc")
    assert printed == pytest.approx(snapshot.free_energy(1000.0) - snapshot.reference.free_energy, abs=1e-9)
    assert abs(printed) < CLOSURE_LIMIT
    # a file with the same valence that the run did not have
    command += ["--pseudopotentials", f"Al={POTENTIALS / 'Al.gth-pbe.upf'}", "--out", str(tmp_path / "b.nc")]
    assert main(command) == 2
    assert re.search(
        r"F from the LDOS differs from F of the DFT code by [-+]\d+\.\d\d meV/atom", capsys.readouterr().err
    )
    assert not (tmp_path / "b.nc").exists()
    assert main([*command, "--allow-closure-error"]) == 0
    assert "expected at most 1; refine k-mesh" in capsys.readouterr().err
    assert abs(closure_error_per_atom(Snapshot.load(tmp_path / "b.nc"))) > CLOSURE_LIMIT
