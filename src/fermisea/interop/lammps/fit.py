"""Fit of SNAP potentials at several tau_e to the interatomic potential of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fermisea.descriptors import Bispectrum
from fermisea.interop.lammps.structures import Example, Progress
from fermisea.potential import RegularModel, with_products
from fermisea.potential.design import design_of
from fermisea.potential.equations import Targets, Weights
from fermisea.potential.least_squares import solve_linear
from fermisea.utilities.arrays import FloatArray

WEIGHTS = Weights(energy=200.0, virial=2.0, pulay=False)
"""Weights of free energies and stress times volume at tau_ref, relative to a force."""

CHANGE_WEIGHTS = Weights(energy=50.0, virial=0.5, pulay=False)
"""The same weights for the change with tau_e, whose forces are small."""

RIDGE = 1e-10
"""Ridge parameter. The potential of the model has no noise, so the fit needs it against rounding only."""


def fit_at(
    examples: Sequence[Example],
    electron_temperatures: Sequence[float],
    bispectrum: Bispectrum,
    reference: int,
    *,
    quadratic: bool = True,
    ridge: float = RIDGE,
    progress: Progress | None = None,
) -> list[RegularModel]:
    """Returns a regular model at each tau_e: a fit at tau_ref, plus a fit of the change from tau_ref to tau_e.

    Args:
        examples: structures with the results of the potential at each tau_e.
        electron_temperatures: tau_e, (nT,), K.
        bispectrum: descriptor.
        reference: index of tau_ref in ``electron_temperatures``.
        quadratic: whether the energies are quadratic in the bispectrum.
        ridge: ridge parameter relative to the mean diagonal of the normal equations.
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
    symbols = [atoms.get_chemical_symbols() for atoms in structures]
    at_reference = [_targets(example, reference) for example in examples]
    (base,) = solve_linear(designs, [at_reference], symbols, elements, WEIGHTS, ridge)
    others = [t for t in range(len(electron_temperatures)) if t != reference]
    targets = [[_targets(example, t, since=reference) for example in examples] for t in others]
    changes = solve_linear(designs, targets, symbols, elements, CHANGE_WEIGHTS, ridge) if others else []
    fits = {reference: (base.coefficients, base.constants)}
    for t, change in zip(others, changes, strict=True):
        fits[t] = base.coefficients + change.coefficients, base.constants + change.constants
    return [RegularModel(descriptor, *fits[t], elements, float(tau_e)) for t, tau_e in enumerate(electron_temperatures)]


def _targets(example: Example, index: int, since: int | None = None) -> Targets:
    """Returns F, forces and virial of a structure at the tau_e of an index, or their change since another tau_e."""

    def value(values: FloatArray) -> FloatArray:
        return np.asarray(values[index] if since is None else values[index] - values[since])

    virial = value(example.stress) * example.atoms.get_volume()
    return Targets(float(value(example.free_energy)), value(example.forces), virial)
