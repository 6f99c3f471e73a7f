from __future__ import annotations

import ase.units
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from fermisea.data.trajectories import correlation_time, kinetic_temperature, thin
from fermisea.errors import InputError


def autoregressive(steps: int, memory: float, series: int = 1, seed: int = 0) -> np.ndarray:
    """x_t = a x_(t-1) + noise, whose integrated correlation time is (1 + a)/(1 - a) = memory."""
    a = (memory - 1) / (memory + 1)
    noise = np.random.default_rng(seed).normal(size=(steps, series))
    x = np.empty_like(noise)
    x[0] = noise[0] / np.sqrt(1 - a**2)
    for t in range(1, steps):
        x[t] = a * x[t - 1] + noise[t]
    return x


def trajectory(steps: int, memory: float, *, energies: bool = False, seed: int = 0) -> list:
    """Frames of four atoms that wander around their sites, wrapped into the cell, with momenta of 298 K."""
    cell = bulk("Al", "fcc", a=4.05, cubic=True)
    away = 0.1 * autoregressive(steps, memory, 12, seed).reshape(steps, 4, 3)
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(steps):
        frame = cell.copy()
        frame.positions += away[number]
        frame.wrap()
        speeds = np.sqrt(frame.get_masses()[:, None] * ase.units.kB * 298.0)
        frame.set_momenta(speeds * rng.normal(size=(4, 3)))
        if energies:
            frame.calc = SinglePointCalculator(frame, energy=float(np.sum(away[number] ** 2)))
        frames.append(frame)
    return frames


@pytest.mark.parametrize("memory", [1.0, 4.0, 20.0])
def test_correlation_time_of_a_process_that_is_known(memory):
    estimates = [correlation_time(autoregressive(20_000, memory, seed=seed)[:, 0]) for seed in range(4)]
    assert np.mean(estimates) == pytest.approx(memory, rel=0.1)
    assert correlation_time(autoregressive(5000, memory, series=12)) == pytest.approx(memory, rel=0.1)


def test_correlation_time_at_the_ends():
    assert correlation_time(np.ones(50)) == 50.0
    assert correlation_time(np.arange(50.0)) > 4
    with pytest.raises(InputError, match="got 3 values"):
        correlation_time([1.0, 2.0, 3.0])


@pytest.mark.parametrize("energies", [False, True])
def test_frames_are_evenly_spaced_beyond_the_memory(energies):
    frames = trajectory(420, 6.0, energies=energies)
    result = thin(frames, 8, 298.0, skip=20)
    assert result.indices == [20 + 50 * number - 1 for number in range(1, 9)]
    assert 1.5 < result.correlation_frames < 12  # squares of a process remember half as long
    assert result.mean_temperature == pytest.approx(298.0 * 4 / 3, rel=0.1)  # the centre of mass moves in these
    assert result.mean_square_displacement == pytest.approx(3 * 0.01 / (1 - (5 / 7) ** 2), rel=0.2)
    for index, frame in zip(result.indices, result.frames, strict=True):
        assert frame.info == {"ion_temperature": 298.0}
        assert frame.calc is None
        assert set(frame.arrays) == {"numbers", "positions"}
        np.testing.assert_array_equal(frame.positions, frames[index].positions)


def test_wrapping_is_not_motion():
    """A slow drift through the cell: positions jump back at its face."""
    frames = []
    for number in range(60):
        frame = bulk("Al", "fcc", a=4.05, cubic=True)
        frame.positions += [0.1 * number, 0, 0] + 0.01 * np.random.default_rng(number).normal(size=(4, 3))
        frame.wrap()
        frames.append(frame)
    shift = 0.1 * (np.arange(60) - 29.5)
    assert thin(frames, 1, 100.0).mean_square_displacement == pytest.approx(np.mean(shift**2) + 3e-4, rel=0.01)


def test_kinetic_temperature_counts_what_moves():
    masses, momenta = np.array([1.0, 4.0]), np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    assert kinetic_temperature(momenta, masses) * ase.units.kB * 3 == pytest.approx(1.25)
    assert kinetic_temperature(momenta, masses, fixed=0) * ase.units.kB * 6 == pytest.approx(1.25)


def test_trajectories_that_cannot_be_thinned():
    frames = trajectory(100, 10.0)
    with pytest.raises(
        InputError,
        match=r"time is \d+\.\d frames, but 50 snapshots out of 100 frames would be 2 frames apart; request at most",
    ):
        thin(frames, 50, 298.0)
    with pytest.raises(InputError, match="3 of 100 frames remain without the skipped frames, expected at least 4"):
        thin(frames, 1, 298.0, skip=97)
    with pytest.raises(InputError, match="frame 50 has other atoms than frame 0"):
        thin([*frames[:50], bulk("Al")], 1, 298.0)
    for values in ((0, 298.0, 0), (1, -1.0, 0), (1, 298.0, -1)):
        with pytest.raises(InputError, match="thinning: got"):
            thin(frames, *values)
