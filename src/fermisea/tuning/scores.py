"""How good a descriptor or a network may be, judged without training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.data.dataset import Dataset
from fermisea.descriptors import Descriptor
from fermisea.networks.mlp import FUNCTIONS, Mlp
from fermisea.utilities.arrays import FloatArray


def sampled_points(dataset: Dataset, count: int, seed: int) -> tuple[list[npt.NDArray[np.intp]], FloatArray]:
    """Returns random grid points, as many of each snapshot, as flat indices, and their LDOS, (points, energies)."""
    generator = np.random.default_rng(seed)
    each = -(-count // len(dataset))
    chosen = [np.sort(generator.choice(s.grid.size, min(each, s.grid.size), replace=False)) for s in dataset]
    ldos = [snapshot.read_ldos(index) for snapshot, index in zip(dataset, chosen, strict=True)]
    return chosen, np.concatenate(ldos).astype(np.float64)


def descriptors_at(dataset: Dataset, descriptor: Descriptor, chosen: list[npt.NDArray[np.intp]]) -> FloatArray:
    """Returns the descriptors of the points that ``sampled_points`` chose, (points, features)."""
    found = []
    for snapshot, index in zip(dataset, chosen, strict=True):
        grid = snapshot.grid
        places = np.stack(np.unravel_index(index, grid.shape), axis=-1) / grid.shape @ grid.lattice
        found.append(descriptor.compute_points(snapshot.atoms, places))
    return np.concatenate(found).astype(np.float64)


def cosine_distance(descriptors: npt.ArrayLike, ldos: npt.ArrayLike) -> float:
    """Returns the average cosine similarity distance of a descriptor; the lower, the better it should be.

    The mean over all pairs of points of |cos(x_i, x_j) - cos(d_i, d_j)|, x being descriptors and d the LDOS: points
    whose LDOS look alike should look alike to the descriptor, and others not. After Fiedler et al., Mach. Learn.: Sci.
    Technol. 3, 045008 (2022).

    Args:
        descriptors: (points, features).
        ldos: (points, energies).
    """
    difference = np.abs(_cosines(descriptors) - _cosines(ldos))
    return float(difference[np.triu_indices(len(difference), 1)].mean())


def _cosines(rows: npt.ArrayLike) -> FloatArray:
    values = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit = values / np.where(lengths > 0, lengths, 1.0)
    return unit @ unit.T


@torch.no_grad()
def activation_kernel(network: Mlp, descriptors: Tensor) -> Tensor:
    """Returns, for each pair of points, the number of hidden units that both switch on or both switch off.

    The kernel of Mellor, Turner, Storkey and Crowley, arXiv 2006.04647. A unit is on where what enters its activation
    function is positive, whatever that function is.

    Args:
        network: with the normalisation of the descriptors.
        descriptors: (points, features).
    """
    values = (descriptors.to(network.dtype) - network.input_mean) / network.input_scale
    codes = []
    for layer, name in zip(network.layers[:-1], network.activations, strict=True):
        entering = layer(values)
        codes.append(entering > 0)
        values = FUNCTIONS[name](entering)
    on = torch.cat(codes, dim=1).double()
    return on @ on.T + (1 - on) @ (1 - on).T


def naswot(network: Mlp, descriptors: Tensor) -> float:
    """Returns log det (K + 1), K being the kernel of an untrained network; the higher, the better it should be.

    The network tells points apart better the more their patterns of switched units differ. The source (arXiv
    2006.04647) takes K alone, whose determinant vanishes as soon as two points have the same pattern.
    """
    kernel = activation_kernel(network, descriptors)
    return float(torch.linalg.slogdet(kernel + torch.eye(len(kernel), dtype=kernel.dtype))[1])
