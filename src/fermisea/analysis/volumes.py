"""F(tau_e, V) of fixed ions at several volumes, for the quasi-harmonic approximation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from fermisea.errors import InputError
from fermisea.model.model import Model
from fermisea.utilities.arrays import FloatArray

_COLD = 100.0
"""tau_e below which F follows from F and S at the lowest tau_e above it, K."""


def free_energy_of_volumes(
    model: Model,
    atoms: Atoms,
    ratios: Sequence[float],
    temperatures: Sequence[float] | FloatArray,
    *,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> tuple[FloatArray, FloatArray]:
    """Returns volumes of the cell, (m,), Angstrom^3, and F of the cell, (n, m), eV.

    The cell is scaled uniformly, with the ions at the same fractional coordinates. Below 100 K, F(tau_e) = F(tau_1) +
    S(tau_1) (tau_1^2 - tau_e^2) / (2 tau_1), with tau_1 the lowest of the temperatures above: the free energy of
    degenerate electrons, S proportional to tau_e.

    Args:
        model: model with a total free energy.
        atoms: a periodic structure, Angstrom.
        ratios: volumes over the volume of the structure, (m,), ascending.
        temperatures: tau_e, ascending from 0 or above, (n,), K, at least one of them at 100 K or above.
        progress: callback with the number of finished volumes and the total number.
        options: keyword arguments of :meth:`fermisea.Model.predict`.

    Raises:
        InputError: for invalid ratios or temperatures, a model without total free energies, or as ``Model.predict``.
    """
    scales, t = np.asarray(ratios, dtype=float), np.asarray(temperatures, dtype=float)
    if model.total_energy_obstacle is not None:
        raise InputError(f"free energies of several volumes: {model.total_energy_obstacle}")
    if scales.size < 2 or not (np.isfinite(scales).all() and (np.diff(scales, prepend=0.0) > 0).all()):
        raise InputError(
            f"volume ratios: got {', '.join(f'{scale:g}' for scale in scales) or 'none'}, expected two or more "
            "ascending numbers above 0, such as 0.96 0.98 1 1.02 1.04"
        )
    if not (np.isfinite(t).all() and t.size and (np.diff(t) > 0).all() and t[0] >= 0 and t[-1] >= _COLD):
        raise InputError(f"temperatures: expected ascending temperatures from 0 K or above to {_COLD:g} K or above")
    warm = t >= _COLD
    volumes, columns = [], []
    for done, scale in enumerate(scales):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * scale ** (1 / 3), scale_atoms=True)
        prediction = model.predict(strained, t[warm].tolist(), uncertainty=False, **options)
        first, entropy = prediction.free_energy[0], prediction.entropy[0]
        lowest = t[warm][0]
        cold = first + entropy * (lowest**2 - t[~warm] ** 2) / (2 * lowest)
        volumes.append(strained.get_volume())
        columns.append(np.concatenate([cold, prediction.free_energy]))
        if progress is not None:
            progress(done + 1, scales.size)
    return np.array(volumes), np.stack(columns, axis=1)
