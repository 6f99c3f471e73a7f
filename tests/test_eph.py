"""Files of LAMMPS's fix eph, read by the rules of its source: numbers separated by white space after three comments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fermisea.errors import InputError
from fermisea.interop.eph import write_grid, write_table

TEMPERATURES = np.linspace(300.0, 20_000.0, 70)


def words_of(path: Path) -> list[str]:
    """Words after the three comment lines, each of which begins with #."""
    lines = path.read_text().splitlines()
    assert all(line.startswith("#") for line in lines[:3])
    return " ".join(lines[3:]).split()


def read_grid(path: Path) -> tuple[list[int], list[float], str, dict[int, list[float]]]:
    """Numbers of cells and steps, bounds, name of the table, and the cells by their index in memory."""
    words = iter(words_of(path))
    counts = [int(next(words)) for _ in range(4)]
    bounds, table = [float(next(words)) for _ in range(6)], next(words)
    cells = {}
    nx, ny, nz, _ = counts
    for _ in range(nx * ny * nz):
        i, j, k = (int(next(words)) for _ in range(3))
        cells[i + j * nx + k * nx * ny] = [float(next(words)) for _ in range(7)]
    assert next(words, None) is None
    return counts, bounds, table, cells


def test_grid(tmp_path):
    path = tmp_path / "al.fdm"
    options = {"electron_temperature": 5000.0, "heat_capacity": 3e-6, "lengths": (8.1, 4.05, 4.06)}
    write_grid(path, **options, shape=(2, 1, 3), conductivity=0.1)
    counts, bounds, table, cells = read_grid(path)
    assert counts == [2, 1, 3, 1]
    assert bounds == [0, 8.1, 0, 4.05, 0, 4.06]
    assert table == "NULL"
    assert sorted(cells) == list(range(6))  # the fix writes each cell to this place of an array
    assert all(values == [5000.0, 0, 1, 3e-6, 0.1, 1, 0] for values in cells.values())
    write_grid(path, **options, table="al.dat")
    _, _, table, cells = read_grid(path)
    assert table == "al.dat"
    assert cells[0][5:] == [1, 1]  # evolves in time, with the parameters of the table


def test_table(tmp_path):
    path = tmp_path / "al.dat"
    write_table(path, TEMPERATURES, 6e-10 * TEMPERATURES, 1e-6 * TEMPERATURES**2, step=50.0)
    words = words_of(path)
    count, step = int(words[0]), float(words[1])
    assert (count, step) == (401, 50.0)
    assert len(words) == 2 + 2 * count
    values = np.array(words[2:], dtype=float).reshape(count, 2)
    places = step * np.arange(count)
    np.testing.assert_allclose(values[1:, 0], 6e-10 * places[1:], rtol=1e-9)  # below 300 K too
    assert 0 < values[0, 0] < values[1, 0]  # the fix divides by C_e
    np.testing.assert_allclose(values[7:, 1], np.interp(places[7:], TEMPERATURES, 1e-6 * TEMPERATURES**2), rtol=1e-9)
    write_table(path, TEMPERATURES, 6e-10 * TEMPERATURES, step=1000.0)
    assert words_of(path)[3::2] == [f"{0:.9e}"] * 21


def test_bad_input_is_named(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(InputError, match="step of tau_e: got 5001 K, expected a number above 0 and up to 5000 K"):
        write_table(path, TEMPERATURES, TEMPERATURES, step=5001.0)
    with pytest.raises(InputError, match="positive numbers"):
        write_grid(path, electron_temperature=300.0, heat_capacity=1e-7, lengths=(1.0, 0.0, 1.0))
    with pytest.raises(InputError, match="got the name 'my table', expected a name without spaces"):
        write_grid(path, electron_temperature=300.0, heat_capacity=1e-7, lengths=(1.0, 1.0, 1.0), table="my table")
    assert not path.exists()
