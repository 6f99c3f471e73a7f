"""Forces and stress: derivatives of the second-order free energy of a predicted LDOS.

F is a functional of the LDOS d(eps, r) on a grid whose points are dv apart. With D its sum times dv, w_N, w_E, w_S the
integration weights at one tau_e, A = (w_E - tau_e w_S) . D and the Fermi level from w_N . D = N, a change of d changes

    A by (w_E - tau_e w_S - mu w_N) . dD,    int v n by dv sum_r (v(r) - c) w_N . dd(r),    c = int v dn/dmu / (dN/dmu),

where v is the derivative of F with respect to the density n = w_N . d. The factor of dd(r) is therefore a fixed vector
of energies plus, for each density, a vector times a field; the network is linear in its last hidden layer, and
:mod:`fermisea.prediction.gradient` computes the derivatives. The Ewald energy and the core densities add terms that
depend on the atoms directly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from fermisea.grid import RealSpaceGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.energy_axis import EnergyAxis
from fermisea.physics.ewald import ewald_energy
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_energy_derivatives import FreeEnergyDerivatives
from fermisea.physics.integration import EnergyIntegral
from fermisea.physics.ions import Ion, charges, core_density, core_overlap
from fermisea.physics.thermal_states import ThermalState
from fermisea.physics.xc import Functional, smooth_functional
from fermisea.prediction.forward_pass import ForwardPass
from fermisea.prediction.gradient import Cotangent
from fermisea.prediction.readout import Readout
from fermisea.prediction.request import Request
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Mechanics:
    """Derivatives of a free energy at one electronic temperature.

    Attributes:
        forces: (atoms, 3), eV/Angstrom.
        stress: (3, 3), eV/Angstrom^3, symmetric; positive under tension, as in ASE.
    """

    forces: FloatArray
    stress: FloatArray


def thermal_mechanics(
    request: Request,
    forward: ForwardPass,
    readout: Readout,
    dos: DensityOfStates,
    states: Sequence[ThermalState],
    reference: ThermalState | None,
) -> tuple[Mechanics, ...]:
    """Returns forces and stress at each tau_e, in one pass over the grid for each.

    Args:
        request: structure, grid and choice between F(tau_e) and F(tau_e) - F(tau_ref).
        forward: forward pass of the network.
        readout: last layer of the network.
        dos: LDOS integrated over the cell.
        states: states at each tau_e, with densities and derivatives with respect to the Fermi level.
        reference: state at tau_ref, with the same data.
    """
    assert reference is not None  # noqa: S101  # the request refuses forces without total energies
    derivatives = LdosForces(
        forward=forward,
        readout=readout,
        dos=dos,
        reference=reference,
        atoms=request.atoms,
        grid=request.grid,
        fields=FourierGrid(torch.as_tensor(request.grid.lattice), request.grid.shape, request.processes),
        ions=request.ions,
        functional=smooth_functional(request.functional).at(reference.electron_temperature),
        hot=smooth_functional(request.thermal_xc or request.functional),
        axis=request.head.axis,
    )
    return tuple(derivatives.of(state, change=request.forces_of_change) for state in states)


@dataclass(frozen=True, eq=False)
class LdosForces:
    """The parts of forces of the free energy of a predicted LDOS that do not depend on tau_e.

    Attributes:
        forward: forward pass of the network.
        readout: last layer of the network.
        dos: LDOS integrated over the cell.
        reference: state at tau_ref, with densities and derivatives with respect to the Fermi level.
        atoms: structure.
        grid: grid of the densities.
        fields: the same grid for fields, with the processes that share it.
        ions: ion of each element.
        functional: exchange-correlation functional in the Hamiltonian of the LDOS, at tau_ref.
        hot: exchange-correlation functional of F at any tau_e.
        axis: zero of the energies of the LDOS as a function of the structure; None for absolute energies.
    """

    forward: ForwardPass
    readout: Readout
    dos: DensityOfStates
    reference: ThermalState
    atoms: Atoms
    grid: RealSpaceGrid
    fields: FourierGrid
    ions: Mapping[str, Ion]
    functional: Functional
    hot: Functional
    axis: EnergyAxis | None = None

    def of(self, state: ThermalState, *, change: bool = False) -> Mechanics:
        """Returns forces and stress of F(tau_e), or with ``change`` of F(tau_e) - F(tau_ref), in one pass.

        Args:
            state: state at tau_e, with densities and derivatives with respect to the Fermi level.
            change: whether to return derivatives of the difference.
        """
        terms = [(1.0, state, self.hot.at(state.electron_temperature))]
        terms += [(-1.0, self.reference, self.functional)] if change else []
        core = core_density(self.ions, list(self.atoms.symbols), self._positions(), self.fields)
        potentials = torch.zeros((2, *self.fields.own_shape), dtype=torch.float64)  # of tau_ref, tau_e
        core_potential, strain = torch.zeros_like(core), torch.zeros(3, 3, dtype=torch.float64)
        energies = EnergyIntegral(np.zeros(self.dos.energies.size))
        for factor, term, functional in terms:
            found = self._derivatives(term, core, functional)
            potentials[0].add_(found.reference_density, alpha=factor)
            potentials[0 if term is self.reference else 1].add_(found.density, alpha=factor)
            core_potential.add_(found.core_density, alpha=factor)
            strain += factor * found.strain
            del found  # frees the memory for the next one
            w = term.weights
            band_free_energy = w.band_energy - term.electron_temperature * w.entropy
            energies += factor * (band_free_energy - term.fermi_level * w.electrons)
        total = self.dos.integral(energies)
        for place, potential in zip((self.reference, state), potentials, strict=True):
            level = self._at_fixed_electrons(place, potential)
            total -= level * self.dos.integral(place.weights.electrons)
            potential.sub_(level)
        explicit = self._without_the_ldos(math.fsum(factor for factor, *_ in terms), core_potential)
        by_positions, by_strain = self._through_the_ldos(energies, potentials, [self.reference, state])
        by_strain += explicit[1] + strain.numpy() + total * np.eye(3)
        if self.axis is not None and not change:  # a shift of all energies changes E_b by N times the shift
            number = math.fsum(charges(self.ions, list(self.atoms.symbols)))
            by_strain += number * self.axis.strain_derivative(number, self.grid.volume) * np.eye(3)
        return Mechanics(-(by_positions + explicit[0]), (by_strain + by_strain.T) / (2 * self.grid.volume))

    def _positions(self) -> Tensor:
        return torch.as_tensor(self.atoms.positions, dtype=torch.float64)

    def _derivatives(self, state: ThermalState, core: Tensor, hot: Functional) -> FreeEnergyDerivatives:
        assert self.reference.density is not None and state.density is not None  # noqa: S101, PT018  # the caller knows
        return FreeEnergyDerivatives.of(
            reference_density=self.reference.density,
            density=state.density,
            core_density=core,
            grid=self.fields,
            functional=self.functional,
            hot=hot,
        )

    def _at_fixed_electrons(self, state: ThermalState, potential: Tensor) -> float:
        """Returns c, the mean of a potential over the states at the Fermi level, eV."""
        assert state.level_slope is not None and state.level_density is not None  # noqa: S101, PT018
        slope = self.dos.integral(state.level_slope)
        if slope == 0:  # deep in a gap
            return 0.0
        own = torch.tensor(float(np.vdot(potential.numpy(), state.level_density)), dtype=torch.float64)
        return float(self.fields.total(own)) * self.grid.voxel / slope

    def _through_the_ldos(
        self, energies: EnergyIntegral, potentials: Tensor, states: Sequence[ThermalState]
    ) -> tuple[FloatArray, FloatArray]:
        """Returns derivatives with respect to positions and to a strain of cell, atoms and points."""
        vectors = self.readout.vectors([energies, *(state.weights.electrons for state in states)])
        uniform, *others = self.grid.voxel * vectors[:-1].T
        cotangent = Cotangent(uniform, torch.stack(others), potentials.numpy(), self.forward.planes(self.grid).start)
        found = self.forward.gradient(self.grid, cotangent)
        positions, cell = (self.fields.total(torch.from_numpy(part)).numpy() for part in found)
        strain = self.atoms.positions.T @ positions + self.grid.lattice.T @ cell
        return positions, (strain + strain.T) / 2

    def _without_the_ldos(self, share: float, core_potential: Tensor) -> tuple[FloatArray, FloatArray]:
        """Returns derivatives with respect to positions and strain of a fraction of Ewald energy and core densities."""
        symbols: list[str] = list(self.atoms.symbols)
        with torch.enable_grad():
            positions = self._positions().requires_grad_()
            strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
            deformed = torch.eye(3, dtype=torch.float64) + (strain + strain.T) / 2
            places, grid = positions @ deformed, self.fields.with_cell(self.fields.cell @ deformed)
            core = self.grid.voxel * core_overlap(self.ions, symbols, places, grid, core_potential)
            by_positions, by_strain = (self.fields.total(part) for part in _gradients(core, positions, strain))
            if share != 0:
                valence = torch.tensor(charges(self.ions, symbols), dtype=torch.float64)
                ewald = _gradients(share * ewald_energy(places, valence, grid.cell), positions, strain)
                by_positions, by_strain = by_positions + ewald[0], by_strain + ewald[1]
        return by_positions.numpy(), by_strain.numpy()


def _gradients(energy: Tensor, *variables: Tensor) -> tuple[Tensor, ...]:
    """Returns the derivatives of an energy, zero where it does not depend on a variable."""
    if not energy.requires_grad:
        return tuple(torch.zeros_like(variable) for variable in variables)
    return torch.autograd.grad(energy, variables, retain_graph=True)
