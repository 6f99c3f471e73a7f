"""The LDOS in blocks of bands within a memory, on the smallest grid that is exact: nothing of the result changes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.io import FortranFile

from espresso import FILES, SMALL, aluminium, finished_run
from fermisea.cli import main
from fermisea.data.snapshot import Snapshot
from fermisea.engines import Espresso, LdosOptions, PlaneWave, import_run
from fermisea.engines.basis import PlaneWaves
from fermisea.engines.espresso.fields import read_wavefunctions
from fermisea.engines.ldos_memory import Blocks, LdosSize, blocks_within, check_array, least_memory
from fermisea.engines.ldos_sum import KPointBands, local_density_of_states
from fermisea.engines.resampling import resample, transform_shape
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.utilities.threads import Workers

ENERGIES = EnergyGrid(-3.0, 0.25, 80)
GRID = RealSpaceGrid(((4.0, 0.3, 0.0), (0.0, 5.0, 0.1), (0.4, 0.0, 3.5)), (24, 30, 20))


def sphere(*, bands: int, seed: int = 3) -> tuple[PlaneWaves, torch.Tensor]:
    """Orthonormal random bands in plane waves up to a momentum, at a k-point that is not symmetric."""
    fraction = np.array([0.3, 0.1, 0.45])
    indices = np.stack(np.meshgrid(*[np.arange(-8, 9)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    indices = indices[np.linalg.norm((fraction + indices) @ GRID.reciprocal, axis=1) < 7.0]
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(indices), bands, dtype=torch.complex128, generator=generator)
    waves = PlaneWaves.of(fraction, indices, GRID.shape, torch.device("cpu"))
    return waves, torch.linalg.qr(rows).Q.T.contiguous()


def densities(waves: PlaneWaves, rows: torch.Tensor, transform: tuple[int, int, int], shape: tuple[int, int, int]):
    points = PlaneWaves(waves.fraction, waves.indices, waves.flat, waves.box, transform)
    return resample(points.to_grid(rows).abs() ** 2, shape)


@pytest.mark.parametrize("shape", [(12, 15, 10), (11, 12, 9), (20, 21, 18), (24, 15, 20), (3, 2, 1)])
def test_the_smaller_transform_is_exact_and_the_smallest(shape):
    waves, rows = sphere(bands=3)
    assert all(2 * width - 1 <= n for width, n in zip(waves.box, GRID.shape, strict=True))
    whole = densities(waves, rows, GRID.shape, shape)
    chosen = transform_shape(waves.box, shape, GRID.shape)
    assert math.prod(chosen) < GRID.size
    assert torch.allclose(densities(waves, rows, chosen, shape), whole, rtol=0, atol=1e-13 * float(whole.max()))
    for axis in range(3):
        if shape[axis] == GRID.shape[axis]:
            assert chosen[axis] == GRID.shape[axis]
            continue
        least = waves.box[axis] + (shape[axis] - 1) // 2
        exact, short = list(chosen), list(chosen)
        exact[axis], short[axis] = max(least, shape[axis] + 1), least - 1
        assert torch.allclose(densities(waves, rows, tuple(exact), shape), whole, atol=1e-13 * float(whole.max()))
        if short[axis] > shape[axis]:
            error = (densities(waves, rows, tuple(short), shape) - whole).abs().max()
            assert error > 1e-6 * whole.max()


def kpoint(bands: int = 37) -> KPointBands:
    waves, rows = sphere(bands=bands)
    values = np.sort(np.random.default_rng(1).uniform(0.0, 20.0, bands))
    return KPointBands(0.5, values, lambda first, stop: (waves, rows[first:stop]))


def summed(blocks: Blocks | None, threads: int = 1, shape: tuple[int, int, int] = (12, 15, 10)) -> np.ndarray:
    with Workers(threads) as pool:
        return local_density_of_states([kpoint(), kpoint(29)], GRID, ENERGIES, 0.3, shape, pool, blocks)


def test_the_sum_is_the_definition():
    exact = np.zeros((*GRID.shape, ENERGIES.size))
    for point in (kpoint(), kpoint(29)):
        waves, rows = point.read(0, len(point.eigenvalues))
        squares = waves.to_grid(rows).abs().numpy() ** 2
        distance = (ENERGIES.energies[None] - point.eigenvalues[:, None]) / 0.3
        peaks = np.exp(-(distance**2) / 2) / (0.3 * math.sqrt(2 * math.pi))
        exact += 2 * point.weight / GRID.volume * np.einsum("bxyz,be->xyze", squares, peaks)
    for shape in ((12, 15, 10), GRID.shape):
        expected = resample(torch.from_numpy(exact).movedim(-1, 0), shape).movedim(0, -1).numpy()
        np.testing.assert_allclose(summed(None, shape=shape), expected, rtol=0, atol=2e-6 * expected.max())


def test_blocks_precision_and_threads_change_rounding_only():
    whole = summed(None)
    for blocks in (Blocks(size=5), Blocks(size=1, double=False), Blocks(size=8, double=False)):
        found = summed(blocks)
        np.testing.assert_allclose(found, whole, rtol=0, atol=2e-6 * whole.max())
        np.testing.assert_array_equal(summed(blocks, threads=3), found)


def test_a_smaller_memory_gives_smaller_blocks_and_then_an_error():
    size = LdosSize(points=1800, energies=80, transform=5000, waves=1000)
    values = [np.linspace(0.0, 20.0, 400)]
    memories = [1e9, 1e7, 4e6, 2.5e6, 1.8e6]
    found = [blocks_within(memory, size, values, ENERGIES, 0.3) for memory in memories]
    assert [blocks.size for blocks in found] == sorted((blocks.size for blocks in found), reverse=True)
    assert found[0].size == 128
    assert found[-1].size < 16
    assert found[0].double
    assert not found[-1].double
    assert found[0].threads(8) == 8
    assert found[-1].threads(8) == 1
    for memory, blocks in zip(memories, found, strict=True):
        assert size.array(double=blocks.double) + blocks.needed(blocks.threads(8)) <= memory
    message = r"memory: got .* GiB, but an LDOS with 1800 grid points and 80 energies needs at least .* GiB; choose a "
    with pytest.raises(InputError, match=message + "coarser grid of the LDOS, a narrower energy window"):
        blocks_within(1e6, size, values, ENERGIES, 0.3)
    with pytest.raises(InputError, match=r"needs at least 0\.000536 GiB"):
        check_array(1800, 80, 1e5)
    least = least_memory(size, values, ENERGIES, 0.3)
    assert blocks_within(least, size, values, ENERGIES, 0.3).size == 1


def test_coarse_ldos_of_the_engine_is_the_resampled_one():
    cell = [[2.86, 0.1, 0], [1.4, 2.5, 0], [0, 0, 2.3]]
    atoms = Atoms("Al", positions=[[0.05, 0.02, 0.1]], cell=cell, pbc=True)
    options = {"cutoff": 100.0, "kpts": (1, 1, 2), "threads": 1}
    window = {"highest_electron_temperature": 3000.0, "spacing": 0.4}
    whole = PlaneWave(**options, ldos=LdosOptions(**window)).run(atoms, 3000.0)
    shape = tuple(n // 2 + 1 for n in whole.grid.shape)
    coarse = PlaneWave(**options, ldos=LdosOptions(**window, grid=shape)).run(atoms, 3000.0)
    expected = resample(torch.from_numpy(whole.ldos).movedim(-1, 0), shape).movedim(0, -1).numpy()
    np.testing.assert_allclose(coarse.ldos, expected, rtol=0, atol=2e-6 * whole.ldos.max())
    with pytest.raises(InputError, match=r"LDOS grid: got \(99, 9, 9\), expected at most the grid of the engine"):
        PlaneWave(**options, ldos=LdosOptions(**window, grid=(99, 9, 9))).run(atoms, 3000.0)


def wavefunctions(path, *, half: bool, bands: int = 7) -> np.ndarray:
    """A file as pw.x writes it, with its 16 plane waves."""
    rng = np.random.default_rng(5)
    miller = np.concatenate([[[0, 0, 0]], rng.integers(1, 9, (15, 3))])
    values = rng.normal(size=(bands, 32)).view(np.complex128)
    head = np.zeros(1, dtype=[("k", "<i4"), ("xk", "<f8", 3), ("spin", "<i4"), ("half", "<i4"), ("scale", "<f8")])
    head["half"], head["scale"] = half, 2.0
    with FortranFile(path, "w") as file:
        file.write_record(head)
        file.write_record(np.array([16, 16, 1, bands], dtype=np.int32))
        file.write_record(np.eye(3))
        file.write_record(miller.astype(np.int32))
        for row in values:
            file.write_record(row)
    return 2.0 * values


@pytest.mark.parametrize("half", [False, True])
def test_pieces_of_a_wavefunction_file(tmp_path, half):
    path = tmp_path / "wfc1.dat"
    values = wavefunctions(path, half=half)
    miller, rows, bands = read_wavefunctions(path, 100)
    assert bands == 7
    assert rows.shape == (7, len(miller)) == (7, 31 if half else 16)
    np.testing.assert_allclose(rows[:, :16], values, rtol=1e-6)
    if half:
        assert (miller[16:] == -miller[1:16]).all()
        assert torch.equal(rows[:, 16:], rows[:, 1:16].conj())
    for first, count in ((0, 3), (3, 2), (6, 5), (2, 0)):
        again, piece, number = read_wavefunctions(path, count, first)
        assert (again == miller).all()
        assert number == 7
        assert torch.equal(piece, rows[first : first + count])
    path.write_bytes(path.read_bytes()[:-100])
    assert torch.equal(read_wavefunctions(path, 6)[1], rows[:6])
    with pytest.raises(FileFormatError, match=r"wfc1\.dat: the wavefunctions cannot be read .* truncated"):
        read_wavefunctions(path, 1, 6)


@pytest.mark.espresso
def test_an_import_within_a_memory_is_the_same(tmp_path):
    run = finished_run(tmp_path / "run", aluminium(), bands=20)
    window = {"highest_electron_temperature": 3000.0}
    for grid in (None, (9, 9, 9)):
        options = LdosOptions(**window, grid=grid)
        whole = import_run(run, ldos=options, memory=math.inf)
        least = 1.3 * whole.ldos.nbytes + 2e6
        limited = import_run(run, ldos=options, memory=least, threads=2)
        np.testing.assert_allclose(limited.ldos, whole.ldos, rtol=0, atol=2e-6 * whole.ldos.max())
        assert limited.free_energy(1000.0) == pytest.approx(whole.free_energy(1000.0), abs=1e-5)
        with pytest.raises(InputError, match=r"memory: got .* GiB, but an LDOS with .* more memory"):
            import_run(run, ldos=options, memory=0.9 * whole.ldos.nbytes)


@pytest.mark.espresso
def test_grid_window_and_memory_of_the_command_and_of_the_engine(tmp_path):
    run, out = finished_run(tmp_path / "run", aluminium(), bands=20), tmp_path / "al.nc"
    command = [
        "convert",
        "espresso",
        str(run),
        "--grid",
        "9",
        "8",
        "7",
        "--energy-window",
        "-6",
        "12",
        "--out",
        str(out),
    ]
    assert main([*command, "--memory", "20MB"]) == 0
    snapshot = Snapshot.load(out)
    assert snapshot.grid.shape == (9, 8, 7)
    assert snapshot.energy_grid == EnergyGrid(-6.0, 0.2, 91)
    assert main([*command, "--overwrite", "--memory", "100kB"]) == 2
    assert main(["convert", "espresso", str(run), "--energy-window", "5", "-5", "--out", str(out), "--overwrite"]) == 2
    options = LdosOptions(energy_grid=EnergyGrid(-6.0, 0.2, 91), grid=(9, 8, 7), broadening=0.2)
    for changes, message in (
        (
            {"memory": 1e5},
            r"memory: got 9\.31e-05 GiB, but an LDOS with 504 grid points and 91 energies",
        ),
        ({"ldos": replace(options, grid=(99, 9, 9))}, r"LDOS grid: got \(99, 9, 9\), expected at most the grid"),
    ):
        engine = replace(Espresso(FILES, **SMALL, ldos=options, folder=tmp_path), **changes)
        with pytest.raises(InputError, match=message):
            engine.run(aluminium(), 1000.0)
    assert not list(tmp_path.glob("fermisea-pw-*/nscf.in"))  # refused before the second run
    made = Espresso(FILES, **SMALL, ldos=options).run(aluminium(), 1000.0)
    assert (made.grid.shape, made.energy_grid) == ((9, 8, 7), snapshot.energy_grid)
    np.testing.assert_allclose(made.ldos, snapshot.ldos, rtol=0, atol=1e-4 * made.ldos.max())
