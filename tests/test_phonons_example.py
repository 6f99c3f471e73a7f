"""The example of phonons: frozen modes, acoustic modes, elastic constants under pressure, refused options."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

import fermisea
from fermisea.studies.aluminium.probes import probes
from fermisea.studies.aluminium.properties import Result
from fermisea.studies.aluminium.properties import phonons as study_phonons

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def example():
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import phonons  # noqa: PLC0415  # a script beside the package
    finally:
        sys.path.remove(str(ROOT / "examples"))
    return phonons


@pytest.fixture(scope="module")
def emt(example):
    return example.phonons_of(bulk("Al", a=4.0), EMT(), 6)


def frozen(example, cells: tuple[int, int, int], polarisation: list[float]) -> float:
    """Returns the frequency of a mode, THz, from the energy of a crystal in which the mode is frozen in.

    The phase of the mode changes by pi from cell to cell along the lattice vectors with a 1 in ``cells``.
    """
    atoms = bulk("Al", a=4.0).repeat(2)
    signs = np.array([(-1) ** int(np.dot(place, cells)) for place in product(range(2), repeat=3)])
    amplitude, energies = 0.01, []
    for size in (-amplitude, 0.0, amplitude):
        moved = atoms.copy()
        moved.positions += size * signs[:, None] * np.array(polarisation) / np.linalg.norm(polarisation)
        moved.calc = EMT()
        energies.append(moved.get_potential_energy())
    curvature = (energies[0] + energies[2] - 2 * energies[1]) / amplitude**2
    omega_squared = curvature / (len(atoms) * atoms.get_masses()[0])  # of ASE's unit of time
    return example.TERAHERTZ * np.sqrt(omega_squared) * example_hbar()


def example_hbar() -> float:
    """Returns hbar in eV and ASE's unit of time."""
    from ase import units  # noqa: PLC0415

    return units._hbar * units.J * units.s


@pytest.mark.parametrize(
    ("name", "cells", "polarisation"),
    [
        ("X longitudinal", (1, 0, 1), [0, 1, 0]),
        ("X transverse", (1, 0, 1), [1, 0, 0]),
        ("L longitudinal", (1, 1, 1), [1, 1, 1]),
        ("L transverse", (1, 1, 1), [1, -1, 0]),
    ],
)
def test_frequencies_at_x_and_l_are_those_of_frozen_modes(example, emt, name, cells, polarisation):
    assert example.at_points(emt)[name] == pytest.approx(frozen(example, cells, polarisation), rel=1e-3)


def test_acoustic_modes_vanish_at_gamma_and_nowhere_else(example, emt):
    line = example.path_of(emt.atoms)
    found = example.frequencies(emt, line.path.kpts)
    np.testing.assert_allclose(found[0], 0, atol=1e-5)
    assert found[1:40].min() > 0.01
    corners = {
        name: found[np.argmin(np.abs(line.distance - tick))] for name, tick in zip("GXKgL", line.ticks, strict=True)
    }
    np.testing.assert_allclose(corners["g"], 0, atol=1e-5)
    known = example.at_points(emt)
    for point in "XL":
        expected = sorted([known[f"{point} longitudinal"], *[known[f"{point} transverse"]] * 2])
        np.testing.assert_allclose(corners[point], expected, rtol=1e-9)


def test_the_two_ends_of_the_path_at_x_are_equivalent(example, emt):
    line = example.path_of(emt.atoms)
    here = np.flatnonzero(np.abs(line.distance - line.ticks[1]) < 1e-12)
    assert len(here) == 2
    first, second = example.frequencies(emt, line.path.kpts[here])
    np.testing.assert_allclose(first, second, rtol=1e-9)
    cartesian = line.path.kpts @ (2 * np.pi * emt.atoms.cell.reciprocal().array)
    through_k = cartesian[here[1] : np.argmin(np.abs(line.distance - line.ticks[3]))]
    np.testing.assert_allclose(through_k, through_k[:, :1] * [1, 1, 0], atol=1e-12)
    steps = np.linalg.norm(np.diff(cartesian, axis=0), axis=1)
    np.testing.assert_allclose(np.delete(steps, here[0]), np.delete(np.diff(line.distance), here[0]), atol=1e-12)


def test_density_of_states_has_three_modes(example, emt):
    places, density, mean, unstable = example.density_of_states(emt, 12.0)
    step = places[1] - places[0]
    assert density.sum() * step == pytest.approx(3, rel=1e-3)
    assert (density * places).sum() * step / 3 == pytest.approx(mean, rel=2e-3)
    assert unstable == 0


@pytest.mark.parametrize("lattice_constant", [4.05, 4.1])
def test_stress_and_second_derivatives_of_f_give_the_same_constants(example, lattice_constant):
    """The pressure is far from 0, so that the terms with P count."""
    found = example.elasticity(EMT(), lattice_constant)
    assert found["P"] < -1.5
    for name in example.CONSTANTS:
        assert found[name] == pytest.approx(found[f"{name} from F"], rel=5e-4)


def test_frequencies_of_the_shipped_model_are_those_of_the_study(example):
    model, tau_e = fermisea.load_model("aluminium"), 15_000.0
    calculator = fermisea.Calculator(model, tau_e, potential=True)
    (probe,) = probes(4.05, (1, 1, 1), ["phonons"])
    atoms = probe.atoms.copy()
    atoms.calc = calculator
    result = Result(atoms.get_potential_energy(), atoms.get_forces(), np.zeros((3, 3)))
    expected = study_phonons({(probe.name, tau_e): result}, probe, tau_e, 4.05)
    found = example.at_points(example.phonons_of(bulk("Al", a=4.05), calculator, 2))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_verdict_follows_from_the_numbers(example):
    cold = {"electron_temperature": 300.0, **dict.fromkeys(("mean", *example.MODES), 6.0)}
    hot = {"electron_temperature": 9000.0, **dict.fromkeys(("mean", *example.MODES), 6.6)}
    sentence = example.verdict([cold, hot])
    assert sentence.startswith("Bonds harden from tau_e = 300 to 9000 K")
    assert "mean phonon frequency changes by +10.0 %" in sentence
    back = {**cold, "electron_temperature": 300.0}, {**hot, "electron_temperature": 9000.0}
    softer = [{**back[1], "electron_temperature": 300.0}, {**back[0], "electron_temperature": 9000.0}]
    assert example.verdict(softer).startswith("Bonds soften")
    assert example.verdict([cold, hot | {"L transverse": 5.9}]).startswith("Bonds neither harden nor soften")
    dft = {(name, t): value for name in example.MODES for t, value in ((300.0, 5.0), (9000.0, 4.9))}
    assert "DFT: X longitudinal -2.0 %" in example.verdict([cold, hot], dft)
    assert "DFT" not in example.verdict([cold, hot], {("X longitudinal", 300.0): 5.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeat", "5"], "--repeat: got 5, expected an even number"),
        (["--electron-temperature", "-1"], "--electron-temperature: got -1"),
        (["--electron-temperature", "nan"], "--electron-temperature: got nan"),
        (["--electron-temperature", "1e6"], "the potential is fitted up to"),
        (["--lattice-constant", "0"], "--lattice-constant: got 0"),
        (["--lattice-constant", "4", "--reference", "x"], "--reference: got a lattice constant of 4 Angstrom"),
        (["--reference", "absent"], "--reference: cannot read"),
    ],
)
def test_bad_options_are_refused(example, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        example.main(["aluminium", str(tmp_path / "out"), *options])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files(example, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--electron-temperature", "15000", "300", "--repeat", "2", "--reference", str(ROOT / "docs" / "aluminium")]
    example.main(["aluminium", str(out), *words])
    summary = json.loads((out / "summary.json").read_text())
    assert [row["electron_temperature"] for row in summary["rows"]] == [300.0, 15_000.0]
    assert capsys.readouterr().out.strip().endswith(summary["verdict"])
    assert summary["largest_difference_of_stress_and_curvature_GPa"] < 0.1
    heads = {path.stem: path.read_text().splitlines()[0] for path in out.glob("*.csv")}
    assert sorted(heads) == ["bands", "dos", "elastic", "phonons"]
    assert "X transverse (THz)" in heads["phonons"]
    assert '"C44, DFT (GPa)"' in heads["elastic"]
    assert all((out / f"phonons.{suffix}").stat().st_size > 10_000 for suffix in ("png", "svg"))
