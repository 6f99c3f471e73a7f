"""Device of a network in a prediction, and route of its descriptors: compiled loops or tensor operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from ase import Atoms

from fermisea.descriptors import Descriptor, Evaluator
from fermisea.errors import InputError
from fermisea.networks.ensemble import Network, on_device
from fermisea.networks.mlp import check_choice
from fermisea.utilities.devices import DeviceName, device_of

if TYPE_CHECKING:
    from fermisea.descriptors.torch_route import TorchEvaluator

Route = Literal["compiled", "torch"]
"""Route of the descriptors: loops compiled for the CPU, or tensor operations on any device."""


def placed(network: Network, device: DeviceName | None, route: str | None) -> tuple[Network, Route]:
    """Returns a network on the device of a prediction, and the route of its descriptors.

    Args:
        network: network on any device.
        device: device of the prediction; by default the device of the network.
        route: route of the descriptors; by default ``"compiled"`` on the CPU and ``"torch"`` on other devices.

    Raises:
        InputError: for an unknown device or route, a device that does not exist, or compiled loops elsewhere than on
            the CPU.
    """
    where = device_of(network.device if device is None else device)
    chosen = route_of(where, route)
    return on_device(network, where), chosen


def route_of(device: torch.device, route: str | None) -> Route:
    """Returns the route of the descriptors on a device. Arguments and errors are the same as for :func:`placed`."""
    if route is not None:
        check_choice("route", route, get_args(Route))
    if route == "compiled" and device.type != "cpu":
        raise InputError(
            f"route: got 'compiled' on the device {device}, but compiled loops need the CPU; omit the route, or choose "
            "the device cpu"
        )
    return "torch" if route == "torch" or device.type != "cpu" else "compiled"


def evaluator_of(
    descriptor: Descriptor, atoms: Atoms, network: Network, route: Route, threads: int | None = None
) -> Evaluator | TorchEvaluator:
    """Returns the evaluator of a descriptor for one structure, in the type of a network and on its device.

    Args:
        descriptor: descriptor of the network.
        atoms: structure.
        network: network on the device of the computation.
        route: route of the descriptors; tensor operations exist for a bispectrum or a power spectrum.
        threads: number of threads of the compiled loops; by default the number of cores available to this process.

    Raises:
        InputError: for an invalid structure, or a descriptor without tensor operations.
    """
    dtype: Literal["float32", "float64"] = "float64" if network.dtype == torch.float64 else "float32"
    if route == "compiled":
        return descriptor.evaluator(atoms, dtype, threads=threads)
    from fermisea.descriptors.torch_route import TorchEvaluator  # noqa: PLC0415  # its import takes a second

    return TorchEvaluator(descriptor, atoms, dtype, network.device)
