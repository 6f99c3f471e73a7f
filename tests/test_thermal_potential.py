"""Potentials at every electronic temperature: identities in tau_e, derivatives, and the fit to labels."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from fermisea.descriptors import PowerSpectrum
from fermisea.errors import InputError, WindowError
from fermisea.potential import Labels, RegularModel, ThermalPotential, ThermalTerms, fit_thermal, label_temperatures
from fermisea.potential.design import design_of
from fermisea.potential.heat import HeatBasis
from fermisea.potential.nonnegative import nearest_nonnegative
from test_potential import KINDS, alloy, model_of

HIGHEST = 30_000.0


def short(regular: RegularModel) -> PowerSpectrum:
    """A descriptor that differs from the one of a regular model."""
    return PowerSpectrum(order=2, cutoff=3.5, weights=regular.descriptor.weights)


def potential_of(seed: int = 5, halvings: int = 5, *, other: bool = False) -> ThermalPotential:
    """A potential with heat capacities of about a k_B for each atom at the highest tau_e."""
    regular, basis = model_of(KINDS[0]), HeatBasis(HIGHEST, halvings)
    random = np.random.default_rng(seed)
    descriptor = short(regular) if other else regular.descriptor
    shape = (basis.size, 2, descriptor.features)
    coefficients, constants = random.normal(size=shape) * 3e-13, random.uniform(0.5, 1.0, (basis.size, 2)) * 3e-9
    return ThermalPotential(regular, ThermalTerms(descriptor, basis, coefficients, constants))


def test_entropy_and_heat_capacity_are_derivatives_at_all_tau_e():
    potential, atoms = potential_of(), alloy()
    temperatures = np.array([50.0, 300.0, 4000.0, 17_000.0, 29_900.0])
    found = potential.predict(atoms, temperatures)
    step = 8.0
    around = [potential.predict(atoms, temperatures + k * step) for k in (-2, -1, 1, 2)]
    weights = np.array([1, -8, 8, -1]) / (12 * step)
    slope = sum(w * (p.free_energy - found.free_energy) for w, p in zip(weights, around, strict=True))
    np.testing.assert_allclose(-slope, found.entropy, rtol=1e-7)
    slope = sum(w * p.entropy for w, p in zip(weights, around, strict=True))
    np.testing.assert_allclose(temperatures * slope, found.heat_capacity, rtol=1e-8)
    np.testing.assert_allclose(found.internal_energy - found.free_energy, temperatures * found.entropy)
    integrals = HeatBasis(HIGHEST, 5)
    nodes, quadrature = np.polynomial.legendre.leggauss(12)
    edges = [0.0, *(HIGHEST * 2.0 ** np.arange(-5, -1)), 9000.0]  # knots, between which the splines are polynomials
    exact = sum(
        (b - a) / 2 * quadrature @ integrals.heat((a + b) / 2 + (b - a) / 2 * nodes)
        for a, b in itertools.pairwise(edges)
    )
    np.testing.assert_allclose(integrals.entropy(9000.0), exact, rtol=1e-12, atol=1e-10)


def test_free_energy_is_even_in_tau_e_and_the_regular_model_at_tau_ref():
    potential, atoms = potential_of(), alloy()
    basis = potential.terms.basis
    np.testing.assert_allclose(basis.free_energy(-700.0), basis.free_energy(700.0), rtol=1e-12, atol=1e-15 * HIGHEST**2)
    at = potential.predict(atoms, potential.reference_electron_temperature)
    regular = potential.regular.predict(atoms)
    assert at.free_energy == pytest.approx(regular.free_energy, rel=1e-14)
    np.testing.assert_allclose(at.forces, regular.forces, atol=1e-14)
    several = potential.predict(atoms, [1000.0, 8000.0])
    one = potential.predict(atoms, 8000.0)
    assert several.forces.shape == (2, 4, 3)
    assert several.stress.shape == (2, 3, 3)
    assert isinstance(one.free_energy, float)
    np.testing.assert_array_equal(several.forces[1], one.forces)


@pytest.mark.parametrize("other", [False, True])
def test_forces_and_stress_are_derivatives_at_any_tau_e(other):
    potential, atoms, t = potential_of(other=other), alloy(), 21_000.0
    found, step = potential.predict(atoms, t), 1e-4

    def energy(strain, moved=None):
        changed = atoms.copy()
        if moved is not None:
            changed.positions += moved
        changed.set_cell(changed.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return potential.predict(changed, t).free_energy

    move = np.zeros((4, 3))
    move[1, 2] = step
    zero = np.zeros((3, 3))
    slope = (energy(zero, -2 * move) - 8 * energy(zero, -move) + 8 * energy(zero, move) - energy(zero, 2 * move)) / 12
    assert -slope / step == pytest.approx(found.forces[1, 2], abs=1e-7 * np.abs(found.forces).max())
    volume = np.eye(3) * step
    slope = (energy(-2 * volume) - 8 * energy(-volume) + 8 * energy(volume) - energy(2 * volume)) / 12
    assert slope / step / atoms.get_volume() == pytest.approx(np.trace(found.stress), rel=1e-7)
    assert np.abs(found.forces.sum(0)).max() < 1e-11


def labels(potential, seeds, temperatures, *, forces=False):
    """Labels from a potential."""
    found = []
    for seed in seeds:
        atoms = alloy(seed)
        start, at = (
            potential.predict(atoms, potential.reference_electron_temperature),
            potential.predict(atoms, temperatures),
        )
        found.append(
            Labels(
                atoms,
                at.free_energy - start.free_energy,
                at.forces - start.forces if forces else None,
                at.stress - start.stress if forces else None,
            )
        )
    return found


@pytest.mark.parametrize("other", [False, True])
def test_the_fit_finds_a_potential_from_its_own_labels(other):
    potential, temperatures = potential_of(other=other), label_temperatures(0.2, HIGHEST)
    assert temperatures[-1] == HIGHEST
    descriptor = short(potential.regular) if other else None
    own = labels(potential, range(12), temperatures, forces=True)
    found = fit_thermal(potential.regular, temperatures, own, descriptor=descriptor)
    assert found.terms.descriptor == potential.terms.descriptor
    atoms = alloy(99)
    asked = [300.0, 2500.0, 11_000.0, 27_000.0]
    one, two = potential.predict(atoms, asked), found.predict(atoms, asked)
    change = one.free_energy - potential.regular.predict(atoms).free_energy
    np.testing.assert_allclose(two.free_energy - one.free_energy, 0, atol=2e-5 * np.abs(change).max())
    np.testing.assert_allclose(two.heat_capacity, one.heat_capacity, rtol=1e-3)
    base = potential.regular.predict(atoms).forces
    scale = np.abs(one.forces - base).max()
    np.testing.assert_allclose(two.forces, one.forces, atol=2e-3 * scale)


def test_heat_capacities_of_the_labels_are_never_negative():
    potential, temperatures = potential_of(), label_temperatures(0.2, HIGHEST)
    rows = labels(potential, range(6), temperatures)
    wrong = [
        dataclasses.replace(item, free_energy=item.free_energy + 0.02 * np.sin(temperatures / 900)) for item in rows
    ]
    found = fit_thermal(potential.regular, temperatures, wrong)
    for item in wrong:
        design = design_of(found.regular.descriptor, found.elements, item.atoms)
        assert (found.terms.sums(np.concatenate([design.counts, design.energy])) > 0).all()
        assert (found.predict(item.atoms, np.linspace(50, HIGHEST, 40)).heat_capacity > 0).all()


def test_nearest_nonnegative_solution():
    random = np.random.default_rng(0)
    rows, solution = random.normal(size=(9, 14)), 0.3 * random.normal(size=(4, 14))
    rows[:, 0] = 4.0
    solution[:, 0] = 0.4
    combination = np.eye(4)
    values = rows @ solution.T
    assert values.min() < 0
    found = rows @ nearest_nonnegative(solution, rows, combination).T
    lowest = 1e-3 * np.abs(values.mean(0))
    np.testing.assert_allclose(found, np.maximum(values, lowest), atol=1e-9)  # rows of full rank: the projection
    kept = np.abs(solution)
    assert nearest_nonnegative(kept, np.abs(rows), combination) is kept


def test_bad_input_is_named():
    potential, atoms = potential_of(), alloy()
    with pytest.raises(WindowError, match=r"30001 K, but the potential is fitted up to 30000\.0 K"):
        potential.predict(atoms, 30_001.0)
    with pytest.raises(InputError, match=r"got 0\.5 K, expected at least 5 K; .*if the value is in eV, give 5802 K"):
        potential.predict(atoms, [0.5, 300.0])
    with pytest.raises(InputError, match="got 3 electronic temperatures, expected at least"):
        fit_thermal(potential.regular, np.array([1e3, 2e3, 3e3]), labels(potential, range(3), [1e3, 2e3, 3e3]))
    temperatures = label_temperatures(0.2, HIGHEST)
    for wrong in (temperatures[::-1], temperatures - 1e5, np.full(12, 4e4)):
        with pytest.raises(InputError, match="expected ascending ones that end above tau_ref = 1000 K"):
            fit_thermal(potential.regular, wrong, labels(potential, range(3), temperatures))
    for name in ("stiffness", "energy_weight", "stress_weight"):
        with pytest.raises(InputError, match=f"{name}: got nan"):
            fit_thermal(potential.regular, temperatures, labels(potential, range(3), temperatures), **{name: math.nan})
    with pytest.raises(InputError, match="got an energy resolution of 0 eV"):
        label_temperatures(0.0, HIGHEST)
    with pytest.raises(InputError, match="labels of 1 structure"):
        fit_thermal(
            potential.regular,
            label_temperatures(0.2, HIGHEST),
            labels(potential, [0], label_temperatures(0.2, HIGHEST)),
        )
    assert isinstance(potential.regular, RegularModel)
