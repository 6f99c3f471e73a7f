"""Results of a model for the probes, and results of DFT that a model can be compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from fermisea.model.model import Model
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.studies.aluminium.probes import Probe
from fermisea.studies.aluminium.properties import Key, Result
from fermisea.utilities.arrays import FloatArray


def model_results(model: Model, probes: Sequence[Probe]) -> dict[Key, Result]:
    """Returns the results of the potential of a model for each probe and tau_e."""
    potential = model.potential()
    found = {}
    for probe in probes:
        with domain_warnings_ignored():
            for tau_e in probe.electron_temperatures:
                p = potential.predict(probe.atoms, tau_e)
                found[probe.name, tau_e] = Result(float(p.free_energy), p.forces, p.stress)
    return found


def without_pulay(model: Model, run: Result, atoms: Atoms, electron_temperature: float) -> Result:
    """Returns a run of DFT without the Pulay part of its stress; arguments as for :func:`pulay_part`."""
    return replace(run, stress=run.stress - pulay_part(model, atoms, electron_temperature))


def pulay_part(model: Model, atoms: Atoms, electron_temperature: float) -> FloatArray:
    """Returns the part of the stress of the plane-wave code that is no derivative of F, (3, 3), eV/Angstrom^3.

    Args:
        model: model whose potentials were fitted with this part as a parameter.
        atoms: the structure.
        electron_temperature: tau_e, K; the parameter is taken from the nearest tau_ref of the model.
    """
    part = min(model.parts, key=lambda one: abs(math.log(one.reference_electron_temperature / electron_temperature)))
    assert part.anchor is not None  # noqa: S101  # the study trains one
    virial = float(part.anchor.provenance["pulay_virial_per_atom"])
    return virial * len(atoms) / atoms.get_volume() * np.eye(3)
