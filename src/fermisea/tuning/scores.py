"""Scores of descriptors and networks without training."""

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
    """Returns flat indices of random grid points, equally many per snapshot, and their LDOS, (points, energies)."""
    generator = np.random.default_rng(seed)
    each = -(-count // len(dataset))
    chosen = [np.sort(generator.choice(s.grid.size, min(each, s.grid.size), replace=False)) for s in dataset]
    ldos = [snapshot.read_ldos(index) for snapshot, index in zip(dataset, chosen, strict=True)]
    return chosen, np.concatenate(ldos).astype(np.float64)


def descriptors_at(dataset: Dataset, descriptor: Descriptor, chosen: list[npt.NDArray[np.intp]]) -> FloatArray:
    """Returns the descriptors of the points from ``sampled_points``, (points, features)."""
    found = []
    for snapshot, index in zip(dataset, chosen, strict=True):
        grid = snapshot.grid
        places = np.stack(np.unravel_index(index, grid.shape), axis=-1) / grid.shape @ grid.lattice
        found.append(descriptor.compute_points(snapshot.atoms, places))
    return np.concatenate(found).astype(np.float64)


def cosine_distance(descriptors: npt.ArrayLike, ldos: npt.ArrayLike) -> float:
    """Returns the average cosine similarity distance of a descriptor; low values should indicate good descriptors.

    The distance is the mean over all pairs of points of |cos(x_i, x_j) - cos(d_i, d_j)|, with the descriptors x and the
    LDOS d: points with similar LDOS should have similar descriptors, and other points should not. See Fiedler et al.,
    Mach. Learn.: Sci. Technol. 3, 045008 (2022).

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
    """Returns, for each pair of points, the number of hidden units in the same state (on or off) at both points.

    This is the kernel of Mellor, Turner, Storkey and Crowley, arXiv 2006.04647. A unit is on if the argument of its
    activation function is positive, for any activation function.

    Args:
        network: network with the normalisation of the descriptors.
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
    """Returns log det (K + 1) with the kernel K of an untrained network; high values should indicate good networks.

    A network distinguishes points better if their patterns of active units differ more. The original score (arXiv
    2006.04647) uses K instead of K + 1, whose determinant vanishes if two points have the same pattern.
    """
    kernel = activation_kernel(network, descriptors)
    return float(torch.linalg.slogdet(kernel + torch.eye(len(kernel), dtype=kernel.dtype))[1])
