"""MALA's data: against what MALA 1.4.0 computes from them, and against files that do not fit together."""

from __future__ import annotations

import json
import re
import shutil

import h5py
import numpy as np
import pytest
from scipy.integrate import trapezoid

from fermisea import Dataset, DensityOfStates, Snapshot, TrainingConfig, train, units
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.interop import mala
from fermisea.physics.fermi_dirac import occupation_derivatives
from mala_files import BE2, DATA, ENERGIES, EXPECTED, KERNEL, be_snapshot, digest, refusal
from synthetic import made_up_snapshot

INFO = BE2 / "Be_snapshot0.info.json"
LDOS = BE2 / "Be_snapshot0.out.npy"


@pytest.mark.filterwarnings("ignore:electron temperature. got 20000 K")
@pytest.mark.parametrize(("number", "ldos"), [(0, None), (1, None), (0, "Be_snapshot0.out.h5")])
def test_observables_of_an_ldos_are_those_of_mala(number, ldos):
    expected = EXPECTED[f"snapshot{number}"]["dft_ldos"]
    snapshot = be_snapshot(number, ldos)
    np.testing.assert_allclose(snapshot.dos, expected["dos"], rtol=1e-7)
    temperatures = [float(t) for t in expected["observables"]]
    results = snapshot.observables(temperatures, integration="mala", allow_beyond_window=True)
    for result, values in zip(results, expected["observables"].values(), strict=True):
        assert result.fermi_level == pytest.approx(values["fermi_level"], abs=1e-9)
        assert result.band_energy == pytest.approx(values["band_energy"], abs=1e-9)
        assert -result.electron_temperature * result.entropy == pytest.approx(values["minus_TS"], abs=1e-9)
        assert result.electrons == pytest.approx(values["electrons"], abs=1e-9)
        np.testing.assert_allclose(result.density.ravel()[:5], values["density_first5"], rtol=1e-9)
        assert result.density.min() == pytest.approx(values["density_min"], rel=1e-9)
        assert result.density.max() == pytest.approx(values["density_max"], rel=1e-9)


def test_reference_is_that_of_the_dft_run():
    expected = EXPECTED["snapshot0"]["dft_ldos"]["qe"]
    snapshot = be_snapshot()
    reference = snapshot.reference
    assert reference.free_energy == expected["total_energy"]
    assert reference.fermi_level == expected["fermi"]
    assert reference.entropy_term == expected["entropy"]
    assert reference.electrons == snapshot.electrons == expected["n_el"]
    assert reference.parts["band_energy"] == expected["band_energy"]
    # what Quantum ESPRESSO prints sums up to the total energy
    parts = sum(reference.parts[name] for name in ("one_electron", "hartree", "xc", "ewald"))
    assert parts + reference.entropy_term == pytest.approx(reference.free_energy, abs=1e-3)
    assert reference.forces.sum() == pytest.approx(0.0, abs=1e-9)
    assert snapshot.electron_temperature == expected["temperature"]


def test_broadening_is_assumed_aloud_and_is_that_of_the_kernel():
    with pytest.warns(UserWarning, match=r"assuming the derivative of the Fermi function with degauss_ldos = 5 eV"):
        snapshot = be_snapshot(broadening=None)
    x = np.linspace(-60, 60, 200001)
    variance = -trapezoid(x**2 * occupation_derivatives(x, 1)[1], x) * 5.0**2
    assert snapshot.broadening.standard_deviation == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_density_is_that_of_the_file_or_of_the_ldos():
    given = be_snapshot(density=BE2 / "Be_snapshot0.dens.npy")
    np.testing.assert_array_equal(given.density, np.load(BE2 / "Be_snapshot0.dens.npy")[..., 0])
    derived = be_snapshot()
    assert derived.grid.integrate(derived.density) == pytest.approx(4.0, abs=1e-6)
    (at_reference,) = derived.observables(derived.electron_temperature)
    np.testing.assert_allclose(derived.density, at_reference.density, rtol=1e-6)


def test_snapshot_is_an_ordinary_one(tmp_path):
    snapshot = be_snapshot(ion_temperature=298.0)
    snapshot.save(tmp_path / "be.nc")
    again = Snapshot.load(tmp_path / "be.nc")
    np.testing.assert_array_equal(again.ldos, np.load(LDOS))
    assert again.broadening == KERNEL
    assert again.ion_temperature == 298.0
    assert again.total_energy_obstacle == snapshot.total_energy_obstacle
    assert again.reference.parts == snapshot.reference.parts


def test_users_files_stay_as_they_are():
    before = digest(BE2)
    snapshot = be_snapshot(density=BE2 / "Be_snapshot0.dens.npy")
    be_snapshot(ldos="Be_snapshot0.out.h5")
    snapshot.ldos[0, 0, 0, 0] = 1.0  # in memory alone
    assert digest(BE2) == before


def test_total_energies_need_the_pseudopotential():
    snapshot = be_snapshot()
    text = refusal(snapshot.free_energy, 1000.0)
    assert "do not hold the pseudopotential of Be (Be.pbe-n-rrkjus_psl.1.0.0.UPF)" in text


def test_ultrasoft_pseudopotential_is_refused_by_name_for_total_energies_alone():
    path = BE2 / "Be.pbe-n-rrkjus_psl.1.0.0.UPF"
    snapshot = be_snapshot(pseudopotentials={"Be": path})
    text = refusal(snapshot.free_energy, 1000.0)
    assert "Be.pbe-n-rrkjus_psl.1.0.0.UPF is an ultrasoft pseudopotential" in text
    assert snapshot.functional == "pbe"
    assert snapshot.electrons == 4.0
    (result,) = snapshot.observables(1000.0)
    assert result.free_energies == {}
    assert np.isfinite([result.fermi_level, result.band_energy, result.entropy]).all()


@pytest.mark.filterwarnings("ignore:.*the DFT run used")
def test_pseudopotential_of_another_valence_or_element_is_refused():
    folder = DATA / "pseudopotentials"
    text = refusal(be_snapshot, pseudopotentials={"Be": folder / "PD_Be_std.upf"})
    assert "give 8 electrons, but the DFT run had 4" in text
    assert "expected one of Be" in refusal(be_snapshot, pseudopotentials={"Be": folder / "PD_Al_std.upf"})


def write_mala_files(snapshot: Snapshot, folder, **entries):
    """The snapshot as MALA would hold it."""
    atoms, grid = snapshot.atoms, snapshot.grid
    info = {
        "fermi_energy_dft": snapshot.reference.fermi_level,
        "temperature": snapshot.electron_temperature,
        "number_of_electrons_exact": snapshot.electrons,
        "total_energy_dft_calculation": snapshot.reference.free_energy,
        "entropy_contribution_dft_calculation": snapshot.reference.entropy_term,
        "grid_dimensions": list(grid.shape),
        "voxel": {"array": (grid.lattice / np.array(grid.shape)[:, None]).tolist()},
        "atoms": {key: np.asarray(value).tolist() for key, value in atoms.todict().items()},
    }
    (folder / "x.info.json").write_text(json.dumps(info | entries))
    np.save(folder / "x.out.npy", snapshot.ldos)
    return folder / "x.out.npy", folder / "x.info.json"


def test_total_free_energy_with_a_norm_conserving_pseudopotential(tmp_path):
    made = made_up_snapshot(3)
    files = write_mala_files(made, tmp_path)
    read = mala.load_snapshot(
        *files,
        made.energy_grid,
        broadening=made.broadening,
        functional="lda",
        pseudopotentials={"Al": DATA / "pseudopotentials" / "Al.pz-vbc.UPF"},
    )
    assert read.total_energy_obstacle is None
    np.testing.assert_allclose(read.free_energy([500.0, 3000.0]), made.free_energy([500.0, 3000.0]), rtol=1e-12)
    assert read.provenance["pseudopotentials"]["Al"]["name"] == "Al.pz-vbc.UPF"
    # the density of the LDOS at tau_ref closes the energy of the run
    assert read.free_energy(made.electron_temperature) == pytest.approx(made.reference.free_energy, abs=1e-6)


@pytest.mark.parametrize(("further", "known"), [(0.0, True), (-0.58, False)])
def test_a_further_energy_term_of_the_run_is_an_obstacle_to_total_energies(tmp_path, further, known):
    made = made_up_snapshot(3)
    parts = {"one_electron_contribution": 5.0, "hartree_contribution": 1.0, "xc_contribution": -6.0}
    ewald = made.reference.free_energy - made.reference.entropy_term - further
    files = write_mala_files(made, tmp_path, **parts, ewald_contribution=ewald)
    upf = {"Al": DATA / "pseudopotentials" / "Al.pz-vbc.UPF"}
    read = mala.load_snapshot(
        *files, made.energy_grid, broadening=made.broadening, functional="lda", pseudopotentials=upf
    )
    if known:
        assert read.total_energy_obstacle is None
    else:
        assert "differs by -0.580000 eV from the sum of its parts" in read.total_energy_obstacle
        assert "a further energy term" in refusal(read.free_energy, 1000.0)


@pytest.mark.parametrize("text", ["nan", "inf", "-2", "2_0"])
def test_valence_of_an_ultrasoft_file_is_a_number_above_0(tmp_path, text):
    file = tmp_path / "Be.pbe-n-rrkjus_psl.1.0.0.UPF"
    intact = (BE2 / file.name).read_text()
    changed = re.sub(r'z_valence="[^"]*"', f'z_valence="{text}"', intact)
    assert changed != intact
    file.write_text(changed)
    assert f"z_valence is {text}, expected a number above 0" in refusal(be_snapshot, pseudopotentials={"Be": file})


@pytest.mark.filterwarnings("ignore:.*F from the LDOS differs from F of the DFT code")
def test_core_charge_of_the_file_enters_the_total_energy(tmp_path):
    made = made_up_snapshot(3)
    files = write_mala_files(made, tmp_path)
    folder = DATA / "pseudopotentials"
    with_core, without = (
        mala.load_snapshot(
            *files,
            made.energy_grid,
            broadening=made.broadening,
            functional="pbe",
            pseudopotentials={"Al": folder / name},
            allow_closure_error=True,  # the made-up energy is F with point charges and without a core charge
        )
        for name in ("PD_Al_std.upf", "Al.gth-pbe.upf")
    )
    assert with_core.ions["Al"].core is not None
    assert abs(with_core.free_energy(1000.0) - without.free_energy(1000.0)) > 1.0


@pytest.mark.parametrize("unit", ["1/(Ry*Bohr^3)", "1/(eV*Bohr^3)"])
def test_units_are_converted_and_wrong_ones_found(tmp_path, unit):
    factor = units.BOHR**3 * (units.RYDBERG if "Ry" in unit else 1)
    path = tmp_path / "x.npy"
    np.save(path, np.load(LDOS) * np.float32(factor))
    read = be_snapshot(ldos=path, units=unit)
    np.testing.assert_allclose(read.ldos, np.load(LDOS), rtol=3e-7)
    text = refusal(be_snapshot, ldos=path)
    assert "electrons below the Fermi level of the DFT run, 8.743 eV, expected 4" in text
    assert f"units={unit!r} would fit" in text
    assert "expected one of 1/(eV*A^3)" in refusal(be_snapshot, ldos=path, units="1/eV")


def test_without_a_fermi_level_the_window_must_hold_the_electrons(tmp_path):
    info = json.loads(INFO.read_bytes()) | {"fermi_energy_dft": None}
    (tmp_path / "x.info.json").write_text(json.dumps(info))
    read = mala.load_snapshot(LDOS, tmp_path / "x.info.json", ENERGIES, broadening=KERNEL)
    assert np.isnan(read.reference.fermi_level)
    np.save(tmp_path / "x.npy", np.load(LDOS) / 3)
    text = refusal(mala.load_snapshot, tmp_path / "x.npy", tmp_path / "x.info.json", ENERGIES, broadening=KERNEL)
    assert "electrons in total, expected 4" in text


def test_networks_are_trained_on_them():
    config = TrainingConfig(hidden=(8,), epochs=3, validation_fraction=0.0)
    model = train(Dataset((be_snapshot(0), be_snapshot(1))), config)
    assert model.broadening == KERNEL
    assert "do not hold the pseudopotential" in model.total_energy_obstacle
    atoms = be_snapshot().atoms
    assert model.predict(atoms, 1000.0, (18, 18, 27)).electrons == pytest.approx(4.0)


def test_wrong_energy_grid_is_found():
    text = refusal(mala.load_snapshot, LDOS, INFO, EnergyGrid(-5.0, 0.25, 11), broadening=KERNEL)
    assert "check units and energy grid" in text
    text = refusal(mala.load_snapshot, LDOS, INFO, EnergyGrid(-5.0, 2.5, 12), broadening=KERNEL)
    assert "got [11] energies, expected [12]" in text


def test_split_grid_of_one_spacing_is_the_whole_one(tmp_path):
    whole = be_snapshot()
    values = np.load(LDOS)
    np.save(tmp_path / "a.npy", values[..., :6])
    np.save(tmp_path / "b.npy", values[..., 5:])
    grids = [EnergyGrid(-5.0, 2.5, 6), EnergyGrid(7.5, 2.5, 6)]
    for ldos in (LDOS, [tmp_path / "a.npy", tmp_path / "b.npy"]):
        split = mala.load_snapshot(ldos, INFO, grids, broadening=KERNEL)
        assert split.energy_grid == ENERGIES
        np.testing.assert_array_equal(split.ldos, whole.ldos)
    text = refusal(mala.load_snapshot, LDOS, INFO, [grids[0], EnergyGrid(10.0, 2.5, 6)], broadening=KERNEL)
    assert "ends at 7.5 eV and the next begins at 10 eV" in text


def test_split_grid_of_two_spacings_keeps_the_integrals_of_straight_lines(tmp_path):
    grids = [EnergyGrid(-5.0, 0.5, 41), EnergyGrid(15.0, 1.0, 7)]
    fine = np.arange(-5.0, 21.01, 0.5)
    stored = np.concatenate([grids[0].energies[:-1], grids[1].energies])
    spread = np.exp(-(((stored - 6.0) / 7.0) ** 2)) * (1 + 0.2 * np.sin(3 * stored))
    dos = 5.2 * spread / trapezoid(np.where(stored < 9.5, spread, 0), stored)
    values = np.broadcast_to(dos / be_snapshot().grid.volume, (18, 18, 27, stored.size)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    read = mala.load_snapshot(tmp_path / "x.npy", INFO, grids, broadening=KERNEL)
    assert read.energy_grid == EnergyGrid(-5.0, 0.5, 53)
    np.testing.assert_allclose(read.dos, np.interp(fine, stored, dos), rtol=1e-5)
    # the electron number of straight lines between the stored energies, integrated on a fine mesh of its own
    mu, temperature = 8.0, 3000.0
    x = np.linspace(-5.5, 21.5, 540001)
    lines = np.interp(x, [-5.5, *stored, 21.5], [0.0, *dos, 0.0])
    filled = lines / (1 + np.exp((x - mu) / (units.MALA_BOLTZMANN * temperature)))
    states = DensityOfStates(read.energies, read.dos, integration="mala")
    assert states.electrons(mu, temperature) == pytest.approx(trapezoid(filled, x), rel=1e-5)


def test_energies_of_an_openpmd_file_come_in_its_own_unit(tmp_path):
    path = tmp_path / "x.h5"
    shutil.copyfile(BE2 / "Be_snapshot0.out.h5", path)
    with h5py.File(path, "r+") as file:
        for name in map(str, range(11)):
            component = file[f"data/0/meshes/LDOS/{name}"]
            component[...] = component[...] / 8
            component.attrs["unitSI"] = component.attrs["unitSI"] * 8
    np.testing.assert_allclose(be_snapshot(ldos=path).ldos, np.load(LDOS), rtol=1e-6)
    assert "omit units" in refusal(be_snapshot, ldos=path, units="1/(eV*A^3)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["data/0/meshes"].move("LDOS", "Density"), "holds Density, expected the mesh LDOS"),
        (
            lambda f: f["data/0/meshes/LDOS"].attrs.__setitem__("unitDimension", np.zeros(7)),
            "has the dimension (0, 0, 0",
        ),
        (lambda f: f["data/0/meshes/LDOS"].attrs.__setitem__("dataOrder", b"F"), "not in the order"),
        (lambda f: f["data/0/meshes/LDOS"].__delitem__("3"), "expected 0, 1, 2 and so on"),
        (lambda f: f.__delitem__("data"), "not readable as openPMD in HDF5"),
        (lambda f: f["data"].copy("0", "1"), "holds 2 iterations"),
    ],
)
def test_openpmd_files_of_another_kind_are_refused(tmp_path, change, message):
    path = tmp_path / "x.h5"
    shutil.copyfile(BE2 / "Be_snapshot0.out.h5", path)
    with h5py.File(path, "r+") as file:
        change(file)
    assert message in refusal(be_snapshot, ldos=path)


def test_foreign_and_truncated_files_are_refused(tmp_path):
    content = LDOS.read_bytes()
    wrong = {
        "empty.npy": b"",
        "short.npy": content[: len(content) // 2],
        "text.npy": b"hello\n" * 100,
        "short.h5": (BE2 / "Be_snapshot0.out.h5").read_bytes()[:50_000],
        "text.h5": b"hello\n" * 100,
    }
    for name, data in wrong.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match=name):
            be_snapshot(ldos=tmp_path / name)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match=r"not a complete \.npy file of plain numbers"):
        be_snapshot(ldos=tmp_path / "objects.npy")
    (tmp_path / "header.npy").write_bytes(LDOS.read_bytes()[:43] + b"\xff" * 20 + LDOS.read_bytes()[63:])
    assert "not a complete .npy file" in refusal(be_snapshot, ldos=tmp_path / "header.npy")
    np.save(tmp_path / "whole.npy", np.zeros((18, 18, 27, 11), dtype=int))
    assert "holds int64, expected one array of floats" in refusal(be_snapshot, ldos=tmp_path / "whole.npy")
    np.save(tmp_path / "other.npy", np.load(LDOS)[:9])
    assert "got the grid (9, 18, 27), but the DFT run has (18, 18, 27)" in refusal(
        be_snapshot, ldos=tmp_path / "other.npy"
    )
    assert "no such file" in refusal(be_snapshot, ldos="nothing.npy")
    bohr = np.load(BE2 / "Be_snapshot0.dens.npy") * units.BOHR**3
    np.save(tmp_path / "bohr.npy", bohr)
    assert "holds 0.5927 electrons, expected 4" in refusal(be_snapshot, density=tmp_path / "bohr.npy")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"temperature": None}, "an entry has the wrong form"),
        ({"temperature": -1.0}, "temperature is -1.0 K, expected"),
        ({"number_of_electrons_exact": 0}, "number_of_electrons_exact is 0.0"),
        ({"atoms": {"numbers": [13]}}, "without the entry 'cell'"),
        ({"temperature": 10**400}, "an entry has the wrong form"),
        ({"total_energy_dft_calculation": float("nan")}, "total_energy_dft_calculation is nan, not a finite energy"),
        ({"xc_contribution": float("-inf")}, "xc_contribution is -inf, not a finite energy"),
        ({"grid_dimensions": [6, 6]}, "an entry has the wrong form"),
        ({"grid_dimensions": [6, 6, 12]}, "the voxel times the grid (6, 6, 12) does not give the cell"),
        ({"atomic_forces_dft": [[1.0, 2.0]]}, "an entry has the wrong form"),
    ],
)
def test_info_of_another_form_is_refused(tmp_path, entries, message):
    made = made_up_snapshot(3)
    files = write_mala_files(made, tmp_path, **entries)
    assert message in refusal(mala.load_snapshot, *files, made.energy_grid, broadening=made.broadening)


def test_truncated_info_is_refused(tmp_path):
    for content in (INFO.read_bytes()[:500], b"[1, 2]", b"[" * 100_000, b"\xff\xfe\xfd"):
        (tmp_path / "x.info.json").write_bytes(content)
        with pytest.raises(FileFormatError, match=r"x\.info\.json"):
            mala.load_snapshot(LDOS, tmp_path / "x.info.json", ENERGIES, broadening=KERNEL)
    with pytest.raises(InputError, match="cannot be read"):
        mala.load_snapshot(LDOS, tmp_path / "nothing.json", ENERGIES, broadening=KERNEL)


def test_compounds_need_pseudopotentials_to_know_the_valence(tmp_path):
    made = made_up_snapshot(3)
    numbers = [13, 13, 12, 12]
    structure = {key: np.asarray(value).tolist() for key, value in made.atoms.todict().items()}
    files = write_mala_files(made, tmp_path, atoms=structure | {"numbers": numbers})
    text = refusal(mala.load_snapshot, *files, made.energy_grid, broadening=made.broadening)
    assert "no pseudopotential for Al, Mg" in text


def test_density_of_an_openpmd_file_comes_in_its_own_unit(tmp_path):
    expected = np.load(BE2 / "Be_snapshot0.dens.npy")[..., 0]
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.attrs["openPMD"] = np.bytes_("1.1.0")
        file.attrs["meshesPath"] = np.bytes_("meshes/")
        mesh = file.create_group("data/0/meshes/Density")
        mesh.attrs["unitDimension"] = [-3.0, 0, 0, 0, 0, 0, 0]
        mesh.attrs["axisLabels"] = np.array([b"x", b"y", b"z"])
        mesh["0"] = expected * units.BOHR**3
        mesh["0"].attrs["unitSI"] = (1e10 / units.BOHR) ** 3
    np.testing.assert_allclose(be_snapshot(density=tmp_path / "d.h5").density, expected, rtol=1e-12)
