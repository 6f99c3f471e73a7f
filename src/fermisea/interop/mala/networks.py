"""MALA's feed-forward network, scalers and restriction as one network that is linear in its last hidden layer.

An activation after the output layer, and the treatment of negative values, become additional hidden layers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from fermisea.errors import FileFormatError, InputError
from fermisea.interop.mala.parameters import LayerActivations, Parameters
from fermisea.interop.mala.scalers import Scaling
from fermisea.networks.mlp import Mlp
from fermisea.utilities.arrays import FloatArray

_KEY = re.compile(r"layers\.(\d+)\.(weight|bias)")
_POSITIVE = frozenset({"relu", "sigmoid", "abs"})


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer.

    Attributes:
        weight: (outputs, inputs).
        bias: (outputs,).
        place: index in MALA's list of layers, in which activations are counted too.
    """

    weight: FloatArray
    bias: FloatArray
    place: int


def linear_layers(state: Any, parameters: Parameters, name: str) -> list[Layer]:
    """Returns the linear layers of a state dictionary.

    Raises:
        FileFormatError: if the layers do not match the parameters.
    """
    places: dict[int, dict[str, FloatArray]] = {}
    for key, value in state.items() if isinstance(state, Mapping) else ():
        match = _KEY.fullmatch(key) if isinstance(key, str) else None
        if match is None or not isinstance(value, np.ndarray):
            what = key[:60] if isinstance(key, str) else type(key).__name__
            raise FileFormatError(f"{name}: holds {what!r}, expected the layers of a feed-forward network")
        places.setdefault(int(match[1]), {})[match[2]] = value.astype(np.float64)
    layers = [Layer(e.get("weight", np.empty(0)), e.get("bias", np.empty(0)), k) for k, e in sorted(places.items())]
    sizes = parameters.layer_sizes
    shapes = [(layer.weight.shape, layer.bias.shape) for layer in layers]
    expected = [((after, before), (after,)) for before, after in itertools.pairwise(sizes)]
    if shapes != expected or not layers:
        raise FileFormatError(f"{name}: got layers of shapes {[s for s, _ in shapes]}, expected sizes {list(sizes)}")
    if not all(np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all() for layer in layers):
        raise FileFormatError(f"{name}: got weights that are not finite, expected a trained network")
    return layers


def choose_activations(
    layers: Sequence[Layer], parameters: Parameters, reading: LayerActivations, name: str
) -> tuple[str | None, ...]:
    """Returns the function after each layer, including the last one; None for no function.

    Activations between the layers have indices in MALA's list; a meaning that contradicts them is refused. Whether an
    activation follows the last layer is not visible in the list: files with an entry for it are read as "current",
    others as "legacy".

    Raises:
        InputError: if the requested meaning, or both, contradict the network.
    """
    seen = [right.place - left.place == 2 for left, right in itertools.pairwise(layers)]
    tried: tuple[Literal["legacy", "current"], ...]
    if reading == "auto":
        tried = ("legacy", "current") if parameters.includes_output is None else ("current", "legacy")
    else:
        tried = (reading,)
    for choice in tried:
        functions = parameters.activations(choice)
        if [function is not None for function in functions[:-1]] == seen:
            return functions
    raise InputError(
        f"{name}: activations follow the layers {[k for k, follows in enumerate(seen) if follows]}, but "
        f"layer_activations {parameters.layer_activations!r} read as {' or '.join(tried)} says otherwise; "
        "choose another meaning with layer_activations="
    )


def assemble(
    layers: Sequence[Layer],
    activations: Sequence[str | None],
    inputs: Scaling,
    outputs: Scaling,
    parameters: Parameters,
    dtype: str,
) -> Mlp:
    """Returns the network from descriptors to the LDOS in 1/(eV Angstrom^3) on the combined energy grid.

    Args:
        layers: linear layers in order.
        activations: function after each layer.
        inputs: scaling of the descriptors.
        outputs: scaling of the LDOS.
        parameters: energies and restriction of the output.
        dtype: type of the network, ``"float32"`` or ``"float64"``.
    """
    # MALA sets a feature without variation to 0
    constant = inputs.scale == 0
    first = np.where(constant, 0.0, layers[0].weight)
    affine = [(first, layers[0].bias), *((layer.weight, layer.bias) for layer in layers[1:])]
    functions = [function or "identity" for function in activations]
    scale, shift = outputs.scale, outputs.shift
    if activations[-1] is None:
        weight, bias = affine.pop()
        functions.pop()
        final = (scale[:, None] * weight, scale * bias + shift)
    else:
        final = (np.diag(scale), shift)
    restriction = parameters.restriction
    positive = activations[-1] in _POSITIVE and bool((shift >= 0).all())
    if (restriction is not None and not positive) or not affine:
        affine.append(final)
        functions.append(restriction or "identity")
        final = (np.eye(scale.size), np.zeros(scale.size))
    if parameters.energies.interpolation is not None:
        final = (parameters.energies.interpolation @ final[0], parameters.energies.interpolation @ final[1])
    affine.append(final)
    widths = tuple(weight.shape[0] for weight, _ in affine[:-1])
    network = Mlp(first.shape[1], widths, final[0].shape[0], functions, dtype=dtype)
    state: dict[str, FloatArray] = {
        "input_mean": inputs.shift,
        "input_scale": np.where(constant, 1.0, inputs.scale),
        "output_mean": np.zeros(network.outputs),
        "output_scale": np.ones(network.outputs),
    }
    for index, (weight, bias) in enumerate(affine):
        state |= {f"layers.{index}.weight": weight, f"layers.{index}.bias": bias}
    network.load_state_dict({key: torch.tensor(value, dtype=network.dtype) for key, value in state.items()})
    return network.eval().requires_grad_(requires_grad=False)
