"""A perceptron from descriptors to the LDOS, linear in its last hidden layer, with built-in normalisation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from fermisea.errors import InputError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
    "relu": nn.functional.relu,
    "leaky_relu": nn.functional.leaky_relu,
}
"""Activation functions for training, by name."""

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **ACTIVATIONS,
    "sigmoid": torch.sigmoid,
    "abs": torch.abs,
    "identity": lambda values: values,
}
"""Functions after a hidden layer, by name."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""Floating-point types by name."""


Stage = tuple[Tensor, Tensor, str]
"""Weight, bias and name of the activation of a hidden layer."""


def hidden_layers(values: Tensor, stages: Iterable[Stage]) -> Tensor:
    """Returns the last hidden layer, (points, width), of normalised inputs, (points, inputs): the forward pass."""
    for weight, bias, name in stages:
        values = _activate(name, nn.functional.linear(values, weight, bias))
    return values


def _activate(name: str, values: Tensor) -> Tensor:
    """Returns the activation of ``values``, which are overwritten if no derivative needs them."""
    if values.requires_grad:
        return FUNCTIONS[name](values)
    match name:
        case "silu":
            return nn.functional.silu(values, inplace=True)
        case "relu":
            return nn.functional.relu(values, inplace=True)
        case "leaky_relu":
            return nn.functional.leaky_relu(values, inplace=True)
        case "tanh":
            return values.tanh_()
        case _:
            return FUNCTIONS[name](values)


class Mlp(nn.Module):
    """A multilayer perceptron d(x) = m + s * (W h(x) + b) with the last hidden layer h.

    The map from h to d is linear, so every linear functional of the LDOS (its sum over a grid, a density) follows
    from h alone; ``readout`` gives that map. Inputs are normalised as (x - input_mean) / input_scale.

    Attributes:
        inputs: number of descriptors of a point.
        widths: sizes of the hidden layers.
        outputs: number of energies.
        activations: name of the function that follows each hidden layer.
        input_mean, input_scale: buffers, (inputs,), in units of the descriptors.
        output_mean, output_scale: buffers, (outputs,), 1/(eV Angstrom^3).
    """

    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        outputs: int,
        activation: str | Sequence[str] = "silu",
        *,
        dtype: str = "float32",
        seed: int = 0,
    ) -> None:
        """Creates a network with random weights.

        Args:
            inputs: number of descriptors of a point.
            hidden: sizes of the hidden layers, at least one.
            outputs: number of energies.
            activation: one of ``FUNCTIONS`` for all hidden layers, or one for each.
            dtype: type of the weights, ``"float32"`` or ``"float64"``.
            seed: random seed of the initial weights; torch's global generator is not used.

        Raises:
            InputError: for an unknown activation or dtype, or sizes below one.
        """
        super().__init__()
        activations = (activation,) * len(hidden) if isinstance(activation, str) else tuple(activation)
        for name in activations:
            check_choice("activation", name, tuple(FUNCTIONS))
        check_choice("dtype", dtype, tuple(DTYPES))
        sizes = (inputs, *hidden, outputs)
        if len(hidden) < 1 or min(sizes) < 1:
            raise InputError(f"network sizes: got {sizes}, expected positive numbers and at least one hidden layer")
        if len(activations) != len(hidden):
            raise InputError(
                f"activation: got {len(activations)} for {len(hidden)} hidden layers, expected one for each"
            )
        self.inputs, self.widths, self.outputs, self.activations = inputs, tuple(hidden), outputs, activations
        kind = DTYPES[dtype]
        self.layers = nn.ModuleList(_Linear(before, after, dtype=kind) for before, after in itertools.pairwise(sizes))
        self.register_buffer("input_mean", torch.zeros(inputs, dtype=kind))
        self.register_buffer("input_scale", torch.ones(inputs, dtype=kind))
        self.register_buffer("output_mean", torch.zeros(outputs, dtype=kind))
        self.register_buffer("output_scale", torch.ones(outputs, dtype=kind))
        self._initialise(seed)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of weights, inputs and outputs."""
        return self.input_mean.dtype

    @property
    def members(self) -> tuple[Mlp, ...]:
        """The network itself, as an ensemble of one."""
        return (self,)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.input_mean.device

    def set_normalisation(
        self, input_mean: Tensor, input_scale: Tensor, output_mean: Tensor, output_scale: Tensor
    ) -> None:
        """Sets the normalisation of descriptors, (inputs,), and of the LDOS, (outputs,) in 1/(eV Angstrom^3)."""
        with torch.no_grad():
            self.input_mean.copy_(input_mean)
            self.input_scale.copy_(input_scale)
            self.output_mean.copy_(output_mean)
            self.output_scale.copy_(output_scale)

    def hidden(self, descriptors: Tensor) -> Tensor:
        """Returns the last hidden layer, (points, widths[-1]), for descriptors, (points, inputs)."""
        return hidden_layers((descriptors - self.input_mean) / self.input_scale, self.stages())

    def stages(self) -> Iterator[Stage]:
        """Yields weight, bias and name of the activation of each hidden layer."""
        for layer, name in zip(self.layers[:-1], self.activations, strict=True):
            yield layer.get_parameter("weight"), layer.get_parameter("bias"), name

    def normalised(self, descriptors: Tensor) -> Tensor:
        """Returns (d - output_mean) / output_scale, (points, outputs), for the training loss."""
        return torch.as_tensor(self.layers[-1](self.hidden(descriptors)))

    def forward(self, descriptors: Tensor) -> Tensor:
        """Returns the LDOS, (points, outputs), 1/(eV Angstrom^3), for descriptors, (points, inputs)."""
        return self.output_mean + self.output_scale * self.normalised(descriptors)

    @torch.no_grad()
    def readout(self) -> tuple[Tensor, Tensor]:
        """Returns (matrix (outputs, widths[-1]), bias (outputs,)) in float64, such that d = matrix h + bias.

        The normalisation is included; the unit is 1/(eV Angstrom^3).
        """
        last = self._last()
        scale = self.output_scale.double()
        return scale[:, None] * last.weight.double(), self.output_mean.double() + scale * last.bias.double()

    @torch.no_grad()
    def set_readout(self, weight: Tensor, bias: Tensor) -> None:
        """Replaces the last layer in normalised units: weight (outputs, widths[-1]), bias (outputs,)."""
        last = self._last()
        last.weight.copy_(weight)
        last.bias.copy_(bias)

    def _last(self) -> nn.Linear:
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)  # noqa: S101  # by construction
        return layer

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Sets uniform weights of variance 2 / inputs (hidden layers) or 1 / inputs (last layer) and zero biases.

        See He, Zhang, Ren and Sun, arXiv 1502.01852.
        """
        generator = torch.Generator().manual_seed(seed)
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)  # noqa: S101  # by construction
            gain = 1.0 if index == len(self.layers) - 1 else 2.0
            bound = math.sqrt(3 * gain / layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()


class _Linear(nn.Linear):
    """A layer without its own initialisation, which would use torch's global generator."""

    def reset_parameters(self) -> None:
        """Keeps the weights unchanged."""


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises InputError unless ``value`` is one of ``known``."""
    if value not in known:
        raise InputError(f"{name}: got {value!r}, expected one of {', '.join(known)}")
