"""Fit of SNAP potentials at several tau_e to the interatomic potential of a model."""

from __future__ import annotations

from collections.abc import Sequence

from fermisea.descriptors import Bispectrum
from fermisea.interop.lammps.structures import Example, Progress
from fermisea.potential import RegularModel, with_products
from fermisea.potential.design import design_of
from fermisea.potential.equations import Targets, Weights
from fermisea.potential.least_squares import solve_linear

WEIGHTS = Weights(energy=200.0, virial=2.0, pulay=False)
"""Weights of free energies and stress times volume, relative to a force."""

RIDGE = 1e-10
"""Ridge parameter. The potential of the model has no noise, so the fit needs it against rounding only."""


def fit_at(
    examples: Sequence[Example],
    electron_temperatures: Sequence[float],
    bispectrum: Bispectrum,
    *,
    quadratic: bool = True,
    ridge: float = RIDGE,
    weights: Weights = WEIGHTS,
    progress: Progress | None = None,
) -> list[RegularModel]:
    """Returns a regular model at each tau_e, all with the same equations, so that their difference is a fit too.

    Args:
        examples: structures with the results of the potential at each tau_e.
        electron_temperatures: tau_e, (nT,), K.
        bispectrum: descriptor.
        quadratic: whether the energies are quadratic in the bispectrum.
        ridge: ridge parameter relative to the mean diagonal of the normal equations.
        weights: weights of free energies and stress.
        progress: callback.
    """
    elements = tuple(sorted({symbol for example in examples for symbol in example.atoms.symbols}))
    structures = [example.atoms for example in examples]
    descriptor = with_products(bispectrum, bispectrum.twojmax, structures) if quadratic else bispectrum
    designs = []
    for done, atoms in enumerate(structures):
        designs.append(design_of(descriptor, elements, atoms))
        if progress is not None:
            progress("derivatives of the bispectrum", done + 1, len(structures))
    targets = [
        [Targets(e.free_energy[t], e.forces[t], e.stress[t] * e.atoms.get_volume()) for e in examples]
        for t in range(len(electron_temperatures))
    ]
    symbols = [atoms.get_chemical_symbols() for atoms in structures]
    fits = solve_linear(designs, targets, symbols, elements, weights, ridge)
    return [
        RegularModel(descriptor, fit.coefficients, fit.constants, elements, float(tau_e))
        for fit, tau_e in zip(fits, electron_temperatures, strict=True)
    ]
