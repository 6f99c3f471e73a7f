"""Tables for phonopy-qha: layout, the program itself where it is installed, F of several volumes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk

from fermisea.analysis.volumes import free_energy_of_volumes
from fermisea.cli import main
from fermisea.errors import InputError
from fermisea.interop.phonopy import write_free_energies
from synthetic import structure
from test_prediction import random_model

TEMPERATURES = np.arange(0.0, 501.0, 10.0)
VOLUMES = np.linspace(60.0, 72.0, 7)
GAMMA = 1e-7 * (VOLUMES / 66) ** (2 / 3)
"""Sommerfeld constant, eV/K^2: free electrons at each volume."""
ENERGIES = -200 + 0.015 * (VOLUMES - 66) ** 2
FREE_ENERGIES = ENERGIES - GAMMA * TEMPERATURES[:, None] ** 2 / 2


def test_layout(tmp_path):
    write_free_energies(tmp_path, TEMPERATURES, VOLUMES, FREE_ENERGIES)
    lines = (tmp_path / "fe-v.dat").read_text().splitlines()
    assert lines[0].split()[:2] == ["#", "volume:"]
    assert [float(word) for word in lines[0].split()[2:]] == pytest.approx(VOLUMES)
    table = np.loadtxt(tmp_path / "fe-v.dat")
    np.testing.assert_allclose(table[:, 0], TEMPERATURES)
    np.testing.assert_allclose(table[:, 1:], FREE_ENERGIES, atol=1e-8)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "e-v.dat"), np.stack([VOLUMES, ENERGIES], axis=1), atol=1e-8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer versions prefer another interface
def test_phonopy_reads_the_tables_and_finds_the_pressure_of_the_electrons(tmp_path):
    phonopy = pytest.importorskip("phonopy")
    from phonopy.file_IO import read_efe, read_v_e  # noqa: PLC0415

    write_free_energies(tmp_path, TEMPERATURES, VOLUMES, FREE_ENERGIES)
    temperatures, energies = read_efe(tmp_path / "fe-v.dat")
    np.testing.assert_allclose(temperatures, TEMPERATURES)
    np.testing.assert_allclose(energies, FREE_ENERGIES, atol=1e-8)
    volumes, _ = read_v_e(tmp_path / "e-v.dat")
    none = np.zeros_like(energies)  # no phonons: the volume follows from the electrons alone
    qha = phonopy.PhonopyQHA(
        volumes=volumes,
        electronic_energies=energies,
        temperatures=temperatures,
        free_energy=none,
        cv=none,
        entropy=none,
        t_max=400,
        eos="birch_murnaghan",
    )
    found = np.asarray(qha.volume_temperature)
    # at the minimum of F: 0.03 (V - V0) = dgamma/dV T^2 / 2
    slope = 1e-7 * 2 / 3 / 66
    place = list(TEMPERATURES).index(400.0)
    assert found[0] == pytest.approx(66, abs=0.01)  # the equation of state is no parabola
    assert found[place] - found[0] == pytest.approx(slope * 400**2 / 2 / 0.03, rel=0.02)


def test_bad_input_is_named(tmp_path):
    with pytest.raises(InputError, match=r"got the shape \(51, 7\), expected \(51, 6\), temperatures by volumes"):
        write_free_energies(tmp_path, TEMPERATURES, VOLUMES[1:], FREE_ENERGIES)
    with pytest.raises(InputError, match="expected 0 K first"):
        write_free_energies(tmp_path, TEMPERATURES[1:], VOLUMES, FREE_ENERGIES[1:])
    model = random_model()
    for ratios in ([1.0], [1.0, 0.9], [-1.0, 1.0]):
        with pytest.raises(InputError, match="volume ratios: got"):
            free_energy_of_volumes(model, structure(3), ratios, TEMPERATURES)
    with pytest.raises(InputError, match="expected ascending temperatures from 0 K or above to 100 K or above"):
        free_energy_of_volumes(model, structure(3), [0.9, 1.0], [0.0, 50.0])


@pytest.mark.filterwarnings("always::fermisea.DomainWarning")
def test_warnings_at_other_volumes_are_in_the_json(tmp_path, capsys):
    """The structure itself lies in the domain of the shipped model, 0.7 times its volume does not."""
    bulk("Al", "fcc", a=4.05).write(tmp_path / "al.extxyz")
    words = ["thermo", "aluminium", str(tmp_path / "al.extxyz"), "--to", "1000", "--grid", "14", "14", "14", "--json"]
    words += ["--out", str(tmp_path / "out")]
    assert main(words) == 0
    alone = json.loads(capsys.readouterr().out)["warnings"]
    assert not any(text.startswith("volume") for text in alone)
    assert main([*words, "--phonopy-volumes", "0.7", "1", "--phonopy-to", "200", "--phonopy-step", "100"]) == 0
    shown = capsys.readouterr()
    assert any(text.startswith("volume: got 11.6") for text in json.loads(shown.out)["warnings"])
    assert "warning: volume: got 11.6" in shown.err
