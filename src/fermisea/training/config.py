"""How to train: one frozen value that checks itself and reads from a TOML file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ase.data import atomic_numbers

from fermisea.descriptors import Bispectrum, Descriptor, PowerSpectrum
from fermisea.errors import InputError
from fermisea.networks.mlp import ACTIVATIONS, DTYPES, check_choice
from fermisea.utilities.toml import read_toml

_CHOICES: dict[str, tuple[str, ...]] = {
    "descriptor": ("power_spectrum", "bispectrum"),
    "activation": tuple(ACTIVATIONS),
    "schedule": ("cosine", "plateau", "constant"),
    "readout": ("ridge", "none"),
    "dtype": tuple(DTYPES),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class TrainingConfig:
    """Descriptor, network and optimiser.

    Attributes:
        descriptor: ``"power_spectrum"`` or ``"bispectrum"``.
        order: highest order of the power spectrum.
        twojmax: twice the highest angular momentum of the bispectrum.
        cutoff: of the descriptors, Angstrom.
        smoothness: of the power spectrum, 1 to 3; see :class:`fermisea.descriptors.PowerSpectrum`.
        element_weights: weight of each element in the descriptors; without it, atomic numbers over the highest one.
        descriptor_floor: smallest scale of a component of the descriptors over the root mean square of all: components
            that hardly vary in the data are not blown up; 0 scales each by its own standard deviation.
        hidden: sizes of the hidden layers.
        activation: between the layers.
        epochs: passes over all training points.
        batch_size: grid points of one update.
        learning_rate: the highest one, of AdamW.
        weight_decay: of AdamW.
        schedule: ``"cosine"`` to a thousandth of the highest rate, ``"plateau"`` or ``"constant"``, after the warm-up.
        warm_up: share of the updates over which the learning rate rises from a tenth.
        plateau_factor: of the learning rate where the loss no longer falls.
        plateau_patience: epochs that this is waited for.
        gradient_clip: largest norm of the gradient; None leaves it as it is.
        averaging: decay, for each update, of the exponential average of the weights that is validated and kept, at most
            the last ninth of the updates; 0 for the weights themselves.
        density_weight: weight of the density at tau_ref in the loss, against 1 for the LDOS.
        grand_potential_weight: likewise of the electrons' grand potential density at tau_ref, E_b - TS - mu N.
        readout: ``"ridge"`` ends with the exact least-squares solution for the last layer, ``"none"`` does not.
        dos_weight: weight of the DOS of each snapshot in that solution, against 1 for the LDOS.
        ridge: pull of that solution towards the trained last layer.
        validation_fraction: share of the structures held out to choose the best epoch; 0 trains on all.
        patience: epochs without a better validation loss before training stops; without it, never.
        ensemble: networks trained together, on the same batches; they differ in their initial weights.
        anchor: whether a regular model of the free energies at tau_ref is fitted beside the network.
        anchor_order: highest order of its power spectrum.
        anchor_cutoff: of its descriptors, Angstrom.
        anchor_hidden: hidden layers of networks added to its atomic energies; none makes it linear.
        seed: of initial weights (further networks take the next ones), shuffling and choice of validation structures.
        dtype: of the weights, ``"float32"`` or ``"float64"``.
        precision: of the products in training, ``"float32"`` (that of the weights) or ``"bfloat16"``, which a processor
            without arithmetic for it replaces by the former, with a warning.
    """

    descriptor: str = "power_spectrum"
    order: int = 6
    twojmax: int = 10
    cutoff: float = 5.4
    smoothness: int = 1
    element_weights: Mapping[str, float] | None = None
    descriptor_floor: float = 1.0
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "silu"
    epochs: int = 16
    batch_size: int = 1024
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    schedule: str = "cosine"
    warm_up: float = 0.15
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    gradient_clip: float | None = None
    averaging: float = 0.999
    density_weight: float = 1.0
    grand_potential_weight: float = 1.0
    readout: str = "ridge"
    dos_weight: float = 5.0
    ridge: float = 1e-6
    validation_fraction: float = 0.1
    patience: int | None = None
    ensemble: int = 1
    anchor: bool = True
    anchor_order: int = 5
    anchor_cutoff: float = 5.4
    anchor_hidden: tuple[int, ...] = ()
    seed: int = 0
    dtype: str = "float32"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            check_choice(name, getattr(self, name), known)
        object.__setattr__(self, "hidden", _sizes("hidden", self.hidden))
        anchor_hidden = _sizes("anchor_hidden", self.anchor_hidden) if self.anchor_hidden else ()
        object.__setattr__(self, "anchor_hidden", anchor_hidden)
        for name in ("order", "twojmax", "epochs", "batch_size", "plateau_patience", "ensemble", "anchor_order"):
            _check_integer(name, getattr(self, name), 1)
        _check_integer("seed", self.seed, 0)
        _check_integer("smoothness", self.smoothness, 1)
        if self.patience is not None:
            _check_integer("patience", self.patience, 1)
        if not isinstance(self.anchor, bool):
            raise InputError(f"anchor: got {self.anchor!r}, expected true or false")
        for name in ("cutoff", "learning_rate", "anchor_cutoff"):
            _check_number(name, getattr(self, name), "a finite value above 0", lambda x: x > 0)
        for name in (
            "descriptor_floor",
            "weight_decay",
            "density_weight",
            "grand_potential_weight",
            "dos_weight",
            "ridge",
        ):
            _check_number(name, getattr(self, name), "a finite value of at least 0", lambda x: x >= 0)
        for name in ("validation_fraction", "warm_up", "averaging"):
            _check_number(name, getattr(self, name), "at least 0 and below 1", lambda x: 0 <= x < 1)
        _check_number("plateau_factor", self.plateau_factor, "above 0 and below 1", lambda x: 0 < x < 1)
        if self.gradient_clip is not None:
            _check_number("gradient_clip", self.gradient_clip, "a finite value above 0", lambda x: x > 0)
        if self.precision == "bfloat16" and self.dtype != "float32":
            raise InputError(f"precision: got bfloat16 with weights in {self.dtype}, expected float32 for both or one")
        if self.element_weights is not None:
            if not isinstance(self.element_weights, Mapping) or not self.element_weights:
                raise InputError(
                    f"element_weights: got {self.element_weights!r}, expected a table such as {{Al = 1.0}}"
                )
            for symbol, weight in self.element_weights.items():
                if symbol not in atomic_numbers:
                    raise InputError(f"element_weights: got {symbol!r}, expected symbols of elements such as Al")
                _check_number(f"element_weights.{symbol}", weight, "a finite number", math.isfinite)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns a configuration from plain values; what is left out keeps its default.

        Raises:
            InputError: for an unknown key, naming the known ones, or a value that cannot be used.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise InputError(
                f"training configuration: unknown key {', '.join(unknown)}; the known ones are {', '.join(known)}"
            )
        return cls(**values)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """Returns the configuration in a TOML file, whose keys are the attributes.

        Raises:
            InputError: if the file is missing or not TOML, has an unknown key or a value that cannot be used.
        """
        values = read_toml(path, [field.name for field in fields(cls)])
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values that JSON can hold."""
        return asdict(self) | {"hidden": list(self.hidden)}

    def make_descriptor(self, elements: Sequence[str]) -> Descriptor:
        """Returns the descriptor for these elements.

        Raises:
            InputError: if ``element_weights`` lacks one of them.
        """
        weights = self._weights(elements)
        if self.descriptor == "bispectrum":
            return Bispectrum(twojmax=self.twojmax, cutoff=self.cutoff, weights=weights)
        return PowerSpectrum(self.order, self.cutoff, weights, smoothness=self.smoothness)

    def make_anchor_descriptor(self, elements: Sequence[str]) -> Descriptor:
        """Returns the descriptor of the regular model for these elements.

        Raises:
            InputError: if ``element_weights`` lacks one of them.
        """
        return PowerSpectrum(order=self.anchor_order, cutoff=self.anchor_cutoff, weights=self._weights(elements))

    def _weights(self, elements: Sequence[str]) -> dict[str, float]:
        highest = max(atomic_numbers[symbol] for symbol in elements)
        weights = dict(self.element_weights or {s: atomic_numbers[s] / highest for s in elements})
        missing = sorted(set(elements) - set(weights))
        if missing:
            raise InputError(
                f"element_weights: lacks {', '.join(missing)}; give a weight for every element of the data"
            )
        return weights


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(f"{name}: got {value!r}, expected a list of layer sizes such as [256, 256]")
    for size in value:
        _check_integer(name, size, 1)
    return tuple(value)


def _check_integer(name: str, value: Any, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise InputError(f"{name}: got {value!r}, expected an integer of at least {lowest}")


def _check_number(name: str, value: Any, expected: str, holds: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and holds(value)):
        raise InputError(f"{name}: got {value!r}, expected {expected}")
