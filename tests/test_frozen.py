"""Frozen cores: shells against ground states of atoms and tabulated edges, and the warnings by every route."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers

import fermisea
from fermisea import Calculator, DomainWarning, InputError, Snapshot, load_model
from fermisea.cli import main
from fermisea.data.structures import write_structure
from fermisea.engines import Espresso, LdosOptions, PlaneWave
from fermisea.errors import EngineError
from fermisea.model.model import Model
from fermisea.physics.ions import Ion
from fermisea.pseudopotentials import frozen_shell, load_gth, load_upf
from fermisea.pseudopotentials.frozen import core_shells, ionised_cores
from fermisea.units import BOLTZMANN
from synthetic import made_up_snapshot
from test_prediction import random_model

TABLE = json.loads(resources.files("fermisea.pseudopotentials").joinpath("gth.json").read_text(encoding="utf-8"))
ENTRIES = {entry["name"]: entry for entries in TABLE["potentials"].values() for entry in entries}
POTENTIALS = Path(__file__).parent / "data" / "pseudopotentials"
CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}
FILLING = "1s 2s 2p 3s 3p 4s 3d 4p 5s 4d 5p 6s 4f 5d 6p 7s 5f"
"""Order of Madelung, in which the shells of neutral atoms are filled."""

# X-ray Data Booklet (Lawrence Berkeley National Laboratory, 2009), table 1-1; eV
EDGES = {
    "Li-q1": ("1s", 54.7),
    "Be-q2": ("1s", 111.5),
    "C-q4": ("1s", 284.2),
    "O-q6": ("1s", 543.1),
    "Na-q1": ("2p", 30.65),
    "Na-q9": ("1s", 1070.8),
    "Mg-q2": ("2p", 49.50),
    "Mg-q10": ("1s", 1303.0),
    "Al-q3": ("2p", 72.55),
    "Si-q4": ("2p", 99.42),
    "Ar-q8": ("2p", 248.4),
    "Ti-q4": ("3p", 32.6),
    "Fe-q8": ("3p", 52.7),
    "Fe-q16": ("2p", 706.8),
    "Cu-q11": ("3p", 75.1),
    "Zn-q12": ("3p", 88.6),
    "Zn-q2": ("3d", 10.1),
    "Ga-q13": ("3p", 100.0),
    "Ga-q3": ("3d", 18.7),
    "Cs-q9": ("4d", 77.5),
    "Ba-q2": ("5p", 14.8),
    "Ce-q12": ("4d", 109.0),
    "Hf-q12": ("4f", 14.2),
    "W-q6": ("4f", 31.4),
    "Au-q11": ("5p", 57.2),
    "Au-q19": ("4f", 84.0),
    "Pb-q4": ("5d", 18.1),
}


def ground_state(number: int) -> Counter:
    """Number of electrons of each angular momentum, by the rule of Madelung."""
    found: Counter = Counter()
    for shell in FILLING.split():
        found[shell[1]] += min(CAPACITY[shell[1]], number - found.total())
    return found


@pytest.mark.parametrize("name", ENTRIES)
def test_cores_and_valence_electrons_make_the_ground_state_of_the_atom(name):
    """The rule is wrong for one or two electrons of d and f atoms, such as Cr, Cu, Pd, La, Ce, Gd, Pt and U."""
    symbol, _, valence = name.partition("-q")
    number = atomic_numbers[symbol]
    shells = core_shells(number, float(valence))
    core = Counter({momentum: sum(CAPACITY[s[1]] for s in shells if s[1] == momentum) for momentum in "spdf"})
    assert core.total() == number - int(valence)  # all shipped cores are closed shells
    found = core + Counter(dict(zip("spdf", ENTRIES[name]["configuration"], strict=False)))
    expected = ground_state(number)
    assert found.total() == number
    assert found["p"] == expected["p"]
    for momentum, tolerance in (("s", 2), ("d", 2), ("f", 1)):
        assert abs(found[momentum] - expected[momentum]) <= tolerance
    assert (frozen_shell(symbol, float(valence)) is None) == (number == int(valence))


@pytest.mark.parametrize("name", EDGES)
def test_binding_energies_are_those_of_the_x_ray_data_booklet(name):
    functional = "pbe" if any(entry["name"] == name for entry in TABLE["potentials"]["pbe"]) else "lda"
    shell = load_gth(name, functional).frozen_shell
    assert (shell.symbol, shell.name) == (name.partition("-")[0], EDGES[name][0])
    assert shell.ionisation_energy == pytest.approx(EDGES[name][1], rel=0.01)
    assert shell.highest_electron_temperature * BOLTZMANN == pytest.approx(shell.ionisation_energy / 5)


@pytest.mark.parametrize(
    ("symbol", "valence", "last"),
    [
        ("Na", 7, "2s"),
        ("Fe", 14, "3s"),
        ("Ge", 14, "3p"),
        ("Ta", 11, "5s"),  # 5p6 5d3 6s2
        ("Nd", 11, "4f"),  # trivalent, three 4f electrons frozen
        ("Tb", 11, "4f"),  # eight of them, as many electrons as xenon
        ("Gd", 10, "5p"),  # 4f7 5d1 6s2
        ("Ba", 8, "5s"),
        ("Al", 2.5, "3s"),  # a mixture of elements freezes half an electron
    ],
)
def test_cores_of_pseudopotential_files(symbol, valence, last):
    assert core_shells(atomic_numbers[symbol], valence)[-1] == last


def test_all_electrons_and_unknown_elements_have_no_frozen_shell():
    for symbol, valence in (("H", 1), ("He", 2), ("Li", 3), ("Be", 4), ("Al", 13), ("Be", 4 - 1e-9), ("X", 1)):
        assert frozen_shell(symbol, valence) is None


def test_a_file_has_the_frozen_shell_of_its_element_and_valence():
    assert load_upf(POTENTIALS / "PD_Al_std.upf").frozen_shell == load_gth("Al-q3", "pbe").frozen_shell


def test_a_sentence_names_shell_element_energies_and_remedy():
    (sentence,) = ionised_cores({"Al": 3.0, "H": 1.0}, [1000.0, 200_000.0, math.nan])
    assert sentence == (
        "frozen core: k_B tau_e at 200000 K is 17.2 eV, above a fifth of the binding energy of the frozen 2p shell of "
        "Al (72.5 eV); the ionisation of this shell, which begins at about 168000 K, is missing; use a pseudopotential "
        "with more valence electrons"
    )
    limit = frozen_shell("Al", 3.0).highest_electron_temperature
    assert limit == pytest.approx(72.5 / 5 / 8.617333262e-5)
    assert ionised_cores({"Al": 3.0}, [0.9999 * limit]) == []
    assert len(ionised_cores({"Al": 3.0}, [1.0001 * limit])) == 1
    assert len(ionised_cores({"Al": 3.0, "C": 4.0, "Be": 4.0}, [1e300])) == 2
    assert ionised_cores({"Al": 3.0}, []) == ionised_cores({}, [1e9]) == ionised_cores({"Be": 4.0}, [math.inf]) == []


COPPER = PlaneWave(
    xc="lda",
    cutoff=60.0,
    kpts=(1, 1, 1),
    pseudopotentials={"Cu": "Cu-q1"},  # freezes 3d, 5 eV
    ldos=LdosOptions(spacing=0.5, broadening=0.5),
)
WORDS = r"frozen core: k_B tau_e at 15000 K is 1.29 eV, above a fifth of .* the frozen 3d shell of Cu \(5 eV\)"


def copper() -> Atoms:
    return bulk("Cu", "fcc", a=3.6)


def test_the_engine_and_its_snapshot_warn():
    with pytest.warns(UserWarning, match=WORDS) as issued:
        snapshot = COPPER.run(copper(), 15_000.0)
    assert sum("frozen core" in str(item.message) for item in issued) == 1
    assert snapshot.provenance["pseudopotentials"]["Cu"]["valence"] == 1
    snapshot.observables([1000.0, 11_000.0])  # a warning would be an error
    with pytest.warns(UserWarning, match=WORDS):
        snapshot.observables([1000.0, 15_000.0])
    with pytest.warns(UserWarning, match=WORDS):
        snapshot.free_energy(15_000.0)
    COPPER.solve(copper(), 11_000.0)


def test_a_snapshot_warns_of_the_elements_of_its_structure_only():
    snapshot = made_up_snapshot(1)
    names = ("atoms", "grid", "energy_grid", "ldos", "density", "electron_temperature", "ion_temperature", "broadening")
    values = {name: getattr(snapshot, name) for name in (*names, "reference", "functional", "provenance")}
    other = Snapshot(**values, ions=dict(snapshot.ions) | {"Cu": Ion("Cu", 1.0)})
    other.observables(20_000.0, allow_beyond_window=True)


def test_a_campaign_warns_before_its_first_run(tmp_path, capsys):
    with (
        pytest.warns(UserWarning, match=WORDS),
        pytest.raises(InputError, match="stop"),
    ):
        fermisea.run_campaign(COPPER, {"cu": copper()}, 15_000.0, tmp_path / "one", begin=stop)
    write_structure(tmp_path / "cu.extxyz", copper())
    command = ["dft", str(tmp_path / "cu.extxyz"), "--xc", "lda", "--cutoff", "60", "--kpts", "1", "1", "1"]
    command += ["--pseudopotentials", "Cu=Cu-q1", "--energy-spacing", "0.5", "--electron-temperature", "15000"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main([*command, "--out", str(tmp_path / "data"), "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)["settings"]
    (sentence,) = [text for text in found["warnings"] if text.startswith("frozen core: k_B tau_e at 15000 K")]
    assert found["pseudopotentials"]["Cu"]["valence"] == 1
    assert shown.err.splitlines().count(f"fermisea: warning: {sentence}") == 1


def stop() -> None:
    raise InputError("stop")


def test_quantum_espresso_warns_before_its_run():
    engine = Espresso({"Al": POTENTIALS / "PD_Al_std.upf"}, cutoff=270.0, kpts=(1, 1, 1), command="false")
    with pytest.warns(UserWarning, match="frozen core: .* frozen 2p shell of Al"), pytest.raises(EngineError):
        engine.run(bulk("Al", "fcc", a=4.05), 200_000.0)


@pytest.fixture(scope="module")
def hot() -> Model:
    """A model whose ions freeze 3s electrons, which begin to ionise at 9000 K."""
    model = random_model()
    return dataclasses.replace(model, ions={"Al": Ion("Al", 1.0)}, highest_electron_temperature=10_000.0)


def test_predictions_and_the_domain_warn(hot):
    atoms = bulk("Al", "fcc", a=4.05)
    limit = frozen_shell("Al", 1.0).highest_electron_temperature
    assert f"frozen 3s shell of Al, which begins to ionise at about {float(f'{limit:.3g}'):.0f} K" in repr(hot.domain)
    assert hot.domain.check(atoms, [1000.0, 0.99 * limit]) == []
    (sentence,) = hot.domain.check(atoms, [1000.0, 1.01 * limit])
    assert sentence.startswith("frozen core: ")
    assert "valence" not in hot.domain.to_dict()
    with pytest.warns(DomainWarning, match="frozen core") as issued:
        prediction = hot.predict(atoms, [1000.0, 1.01 * limit])
    assert [str(item.message) for item in issued] == [sentence] == list(prediction.warnings)
    with pytest.warns(DomainWarning, match="frozen core") as issued:
        found = fermisea.thermo(hot, atoms, 1.01 * limit, lowest=0.9 * limit, pressure=False, tolerance=0.5)
    assert [str(item.message) for item in issued] == list(found.prediction.warnings)
    calculator = Calculator(hot, 1.01 * limit)
    for scale in (1.0, 1.001):  # once in a trajectory
        moved = bulk("Al", "fcc", a=4.05 * scale)
        with pytest.warns(DomainWarning) if scale == 1.0 else warnings.catch_warnings():
            calculator.get_potential_energy(moved)
        assert [text.partition(":")[0] for text in calculator.warnings] == ["frozen core"]


def test_the_shipped_model_warns_where_2p_begins_to_ionise(tmp_path, capsys):
    model, atoms = load_model("aluminium"), bulk("Al", "fcc", a=4.05, cubic=True)
    assert model.domain.valence == {"Al": 3.0}
    found = model.domain.check(atoms, [1000.0, 200_000.0])
    assert [text.partition(":")[0] for text in found] == ["electron temperature", "frozen core"]
    write_structure(tmp_path / "al.extxyz", atoms)
    command = ["predict", "aluminium", str(tmp_path / "al.extxyz"), "--grid", "12", "12", "12", "--json"]
    command += ["--electron-temperature", "200000", "--allow-beyond-window"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(command) == 0
    shown = capsys.readouterr()
    assert found[1] in json.loads(shown.out)["warnings"]
    assert f"fermisea: warning: {found[1]}" in shown.err.splitlines()
