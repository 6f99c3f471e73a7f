"""Weighted least squares for a sum of atomic energies that is linear in descriptors, with a cross-validated ridge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fermisea.potential.design import Design
from fermisea.potential.equations import Block, Scaling, Targets, Weights
from fermisea.potential.posterior import Posterior, calibrated
from fermisea.utilities.arrays import FloatArray

_RIDGES = np.logspace(-12, -2, 21)
_FOLDS = 20

_VIRIAL = 1.0
"""Penalty of the square of the Pulay virial per atom, 1/eV^2.

In aluminium with plane waves up to 218 eV this virial is 0.1 eV. Energies at several volumes fix it; for data at one
volume it stays near zero.
"""

_HIDDEN = 1e-15
"""Smallest eigenvalue of the normal matrix, relative to the largest, that counts."""


@dataclass(frozen=True)
class LinearFit:
    """Result of a fit.

    Attributes:
        coefficients: (elements, features), eV.
        constants: energy of each element, (elements,), eV.
        ridge: ridge parameter relative to the mean diagonal of the normal equations.
        virial: Pulay virial: stress times volume per atom that is not a derivative of the energies, eV.
        left_out_energy_error: root mean square error of energies left out in the cross-validation, eV/atom; None if
            the ridge was given.
        left_out_force_error: the same error of the force components, eV/Angstrom; None without forces.
    """

    coefficients: FloatArray
    constants: FloatArray
    ridge: float
    virial: float
    left_out_energy_error: float | None
    left_out_force_error: float | None


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Spreads and energy errors of structures that are left out of the fit, in the order of the structures.

    Attributes:
        spreads: spreads in the units of :meth:`Posterior.spread`, (structures,).
        errors: energy errors for each set of targets, (structures, sets), in the unit of the targets, per atom.
    """

    spreads: FloatArray
    errors: FloatArray


def fit_linear(
    designs: Sequence[Design],
    targets: Sequence[Sequence[Targets]],
    symbols: Sequence[Sequence[str]],
    elements: Sequence[str],
    weights: Weights,
    ridge: float | None = None,
    factors: FloatArray | None = None,
) -> tuple[list[LinearFit], Posterior, LeftOut]:
    """Returns the weighted least-squares solutions for one or several sets of targets, and their common spread.

    The spread is the posterior of all sets. The last result has the spread and the energy errors of each structure that
    is left out of the fit in turn.

    One ridge parameter for all sets is chosen by cross-validation: each fold leaves out a twentieth of the structures,
    at least one. With a ridge parameter of their own, sets with small targets would be fitted less reliably.

    Args:
        designs: columns of each structure.
        targets: for each set, the values of each structure.
        symbols: chemical symbols of each structure.
        elements: elements in the order of the columns.
        weights: weights of energies and stress.
        ridge: ridge parameter; None chooses it.
        factors: factor of the coefficient of each feature in the penalty of the ridge, (features,); None for equal
            ones.
    """
    sets, constants, scaling = _equations(designs, targets, symbols, elements, weights, factors)
    given = ridge is not None
    chosen = float(_choose(sets, scaling) if ridge is None else ridge)
    fits = [
        _fit(blocks, chosen, scaling, offsets, judged=not given)
        for blocks, offsets in zip(sets, constants, strict=True)
    ]
    return fits, *_posterior(sets, chosen, scaling, judged=not given)


def solve_linear(
    designs: Sequence[Design],
    targets: Sequence[Sequence[Targets]],
    symbols: Sequence[Sequence[str]],
    elements: Sequence[str],
    weights: Weights,
    ridge: float,
) -> list[LinearFit]:
    """Returns the weighted least-squares solutions with a given ridge parameter, without their spread.

    Arguments are the same as for :func:`fit_linear`.
    """
    sets, constants, scaling = _equations(designs, targets, symbols, elements, weights, None)
    return [
        _fit(blocks, ridge, scaling, offsets, judged=False) for blocks, offsets in zip(sets, constants, strict=True)
    ]


def _equations(
    designs: Sequence[Design],
    targets: Sequence[Sequence[Targets]],
    symbols: Sequence[Sequence[str]],
    elements: Sequence[str],
    weights: Weights,
    factors: FloatArray | None,
) -> tuple[list[list[Block]], list[FloatArray], Scaling]:
    """Returns the equations of each set of targets, the energies of the elements of each, and the scaling."""
    counts = np.array([design.counts for design in designs])
    stress = weights.virial > 0 and any(item.virial is not None for values in targets for item in values)
    scaling = Scaling.of(designs, symbols, elements, factors, pulay=stress and weights.pulay)
    sets: list[list[Block]] = []
    constants: list[FloatArray] = []
    for values in targets:
        offsets = np.linalg.lstsq(counts, np.array([item.energy for item in values]), rcond=None)[0]
        blocks = []
        for index, (design, item) in enumerate(zip(designs, values, strict=True)):
            rest = replace(item, energy=item.energy - float(design.counts @ offsets))
            known = sets[0][index].normal if sets and _alike(item, targets[0][index]) else None
            blocks.append(Block.of(design, rest, scaling, weights, known))
        sets.append(blocks)
        constants.append(offsets)
    return sets, constants, scaling


def _alike(one: Targets, other: Targets) -> bool:
    """Returns whether two sets of values of a structure have one normal matrix: the same quantities and weight."""
    first, second = ((item.forces is None, item.virial is None, item.weight) for item in (one, other))
    return first == second


def _fit(blocks: Sequence[Block], ridge: float, scaling: Scaling, offsets: FloatArray, *, judged: bool) -> LinearFit:
    """Returns the solution for one set of targets, with its cross-validation errors if ``judged`` is set."""
    energy_error, force_error = _left_out_errors(blocks, ridge, scaling) if judged else (None, None)
    solution = _solution(*_total(blocks), ridge, scaling)
    coefficients, shifts = scaling.coefficients(solution)
    return LinearFit(
        coefficients,
        offsets + shifts,
        ridge,
        float(solution[scaling.elements : scaling.free].sum()),
        energy_error,
        force_error,
    )


def _total(blocks: Sequence[Block]) -> tuple[FloatArray, FloatArray]:
    """Returns the sums of matrices and right-hand sides."""
    normal = blocks[0].normal.copy()
    for block in blocks[1:]:
        normal += block.normal  # one after the other, without a copy of all of them
    return normal, np.sum([block.right for block in blocks], axis=0)


def _solution(normal: FloatArray, right: FloatArray, ridge: float, scaling: Scaling) -> FloatArray:
    """Returns the solution of penalised normal equations."""
    return _solved(_penalised(normal, ridge, scaling), right)


def _solved(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Returns the solution, the shortest one if the matrix is singular: all structures have one composition."""
    try:
        return np.asarray(np.linalg.solve(matrix, right))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(matrix, right, rcond=None)[0])


def _penalised(normal: FloatArray, ridge: float, scaling: Scaling) -> FloatArray:
    """Returns the normal matrix with penalties: of the ridge, negligible for constants, and of the Pulay virial."""
    penalty = np.full(len(normal), ridge * normal.trace() / len(normal))
    penalty[: scaling.elements] *= 1e-6
    penalty[scaling.elements : scaling.free] = _VIRIAL
    return normal + np.diag(penalty)


def _folds(blocks: Sequence[Block]) -> list[Sequence[Block]]:
    """Returns the structures that each fit of the cross-validation leaves out; equal structures stay together."""
    groups: dict[bytes, list[Block]] = {}
    for block in blocks:
        groups.setdefault(np.float32(block.energy).tobytes(), []).append(block)
    parts = list(groups.values())
    chosen = (parts[number::_FOLDS] for number in range(min(_FOLDS, len(parts))))
    return [[block for part in fold for block in part] for fold in chosen]


def _posterior(
    sets: Sequence[Sequence[Block]], ridge: float, scaling: Scaling, *, judged: bool
) -> tuple[Posterior, LeftOut]:
    """Returns the posterior covariance of the energies, calibrated by the errors of left-out structures.

    The equations of forces have the weight of the structure, so that their weighted error is at least the noise of the
    equations. If ``judged`` is set, left-out structures give this error. Their energies alone do not tell the noise,
    because these structures resemble the others. The sets have the same structures and thus the same normal matrix.
    """
    normal = _total(sets[0])[0]
    rights = np.stack([_total(blocks)[1] for blocks in sets], axis=1)
    number = {id(block): index for index, block in enumerate(sets[0])}
    errors, leverages, atoms, order = [], [], [], []
    squares, count = np.zeros(len(sets)), 0.0
    for folds in zip(*map(_folds, sets), strict=True):
        left = [_total(fold) for fold in folds]
        rest = _penalised(normal - left[0][0], ridge, scaling)
        solutions = _solved(rest, rights - np.stack([right for _, right in left], axis=1))
        root = _inverse_root(rest)
        for same in zip(*folds, strict=True):
            row = same[0].energy
            errors.append(row @ solutions - [block.energy_value for block in same])
            leverages.append(float(np.sum(np.square(root @ row))))
            atoms.append(same[0].atoms)
            order.append(number[id(same[0])])
            if judged:
                found = [block.errors(solution)[1] for block, solution in zip(same, solutions.T, strict=True)]
                squares += same[0].weight ** 2 * np.array(found)
                count += same[0].weight ** 2 * len(same[0].force_values)
    factor, noise = calibrated(errors, leverages, atoms)
    widths = np.sqrt(np.maximum(np.diagonal(factor), 1e-300))
    if count:
        factor = factor * np.outer(*[np.maximum(np.sqrt(squares / count) / widths, 1.0)] * 2)
    root = _inverse_root(_penalised(normal, ridge, scaling)) @ scaling.matrix()
    size = float(np.diagonal(factor).mean()) or 1.0
    back, counts = np.argsort(order), np.array(atoms)
    left_out = LeftOut((np.sqrt(size * np.array(leverages)) / counts)[back], (np.array(errors) / counts[:, None])[back])
    return Posterior(size * (root.T @ root), factor / size, noise), left_out  # exactly symmetric


def _inverse_root(matrix: FloatArray) -> FloatArray:
    """Returns R with R^T R = matrix^-1 of a symmetric matrix; directions that rounding hides have little variance."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors / np.sqrt(np.maximum(values, _HIDDEN * values[-1]))).T)


def _choose(sets: Sequence[Sequence[Block]], scaling: Scaling) -> float:
    """Returns the ridge with the smallest cross-validation errors of energies and forces of all sets."""
    tried = np.array([[_left_out_errors(blocks, ridge, scaling) for blocks in sets] for ridge in _RIDGES], dtype=float)
    energies, forces = np.sqrt(np.square(np.nan_to_num(tried)).sum(axis=1)).T
    cost = energies / max(energies.min(), 1e-12) + forces / max(forces.min(), 1e-12)
    return float(_RIDGES[int(np.argmin(cost))])


def _left_out_errors(blocks: Sequence[Block], ridge: float, scaling: Scaling) -> tuple[float, float | None]:
    """Returns root mean square errors of energies, eV/atom, and of forces, eV/Angstrom, of left-out structures."""
    normal, right = _total(blocks)
    energies, squares, count = [], 0.0, 0
    for fold in _folds(blocks):
        left_normal, left_right = _total(fold)
        rest = _solution(normal - left_normal, right - left_right, ridge, scaling)
        for block in fold:
            energy, force, number = block.errors(rest)
            energies.append(energy)
            squares, count = squares + force, count + number
    return float(np.sqrt(np.mean(np.square(energies)))), math.sqrt(squares / count) if count else None
