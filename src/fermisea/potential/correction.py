"""Small networks that correct the atomic energies of a linear regular model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.descriptors.sites import Sites
from fermisea.errors import InputError
from fermisea.networks.mlp import Mlp
from fermisea.potential.fit import ENERGY_WEIGHT, STRESS_WEIGHT
from fermisea.potential.model import RegularModel

_HELD = 0.2
"""Fraction of the structures held out for early stopping."""

_RATE = 1e-2
"""Initial learning rate of Adam, with a cosine schedule."""


@dataclass(frozen=True)
class _Structure:
    """Data of one structure: residuals of the linear model, and derivatives of the descriptors.

    Attributes:
        values: descriptors of the atoms, (atoms, features).
        by_position: derivatives of the descriptors with respect to positions, (atoms, features, 3 atoms).
        by_strain: derivatives of the descriptors with respect to strain, (atoms, features, 9).
        elements: index of each atom's element, (atoms,).
        energy: F of the DFT code minus F of the linear model, eV.
        forces: forces of the DFT code minus forces of the linear model, (3 atoms,), eV/Angstrom; empty without forces.
        virial: the same difference of stress times volume, (9,), eV; empty without stress.
    """

    values: Tensor
    by_position: Tensor
    by_strain: Tensor
    elements: Tensor
    energy: float
    forces: Tensor
    virial: Tensor

    @classmethod
    def of(cls, snapshot: Snapshot, linear: RegularModel) -> _Structure:
        """Computes the data of one structure."""
        atoms, reference = snapshot.atoms, snapshot.reference
        sites, predicted = Sites(linear.descriptor, atoms), linear.predict(atoms)
        by_position, by_strain = sites.jacobian()
        count, features = len(atoms), linear.descriptor.features
        forces = virial = np.zeros(0)
        if reference.forces is not None:
            forces = (np.asarray(reference.forces, dtype=np.float64) - predicted.forces).ravel()
        if reference.stress is not None:
            change = np.asarray(reference.stress, dtype=np.float64) - predicted.stress
            virial = (change * snapshot.grid.volume).ravel()
        return cls(
            torch.from_numpy(sites.values()),
            torch.from_numpy(by_position.reshape(count, features, -1)),
            torch.from_numpy(by_strain.reshape(count, features, -1)),
            torch.tensor([linear.elements.index(symbol) for symbol in atoms.symbols]),
            reference.free_energy - predicted.free_energy,
            torch.from_numpy(forces),
            torch.from_numpy(virial),
        )

    def loss(self, networks: Sequence[Mlp], energy_weight: float, stress_weight: float) -> Tensor:
        """Returns the weighted sum of squared residuals of the networks, per atom."""
        atoms = len(self.values)
        values = self.values.clone().requires_grad_()
        energy = atomic_energies(networks, values, self.elements).sum()
        (slopes,) = torch.autograd.grad(energy, values, create_graph=True)
        total = (energy_weight * (energy - self.energy)) ** 2 / atoms
        if len(self.forces):
            forces = -torch.einsum("ak,akx->x", slopes, self.by_position)
            total = total + (forces - self.forces).square().sum()
        if len(self.virial) and stress_weight > 0:
            virial = torch.einsum("ak,akx->x", slopes, self.by_strain)
            total = total + stress_weight**2 * (virial - self.virial).square().sum() / atoms
        return total / atoms


def atomic_energies(networks: Sequence[Mlp], values: Tensor, elements: Tensor) -> Tensor:
    """Returns the output of each atom's network, (atoms,), eV, for descriptors, (atoms, features)."""
    energies = values.new_zeros(len(values))
    for index, network in enumerate(networks):
        members = torch.nonzero(elements == index).flatten()
        if len(members):
            energies = energies.index_add(0, members, network(values[members])[:, 0])
    return energies


def fit_correction(
    dataset: Dataset,
    linear: RegularModel,
    hidden: tuple[int, ...] = (16, 16),
    *,
    steps: int = 600,
    energy_weight: float = ENERGY_WEIGHT,
    stress_weight: float = STRESS_WEIGHT,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> RegularModel:
    """Returns the linear model with a network for each element added to its atomic energies.

    The initial output of the networks is zero, so training starts from the linear model. A fifth of the structures is
    held out to find the number of Adam steps with the smallest error; the networks are then trained on all structures
    for this number of steps. If the number is zero, no networks are added.

    Args:
        dataset: data of the linear fit.
        linear: linear model from :func:`fermisea.potential.fit_regular`.
        hidden: sizes of the hidden layers.
        steps: largest number of training steps; each step uses all structures.
        energy_weight: as for ``fit_regular``.
        stress_weight: as for ``fit_regular``.
        seed: random seed of the initial weights and of the held-out structures.
        progress: callback with the number of steps done and the total number of steps.

    Raises:
        InputError: for fewer than five structures, invalid layer sizes, or an element outside the linear model.
    """
    if len(dataset) < 5:
        raise InputError(f"networks of atomic energies: got {len(dataset)} structures, expected at least five")
    if steps < 1:
        raise InputError(f"steps: got {steps}, expected at least 1")
    unknown = sorted({s for snapshot in dataset for s in snapshot.atoms.symbols} - set(linear.elements))
    if unknown:
        raise InputError(
            f"networks of atomic energies: got the elements {', '.join(unknown)}, which are not in the linear model"
        )
    structures = [_Structure.of(snapshot, linear) for snapshot in dataset]
    order = np.random.default_rng(seed).permutation(len(structures))
    count = max(1, round(_HELD * len(structures)))
    held, rest = [structures[k] for k in order[:count]], [structures[k] for k in order[count:]]
    weights = (energy_weight, stress_weight)
    whole = 2 * steps

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, whole)

    judged: list[float] = []
    networks = _networks(linear, structures, hidden, seed)
    judged.append(_mean_loss(held, networks, weights))
    for step in _train(rest, networks, steps, steps, weights):
        judged.append(_mean_loss(held, networks, weights))
        tell(step)
    best = int(np.argmin(judged))
    networks = _networks(linear, structures, hidden, seed)
    for step in _train(structures, networks, best, steps, weights):
        tell(steps + step)
    tell(whole)
    gain = math.sqrt(judged[best] / judged[0]) if judged[0] > 0 else 1.0
    settings = {"network": list(hidden), "network_steps": best, "network_error_over_linear": gain}
    corrections = tuple(network.eval().requires_grad_(requires_grad=False) for network in networks)
    return replace(linear, corrections=corrections, provenance=dict(linear.provenance) | settings)


def _networks(linear: RegularModel, structures: Sequence[_Structure], hidden: tuple[int, ...], seed: int) -> list[Mlp]:
    """Returns a network with zero output for each element; inputs are normalised over the atoms of the element."""
    found = []
    for index in range(len(linear.elements)):
        network = Mlp(linear.descriptor.features, hidden, 1, dtype="float64", seed=seed + index)
        rows = torch.cat([s.values[s.elements == index] for s in structures])
        scale = rows.std(0, correction=0)  # the data may contain a single atom of an element
        scale = torch.where(scale > 0.01 * scale.max(), scale, 0.01 * scale.max() + 1e-12)
        network.set_normalisation(rows.mean(0), scale, torch.zeros(1), torch.ones(1))
        width = network.widths[-1]
        network.set_readout(torch.zeros(1, width, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
        found.append(network)
    return found


def _train(
    structures: Sequence[_Structure], networks: Sequence[Mlp], steps: int, planned: int, weights: tuple[float, float]
) -> Iterator[int]:
    """Performs the first ``steps`` of ``planned`` Adam steps; yields the number of each step."""
    parameters = nn.ModuleList(networks).parameters()
    optimiser = torch.optim.Adam(parameters, lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, planned)
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        for structure in structures:
            (structure.loss(networks, *weights) / len(structures)).backward()
        optimiser.step()
        schedule.step()
        yield step


def _mean_loss(structures: Sequence[_Structure], networks: Sequence[Mlp], weights: tuple[float, float]) -> float:
    return math.fsum(structure.loss(networks, *weights).item() for structure in structures) / len(structures)
