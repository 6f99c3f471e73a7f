"""The anchor of a prediction: the one place where free energy, internal energy, forces and stress are shifted.

An anchored free energy is F of an interatomic potential at tau_ref plus F(tau_e) - F(tau_ref) of the LDOS. Forces and
stress of the LDOS are then derivatives of that change, and the potential adds its own.
"""

from __future__ import annotations

from dataclasses import replace

from fermisea.prediction.forces import Mechanics
from fermisea.prediction.result import Prediction


def with_anchor(prediction: Prediction, free_energy: float, mechanics: Mechanics, *, apply: bool) -> Prediction:
    """Returns a prediction with an anchor.

    Args:
        prediction: prediction with total free energies of the LDOS alone. Forces and stress, where present, are
            derivatives of F(tau_e) - F(tau_ref) if ``apply`` is set, and of F(tau_e) otherwise.
        free_energy: F(tau_ref) of the interatomic potential, eV.
        mechanics: forces and stress of the interatomic potential.
        apply: whether energies, their spread, forces and stress start from the anchor; otherwise the anchored free
            energy is only available beside the free energy of the LDOS.
    """
    results = tuple(result.anchor_to(free_energy, apply=apply) for result in prediction.results)
    found = replace(prediction, results=results, anchor=free_energy, anchored=apply)
    if not apply:
        return found
    if found.uncertainty is not None:
        found = replace(found, uncertainty=replace(found.uncertainty, anchored=True))
    if found.mechanics is not None:
        added = tuple(Mechanics(m.forces + mechanics.forces, m.stress + mechanics.stress) for m in found.mechanics)
        found = replace(found, mechanics=added)
    return found
