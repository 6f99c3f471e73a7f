"""Spread of linear energies: calibration by left-out structures, and errors of other structures."""

from __future__ import annotations

import numpy as np
import pytest

from fermisea.potential.design import Design
from fermisea.potential.equations import Targets, Weights
from fermisea.potential.least_squares import fit_linear
from fermisea.potential.posterior import Posterior, calibrated


def test_calibration_finds_the_variances_of_errors():
    random = np.random.default_rng(0)
    leverages, atoms = random.uniform(0.01, 3.0, 4000), random.choice([4.0, 32.0], 4000)
    errors = random.normal(size=4000) * np.sqrt(2.0 * leverages + 0.05 * atoms)
    factor, noise = calibrated(errors[:, None], leverages, atoms)
    assert factor == pytest.approx(2.0, rel=0.1)
    assert noise == pytest.approx(0.05, rel=0.1)
    for part in calibrated(np.zeros((3, 2)), np.ones(3), np.ones(3)):
        np.testing.assert_array_equal(part, np.zeros((2, 2)))
    factor, noise = calibrated(np.sqrt(2.0 * leverages)[:, None], leverages, atoms)
    assert noise < 1e-3
    assert factor == pytest.approx(2.0, rel=0.05)


def test_energies_that_are_wrong_together_have_a_covariance():
    random = np.random.default_rng(2)
    leverages, atoms = random.uniform(0.01, 3.0, 4000), np.full(4000, 8.0)
    mixing = np.array([[1.0, 0.0, 0.0], [0.9, 0.3, 0.0], [0.0, 0.0, 0.0]])  # the last energy is exact
    errors = random.normal(size=(4000, 3)) @ mixing.T * np.sqrt(leverages + 0.1 * atoms)[:, None]
    factor, noise = calibrated(errors, leverages, atoms)
    np.testing.assert_allclose(factor, mixing @ mixing.T, atol=0.1)
    np.testing.assert_allclose(noise, 0.1 * mixing @ mixing.T, atol=0.01)
    sums = np.array([1.0, -1.0, 5.0])
    found = Posterior(np.eye(2), factor, noise).variance(np.array([1.0, 0.5]), 8)
    assert sums @ found @ sums == pytest.approx((0.1**2 + 0.3**2) * (1.25 + 0.8), rel=0.1)


def design(random: np.random.Generator, atoms: int, first: int, width: float = 1.0) -> Design:
    """Random descriptors of two elements; ``first`` atoms are of the first one."""
    sites = 3.0 + width * random.normal(size=(atoms, 5)) * np.array([1, 0.5, 0.2, 0.1, 0.05])
    own = np.arange(atoms) < first
    energy = np.concatenate([sites[own].sum(0), sites[~own].sum(0)])
    counts = np.array([own.sum(), (~own).sum()], dtype=float)
    return Design(energy, np.zeros((atoms, 3, 10)), np.zeros((3, 3, 10)), counts, sites)


@pytest.mark.parametrize("one_composition", [False, True])
def test_errors_of_other_structures_are_as_large_as_the_spread(one_composition):
    random = np.random.default_rng(1)
    true, noise = random.normal(size=10), 0.02

    def energy(of: Design) -> float:
        atoms = len(of.sites)
        return float(of.energy @ true + of.counts @ [-5.0, -3.0] + random.normal() * noise * np.sqrt(atoms))

    def symbols(of: Design) -> list[str]:
        return ["A"] * int(of.counts[0]) + ["B"] * int(of.counts[1])

    def first() -> int:
        return 3 if one_composition else random.choice([2, 3, 4])

    designs = [design(random, 6, first()) for _ in range(40)]
    (fit,), posterior, _ = fit_linear(
        designs, [[Targets(energy(d)) for d in designs]], [symbols(d) for d in designs], ["A", "B"], Weights(30.0, 0.0)
    )

    def deviations(width: float) -> tuple[np.ndarray, np.ndarray]:
        rows, errors = [], []
        for _ in range(400):
            of = design(random, 6, first(), width)
            row = np.concatenate([of.counts, of.energy])
            errors.append(row @ np.concatenate([fit.constants, fit.coefficients.ravel()]) - energy(of))
            rows.append(np.sqrt(posterior.variance(row, 6)[0, 0]))
        return np.array(errors), np.array(rows)

    errors, spreads = deviations(1.0)
    assert np.sqrt(np.mean(np.square(errors / spreads))) == pytest.approx(1.0, abs=0.3)
    far, wide = deviations(6.0)
    assert np.sqrt(np.mean(far**2)) > 1.5 * np.sqrt(np.mean(errors**2))
    assert 0.4 < np.sqrt(np.mean(np.square(far / wide))) < 1.4  # the spread may be too large, hardly too small


def test_a_weight_counts_as_copies_of_the_structure():
    random = np.random.default_rng(5)
    designs = [design(random, 6, 3) for _ in range(20)]
    energies = random.normal(size=20)
    names = ["A"] * 3 + ["B"] * 3
    weighted = [Targets(float(e), weight=np.sqrt(3.0) if n < 5 else 1.0) for n, e in enumerate(energies)]
    several = [Targets(float(e)) for e in [*energies, *energies[:5], *energies[:5]]]
    copies = [*designs, *designs[:5], *designs[:5]]
    (one,), _, _ = fit_linear(designs, [weighted], [names] * 20, ["A", "B"], Weights(30.0, 0.0), 1e-13)
    (other,), _, _ = fit_linear(copies, [several], [names] * 30, ["A", "B"], Weights(30.0, 0.0), 1e-13)
    (equal,), _, _ = fit_linear(
        designs, [[Targets(float(e)) for e in energies]], [names] * 20, ["A", "B"], Weights(30.0, 0.0), 1e-13
    )
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-6)
    assert np.abs(one.coefficients - equal.coefficients).max() > 0.01


def test_a_structure_left_out_of_the_fit_has_a_larger_spread_and_an_odd_one_the_largest():
    random = np.random.default_rng(4)
    designs = [design(random, 6, 3, width=6.0 if number == 17 else 1.0) for number in range(30)]
    targets = [[Targets(float(random.normal())) for _ in designs]]
    symbols = [["A"] * 3 + ["B"] * 3] * 30
    _, posterior, left_out = fit_linear(designs, targets, symbols, ["A", "B"], Weights(30.0, 0.0), 1e-8)
    inside = [posterior.spread(np.concatenate([d.counts, d.energy]), 6) for d in designs]
    assert (left_out.spreads > inside).all()
    assert left_out.spreads.argmax() == 17


def test_errors_of_a_structure_left_out_are_those_of_a_fit_without_it():
    random = np.random.default_rng(6)
    designs = [design(random, 6, 3) for _ in range(20)]
    energies = random.normal(size=20)
    weights, names = Weights(30.0, 0.0), ["A"] * 3 + ["B"] * 3

    def fitted(which):
        targets = [[Targets(float(energies[n])) for n in which]]
        return fit_linear([designs[n] for n in which], targets, [names] * len(which), ["A", "B"], weights, 1e-12)

    _, _, left_out = fitted(range(20))
    for n in (0, 7, 19):
        (fit,), _, _ = fitted([other for other in range(20) if other != n])
        row = np.concatenate([designs[n].counts, designs[n].energy])
        found = row @ np.concatenate([fit.constants, fit.coefficients.ravel()])
        assert left_out.errors[n, 0] == pytest.approx((found - energies[n]) / 6, rel=1e-4)
