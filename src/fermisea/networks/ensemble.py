"""Ensemble of networks: the mean of their LDOS, and each network, from a joint hidden layer."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fermisea.errors import InputError
from fermisea.networks.mlp import DTYPES, Mlp


class Ensemble(nn.Module):
    """Networks with different weights, whose LDOS is the mean over the networks (members).

    The joint hidden layer consists of the last hidden layers of all members. The LDOS of the mean and of every member
    is linear in it, so a single pass over a grid gives the observables of all of them.

    Attributes:
        members: networks of the ensemble.
        inputs: number of descriptors of a point.
        widths: size of the joint hidden layer.
        outputs: number of energies.
    """

    def __init__(self, members: Sequence[Mlp]) -> None:
        """Creates an ensemble from its networks.

        Raises:
            InputError: for fewer than two networks, or networks with different inputs, outputs or types.
        """
        super().__init__()
        kinds = {(member.inputs, member.outputs, member.dtype) for member in members}
        if len(members) < 2 or len(kinds) > 1:
            raise InputError(
                f"ensemble: got {len(members)} networks of {sorted(map(str, kinds))} (inputs, outputs, type), expected "
                "two or more networks of the same kind"
            )
        self._members = nn.ModuleList(members)
        self.inputs, self.outputs = members[0].inputs, members[0].outputs
        self.widths = (sum(member.widths[-1] for member in members),)

    @property
    def members(self) -> tuple[Mlp, ...]:
        """Networks of the ensemble."""
        return tuple(member for member in self._members if isinstance(member, Mlp))

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of weights, inputs and outputs."""
        return self.members[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.members[0].device

    def hidden(self, descriptors: Tensor) -> Tensor:
        """Returns the joint hidden layer, (points, widths[-1]), for descriptors, (points, inputs)."""
        return torch.cat([member.hidden(descriptors) for member in self.members], dim=1)

    def forward(self, descriptors: Tensor) -> Tensor:
        """Returns the mean LDOS, (points, outputs), 1/(eV Angstrom^3), for descriptors, (points, inputs)."""
        return torch.stack([member(descriptors) for member in self.members]).mean(0)

    def readout(self) -> tuple[Tensor, Tensor]:
        """Returns (matrix (outputs, widths[-1]), bias (outputs,)) of the mean LDOS; see :meth:`Mlp.readout`."""
        matrices, biases = zip(*(member.readout() for member in self.members), strict=True)
        return torch.cat(matrices, dim=1) / len(matrices), torch.stack(biases).mean(0)

    def member_readouts(self) -> list[tuple[Tensor, Tensor]]:
        """Returns matrix and bias for the LDOS of each member."""
        found, place = [], 0
        for member in self.members:
            own, bias = member.readout()
            matrix = torch.zeros(self.outputs, self.widths[-1], dtype=own.dtype, device=own.device)
            matrix[:, place : place + own.shape[1]] = own
            place += own.shape[1]
            found.append((matrix, bias))
        return found


Network = Mlp | Ensemble
"""Kinds of networks in a model."""


def on_device(network: Network, device: torch.device) -> Network:
    """Returns a copy of a network on a device, or the network itself if it is there."""
    return network if network.device == device else copy.deepcopy(network).to(device)


def architecture(network: Network) -> dict[str, Any]:
    """Returns the architecture of a network, without its weights, as plain data."""
    if isinstance(network, Ensemble):
        return {"members": [architecture(member) for member in network.members]}
    return {
        "inputs": network.inputs,
        "hidden": network.widths,
        "outputs": network.outputs,
        "activation": _activation(network),
        "dtype": _name(network.dtype),
    }


def network_of(shape: Mapping[str, Any]) -> Network:
    """Returns a network with arbitrary weights from the result of ``architecture``.

    Raises:
        KeyError, TypeError, ValueError, InputError: for other data.
    """
    if "members" in shape:
        members = [network_of(member) for member in shape["members"]]
        return Ensemble([member for member in members if isinstance(member, Mlp)])
    return Mlp(
        int(shape["inputs"]),
        tuple(int(width) for width in shape["hidden"]),
        int(shape["outputs"]),
        shape["activation"],
        dtype=str(shape["dtype"]),
    )


def _activation(network: Mlp) -> str | tuple[str, ...]:
    """Returns the name of the activation, or one name for each hidden layer if they differ."""
    names = network.activations
    return names[0] if len(set(names)) == 1 else names


def _name(dtype: torch.dtype) -> str:
    return next(name for name, known in DTYPES.items() if known == dtype)
