from __future__ import annotations

import ase.units
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from fermisea.data.correlation import correlation_time
from fermisea.data.kinetic_temperature import check_sample, kinetic_temperature
from fermisea.data.trajectories import thin
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
    assert result.mean_temperature == pytest.approx(298.0, rel=0.1)
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


@pytest.fixture(scope="module")
def vibrations():
    """Frames of 32 atoms around their sites, with momenta, without a drift."""
    cell = bulk("Al", "fcc", a=4.05, cubic=True).repeat(2)
    away = 0.08 * autoregressive(60, 3.0, 96, seed=4).reshape(60, 32, 3)
    rng = np.random.default_rng(1)
    frames = []
    for step in away:
        frame = cell.copy()
        frame.positions += step
        frame.set_momenta(np.sqrt(frame.get_masses()[:, None] * ase.units.kB * 300.0) * rng.normal(size=(32, 3)))
        frames.append(frame)
    return frames


def shuffled(frames, seed=3, share=1.0):
    """The same frames with a part of the atoms of each frame in another order."""
    rng = np.random.default_rng(seed)
    result = []
    for frame in frames:
        order = np.arange(len(frame))
        some = rng.permutation(len(frame))[: round(share * len(frame))]
        order[np.sort(some)] = some
        result.append(frame[order])
    return result


@pytest.mark.parametrize(("share", "moves"), [(1.0, 0.0), (0.3, 0.0), (0.1, 0.7)])
def test_atoms_in_changing_order_are_noticed(vibrations, share, moves):
    """In any order of the atoms, with a drift of the crystal if only some change their place."""
    frames = [frame.copy() for frame in vibrations]
    for number, frame in enumerate(frames):
        frame.positions += moves * number
    right = thin(frames, 4, 300.0)
    wrong = shuffled(frames, share=share)
    with pytest.warns(
        UserWarning, match=r"the atoms of frame \d+ are not in the order of frame \d+ \(mean square"
    ) as one:
        result = thin(wrong, 4, 300.0)
    assert one[0].filename == __file__
    assert result.mean_square_displacement == pytest.approx(right.mean_square_displacement, rel=1e-9)
    assert result.correlation_frames == pytest.approx(right.correlation_frames, rel=1e-9)
    for index, frame in zip(result.indices, result.frames, strict=True):
        np.testing.assert_array_equal(frame.positions, wrong[index].positions)


@pytest.mark.parametrize(("swapped", "count"), [(slice(7, None), "%d frames were"), (slice(4, 5), "1 frame was")])
def test_the_warning_counts_the_frames_in_another_order(vibrations, swapped, count):
    """All frames after one change of the order, and a single frame."""
    frames = [frame.copy() for frame in vibrations]
    frames[swapped] = [frame[::-1] for frame in frames[swapped]]
    expected = count.replace("%d", str(len(frames) - 7))
    with pytest.warns(UserWarning, match=f"; {expected} sorted"):
        thin(frames, 4, 300.0)


def test_numbers_of_the_atoms_give_their_order(vibrations):
    frames = [frame.copy() for frame in vibrations]
    for frame in frames:
        frame.symbols[:3] = "Mg"
    right = thin(frames, 4, 300.0)
    wrong = shuffled(frames)
    with pytest.warns(UserWarning, match="displacement without meaning in the order of the file"):
        assert thin(wrong, 4, 300.0).mean_square_displacement == pytest.approx(right.mean_square_displacement)
    far = [frame.copy() for frame in wrong]
    for frame in far:
        frame.positions[:] = frame.cell.cartesian_positions(np.random.default_rng(len(far)).random((32, 3)))
    with pytest.raises(InputError, match="frame 1 has the same atoms as frame 0 in another order; write all frames"):
        thin(far, 4, 300.0)
    for frame in frames:
        frame.set_array("id", np.arange(1, 33))
    result = thin(shuffled(frames), 4, 300.0)  # a warning would be an error
    assert result.mean_square_displacement == pytest.approx(right.mean_square_displacement)


def test_liquids_and_hops_are_in_order():
    """A random walk with long steps, wrapped into the cell, and a crystal with one atom that moves to a vacancy."""
    rng = np.random.default_rng(0)
    liquid = bulk("Al", "fcc", a=4.3, cubic=True).repeat(2)
    frames = []
    for length in (0.3, 1.0, 3.0, 10.0) * 10:
        liquid.positions += length * rng.normal(size=(32, 3))
        liquid.wrap()
        frames.append(liquid.copy())
    thin(frames, 1, 300.0)
    crystal = bulk("Al", "fcc", a=4.05, cubic=True).repeat(2)
    vacancy = crystal.positions[1].copy()
    del crystal[1]
    crystal.rattle(0.1, seed=1)
    after = crystal.copy()
    after.positions[0] = vacancy
    thin([crystal, crystal, after, after, crystal], 1, 300.0)


def test_temperatures_count_free_degrees_of_freedom(vibrations):
    assert thin(vibrations, 1, 300.0).mean_temperature == pytest.approx(300.0, rel=0.05)
    flying, held, unsaid = ([frame.copy() for frame in vibrations] for _ in range(3))
    for frame in flying:
        frame.set_momenta(frame.get_momenta() + 3.0 * frame.get_masses()[:, None])
    assert thin(flying, 1, 300.0).mean_temperature == pytest.approx(thin(vibrations, 1, 300.0).mean_temperature)
    for frame, other in zip(held, unsaid, strict=True):
        momenta = frame.get_momenta()
        momenta[:16] = 0.0
        other.set_momenta(momenta)
        frame.set_constraint(FixAtoms(range(16)))
        frame.set_momenta(momenta)
    for frames in (held, unsaid):
        assert thin(frames, 1, 300.0).mean_temperature == pytest.approx(300.0, rel=0.1)
    at_rest = [frame.copy() for frame in vibrations]
    for frame in at_rest:
        frame.set_momenta(np.zeros((32, 3)))
    assert thin(at_rest, 1, 300.0).mean_temperature is None


def test_temperatures_far_from_the_request_are_refused(vibrations):
    for wrong in (200.0, 450.0):
        with pytest.raises(
            InputError, match=rf"got {wrong:g} K, but the mean kinetic temperature is \d+ K for 93 degrees"
        ):
            thin(vibrations, 1, wrong)
    heating = [frame.copy() for frame in vibrations]
    for frame, factor in zip(heating, np.linspace(0.5, 1.5, 60), strict=True):
        frame.set_momenta(frame.get_momenta() * np.sqrt(factor))
    with pytest.raises(
        InputError, match=r"temperature drifts from 2\d\d K in the first half to 3\d\d K in the second half"
    ):
        thin(heating, 1, 300.0)
    rng = np.random.default_rng(0)
    for _ in range(200):  # few degrees of freedom fluctuate by 80 %, many hardly
        check_sample(300.0 * rng.chisquare(3, 8) / 3, 3, 300.0, advice="")
        check_sample(300.0 * rng.chisquare(300, 50) / 300, 300, 300.0, advice="")


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
