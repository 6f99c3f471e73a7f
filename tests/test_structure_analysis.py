"""g(r) and S(q): exact limits, identities, and two other codes."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.geometry.rdf import get_rdf

from fermisea.analysis.structure import pair_distribution, structure_factor
from fermisea.cli import main
from fermisea.errors import InputError
from fermisea.plots import structure_figure

TRICLINIC = np.array([[9.0, 0.4, -0.7], [-2.0, 10.0, 0.9], [1.5, 2.5, 11.0]])


def gas(seed: int, atoms: int = 60, cell: object = TRICLINIC, symbols: str | None = None) -> Atoms:
    rng = np.random.default_rng(seed)
    return Atoms(symbols or f"Al{atoms}", scaled_positions=rng.random((atoms, 3)), cell=cell, pbc=True)


def liquid(size: int = 3, seed: int = 0) -> Atoms:
    """A crystal with displacements of a quarter of the nearest distance, with some atoms replaced."""
    atoms = bulk("Al", a=4.05, cubic=True).repeat(size)
    atoms.rattle(0.6, seed=seed)
    atoms.symbols[::3] = "Cu"
    return atoms


def test_crystal_has_its_shells():
    atoms = bulk("Al", a=4.05)
    found = pair_distribution(atoms, highest=7.0, spacing=0.02)
    shells = [(np.sqrt(n / 2) * 4.05, number) for n, number in ((1, 12), (2, 6), (3, 24), (4, 12), (5, 24))]
    within = np.cumsum([number for _, number in shells])
    for (distance, _), total in zip(shells, within, strict=True):
        assert found.neighbours[int(distance / 0.02)] == total
        assert found.neighbours[int(distance / 0.02) - 1] < total
    assert found.coordination_number == 12
    assert found.first_peak.position == pytest.approx(4.05 / np.sqrt(2), abs=0.01)
    assert found.first_minimum == pytest.approx((4.05 / np.sqrt(2) + 4.05) / 2, abs=0.03)
    assert found.half_width == pytest.approx(4.05 / np.sqrt(3) / 2)


def test_distribution_does_not_depend_on_the_cell_that_describes_the_crystal():
    small = bulk("Al", a=4.0507)  # no shell at an edge of a bin
    large = make_supercell(small, [[2, 1, 0], [-1, 3, 1], [0, 0, 2]])
    first, second = (pair_distribution(atoms, highest=9.013, spacing=0.05) for atoms in (small, large))
    np.testing.assert_allclose(first.g, second.g, atol=1e-12)


def test_gas_has_g_of_one_at_all_distances():
    frames = [gas(seed) for seed in range(4)]
    found = pair_distribution(frames, highest=14.0, spacing=1.0)
    assert found.half_width < 5
    pairs = 4 * 60 * 59 / 2 * (4 / 3 * np.pi * np.diff(np.arange(15.0) ** 3)) / np.linalg.det(TRICLINIC)
    expected = np.where(found.distance < 8.0, 59 / 60, 1.0)  # an atom is not its own neighbour, its images are
    near = found.distance < 8.0  # further pairs are images of nearer ones
    assert np.abs((found.g - expected) * np.sqrt(pairs))[near].max() < 4
    assert abs(found.g[-3:].mean() - 1) < 0.01


def test_distribution_equals_that_of_ase_in_a_wide_cell():
    atoms = liquid(4)
    found = pair_distribution(atoms, highest=8.0, spacing=0.1)
    values, distances = get_rdf(atoms, 8.0, 80)
    np.testing.assert_allclose(found.distance, distances)
    np.testing.assert_allclose(found.g, values, rtol=1e-12)
    for pair in ("Al-Al", "Al-Cu", "Cu-Cu"):
        values, _ = get_rdf(atoms, 8.0, 80, elements=pair.split("-"))
        np.testing.assert_allclose(found.partial[pair], values, rtol=1e-12)


def test_each_frame_has_its_own_density():
    atoms = liquid(2)
    wide = atoms.copy()
    wide.set_cell(1.1 * atoms.cell, scale_atoms=True)
    both = pair_distribution([atoms, wide], highest=8.0, spacing=0.1)
    each = [pair_distribution(frame, highest=8.0, spacing=0.1) for frame in (atoms, wide)]
    np.testing.assert_allclose(both.g, (each[0].g + each[1].g) / 2, rtol=1e-12)
    np.testing.assert_allclose(both.neighbours, (each[0].neighbours + each[1].neighbours) / 2, rtol=1e-12)
    scaled = pair_distribution(wide, highest=8.8, spacing=0.11)
    np.testing.assert_allclose(scaled.g, each[0].g, rtol=1e-10)


def test_partial_functions_sum_up_and_order_of_atoms_is_irrelevant():
    atoms = liquid()
    mixed = atoms[np.random.default_rng(3).permutation(len(atoms))]
    fraction = {kind: np.mean(atoms.symbols == kind) for kind in ("Al", "Cu")}
    weights = {"Al-Al": fraction["Al"] ** 2, "Cu-Cu": fraction["Cu"] ** 2, "Al-Cu": 2 * fraction["Al"] * fraction["Cu"]}
    pairs, waves = pair_distribution([atoms, mixed]), structure_factor([atoms, mixed], highest=5.0)
    np.testing.assert_allclose(sum(w * pairs.partial[p] for p, w in weights.items()), pairs.g, atol=1e-12)
    roots = {p: np.sqrt(w) if p[:2] == p[3:] else np.sqrt(2 * w) for p, w in weights.items()}
    np.testing.assert_allclose(sum(w * waves.partial[p] for p, w in roots.items()), waves.s, atol=1e-12)
    one = atoms.copy()
    one.symbols[:] = "Al"
    np.testing.assert_allclose(structure_factor(one, highest=5.0).s, waves.s, atol=1e-10)
    np.testing.assert_allclose(pair_distribution(one).g, pairs.g, atol=1e-10)


def test_crystal_scatters_at_its_reciprocal_lattice_only():
    atoms = bulk("Al", a=4.05, cubic=True).repeat(3)
    found = structure_factor(atoms, highest=5.0, spacing=0.001)
    squares = np.round((found.wavevector * 4.05 / (2 * np.pi)) ** 2, 6)
    bragg = np.isin(squares, [3.0, 4.0, 8.0])
    np.testing.assert_allclose(found.s[~bragg], 0, atol=1e-9)
    for square, reflections in ((3.0, 8), (4.0, 6), (8.0, 12)):  # (111), (200), (220)
        (index,) = np.flatnonzero(squares == square)
        members = 2 * found.vectors[index]  # others, such as (511)/3, have the same length and do not reflect
        assert found.s[index] == pytest.approx(len(atoms) * reflections / members, rel=1e-9)


def test_ideal_gas_scatters_one():
    frames = [gas(seed) for seed in range(40)]
    found = structure_factor(frames, highest=4.0, spacing=0.5)
    volume = np.linalg.det(TRICLINIC)
    assert 2 * found.vectors.sum() / 40 == pytest.approx(4 / 3 * np.pi * 4**3 * volume / (2 * np.pi) ** 3, rel=0.05)
    deviation = (found.s - 1) * np.sqrt(found.vectors)  # |sum|^2 / N is exponentially distributed
    assert np.abs(deviation).max() < 4


def test_structure_factor_equals_the_sum_over_pairs():
    """S(q) = 1 + (1/N) sum over pairs cos(q.r), and Debye's formula once directions are averaged."""
    atoms = liquid(2)
    found = structure_factor(atoms, highest=2.5, spacing=1e-6)
    reciprocal = 2 * np.pi * atoms.cell.reciprocal().array
    h = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3) @ reciprocal
    difference = atoms.positions[:, None] - atoms.positions
    direct = np.cos(np.einsum("qx,ijx->qij", h, difference)).sum(axis=(1, 2)) / len(atoms)
    for q, value in zip(found.wavevector, found.s, strict=True):
        same = np.abs(np.linalg.norm(h, axis=1) - q) < 1e-6
        assert value == pytest.approx(direct[same].mean(), abs=1e-9)


def spheres(seed: int, count: int = 150, width: float = 17.0, diameter: float = 2.6) -> Atoms:
    """Spheres added at random places where they do not overlap: disordered, with a strong first peak."""
    rng, places = np.random.default_rng(seed), np.empty((0, 3))
    while len(places) < count:
        place = rng.random(3) * width
        apart = places - place
        if not len(places) or np.linalg.norm(apart - width * np.round(apart / width), axis=1).min() > diameter:
            places = np.vstack([places, place])
    return Atoms(f"Al{count}", positions=places, cell=np.eye(3) * width, pbc=True)


def test_structure_factor_is_the_transform_of_the_pair_distribution():
    frames = [spheres(seed) for seed in range(5)]
    found = structure_factor(frames, highest=6.0, spacing=0.1)
    pairs = pair_distribution(frames, spacing=0.02)
    assert pairs.half_width == 8.5
    r, q, density = pairs.distance, found.wavevector[:, None], 150 / 17.0**3
    transform = 1 + 4 * np.pi * density * 0.02 * (r**2 * (pairs.g - 1) * np.sinc(q * r / np.pi)).sum(1)
    well = found.vectors > 50  # enough vectors for a mean over directions, whose values are exponentially distributed
    noise = found.s / np.sqrt(found.vectors)
    assert well.sum() > 40
    assert found.s[well].min() < 0.6
    assert found.s[well].max() > 1.2
    assert np.abs((transform - found.s) / noise)[well].max() < 3


FREUD = {
    0.61002: 0.14963,
    0.69046: 0.99242,
    0.79534: 0.61587,
    0.92133: 0.15323,
    1.00234: 1.28547,
    1.05323: 0.13845,
    1.21714: 2.41335,
    1.40186: 4.26307,
    1.61177: 0.02873,
    1.84267: 6.20443,
    2.00699: 2.91373,
    2.43427: 1.04312,
    2.48391: 2.77745,
}
"""q (1/Angstrom) and S(q) of the structure below by freud 3.4.0, freud.diffraction.StaticStructureFactorDirect with
2500 bins up to 2.5 1/Angstrom, without sampling of q, in single precision. freud uses the vectors of one octant, so the
structure has three mirror planes."""


def test_structure_factor_equals_that_of_freud():
    lengths = np.array([7.9, 9.1, 10.3])
    corner = np.arange(1, 7)[:, None] * np.sqrt([2, 3, 5]) % 1 / 2
    signs = np.stack(np.meshgrid([1, -1], [1, -1], [1, -1]), -1).reshape(-1, 1, 3)
    atoms = Atoms("Al48", scaled_positions=(signs * corner).reshape(-1, 3), cell=lengths, pbc=True)
    found = structure_factor(atoms, highest=2.5, spacing=0.001)
    for q, value in FREUD.items():
        index = np.abs(found.wavevector - q).argmin()
        assert found.wavevector[index] == pytest.approx(q, abs=1e-5)
        assert found.s[index] == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pair_distribution([]), "no frames"),
        (lambda: pair_distribution([liquid(2), liquid(3)]), "expected Al21Cu11"),
        (lambda: pair_distribution(bulk("Al", a=4.05), highest=0.4), "request a larger distance, in Angstrom"),
        (lambda: pair_distribution(bulk("Al", a=4.05), highest=float("nan")), "positive numbers in Angstrom"),
        (lambda: pair_distribution(bulk("Al", a=4.05), highest=1e5), "request a smaller distance"),
        (lambda: pair_distribution(Atoms("Al", pbc=True)), "cell"),
        (lambda: structure_factor(bulk("Al", a=4.05), highest=0.5), "request a larger wavevector"),
        (lambda: structure_factor(bulk("Al", a=4.05), highest=1e4), "request a smaller wavevector"),
        (lambda: structure_factor(bulk("Al", a=4.05), spacing=0.0), "positive numbers in 1/Angstrom"),
    ],
)
def test_wrong_requests_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_command_writes_tables_and_figure(tmp_path, capsys):
    frames = [liquid(2, seed) for seed in range(4)]
    frames[2].set_cell(1.02 * frames[2].cell, scale_atoms=True)  # constant pressure
    ase.io.write(tmp_path / "md.traj", frames)
    words = ["structure", str(tmp_path / "md.traj"), "--skip", "1", "--every", "2", "--wavevector", "6"]
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    pairs = pair_distribution([frames[1], frames[3]])
    assert document["frames"] == 2
    assert document["coordination_number"] == pytest.approx(pairs.coordination_number)
    table = pd.read_csv(tmp_path / "out" / "pair_distribution.csv")
    np.testing.assert_allclose(table["g"], pairs.g)
    np.testing.assert_allclose(table["g Al-Cu"], pairs.partial["Al-Cu"])
    assert pd.read_csv(tmp_path / "out" / "structure_factor.csv")["wavevector (1/A)"].max() <= 6
    assert all(Path(file).exists() for file in document["files"])
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "coordination number" in capsys.readouterr().out


def test_command_refuses_wrong_input_in_one_line(tmp_path, capsys):
    ase.io.write(tmp_path / "one.traj", liquid(1))
    for words, message in (
        (["--skip", "1"], "request fewer frames to skip"),
        (["--every", "0"], "expected at least 0 and at least 1"),
        (["--distance", "0.3"], "in Angstrom"),
    ):
        assert main(["structure", str(tmp_path / "one.traj"), "--out", str(tmp_path / "out"), *words]) == 2
        error = capsys.readouterr().err
        assert message in " ".join(error.split())
        assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_figure_holds_both_functions():
    atoms = liquid(2)
    pairs, waves = pair_distribution(atoms, highest=9.0), structure_factor(atoms, highest=6.0)
    figure = structure_figure(
        (pairs.distance, {"all": pairs.g, "Al-Cu": pairs.partial["Al-Cu"]}),
        (waves.wavevector, {"all": waves.s}),
        half_width=pairs.half_width,
    )
    top, bottom = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in top.get_lines()}
    np.testing.assert_array_equal(drawn["Al-Cu"], pairs.partial["Al-Cu"])
    assert any(line.get_xdata()[0] == pytest.approx(pairs.half_width) for line in top.get_lines())
    assert any(len(line.get_ydata()) == len(waves.s) for line in bottom.get_lines())
    with pytest.raises(InputError, match="no functions"):
        structure_figure((pairs.distance, {}), (waves.wavevector, {}))
