"""A model of the free energy at one electronic temperature: a sum of atomic energies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from ase import Atoms

from fermisea import descriptors
from fermisea.descriptors import Descriptor
from fermisea.descriptors.neighbors import weights_of
from fermisea.descriptors.sites import Sites
from fermisea.networks.mlp import Mlp
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True)
class RegularPrediction:
    """What a regular model says of a structure, at its own electronic temperature.

    Attributes:
        free_energy: of the cell, eV.
        forces: (atoms, 3), eV/Angstrom.
        stress: (3, 3), eV/Angstrom^3, symmetric; positive under tension, as in ASE.
    """

    free_energy: float
    forces: FloatArray
    stress: FloatArray


@dataclass(frozen=True, eq=False)
class RegularModel:
    """F = sum over atoms of a constant of the element plus a function of the descriptor of the atom's surroundings.

    The descriptor is that of the grid points of an LDOS, taken at the atoms, without the atom itself. Such a model
    knows one electronic temperature.

    Attributes:
        descriptor: of the surroundings.
        coefficients: of each element, (elements, features), eV.
        constants: energy of each element, (elements,), eV.
        elements: in this order.
        electron_temperature: tau_e that it was fitted at, K.
        provenance: data, settings and errors of the fit.
        corrections: networks whose output, eV, is added to the energies of the atoms of each element; or none.
    """

    descriptor: Descriptor
    coefficients: FloatArray
    constants: FloatArray
    elements: tuple[str, ...]
    electron_temperature: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    corrections: tuple[Mlp, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns everything but the numbers of the fit as plain data."""
        return {
            "descriptor": self.descriptor.to_dict(),
            "elements": list(self.elements),
            "electron_temperature": self.electron_temperature,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], coefficients: FloatArray, constants: FloatArray) -> Self:
        """Returns the model with the entries that ``to_dict`` gave.

        Raises:
            KeyError, TypeError, InputError: for something else.
            ValueError: if sizes do not fit together.
        """
        descriptor, elements = descriptors.from_dict(entries["descriptor"]), tuple(entries["elements"])
        if coefficients.shape != (len(elements), descriptor.features) or constants.shape != (len(elements),):
            raise ValueError("coefficients, descriptor and elements of the regular model differ in size")
        temperature = float(entries["electron_temperature"])
        return cls(descriptor, coefficients, constants, elements, temperature, dict(entries["provenance"]))

    def predict(self, atoms: Atoms, threads: int | None = None) -> RegularPrediction:
        """Returns free energy, forces and stress of a structure.

        Args:
            atoms: positions and cell, periodic in all three directions.
            threads: that share the work.

        Raises:
            InputError: for an element that the model does not know, and as ``Descriptor.evaluator``.
        """
        symbols = atoms.get_chemical_symbols()
        number = weights_of(symbols, {element: float(i) for i, element in enumerate(self.elements)}).astype(np.int64)
        sites = Sites(self.descriptor, atoms, threads)
        values, slopes = sites.values(), self.coefficients[number]
        energy = float(self.constants[number].sum() + np.sum(values * slopes))
        for index, network in enumerate(self.corrections):
            members = np.flatnonzero(number == index)
            with torch.enable_grad():
                rows = torch.from_numpy(values[members]).requires_grad_()
                added = network(rows).sum()
            slopes[members] += torch.autograd.grad(added, rows)[0].numpy()
            energy += added.item()
        positions, strain = sites.vjp(slopes)
        return RegularPrediction(energy, -positions, strain / abs(np.linalg.det(atoms.cell.array)))
