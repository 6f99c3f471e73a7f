"""Errors of exported potentials against the potential of the model, at each tau_e."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from fermisea.interop.lammps.structures import Example
from fermisea.potential import RegularModel
from fermisea.units import GIGAPASCAL
from fermisea.utilities.arrays import FloatArray

_CHANGE, _SHARE = 1e-3, 2e-3
"""Error of the change of F that needs no warning: eV/atom, or a share of the change."""

_FORCE_SHARE, _PRESSURE = 0.1, 1.0 * GIGAPASCAL
"""Share of the forces, and error of the pressure, eV/Angstrom^3, that need no warning."""

_FORCE_CHANGE, _FORCE_CHANGE_SHARE = 0.005, 0.5
"""Error of the change of the forces with tau_e that needs no warning: eV/Angstrom, or a share of the change."""


@dataclass(frozen=True)
class ErrorsAt:
    """Root mean square errors at one tau_e over structures that are not in the fit.

    Attributes:
        electron_temperature: tau_e, K.
        free_energy: error of F, eV/atom.
        free_energy_change: error of F(tau_e) - F(tau_ref), eV/atom.
        largest_change_error: largest error of F(tau_e) - F(tau_ref), eV/atom.
        mean_change: mean size of F(tau_e) - F(tau_ref), eV/atom.
        forces: error of a force component, eV/Angstrom.
        force_size: root mean square of a force component, eV/Angstrom.
        force_change: error of the change of a force component from tau_ref, eV/Angstrom.
        force_change_size: root mean square of the change of a force component, eV/Angstrom.
        pressure: error of the pressure, eV/Angstrom^3.
    """

    electron_temperature: float
    free_energy: float
    free_energy_change: float
    largest_change_error: float
    mean_change: float
    forces: float
    force_size: float
    force_change: float
    force_change_size: float
    pressure: float

    def row(self) -> dict[str, float]:
        """Returns the errors by name with unit, as plain numbers."""
        units = {
            "electron_temperature": "K",
            "pressure": "eV_per_A3",
            **dict.fromkeys(("forces", "force_size", "force_change", "force_change_size"), "eV_per_A"),
        }
        return {f"{name}_{units.get(name, 'eV_per_atom')}": value for name, value in asdict(self).items()}

    def warnings(self) -> list[str]:
        """Returns a sentence for each large error."""
        found, at = [], f"at {self.electron_temperature:g} K"
        if self.free_energy_change > max(_CHANGE, _SHARE * self.mean_change):
            found.append(
                f"F(tau_e) - F(tau_ref) of the exported potential {at} has an error of "
                f"{1000 * self.free_energy_change:.1f} meV/atom; give more structures, or a larger twojmax or cutoff"
            )
        if self.forces > _FORCE_SHARE * self.force_size:
            found.append(
                f"forces of the exported potential {at} have an error of {self.forces:.2f} eV/Å; their root mean "
                f"square is {self.force_size:.2f} eV/Å; give more structures, or a larger twojmax or cutoff"
            )
        if self.force_change > max(_FORCE_CHANGE, _FORCE_CHANGE_SHARE * self.force_change_size):
            found.append(
                f"the change of the forces of the exported potential {at} has an error of {self.force_change:.3f} "
                f"eV/Å; its root mean square is {self.force_change_size:.3f} eV/Å; effects of tau_e on the forces are "
                "not reliable; give more structures, or a larger twojmax or cutoff"
            )
        if self.pressure > _PRESSURE:
            found.append(
                f"the pressure of the exported potential {at} has an error of {self.pressure / GIGAPASCAL:.1f} GPa; "
                "give structures at more volumes"
            )
        return found


def errors_of(models: Sequence[RegularModel], examples: Sequence[Example], reference: int) -> list[ErrorsAt]:
    """Returns the errors of models at all tau_e.

    Args:
        models: exported potentials, one for each tau_e.
        examples: structures that are not in the fit, with the results of the potential of the model at each tau_e.
        reference: number of the model at tau_ref.
    """
    predicted = [[model.predict(example.atoms) for model in models] for example in examples]
    energies = np.array(
        [
            [(p.free_energy - f) / len(e.atoms) for p, f in zip(row, e.free_energy, strict=True)]
            for row, e in zip(predicted, examples, strict=True)
        ]
    )
    changes = np.array([(e.free_energy - e.free_energy[reference]) / len(e.atoms) for e in examples])
    forces = [
        np.array([p.forces for p in row]) - e.forces for row, e in zip(predicted, examples, strict=True)
    ]  # (nT, atoms, 3) of each structure
    pressures = np.array(
        [
            [np.trace(p.stress - s) / 3 for p, s in zip(row, e.stress, strict=True)]
            for row, e in zip(predicted, examples, strict=True)
        ]
    )
    found = []
    for t, model in enumerate(models):
        change = energies[:, t] - energies[:, reference]
        found.append(
            ErrorsAt(
                model.electron_temperature,
                _mean_square(energies[:, t]),
                _mean_square(change),
                float(np.abs(change).max()),
                float(np.abs(changes[:, t]).mean()),
                _mean_square(*(item[t] for item in forces)),
                _mean_square(*(e.forces[t] for e in examples)),
                _mean_square(*(item[t] - item[reference] for item in forces)),
                _mean_square(*(e.forces[t] - e.forces[reference] for e in examples)),
                _mean_square(pressures[:, t]),
            )
        )
    return found


def _mean_square(*values: FloatArray) -> float:
    """Returns the root mean square of all numbers."""
    return math.sqrt(float(np.mean(np.square(np.concatenate([value.ravel() for value in values])))))


HEADINGS = (
    "tau_e (K)",
    "F (meV/atom)",
    "change of F (meV/atom)",
    "largest",
    "of",
    "forces (eV/Å)",
    "of",
    "change of forces (eV/Å)",
    "of",
    "pressure (GPa)",
)
"""Headings of the printed table; the errors are root mean squares, and 'of' is the size of the quantity before it."""


def cells(errors: ErrorsAt) -> tuple[str, ...]:
    """Returns a row of the printed table."""
    return (
        f"{errors.electron_temperature:g}",
        f"{1000 * errors.free_energy:.2f}",
        f"{1000 * errors.free_energy_change:.2f}",
        f"{1000 * errors.largest_change_error:.2f}",
        f"{1000 * errors.mean_change:.1f}",
        f"{errors.forces:.4f}",
        f"{errors.force_size:.3f}",
        f"{errors.force_change:.4f}",
        f"{errors.force_change_size:.4f}",
        f"{errors.pressure / GIGAPASCAL:.3f}",
    )
