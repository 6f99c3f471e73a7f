"""Regular model: an interatomic potential for the free energy at one electronic temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms

from fermisea import descriptors
from fermisea.descriptors import Descriptor
from fermisea.descriptors.neighbors import weights_of
from fermisea.descriptors.sites import Sites
from fermisea.grid import check_structure
from fermisea.networks.mlp import Mlp
from fermisea.potential.posterior import Posterior
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.torchrun import ALONE, Processes


@dataclass(frozen=True)
class RegularPrediction:
    """Prediction of a regular model for a structure, at the electronic temperature of the model.

    Attributes:
        free_energy: free energy of the cell, eV.
        forces: (atoms, 3), eV/Angstrom; empty if they were not computed.
        stress: (3, 3), eV/Angstrom^3, symmetric; positive under tension, as in ASE; empty with the forces.
        free_energy_std: estimated standard error of the free energy, eV; NaN if it was not computed.
    """

    free_energy: float
    forces: FloatArray
    stress: FloatArray
    free_energy_std: float = math.nan


@dataclass(frozen=True, eq=False)
class RegularSites:
    """Descriptors of the atoms of a structure, with the energy of a regular model and its derivatives.

    Several processes may share the atoms. Each then has the descriptors of some of them.

    Attributes:
        sites: descriptors of the atoms of this process, and their derivatives.
        atoms: number of atoms of the structure.
        volume: volume of the cell, Angstrom^3.
        elements: index of the element of each atom of this process, (own,).
        values: descriptors, (own, features).
        energy: free energy of the regular model, eV.
        slopes: derivatives of the energy with respect to ``values``, (own, features), eV.
        processes: processes that share the atoms.
    """

    sites: Sites
    atoms: int
    volume: float
    elements: npt.NDArray[np.int64]
    values: FloatArray
    energy: float
    slopes: FloatArray
    processes: Processes = ALONE

    def row(self, elements: int) -> FloatArray:
        """Returns :func:`row_of` the descriptors of all atoms for a number of elements."""
        return self.processes.sum_array(row_of(self.values, self.elements, elements))

    def prediction(self, energy: float = 0.0, coefficients: FloatArray | None = None) -> RegularPrediction:
        """Returns free energy, forces and stress, with an added energy that is linear in the descriptors.

        Args:
            energy: added energy of the cell, eV.
            coefficients: coefficients of the added energy, (elements, features), eV; None without one.
        """
        slopes = self.slopes if coefficients is None else self.slopes + coefficients[self.elements]
        positions, strain = map(self.processes.sum_array, self.sites.vjp(slopes))
        return RegularPrediction(self.energy + energy, -positions, strain / self.volume)


def row_of(values: FloatArray, elements: npt.NDArray[np.int64], size: int) -> FloatArray:
    """Returns numbers of atoms and sums of descriptors of each element, as one row for linear energies.

    Args:
        values: descriptors, (atoms, features).
        elements: index of the element of each atom, (atoms,).
        size: number of elements.
    """
    sums = np.zeros((size, values.shape[1]))
    np.add.at(sums, elements, values)
    return np.concatenate([np.bincount(elements, minlength=size), sums.ravel()])


@dataclass(frozen=True, eq=False)
class RegularModel:
    """F as a sum over atoms: a constant of the element plus a function of the descriptor of the surroundings.

    The descriptor is of the same kind as at the grid points of an LDOS, but evaluated at the atoms, without the atom
    itself. A regular model is valid at a single electronic temperature.

    Attributes:
        descriptor: descriptor of the surroundings.
        coefficients: coefficients of each element, (elements, features), eV.
        constants: energy of each element, (elements,), eV.
        elements: elements in the order of the coefficients.
        electron_temperature: tau_e of the fitted data, K.
        provenance: data, settings and errors of the fit.
        corrections: network for each element, whose output, eV, is added to the atomic energies; or None.
        posterior: spread of F for other structures; None if unknown.
    """

    descriptor: Descriptor
    coefficients: FloatArray
    constants: FloatArray
    elements: tuple[str, ...]
    electron_temperature: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    corrections: tuple[Mlp, ...] = ()
    posterior: Posterior | None = None

    @property
    def left_out_error(self) -> float:
        """Root mean square error of F for structures left out of the fit, eV/atom; 0 if it was not measured."""
        return float(self.provenance.get("left_out_free_energy_error", 0.0))

    def to_dict(self) -> dict[str, Any]:
        """Returns the description of the model, without the fitted coefficients, as plain data."""
        return {
            "descriptor": self.descriptor.to_dict(),
            "elements": list(self.elements),
            "electron_temperature": self.electron_temperature,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], coefficients: FloatArray, constants: FloatArray) -> Self:
        """Returns the model from the result of ``to_dict``.

        Raises:
            KeyError, TypeError, InputError: for other data.
            ValueError: if sizes are inconsistent.
        """
        descriptor, elements = descriptors.from_dict(entries["descriptor"]), tuple(entries["elements"])
        if coefficients.shape != (len(elements), descriptor.features) or constants.shape != (len(elements),):
            raise ValueError("coefficients, descriptor and elements of the regular model differ in size")
        temperature = float(entries["electron_temperature"])
        return cls(descriptor, coefficients, constants, elements, temperature, dict(entries["provenance"]))

    def spread(self, atoms: Atoms, processes: Processes = ALONE) -> float:
        """Returns the spread of F per atom from the coefficients, see :meth:`Posterior.spread`; NaN if unknown.

        Args:
            atoms: positions and cell, periodic in all three directions.
            processes: processes that share the atoms.

        Raises:
            InputError: as ``predict``.
        """
        if self.posterior is None:
            return math.nan
        return self.posterior.spread(self.at(atoms, processes=processes).row(len(self.elements)), len(atoms))

    def predict(
        self, atoms: Atoms, threads: int | None = None, *, derivatives: bool = True, processes: Processes = ALONE
    ) -> RegularPrediction:
        """Returns free energy, forces and stress of a structure.

        Args:
            atoms: positions and cell, periodic in all three directions.
            threads: number of threads.
            derivatives: whether to compute forces and stress; without, both are empty.
            processes: processes that share the atoms.

        Raises:
            InputError: for an element outside the model, atoms at nearly the same place, and as
                ``Descriptor.evaluator``.
        """
        at = self.at(atoms, threads, processes=processes)
        deviation = self.left_out_error * len(atoms)
        if self.posterior is not None:
            variance = self.posterior.variance(at.row(len(self.elements)), len(atoms))
            deviation = math.sqrt(float(variance))
        if not derivatives:
            return RegularPrediction(at.energy, np.empty((0, 3)), np.empty((0, 3)), deviation)
        return replace(at.prediction(), free_energy_std=deviation)

    def at(self, atoms: Atoms, threads: int | None = None, *, processes: Processes = ALONE) -> RegularSites:
        """Returns the descriptors of the atoms of a structure, with the energy of the model.

        Args:
            atoms: positions and cell, periodic in all three directions.
            threads: number of threads.
            processes: processes that share the atoms.

        Raises:
            InputError: as ``predict``.
        """
        check_structure(atoms, periodic=False)
        symbols = atoms.get_chemical_symbols()
        every = weights_of(symbols, {element: float(i) for i, element in enumerate(self.elements)}).astype(np.int64)
        sites = Sites(self.descriptor, atoms, threads, members=np.arange(len(atoms))[processes.part(len(atoms))])
        number = every[sites.members]
        values, slopes = sites.values(), self.coefficients[number]
        energy = float(self.constants[number].sum() + np.sum(values * slopes))
        for index, network in enumerate(self.corrections):
            members = np.flatnonzero(number == index)
            with torch.enable_grad():
                rows = torch.from_numpy(values[members]).requires_grad_()
                added = network(rows).sum()
            slopes[members] += torch.autograd.grad(added, rows)[0].numpy()
            energy += added.item()
        volume = abs(float(np.linalg.det(atoms.cell.array)))
        (energy,) = processes.sum_array(np.array([energy]))
        return RegularSites(sites, len(atoms), volume, number, values, float(energy), slopes, processes)
