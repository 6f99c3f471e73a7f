"""The domain of a model: which structures it flags or refuses, in which words, and by which routes."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import warnings
from contextlib import nullcontext
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.neighborlist import neighbor_list

import fermisea
from fermisea import Calculator, DomainWarning, Snapshot, TrainingConfig, load_model, train
from fermisea.cli import main
from fermisea.data.dataset import Dataset
from fermisea.data.distances import pairs
from fermisea.data.structures import read_structure, write_structure
from fermisea.descriptors import PowerSpectrum
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import check_structure
from fermisea.model.bundled import FOLDER
from fermisea.model.file import HOTTER, read_header
from fermisea.prediction.plausibility import implausible, kind_of
from fermisea.prediction.surroundings import Surroundings
from synthetic import made_up_snapshot, structure
from test_prediction import random_model

DATA = Path(__file__).parent / "data" / "al32"
UNSEEN = {atoms.info["name"]: atoms for atoms in ase.io.read(DATA.parent / "aluminium" / "structures.extxyz", ":")}
"""Structures like the training structures of the shipped model, which it has not seen."""

GRID = (10, 10, 10)
"""A grid that is too coarse for most cells, which is one warning more, but fast."""

FINE = (18, 18, 18)

CONSTANT = 4.05


def crystal(scale: float = 1.0, repeat: int = 2) -> Atoms:
    return bulk("Al", "fcc", a=scale * CONSTANT, cubic=True).repeat(repeat)


def strained(*principal: float) -> Atoms:
    """A crystal with principal strains along the cubic axes."""
    atoms = crystal()
    atoms.set_cell(atoms.cell.array * (1 + np.array(principal)), scale_atoms=True)
    return atoms


def sheared(strain: float) -> Atoms:
    """A crystal with principal strains along two diagonals of a face, of opposite signs."""
    atoms = crystal()
    atoms.set_cell(atoms.cell.array @ [[1, strain, 0], [strain, 1, 0], [0, 0, 1]], scale_atoms=True)
    return atoms


def simply_sheared(strain: float) -> Atoms:
    """A crystal whose cubic faces move along each other."""
    atoms = crystal()
    atoms.set_cell(atoms.cell.array @ [[1, strain, 0], [0, 1, 0], [0, 0, 1]], scale_atoms=True)
    return atoms


def slab() -> Atoms:
    atoms = fcc111("Al", (2, 2, 4), a=CONSTANT, vacuum=6.0, periodic=True)
    atoms.info.clear()  # adsorption sites, which structure files do not hold
    return atoms


def dimer() -> Atoms:
    return Atoms("Al2", positions=[[0, 0, 0], [2.7, 0, 0]], cell=[12.0, 12.0, 12.0], pbc=True)


def close_pair() -> Atoms:
    atoms = crystal(repeat=1)
    atoms.positions[1] = atoms.positions[0] + [0.5, 0.0, 0.0]
    return atoms


def in_other_unit(factor: float) -> Atoms:
    atoms = crystal(repeat=1)
    atoms.rattle(0.05, seed=1)
    atoms.set_cell(factor * atoms.cell.array, scale_atoms=True)
    return atoms


def far_away() -> Atoms:
    atoms = crystal(repeat=1)
    atoms.positions[2, 0] = 1e300
    return atoms


DEFECTS = ("test-divacancy-00", "test-interstitial-00")
"""Defects that are not in the training data."""

BOHR, NANOMETRE = 1 / 0.529177210903, 0.1
WARNED = {
    "compressed by 12 %": (lambda: crystal(0.88), {"volume"}),
    "expanded by 12 %": (lambda: crystal(1.12), {"surroundings"}),
    "stretched by 12 %": (lambda: strained(0.12, 0, 0), {"surroundings"}),
    "pressed by 12 %": (lambda: strained(-0.12, 0, 0), {"surroundings"}),
    "stretched by 12 % along two axes": (lambda: strained(0.12, 0.12, 0), {"surroundings"}),
    "stretched by 12 %, constant volume": (lambda: strained(0.12, 1 / 1.12 - 1, 0), {"surroundings"}),
    "pressed by 12 %, constant volume": (lambda: strained(-0.12, 0.066, 0.066), {"surroundings"}),
    "pressed by 12 % along two axes": (lambda: strained(-0.12, -0.12, 0), {"volume", "surroundings"}),
    "sheared by 12 %": (lambda: sheared(0.12), {"surroundings"}),
    "simple shear of 12 %": (lambda: simply_sheared(0.12), {"surroundings"}),
    "slab": (slab, {"volume", "surroundings"}),
    "dimer": (dimer, {"volume"}),
    **{name: (UNSEEN[name].copy, {"surroundings"}) for name in DEFECTS},
    "bohr": (lambda: in_other_unit(BOHR), {"volume"}),
}
"""Structures unlike the training structures of the shipped model, and kinds of warnings that they have to give."""

REFUSED = {
    "close pair": (close_pair, r"atoms 0 \(Al\) and 1 \(Al\) are 0.50 Å apart"),
    "nanometre": (lambda: in_other_unit(NANOMETRE), r"the lengths seem to be in nanometre, expected Å"),
    "cell of 0.5 Å": (lambda: crystal(0.5 / CONSTANT, 1), r"0.0313 Å³ per atom.* the structure is unphysical"),
    "one short vector": (lambda: Atoms("Al", cell=[0.5, 9, 9], pbc=True), r"images of an atom are 0.50 Å apart"),
}
RARE = {"test-small-00"}
"""A sheared cell of eight atoms at 779 K."""

KNOWN = {name: atoms for name, atoms in UNSEEN.items() if name not in {*RARE, *DEFECTS}} | {
    "primitive cell": bulk("Al", "fcc", a=CONSTANT),
    "108 atoms": crystal(repeat=3),
    "scaled by 0.925": crystal(0.925),
    "scaled by 1.08": crystal(1.08),
    "sheared by 4 %": sheared(0.04),
    "strained by 4 %": strained(0.04, -0.02, -0.02),
    "bcc": bulk("Al", "bcc", a=3.2145, cubic=True).repeat(3),
}
"""Structures of which the shipped model may not warn."""


def kinds(sentences) -> set[str]:
    return {sentence.partition(":")[0] for sentence in sentences}


@pytest.fixture(scope="module")
def aluminium():
    return load_model("aluminium")


@pytest.mark.parametrize("name", WARNED)
def test_structures_unlike_the_training_are_flagged(aluminium, name):
    make, expected = WARNED[name]
    found = kinds(aluminium.domain.check(make(), 1000.0))
    assert expected <= found <= {"volume", "surroundings", "distance"}


@pytest.mark.parametrize("name", REFUSED)
def test_structures_that_cannot_exist_are_refused_before_anything_is_computed(aluminium, name):
    make, message = REFUSED[name]
    (sentence,) = aluminium.domain.check(make(), 1000.0)
    assert kinds([sentence]) == {"distance"}
    with pytest.raises(InputError, match=message):
        aluminium.predict(make(), 1000.0)
    with pytest.raises(InputError, match=message):
        Calculator(aluminium, 1000.0).get_potential_energy(make())


@pytest.mark.parametrize("name", KNOWN)
def test_structures_like_the_training_are_not_flagged(aluminium, name):
    """By the domain and by the potential; a warning of the potential would be an error."""
    tau_e = [300.0, 1000.0, 10_000.0, 30_000.0]
    assert aluminium.domain.check(KNOWN[name], tau_e) == []
    assert aluminium.potential().predict(KNOWN[name], tau_e).warnings == ()


def test_thermal_displacements_in_molecular_dynamics_are_not_flagged(aluminium):
    atoms = [read_structure(DATA / f"al32-{name}-00.extxyz") for name in ("100K", "933K")]
    for frame in [*atoms, *fermisea.sample(crystal(), 600.0, 3, thermalise=0.3, spacing=0.1, seed=5).frames]:
        assert aluminium.domain.check(frame, [300.0, 1000.0, 30_000.0]) == []


def hydrogen(seed: int) -> Atoms:
    """A gas of hydrogen of 2.7 g/cm³ as hot as 1 to 2 million kelvin: two atoms come to 0.1 Å."""
    length = (32 * 1.6737 / 2.7) ** (1 / 3)
    random = np.random.default_rng(seed)
    atoms = Atoms("H32", positions=random.random((32, 3)) * length, cell=[length] * 3, pbc=True)
    while (close := pairs(atoms, 0.1)[0]).size:
        atoms.positions[close[0]] = random.random(3) * length
    return atoms


def test_no_door_refuses_hot_dense_and_molten_structures(aluminium):
    molten = crystal(1.05)
    dynamics = Langevin(
        molten, 3 * units.fs, temperature_K=6000, friction=0.1, fixcm=False, rng=np.random.default_rng(1)
    )
    molten.calc = EMT()
    molten.rattle(0.4, seed=1)
    dynamics.run(40)
    for number in range(20):
        dynamics.run(2)
        check_structure(molten)
        if number % 5 == 0:
            assert kinds(aluminium.domain.check(molten, 1000.0)) <= {"volume", "surroundings", "distance"}
            assert aluminium.domain.impossible(molten) is None
    shortest = math.inf
    for seed in range(20):
        gas = hydrogen(seed)
        check_structure(gas)
        shortest = min(shortest, pairs(gas, 0.3)[2].min(initial=math.inf))
    assert 0.1 < shortest < 0.15


def test_a_crystal_gives_no_warning(aluminium):
    prediction = aluminium.predict(crystal(repeat=1), [1000.0, 15_000.0])  # a warning would be an error
    assert prediction.warnings == ()


def test_the_pressure_of_hot_electrons_gives_no_warning(aluminium):
    for scale in (0.97, 1.03):
        assert aluminium.predict(crystal(scale, 1), [1000.0, 15_000.0], forces=True, uncertainty=False).warnings == ()


def test_electron_temperature_grid_elements_and_distance_are_checked(aluminium):
    domain = aluminium.domain
    highest = aluminium.parts[-1].highest_electron_temperature
    (sentence,) = domain.check(crystal(), [1000.0, 90_000.0])
    assert sentence == (
        f"electron temperature: got 90000 K, but without a tail the energy window is valid up to {highest:.0f} K; "
        "states above the window are free electrons, and tail_error of the prediction is the estimated error"
    )
    assert domain.check(crystal(), [1.0, 1000.0])[0] == "electron temperature: got 1 K, the model is valid from 5 K on"
    assert domain.check(crystal(), 1000.0, spacing=1.4 * domain.grid_spacing) == []
    assert kinds(domain.check(crystal(), 1000.0, spacing=1.6 * domain.grid_spacing)) == {"grid"}
    assert "got Cu, but the model knows Al" in domain.check(bulk("Cu", cubic=True), 1000.0)[0]
    atoms, shortest = crystal(repeat=3), domain.distances["Al-Al"]
    apart = atoms.positions[1] - atoms.positions[0]
    atoms.positions[0] = atoms.positions[1] - 0.87 * shortest * apart / np.linalg.norm(apart)
    found = domain.check(atoms, 1000.0)
    words = f"distance: the shortest Al-Al distance is {0.87 * shortest:.2f} Å, but {shortest:.2f} Å in training"
    assert any(sentence.startswith(words) for sentence in found)


def test_positions_too_far_away_and_cells_without_volume_are_errors(aluminium):
    for call in (aluminium.domain.check, aluminium.predict):
        with pytest.raises(InputError, match=r"atom 2 \(Al\) is at \[1e\+300"):
            call(far_away(), 1000.0)
        with pytest.raises(InputError, match=r"cell: got .*lattice vectors up to 1e\+06 Å"):
            call(Atoms("Al", cell=[1e8, 1e8, 1e8], pbc=True), 1000.0)
    with pytest.raises(InputError, match="cell"):
        aluminium.domain.check(Atoms("Al", pbc=True), 1000.0)


def test_two_atoms_at_nearly_one_place_are_refused_by_every_route(aluminium):
    atoms = crystal(repeat=1)
    atoms.positions[1] = atoms.positions[0] + [0.01, 0.0, 0.0] - atoms.cell[2]
    routes = (
        lambda: aluminium.domain.check(atoms, 1000.0),
        lambda: aluminium.predict(atoms, 1000.0, allow_outside=True),
        lambda: aluminium.ldos(atoms, GRID),
        lambda: Calculator(aluminium, 1000.0, allow_outside=True).get_potential_energy(atoms),
        lambda: aluminium.anchor.predict(atoms),
        lambda: fermisea.engines.PlaneWave().run(atoms, 1000.0),
        lambda: fermisea.sample(atoms, 300.0, 1),
    )
    for route in routes:
        with pytest.raises(InputError, match=r"atoms 0 \(Al\) and 1 \(Al\) are 0.01 Å apart, expected at least 0.05 Å"):
            route()


def test_beyond_the_window_the_volume_is_still_checked(aluminium):
    hot = 1.2 * aluminium.domain.electron_temperature[1]
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        aluminium.predict(crystal(0.88, 1), hot, GRID, uncertainty=False, allow_beyond_window=True)
    domain = [str(item.message) for item in issued if item.category is DomainWarning]
    assert "volume" in kinds(domain)
    assert "electron temperature" not in kinds(domain)


def messages(call) -> list[str]:
    """The warnings of a call about the domain, or its error."""
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        try:
            call()
        except InputError as error:
            return [str(error)]
    return [str(item.message) for item in issued if item.category is DomainWarning]


def every_route(model, atoms: Atoms, shape: tuple[int, int, int] | None, folder: Path, capsys) -> dict[str, list[str]]:
    """The sentences about a structure at 1000 K by the name of the route; ``shape`` is the grid."""
    calculators = {
        "Calculator": Calculator(model, 1000.0, grid=shape, uncertainty=False),
        "Calculator, potential": Calculator(model, 1000.0, potential=True),
    }
    found = {name: messages(lambda c=c: c.get_potential_energy(atoms)) for name, c in calculators.items()}
    found["predict"] = messages(lambda: model.predict(atoms, 1000.0, shape, uncertainty=False))
    found["potential"] = messages(lambda: model.potential().predict(atoms, 1000.0))
    write_structure(folder / "atoms.extxyz", atoms)
    command = ["predict", "aluminium", str(folder / "atoms.extxyz")]
    command += [] if shape is None else ["--grid", *map(str, shape)]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status = main(command)
        lines = capsys.readouterr().err.splitlines()
        assert main([*command, "--json"]) == status
    shown = capsys.readouterr()
    found["text"] = [line.removeprefix("fermisea: ").removeprefix("warning: ") for line in lines]
    found["JSON"] = json.loads(shown.out)["warnings"] if status == 0 else []
    if status:
        assert status == 2
        found["JSON"] = [line.removeprefix("fermisea: ") for line in shown.err.splitlines()]
    return found


@pytest.mark.parametrize(
    "name", ["compressed by 12 %", "expanded by 12 %", "stretched by 12 %", "simple shear of 12 %", "slab", "dimer"]
)
def test_every_route_warns_of_a_structure_unlike_the_training(aluminium, name, tmp_path, capsys):
    make, expected = WARNED[name]
    for route, sentences in every_route(aluminium, make(), (8, 8, 8), tmp_path, capsys).items():
        assert expected <= kinds(sentences), route


@pytest.mark.parametrize("name", ["close pair", "nanometre"])
def test_every_route_refuses_an_overlap_and_another_unit(aluminium, name, tmp_path, capsys):
    make, message = REFUSED[name]
    for route, sentences in every_route(aluminium, make(), (8, 8, 8), tmp_path, capsys).items():
        (sentence,) = sentences
        assert re.search(message, sentence), route


@pytest.mark.parametrize(
    "name",
    [
        "test-small-02",
        "test-liquid16-01",
        *(pytest.param(f"test-{name}", marks=pytest.mark.slow) for name in ("crystal-01", "liquid-01", "vacancy-01")),
    ],
)
def test_no_route_warns_of_a_structure_like_the_training(aluminium, name, tmp_path, capsys):
    atoms = UNSEEN[name]
    shape = tuple(int(np.ceil(length / 0.3)) for length in atoms.cell.lengths())
    for route, sentences in every_route(aluminium, atoms, shape, tmp_path, capsys).items():
        assert sentences == [], route


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_no_prediction_of_a_structure_like_the_training_has_a_warning(aluminium, name):
    assert aluminium.predict(KNOWN[name], [300.0, 1000.0, 10_000.0, 30_000.0]).warnings == ()


@pytest.mark.parametrize("name", ["slab", "bohr"])
def test_all_routes_use_the_same_words(aluminium, name, tmp_path, capsys):
    atoms = WARNED[name][0]()
    with pytest.warns(DomainWarning) as issued:
        prediction = aluminium.predict(atoms, 1000.0, GRID)
    words = [str(item.message) for item in issued]
    assert kinds(words) >= WARNED[name][1] | {"grid"}
    assert list(prediction.warnings) == words
    assert issued[0].filename == __file__

    calculator = Calculator(aluminium, 1000.0, grid=GRID)
    with pytest.warns(DomainWarning) as issued:
        calculator.get_potential_energy(atoms)
    assert [str(item.message) for item in issued] == words == list(calculator.warnings)

    write_structure(tmp_path / "atoms.extxyz", atoms)
    command = ["predict", "aluminium", str(tmp_path / "atoms.extxyz"), "--grid", *map(str, GRID)]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(command) == 0
        lines = capsys.readouterr().err.splitlines()
        assert main([*command, "--json"]) == 0
    assert lines == [f"fermisea: warning: {word}" for word in words]
    assert json.loads(capsys.readouterr().out)["warnings"] == words


def test_the_command_refuses_in_one_line_unless_it_is_allowed(tmp_path, capsys):
    write_structure(tmp_path / "close.extxyz", close_pair())
    command = ["predict", "aluminium", str(tmp_path / "close.extxyz"), "--grid", *map(str, GRID), "--json"]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "0.50 Å apart" in line
    assert not (capsys.readouterr().out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main([*command, "--allow-outside"]) == 0
    shown = capsys.readouterr()
    assert "warning: distance: atoms 0 (Al) and 1 (Al) are 0.50 Å apart" in shown.err
    assert "distance" in kinds(json.loads(shown.out)["warnings"])


def test_thermo_issues_each_warning_once(aluminium):
    with pytest.warns(DomainWarning) as issued:
        found = fermisea.thermo(aluminium, crystal(1.12), 3000.0, pressure=False, tolerance=0.1, grid=GRID)
    words = [str(item.message) for item in issued]
    assert {"surroundings", "grid"} <= kinds(words)
    assert words == list(found.prediction.warnings)
    assert len(set(map(kind_of, words))) == len(words)


@pytest.mark.slow
def test_thermo_reports_warnings_as_json(tmp_path, capsys):
    write_structure(tmp_path / "close.extxyz", close_pair())
    command = ["thermo", "aluminium", str(tmp_path / "close.extxyz"), "--to", "2000", "--out", str(tmp_path / "out")]
    command += ["--grid", *map(str, GRID), "--no-pressure", "--json"]
    assert main(command) == 2
    assert "0.50 Å apart" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main([*command, "--allow-outside"]) == 0
    assert "distance" in kinds(json.loads(capsys.readouterr().out)["warnings"])


def test_a_calculator_issues_each_kind_of_warning_once(aluminium):
    atoms = sheared(0.12)
    atoms.calc = Calculator(aluminium, 1000.0, grid=GRID, uncertainty=False)
    with pytest.warns(DomainWarning):
        atoms.get_potential_energy()
    first = atoms.calc.warnings
    atoms.positions[0] += 0.02
    atoms.positions[1] += atoms.cell.array[0]  # wrapped or not, it is the same atom
    atoms.get_potential_energy()  # a warning would be an error
    assert kinds(atoms.calc.warnings) == kinds(first)
    atoms.set_cell(0.9 * atoms.cell.array, scale_atoms=True)
    with pytest.warns(DomainWarning) as issued:
        atoms.get_potential_energy()
    again = kinds(str(item.message) for item in issued)
    assert "volume" in again
    assert not again & kinds(first)
    atoms = crystal()
    atoms.calc = Calculator(aluminium, 1000.0, grid=GRID, allow_outside=True)
    atoms.calc.set(allow_outside=False)
    assert atoms.calc.parameters["allow_outside"] is False


def test_a_calculator_warns_again_for_a_structure_that_is_no_next_step(aluminium):
    calculator = Calculator(aluminium, 1000.0, grid=FINE, uncertainty=False)
    for atoms in (crystal(0.88, 1), crystal(repeat=1), crystal(0.88, 1).repeat((1, 1, 2))):
        dense = atoms.cell[0, 0] < 4.0
        with pytest.warns(DomainWarning) if dense else nullcontext():
            calculator.get_potential_energy(atoms)
        calculator.reset()
        assert bool(calculator.warnings) == dense


def test_forces_without_the_anchor_warn_of_the_pressure(aluminium, tmp_path, capsys):
    atoms = crystal(repeat=1)
    atoms.rattle(0.03, seed=1)
    with pytest.warns(DomainWarning, match="stress of the LDOS: .*hundreds of GPa; use the anchor"):
        aluminium.predict(atoms, 1000.0, FINE, forces=True, anchor=False, uncertainty=False)
    write_structure(tmp_path / "atoms.extxyz", atoms)
    command = ["predict", "aluminium", str(tmp_path / "atoms.extxyz"), "--grid", *map(str, FINE)]
    assert main([*command, "--forces", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    expected = aluminium.predict(atoms, 1000.0, FINE, forces=True, uncertainty=False)
    np.testing.assert_allclose(document["rows"][0]["forces"], expected.forces, atol=1e-6)
    np.testing.assert_allclose(document["rows"][0]["stress"], expected.stress, atol=1e-6)
    assert document["warnings"] == []


@pytest.mark.filterwarnings("ignore::fermisea.DomainWarning")
def test_an_energy_that_no_structure_has_is_an_error(aluminium):
    anchor = aluminium.anchor
    wrong = dataclasses.replace(aluminium, anchor=dataclasses.replace(anchor, constants=anchor.constants + 20.0))
    with pytest.raises(InputError, match=r"F is -36\.\d eV/atom.*no structure has such"):
        wrong.predict(crystal(repeat=1), 1000.0, GRID, uncertainty=False)
    with pytest.warns(DomainWarning) as issued:
        prediction = wrong.predict(crystal(repeat=1), 1000.0, GRID, uncertainty=False, allow_outside=True)
    assert "no structure has such an energy" in str(issued[-1].message)
    assert prediction.warnings[-1] == str(issued[-1].message)


def test_a_number_that_is_not_finite_is_found():
    model = random_model()
    prediction = model.predict(structure(1), [500.0, 2000.0])
    assert implausible(model.domain, prediction) is None
    for name in ("band_energy", "ldos_entropy"):
        broken = dataclasses.replace(prediction.results[1], **{name: math.nan})
        results = (prediction.results[0], broken)
        assert "at 2000 K" in implausible(model.domain, dataclasses.replace(prediction, results=results))


def test_the_shipped_domain_is_in_the_model_file(aluminium):
    header = read_header(FOLDER / "aluminium.safetensors")
    for entries, part in zip((header, *header[HOTTER]), aluminium.parts, strict=True):
        domain, snapshots = part.domain, part.provenance["snapshots"]
        assert json.loads(json.dumps(domain.to_dict())) == entries["domain"]
        volumes = [entry["volume_per_atom"] for entry in snapshots]
        assert domain.volume_per_atom == pytest.approx((min(volumes), max(volumes)))
        assert domain.electron_temperature[1] == part.highest_electron_temperature
        assert domain.surroundings.outliers["Al"].spreads.shape == (len(snapshots),)
        assert domain.spread(crystal()) > 0


@pytest.fixture(scope="module")
def trained():
    config = TrainingConfig(hidden=(8,), epochs=1, order=2, anchor_order=2, cutoff=4.0, anchor_cutoff=4.0)
    return train(Dataset([made_up_snapshot(seed) for seed in range(6)]), config)


def test_training_stores_the_domain_in_the_model_file(trained, tmp_path):
    domain = trained.domain
    snapshots = [made_up_snapshot(seed) for seed in range(6)]
    assert domain.elements == ("Al",)
    assert domain.volume_per_atom == pytest.approx((CONSTANT**3 / 4,) * 2)
    assert domain.grid_spacing == pytest.approx(CONSTANT / 6)
    assert domain.anchor_shift > 0
    trained.save(tmp_path / "model.safetensors")
    stored = load_model(tmp_path / "model.safetensors").domain
    assert stored.to_dict() == domain.to_dict()
    for snapshot in snapshots:
        assert stored.check(snapshot.atoms, 2000.0) == []
    assert kinds(stored.check(crystal(0.88, 1), 1000.0)) >= {"volume"}
    assert stored.surroundings.unlikeness(crystal(0.8, 1)) == pytest.approx(
        domain.surroundings.unlikeness(crystal(0.8, 1)), rel=1e-6
    )


def test_a_damaged_domain_is_named(trained, tmp_path):
    surroundings = trained.domain.surroundings
    wrong = dataclasses.replace(surroundings, descriptor=PowerSpectrum(3, 4.0, weights={"Al": 1.0}))
    damaged = dataclasses.replace(trained.domain, surroundings=wrong)
    dataclasses.replace(trained, training_domain=damaged).save(tmp_path / "model.safetensors")
    with pytest.raises(FileFormatError, match="descriptor and surroundings differ in size"):
        load_model(tmp_path / "model.safetensors")


def test_a_model_file_without_a_domain_knows_what_its_provenance_says(trained):
    old = dataclasses.replace(trained, training_domain=None)
    assert old.domain.volume_per_atom == pytest.approx((CONSTANT**3 / 4,) * 2)
    assert old.domain.surroundings is None
    assert kinds(old.domain.check(crystal(0.88, 1), 1000.0)) == {"volume"}
    bare = random_model()
    assert bare.domain.volume_per_atom is None
    assert bare.domain.check(crystal(0.5, 1), 1000.0) == []


def test_surroundings_need_two_structures_and_treat_elements_apart():
    descriptor = PowerSpectrum(4, 4.5, weights={"Al": 1.0, "Ni": 0.7})
    random = np.random.default_rng(3)

    def ordered(*symbols: str) -> Atoms:
        atoms = crystal(repeat=2)
        atoms.symbols[:] = list(symbols) * 8
        atoms.positions += random.normal(scale=0.05, size=atoms.positions.shape)
        return atoms

    layers = [ordered("Al", "Al", "Ni", "Ni") for _ in range(8)]
    assert Surroundings.of(layers[:1], descriptor) is None
    known = Surroundings.of(layers, descriptor)
    assert set(known.distributions) == {"Al", "Ni"}
    assert known.unlikeness(ordered("Al", "Al", "Ni", "Ni")) < 1
    assert known.unlikeness(ordered("Al", "Ni", "Ni", "Ni")) > 1


def test_the_program_of_the_page_runs(aluminium, capsys):
    page = (Path(__file__).parents[1] / "docs" / "domain.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    exec(compile(program, "domain.md", "exec"), {})  # noqa: S102
    out = capsys.readouterr().out
    assert f"tau_e 5 to {aluminium.domain.electron_temperature[1]:.0f} K" in out
    first, *rest = out[out.index("[]") :].splitlines()
    assert first == "[]"
    assert any(line.startswith("surroundings: the atomic environments differ from the training") for line in rest)


@pytest.mark.parametrize("reach", [0.5, 3.1, 7.0])
def test_pairs_are_those_of_ase(reach):
    atoms = Atoms("Al2Be", positions=[[0.1, -0.2, 3.9], [2.0, 2.1, 0.3], [5.0, 0.2, 0.1]], pbc=True)
    atoms.set_cell([[4.0, 0.3, 0.0], [-0.7, 3.5, 0.2], [0.1, 0.9, 3.8]])
    expected = neighbor_list("ijd", atoms, reach)
    found = pairs(atoms, reach)
    assert len(expected[0]) == len(found[0])
    orders = [np.lexsort((np.round(lengths, 6), second, first)) for first, second, lengths in (expected, found)]
    for values, others in zip(expected, found, strict=True):
        np.testing.assert_allclose(values[orders[0]], others[orders[1]], atol=1e-9)


def test_two_atoms_at_one_place_are_a_pair():
    atoms = Atoms("Al2", positions=[[0.0, 0.0, 0.0], [4.0, 4.0, 0.0]], cell=[4.0, 4.0, 4.0], pbc=True)
    first, second, lengths = pairs(atoms, 1.0)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 1), (1, 0)]
    np.testing.assert_allclose(lengths, 0.0, atol=1e-9)


def snapshot_at(snapshot: Snapshot, electron_temperature: float) -> Snapshot:
    names = ("atoms", "grid", "energy_grid", "ldos", "density", "ion_temperature", "broadening", "reference", "ions")
    values = {name: getattr(snapshot, name) for name in (*names, "functional", "provenance")}
    return Snapshot(**values, electron_temperature=electron_temperature)


def test_a_tau_e_that_may_be_in_electronvolt_is_questioned_by_every_route(aluminium, tmp_path, capsys):
    words = r"unit of tau_e: got 30 K, an unusually low electronic temperature; if the value is in eV, give 348136 K"
    assert aluminium.domain.check(crystal(), [30.0, 300.0]) == [words]
    assert aluminium.domain.check(crystal(), 50.0) == []
    atoms = crystal(repeat=1)
    snapshot = made_up_snapshot(1)
    routes = (
        lambda: aluminium.predict(atoms, [30.0, 40.0, 1000.0], FINE, uncertainty=False),
        lambda: Calculator(aluminium, 30.0, grid=FINE, uncertainty=False).get_potential_energy(atoms),
        lambda: snapshot.observables([30.0]),
        lambda: snapshot_at(snapshot, 30.0),
        lambda: fermisea.engines.LdosOptions(highest_electron_temperature=30.0),
    )
    for route in routes:
        with pytest.warns(UserWarning, match=words) as issued:
            route()
        assert len([item for item in issued if "unit of tau_e" in str(item.message)]) == 1
    write_structure(tmp_path / "al.extxyz", atoms)
    command = ["predict", "aluminium", str(tmp_path / "al.extxyz"), "--grid", *map(str, FINE), "--json"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main([*command, "--electron-temperature", "30"]) == 0
    shown = capsys.readouterr()
    assert words in json.loads(shown.out)["warnings"]
    assert shown.err.splitlines().count(f"fermisea: warning: {words}") == 1
    with pytest.raises(InputError, match=r"got 2 K, expected at least 5 K; .* \(if the value is in eV, give 23209 K\)"):
        aluminium.predict(atoms, 2.0)


def test_dft_questions_a_tau_e_that_may_be_in_electronvolt(tmp_path):
    atoms = close_pair()
    atoms.positions[1] = atoms.positions[0]  # refused afterwards
    engine = fermisea.engines.PlaneWave()
    with pytest.warns(UserWarning, match="unit of tau_e: got 3 K"), pytest.raises(InputError, match="0 Å apart"):
        engine.run(atoms, 3.0)
    with pytest.warns(UserWarning, match="unit of tau_e: got 3 K"):
        fermisea.run_campaign(engine, {}, 3.0, tmp_path)
